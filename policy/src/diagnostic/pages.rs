//! A page for each code: what is wrong, why it matters, and how to mend it.
//!
//! `ringfence policy explain RF0203` prints one. A finding says what is wrong at one place in few
//! words; its page is for the reader who does not know the subject yet.

mod compiler;
mod configuration;
mod file;
mod keys;
mod together;
mod values;
mod warnings;

use std::fmt;

use serde::Serialize;

use crate::{Dialect, suggestion};

/// What is to be known about one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The code, one of [`code`](super::code).
    pub code: &'static str,
    /// What is wrong, in one sentence without its full stop.
    pub title: &'static str,
    /// What is wrong, what the kernel would do, and how to mend it: paragraphs with an empty line
    /// between them.
    pub text: &'static str,
    /// A document with such a finding. `None` where one text cannot show it: a file that cannot
    /// be read as text, or two documents.
    pub wrong: Option<Example>,
    /// A document as it should be.
    pub right: Option<Example>,
}

/// A complete document, as short as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The language that it is in; `None` where that is the question.
    pub dialect: Option<Dialect>,
    /// Its text.
    pub text: &'static str,
}

/// The page of a code, in whatever case the code is written.
pub fn page(code: &str) -> Option<&'static Page> {
    all().find(|page| page.code.eq_ignore_ascii_case(code))
}

/// Every page, in order of code.
pub fn all() -> impl Iterator<Item = &'static Page> {
    let hundreds = [
        file::PAGES,
        keys::PAGES,
        values::PAGES,
        warnings::PAGES,
        together::PAGES,
        compiler::PAGES,
        configuration::PAGES,
    ];
    hundreds.into_iter().flatten()
}

/// The page whose code differs from this text by a slip of the finger.
pub fn nearest(code: &str) -> Option<&'static Page> {
    let digits = |code: &'static str| code.trim_start_matches("RF");
    let meant = code.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = suggestion::nearest(meant, all().map(|page| digits(page.code)))?;
    all().find(|page| digits(page.code) == number)
}

impl Page {
    const fn new(code: &'static str, title: &'static str, text: &'static str) -> Self {
        Self { code, title, text, wrong: None, right: None }
    }

    const fn wrong(self, text: &'static str) -> Self {
        self.wrong_in(Some(Dialect::Boundary), text)
    }

    const fn right(self, text: &'static str) -> Self {
        self.right_in(Some(Dialect::Boundary), text)
    }

    const fn wrong_in(self, dialect: Option<Dialect>, text: &'static str) -> Self {
        Self { wrong: Some(Example { dialect, text }), ..self }
    }

    const fn right_in(self, dialect: Option<Dialect>, text: &'static str) -> Self {
        Self { right: Some(Example { dialect, text }), ..self }
    }
}

/// Characters of a line on a terminal.
const WIDTH: usize = 90;

/// The page as a terminal shows it, without a final line break: paragraphs wrapped, examples
/// indented by four.
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.title)?;
        for paragraph in self.text.split("\n\n") {
            f.write_str("\n")?;
            for line in wrapped(paragraph) {
                write!(f, "\n{line}")?;
            }
        }
        for (word, example) in [("Wrong", self.wrong), ("Right", self.right)] {
            let Some(Example { dialect, text }) = example else { continue };
            match dialect.filter(|dialect| *dialect != Dialect::Boundary) {
                Some(dialect) => write!(f, "\n\n{word} ({}):\n", dialect.title())?,
                None => write!(f, "\n\n{word}:\n")?,
            }
            for line in text.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// The lines of a paragraph. What stands in backquotes stays on one line.
fn wrapped(paragraph: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words(paragraph) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The parts of a paragraph between which a line may be broken.
fn words(paragraph: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let is_break = move |c: char| {
        is_quoted ^= c == '`';
        !is_quoted && c.is_whitespace()
    };
    paragraph.split(is_break).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
