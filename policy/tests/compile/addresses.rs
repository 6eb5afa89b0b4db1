//! Address tables, against networks asked one by one.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use ipnetwork::{IpNetwork, Ipv4Network};
use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{
    Address, Verdict,
    egress::{Protocol, answer, decide},
};
use ringfence_policy::{
    boundary::{Boundary, Effect, Egress, EgressRule, Mode, Place, Resolved, Target},
    compile::{Tables, compile, verify},
};

use crate::support::{Dice, egress, network, nothing};

pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
/// Networks that nest, touch, and say the same in other words.
const NETWORKS: &[&str] = &[
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/8",
    "10.0.0.0/9",
    "10.128.0.0/9",
    "10.1.0.0/16",
    "10.1.2.0/31",
    "10.1.2.0/32",
    "10.1.2.1/32",
    "0.0.0.0/32",
    "0.0.0.0/8",
    "255.255.255.255/32",
    "255.255.255.0/24",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "169.254.169.254/32",
    "169.0.0.0/8",
    "224.0.0.0/3",
    "239.0.0.0/8",
    "::/0",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:10.1.0.0/112",
    "::ffff:0:0/95",
    "64:ff9b::/96",
    "64:ff9b::10.1.2.1/128",
    "64:ff9b::/64",
    "2001:db8::/32",
    "2001:db8::/128",
    "2001:db8:0:1::/64",
    "fe80::/10",
    "fe80::/64",
    "f000::/4",
    "fd00:ec2::/32",
    "fd00:ec2::254/128",
    "ff02::1/128",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
];
const SPECIAL: &[&str] = &[
    "0.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "fe80::/10",
    "ff00::/8",
    "fd00:ec2::254/128",
];

fn parse(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn number(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::v4(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            Address::v6((bits >> 64) as u64, bits as u64)
        }
    }
}

pub(crate) fn ask(image: &[u8], address: IpAddr, protocol: Protocol, port: u16) -> (Verdict, u32) {
    let decision = decide(image, number(address), protocol, port);
    (decision.verdict, decision.rule)
}

