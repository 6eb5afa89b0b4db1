//! How large policies compile, and how long it takes: `cargo bench -p ringfence-policy`.
//!
//! Prints a table; judges nothing, since a shared machine's times are no test. Each policy is
//! compiled in processes of its own, so that the most memory is its own, and times are the
//! smallest and the middle one of several. A word given after `--` picks the policies whose name
//! holds it.
#![expect(clippy::expect_used, reason = "a benchmark of a policy that is wrong may stop")]

mod boundaries;
mod texts;

use std::{env, fs, process::Command, time::Instant};

use ringfence_policy::{
    Boundary, Source,
    compile::{Summary, compile},
    parse,
};

/// How often each policy is compiled.
const RUNS: usize = 3;
/// The argument with which this program calls itself for one policy.
const ONE: &str = "--one";

/// Where a policy comes from.
enum Policy {
    Boundary(fn(usize) -> Boundary, usize),
    Text(fn(usize) -> String, usize),
}

/// The policies, by name.
#[rustfmt::skip]
const POLICIES: &[(&str, Policy)] = &[
    ("10 folders: /srv/project-N/**", Policy::Boundary(boundaries::folders, 10)),
    ("100 folders", Policy::Boundary(boundaries::folders, 100)),
    ("1000 folders", Policy::Boundary(boundaries::folders, 1_000)),
    ("10000 folders", Policy::Boundary(boundaries::folders, 10_000)),
    ("1000 mixed globs", Policy::Boundary(boundaries::mixed, 1_000)),
    ("10000 mixed globs", Policy::Boundary(boundaries::mixed, 10_000)),
    ("10 floating globs: /**/nameN/**", Policy::Boundary(boundaries::floating, 10)),
    ("100 floating globs", Policy::Boundary(boundaries::floating, 100)),
    ("1000 floating globs", Policy::Boundary(boundaries::floating, 1_000)),
    ("100000 networks, all ports", Policy::Boundary(|count| boundaries::networks(count, false), 100_000)),
    ("100000 networks, two port ranges each", Policy::Boundary(|count| boundaries::networks(count, true), 100_000)),
    ("10000 folders and 100000 networks", Policy::Boundary(boundaries::both, 10_000)),
    ("10000 rules that decide nothing", Policy::Boundary(boundaries::idle, 10_000)),
    ("1000 hosts", Policy::Boundary(boundaries::hosts, 1_000)),
    ("10000 hosts", Policy::Boundary(boundaries::hosts, 10_000)),
    ("Sec0, 1000 paths, 1000 hosts, 10000 networks", Policy::Text(texts::sec0, 1_000)),
    ("Sec0, 10000 paths, 10000 hosts, 100000 networks", Policy::Text(texts::sec0, 10_000)),
    ("boundary, 1000 paths, 1000 hosts, 10000 networks", Policy::Text(texts::boundary, 1_000)),
    ("boundary, 10000 paths, 10000 hosts, 100000 networks", Policy::Text(texts::boundary, 10_000)),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [one, name] = arguments.as_slice()
        && one == ONE
    {
        let policy = POLICIES.iter().find(|(other, _)| other == name);
        return run(&policy.expect("the name is one of the list's").1);
    }
    let wanted = arguments.iter().find(|word| !word.starts_with('-'));
    println!(
        "{:<52} {:>8} {:>8} {:>8} {:>10} {:>13} {:>13} {:>8}",
        "policy", "states", "ranges", "names", "bytes", "parse ms", "compile ms", "peak MB"
    );
    for (name, _) in
        POLICIES.iter().filter(|(name, _)| wanted.is_none_or(|word| name.contains(word)))
    {
        println!("{name:<52} {}", measured(name));
    }
}

/// What the processes for one policy found.
fn measured(name: &str) -> String {
    let program = env::current_exe().expect("a program has a path");
    let outputs = (0..RUNS).map(|_| {
        let output = Command::new(&program).args([ONE, name]).output().expect("it runs again");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    let outputs: Vec<String> = outputs.collect();
    let column = |at: usize| {
        let numbers =
            outputs.iter().filter_map(|line| line.split('|').nth(at)?.trim().parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        numbers
    };
    let times = |at| {
        let times = column(at);
        let (least, middle) = (times.first(), times.get(times.len() / 2));
        least.zip(middle).map_or("-".to_owned(), |(least, middle)| format!("{least} / {middle}"))
    };
    let tables = outputs.first().and_then(|line| line.split('|').nth(3)).unwrap_or("stopped");
    let peak = column(2).last().copied().unwrap_or(0);
    format!("{tables} {:>13} {:>13} {peak:>8}", times(0), times(1))
}

/// Reads and compiles one policy: milliseconds for each, megabytes, and what came of it.
fn run(policy: &Policy) {
    let mut parsing = String::new();
    let boundary = match policy {
        Policy::Boundary(make, count) => make(*count),
        Policy::Text(make, count) => {
            let source = Source::new("bench.yaml", make(*count));
            let start = Instant::now();
            let parsed = parse(&source, None);
            parsing = start.elapsed().as_millis().to_string();
            match parsed.document {
                Some(document) => document.boundary,
                None => {
                    return println!("{parsing}|-|{}|{}", peak_megabytes(), parsed.diagnostics[0]);
                }
            }
        }
    };
    let start = Instant::now();
    let result = compile(std::slice::from_ref(&boundary), &Default::default());
    let compiling = start.elapsed().as_millis();
    let peak = peak_megabytes();
    let tables = match result {
        Ok(tables) => {
            let Summary { states, v4_intervals, v6_intervals, name_states, bytes, .. } =
                tables.summary;
            let ranges = v4_intervals + v6_intervals;
            format!("{states:>8} {ranges:>8} {name_states:>8} {bytes:>10}")
        }
        Err(error) => format!("refused at {:>26}", error.place.to_string()),
    };
    println!("{parsing}|{compiling}|{peak}|{tables}");
}

/// The most memory that this process ever held.
fn peak_megabytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse::<usize>().ok()).unwrap_or(0) / 1024
}
