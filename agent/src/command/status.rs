//! `ringfence status`: tells of what is in force on this machine.

mod text;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::agent::ControlArguments;
use crate::status;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    control: ControlArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Prints what is in force: exit code 0, also when nothing is.
///
/// # Errors
///
/// When it is not root that asks, or the state cannot be read.
pub(crate) fn run(arguments: &StatusArguments) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("reading what is pinned in the kernel needs root: try `sudo ringfence status`");
    }
    let status = status::gather(&arguments.control.control)?;
    match arguments.format {
        Format::Json => say!("{}", serde_json::to_string_pretty(&status)?),
        Format::Text => say!("{}", text::page(&status)),
    }
    Ok(ExitCode::SUCCESS)
}
