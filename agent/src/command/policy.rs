//! `ringfence policy`: what a policy says, and what the kernel would decide by it. Needs no
//! privileges and changes nothing.

mod check;
mod explain_files;
mod question;
mod test;

use std::{collections::HashMap, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand, ValueEnum};
use ringfence_policy::{
    Boundary, Diagnostic, Dialect, Document, Source, check_together,
    compile::{self, Tables},
    diagnostic::code,
    parse, read_source,
};

/// Exit code for "the answer is no": invalid, or denied.
const NO: u8 = 1;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Validate policies: every finding with its line and what to write instead.
    Check(CheckArguments),
    /// Ask what the kernel would decide, and by which rule.
    Test(TestArguments),
    /// Explain policies in words: who acts on each field, and what they come to together.
    Explain(ExplainArguments),
}

/// Arguments of `policy check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    policies: PolicyFiles,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Arguments of `policy test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    policies: PolicyFiles,
    #[command(flatten)]
    question: question::Question,
    /// Ask about UDP instead of TCP.
    #[arg(long, requires = "connect")]
    udp: bool,
}

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    policies: PolicyFiles,
    /// How to print the explanation.
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    format: ExplainFormat,
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

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON array of findings.
    Json,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExplainFormat {
    /// For a terminal.
    Text,
    /// For a review.
    Markdown,
    /// One JSON object.
    Json,
}

/// Runs a command; the exit code is 0 when all is fine (for `test`: allowed), 1 when not.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Check(arguments) => check::run(&arguments),
        PolicyCommand::Test(arguments) => test::run(&arguments),
        PolicyCommand::Explain(arguments) => {
            explain_files::run(&arguments.policies, arguments.format)
        }
    }
}

/// Policies that were read and compiled, as far as they could be.
struct Policies {
    /// The documents without errors, in the order of the files.
    documents: Vec<Document>,
    /// What they compile to together; `None` when there is an error anywhere.
    tables: Option<Tables>,
    /// All findings, those about one file together.
    findings: Vec<Diagnostic>,
}

impl Policies {
    fn read(files: &PolicyFiles) -> Self {
        let mut sources: HashMap<Arc<str>, Source> = HashMap::new();
        let mut documents = Vec::new();
        let mut findings = Vec::new();
        for path in &files.files {
            match read_source(path) {
                Ok(source) => {
                    let parsed = parse(&source, files.dialect);
                    documents.extend(parsed.document);
                    findings.extend(parsed.diagnostics);
                    sources.insert(Arc::clone(&source.name), source);
                }
                Err(finding) => findings.push(*finding),
            }
        }
        let mut later = check_together(&documents);
        let mut tables = None;
        if !findings.iter().any(Diagnostic::is_error) {
            let boundaries: Vec<Boundary> =
                documents.iter().map(|document| document.boundary.clone()).collect();
            match compile::compile(&boundaries, &ringfence_policy::boundary::Resolved::new()) {
                Ok(compiled) => tables = Some(compiled),
                Err(error) => later.push(
                    Diagnostic::error(
                        code::NOT_COMPILED,
                        error.place,
                        1,
                        error.problem.to_string(),
                    )
                    .with_help(error.problem.help()),
                ),
            }
        }
        findings.extend(later.into_iter().map(|finding| match sources.get(&finding.place.file) {
            Some(source) => finding.with_line_of(&source.text),
            None => finding,
        }));
        Self { documents, tables, findings }
    }

    fn boundaries(&self) -> Vec<Boundary> {
        self.documents.iter().map(|document| document.boundary.clone()).collect()
    }

    fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.is_error()).count()
    }
}
