//! `cargo xtask vm`: runs a command on another kernel.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use lexopt::{
    Arg::{Long, Value},
    ValueExt as _,
};

use crate::{guest::Programs, kernels::SERIES, machine::Machine, run, setup, tree};

const USAGE: &str = "\
cargo xtask vm [OPTION]… -- CMD [ARG…]

Boots a kernel in QEMU, runs CMD in it as root, prints what CMD prints, exits with its code.
Exit code 125: the machine itself failed, and there is no code.

  --kernel 6.1|6.12|7|all    which kernel (default 6.12; all: one after the other)
  --lockdown integrity|confidentiality
  --memory SIZE              default 1G
  --timeout SECONDS          how long it may be silent (default 120)
  --add HOST[:GUEST]         a file or directory of this machine, with the libraries it needs
  --modules NAME,…           kernel modules to load first, with what they depend on
  --count-instructions       one processor, whose clock counts instructions
  --programs none|basic|full|system
                             busybox alone; + bash, coreutils, python3, curl, ip (default);
                             + git, gcc, node, … (needs --memory 3G); Debian 13 with systemd,
                             podman and Prometheus, of which CMD is a service

The kernel's messages: target/vm/<kernel>/console.log
";

/// The series that `--kernel` names.
pub(crate) fn parse_series(text: &str) -> Result<&'static str> {
    match SERIES.iter().find(|series| **series == text) {
        Some(series) => Ok(series),
        None => bail!("`--kernel {text}`: it is {} or all", SERIES.join(", ")),
    }
}

/// `cargo xtask vm`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut machine = Machine::new("6.12", Vec::new());
    let mut series = vec!["6.12"];
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("kernel") => {
                let text = arguments.value()?.string()?;
                series = match text.as_str() {
                    "all" => SERIES.to_vec(),
                    one => vec![parse_series(one)?],
                };
            }
            Long("lockdown") => {
                machine.lockdown = Some(match arguments.value()?.string()?.as_str() {
                    "integrity" => "integrity",
                    "confidentiality" => "confidentiality",
                    other => bail!("`--lockdown {other}`: it is integrity or confidentiality"),
                });
            }
            Long("memory") => machine.memory = arguments.value()?.string()?,
            Long("timeout") => {
                machine.silence = Duration::from_secs(arguments.value()?.parse()?);
            }
            Long("count-instructions") => machine.counts_instructions = true,
            Long("programs") => {
                machine.programs = Programs::parse(&arguments.value()?.string()?)?;
            }
            Long("add") => {
                let text = arguments.value()?.string()?;
                machine.additions.push(tree::parse_addition(&text)?);
            }
            Long("modules") => {
                let names = arguments.value()?.string()?;
                machine.modules.extend(names.split(',').map(str::to_owned));
            }
            Long("help") => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            Value(word) => {
                machine.command.push(word);
                machine.command.extend(run::remaining(&mut arguments)?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if machine.command.is_empty() {
        bail!("which command?\n\n{USAGE}");
    }
    setup::require_virtual_machines()?;

    let mut result = 0;
    for &one in &series {
        machine.series = one;
        if series.len() > 1 {
            eprintln!("--- {}", machine.name());
        }
        let mut stdout = std::io::stdout();
        let code = machine.boot(&mut |bytes| {
            // A reader that went away is no reason to end the machine without its verdict.
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        });
        let code = code.unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            run::FAILED
        });
        if result == 0 {
            result = code;
        }
    }
    Ok(ExitCode::from(result))
}
