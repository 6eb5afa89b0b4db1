//! `ringfence policy test`: the decision that the kernel would take, by the code and the tables
//! that the kernel runs.

mod answer;
mod decide;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use ringfence_common::Verdict;

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

#[cfg(test)]
mod tests;
