//! Rules that are called idle may be removed, and in small policies all that may be removed are
//! called so.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{Right, Verdict};
use ringfence_policy::{
    boundary::{Baseline, Boundary, Effect, GlobSyntax, Mode, Place, Rights},
    compile::{Tables, Why, compile},
};

use crate::{
    addresses,
    support::{Dice, answer, egress, network, nothing, pattern, with_group, with_rule},
};

use Effect::{Allow, Deny};
use GlobSyntax::{Component, Crossing, Prefix};

const ALL: Rights = Rights(0b11_1111);

fn tables(boundary: &Boundary) -> Tables {
    compile(std::slice::from_ref(boundary), &Default::default()).unwrap()
}

fn effect_of(tables: &Tables, rule: u32) -> Effect {
    let text = &tables.rule(rule).unwrap().text;
    if text.starts_with("deny") { Deny } else { Allow }
}

/// The idle rules of tables: place and effect.
fn idle(tables: &Tables) -> HashSet<(Place, Effect)> {
    let idle = tables.idle.iter();
    idle.map(|idle| (idle.place.clone(), effect_of(tables, idle.rule))).collect()
}

/// A boundary without some rules.
fn without(boundary: &Boundary, gone: &HashSet<(Place, Effect)>) -> Boundary {
    let mut boundary = boundary.clone();
    boundary.path_rules.retain(|rule| !gone.contains(&(rule.place.clone(), rule.effect)));
    if let Some(egress) = &mut boundary.egress {
        egress.rules.retain(|rule| !gone.contains(&(rule.place.clone(), rule.effect)));
    }
    boundary
}

/// Each idle rule as `line: why`.
fn told(tables: &Tables) -> Vec<String> {
    let told = tables.idle.iter().map(|idle| {
        let why = match &idle.why {
            Why::NeverTakes => "never takes".to_owned(),
            Why::Denied { by } => format!("denied by {by}"),
            Why::Covered { by } => format!("covered by {by}"),
        };
        assert_eq!(tables.rule(idle.rule).unwrap().place, idle.place);
        format!("{}: {why}", idle.place.line)
    });
    told.collect()
}

