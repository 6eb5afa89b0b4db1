//! The text of a policy file, read within bounds.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use crate::{
    boundary::Place,
    diagnostic::{Diagnostic, code},
};

/// The largest policy file that is read, in bytes: twice what 100,000 networks with ports take.
/// What is larger is a mistake or an attack.
pub const MAX_BYTES: usize = 16 << 20;

/// A document's text and the name that findings and rules give for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name, as the user gave it.
    pub name: Arc<str>,
    /// What the file holds, without a byte order mark.
    pub text: String,
}

impl Source {
    /// A source from text that is already at hand.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        let text = text.into();
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Self { name: name.into(), text }
    }

    /// The documents of a YAML stream (YAML 1.2.2, section 9.2), each as a source of its own in
    /// which everything stands on the line where it stood. What comes after the most documents
    /// that are read stays together in the last one, and is refused there.
    pub fn documents(&self) -> Vec<Self> {
        const MOST: usize = 64;
        const MAX_PADDING: usize = 1 << 20;
        let mut starts = Vec::new();
        let (mut at, mut lines) = (0, 0);
        for line in self.text.split_inclusive('\n') {
            // A line that begins so ends a document, wherever it stands.
            let rest = line.strip_prefix("---");
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
            {
                starts.push((at, lines));
            }
            at += line.len();
            lines += 1;
        }
        let is_blank = |text: &str| {
            let lines = &mut text.lines().map(str::trim_start);
            lines.all(|line| line.is_empty() || line.starts_with(['#', '%']))
        };
        let first = starts.first().map_or(self.text.len(), |(start, _)| *start);
        // Comments and directives before the first separator belong to the first document.
        if let Some(start) = starts.first_mut()
            && is_blank(self.text.get(..first).unwrap_or_default())
        {
            *start = (0, 0);
        } else {
            starts.insert(0, (0, 0));
        }
        // A separator behind the last document begins none.
        let last = starts.pop_if(|(start, _)| {
            *start > 0 && is_blank(self.text.get(*start + 3..).unwrap_or_default())
        });
        let text_end = last.map_or(self.text.len(), |(start, _)| start);
        starts.truncate(MOST);
        // Each document is read behind as many empty lines as stand before it. Where that comes to
        // more than anybody writes, the text is left whole, and refused.
        if starts.iter().map(|(_, lines)| lines).sum::<usize>() > MAX_PADDING {
            return vec![self.clone()];
        }
        let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([text_end]);
        let document = |(&(start, lines), end): (&(usize, usize), usize)| {
            let text = self.text.get(start..end).unwrap_or_default();
            Self { name: Arc::clone(&self.name), text: "\n".repeat(lines) + text }
        };
        starts.iter().zip(ends).map(document).collect()
    }

    /// A place in this source.
    pub fn place(&self, line: u32, column: u32) -> Place {
        Place { file: self.name.clone(), line, column }
    }

    /// What is wrong with the text before any of it is understood: size, and bytes that no
    /// editor would have put there.
    pub(crate) fn check(&self) -> Result<(), Box<Diagnostic>> {
        if self.text.len() > MAX_BYTES {
            return Err(too_large(self.place(0, 0)));
        }
        let at = |at| line_and_column(self.text.as_bytes(), at);
        if let Some(nul) = self.text.find('\0') {
            let (line, column) = at(nul);
            return Err(not_text(self.place(line, column), "a NUL byte"));
        }
        match hidden_break(&self.text) {
            None => Ok(()),
            Some(found) => {
                let (line, column) = at(found);
                let message = "a line break that most programs do not show";
                let help = "some readers of YAML take a carriage return alone, U+0085, U+2028 and \
                            U+2029 for line breaks, so that it can hide a rule behind a comment; \
                            remove it, or write it as an escape in quotes";
                let place = self.place(line, column);
                let finding = Diagnostic::error(code::UNSUPPORTED_YAML, place, 1, message);
                Err(Box::new(finding.with_help(help)))
            }
        }
    }
}

/// The first line break of YAML 1.1 or 1.2 that is not one everywhere: a carriage return that no
/// line feed follows, next line, line separator, paragraph separator.
fn hidden_break(text: &str) -> Option<usize> {
    let mut found = text.match_indices(['\r', '\u{85}', '\u{2028}', '\u{2029}']);
    let is_hidden =
        |(at, found): &(usize, &str)| *found != "\r" || text.as_bytes().get(at + 1) != Some(&b'\n');
    found.find(is_hidden).map(|(at, _)| at)
}

