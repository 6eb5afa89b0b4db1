//! `cargo xtask lint`: what a machine can say about the source.

use std::{
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::Result;

use crate::{
    docs,
    report::{self, Suite},
    run,
};

/// `cargo xtask lint`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected().into());
    }
    Ok(report::conclude(&[lint()]))
}

/// Runs each check, and counts it as a test.
pub(crate) fn lint() -> Suite {
    let mut suite = Suite::new("lint");
    // The kernel programs are a workspace of their own, for a target that rustup's clippy has no
    // `core` for. agent/build.rs compiles them.
    let kernel_side = "ebpf/Cargo.toml";
    check(&mut suite, "format", &["fmt", "--all", "--check"]);
    check(&mut suite, "format-ebpf", &["fmt", "--all", "--check", "--manifest-path", kernel_side]);
    check(
        &mut suite,
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    );
    check_docs(&mut suite);
    if has_cargo_deny() {
        // Advisories need a database from the network; the rest does not.
        check(&mut suite, "deny", &["deny", "check", "bans", "licenses", "sources"]);
    } else {
        let reason = "cargo-deny is not installed; `cargo install cargo-deny` brings it";
        suite.skipped.push(("deny".into(), reason.into()));
    }
    suite
}

fn check(suite: &mut Suite, name: &str, arguments: &[&str]) {
    let start = Instant::now();
    let mut cargo = run::cargo();
    cargo.args(arguments).stdin(Stdio::null());
    println!("lint: {}", run::line(&cargo));
    match run::run(&mut cargo) {
        Ok(()) => {
            suite.passed += 1;
            println!("lint: {name} is fine ({} s)", start.elapsed().as_secs());
        }
        Err(error) => suite.failed.push((name.into(), format!("{error:#}"))),
    }
}

fn check_docs(suite: &mut Suite) {
    match docs::check() {
        Ok(()) => {
            suite.passed += 1;
            println!("lint: docs is fine");
        }
        Err(error) => suite.failed.push(("docs".into(), format!("{error:#}"))),
    }
}

fn has_cargo_deny() -> bool {
    let mut command = Command::new("cargo-deny");
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
