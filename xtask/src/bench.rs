//! `cargo xtask bench`: what enforcement costs, as ratios that repeat on every machine.
//!
//! The virtual machine's clock counts instructions, so that a figure does not depend on what else
//! the host is doing.

mod figures;
mod fs;
mod net;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use lexopt::{
    Arg::{Long, Value},
    ValueExt as _,
};

use crate::{kernels::SERIES, machine::Machine, products::Products, run, setup, vm};

const USAGE: &str = "\
cargo xtask bench fs|net [--kernel 6.1|6.12|7|all] [--rounds N]

fs   opens and closes files at several depths: alone, under Landlock, under AppArmor, under
     ringfence, and beside a scope of ringfence
net  connects and sends over TCP and UDP: alone, under Landlock, under ringfence with few rules and
     many, and beside a scope; also measures the resolver, on this host

Prints the ratios and writes them to docs/benchmarks/fs.md or net.md. Kernel 6.12 and 3 rounds
unless given; the page has the kernels that were measured.
";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Files,
    Network,
}

/// `cargo xtask bench`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let (mut series, mut rounds, mut subject) = (vec!["6.12"], 3_u32, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("kernel") => {
                let text = arguments.value()?.string()?;
                series = match text.as_str() {
                    "all" => SERIES.to_vec(),
                    one => vec![vm::parse_series(one)?],
                };
            }
            Long("rounds") => rounds = arguments.value()?.parse()?,
            Long("help") => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            Value(word) if subject.is_none() => {
                subject = Some(match word.string()?.as_str() {
                    "fs" => Subject::Files,
                    "net" => Subject::Network,
                    other => bail!("`{other}`: it is fs or net\n\n{USAGE}"),
                });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(subject) = subject else { bail!("what is to be measured?\n\n{USAGE}") };
    setup::prepare()?;
    let products = Products::build()?;
    let (name, mut page) = match subject {
        Subject::Files => ("fs", fs::INTRODUCTION.to_owned()),
        Subject::Network => ("net", net::introduction()?),
    };
    for series in series {
        println!("bench: Linux {series}");
        let section = match subject {
            Subject::Files => {
                let figures = fs::measure(&products, series, rounds)?;
                let corner = format!("{rounds} rounds; components");
                figures::table(&corner, &fs::COLUMNS, &figures)?
            }
            Subject::Network => net::section(&products, series, rounds)?,
        };
        let section = format!("\n## Linux {series}\n\n{section}");
        println!("{section}");
        page += &section;
    }
    let path = run::root().join(format!("docs/benchmarks/{name}.md"));
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    println!("bench: written to {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// A machine that counts instructions and runs a suite.
fn machine(products: &Products, series: &'static str, words: &[&str]) -> Machine {
    let words = ["/usr/local/bin/ringfence-bench"].iter().chain(words);
    let mut machine = Machine::new(series, words.map(Into::into).collect());
    machine.counts_instructions = true;
    machine.silence = Duration::from_secs(600);
    machine.memory = "2G".into();
    machine.additions = products.additions();
    machine
}