/// Reads a policy file.
///
/// # Errors
///
/// A finding when the file cannot be opened or read, is a folder, is larger than [`MAX_BYTES`]
/// (of which no more is read), or is not UTF-8 text.
pub fn read_source(path: &Path) -> Result<Source, Box<Diagnostic>> {
    let name: Arc<str> = path.to_string_lossy().into();
    let place = |line, column| Place { file: name.clone(), line, column };
    let unreadable = |error: std::io::Error| {
        let message = format!("the policy file cannot be read: {error}");
        Box::new(Diagnostic::error(code::UNREADABLE, place(0, 0), 0, message))
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        let message = "the policy file cannot be read: it is a folder";
        return Err(Box::new(
            Diagnostic::error(code::UNREADABLE, place(0, 0), 0, message)
                .with_help("name the files in it one by one"),
        ));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large(place(0, 0)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let (line, column) = line_and_column(bytes, at);
            let what = match bytes {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16".to_owned(),
                _ => format!("the byte 0x{:02x}", bytes.get(at).copied().unwrap_or_default()),
            };
            Err(not_text(place(line, column), &what))
        }
    }
}

fn too_large(place: Place) -> Box<Diagnostic> {
    let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
    let help = "split the policy: `--policy` may be given several times, and documents intersect";
    Box::new(Diagnostic::error(code::TOO_LARGE, place, 0, message).with_help(help))
}

fn not_text(place: Place, what: &str) -> Box<Diagnostic> {
    let message = format!("the file is not UTF-8 text: it holds {what}");
    Box::new(
        Diagnostic::error(code::NOT_TEXT, place, 0, message)
            .with_help("a policy is a YAML text file; is this the file you meant?"),
    )
}

/// Line and column, counted from 1, of the byte at `at`. What is not UTF-8 counts byte by byte.
fn line_and_column(bytes: &[u8], at: usize) -> (u32, u32) {
    let before = bytes.get(..at).unwrap_or(bytes);
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    (line.try_into().unwrap_or(u32::MAX), column.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, parse};

    #[test]
    fn a_stream_is_taken_apart_and_lines_stay_where_they_are() {
        let text = "# both\n---\nboundary: 1\n--- # next\n\nboundary: 2\n";
        let documents = Source::new("a.yaml", text).documents();
        assert_eq!(documents.len(), 2);
        assert!(parse(&documents[0], None).document.is_some());
        let parsed = parse(&documents[1], None);
        assert_eq!((parsed.diagnostics[0].place.line, parsed.diagnostics[0].place.column), (6, 11));
    }

    #[test]
    fn a_source_without_a_separator_is_one_document_as_it_is() {
        for text in ["", "boundary: 1\n", "# nothing\n", "a: b\n---x: 1\n"] {
            let source = Source::new("a.yaml", text);
            assert_eq!(source.documents(), std::slice::from_ref(&source), "{text}");
        }
        // A separator behind the last document begins none, and leaves nothing in it.
        for end in ["---\n", "--- # end\n\n# nothing\n", "---"] {
            let source = Source::new("a.yaml", format!("boundary: 1\n{end}"));
            let documents = source.documents();
            assert_eq!(documents.len(), 1, "{end}");
            assert!(parse(&documents[0], None).document.is_some(), "{end}");
        }
        // The separator before the only document is no second one.
        let source = Source::new("a.yaml", "---\nboundary: 1\n");
        assert_eq!(source.documents().len(), 1);
    }

    #[test]
    fn a_separator_ends_a_document_even_within_a_text() {
        let text = "boundary: 1\nmode: |\n---\nboundary: 1\n";
        assert_eq!(Source::new("a.yaml", text).documents().len(), 2);
    }

    #[test]
    fn more_documents_than_are_read_are_refused_and_take_no_time() {
        let text = "---\nboundary: 1\n".repeat(100_000);
        let documents = Source::new("a.yaml", text).documents();
        assert_eq!(documents.len(), 64);
        let parsed = parse(&documents[63], Some(Dialect::Boundary));
        assert_eq!(parsed.diagnostics[0].code, code::SEVERAL_DOCUMENTS);
    }
}
