//! An explanation for a terminal.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
};

use super::{
    Act, DocumentFields, Effective, Explanation, FieldRow, Group, effective::Baselines, mode_word,
};
use crate::{
    Mode,
    coverage::{Coverage, Part},
    diagnostic::visible,
};

/// Columns that lines are broken to. A word that is longer is not.
const WIDTH: usize = 100;

/// What stands before the lines below a field.
const INDENT: &str = "           ";

/// The sections of a document's fields: who acts, and the heading. What only has fields of its own
/// is left to them.
pub(super) const SECTIONS: [(&str, &str); 6] = [
    (Coverage::Kernel(Part::All).who(), "The kernel acts on"),
    (Coverage::Shared(Part::All, "").who(), "The kernel and the decision service act on"),
    (Coverage::Unenforced("").who(), "Not enforced by this version"),
    (Coverage::Service.who(), "Left to the decision service"),
    (Coverage::Record.who(), "Recorded only: nothing is refused by it"),
    (Coverage::Language.who(), "About the document itself"),
];

pub(super) fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(explanation, &mut out);
    out
}

fn write(explanation: &Explanation, out: &mut String) -> fmt::Result {
    for document in &explanation.documents {
        write_fields(document, out)?;
        writeln!(out)?;
    }
    match explanation.documents.as_slice() {
        [_] => writeln!(out, "WHAT IT COMES TO")?,
        _ => writeln!(out, "WHAT THEY COME TO: an act must be allowed by each that governs it")?,
    }
    write_effective(&explanation.effective, out)
}

fn write_fields(document: &DocumentFields, out: &mut String) -> fmt::Result {
    writeln!(out, "{}: {}", visible(&document.file), document.language)?;
    for (who, title) in SECTIONS {
        let rows: Vec<&FieldRow> =
            document.fields.iter().filter(|row| row.coverage.who() == who).collect();
        if rows.is_empty() {
            continue;
        }
        writeln!(out, "\n{title}")?;
        let longest = rows.iter().map(|row| row.path.len()).max().unwrap_or(0).min(46);
        // What a field means is told once, however many items of a list have it.
        let mut told = HashSet::new();
        for row in rows {
            write_row(row, longest, out)?;
            if told.insert(row.meaning.as_str()) {
                wrap(&row.meaning, INDENT, INDENT, out)?;
            }
        }
    }
    let parts = acting_parts(document);
    if !parts.is_empty() {
        writeln!(out, "\nBy these hooks")?;
    }
    for part in parts {
        wrap(&format!("{}: {}", part.title(), part.hooks().join(", ")), "  ", "    ", out)?;
    }
    Ok(())
}

fn write_row(row: &FieldRow, longest: usize, out: &mut String) -> fmt::Result {
    let FieldRow { path, place, value, .. } = row;
    writeln!(out, "  {:>5}  {path:longest$}  {}{value}", place.line, times(row))?;
    let acts = acts_in_words(row);
    if !acts.is_empty() {
        wrap(&acts, INDENT, INDENT, out)?;
    }
    Ok(())
}

/// How often a field is set, where that is more than once.
pub(super) fn times(row: &FieldRow) -> String {
    match row.count {
        1 => String::new(),
        count => format!("{count} times, first "),
    }
}

/// What is done by a field in its document.
pub(super) fn acts_in_words(row: &FieldRow) -> String {
    let acts: Vec<String> = row.acts.iter().map(act_in_words).collect();
    let mut sentences = Vec::new();
    if !acts.is_empty() {
        sentences.push(acts.join(", "));
    }
    if let Some(left) = row.left.filter(|_| row.has_effect) {
        sentences.push(format!("left to the decision service: {left}"));
    }
    match &row.remark {
        Some(why) if !row.has_effect => {
            let what = match row.coverage {
                Coverage::Shared(..) => "has no effect on the kernel here",
                _ => "has no effect here",
            };
            sentences.push(format!("{what}: {why}"));
        }
        Some(remark) => sentences.push(remark.clone()),
        None => {}
    }
    sentences.join("; ")
}

fn act_in_words(act: &Act) -> String {
    let title = act.part.title();
    match act.mode {
        Some(mode) => format!("{title}: {}", mode_word(mode)),
        None => format!("{title}: free"),
    }
}

/// The parts that the kernel acts on by any field of a document.
pub(super) fn acting_parts(document: &DocumentFields) -> Vec<Part> {
    let acts: Vec<&Act> = document.fields.iter().flat_map(|row| &row.acts).collect();
    let is_acting = |part: &Part| acts.iter().any(|act| act.part == *part && act.mode.is_some());
    Part::ALL.into_iter().filter(is_acting).collect()
}

