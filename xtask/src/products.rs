//! The programs that go into virtual machines, built so that they run in any of them.

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::run;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs of the project, linked statically.
#[derive(Debug)]
pub(crate) struct Products {
    /// The agent.
    pub(crate) ringfence: PathBuf,
    /// Runs the tests of the package `ringfence-tests` inside a virtual machine.
    pub(crate) vm_tests: PathBuf,
    /// Shows what ringfence refuses.
    pub(crate) demo: PathBuf,
    /// Measures.
    pub(crate) bench: PathBuf,
}

impl Products {
    /// Builds them.
    ///
    /// # Errors
    /// When cargo fails, or does not leave a program behind that we count on.
    pub(crate) fn build() -> Result<Self> {
        println!("build: ringfence and its tests, statically linked");
        let start = Instant::now();
        let words = ["build", "--release", "-p", "ringfence", "-p", "ringfence-tests"];
        run::run(&mut cargo_static(&words))?;
        println!("build: done in {} s", start.elapsed().as_secs());
        Ok(Self {
            ringfence: program("ringfence")?,
            vm_tests: program("ringfence-vm-tests")?,
            demo: program("ringfence-demo")?,
            bench: program("ringfence-bench")?,
        })
    }

    /// Where each goes in a virtual machine, with the examples.
    pub(crate) fn additions(&self) -> Vec<(PathBuf, PathBuf)> {
        vec![
            (self.ringfence.clone(), "/usr/local/bin/ringfence".into()),
            (self.vm_tests.clone(), "/usr/local/bin/ringfence-vm-tests".into()),
            (self.demo.clone(), "/usr/local/bin/ringfence-demo".into()),
            (self.bench.clone(), "/usr/local/bin/ringfence-bench".into()),
            (run::root().join("examples"), "/examples".into()),
        ]
    }
}

/// Builds the agent alone, as [`Products::build`] does.
///
/// # Errors
/// When cargo fails.
pub(crate) fn ringfence() -> Result<PathBuf> {
    // Of both packages, since features are those of all that is built: else each would be built
    // twice.
    let words = ["build", "--release", "-p", "ringfence", "-p", "ringfence-tests"];
    run::run(&mut cargo_static(&words))?;
    program("ringfence")
}

fn program(name: &str) -> Result<PathBuf> {
    let path = run::cargo_target_directory().join(TARGET).join("release").join(name);
    if !path.is_file() {
        bail!("cargo built no program `{name}` ({} is missing)", path.display());
    }
    Ok(path)
}

/// Cargo with words after which options may come, for programs that are linked statically. What is
/// built so is built once, whatever it is for.
pub(crate) fn cargo_static(words: &[&str]) -> Command {
    let mut cargo = run::cargo();
    cargo
        .args(words)
        // With a target of its own, the flags are for the programs alone: build scripts and
        // procedural macros cannot be static.
        .args(["--target", TARGET, "--target-dir"])
        .arg(run::cargo_target_directory())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}