/// An address as it is looked up: IPv4 in whatever words is IPv4, unspecified is loopback.
fn plain(address: IpAddr) -> IpAddr {
    let plain = match address {
        IpAddr::V6(six) => match (six.to_ipv4_mapped(), six.segments()) {
            (Some(four), _) => IpAddr::V4(four),
            (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => {
                IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
            }
            _ => address,
        },
        IpAddr::V4(_) => address,
    };
    match plain {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// A network as a rule means it.
fn meant(network: IpNetwork) -> IpNetwork {
    let (lowest, highest) = match network {
        IpNetwork::V4(network) => (network.network().into(), network.broadcast().into()),
        IpNetwork::V6(network) => (IpAddr::V6(network.network()), IpAddr::V6(network.broadcast())),
    };
    if lowest == highest {
        return plain(lowest).into();
    }
    match (lowest, network, plain(highest)) {
        (IpAddr::V6(lowest), IpNetwork::V6(_), IpAddr::V4(_)) if network.prefix() >= 96 => {
            let lowest = Ipv4Addr::from_bits(lowest.to_bits() as u32);
            Ipv4Network::new(lowest, network.prefix() - 96).unwrap().into()
        }
        _ => network,
    }
}

fn is_inside(inner: IpNetwork, outer: IpNetwork) -> bool {
    inner.is_ipv4() == outer.is_ipv4()
        && outer.prefix() <= inner.prefix()
        && outer.contains(inner.network())
}

/// The network of addresses that must be named literally that a plain address is in.
fn special(address: IpAddr) -> Option<IpNetwork> {
    SPECIAL.iter().map(|text| parse(text)).find(|special| special.contains(address))
}

/// Whether a rule about a network is about an address.
pub(crate) fn matches_address(rule: &EgressRule, address: IpAddr) -> bool {
    let Target::Network(network) = &rule.target else { unreachable!() };
    let (network, address) = (meant(*network), plain(address));
    let is_included = rule.effect == Effect::Deny
        || special(address).is_none_or(|special| is_inside(network, special));
    is_included && network.contains(address)
}

/// What one boundary says, and where; `address` is plain.
fn one(egress: &Egress, address: IpAddr, protocol: Protocol, port: u16) -> (Verdict, Place) {
    let mut matching = egress.rules.iter().filter(|rule| {
        let is_port = rule.ports.is_empty() || rule.ports.iter().any(|ports| ports.contains(&port));
        let is_protocol = rule.protocol.is_none_or(|only| only == protocol);
        matches_address(rule, address) && is_port && is_protocol
    });
    match (
        matching.clone().find(|rule| rule.effect == Effect::Deny),
        matching.find(|rule| rule.effect == Effect::Allow),
    ) {
        (Some(rule), _) => (egress.mode.refusal(), rule.place.clone()),
        (None, Some(rule)) => (Verdict::Allow, rule.place.clone()),
        (None, None) => (egress.mode.refusal(), egress.place.clone()),
    }
}

pub(crate) fn boundary(number: usize) -> impl Strategy<Value = Boundary> {
    let ports = prop_oneof![
        2 => Just(vec![]),
        2 => Just(vec![443..=443]),
        1 => Just(vec![80..=90, 85..=443]),
        1 => Just(vec![0..=0, 65535..=65535]),
    ];
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    let protocol = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Protocol::Tcp)),
        1 => Just(Some(Protocol::Udp)),
    ];
    let rule = (0..NETWORKS.len(), effect, ports, protocol);
    let mode = prop_oneof![2 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    (mode, proptest::collection::vec(rule, 0..12)).prop_map(move |(mode, rules)| {
        let (protocols, rules): (Vec<_>, Vec<_>) = rules
            .into_iter()
            .map(|(at, effect, ports, protocol)| (protocol, (effect, network(NETWORKS[at]), ports)))
            .unzip();
        let mut boundary = egress(&format!("{number}.yaml"), mode, rules);
        let rules = boundary.egress.iter_mut().flat_map(|egress| &mut egress.rules);
        for (rule, protocol) in rules.zip(protocols) {
            rule.protocol = protocol;
        }
        boundary
    })
}

/// The edges of every network, and what lies beside them.
pub(crate) fn probes() -> Vec<IpAddr> {
    let mut probes = Vec::new();
    for network in NETWORKS.iter().chain(SPECIAL).map(|text| parse(text)) {
        match network {
            IpNetwork::V4(network) => {
                let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
                let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                probes.extend(edges.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))));
                let mapped = [first, last].map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped());
                probes.extend(mapped.map(IpAddr::V6));
                let nat64 = [first, last].map(|bits| (0x64_ff9b << 96) | u128::from(bits));
                probes.extend(nat64.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))));
            }
            IpNetwork::V6(network) => {
                let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
                let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                probes.extend(edges.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))));
            }
        }
    }
    probes.sort();
    probes.dedup();
    probes
}

fn place_of(tables: &Tables, rule: u32) -> Option<Place> {
    tables.rule(rule).map(|rule| rule.place.clone())
}