fn write_effective(effective: &Effective, out: &mut String) -> fmt::Result {
    for group in &effective.groups {
        write_group(group, out)?;
    }
    if let Some(baseline) = &effective.baseline {
        write_baseline(baseline, out)?;
    }
    if !effective.unenforced.is_empty() {
        writeln!(out, "\nAsked for, and not enforced by this version")?;
        for rule in &effective.unenforced {
            let place = visible(&rule.place.to_string());
            wrap(&format!("- {place}: {}", rule.text), "  ", "    ", out)?;
        }
    }
    writeln!(out, "\n{}", always_title(effective.always_mode))?;
    write_list(effective.always_refused, out)?;
    writeln!(out, "\nOutside every boundary of this version")?;
    write_list(effective.outside, out)?;
    for finding in &effective.findings {
        writeln!(out, "\n{finding}")?;
    }
    Ok(())
}

pub(super) fn always_title(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "Always refused to a governed process",
        Mode::Observe => "Always recorded, and refused once a group is in enforce mode",
    }
}

fn write_list(sentences: &[&str], out: &mut String) -> fmt::Result {
    sentences.iter().try_for_each(|sentence| wrap(&format!("- {sentence}"), "  ", "    ", out))
}

fn write_group(group: &Group, out: &mut String) -> fmt::Result {
    let title = group.part.title();
    if let Some(free) = group.free {
        return writeln!(out, "\n{}", not_governed(title, free));
    }
    writeln!(out, "\n{}", capital(title))?;
    for governed in &group.governed_by {
        let place = visible(&governed.place.to_string());
        writeln!(out, "  {place}: {}", what_becomes(group.part, governed.mode))?;
        for rule in &governed.rules {
            writeln!(out, "    {:>6}  {}", rule.place.line, rule.text)?;
        }
        if governed.more > 0 {
            writeln!(out, "            and {} more", governed.more)?;
        }
        if governed.has_baseline {
            writeln!(out, "            and what the baseline allows, below")?;
        } else if governed.rules.is_empty() && group.part.has_rules() {
            writeln!(out, "            nothing is allowed")?;
        }
    }
    Ok(())
}

pub(super) fn not_governed(title: &str, free: &str) -> String {
    format!("{}: not governed, {free}", capital(title))
}

/// What becomes of an act that a group does not allow.
pub(super) const fn what_becomes(part: Part, mode: Mode) -> &'static str {
    match (part, mode) {
        (Part::LaterPrograms, Mode::Enforce) => "enforce, no program is executed after the first",
        (Part::LaterPrograms, Mode::Observe) => "observe, a program after the first is recorded",
        (Part::AnonymousCode, Mode::Enforce) => "enforce, no anonymous memory becomes executable",
        (Part::AnonymousCode, Mode::Observe) => "observe, what becomes executable is recorded",
        (Part::Rings, Mode::Enforce) => "enforce, no io_uring is made",
        (Part::Rings, Mode::Observe) => "observe, an io_uring that is made is recorded",
        (Part::Budgets, Mode::Enforce) => "enforce, what is not left is refused",
        (Part::Budgets, Mode::Observe) => "observe, what is not left is let through and recorded",
        (_, Mode::Enforce) => "enforce, what no rule allows is refused",
        (_, Mode::Observe) => "observe, what no rule allows is let through and recorded",
    }
}

fn write_baseline(baseline: &Baselines, out: &mut String) -> fmt::Result {
    writeln!(out, "\nThe baseline")?;
    for document in &baseline.documents {
        writeln!(out, "  {} {}", visible(&document.file), document.extent)?;
    }
    for group in &baseline.groups {
        let patterns = group.patterns.join(" ");
        wrap(&format!("{} ({}): {patterns}", group.purpose, group.rights), "  ", "    ", out)?;
    }
    wrap(&measured(baseline), "  ", "    ", out)
}

/// What the baseline was measured with, as a sentence without an end.
pub(super) fn measured(baseline: &Baselines) -> String {
    let programs = baseline.measured_with.join(", ");
    format!(
        "measured: with a workspace, a home and TMPDIR allowed besides, nothing is refused to \
         {programs}"
    )
}

pub(super) fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

/// Writes text in lines of no more than [`WIDTH`] columns.
fn wrap(text: &str, first: &str, others: &str, out: &mut String) -> fmt::Result {
    let mut column = first.len();
    out.write_str(first)?;
    let mut is_start = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !is_start && column + 1 + length > WIDTH {
            write!(out, "\n{others}{word}")?;
            column = others.len() + length;
        } else {
            let space = if is_start { "" } else { " " };
            write!(out, "{space}{word}")?;
            column += space.len() + length;
        }
        is_start = false;
    }
    writeln!(out)
}
