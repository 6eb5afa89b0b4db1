//! `ringfence`: kernel-enforced boundaries for AI agents.

/// Writes a line to the standard error. A reader that has gone away is no reason to stop: less
/// so while a command is governed.
macro_rules! tell {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($word)*);
    }};
}

/// Writes a line to the standard output, if anybody reads it.
macro_rules! say {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($word)*);
    }};
}

mod about;
mod audit;
mod budgets;
mod cgroup;
mod clock;
mod command;
mod contents;
mod kernel;
mod launch;
mod machine;
mod names;
mod policies;
mod reset;
mod resolve;
mod scope;
mod scopes;
mod service;
mod status;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Refuses, in the kernel, what a policy does not allow a program and all that it starts.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Govern one command and everything that it starts.
    Run(command::run::RunArguments),
    /// Keep the scopes of a configuration in force, until and beyond its own end.
    Agent(command::agent::AgentArguments),
    /// Have the running agent read its configuration and policies anew.
    Reload(command::agent::ControlArguments),
    /// Validate policies, and ask what they decide.
    #[command(subcommand)]
    Policy(command::policy::PolicyCommand),
    /// Find out, by trying, what this kernel can enforce.
    Doctor(command::doctor::DoctorArguments),
    /// Tell of the scopes that are in force on this machine.
    Status(command::status::StatusArguments),
    /// Remove what the agent has left in force, and what runs that were killed left behind, whose
    /// commands are ended.
    Detach,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What a failure of ringfence itself is to a script: `run` has the command's own codes to
    // keep apart from it.
    let is_run = matches!(arguments.command, Command::Run(_));
    let result = match arguments.command {
        Command::Run(arguments) => command::run::run(&arguments),
        Command::Agent(arguments) => command::agent::run(&arguments),
        Command::Reload(arguments) => command::agent::reload(&arguments),
        Command::Policy(command) => command::policy::run(command),
        Command::Doctor(arguments) => command::doctor::run(&arguments),
        Command::Status(arguments) => command::status::run(&arguments),
        Command::Detach => command::detach::run(),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads the output has seen enough: `ringfence policy explain … | head`.
        let is_closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
        if !is_run && error.downcast_ref().is_some_and(is_closed) {
            return ExitCode::SUCCESS;
        }
        tell!("ringfence: {error:#}");
        ExitCode::from(if is_run { command::run::FAILED } else { 1 })
    })
}
