//! `ringfence policy explain FILE…`: what policies come to, in words.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use ringfence_policy::explain;

use super::{ExplainFormat, Policies, PolicyFiles};

/// Prints who acts on each field of the policies, and the boundary that they make together. Where
/// one has an error nothing is explained: half of a policy must not be taken for the whole.
pub(super) fn run(policies: &PolicyFiles, format: ExplainFormat) -> anyhow::Result<ExitCode> {
    let policies = Policies::read(policies);
    if policies.tables.is_none() {
        return Ok(policies.refuse());
    }
    let explanation = explain::explain(&policies.set.sources, &policies.set.documents);
    let mut out = io::stdout().lock();
    match format {
        ExplainFormat::Text => out.write_all(explanation.text().as_bytes())?,
        ExplainFormat::Markdown => out.write_all(explanation.markdown().as_bytes())?,
        ExplainFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &explanation)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
