//! What several documents say together, against an oracle that reads them one by one.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{Right, Verdict};
use ringfence_policy::{
    baseline,
    boundary::{Baseline, Boundary, Effect, GlobSyntax, Mode, PathRule, Place, Rights},
    compile::compile,
};

use crate::support::{
    Dice, Matcher, TestPattern, answer, listing, nothing, pattern, with_group, with_rule,
};

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)]
}

fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![
        Just(Rights::READ),
        Just(Rights::WRITE),
        Just(Rights::EXEC),
        Just(Rights::FILES),
        (0_u32..64).prop_map(Rights),
    ]
}

fn readable_pattern() -> impl Strategy<Value = TestPattern> {
    pattern().prop_filter("globset must read it", |pattern| {
        Matcher::new(&pattern.text, pattern.syntax).is_some()
    })
}

/// Rules draw from a few patterns only, so that they meet.
pub(crate) fn boundaries() -> impl Strategy<Value = (Vec<Boundary>, Vec<TestPattern>)> {
    let rule =
        (0_usize..4, prop_oneof![2 => Just(Effect::Allow), 1 => Just(Effect::Deny)], rights());
    let group = (rights(), mode());
    let boundary = (
        proptest::collection::vec(group, 0..3),
        proptest::collection::vec(rule, 0..6),
        prop_oneof![
            98 => Just(Baseline::None),
            1 => Just(Baseline::Libraries),
            1 => Just(Baseline::Programs),
        ],
    );
    let patterns = proptest::collection::vec(readable_pattern(), 4);
    (proptest::collection::vec(boundary, 0..4), patterns).prop_map(|(list, patterns)| {
        let boundaries = list.into_iter().enumerate().map(|(i, (groups, rules, baseline))| {
            let mut boundary = nothing(&format!("{i}.yaml"));
            boundary.baseline = baseline;
            for (rights, mode) in groups {
                boundary = with_group(boundary, rights, mode);
            }
            for (pattern, effect, rights) in rules {
                let TestPattern { text, syntax, .. } = &patterns[pattern];
                boundary = with_rule(boundary, effect, rights, *syntax, text);
            }
            boundary
        });
        (boundaries.collect(), patterns)
    })
}

/// A boundary with a matcher for each of its rules.
struct Reader<'a> {
    boundary: &'a Boundary,
    rules: Vec<(PathRule, Matcher)>,
}

impl<'a> Reader<'a> {
    fn new(boundary: &'a Boundary) -> Self {
        let baseline = baseline::rules(boundary.baseline);
        let rules = boundary.path_rules.iter();
        let rules = rules.flat_map(|rule| [Some(rule.clone()), listing(rule)]).flatten();
        let rules = rules.chain(baseline);
        let with_matcher = |rule: PathRule| {
            let matcher = Matcher::new(&rule.pattern, rule.syntax).unwrap();
            (rule, matcher)
        };
        Self { boundary, rules: rules.map(with_matcher).collect() }
    }

    /// The verdict, and the place that gives it; `None` when the right is not governed.
    fn verdict(&self, path: &[u8], right: Right) -> Option<(Verdict, Place)> {
        let groups = self.boundary.path_groups.iter().filter(|group| {
            // Who governs files governs devices, and who governs content Unix sockets.
            group.rights.has(right)
                || right == Right::Device && !group.rights.common(Rights::FILES).is_empty()
                || right == Right::Socket && group.rights.has(Right::Write)
        });
        let enforcing = groups.clone().find(|group| group.mode == Mode::Enforce);
        let group = enforcing.or_else(|| groups.clone().next())?;
        let first = |effect| {
            let rules = self.rules.iter().filter(|(rule, _)| rule.effect == effect);
            let asked = if right == Right::Socket { Right::Write } else { right };
            let mut rules = rules.filter(|(rule, _)| rule.rights.has(asked));
            rules.find(|(_, matcher)| matcher.matches(path)).map(|(rule, _)| rule.place.clone())
        };
        Some(match (first(Effect::Deny), first(Effect::Allow)) {
            (Some(place), _) => (group.mode.refusal(), place),
            (None, Some(place)) => (Verdict::Allow, place),
            (None, None) => (group.mode.refusal(), group.place.clone()),
        })
    }
}

#[test]
fn an_image_answers_as_the_documents_read_one_by_one() {
    let questions = AtomicUsize::new(0);
    let config = ProptestConfig { cases: 384, failure_persistence: None, ..Default::default() };
    TestRunner::new(config)
        .run(&(boundaries(), 1_u64..), |((boundaries, patterns), seed)| {
            let tables = compile(&boundaries, &Default::default()).unwrap();
            let readers: Vec<_> = boundaries.iter().map(Reader::new).collect();
            let mut dice = Dice(seed);
            for _ in 0..24 {
                let path = dice.path(&patterns);
                for right in Right::ALL {
                    let answers: Vec<_> =
                        readers.iter().filter_map(|reader| reader.verdict(&path, right)).collect();
                    let strictest = answers.iter().map(|(verdict, _)| *verdict).max();
                    let expected =
                        answers.iter().find(|(verdict, _)| Some(*verdict) == strictest).cloned();
                    let cell = answer(&tables.image, &path, right);
                    let place = tables.rule(cell.rule()).map(|rule| rule.place.clone());
                    let found = place.map(|place| (cell.verdict(), place));
                    prop_assert_eq!(&found, &expected, "{} {}", right.name(), path.escape_ascii());
                    if found.is_none() {
                        prop_assert_eq!(cell, ringfence_common::Cell::ALLOW);
                    }
                    questions.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        })
        .unwrap();
    println!("{} questions", questions.into_inner());
}

#[test]
fn the_answer_of_a_list_is_a_rule_only_where_the_dialect_says_so() {
    for is_rule in [false, true] {
        let mut boundary = with_group(nothing("a.yaml"), Rights::READ, Mode::Enforce);
        boundary.path_groups[0].is_rule = is_rule;
        let tables = compile(&[boundary], &Default::default()).unwrap();
        let cell = answer(&tables.image, b"/etc/shadow", Right::Read);
        let rule = tables.rule(cell.rule()).unwrap();
        assert_eq!((cell.verdict(), rule.is_default), (Verdict::Deny, !is_rule));
    }
}

#[test]
fn a_denied_path_stays_denied_though_the_baseline_gives_it() {
    let boundary = with_group(nothing("a.yaml"), Rights::READ, Mode::Enforce);
    let mut boundary =
        with_rule(boundary, Effect::Deny, Rights::READ, GlobSyntax::Component, "/usr/lib/**");
    boundary.baseline = Baseline::Libraries;
    let tables = compile(&[boundary], &Default::default()).unwrap();
    let denied = answer(&tables.image, b"/usr/lib/libc.so.6", Right::Read);
    assert_eq!(denied.verdict(), Verdict::Deny);
    assert_eq!(tables.rule(denied.rule()).unwrap().place.line, 1);
    let given = answer(&tables.image, b"/usr/bin/env", Right::Read);
    assert_eq!(given.verdict(), Verdict::Allow);
    assert_eq!(&*tables.rule(given.rule()).unwrap().place.file, baseline::FILE);
}
