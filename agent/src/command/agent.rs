//! `ringfence agent`, and what is asked of it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use ringfence_policy::configuration::DEFAULT_CONTROL;

use crate::service;

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// The configuration: which processes are governed, and by which policies.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Where the agent is asked.
#[derive(Debug, Args)]
pub(crate) struct ControlArguments {
    /// The agent's control socket.
    #[arg(long, value_name = "SOCKET", default_value = DEFAULT_CONTROL)]
    pub(super) control: PathBuf,
}

/// Runs the agent until it is told to end.
///
/// # Errors
///
/// When it cannot start, or not go on.
pub(crate) fn run(arguments: &AgentArguments) -> Result<ExitCode> {
    service::run(&arguments.config)
}

/// Has the running agent read its configuration and policies anew.
///
/// # Errors
///
/// When no agent answers.
pub(crate) fn reload(arguments: &ControlArguments) -> Result<ExitCode> {
    let answer = service::ask(&arguments.control, service::Command::Reload)?;
    answer.lines.iter().for_each(|line| say!("{line}"));
    Ok(if answer.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
