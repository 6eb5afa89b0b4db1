//! `ringfence policy explain FILE…`: what policies come to, in words.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use ringfence_policy::{Diagnostic, check_together, explain, parse, read_source};

use super::{ExplainFormat, NO, PolicyFiles};

/// Prints who acts on each field of the policies, and the boundary that they make together. Where
/// one has an error nothing is explained: half of a policy must not be taken for the whole.
pub(super) fn run(policies: &PolicyFiles, format: ExplainFormat) -> anyhow::Result<ExitCode> {
    let (mut sources, mut documents, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for path in &policies.files {
        match read_source(path) {
            Ok(source) => {
                let parsed = parse(&source, policies.dialect);
                errors.extend(parsed.diagnostics.into_iter().filter(Diagnostic::is_error));
                documents.extend(parsed.document);
                sources.push(source);
            }
            Err(finding) => errors.push(*finding),
        }
    }
    errors.extend(check_together(&documents).into_iter().filter(Diagnostic::is_error));
    if !errors.is_empty() {
        for finding in errors {
            tell!("{finding}\n");
        }
        return Ok(ExitCode::from(NO));
    }
    let explanation = explain::explain(&sources, &documents);
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
