//! What a dialect's documents look like. A dialect declares its shape as a constant.

mod advice;
mod check;

pub(crate) use check::check_document;

use crate::coverage::{Coverage, Part};

/// What a value must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Whatever it is, its reader checks it.
    Any,
    /// Text.
    Text,
    /// Text of at least one character.
    NonEmptyText,
    /// `true` or `false`.
    Boolean,
    /// A number in a range, both ends included.
    Number(f64, f64),
    /// A whole number in a range, both ends included.
    Whole(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of values of one shape.
    List(&'static Shape),
    /// A group of rules: a list of values of one shape, or a mapping of `mode` and `rules`.
    Group(&'static Shape),
    /// A mapping with these keys and no others.
    Mapping(&'static [Property]),
    /// A mapping whose keys depend on each other, as its reader checks. The text says so in JSON
    /// Schema: members of an object that are added to the mapping's own.
    Dependent(&'static Shape, &'static str),
    /// Text, or a number, of a certain form.
    Form(&'static Form),
    /// A mapping with any keys and values of one shape.
    Record(&'static Shape),
}

/// A key that a mapping may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    /// Its name.
    pub(crate) name: &'static str,
    /// What its value must look like.
    pub(crate) shape: Shape,
    /// Whether it must be there.
    pub(crate) is_required: bool,
    /// What it means, and the source that says so.
    pub(crate) doc: &'static str,
    /// Who acts on it.
    pub(crate) coverage: Coverage,
}

impl Property {
    /// Who acts on it. In a mapping that is a group of rules, the one who acts on the group does
    /// on what is said of the group as a whole.
    pub(crate) const fn coverage_in(&self, group: Option<Coverage>) -> Coverage {
        match (self.coverage, group) {
            (Coverage::Fields, _) | (_, None) => self.coverage,
            (_, Some(group)) => group,
        }
    }
}

/// A form of text or numbers that is checked where it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// What it is, for a message: `a duration`.
    pub(crate) name: &'static str,
    /// What it may look like.
    pub(crate) example: &'static str,
    /// Whether a number may be one.
    pub(crate) takes_numbers: bool,
    /// The form in JSON Schema.
    pub(crate) json: &'static str,
}

/// A group of rules that is a mapping.
pub(crate) const GROUP: &[Property] = &[
    Property {
        name: "mode",
        shape: Shape::OneOf(&["enforce", "observe"]),
        is_required: false,
        doc: " The mode of this group; without it, that of the document.\n",
        coverage: Coverage::Kernel(Part::All),
    },
    Property {
        name: "rules",
        // The rules are looked at apart: their shape is not known to a constant.
        shape: Shape::Any,
        is_required: true,
        doc: " The rules of the group.\n",
        coverage: Coverage::Fields,
    },
];

impl Shape {
    /// The keys that a mapping may have; none for other shapes.
    pub(crate) const fn properties(self) -> &'static [Property] {
        match self {
            Self::Mapping(properties) => properties,
            Self::Dependent(inner, _) => inner.properties(),
            _ => &[],
        }
    }

    /// The shape, for a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text | Self::NonEmptyText => "text",
            Self::Boolean => "`true` or `false`",
            Self::Number(..) => "a number",
            Self::Whole(..) => "a whole number",
            Self::OneOf(_) => "a word",
            Self::List(_) | Self::Group(_) => "a list",
            Self::Mapping(_) | Self::Record(_) => "a mapping",
            Self::Dependent(inner, _) => inner.name(),
            Self::Form(form) => form.name,
        }
    }

    /// What a value of this shape may look like.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::OneOf([word, ..]) => word,
            Self::Boolean => "true",
            Self::Number(..) | Self::Whole(..) => "1",
            Self::List(_) | Self::Group(_) => "[…]",
            Self::Mapping(_) | Self::Record(_) => "{…}",
            Self::Dependent(inner, _) => inner.example(),
            Self::Form(form) => form.example,
            Self::Any | Self::Text | Self::NonEmptyText | Self::OneOf([]) => "…",
        }
    }
}
