//! What the tables and the grants say of host names, against the rules asked one by one.

use std::{
    net::IpAddr,
    ops::RangeInclusive,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{Decision, Reason, Verdict, egress::Protocol, installed, names};
use ringfence_policy::{
    boundary::{Boundary, Effect, Egress, EgressRule, Mode, Place, Resolved, Target},
    compile::{Problem, Tables, compile, verify},
    grants::{Book, Grant, entry, may_stand_for},
    hosts,
};

use crate::{
    addresses::{PROTOCOLS, matches_address},
    support::{Dice, egress, network, nothing},
};

const PATTERNS: &[&str] = &[
    "a.com",
    "b.a.com",
    "A.com",
    "*.a.com",
    "*a.com",
    "*",
    "**",
    "b.*",
    "*.b.*",
    "*b*a*",
    "x*.com",
    "a*a",
    "*b.a.*",
    "com",
    "localhost",
    "é.com",
    "*é*",
    "a/b",
    "*.*.com",
];
const NETWORKS: &[&str] = &[
    "0.0.0.0/0",
    "::/0",
    "93.184.216.34/32",
    "93.184.0.0/16",
    "10.0.0.0/8",
    "169.254.0.0/16",
    "169.254.169.254/32",
    "127.0.0.0/8",
    "2001:db8::/32",
    "::1/128",
];
const ADDRESSES: &[&str] = &[
    "93.184.216.34",
    "93.185.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "169.254.1.1",
    "127.0.0.1",
    "0.0.0.0",
    "::1",
    "2001:db8::1",
    "2600::1",
    "::ffff:93.184.216.34",
    "64:ff9b::a01:203",
    "fd00:ec2::254",
];
const PIECES: &[&str] = &["a", "b", "c", "x", ".", ".", ".com", "a.com", "com", "é", "A", "B", "/"];
const PORTS: [u16; 8] = [0, 1, 80, 442, 443, 444, 500, 65535];

fn boundary(number: usize) -> impl Strategy<Value = Boundary> {
    let target = prop_oneof![
        3 => (0..PATTERNS.len()).prop_map(|at| Target::Host(PATTERNS[at].to_owned())),
        1 => (0..NETWORKS.len()).prop_map(|at| network(NETWORKS[at])),
    ];
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    let ports = prop_oneof![
        3 => Just(vec![]),
        2 => Just(vec![443..=443]),
        1 => Just(vec![1..=442, 500..=600]),
        1 => Just(vec![80..=80, 400..=500]),
    ];
    let protocol = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Protocol::Tcp)),
        1 => Just(Some(Protocol::Udp)),
    ];
    let rule = (target, effect, ports, protocol, any::<bool>());
    let mode = prop_oneof![2 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    (mode, prop::collection::vec(rule, 0..9)).prop_map(move |(mode, rules)| {
        let plain = rules.iter().map(|rule| (rule.1, rule.0.clone(), rule.2.clone())).collect();
        let mut boundary = egress(&format!("{number}.yaml"), mode, plain);
        let made = boundary.egress.iter_mut().flat_map(|egress| &mut egress.rules);
        for (made, (.., protocol, tls_name_check)) in made.zip(rules) {
            (made.protocol, made.tls_name_check) = (protocol, tls_name_check);
        }
        boundary
    })
}

fn boundaries() -> impl Strategy<Value = Vec<Boundary>> {
    prop_oneof![
        1 => Just(vec![nothing("a")]),
        9 => boundary(0).prop_map(|one| vec![one]),
        6 => (boundary(0), boundary(1)).prop_map(|(one, other)| vec![one, nothing("x"), other]),
        3 => (boundary(0), boundary(1), boundary(2)).prop_map(|(a, b, c)| vec![a, b, c]),
    ]
}

/// A name that often matches a pattern.
fn name(dice: &mut Dice) -> String {
    let mut name = match dice.below(3) {
        0 => dice.one_of(PATTERNS).replace('*', dice.one_of::<&str>(PIECES)),
        _ => (0..dice.below(5)).map(|_| *dice.one_of(PIECES)).collect(),
    };
    if dice.below(4) == 0 {
        name.push('.');
    }
    if dice.below(4) == 0 { name.to_ascii_uppercase() } else { name }
}

fn place_of(tables: &Tables, rule: u32) -> Option<Place> {
    tables.rule(rule).map(|rule| rule.place.clone())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() }
}

#[test]
fn the_table_answers_for_every_name_as_the_rules_do() {
    let allowed = AtomicUsize::new(0);
    TestRunner::new(config())
        .run(&(boundaries(), 1_u64..), |(boundaries, seed)| {
            let tables = compile(&boundaries, &Resolved::new()).unwrap();
            prop_assert_eq!(verify(&tables.image), Ok(()));
            let mut dice = Dice(seed);
            for _ in 0..200 {
                let name = name(&mut dice);
                let expected = hosts::decide_lookup(&boundaries, &name);
                let found = names::decide_lookup(&*tables.image, name.as_bytes());
                let reason = match expected.verdict {
                    Verdict::Allow => Reason::None,
                    _ => Reason::UnlistedName,
                };
                prop_assert_eq!((found.verdict, found.reason), (expected.verdict, reason));
                prop_assert_eq!(place_of(&tables, found.rule), expected.place, "{}", name);
                allowed.fetch_add(usize::from(found.verdict == Verdict::Allow), Relaxed);
            }
            Ok(())
        })
        .unwrap();
    let allowed = allowed.into_inner();
    assert!(allowed > 5_000, "only {allowed} names were allowed");
}