#[test]
fn a_lookup_answers_as_the_networks_asked_one_by_one() {
    let probes = probes();
    let questions = std::sync::atomic::AtomicUsize::new(0);
    let config = ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() };
    let boundaries = prop_oneof![
        3 => boundary(0).prop_map(|one| vec![one]),
        1 => (boundary(0), boundary(1)).prop_map(|(one, other)| vec![one, nothing("x"), other]),
        1 => (boundary(0), boundary(1), boundary(2)).prop_map(|(a, b, c)| vec![a, b, c]),
    ];
    TestRunner::new(config)
        .run(&(boundaries, 1_u64..), |(boundaries, seed)| {
            let tables = compile(&boundaries, &Default::default()).unwrap();
            prop_assert_eq!(verify(&tables.image), Ok(()));
            let mut dice = Dice(seed);
            for address in &probes {
                let protocol = *dice.one_of(&PROTOCOLS);
                let port = *dice.one_of(&[0, 1, 79, 80, 84, 90, 91, 443, 444, 65535]);
                let egress = boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
                let answers: Vec<_> =
                    egress.map(|egress| one(egress, plain(*address), protocol, port)).collect();
                // By default, unless by a rule, or since no rule names it literally.
                let is_default = |(_, place): &(Verdict, Place)| {
                    place.line >= 1000 && special(plain(*address)).is_none()
                };
                let is_refused =
                    |one: &(Verdict, Place)| one.0 == Verdict::Deny && !is_default(one);
                let by_default = answers.iter().any(is_default) && !answers.iter().any(is_refused);
                let strictest = answers.iter().map(|(verdict, _)| *verdict).max();
                let expected =
                    answers.into_iter().find(|(verdict, _)| Some(*verdict) == strictest).unwrap();
                let (verdict, rule) = ask(&tables.image, *address, protocol, port);
                let found = (verdict, place_of(&tables, rule).unwrap());
                prop_assert_eq!(found, expected, "{} {:?} {}", address, protocol, port);
                let whole = answer(&*tables.image, number(*address), protocol, port);
                prop_assert_eq!(whole.decision.rule, rule);
                prop_assert_eq!(whole.by_default, by_default, "{} {}", address, port);
                questions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        })
        .unwrap();
    println!("{} questions", questions.into_inner());
}

fn image(rules: Vec<(Effect, &str, Vec<RangeInclusive<u16>>)>) -> Tables {
    let rules = rules.into_iter().map(|(effect, text, ports)| (effect, network(text), ports));
    let tables = compile(&[egress("a", Mode::Enforce, rules.collect())], &Default::default());
    let tables = tables.unwrap();
    assert_eq!(verify(&tables.image), Ok(()));
    tables
}

fn allows(tables: &Tables, address: &str, port: u16) -> bool {
    PROTOCOLS.iter().any(|protocol| {
        ask(&tables.image, address.parse().unwrap(), *protocol, port).0 == Verdict::Allow
    })
}

#[test]
fn the_first_and_last_address_of_a_network_are_inside() {
    #[rustfmt::skip]
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("0.0.0.0/0", &["1.0.0.0", "223.255.255.255", "::ffff:1.2.3.4", "240.0.0.1"], &["2600::1"]),
        ("::/0", &["2600::1", "::1", "fc00::1"], &["1.2.3.4", "::ffff:1.2.3.4", "fe80::1", "fd00:ec2::254"]),
        ("10.1.2.3/32", &["10.1.2.3", "64:ff9b::a01:203"], &["10.1.2.2", "10.1.2.4"]),
        ("2600::/128", &["2600::"], &["2600::1", "25ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ("255.255.255.255/32", &["255.255.255.255"], &["255.255.255.254"]),
        ("ff02::fb/128", &["ff02::fb"], &["ff02::fc"]),
        ("10.0.0.0/15", &["10.0.0.0", "10.1.255.255"], &["9.255.255.255", "10.2.0.0"]),
        ("::ffff:10.0.0.0/104", &["10.255.255.255", "::ffff:10.0.0.0"], &["11.0.0.0"]),
        ("0.0.0.0/32", &["0.0.0.0", "127.0.0.1"], &["127.0.0.2"]),
    ];
    for (text, inside, outside) in cases {
        let tables = image(vec![(Effect::Allow, text, vec![])]);
        for address in *inside {
            assert!(allows(&tables, address, 1), "{address} is in {text}");
        }
        for address in *outside {
            assert!(!allows(&tables, address, 1), "{address} is not in {text}");
        }
    }
}

#[test]
fn a_wide_rule_does_not_open_credentials_services_but_a_narrow_one_does() {
    let wide = image(vec![(Effect::Allow, "0.0.0.0/0", vec![]), (Effect::Allow, "::/0", vec![])]);
    for address in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "224.0.0.251"] {
        assert!(!allows(&wide, address, 80), "{address}");
    }
    let narrow = image(vec![
        (Effect::Allow, "0.0.0.0/0", vec![]),
        (Effect::Allow, "169.254.169.254/32", vec![80..=80]),
    ]);
    assert!(allows(&narrow, "169.254.169.254", 80));
    assert!(!allows(&narrow, "169.254.169.254", 81));
    assert!(!allows(&narrow, "169.254.169.253", 80));
    for (tables, port) in [(&wide, 80), (&narrow, 81)] {
        let address = number("169.254.169.254".parse().unwrap());
        let whole = answer(&*tables.image, address, Protocol::Tcp, port);
        let rule = tables.rule(whole.decision.rule).unwrap();
        assert_eq!(rule.text, "address that no rule names literally");
        assert!(rule.is_default && !whole.by_default, "and no name opens it");
    }
}

