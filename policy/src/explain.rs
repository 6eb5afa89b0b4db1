//! What documents come to, in words: who acts on each field that they set, and the boundary that
//! they make together.

mod document_notes;
mod effective;
mod fields;
mod limits;
mod markdown;
mod text;

use serde::{Serialize, Serializer};

use crate::{Document, Mode, Source, boundary::Place, coverage::Part};

pub use effective::{Baselines, Effective, Governed, Group, Rule, effective};
pub use fields::{Act, FieldRow, fields};

/// All that can be said about documents that govern together. As JSON it is one object; its keys
/// are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The documents, in the order that they were given in.
    pub documents: Vec<DocumentFields>,
    /// What they come to together.
    pub effective: Effective,
}

/// The fields that a document sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DocumentFields {
    /// The file's name, as the user gave it.
    pub file: String,
    /// What the document is: `Sec0 policy`.
    pub language: &'static str,
    /// Its fields, in the order of the document.
    pub fields: Vec<FieldRow>,
}

/// Explains documents that govern together. Each is the one that was read from the source at the
/// same position.
pub fn explain(sources: &[Source], documents: &[Document]) -> Explanation {
    let of_one = |(source, document): (&Source, &Document)| DocumentFields {
        file: source.name.to_string(),
        language: document.dialect.title(),
        fields: fields(source, document),
    };
    Explanation {
        documents: sources.iter().zip(documents).map(of_one).collect(),
        effective: effective(documents),
    }
}

impl Explanation {
    /// For a terminal, with a line break at the end. Characters of documents that would act on the
    /// terminal are replaced.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// As Markdown, for a review. Characters of documents that mean something there are escaped.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }
}

/// The word for a mode: `enforce`, `observe`.
const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

/// A place as an object of `file`, `line` and `column`.
fn place_json<S: Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Json<'a> {
        file: &'a str,
        line: u32,
        column: u32,
    }
    let Place { file, line, column } = place;
    Json { file, line: *line, column: *column }.serialize(serializer)
}

fn part_json<S: Serializer>(part: &Part, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(part.name())
}

fn mode_json<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode_word(*mode))
}

fn optional_mode_json<S: Serializer>(
    mode: &Option<Mode>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    mode.map(mode_word).serialize(serializer)
}

#[cfg(test)]
mod tests;
