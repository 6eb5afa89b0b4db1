//! `ringfence-demo`: an agent's acts, without a boundary and within one, side by side.
//!
//! ```text
//! ringfence-demo --ringfence PATH --policy FILE
//! ```
//!
//! The exit code is 0 only when each row of the table is as it should be: what the policy allows
//! works both times, and what it does not allow works without ringfence and fails with it.

mod acts;
mod client;
mod stage;
mod table;

use std::{path::PathBuf, process::ExitCode};

use acts::ACTS;
use stage::{Agent, Stage};

const USAGE: &str = "usage: ringfence-demo --ringfence PATH --policy FILE";

/// Why the demonstration could not be given.
type Problem = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client", protocol, address, port] => return client::main(protocol, address, port),
        ["--ringfence", ringfence, "--policy", policy] => {
            demonstrate(ringfence.into(), policy.into())
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("ringfence-demo: {problem}");
            ExitCode::from(2)
        }
    }
}

fn demonstrate(ringfence: PathBuf, policy: PathBuf) -> Result<bool, Problem> {
    println!("An agent is a program that decides for itself what to do next. This one writes a");
    println!(
        "file and talks to a service, as it was told to; and then it does what nobody wanted."
    );
    println!();
    println!("The policy is {}. It allows one folder to work in,", policy.display());
    println!("the system's own programs, and one port of this machine. Nothing else.\n");

    let stage = Stage::set(&ringfence, &policy)?;
    println!("[1/3] the agent runs freely");
    let free = stage.run(&Agent::Free)?;
    println!(
        "[2/3] the agent runs within the boundary: ringfence run --policy {} -- …",
        policy.display()
    );
    let governed = stage.run(&Agent::Governed)?;
    println!("[3/3] what came of it\n");
    stage.clear();

    let rows = table::rows(ACTS, &free, &governed);
    print!("{}", table::drawn(&rows));
    let wrong: Vec<_> = rows.iter().filter(|row| !row.is_right).collect();
    println!();
    if wrong.is_empty() {
        let refused = ACTS.iter().filter(|act| !act.is_allowed).count();
        println!(
            "All {} rows are as they should be: {refused} acts were refused by the kernel,",
            rows.len()
        );
        println!("each with the place in the policy that decided, and the agent's work went on.");
        return Ok(true);
    }
    for row in wrong {
        println!("This row is NOT as it should be: {}", row.act);
    }
    println!("\nWhat ringfence said:\n{}", governed.complaints.trim_end());
    Ok(false)
}