type NetworkCase<'a> = (&'a [(Effect, &'a str, &'a [u16])], &'a [&'a str]);
type PathCase<'a> = (&'a [(Effect, Rights, GlobSyntax, &'a str)], &'a [&'a str]);

#[test]
fn path_rules_that_decide_nothing_are_told_with_the_reason() {
    const READ: Rights = Rights::READ;
    const FILES: Rights = Rights::FILES;
    #[rustfmt::skip]
    let cases: &[PathCase<'_>] = &[
        // Two that are alike, in one spelling or in two.
        (&[(Allow, FILES, Component, "/a/**"), (Allow, FILES, Component, "/a/**")], &["2: covered by t:1"]),
        (&[(Allow, FILES, Component, "/a"), (Allow, FILES, Component, "/{a,a}")], &["2: covered by t:1"]),
        (&[(Allow, FILES, Prefix, "/a/**"), (Allow, FILES, Prefix, "/a")], &["2: covered by t:1"]),
        (&[(Allow, FILES, Crossing, "/a/*"), (Allow, FILES, Component, "/a/**")], &["1: covered by t:2"]),
        (&[(Allow, FILES, Component, "/a/**"), (Allow, FILES, Crossing, "/a/*")], &["2: covered by t:1"]),
        // One in another, before it or after it.
        (&[(Allow, FILES, Component, "/a/**"), (Allow, FILES, Component, "/a/b/**")], &["2: covered by t:1"]),
        (&[(Allow, FILES, Component, "/a/b/**"), (Allow, FILES, Component, "/a/**")], &["1: covered by t:2"]),
        (&[(Allow, FILES, Component, "/a/b"), (Allow, FILES, Component, "/a/*")], &["1: covered by t:2"]),
        (&[(Allow, FILES, Component, "/a/*"), (Allow, FILES, Component, "/a/**")], &["1: covered by t:2"]),
        (&[(Allow, FILES, Component, "/{a,b}/**"), (Allow, FILES, Component, "/a/**"), (Allow, FILES, Component, "/b/**")],
            &["2: covered by t:1", "3: covered by t:1"]),
        (&[(Allow, FILES, Component, "/**/b/**"), (Allow, FILES, Component, "/a/**")], &[]),
        // Rights count together.
        (&[(Allow, READ, Component, "/a/**"), (Allow, FILES, Component, "/a/b/**")], &[]),
        (&[(Allow, READ, Component, "/a/**"), (Allow, Rights::WRITE, Component, "/a/**"), (Allow, FILES, Component, "/a/b")],
            &["3: covered by t:1"]),
        (&[(Allow, READ, Component, "/a/**"), (Allow, FILES, Component, "/a/**")], &["1: covered by t:2"]),
        // A chain: what stays is named.
        (&[(Allow, READ, Component, "/a/b/c/**"), (Allow, READ, Component, "/a/b/**"), (Allow, READ, Component, "/a/**")],
            &["1: covered by t:3", "2: covered by t:3"]),
        // Denials.
        (&[(Deny, READ, Component, "/a/**")], &["1: never takes"]),
        (&[(Deny, READ, Component, "/a/**"), (Allow, READ, Component, "/b/**")], &["1: never takes"]),
        (&[(Deny, READ, Component, "/a/**"), (Allow, READ, Component, "/**")], &[]),
        (&[(Deny, Rights::WRITE, Component, "/a/**"), (Allow, READ, Component, "/**")], &["1: never takes"]),
        (&[(Deny, READ, Component, "/a/*"), (Allow, READ, Component, "/a/*/c")], &["1: never takes"]),
        (&[(Deny, READ, Component, "/a/b/**"), (Deny, READ, Component, "/a/**"), (Allow, READ, Component, "/**")],
            &["1: covered by t:2"]),
        (&[(Deny, READ, Component, "/a/**"), (Deny, READ, Component, "/a/**")], &["1: never takes", "2: never takes"]),
        (&[(Allow, READ, Component, "/a/b"), (Deny, READ, Component, "/a/**")], &["1: denied by t:2"]),
        (&[(Allow, FILES, Component, "/a/**"), (Deny, FILES, Component, "/a"), (Deny, FILES, Component, "/a/**")],
            &["1: denied by t:2"]),
        // The folder can still be listed.
        (&[(Allow, READ, Component, "/a/**"), (Deny, READ, Component, "/a/**")], &[]),
        (&[(Allow, FILES, Component, "/a/**"), (Deny, READ, Component, "/a/**")], &[]),
    ];
    for (rules, expected) in cases {
        let boundary = with_group(nothing("t"), FILES, Mode::Enforce);
        let boundary =
            rules.iter().fold(boundary, |boundary, (effect, rights, syntax, pattern)| {
                with_rule(boundary, *effect, *rights, *syntax, pattern)
            });
        let told = told(&tables(&boundary));
        assert_eq!(told, *expected, "{rules:?}");
    }
}

#[test]
fn what_the_baseline_gives_already_is_told_and_its_own_rules_never_are() {
    let boundary =
        Boundary { baseline: Baseline::Programs, ..with_group(nothing("t"), ALL, Mode::Enforce) };
    let rules = [
        (Rights::READ, "/usr/share/**"),
        (Rights::FILES, "/usr/share/**"),
        (Rights::READ, "/srv/**"),
        (Rights::EXEC, "/usr/bin/python3"),
        (Rights::READ, "/etc/passwd"),
        (Rights::READ, "/etc/{passwd,shadow}"),
    ];
    let boundary = rules.iter().fold(boundary, |boundary, (rights, pattern)| {
        with_rule(boundary, Allow, *rights, Component, pattern)
    });
    let tables = tables(&boundary);
    assert_eq!(told(&tables)[1..], ["4: covered by baseline:1", "5: covered by t:6"]);
    assert!(told(&tables)[0].starts_with("1: covered by "), "{:?}", told(&tables));
    let denied = with_rule(boundary, Deny, Rights::READ, Component, "/etc/ssl/**");
    assert_eq!(idle(&self::tables(&denied)).len(), 3, "the baseline allows some of /etc/ssl");
}

#[test]
fn destinations_that_decide_nothing_are_told_with_the_reason() {
    #[rustfmt::skip]
    let cases: &[NetworkCase<'_>] = &[
        (&[(Allow, "10.0.0.0/8", &[]), (Allow, "10.0.0.0/8", &[])], &["2: covered by t:1"]),
        (&[(Allow, "10.0.0.0/8", &[443]), (Allow, "10.0.0.0/8", &[])], &["1: covered by t:2"]),
        (&[(Allow, "10.1.0.0/16", &[443]), (Allow, "10.0.0.0/8", &[443])], &["1: covered by t:2"]),
        (&[(Allow, "10.1.0.0/16", &[80]), (Allow, "10.0.0.0/8", &[443])], &[]),
        (
            &[
                (Allow, "10.1.0.0/16", &[80, 443]),
                (Allow, "10.0.0.0/8", &[443]),
                (Allow, "10.0.0.0/8", &[80]),
            ],
            &["1: covered by t:3"],
        ),
        (&[(Deny, "10.0.0.0/8", &[])], &["1: never takes"]),
        (&[(Deny, "10.0.0.0/8", &[]), (Allow, "10.1.0.0/16", &[])], &["2: denied by t:1"]),
        (&[(Deny, "10.1.0.0/16", &[]), (Allow, "10.0.0.0/8", &[])], &[]),
        (&[(Deny, "10.1.0.0/16", &[443]), (Allow, "10.0.0.0/8", &[80])], &["1: never takes"]),
        (
            &[(Deny, "10.1.0.0/16", &[]), (Deny, "10.0.0.0/8", &[]), (Allow, "0.0.0.0/0", &[])],
            &["1: covered by t:2"],
        ),
        // An allow rule does not include the services that hand out credentials.
        (&[(Deny, "169.254.169.254/32", &[]), (Allow, "0.0.0.0/0", &[])], &["1: never takes"]),
        (&[(Allow, "169.254.169.254/32", &[]), (Allow, "0.0.0.0/0", &[])], &[]),
        (
            &[(Allow, "::ffff:10.1.0.0/112", &[]), (Allow, "10.0.0.0/8", &[])],
            &["1: covered by t:2"],
        ),
    ];
    for (rules, expected) in cases {
        let rules = rules.iter().map(|(effect, text, ports)| {
            (*effect, network(text), ports.iter().map(|port| *port..=*port).collect())
        });
        let boundary = egress("t", Mode::Enforce, rules.collect());
        assert_eq!(told(&tables(&boundary)), *expected, "{:?}", boundary.egress);
    }
}

#[test]
fn beside_a_host_name_no_denial_is_said_to_take_nothing() {
    let mut boundary = egress("t", Mode::Enforce, vec![(Deny, network("192.0.2.0/24"), vec![])]);
    assert_eq!(told(&tables(&boundary)), ["1: never takes"]);
    let other = egress("t", Mode::Enforce, vec![(Allow, network("10.0.0.0/8"), vec![])]);
    let mut rules = other.egress.unwrap().rules;
    rules[0].target = ringfence_policy::boundary::Target::Host("example.com".into());
    rules[0].place.line = 2;
    boundary.egress.as_mut().unwrap().rules.extend(rules);
    assert_eq!(told(&tables(&boundary)), [""; 0]);
}

#[test]
fn one_entry_of_a_document_that_became_several_rules_is_told_once_or_not_at_all() {
    let both = [network("0.0.0.0/0"), network("::/0")];
    let boundary = |allowed: &[&str]| {
        let rules = both.iter().cloned().map(|target| (Deny, target, vec![])).collect();
        let mut boundary = egress("t", Mode::Enforce, rules);
        let rules = &mut boundary.egress.as_mut().unwrap().rules;
        rules[1].place = rules[0].place.clone();
        for text in allowed {
            let mut rule = rules[0].clone();
            (rule.effect, rule.target, rule.place.line) = (Allow, network(text), 2);
            rules.push(rule);
        }
        boundary
    };
    assert_eq!(told(&tables(&boundary(&[]))), ["1: never takes"]);
    assert_eq!(told(&tables(&boundary(&["10.0.0.0/8"]))), ["2: denied by t:1"]);
}

#[test]
fn each_document_is_judged_by_itself() {
    let group = |name: &str| with_group(nothing(name), ALL, Mode::Enforce);
    let one = with_rule(group("one"), Allow, ALL, Component, "/a/b/**");
    let other = with_rule(group("other"), Deny, ALL, Component, "/a/**");
    let other = with_rule(other, Allow, ALL, Component, "/**");
    let tables = compile(&[one, other], &Default::default()).unwrap();
    assert_eq!(told(&tables), [""; 0]);
}

/// Patterns over few letters, that cover each other in many ways.
const SMALL: &[(&str, GlobSyntax)] = &[
    ("/a", Component),
    ("/b", Component),
    ("/a/b", Component),
    ("/{a,b}", Component),
    ("/a/**", Component),
    ("/b/**", Component),
    ("/a/b/**", Component),
    ("/{a,b}/**", Component),
    ("/**", Component),
    ("/a", Prefix),
    ("/a/b", Prefix),
    ("/", Prefix),
    ("/*", Component),
    ("/a*", Component),
    ("/a/*", Component),
    ("/*/b", Component),
    ("/**/b", Component),
    ("/**/b/**", Component),
    ("/a/*/**", Component),
    ("/a/**/b", Component),
    ("/{a,a/*}", Component),
    ("/{a/**,b}", Component),
    ("/[ab]/*", Component),
    ("/a*", Crossing),
    ("/a/*", Crossing),
    ("/*b", Crossing),
    ("/?/b", Crossing),
];
/// Of these, the ones that match one path or all below a folder, so that no two of them cover a
/// third but by halves.
const SIMPLE: usize = 12;

/// Every path of a few letters.
fn short_paths() -> Vec<Vec<u8>> {
    let mut paths = vec![Vec::new()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if path.len() < 6 {
            paths.extend(b"/abc".iter().map(|byte| [path.as_slice(), &[*byte]].concat()));
        }
    }
    paths
}

fn verdicts(tables: &Tables, paths: &[Vec<u8>], rights: &[Right]) -> Vec<Verdict> {
    let image = &tables.image;
    let answers = paths
        .iter()
        .flat_map(|path| rights.iter().map(move |right| answer(image, path, *right).verdict()));
    answers.collect()
}

fn small(patterns: usize, rights: &'static [Rights]) -> impl Strategy<Value = Boundary> {
    let effect = prop_oneof![2 => Just(Allow), 1 => Just(Deny)];
    let rule = (0..patterns, effect, 0..rights.len());
    proptest::collection::vec(rule, 0..7).prop_map(move |rules| {
        let boundary = with_group(nothing("t"), Rights::FILES, Mode::Enforce);
        rules.into_iter().fold(boundary, |boundary, (at, effect, set)| {
            let (pattern, syntax) = SMALL[at];
            with_rule(boundary, effect, rights[set], syntax, pattern)
        })
    })
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..Default::default() })
}

#[test]
fn idle_rules_of_small_policies_are_removed_and_no_short_path_tells() {
    let (paths, found) = (short_paths(), AtomicUsize::new(0));
    const RIGHTS: &[Rights] = &[Rights::READ, Rights(Right::Write.bit()), Rights::FILES];
    runner(1024)
        .run(&small(SMALL.len(), RIGHTS), |boundary| {
            let tables = tables(&boundary);
            let idle = idle(&tables);
            found.fetch_add(idle.len(), Relaxed);
            let asked = [Right::Read, Right::Write];
            let before = verdicts(&tables, &paths, &asked);
            let all = self::tables(&without(&boundary, &idle));
            prop_assert!(verdicts(&all, &paths, &asked) == before, "{:?}", told(&tables));
            for one in idle {
                let one = self::tables(&without(&boundary, &HashSet::from([one])));
                prop_assert!(verdicts(&one, &paths, &asked) == before, "{:?}", told(&tables));
            }
            Ok(())
        })
        .unwrap();
    let found = found.into_inner();
    println!("{found} idle rules");
    assert!(found > 300, "only {found} rules were idle: nothing was tested");
}

#[test]
fn every_rule_that_stays_is_missed_when_it_is_removed() {
    let (paths, kept) = (short_paths(), AtomicUsize::new(0));
    runner(1024)
        .run(&small(SIMPLE, &[Rights::READ]), |boundary| {
            // A denial takes nothing any more once the idle rules that it denied are gone.
            let mut boundary = boundary;
            while let gone = idle(&tables(&boundary))
                && !gone.is_empty()
            {
                boundary = without(&boundary, &gone);
            }
            let before = verdicts(&tables(&boundary), &paths, &[Right::Read]);
            for rule in &boundary.path_rules {
                let one = HashSet::from([(rule.place.clone(), rule.effect)]);
                let after = tables(&without(&boundary, &one));
                let is_missed = verdicts(&after, &paths, &[Right::Read]) != before;
                prop_assert!(is_missed, "line {} of {:?}", rule.place.line, boundary.path_rules);
                kept.fetch_add(1, Relaxed);
            }
            Ok(())
        })
        .unwrap();
    assert!(kept.into_inner() > 500);
}

#[test]
fn idle_rules_of_any_patterns_are_removed_and_no_path_tells() {
    let found = AtomicUsize::new(0);
    let effect = prop_oneof![2 => Just(Allow), 1 => Just(Deny)];
    let rule = (pattern(), effect, 1_u32..64);
    let rules = (proptest::collection::vec(rule, 0..8), any::<bool>(), 1_u64..);
    runner(512)
        .run(&rules, |(rules, baseline, seed)| {
            let boundary = with_group(nothing("t"), ALL, Mode::Enforce);
            let baseline = if baseline { Baseline::Programs } else { Baseline::None };
            let boundary = Boundary { baseline, ..boundary };
            let patterns: Vec<_> = rules.iter().map(|(pattern, ..)| pattern.clone()).collect();
            let boundary = rules.iter().fold(boundary, |boundary, (pattern, effect, rights)| {
                with_rule(boundary, *effect, Rights(*rights), pattern.syntax, &pattern.text)
            });
            let Ok(tables) = compile(std::slice::from_ref(&boundary), &Default::default()) else {
                return Ok(());
            };
            let idle = idle(&tables);
            found.fetch_add(idle.len(), Relaxed);
            let mut dice = Dice(seed);
            let paths: Vec<_> = (0..256).map(|_| dice.path(&patterns)).collect();
            let after = self::tables(&without(&boundary, &idle));
            let is_same =
                verdicts(&tables, &paths, &Right::ALL) == verdicts(&after, &paths, &Right::ALL);
            prop_assert!(is_same, "{:?} of {:?}", told(&tables), boundary.path_rules);
            Ok(())
        })
        .unwrap();
    let found = found.into_inner();
    println!("{found} idle rules");
    assert!(found > 100, "only {found} rules were idle: nothing was tested");
}

#[test]
fn idle_destinations_are_removed_and_no_address_tells() {
    let (probes, found) = (addresses::probes(), AtomicUsize::new(0));
    runner(512)
        .run(&addresses::boundary(0), |boundary| {
            let tables = tables(&boundary);
            let idle = idle(&tables);
            found.fetch_add(idle.len(), Relaxed);
            let after = self::tables(&without(&boundary, &idle));
            for address in &probes {
                for protocol in addresses::PROTOCOLS {
                    for port in [0, 79, 80, 86, 91, 443, 65535] {
                        let ask = |image| addresses::ask(image, *address, protocol, port).0;
                        let (before, after) = (ask(&tables.image), ask(&after.image));
                        prop_assert_eq!(before, after, "{} {:?} {}", address, protocol, port);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    let found = found.into_inner();
    println!("{found} idle rules");
    assert!(found > 300, "only {found} rules were idle: nothing was tested");
}
