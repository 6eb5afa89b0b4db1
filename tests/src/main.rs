//! `ringfence-vm-tests`: what a user or an attacker would do, tried on a real kernel.
//!
//! It is run as root in a virtual machine that it has to itself:
//!
//! ```text
//! ringfence-vm-tests --environment 6.1|6.12|7|6.12-lockdown [--filter TEXT]
//! ```
//!
//! A line a test: `ok NAME`, `FAILED NAME: reason`, `skipped NAME: reason`; the last line counts
//! them. The same program is what the tests run inside a boundary: `act` does, one after the
//! other, what its standard input says, and reports what the kernel answered.

mod act;
mod attack;
mod decisions;
mod elsewhere;
mod exec;
mod harness;
mod input;
mod kill;
mod life;
mod network;
mod programs;
mod ringfence;
mod scope;
mod sys;
mod ways;
mod words;

use std::process::ExitCode;

use harness::Options;

/// What the program was started for.
const USAGE: &str =
    "usage: ringfence-vm-tests --environment 6.1|6.12|7|6.12-lockdown [--filter TEXT]";

fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> =
        std::env::args_os().skip(1).map(std::os::unix::ffi::OsStringExt::into_vec).collect();
    match arguments.first().map(Vec::as_slice) {
        Some(b"act") => return act::main(&arguments[1..]),
        Some(b"act-one") => return act::one(&arguments[1..]),
        Some(b"hammer") => return kill::hammer(&arguments[1..]),
        _ => {}
    }
    let text = arguments.iter().map(|word| String::from_utf8_lossy(word).into_owned());
    match Options::parse(text.collect()) {
        Ok(options) => harness::main(&options, &tests()),
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Every test, by subject.
fn tests() -> Vec<harness::Test> {
    [
        life::TESTS,
        &ways::TESTS,
        exec::TESTS,
        network::TESTS,
        scope::TESTS,
        decisions::TESTS,
        programs::TESTS,
        input::TESTS,
        kill::TESTS,
        elsewhere::TESTS,
    ]
    .concat()
}
