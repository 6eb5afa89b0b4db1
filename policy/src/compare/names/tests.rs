//! Differences about host names.

use super::super::tests::{Policy, told};
use super::*;

fn egress(rules: &str) -> Policy {
    Policy::of(&format!("egress:\n{rules}"))
}

/// Differences over TCP, and about looking up, without those about addresses.
fn differing(old: &str, new: &str) -> Vec<String> {
    let mut told = told(&egress(old), &egress(new));
    told.retain(|one| {
        let object = one.split(' ').nth(1).unwrap_or_default();
        !one.starts_with("Udp") && object.parse::<std::net::IpAddr>().is_err()
    });
    told
}

#[test]
fn a_name_is_its_own_example_and_a_pattern_has_the_shortest() {
    for (host, example) in [
        ("api.example.com", "api.example.com"),
        ("\"*.example.com\"", "a.example.com"),
        ("\"api.*.example.*\"", "api.a.example.a"),
        ("\"*\"", "a"),
        ("\"1*\"", "1a"),
        ("\"*-*\"", "-"),
    ] {
        let told = differing("  []\n", &format!("  - {{ host: {host} }}\n"));
        assert_eq!(told, [format!("Tcp {example} 443: deny 3, allow 4")], "{host}");
    }
}

#[test]
fn a_denial_inside_a_pattern_is_found() {
    let rule = "  - { host: \"*.example.com\" }\n";
    let denial = "  - { host: \"*.inner.*\", deny: true }\n";
    let told = differing(rule, &format!("{rule}{denial}"));
    assert_eq!(told, ["Tcp a.inner.example.com 443: allow 4, deny 5"]);
}

#[test]
fn names_are_compared_at_each_port_and_protocol_that_any_rule_tells_apart() {
    let old = "  - { host: a.com, ports: [\"8000-8100\"], protocol: tcp }\n";
    let new = "  - { host: a.com, ports: [\"8000-8099\", 8200], protocol: tcp }\n";
    assert_eq!(
        differing(old, new),
        ["Tcp a.com 8100: allow 4, deny 3", "Tcp a.com 8200: deny 3, allow 4"]
    );
    let both = told(&egress("  []\n"), &egress("  - { host: a.com }\n"));
    assert!(both.contains(&"Udp a.com 443: deny 3, allow 4".into()), "{both:?}");
}

#[test]
fn only_looking_up_may_differ() {
    // A denial without ports takes the name too, one of all ports only every connection.
    let allow = "  - { host: a.com }\n";
    let old = format!("{allow}  - {{ host: a.com, ports: [\"1-65535\"], deny: true }}\n");
    let new = format!("{allow}  - {{ host: a.com, deny: true }}\n");
    assert_eq!(differing(&old, &new), ["lookup a.com: allow 4, deny 5"]);
}

#[test]
fn documents_intersect() {
    let document = |rules: &str| format!("boundary: 1\nbaseline: none\negress:\n{rules}");
    let wide = document("  - { host: \"*.example.com\" }\n");
    let narrow = document("  - { host: \"api.*\" }\n");
    let told = told(&Policy::new(&[&wide]), &Policy::new(&[&wide, &narrow]));
    assert_eq!(
        told,
        ["Tcp a.example.com 443: allow 4, deny 3", "Udp a.example.com 443: allow 4, deny 3"]
    );
}

#[test]
fn one_name_of_thousands_is_found_at_thousands_of_ports() {
    let rules = |count: usize| {
        let rule = |n| format!("  - {{ host: h{n}.example.com, ports: [{}] }}\n", 1000 + n);
        (0..count).map(rule).collect::<String>()
    };
    let told = differing(&rules(1000), &rules(1001));
    assert_eq!(told, ["Tcp h1000.example.com 2000: deny 3, allow 1004"]);
}

#[test]
fn only_host_names_have_the_form() {
    let is_name = |name: &str| {
        let state = name.bytes().rev().try_fold(HostName::START, |state, byte| {
            assert!(state < HostName::STATES);
            HostName::step(state, byte)
        });
        state.is_some_and(HostName::may_end)
    };
    let longest = "a".repeat(63);
    for name in ["a", "a.b", "1.a", "1a", "_x.a-b", "a.1b", &longest, &format!("{longest}.com")] {
        assert!(is_name(name), "{name}");
    }
    let longer = "a".repeat(64);
    for name in ["", ".", ".a", "a.", "a..b", "1", "a.1", "A", "a b", "*", "\u{e9}", &longer] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn tables_of_names_answer_as_the_rules_do() {
    let policy = egress(
        "  - { host: \"*.example.com\" }\n  - { host: \"b.*\", deny: true }\n  - { host: \"*a*\" }\n",
    );
    let rules = NameRules::new(&policy.boundaries);
    let tables = rules.compile(&[0, 1, 2]).unwrap();
    for name in ["example.com", "c.example.com", "b.example.com", "b.x", "xax", "x"] {
        let walker = ringfence_common::files::Walker::new(&*tables.image).unwrap();
        let backwards: Vec<u8> = name.bytes().rev().collect();
        let state = walker.walk(&*tables.image, &backwards);
        let cell = cell(&*tables.image, state, Right::Read).unwrap();
        let place = tables.rule(cell.rule()).map(|rule| rule.place.clone());
        let decision =
            hosts::decide(&policy.boundaries, name, 443, ringfence_common::egress::Protocol::Tcp);
        assert_eq!(HostDecision { verdict: cell.verdict(), place }, decision, "{name}");
    }
}
