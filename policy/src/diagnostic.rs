//! What is wrong with a document, where, and what to write instead.

pub mod code;
pub mod pages;
pub mod sarif;

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::boundary::Place;

/// Whether a finding stops the document from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, and probably means something else than its author thinks.
    Warning,
}

impl Severity {
    /// The word in messages and JSON: `error`, `warning`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding about a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable name of the kind of finding, `RF0101`; see [`code`].
    pub code: &'static str,
    /// What is wrong: one sentence, lower case, no full stop.
    pub message: String,
    /// Where it stands.
    pub place: Place,
    /// How many characters of the line it is about; 0 when it is about the file as a whole.
    pub length: u32,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
    /// The line that it is about, where there is one.
    pub line_text: Option<String>,
}

impl Diagnostic {
    /// An error about `length` characters at `place`.
    pub fn error(
        code: &'static str,
        place: Place,
        length: u32,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self {
            severity: Severity::Error,
            code,
            message,
            place,
            length,
            help: None,
            line_text: None,
        }
    }

    /// A warning about `length` characters at `place`.
    pub fn warning(
        code: &'static str,
        place: Place,
        length: u32,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, length, message) }
    }

    /// The same finding with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same finding with the line that it is about, taken from the document's text.
    #[must_use]
    pub fn with_line_of(self, text: &str) -> Self {
        self.with_line(&text.lines().collect::<Vec<&str>>())
    }

    /// The same finding with its line, of all lines of the document. A line that nobody could
    /// have written by hand is left out.
    pub(crate) fn with_line(mut self, lines: &[&str]) -> Self {
        const LONGEST: usize = 16 << 10;
        let line = (self.place.line as usize).checked_sub(1).and_then(|index| lines.get(index));
        self.line_text = line.filter(|line| line.len() <= LONGEST).map(|line| (*line).to_owned());
        self
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Characters of a source line that are shown around the place.
const SHOWN: usize = 160;

/// The text that a person reads, in the manner of rustc, without a final line break.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, message, .. } = self;
        writeln!(f, "{}[{}]: {}", self.severity.name(), self.code, visible(message))?;
        let gutter = place.line.to_string().len();
        write!(f, "{:gutter$}--> {}", "", visible(&place.file))?;
        if place.line > 0 {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        if let Some(line) = self.line_text.as_deref().filter(|_| self.length > 0) {
            let (shown, before, marked) = window(line, place.column, self.length);
            let underline: String =
                shown.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n{:gutter$} |\n{} | {shown}", "", place.line)?;
            write!(f, "\n{:gutter$} | {underline}{}", "", "^".repeat(marked))?;
        }
        if let Some(help) = &self.help {
            if self.length > 0 && self.line_text.is_some() {
                write!(f, "\n{:gutter$} |", "")?;
            }
            write!(f, "\n{:gutter$} = help: {}", "", visible(help))?;
        }
        Ok(())
    }
}

/// The part of a line to show, the characters before the marked ones, and how many to mark.
fn window(line: &str, column: u32, length: u32) -> (String, usize, usize) {
    let characters: Vec<char> = line.chars().map(harmless).collect();
    let at = (column as usize).saturating_sub(1).min(characters.len());
    let start = if characters.len() <= SHOWN { 0 } else { at.saturating_sub(SHOWN / 4) };
    let end = (start + SHOWN).min(characters.len());
    let cut_before = if start > 0 { "…" } else { "" };
    let cut_after = if end < characters.len() { "…" } else { "" };
    let shown: String = characters[start..end].iter().collect();
    let marked = (length as usize).clamp(1, (end - at).max(1));
    (format!("{cut_before}{shown}{cut_after}"), at - start + usize::from(start > 0), marked)
}

/// The text without characters that would act on a terminal instead of being shown.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { harmless(c) }).collect()
}

/// A replacement for control characters, and for those that change the direction of text and
/// could make a line look like another.
fn harmless(c: char) -> char {
    match c {
        '\t' => c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// A value of a document, quoted for a message: control characters made visible, cut when long.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = visible(text);
    if let Some((cut, _)) = shown.char_indices().nth(LONGEST) {
        shown.truncate(cut);
        shown.push('…');
    }
    format!("`{shown}`")
}

/// As JSON: `severity`, `code`, `message`, `file`, `line`, `column`, `length`, `help`, `source`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Diagnostic", 9)?;
        object.serialize_field("severity", self.severity.name())?;
        object.serialize_field("code", self.code)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("file", &*self.place.file)?;
        object.serialize_field("line", &self.place.line)?;
        object.serialize_field("column", &self.place.column)?;
        object.serialize_field("length", &self.length)?;
        object.serialize_field("help", &self.help)?;
        object.serialize_field("source", &self.line_text)?;
        object.end()
    }
}

#[cfg(test)]
mod tests;
