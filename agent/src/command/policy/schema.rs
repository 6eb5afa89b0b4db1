//! `ringfence policy schema`: a language as a JSON schema, for editors.

use std::{
    io::{self, Write},
    process::ExitCode,
    str::FromStr,
};

use ringfence_policy::{Dialect, json_schema};

use super::SchemaArguments;

/// What has a schema.
#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    /// A policy language.
    Policy(Dialect),
    /// The configuration of the agent.
    Configuration,
}

impl FromStr for Language {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "configuration" => Ok(Self::Configuration),
            word => word.parse().map(Self::Policy),
        }
    }
}

/// Prints the schema.
pub(super) fn run(arguments: &SchemaArguments) -> anyhow::Result<ExitCode> {
    let schema = match arguments.language {
        Language::Policy(dialect) => json_schema::json_schema(dialect),
        Language::Configuration => json_schema::of_configuration(),
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema)?;
    writeln!(out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
