//! `ringfence policy lower`: policies as the `boundary` documents that mean the same.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use ringfence_policy::lower;

use super::{LowerArguments, Policies};

/// Prints a document for each policy, as a stream where there are several.
pub(super) fn run(arguments: &LowerArguments) -> anyhow::Result<ExitCode> {
    let policies = Policies::read(&arguments.policies);
    if policies.tables.is_none() {
        return Ok(policies.refuse());
    }
    let mut out = io::stdout().lock();
    out.write_all(lower::text(&policies.set.documents).as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