#[test]
fn neighbours_with_the_same_answer_are_one_interval() {
    let rule = |text| (Effect::Allow, text, vec![]);
    let one = image(vec![rule("10.0.0.0/8")]).summary.v4_intervals;
    let nested = image(vec![rule("10.0.0.0/8"), rule("10.1.0.0/16"), rule("10.1.2.3/32")]);
    assert_eq!(nested.summary.v4_intervals, one, "the outer rule is the first and is named");
}

#[test]
fn without_an_egress_group_everything_may_be_reached() {
    let tables = compile(&[nothing("a")], &Default::default()).unwrap();
    assert_eq!(verify(&tables.image), Ok(()));
    let answer = ask(&tables.image, "169.254.169.254".parse().unwrap(), Protocol::Tcp, 80);
    assert_eq!(answer, (Verdict::Allow, 0));
}

#[test]
fn a_host_stands_for_the_addresses_it_resolved_to() {
    let host = |effect, name: &str| (effect, Target::Host(name.to_owned()), vec![443..=443]);
    let boundary = egress(
        "a",
        Mode::Enforce,
        vec![
            host(Effect::Allow, "*.example.com"),
            host(Effect::Deny, "bad.example.com"),
            host(Effect::Allow, "localhost"),
            host(Effect::Allow, "unresolved.example.org"),
        ],
    );
    let resolved: Resolved = [
        ("api.example.com", vec!["93.184.216.34", "10.0.0.5", "64:ff9b::a00:6"]),
        ("bad.example.com", vec!["93.184.216.35"]),
        ("other.example.org", vec!["93.184.216.36"]),
        ("localhost", vec!["127.0.0.1", "::1", "93.184.216.37"]),
    ]
    .into_iter()
    .map(|(name, list)| {
        (name.to_owned(), list.into_iter().map(|text| text.parse().unwrap()).collect())
    })
    .collect();
    let tables = compile(&[boundary], &resolved).unwrap();
    for address in ["93.184.216.34", "127.0.0.1", "::1", "0.0.0.0"] {
        assert!(allows(&tables, address, 443), "{address}");
        assert!(!allows(&tables, address, 80), "{address}");
    }
    let closed = ["93.184.216.35", "93.184.216.36", "93.184.216.37", "10.0.0.5", "10.0.0.6"];
    for address in closed {
        assert!(!allows(&tables, address, 443), "{address}");
    }
    let dropped: Vec<_> =
        tables.dropped.iter().map(|(name, address)| format!("{name} {address}")).collect();
    let expected =
        ["api.example.com 10.0.0.5", "api.example.com 64:ff9b::a00:6", "localhost 93.184.216.37"];
    assert_eq!(dropped, expected);
}
