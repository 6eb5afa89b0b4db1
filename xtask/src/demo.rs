//! `cargo xtask demo`: what ringfence refuses, shown for real.
//!
//! The demo itself is the program `ringfence-demo` of the package `ringfence-tests`; it exits with
//! 0 only when each row of its table is right.

use std::{
    io::Write as _,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use lexopt::{Arg::Long, ValueExt as _};

use crate::{machine::Machine, products::Products, run, setup, vm};

const USAGE: &str = "\
cargo xtask demo [--vm] [--kernel 6.1|6.12|7]

Runs on this host when we are root and its kernel can enforce; else, or with --vm or --kernel,
in a virtual machine (kernel 6.12 unless given).
";

/// The policy that the demo shows, below `examples/`.
const POLICY: &str = "demo.yaml";

/// `cargo xtask demo`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let (mut in_machine, mut series) = (false, "6.12");
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("vm") => in_machine = true,
            Long("kernel") => {
                series = vm::parse_series(&arguments.value()?.string()?)?;
                in_machine = true;
            }
            Long("help") => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    setup::prepare()?;
    let products = Products::build()?;
    if !in_machine && host_can_enforce(&products) {
        println!("demo: on this host\n");
        on_host(&products)
    } else {
        println!("demo: in a virtual machine with kernel {series}\n");
        in_virtual_machine(&products, series)
    }
}

fn on_host(products: &Products) -> Result<ExitCode> {
    let mut command = Command::new(&products.demo);
    command.arg("--ringfence").arg(&products.ringfence);
    command.arg("--policy").arg(run::root().join("examples").join(POLICY));
    let status =
        command.status().with_context(|| format!("cannot start `{}`", run::line(&command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(run::FAILED)))
}

fn in_virtual_machine(products: &Products, series: &'static str) -> Result<ExitCode> {
    let policy = format!("/examples/{POLICY}");
    let command = [
        "/usr/local/bin/ringfence-demo",
        "--ringfence",
        "/usr/local/bin/ringfence",
        "--policy",
        &policy,
    ];
    let mut machine = Machine::new(series, command.map(Into::into).to_vec());
    machine.additions = products.additions();
    machine.limit = Duration::from_secs(600);
    let mut stdout = std::io::stdout();
    let code = machine.boot(&mut |bytes| {
        // A reader that went away is no reason to end the machine without its verdict.
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    })?;
    Ok(ExitCode::from(code))
}

/// Asks the agent itself: it finds out by trying.
fn host_can_enforce(products: &Products) -> bool {
    let mut doctor = Command::new(&products.ringfence);
    let output = doctor.args(["doctor", "--format", "json"]).stderr(Stdio::null()).output();
    run::is_root() && output.is_ok_and(|output| says_can_enforce(&output.stdout))
}

/// Whether the doctor's report holds `"can_enforce": true`. The field stands once, at the top
/// level; a JSON parser for it would double what this crate builds.
fn says_can_enforce(report: &[u8]) -> bool {
    let text = String::from_utf8_lossy(report);
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    dense.contains("\"can_enforce\":true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_counts() {
        for (report, expected) in [
            (r#"{"can_enforce": true}"#, true),
            ("{\n  \"can_enforce\":\n true, \"x\": []}", true),
            (r#"{"can_enforce": false}"#, false),
            (r#"{"can_enforce": "true"}"#, false),
            ("", false),
        ] {
            assert_eq!(says_can_enforce(report.as_bytes()), expected, "{report}");
        }
    }
}