/// Whether a rule counts once a name stands for an address.
fn counts(rule: &EgressRule, name: &str, address: IpAddr) -> bool {
    let lower = name.to_ascii_lowercase();
    match &rule.target {
        Target::Network(_) => matches_address(rule, address),
        Target::Host(pattern) => {
            let may_open = rule.effect == Effect::Deny
                || may_stand_for(lower.strip_suffix('.').unwrap_or(&lower), address);
            may_open && hosts::matches_pattern(pattern, name)
        }
    }
}

fn is_for(rule: &EgressRule, port: u16, protocol: Protocol) -> bool {
    (rule.ports.is_empty() || rule.ports.iter().any(|ports| ports.contains(&port)))
        && rule.protocol.is_none_or(|only| only == protocol)
}

/// What one document says, where, and whether all rules that allow ask for the server's name.
fn one<'a>(
    egress: &'a Egress,
    mut matching: impl Iterator<Item = &'a EgressRule> + Clone,
) -> (Verdict, Place, bool) {
    let mut allowing = matching.clone().filter(|rule| rule.effect == Effect::Allow);
    let is_checked = allowing.clone().next().is_some()
        && allowing
            .clone()
            .all(|rule| rule.tls_name_check && matches!(rule.target, Target::Host(_)));
    let refusal = egress.mode.refusal();
    match (matching.find(|rule| rule.effect == Effect::Deny), allowing.next()) {
        (Some(rule), _) => (refusal, rule.place.clone(), is_checked),
        (None, Some(rule)) => (Verdict::Allow, rule.place.clone(), is_checked),
        (None, None) => (refusal, egress.place.clone(), false),
    }
}

fn grant(grants: &[Grant], port: u16, protocol: Protocol) -> Option<&Grant> {
    grants.iter().find(|grant| grant.protocol == protocol && grant.ports.contains(&port))
}

