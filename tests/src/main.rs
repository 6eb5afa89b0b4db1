//! `ringfence-vm-tests`: what a user or an attacker would do, tried on a real kernel.
//!
//! It is run as root in a virtual machine that it has to itself:
//!
//! ```text
//! ringfence-vm-tests --environment 6.1|6.12|7|6.12-lockdown|6.12-programs|6.12-system
//!     [--filter TEXT]... [--storm-seconds N] [--full]
//! ```
//!
//! A line a test: `ok NAME`, `FAILED NAME: reason`, `skipped NAME: reason`; the last line counts
//! them. The same program is what the tests run inside a boundary: `act` does, one after the
//! other, what its standard input says, and reports what the kernel answered.

mod act;
mod attack;
mod budgets;
mod container;
mod decisions;
mod devices;
mod elsewhere;
mod exec;
mod exec_content;
mod exec_memory;
mod faults;
mod guard;
mod harness;
mod input;
mod kill;
mod life;
mod local;
mod measured;
mod metadata;
mod names;
mod network;
mod programs;
mod ringfence;
mod scope;
mod service;
mod share;
mod shared;
mod status;
mod storm;
mod sweep;
mod sys;
mod system;
mod visitor;
mod ways;
mod words;

use std::process::ExitCode;

use harness::{Failure, Options, Purpose};
use ringfence_tests::catalogue::{NETWORK, Tried};

/// What the program was started for.
const USAGE: &str = "usage: ringfence-vm-tests --environment \
                     6.1|6.12|7|6.12-lockdown|6.12-programs|6.12-system [--filter TEXT] \
                     [--storm-seconds N] [--full]";

fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> =
        std::env::args_os().skip(1).map(std::os::unix::ffi::OsStringExt::into_vec).collect();
    match arguments.first().map(Vec::as_slice) {
        Some(b"act") => return act::main(&arguments[1..]),
        Some(b"act-one") => return act::one(&arguments[1..]),
        Some(b"hammer") => return kill::hammer(&arguments[1..]),
        Some(b"spend") => return budgets::worker(&arguments[1..]),
        Some(b"storm") => return storm::worker(&arguments[1..]),
        Some(b"faults") => return faults::worker(&arguments[1..]),
        Some(b"sweep") => return sweep::worker(&arguments[1..]),
        _ => {}
    }
    let text = arguments.iter().map(|word| String::from_utf8_lossy(word).into_owned());
    match Options::parse(text.collect()) {
        Ok(options) => {
            let tests = match options.purpose() {
                Purpose::Kernel => tests(),
                Purpose::Programs => harness::Tests {
                    alone: Vec::new(),
                    others: [measured::TESTS, names::clients::TESTS].concat(),
                },
                Purpose::System => system::tests(),
            };
            harness::main(&options, &tests)
        }
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Every test, by subject, but those that need real programs.
fn tests() -> harness::Tests {
    let alone = [shared::ALONE, kill::TESTS].concat();
    let others = [
        life::TESTS,
        &ways::TESTS,
        guard::TESTS,
        metadata::TESTS,
        devices::TESTS,
        exec::TESTS,
        exec_content::TESTS,
        exec_memory::TESTS,
        network::TESTS,
        local::TESTS,
        scope::TESTS,
        decisions::TESTS,
        programs::TESTS,
        sweep::TESTS,
        storm::TESTS,
        input::TESTS,
        elsewhere::TESTS,
        faults::TESTS,
        container::TESTS,
        &[CITED, share::KNOWN],
        &names::tests(),
        shared::TESTS,
        status::TESTS,
        budgets::TESTS,
        service::TESTS,
    ]
    .concat();
    harness::Tests { alone, others }
}

/// The page of ways out cites tests by their sentences.
const CITED: harness::Test =
    ("every way over the network is tried by a test that there is", |_| {
        let tests = tests();
        let is_missing = |way: &&Tried| !tests.others.iter().any(|test| test.0 == way.test);
        match NETWORK.iter().find(is_missing) {
            None => Ok(()),
            Some(way) => {
                Err(Failure::new(format!("there is no test \u{201c}{}\u{201d}", way.test)))
            }
        }
    });
