//! `ringfence policy check`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use ringfence_common::Right;
use ringfence_policy::{Boundary, Document, Mode, boundary::Baseline, diagnostic::sarif};

use super::{CheckArguments, FindingsFormat, NO, Policies};

/// Prints every finding, and says of each file without errors what it is.
pub(super) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let policies = Policies::read(&arguments.policies);
    let mut out = io::stdout().lock();
    match arguments.format {
        FindingsFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &policies.set.findings)?;
            writeln!(out)?;
        }
        FindingsFormat::Sarif => {
            serde_json::to_writer_pretty(&mut out, &sarif::log(&policies.set.findings))?;
            writeln!(out)?;
        }
        FindingsFormat::Text => print(&policies, &mut out)?,
    }
    out.flush()?;
    Ok(if policies.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn print(policies: &Policies, out: &mut impl Write) -> io::Result<()> {
    for finding in &policies.set.findings {
        writeln!(out, "{finding}\n")?;
    }
    for (document, boundary) in policies.set.documents.iter().zip(&policies.set.boundaries) {
        writeln!(out, "{}", summary(document, boundary))?;
    }
    let errors = policies.errors();
    let warnings = policies.set.findings.len() - errors;
    if errors + warnings > 0 {
        writeln!(out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    }
    let worst = policies.set.findings.iter().find(|finding| finding.is_error());
    if let Some(finding) = worst.or_else(|| policies.set.findings.first()) {
        writeln!(out, "`ringfence policy explain {}` says more", finding.code)?;
    }
    Ok(())
}

/// What a document without errors is, and what it governs.
fn summary(document: &Document, boundary: &Boundary) -> String {
    let mode = |right| {
        let group = boundary.path_groups.iter().find(|group| group.rights.has(right));
        word(group.map(|group| group.mode))
    };
    let exec = match &boundary.no_exec_after_start {
        Some((mode, _)) => format!("no program after the first ({})", word(Some(*mode))),
        None => format!("programs {}", mode(Right::Exec)),
    };
    let egress = word(boundary.egress.as_ref().map(|egress| egress.mode));
    let rules = boundary.path_rules.len() + boundary.egress.as_ref().map_or(0, |e| e.rules.len());
    format!(
        "{}: fine: {}, {}; files {}, {exec}, destinations {egress}{}",
        ringfence_policy::diagnostic::visible(&boundary.file),
        document.dialect.title(),
        counted(rules, "rule"),
        mode(Right::Read),
        if boundary.baseline == Baseline::None { ", no baseline" } else { "" },
    )
}

/// What becomes of a violation, in one word.
fn word(mode: Option<Mode>) -> &'static str {
    match mode {
        Some(Mode::Enforce) => "enforced",
        Some(Mode::Observe) => "observed",
        None => "free",
    }
}

fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
