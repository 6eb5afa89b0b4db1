//! `ringfence policy test`: the decision that the kernel would take, by the code and the tables
//! that the kernel runs.

mod answer;
mod decide;

use std::{
    io::{self, Write},
    net::IpAddr,
    process::ExitCode,
};

use ringfence_common::{
    Address, Decision, Reason, Right, Verdict,
    event::PATH_BYTES,
    files::{self, Walker},
};
use ringfence_policy::compile::Tables;

use self::answer::Answer;
use super::{Format, NO, Policies, TestArguments};

/// Prints each answer in one line.
pub(super) fn run(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let asks = arguments.question.asks(&arguments.circumstances);
    let asks = asks.unwrap_or_else(|error| error.exit());
    let policies = Policies::read(&arguments.policies);
    let Some(tables) = &policies.tables else {
        return Ok(policies.refuse());
    };
    let boundaries = &policies.set.boundaries;
    let answers: Vec<Answer> =
        asks.iter().map(|ask| decide::answer(ask, tables, boundaries)).collect();
    let mut out = io::stdout().lock();
    for answer in &answers {
        match arguments.format {
            Format::Text => writeln!(out, "{answer}")?,
            Format::Json => writeln!(out, "{}", answer.to_json())?,
        }
    }
    out.flush()?;
    let is_denied = answers.iter().any(|answer| answer.verdict == Verdict::Deny);
    Ok(if is_denied { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

fn about_path(tables: &Tables, path: &[u8], right: Right) -> Decision {
    let image = &*tables.image;
    let Some(walker) = Walker::new(image) else { return Decision::deny(Reason::TableCorrupt) };
    // The kernel does not look at a path that no rule is about.
    let is_governed = files::governs(image, right.bit());
    if is_governed && path.len() > PATH_BYTES {
        return files::violation(image, Reason::PathTooLong);
    }
    match right {
        Right::Exec => files::decide_exec(image, walker.walk(image, path), true),
        _ if !is_governed => Decision::ALLOW,
        right => files::decide(image, walker.walk(image, path), right.bit()),
    }
}

/// The address as the tables have it.
fn normal(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => Address::v4(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            Address::v6((bits >> 64) as u64, bits as u64)
        }
    }
}

#[cfg(test)]
mod tests;
