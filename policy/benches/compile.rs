//! How large policies compile, and how long it takes: `cargo bench -p ringfence-policy`.
//!
//! Prints a table; judges nothing, since a shared machine's times are no test.
#![expect(clippy::expect_used, reason = "a benchmark of a policy that is wrong may stop")]

use std::{fs, sync::Arc, time::Instant};

use ringfence_policy::{
    boundary::{
        Boundary, Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, PathRule, Place, Rights,
        Target,
    },
    compile::{Summary, compile},
};

fn main() {
    println!(
        "{:<40} {:>8} {:>8} {:>10} {:>8} {:>8}",
        "policy", "states", "ranges", "bytes", "ms", "peak MB"
    );
    for count in [10, 100, 1_000, 10_000] {
        run(&format!("{count} folders: /srv/project-N/**"), &folders(count));
        run(&format!("{count} mixed globs"), &mixed(count));
    }
    for count in [10, 100, 1_000] {
        run(&format!("{count} floating globs: /**/nameN/**"), &floating(count));
    }
    run("100000 networks, all ports", &networks(100_000, false));
    run("100000 networks, two port ranges each", &networks(100_000, true));
    let mut both = folders(10_000);
    both.egress = networks(100_000, true).egress;
    run("10000 folders and 100000 networks", &both);
}

fn run(name: &str, boundary: &Boundary) {
    let start = Instant::now();
    let result = compile(std::slice::from_ref(boundary), &Default::default());
    let millis = start.elapsed().as_millis();
    let peak = peak_megabytes();
    match result {
        Ok(tables) => {
            let Summary { states, v4_intervals, v6_intervals, bytes, .. } = tables.summary;
            let ranges = v4_intervals + v6_intervals;
            println!("{name:<40} {states:>8} {ranges:>8} {bytes:>10} {millis:>8} {peak:>8}");
        }
        Err(error) => println!("{name:<40} {error} ({millis} ms, {peak} MB)"),
    }
}

/// The most memory that this process ever held.
fn peak_megabytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse::<usize>().ok()).unwrap_or(0) / 1024
}

fn place(line: usize) -> Place {
    Place { file: Arc::from("bench.yaml"), line: line as u32 + 1, column: 1 }
}

fn files(patterns: impl Iterator<Item = String>) -> Boundary {
    let path_rules = patterns.enumerate().map(|(i, pattern)| PathRule {
        pattern,
        syntax: GlobSyntax::Component,
        effect: Effect::Allow,
        rights: Rights::FILES,
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
fn folders(count: usize) -> Boundary {
    files((0..count).map(|i| format!("/srv/project-{i}/**")))
}

/// Folders, single files, names with a star, and alternatives.
fn mixed(count: usize) -> Boundary {
    files((0..count).map(|i| match i % 4 {
        0 => format!("/srv/project-{i}/**"),
        1 => format!("/etc/service-{i}/config.yaml"),
        2 => format!("/var/log/service-{i}/*.log"),
        _ => format!("/data/{{in,out}}/set-{i}/*"),
    }))
}

/// Names at any depth: every state must remember all that it may be inside of.
fn floating(count: usize) -> Boundary {
    files((0..count).map(|i| format!("/**/name{i}/**")))
}

fn networks(count: u32, each_with_ports: bool) -> Boundary {
    let mut boundary = files(std::iter::empty());
    let rules = (0..count).map(|i| {
        // Every second network lies inside the one before it.
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
