//! The words of the header that follow from groups, and what rules are called.

use ringfence_common::{
    Cell, Image, Right, Verdict,
    budget::{self, Kind},
    files::{Execution, decide_anonymous, decide_exec},
    image::{MAGIC, header as word},
};
use ringfence_policy::{
    boundary::{Boundary, Budget, Effect, GlobSyntax, Mode, Rights},
    compile::{Tables, compile, verify},
};

use crate::support::{egress, network, nothing, place, walk, with_group, with_rule};

fn tables(boundaries: &[Boundary]) -> Tables {
    let tables = compile(boundaries, &Default::default()).unwrap();
    assert_eq!(verify(&tables.image), Ok(()));
    tables
}

fn read(boundaries: &[Boundary], at: u32) -> u32 {
    tables(boundaries).image.as_slice().word(at).unwrap()
}

fn cell(boundaries: &[Boundary], at: u32) -> Cell {
    Cell(read(boundaries, at))
}

fn files(mode: Mode) -> Boundary {
    with_group(nothing("files"), Rights::FILES, mode)
}

fn net(mode: Mode) -> Boundary {
    egress("net", mode, vec![])
}

fn one_program(mode: Mode) -> Boundary {
    let mut boundary = nothing("exec");
    boundary.no_exec_after_start = Some((mode, place(&boundary.file, 7)));
    boundary
}

#[test]
fn what_no_group_governs_is_allowed() {
    let image = tables(&[]).image;
    assert_eq!(image.as_slice().word(word::MAGIC), Some(MAGIC));
    assert_eq!(image.as_slice().word(word::LENGTH), Some(image.len() as u32));
    for at in [word::GOVERNED_RIGHTS, word::GOVERNS_EGRESS, word::FILES_VIOLATION] {
        assert_eq!(read(&[], at), 0);
    }
    assert_eq!(cell(&[], word::EXEC_AFTER_START), Cell::ALLOW);
    assert_eq!(cell(&[net(Mode::Enforce)], word::FILES_VIOLATION), Cell::ALLOW);
}

#[test]
fn the_header_says_whether_any_rule_denies_paths() {
    let rule = |effect| {
        with_rule(files(Mode::Enforce), effect, Rights::READ, GlobSyntax::Component, "/srv/**")
    };
    assert_eq!(read(&[rule(Effect::Allow)], word::DENIES_PATHS), 0);
    assert_eq!(read(&[rule(Effect::Allow), rule(Effect::Deny)], word::DENIES_PATHS), 1);
}

#[test]
fn governed_are_the_rights_of_all_groups_together() {
    let boundaries = [files(Mode::Observe), with_group(nothing("x"), Rights::EXEC, Mode::Enforce)];
    let all = Right::ALL.iter().fold(0, |set, right| set | right.bit());
    assert_eq!(read(&boundaries, word::GOVERNED_RIGHTS), all);
    let about_files = Rights::ABOUT_FILES.and(Rights::SOCKET);
    assert_eq!(read(&boundaries[..1], word::GOVERNED_RIGHTS), about_files.0);
    assert_eq!(read(&[net(Mode::Observe)], word::GOVERNS_EGRESS), 1);
}

#[test]
fn who_governs_destinations_closes_ports_and_abstract_sockets() {
    let observed = [net(Mode::Observe)];
    assert_eq!(cell(&observed, word::ABSTRACT).verdict(), Verdict::Observe);
    assert_eq!(read(&observed, word::GOVERNS_SERVING), 1);
    // A document about paths has a list for sockets, which is in the entries.
    let mut both = files(Mode::Enforce);
    both.egress = net(Mode::Enforce).egress;
    assert_eq!(cell(&[both], word::ABSTRACT), Cell::ALLOW);
    let each = [files(Mode::Enforce), net(Mode::Enforce)];
    assert_eq!(cell(&each, word::ABSTRACT).verdict(), Verdict::Deny);
    assert_eq!(cell(&each[..1], word::ABSTRACT), Cell::ALLOW);
    assert_eq!(read(&each[..1], word::GOVERNS_SERVING), 0);
}

#[test]
fn violations_are_answered_by_the_strictest_mode() {
    use Mode::{Enforce, Observe};
    let deny = Cell::new(Verdict::Deny, 0);
    let observe = Cell::new(Verdict::Observe, 0);
    let cases = [
        (vec![files(Observe)], word::FILES_VIOLATION, observe),
        (vec![files(Observe), files(Enforce)], word::FILES_VIOLATION, deny),
        (vec![files(Observe), net(Enforce)], word::FILES_VIOLATION, observe),
        (vec![net(Observe)], word::SOCKET_VIOLATION, observe),
        (vec![net(Observe), net(Enforce)], word::SOCKET_VIOLATION, deny),
        (vec![], word::GUARD_VIOLATION, deny),
        (vec![nothing("a")], word::GUARD_VIOLATION, deny),
        (vec![files(Observe)], word::GUARD_VIOLATION, observe),
        (vec![files(Observe), net(Enforce)], word::GUARD_VIOLATION, deny),
        (vec![files(Observe), one_program(Enforce)], word::GUARD_VIOLATION, deny),
        (vec![one_program(Observe)], word::GUARD_VIOLATION, observe),
    ];
    for (i, (boundaries, at, expected)) in cases.into_iter().enumerate() {
        assert_eq!(cell(&boundaries, at), expected, "case {i}");
    }
}

