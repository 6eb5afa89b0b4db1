//! `ringfence policy`: what a policy says, and what the kernel would decide by it. Needs no
//! privileges and changes nothing.

mod check;
mod diff;
mod explain;
mod explain_files;
mod lower;
mod question;
mod schema;
mod test;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use ringfence_policy::{Dialect, PolicySet, boundary::Resolved, compile::Tables};

/// Exit code for "the answer is no": invalid, or denied.
const NO: u8 = 1;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Validate policies: every finding with its line and what to write instead.
    Check(CheckArguments),
    /// Ask what the kernel would decide, and by which rule.
    #[command(override_usage = "ringfence policy test [OPTIONS] <FILE>... <QUESTION>")]
    Test(Box<TestArguments>),
    /// Explain policies: who acts on each field, and what they come to together. Or the code
    /// of a finding: why it matters, and how to mend it.
    Explain(ExplainArguments),
    /// Print policies as the `boundary` documents that mean the same.
    Lower(LowerArguments),
    /// Tell what one policy allows and another does not, with an example for each difference.
    Diff(DiffArguments),
    /// Print the JSON schema of a policy language, or of the agent's configuration, by which
    /// editors complete and check documents.
    Schema(SchemaArguments),
}

/// Arguments of `policy check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    policies: PolicyFiles,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    format: FindingsFormat,
}

/// Arguments of `policy test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    policies: PolicyFiles,
    #[command(flatten)]
    question: question::Question,
    #[command(flatten)]
    circumstances: question::Circumstances,
    /// How to print the answers: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Policy files, or the code of a finding, as `RF0203`.
    #[arg(required_unless_present = "list", value_name = "FILE|CODE")]
    what: Vec<OsString>,
    /// List all codes.
    #[arg(long, conflicts_with = "what")]
    list: bool,
    /// Read the files as this language instead of recognising it:
    /// sec0, secai, agent or boundary.
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<Dialect>,
    /// How to print the explanation.
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    format: ExplainFormat,
}

/// Arguments of `policy lower`.
#[derive(Debug, Args)]
pub(crate) struct LowerArguments {
    #[command(flatten)]
    policies: PolicyFiles,
}

/// Arguments of `policy diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The policy as it was.
    #[arg(value_name = "A")]
    old: PathBuf,
    /// The policy as it is to be.
    #[arg(value_name = "B")]
    new: PathBuf,
    /// Policy that holds together with A, and with B; may be given several times.
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// Read all files as this language instead of recognising it:
    /// sec0, secai, agent or boundary.
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<Dialect>,
    /// How to print the differences.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Arguments of `policy schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The language: sec0, secai, agent or boundary; or configuration, that of `ringfence agent`.
    #[arg(value_name = "DIALECT")]
    language: schema::Language,
}

/// The policies that a command is about.
#[derive(Debug, Args)]
struct PolicyFiles {
    /// Policy files; several hold together: an act must be allowed by each that governs it.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read the files as this language instead of recognising it:
    /// sec0, secai, agent or boundary.
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<Dialect>,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FindingsFormat {
    /// For people.
    Text,
    /// One JSON array of findings.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExplainFormat {
    /// For a terminal.
    Text,
    /// For a review; the page of a code is printed as text.
    Markdown,
    /// One JSON object.
    Json,
}

/// Runs a command; the exit code is 0 when all is fine (for `test`: allowed; for `diff`:
/// no difference), 1 when not.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Check(arguments) => check::run(&arguments),
        PolicyCommand::Test(arguments) => test::run(&arguments),
        PolicyCommand::Explain(arguments) => explain::run(&arguments),
        PolicyCommand::Lower(arguments) => lower::run(&arguments),
        PolicyCommand::Diff(arguments) => diff::run(&arguments),
        PolicyCommand::Schema(arguments) => schema::run(&arguments),
    }
}

/// Policies that were read and compiled, as far as they could be.
struct Policies {
    /// The documents without errors, and all findings.
    set: PolicySet,
    /// What they compile to together; `None` when there is an error anywhere.
    tables: Option<Tables>,
}

impl Policies {
    fn read(files: &PolicyFiles) -> Self {
        let mut set = PolicySet::of_files(&files.files, files.dialect);
        let mut tables = None;
        if !set.has_errors() {
            match set.compile(&Resolved::new()) {
                Ok(compiled) => {
                    set.findings.extend(set.idle(&compiled));
                    tables = Some(compiled);
                }
                Err(finding) => set.findings.push(*finding),
            }
        }
        Self { set, tables }
    }

    fn errors(&self) -> usize {
        self.set.findings.iter().filter(|finding| finding.is_error()).count()
    }

    /// Prints the errors to the standard error, for a command that cannot go on with them.
    fn refuse(&self) -> ExitCode {
        for finding in self.set.findings.iter().filter(|finding| finding.is_error()) {
            tell!("{finding}\n");
        }
        ExitCode::from(NO)
    }
}
