//! Rules that ask for the content of a file.

use ringfence_common::{
    Cell, Decision, Reason, Right, Verdict,
    files::{Execution, Move, cell, content_rule, decide_exec, decide_rename},
};
use ringfence_policy::{
    boundary::{Boundary, Digests, Effect, GlobSyntax, Mode, Rights},
    compile::{Tables, compile, verify},
};

use crate::support::{nothing, walk, with_group, with_rule};

const TOOL: &str = "/usr/bin/tool";

fn exec(mode: Mode) -> Boundary {
    with_group(nothing("exec"), Rights::EXEC, mode)
}

fn rule(boundary: Boundary, effect: Effect, pattern: &str) -> Boundary {
    with_rule(boundary, effect, Rights::EXEC, GlobSyntax::Component, pattern)
}

fn pinned(boundary: Boundary) -> Boundary {
    let mut boundary = rule(boundary, Effect::Allow, TOOL);
    let content = Digests { sha256: Some([7; 32]), fsverity: None };
    boundary.path_rules.last_mut().unwrap().content = Some(content);
    boundary
}

fn tables(boundaries: &[Boundary]) -> Tables {
    let tables = compile(boundaries, &Default::default()).unwrap();
    assert_eq!(verify(&tables.image), Ok(()));
    tables
}

fn decided(tables: &Tables, path: &str, pinned: bool) -> Decision {
    let how = Execution { pinned, ..Execution::default() };
    decide_exec(&*tables.image, walk(&tables.image, path.as_bytes()), how)
}

#[test]
fn a_content_is_asked_for_whatever_else_allows_the_path() {
    let all = |boundary| rule(boundary, Effect::Allow, "/usr/**");
    let same = |boundary| rule(boundary, Effect::Allow, TOOL);
    for boundary in [
        pinned(exec(Mode::Enforce)),
        pinned(all(exec(Mode::Enforce))),
        all(pinned(exec(Mode::Enforce))),
        pinned(same(exec(Mode::Enforce))),
        same(pinned(exec(Mode::Enforce))),
    ] {
        let tables = tables(&[boundary]);
        let (with, without) = (decided(&tables, TOOL, true), decided(&tables, TOOL, false));
        assert_eq!((with.verdict, with.reason), (Verdict::Allow, Reason::None));
        assert_eq!((without.verdict, without.reason), (Verdict::Deny, Reason::ToolCodeChanged));
        assert_eq!(with.rule, without.rule);
        let [pin] = &tables.pins[..] else { panic!("{:?}", tables.pins) };
        assert_eq!((pin.rule, &*pin.path, pin.refusal), (with.rule, TOOL, Verdict::Deny));
        assert!(tables.content(pin.rule).is_some());
        assert_eq!(content_rule(&*tables.image, walk(&tables.image, b"/usr/bin/id")), None);
        assert!(tables.idle.iter().all(|idle| idle.rule != pin.rule), "a condition is never idle");
    }
}

#[test]
fn a_denial_wins_over_every_content() {
    let denied = |boundary, pattern| rule(boundary, Effect::Deny, pattern);
    for boundaries in [
        vec![denied(pinned(exec(Mode::Enforce)), TOOL)],
        vec![pinned(denied(exec(Mode::Enforce), TOOL))],
        vec![denied(pinned(exec(Mode::Enforce)), "/usr/**")],
        vec![pinned(exec(Mode::Enforce)), exec(Mode::Enforce)],
        vec![exec(Mode::Enforce), pinned(exec(Mode::Enforce))],
    ] {
        let tables = tables(&boundaries);
        let decision = decided(&tables, TOOL, true);
        assert_eq!((decision.verdict, decision.reason), (Verdict::Deny, Reason::FsViolation));
    }
}

#[test]
fn other_content_is_let_through_where_the_group_observes() {
    let tables = tables(&[pinned(exec(Mode::Observe))]);
    let decision = decided(&tables, TOOL, false);
    assert_eq!((decision.verdict, decision.reason), (Verdict::Observe, Reason::ToolCodeChanged));
}

#[test]
fn a_program_whose_content_is_asked_for_gets_no_name_where_it_is_not() {
    let boundary = with_group(exec(Mode::Enforce), Rights::WRITE, Mode::Enforce);
    let boundary = with_rule(boundary, Effect::Allow, Rights::WRITE, GlobSyntax::Component, "/**");
    let tables = tables(&[pinned(rule(boundary, Effect::Allow, "/usr/**"))]);
    let image = &*tables.image;
    let state = |path: &str| walk(image, path.as_bytes());
    let moved = |old, new| {
        let (old, new) = (state(old), state(new));
        decide_rename(image, Move { old, new, is_folder: false, replaces: true, exchanges: false })
    };
    assert_eq!(moved(TOOL, "/usr/bin/other").reason, Reason::RightsWidened);
    assert_eq!(moved("/usr/bin/other", TOOL).verdict, Verdict::Allow);
    let marked = cell(image, state(TOOL), Right::Exec).unwrap();
    assert!(marked.is_by_content() && marked.verdict() == Verdict::Deny, "{marked:?}");
    assert_ne!(marked, Cell::new(Verdict::Deny, marked.rule()));
}
