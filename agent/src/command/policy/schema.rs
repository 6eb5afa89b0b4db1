//! `ringfence policy schema`: a language as a JSON schema, for editors.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use ringfence_policy::json_schema::json_schema;

use super::SchemaArguments;

/// Prints the schema.
pub(super) fn run(arguments: &SchemaArguments) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &json_schema(arguments.dialect))?;
    writeln!(out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