#[test]
fn grants_agree_with_every_document_asked_by_itself() {
    let (granted, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    TestRunner::new(config())
        .run(&(boundaries(), 1_u64..), |(boundaries, seed)| {
            let tables = compile(&boundaries, &Resolved::new()).unwrap();
            let book = Book::new(&boundaries, &tables);
            let governing = || boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
            let mut dice = Dice(seed);
            for _ in 0..30 {
                let name = name(&mut dice);
                let address: IpAddr = dice.one_of(ADDRESSES).parse().unwrap();
                // Rules that part more ranges than an entry holds install nothing.
                let Ok(grants) = book.grants(&name, address) else { continue };
                let keys = grants.iter().map(|grant| (grant.protocol.number(), &grant.ports));
                let keys: Vec<_> = keys.collect();
                let is_ascending = |pair: &[(u8, &RangeInclusive<u16>)]| {
                    pair[0].0 < pair[1].0 || pair[0].1.end() < pair[1].1.start()
                };
                prop_assert!(keys.windows(2).all(is_ascending), "{:?}", keys);
                let value = entry(&grants, 10).unwrap();
                for (protocol, port) in
                    PROTOCOLS.into_iter().flat_map(|protocol| PORTS.map(|port| (protocol, port)))
                {
                    let answers: Vec<_> = governing()
                        .map(|egress| {
                            let counts = |rule: &&EgressRule| {
                                is_for(rule, port, protocol) && counts(rule, &name, address)
                            };
                            one(egress, egress.rules.iter().filter(counts))
                        })
                        .collect();
                    let strictest = answers.iter().map(|answer| answer.0).max();
                    let is_checked = port == 443
                        && protocol == Protocol::Tcp
                        && answers.iter().any(|answer| answer.2);
                    let expected = answers
                        .into_iter()
                        .find(|answer| Some(answer.0) == strictest && answer.0 < Verdict::Deny)
                        .map(|(verdict, place, _)| (verdict, Some(place), is_checked));
                    let found = grant(&grants, port, protocol);
                    let found = found
                        .map(|one| (one.verdict, place_of(&tables, one.rule), one.checks_name));
                    prop_assert_eq!(&found, &expected, "{} {} {}", name, address, port);
                    let installed = installed::find(&value, 9, protocol, port);
                    let installed = installed.map(|one| {
                        let Decision { verdict, rule, .. } = one.decision;
                        (verdict, place_of(&tables, rule), one.checks_name)
                    });
                    prop_assert_eq!(installed, expected);
                    granted.fetch_add(usize::from(found.is_some()), Relaxed);
                    checked.fetch_add(usize::from(found.is_some_and(|one| one.2)), Relaxed);
                }
            }
            Ok(())
        })
        .unwrap();
    let (granted, checked) = (granted.into_inner(), checked.into_inner());
    assert!(granted > 10_000 && checked > 100, "{granted} ports granted, {checked} checked");
}

fn host(effect: Effect, name: &str, ports: &[u16]) -> (Effect, Target, Vec<RangeInclusive<u16>>) {
    (effect, Target::Host(name.into()), ports.iter().map(|port| *port..=*port).collect())
}

#[test]
fn more_ranges_than_the_kernel_is_told_of_are_an_error_and_no_grant() {
    let of = |count: u16| {
        let ports: Vec<u16> = (0..count).map(|i| 1000 + 2 * i).collect();
        let boundary =
            egress("a", Mode::Enforce, vec![host(Effect::Allow, "*.example.com", &ports)]);
        let boundaries = [boundary];
        let tables = compile(&boundaries, &Resolved::new()).unwrap();
        Book::new(&boundaries, &tables).grants("API.example.com.", "93.184.216.34".parse().unwrap())
    };
    let grants = of(8).unwrap();
    assert_eq!(grants.len(), installed::MAX_RANGES);
    assert!(entry(&grants, 1).is_some());
    let error = of(9).unwrap_err().to_string();
    let expected = "the rules about api.example.com at 93.184.216.34 come to more than 16 ranges";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn an_address_that_a_name_may_not_stand_for_is_granted_by_its_own_rule_alone() {
    let boundaries = [egress(
        "a",
        Mode::Enforce,
        vec![
            host(Effect::Allow, "*", &[80]),
            (Effect::Allow, network("10.1.0.0/16"), vec![]),
            (Effect::Allow, network("169.0.0.0/8"), vec![]),
        ],
    )];
    let tables = compile(&boundaries, &Resolved::new()).unwrap();
    let book = Book::new(&boundaries, &tables);
    for (name, address, expected) in [
        ("a.com", "93.184.216.34", &[80..=80, 80..=80][..]),
        ("a.com", "10.2.0.1", &[]),
        ("a.com", "10.1.0.1", &[0..=852, 854..=65535, 0..=852, 854..=65535]),
        ("a.com", "127.0.0.1", &[]),
        ("localhost", "127.0.0.1", &[80..=80, 80..=80]),
        ("localhost", "93.184.216.34", &[]),
        ("a.com", "169.254.169.254", &[]),
        ("a.com", "fd00:ec2::254", &[]),
        ("localhost", "169.1.1.1", &[0..=852, 854..=65535, 0..=852, 854..=65535]),
    ] {
        let grants = book.grants(name, address.parse().unwrap()).unwrap();
        let ports: Vec<_> = grants.into_iter().map(|grant| grant.ports).collect();
        assert_eq!(ports, expected, "{name} {address}");
    }
}

#[test]
fn ten_thousand_hosts_that_share_nothing_but_a_few_domains_fit() {
    let rules = (0..10_000_u32).map(|i| {
        // Numbers that look random, so that names share no beginnings.
        let label = i.wrapping_mul(2_654_435_761);
        let name = match i % 3 {
            0 => format!("{label:08x}.example.com"),
            1 => format!("*.{label:08x}.example.org"),
            _ if i > 200 => format!("api.{label:08x}.example.net"),
            _ => format!("api-{label:08x}.*.example.net"),
        };
        host(Effect::Allow, &name, &[443])
    });
    let boundaries = [egress("a.yaml", Mode::Enforce, rules.collect())];
    let tables = compile(&boundaries, &Resolved::new()).unwrap();
    assert_eq!(verify(&tables.image), Ok(()));
    let states = tables.summary.name_states;
    assert!((50_000..150_000).contains(&states), "{:?}", tables.summary);
    assert!(tables.image.len() < 30 * states, "few states have more than one successor");
    for (name, line) in [
        ("00000000.example.com", Some(1)),
        ("x.y.9e3779b1.EXAMPLE.org", Some(2)),
        ("api-3c6ef362.eu.example.net.", Some(3)),
        ("9e3779b1.example.org", None),
        ("api-3c6ef362.example.net", None),
    ] {
        let decision = names::decide_lookup(&*tables.image, name.as_bytes());
        let allowed = (decision.verdict == Verdict::Allow)
            .then(|| place_of(&tables, decision.rule).unwrap().line);
        assert_eq!(allowed, line, "{name}");
    }
}

#[test]
fn the_pattern_that_makes_the_names_too_complex_is_named() {
    // Which of them a name holds the end of must be remembered for each by itself.
    let rules = (0..16).map(|i| host(Effect::Allow, &format!("*a{i}x*b{i}x*"), &[]));
    let boundary = egress("a.yaml", Mode::Enforce, rules.collect());
    let error = compile(&[boundary], &Resolved::new()).unwrap_err();
    assert!((4..17).contains(&error.place.line), "{error}");
    let expected = format!("*a{0}x*b{0}x*", error.place.line - 1);
    assert_eq!(error.problem, Problem::NamesTooComplex { pattern: expected });
}
