//! Differences about addresses.

use super::super::tests::{Policy, told};
use super::*;

fn egress(rules: &str) -> Policy {
    Policy::of(&format!("egress:\n{rules}"))
}

/// Differences about addresses over TCP when rules are added to none.
fn added(rules: &str) -> Vec<String> {
    let told = told(&egress("  []\n"), &egress(rules));
    let is_address = |one: &String| one.starts_with("Tcp") && !one.starts_with("Tcp a");
    told.into_iter().filter(is_address).collect()
}

#[test]
fn examples_are_addresses_and_ports_that_people_can_read() {
    for (rule, example) in [
        ("cidr: 10.0.0.0/8", "10.0.0.1 443"),
        ("cidr: 10.1.2.3", "10.1.2.3 443"),
        ("cidr: 10.1.2.0/32", "10.1.2.0 443"),
        ("cidr: 10.1.2.4/30", "10.1.2.4 443"),
        ("cidr: 10.0.0.0/8, ports: [80, 443]", "10.0.0.1 80"),
        ("cidr: 10.0.0.0/8, ports: [\"20-30\"]", "10.0.0.1 22"),
        ("cidr: 10.0.0.0/8, ports: [\"8000-8100\"]", "10.0.0.1 8000"),
        ("cidr: \"2001:db8:7::/48\"", "2001:db8:7::1 443"),
        ("cidr: \"::1\"", "::1 443"),
        ("cidr: \"::ffff:10.1.0.0/112\"", "10.1.0.1 443"),
    ] {
        let expected = format!("Tcp {example}: deny 3, allow 4");
        assert_eq!(added(&format!("  - {{ {rule} }}\n")), [expected], "{rule}");
    }
}

#[test]
fn every_address_is_told_once_in_each_family() {
    let told = added("  - { host: \"*\" }\n");
    assert_eq!(told, ["Tcp 1.0.0.1 443: deny 3, allow 4", "Tcp 2001:db8::1 443: deny 3, allow 4"]);
}

#[test]
fn other_spellings_of_ipv4_are_no_ipv6_addresses() {
    // What is wider than the range of IPv4 inside IPv6 does not include it.
    let old = egress("  - { cidr: \"::/0\" }\n");
    let new = egress("  - { cidr: \"::/0\" }\n  - { cidr: \"::/64\", deny: true }\n");
    let told = told(&old, &new);
    assert!(told.contains(&"Tcp ::1 443: allow 4, deny 5".into()), "{told:?}");
    let example = |first, last| Family::V6.example(first, last);
    let mapped = 0xffff_u128 << 32;
    assert_eq!(example(mapped, mapped | 0xffff_ffff), None);
    assert_eq!(example(0, 0), None);
    assert_eq!(Family::V4.example(0, 0), None);
    assert_eq!(example(mapped, mapped + (1 << 32)), "::1:0:0:0".parse().ok());
}

#[test]
fn a_denial_inside_a_network_is_found_at_its_port_and_protocol() {
    let rule = "  - { cidr: 10.0.0.0/8 }\n";
    let denial = "  - { cidr: 10.7.0.0/16, ports: [25], protocol: udp, deny: true }\n";
    let told = told(&egress(rule), &egress(&format!("{rule}{denial}")));
    assert_eq!(told, ["Udp 10.7.0.1 25: allow 4, deny 5"]);
}

#[test]
fn a_policy_without_destinations_allows_what_the_other_does_not() {
    let told = told(&Policy::of("exec: []\n"), &egress("  - { cidr: 0.0.0.0/0 }\n"));
    let tcp: Vec<_> = told.iter().filter(|one| one.starts_with("Tcp")).collect();
    assert_eq!(tcp[0], "Tcp 1.0.0.1 853: allow, deny 3");
    assert!(told.contains(&"OtherSocket: allow, deny".into()), "{told:?}");
}

#[test]
fn merged_intervals_begin_wherever_either_table_changes() {
    let merged: Vec<_> =
        merged(&[(0, 'a'), (5, 'b')], &[(0, 1), (3, 2), (5, 3), (9, 4)], 10).collect();
    assert_eq!(merged, [(0, 2, 'a', 1), (3, 4, 'a', 2), (5, 8, 'b', 3), (9, 10, 'b', 4)]);
}

#[test]
fn port_0_is_nobodys() {
    assert_eq!(port_of(0, 0), None);
    assert_eq!(port_of(0, 3), Some(1));
    assert_eq!(port_of(0, 65535), Some(443));
    assert_eq!(port_of(65535, 65535), Some(65535));
}
