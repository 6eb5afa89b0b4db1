//! What is wrong with a document, where, and what to write instead.

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

/// The stable names of findings. A number is never used for another finding again.
pub mod code {
    /// The file cannot be read.
    pub const UNREADABLE: &str = "RF0001";
    /// The file is larger than a policy may be.
    pub const TOO_LARGE: &str = "RF0002";
    /// The file is not UTF-8 text.
    pub const NOT_TEXT: &str = "RF0003";
    /// The file holds no document.
    pub const EMPTY: &str = "RF0004";
    /// The text is not YAML.
    pub const SYNTAX: &str = "RF0005";
    /// The file holds more than one document.
    pub const SEVERAL_DOCUMENTS: &str = "RF0006";
    /// The document is not a mapping.
    pub const NOT_A_MAPPING: &str = "RF0007";
    /// Nested too deep, or too many values once aliases are expanded.
    pub const LIMIT: &str = "RF0008";
    /// An alias that refers to nothing, or to what contains it.
    pub const ALIAS: &str = "RF0009";
    /// A key stands twice in one mapping.
    pub const DUPLICATE_KEY: &str = "RF0010";
    /// A mapping's key is not text.
    pub const KEY_NOT_TEXT: &str = "RF0011";
    /// A tag or merge key, which policies do not use.
    pub const UNSUPPORTED_YAML: &str = "RF0012";
    /// No dialect has these keys.
    pub const UNKNOWN_DIALECT: &str = "RF0020";
    /// A version of a dialect that is not read.
    pub const UNSUPPORTED_VERSION: &str = "RF0021";

    /// A key that the dialect does not have there.
    pub const UNKNOWN_KEY: &str = "RF0101";
    /// A key that must be there is not.
    pub const MISSING_KEY: &str = "RF0102";
    /// A value of the wrong type.
    pub const WRONG_TYPE: &str = "RF0103";
    /// A value that is not among those allowed.
    pub const UNKNOWN_VALUE: &str = "RF0104";
    /// A number outside its range, or a text or list shorter than it must be.
    pub const OUT_OF_RANGE: &str = "RF0105";
    /// Keys that exclude each other, or that need each other.
    pub const CONFLICT: &str = "RF0106";

    /// A path that is not absolute.
    pub const RELATIVE_PATH: &str = "RF0201";
    /// A path that the kernel never yields: `//`, `.`, `..`, a trailing slash.
    pub const ABNORMAL_PATH: &str = "RF0202";
    /// A path pattern that cannot be read.
    pub const BAD_GLOB: &str = "RF0203";
    /// A destination that is a URL, or has a path.
    pub const URL_FOR_HOST: &str = "RF0210";
    /// A destination that is no host name and no address.
    pub const BAD_HOST: &str = "RF0211";
    /// A network whose address has bits set beyond its prefix, or a prefix out of range.
    pub const BAD_NETWORK: &str = "RF0212";
    /// A port or range of ports that does not exist.
    pub const BAD_PORT: &str = "RF0213";
    /// A duration or an amount of bytes that cannot be read.
    pub const BAD_AMOUNT: &str = "RF0220";
    /// An entry of `path_map` that is no pair of folders, or maps a folder twice or to itself.
    pub const BAD_PATH_MAP: &str = "RF0221";

    /// Nothing in the document concerns the kernel.
    pub const NOTHING_ENFORCED: &str = "RF0301";
    /// A list that is present and empty: nothing is allowed.
    pub const EMPTY_ALLOWLIST: &str = "RF0302";
    /// A rule that allows everything.
    pub const ALLOWS_EVERYTHING: &str = "RF0303";
    /// Host names are looked up once, at the start.
    pub const RESOLVED_ONCE: &str = "RF0304";
    /// A host pattern, which cannot be looked up.
    pub const WILDCARD_HOST: &str = "RF0305";
    /// A rule that nothing can match.
    pub const NEVER_MATCHES: &str = "RF0306";
    /// A writable path that is not readable.
    pub const WRITE_WITHOUT_READ: &str = "RF0307";
    /// A part of the document that this version does not enforce.
    pub const NOT_ENFORCED: &str = "RF0308";
    /// A group that is absent and therefore not governed.
    pub const NOT_GOVERNED: &str = "RF0309";
    /// Two settings of one document of which the reader would expect something else together.
    pub const SURPRISING: &str = "RF0310";
    /// A deny rule that takes nothing: nothing that it names is allowed.
    pub const DENY_TAKES_NOTHING: &str = "RF0311";
    /// An allow rule of which everything is denied.
    pub const SHADOWED: &str = "RF0312";
    /// A rule that other rules cover already.
    pub const REDUNDANT: &str = "RF0313";

    /// A document that needs another beside it.
    pub const MISSING_COMPANION: &str = "RF0401";
    /// Documents that leave nothing allowed between them.
    pub const DISJOINT: &str = "RF0402";
    /// Two documents speak of what looks like one folder by different roots.
    pub const DIFFERENT_ROOTS: &str = "RF0403";
    /// A pattern that `path_map` cannot rewrite, though it may reach below a mapped folder.
    pub const UNMAPPED_PATTERN: &str = "RF0404";

    /// The boundary cannot be compiled to tables.
    pub const NOT_COMPILED: &str = "RF0501";
}

#[cfg(test)]
mod tests;