#[test]
fn a_second_program_is_refused_by_the_rule_that_says_so() {
    let boundaries = [one_program(Mode::Observe), one_program(Mode::Enforce)];
    let tables = tables(&boundaries);
    let image = tables.image.as_slice();
    let state = walk(image, b"/bin/sh");
    let started = |started| Execution { started, ..Execution::default() };
    assert_eq!(decide_exec(image, state, started(false)).verdict, Verdict::Allow);
    let decision = decide_exec(image, state, started(true));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(tables.rule(decision.rule).unwrap().place.line, 7);
}

#[test]
fn anonymous_code_is_refused_by_the_rule_that_says_so_and_files_stay_as_they_are() {
    let no_code = |mode| {
        let mut boundary = nothing("exec");
        boundary.no_anonymous_code = Some((mode, place(&boundary.file, 8)));
        boundary
    };
    let tables = tables(&[no_code(Mode::Observe), no_code(Mode::Enforce)]);
    let image = tables.image.as_slice();
    let state = walk(image, b"/bin/sh");
    assert_eq!(decide_exec(image, state, Execution::default()).verdict, Verdict::Allow);
    let anonymous = Execution { anonymous: true, ..Execution::default() };
    for decision in [decide_anonymous(image), decide_exec(image, state, anonymous)] {
        assert_eq!((decision.verdict, decision.reason.name()), (Verdict::Deny, "anonymous_code"));
        assert_eq!(tables.rule(decision.rule).unwrap().place.line, 8);
    }
    assert_eq!(cell(&[no_code(Mode::Observe)], word::GUARD_VIOLATION).verdict(), Verdict::Observe);
}

#[test]
fn rules_read_as_a_person_would_say_them() {
    let boundary = files(Mode::Enforce);
    let boundary =
        with_rule(boundary, Effect::Allow, Rights::FILES, GlobSyntax::Component, "/srv/*");
    let delete = Rights(Right::Delete.bit());
    let mut boundary = with_rule(boundary, Effect::Deny, delete, GlobSyntax::Prefix, "/vault/**");
    let ports = vec![443..=443, 8000..=8999];
    boundary.egress =
        egress("files", Mode::Enforce, vec![(Effect::Allow, network("10.0.0.0/8"), ports)]).egress;
    let texts: Vec<_> = tables(&[boundary]).rules.into_iter().map(|rule| rule.text).collect();
    let expected = [
        "read, write is allowed by no rule",
        "allow read, write of /srv/*",
        "deny delete of /vault/** and below",
        "the destination is allowed by no rule",
        "allow 10.0.0.0/8 port 443, 8000-8999",
        "address that no rule names literally",
        "serving others is allowed by no rule",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn the_same_policy_gives_the_same_bytes() {
    let boundary = |pattern| {
        let boundary = files(Mode::Enforce);
        with_rule(boundary, Effect::Allow, Rights::READ, GlobSyntax::Component, pattern)
    };
    let (one, again) = (tables(&[boundary("/a/**")]), tables(&[boundary("/a/**")]));
    assert_eq!(one, again);
    assert_eq!(one.sha256(), again.sha256());
    assert_ne!(one.sha256(), tables(&[boundary("/b/**")]).sha256());
}

fn spending(name: &str, mode: Mode, limits: &[(Kind, u64)]) -> Boundary {
    let mut boundary = nothing(name);
    let place = place(&boundary.file, 3);
    let budget = |(kind, amount): &(Kind, u64)| Budget {
        kind: *kind,
        amount: *amount,
        place: place.clone(),
    };
    boundary.budgets.limits = limits.iter().map(budget).collect();
    boundary.budgets.mode = mode;
    boundary
}

#[test]
fn of_several_budgets_of_a_kind_the_smallest_that_is_enforced_holds() {
    let boundaries = [
        spending("a", Mode::Enforce, &[(Kind::Connections, 9), (Kind::SentBytes, u64::MAX)]),
        spending("b", Mode::Observe, &[(Kind::Connections, 3), (Kind::Processes, 5)]),
        spending("c", Mode::Enforce, &[(Kind::Connections, 7)]),
        spending("d", Mode::Observe, &[(Kind::Processes, 4)]),
    ];
    let tables = tables(&boundaries);
    let limit = |kind| {
        let limit = budget::limit(tables.image.as_slice(), kind)?;
        let rule = tables.rule(limit.refusal.rule()).unwrap();
        Some((limit.amount, limit.refusal.verdict(), rule.place.file.to_string()))
    };
    let of = |amount, verdict, file: &str| Some((amount, verdict, file.to_owned()));
    assert_eq!(limit(Kind::Connections), of(7, Verdict::Deny, "c"));
    assert_eq!(limit(Kind::SentBytes), of(u64::MAX, Verdict::Deny, "a"));
    assert_eq!(limit(Kind::Processes), of(4, Verdict::Observe, "d"));
    assert_eq!(limit(Kind::WallClock), None);
}

#[test]
fn what_only_the_baseline_allows_is_told_from_what_a_rule_does() {
    let mut boundary = files(Mode::Enforce);
    boundary.baseline = ringfence_policy::boundary::Baseline::Programs;
    let boundary =
        with_rule(boundary, Effect::Allow, Rights::READ, GlobSyntax::Component, "/etc/hosts");
    let image = tables(&[boundary]).image;
    let by_baseline = |path: &str| {
        let state = walk(&image, path.as_bytes());
        ringfence_common::files::is_by_baseline(image.as_slice(), state, Right::Read)
    };
    assert!(by_baseline("/etc/passwd"));
    assert!(!by_baseline("/etc/hosts"), "where both allow, the document's rule is named");
    assert!(!by_baseline("/etc/shadow"));
}
