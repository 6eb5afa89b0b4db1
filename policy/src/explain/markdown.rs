//! An explanation as Markdown (CommonMark with GitHub's tables).

use std::fmt::{self, Write as _};

use super::{
    DocumentFields, Effective, Explanation, FieldRow, Group,
    text::{
        SECTIONS, acting_parts, acts_in_words, always_title, capital, measured, not_governed,
        times, what_becomes,
    },
};
use crate::diagnostic::visible;

pub(super) fn render(explanation: &Explanation) -> String {
    let mut out = String::from("# Policies explained\n");
    // Writing to a String cannot fail.
    let _ = write(explanation, &mut out);
    out
}

fn write(explanation: &Explanation, out: &mut String) -> fmt::Result {
    for document in &explanation.documents {
        write_fields(document, out)?;
    }
    writeln!(out, "\n## What it comes to")?;
    if explanation.documents.len() > 1 {
        writeln!(out, "An act must be allowed by each document that governs it.")?;
    }
    write_effective(&explanation.effective, out)
}

fn write_fields(document: &DocumentFields, out: &mut String) -> fmt::Result {
    writeln!(out, "\n## {}: {}", code(&document.file), document.language)?;
    for (who, title) in SECTIONS {
        let mut rows = document.fields.iter().filter(|row| row.coverage.who() == who).peekable();
        if rows.peek().is_none() {
            continue;
        }
        writeln!(out, "\n### {title}\n")?;
        writeln!(out, "| Line | Field | Value | Here | Meaning |\n|---:|---|---|---|---|")?;
        rows.try_for_each(|row| write_row(row, out))?;
    }
    let parts = acting_parts(document);
    if !parts.is_empty() {
        writeln!(out, "\n### By these hooks\n")?;
    }
    for part in parts {
        let hooks: Vec<String> = part.hooks().into_iter().map(code).collect();
        writeln!(out, "- {}: {}", part.title(), hooks.join(", "))?;
    }
    Ok(())
}

fn write_row(row: &FieldRow, out: &mut String) -> fmt::Result {
    let FieldRow { path, place, value, meaning, .. } = row;
    let here = escaped(&acts_in_words(row));
    let (path, value, times) = (cell(&code(path)), cell(&code(value)), times(row));
    let meaning = cell(meaning);
    writeln!(out, "| {} | {path} | {times}{value} | {here} | {meaning} |", place.line)
}

fn write_effective(effective: &Effective, out: &mut String) -> fmt::Result {
    for group in &effective.groups {
        write_group(group, out)?;
    }
    if let Some(baseline) = &effective.baseline {
        writeln!(out, "\n### The baseline\n")?;
        for document in &baseline.documents {
            writeln!(out, "- {} {}", code(&document.file), document.extent)?;
        }
        for group in &baseline.groups {
            let patterns: Vec<String> = group.patterns.iter().copied().map(code).collect();
            let (purpose, rights) = (group.purpose, &group.rights);
            writeln!(out, "- {purpose} ({rights}): {}", patterns.join(" "))?;
        }
        writeln!(out, "- {}", measured(baseline))?;
    }
    if !effective.unenforced.is_empty() {
        writeln!(out, "\n### Asked for, and not enforced by this version\n")?;
        for rule in &effective.unenforced {
            writeln!(out, "- {}: {}", code(&rule.place.to_string()), escaped(&rule.text))?;
        }
    }
    writeln!(out, "\n### {}\n", always_title(effective.always_mode))?;
    write_list(effective.always_refused, out)?;
    writeln!(out, "\n### Outside every boundary of this version\n")?;
    write_list(effective.outside, out)?;
    if !effective.findings.is_empty() {
        writeln!(out, "\n### Findings\n")?;
    }
    for finding in &effective.findings {
        let place = code(&finding.place.to_string());
        writeln!(out, "- {place}: {} {}", finding.code, escaped(&finding.message))?;
    }
    Ok(())
}

fn write_list(sentences: &[&str], out: &mut String) -> fmt::Result {
    // These are our own, with code in backticks; of other signs they have stars.
    sentences.iter().try_for_each(|text| writeln!(out, "- {}", text.replace('*', "\\*")))
}

fn write_group(group: &Group, out: &mut String) -> fmt::Result {
    let title = group.part.title();
    if let Some(free) = group.free {
        return writeln!(out, "\n### {}", not_governed(title, free));
    }
    writeln!(out, "\n### {}", capital(title))?;
    for governed in &group.governed_by {
        let place = code(&governed.place.to_string());
        writeln!(out, "\n{place}: {}\n", what_becomes(group.part, governed.mode))?;
        for rule in &governed.rules {
            writeln!(out, "- line {}: {}", rule.place.line, code(&rule.text))?;
        }
        if governed.more > 0 {
            writeln!(out, "- and {} more", governed.more)?;
        }
        if governed.has_baseline {
            writeln!(out, "- and what the baseline allows, below")?;
        } else if governed.rules.is_empty() && group.part.has_rules() {
            writeln!(out, "- nothing is allowed")?;
        }
    }
    Ok(())
}

/// Text as code, in which nothing has a meaning (CommonMark 0.31, section 6.1): the fence is
/// longer than every run of backticks inside.
fn code(text: &str) -> String {
    let text = visible(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A space on both sides is taken off, unless all is spaces.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    match text.is_empty() {
        true => "` `".to_owned(),
        false => format!("{fence}{pad}{text}{pad}{fence}"),
    }
}

/// Markdown in a cell of a table, where a bar ends even code.
fn cell(markdown: &str) -> String {
    markdown.replace('|', "\\|")
}

/// Text in which every sign that may mean something is escaped; those of links that need no
/// brackets too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        if c.is_ascii_punctuation() && !matches!(c, ',' | ';' | '/' | '-' | '(' | ')' | '\'') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
