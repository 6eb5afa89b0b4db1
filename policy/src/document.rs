//! Text to a tree of values that know where they stand.
//!
//! The tree is built from the parser's events and not by deserialising, which would stop at the
//! first error: a person wants all findings about a document at once.

mod reader;
mod scalar;

use std::borrow::Cow;

use crate::{boundary::Place, diagnostic::quoted};

pub use reader::read;
pub use scalar::Number;

/// How deep lists and mappings may be nested. The deepest dialect nests seven deep.
pub const MAX_DEPTH: usize = 64;
/// How many values a document may have once its aliases are expanded: the bound on what an alias
/// bomb can make. A rule about a destination takes eight.
pub const MAX_NODES: usize = 1 << 20;

/// Where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub place: Place,
    /// How many characters of its first line it takes.
    pub length: u32,
    /// Characters between `place` and the first character of a text: 1 behind a quote. `None`
    /// where what is written is not what is meant, character by character.
    text_offset: Option<u32>,
}

/// A value of a document and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub span: Span,
}

/// A value that may hold further ones.
pub type Node = Spanned<Value>;

/// What a node holds, as YAML 1.2's core schema reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document. No key stands twice.
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Node,
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub span: Span,
}

impl Span {
    /// Where a character of the text stands, counted from 0, and how many characters to mark:
    /// one, or the whole text where single characters cannot be pointed at.
    pub fn within(&self, offset: usize) -> (Place, u32) {
        let mut place = self.place.clone();
        match (self.text_offset, u32::try_from(offset)) {
            (Some(before), Ok(offset)) => {
                place.column = place.column.saturating_add(before).saturating_add(offset);
                (place, 1)
            }
            _ => (place, self.length),
        }
    }
}

impl Node {
    /// The text, when it is text.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The truth value, when it is one.
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Boolean(value) = self.value { Some(value) } else { None }
    }

    /// The items, when it is a list; none otherwise.
    pub fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The entries, when it is a mapping; none otherwise.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Mapping(entries) = &self.value { entries } else { &[] }
    }

    /// The entry of a mapping with this key.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key.name == name)
    }

    /// The value of a mapping's key.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// What the node is, for a message: `` the text `x` ``, `a list`.
    pub fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Boolean(value) => format!("the truth value `{value}`").into(),
            Value::Number(number) => format!("the number {}", quoted(&number.text)).into(),
            Value::Text(text) => format!("the text {}", quoted(text)).into(),
            Value::List(_) => "a list".into(),
            Value::Mapping(_) => "a mapping".into(),
        }
    }
}

#[cfg(test)]
mod tests;
