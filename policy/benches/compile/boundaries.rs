//! Boundaries of many rules.

use std::sync::Arc;

use ringfence_policy::boundary::{
    Boundary, Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, PathRule, Place, Rights,
    Target,
};

fn place(line: usize) -> Place {
    Place { file: Arc::from("bench.yaml"), line: line as u32 + 1, column: 1 }
}

fn files(patterns: impl Iterator<Item = String>) -> Boundary {
    let path_rules = patterns.enumerate().map(|(i, pattern)| PathRule {
        pattern,
        syntax: GlobSyntax::Component,
        effect: Effect::Allow,
        rights: Rights::FILES,
        content: None,
        place: place(i),
    });
    Boundary {
        path_groups: vec![PathGroup {
            rights: Rights::FILES,
            mode: Mode::Enforce,
            place: place(0),
            is_rule: false,
        }],
        path_rules: path_rules.collect(),
        ..Boundary::new("bench.yaml")
    }
}

/// A folder each: what a list of projects or tenants looks like.
pub(crate) fn folders(count: usize) -> Boundary {
    files((0..count).map(|i| format!("/srv/project-{i}/**")))
}

/// Folders, single files, names with a star, and alternatives.
pub(crate) fn mixed(count: usize) -> Boundary {
    files((0..count).map(|i| match i % 4 {
        0 => format!("/srv/project-{i}/**"),
        1 => format!("/etc/service-{i}/config.yaml"),
        2 => format!("/var/log/service-{i}/*.log"),
        _ => format!("/data/{{in,out}}/set-{i}/*"),
    }))
}

/// Names at any depth: every state must remember all that it may be inside of.
pub(crate) fn floating(count: usize) -> Boundary {
    files((0..count).map(|i| format!("/**/name{i}/**")))
}

/// Networks, every second one inside the one before it.
pub(crate) fn networks(count: usize, each_with_ports: bool) -> Boundary {
    let mut boundary = files(std::iter::empty());
    let rules = (0..count as u32).map(|i| {
        let address = std::net::Ipv4Addr::from_bits(0x1400_0000 + (i / 2) * 4096);
        let network = format!("{address}/{}", if i % 2 == 0 { 20 } else { 28 });
        EgressRule {
            effect: if i % 16 == 1 { Effect::Deny } else { Effect::Allow },
            target: Target::Network(network.parse().expect("an address and a prefix")),
            ports: if each_with_ports {
                vec![443..=443, 8000..=8000 + (i % 1000) as u16]
            } else {
                vec![]
            },
            protocol: None,
            tls_name_check: true,
            place: place(i as usize),
        }
    });
    boundary.egress = Some(Egress {
        mode: Mode::Enforce,
        place: place(0),
        is_rule: false,
        rules: rules.collect(),
    });
    boundary
}

/// Hosts of a few domains that share nothing else: exact names and patterns.
pub(crate) fn hosts(count: usize) -> Boundary {
    let mut boundary = files(std::iter::empty());
    let rules = (0..count as u32).map(|i| {
        // Numbers that look random, so that names share no beginnings.
        let label = i.wrapping_mul(2_654_435_761);
        EgressRule {
            effect: Effect::Allow,
            target: Target::Host(match i % 3 {
                0 => format!("{label:08x}.example.com"),
                1 => format!("*.{label:08x}.example.org"),
                _ => format!("api.{label:08x}.example.net"),
            }),
            ports: vec![443..=443],
            protocol: None,
            tls_name_check: true,
            place: place(i as usize),
        }
    });
    boundary.egress = Some(Egress {
        mode: Mode::Enforce,
        place: place(0),
        is_rule: false,
        rules: rules.collect(),
    });
    boundary
}

/// Folders, and ten networks for each.
pub(crate) fn both(count: usize) -> Boundary {
    Boundary { egress: networks(10 * count, true).egress, ..folders(count) }
}

/// Folders and networks inside of others that stand behind them.
pub(crate) fn idle(count: usize) -> Boundary {
    let mut boundary = both(count / 20);
    boundary
        .path_rules
        .extend(files((0..count / 20).map(|i| format!("/srv/project-{i}/x/**"))).path_rules);
    boundary.path_rules.extend(files(std::iter::once("/srv/**".to_owned())).path_rules);
    boundary
}
