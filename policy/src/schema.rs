//! What a dialect's documents look like, and the check of a document against it.
//!
//! A dialect declares its shape as a constant; the check finds everything that is wrong at once.

use crate::{
    boundary::Place,
    coverage::{Coverage, Part},
    diagnostic::{Diagnostic, code, quoted},
    document::{Entry, Key, Node, Value},
    suggestion::{listed, nearest},
};

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

/// Checks a whole document against the fields of its outermost mapping.
pub(crate) fn check_document(document: &Node, shape: Shape, diagnostics: &mut Vec<Diagnostic>) {
    let fields = shape.properties();
    let mut check = Check { root: fields, path: Vec::new(), diagnostics };
    let start = Place { line: 1, column: 1, ..document.span.place.clone() };
    check.mapping(document, fields, (&start, 0));
}

struct Check<'a> {
    root: &'static [Property],
    /// Keys that lead to the node at hand.
    path: Vec<&'a str>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    fn node(&mut self, node: &'a Node, shape: Shape, key: (&Place, u32)) {
        match (shape, &node.value) {
            (Shape::Any | Shape::Text, Value::Text(_))
            | (Shape::Any, _)
            | (Shape::Boolean, Value::Boolean(_)) => {}
            (Shape::NonEmptyText, Value::Text(text)) => {
                if text.is_empty() {
                    let message = format!("{} must not be empty", self.name());
                    self.error(code::OUT_OF_RANGE, node, message, None);
                }
            }
            (Shape::Number(low, high), Value::Number(number)) => {
                self.range(node, number.value, low, high);
            }
            (Shape::Whole(low, high), Value::Number(number)) => {
                if number.value.fract() == 0.0 {
                    self.range(node, number.value, low, high);
                } else {
                    self.wrong_type(node, shape);
                }
            }
            (Shape::OneOf(words), Value::Text(text)) => self.one_of(node, text, words),
            (Shape::Group(item), Value::Mapping(_)) => self.group(node, item, key),
            (Shape::List(item) | Shape::Group(item), Value::List(items)) => {
                // An item has no key of its own to point at.
                for value in items {
                    self.node(value, *item, (&value.span.place, 1));
                }
            }
            (Shape::Mapping(fields), Value::Mapping(_)) => self.mapping(node, fields, key),
            (Shape::Dependent(inner, _), _) => self.node(node, *inner, key),
            (Shape::Form(_), Value::Text(_)) => {}
            (Shape::Form(form), Value::Number(_)) if form.takes_numbers => {}
            (Shape::Record(value), Value::Mapping(entries)) => {
                for entry in entries {
                    self.entry(entry, *value);
                }
            }
            _ => self.wrong_type(node, shape),
        }
    }

    fn entry(&mut self, entry: &'a Entry, shape: Shape) {
        self.path.push(&entry.key.name);
        self.node(&entry.value, shape, (&entry.key.span.place, entry.key.span.length));
        self.path.pop();
    }

    fn group(&mut self, node: &'a Node, item: &'static Shape, key: (&Place, u32)) {
        self.mapping(node, GROUP, key);
        if let Some(rules) = node.entry("rules") {
            self.path.push(&rules.key.name);
            self.node(
                &rules.value,
                Shape::List(item),
                (&rules.key.span.place, rules.key.span.length),
            );
            self.path.pop();
        }
    }

    /// `key` is where the mapping's own key stands: what is missing from the mapping is missing
    /// there.
    fn mapping(&mut self, node: &'a Node, fields: &'static [Property], key: (&Place, u32)) {
        let mut misspelt = Vec::new();
        let is_free = |field: &&Property| node.get(field.name).is_none();
        let free: Vec<&'static str> =
            fields.iter().filter(is_free).map(|field| field.name).collect();
        for entry in node.entries() {
            match fields.iter().find(|field| field.name == entry.key.name) {
                Some(field) => self.entry(entry, field.shape),
                None => misspelt.extend(self.unknown_key(&entry.key, &free, fields)),
            }
        }
        for field in fields.iter().filter(|field| field.is_required) {
            if !free.contains(&field.name) || misspelt.contains(&field.name) {
                continue;
            }
            let message = match self.path.last() {
                Some(_) => format!("{} needs the key `{}`", self.name(), field.name),
                None => format!("the document needs the key `{}`", field.name),
            };
            let (place, length) = (key.0.clone(), key.1);
            let finding = Diagnostic::error(code::MISSING_KEY, place, length, message)
                .with_help(format!("add `{}: {}`", field.name, field.shape.example()));
            self.diagnostics.push(finding);
        }
    }

    /// Adds the finding, and yields the key that was meant, if it can be guessed.
    fn unknown_key(
        &mut self,
        key: &Key,
        free: &[&'static str],
        fields: &'static [Property],
    ) -> Option<&'static str> {
        let place = match self.path.is_empty() {
            true => String::new(),
            false => format!(" in {}", self.name()),
        };
        let message = format!("unknown key {}{place}", quoted(&key.name));
        let meant = nearest(&key.name, free.iter().copied());
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => match home(self.root, &key.name) {
                Some(home) => format!("`{}` belongs in `{home}`; is it indented right?", key.name),
                None => {
                    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                    format!("the keys here are {}", listed(&names))
                }
            },
        };
        self.diagnostics.push(
            Diagnostic::error(code::UNKNOWN_KEY, key.span.place.clone(), key.span.length, message)
                .with_help(help),
        );
        meant
    }

    fn one_of(&mut self, node: &Node, text: &str, words: &'static [&'static str]) {
        if words.contains(&text) {
            return;
        }
        let message = format!("{} cannot be {}", self.name(), quoted(text));
        let meant = with_short_unit(text, words).or_else(|| nearest(text, words.iter().copied()));
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it is one of {}", listed(words)),
        };
        self.error(code::UNKNOWN_VALUE, node, message, Some(help));
    }

    fn range(&mut self, node: &Node, value: f64, low: f64, high: f64) {
        // JSON has no infinite numbers, and the reference's validator takes none.
        if value.is_finite() && (low..=high).contains(&value) {
            return;
        }
        let limits = match high.is_finite() {
            true if low == high => format!("{low}"),
            true => format!("from {low} to {high}"),
            false if value.is_finite() => format!("at least {low}"),
            false => "a finite number".to_owned(),
        };
        let message = format!("{} must be {limits}", self.name());
        self.error(code::OUT_OF_RANGE, node, message, None);
    }

    fn wrong_type(&mut self, node: &Node, shape: Shape) {
        let message =
            format!("{} must be {}, and is {}", self.name(), shape.name(), node.describe());
        self.error(code::WRONG_TYPE, node, message, shape.advice(node));
    }

    fn error(&mut self, code: &'static str, node: &Node, message: String, help: Option<String>) {
        let finding =
            Diagnostic::error(code, node.span.place.clone(), node.span.length.max(1), message);
        self.diagnostics.push(Diagnostic { help, ..finding });
    }

    /// The node at hand, for a message.
    fn name(&self) -> String {
        quoted(&self.path.join("."))
    }
}

/// The word that a text with its unit written out stands for: `30d` for `30 days`.
fn with_short_unit(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim().trim_end_matches('s').to_ascii_lowercase();
    let is_unit = matches!(unit.as_str(), "d" | "day");
    words.iter().copied().find(|word| is_unit && word.strip_suffix('d') == Some(number))
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
    fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text | Self::NonEmptyText => "text",
            Self::Boolean => "`true` or `false`",
            Self::Number(..) => "a number",
            Self::Whole(..) => "a whole number",
            Self::OneOf(_) => "a word",
            Self::List(_) | Self::Group(_) => "a list",
            Self::Mapping(_) | Self::Record(_) | Self::Dependent(..) => "a mapping",
            Self::Form(form) => form.name,
        }
    }

    /// What a value of this shape may look like.
    fn example(self) -> &'static str {
        match self {
            Self::OneOf([word, ..]) => word,
            Self::Boolean => "true",
            Self::Number(..) | Self::Whole(..) => "1",
            Self::List(_) | Self::Group(_) => "[…]",
            Self::Mapping(_) | Self::Record(_) | Self::Dependent(..) => "{…}",
            Self::Form(form) => form.example,
            Self::Any | Self::Text | Self::NonEmptyText | Self::OneOf([]) => "…",
        }
    }

    /// How to make the node fit, where that can be guessed.
    fn advice(self, node: &Node) -> Option<String> {
        match (self, &node.value) {
            (Self::Mapping(_) | Self::Record(_) | Self::Dependent(..), Value::Null) => {
                Some("its keys stand on the lines below, each indented by two spaces".into())
            }
            (Self::List(_) | Self::Group(_), Value::Null) => {
                Some("write `[]` for an empty list; it is not the same as no list".into())
            }
            (Self::OneOf(words), Value::Number(number)) => {
                let with_unit = with_short_unit(&format!("{}d", number.text), words);
                Some(match with_unit {
                    Some(word) => format!("give its unit: `{word}`"),
                    None => format!("it is one of {}", listed(words)),
                })
            }
            (Self::Text | Self::NonEmptyText | Self::Form(_), Value::Number(number)) => {
                Some(format!("put it in quotes: \"{}\"", number.text))
            }
            (
                Self::Text | Self::NonEmptyText | Self::OneOf(_) | Self::Form(_),
                Value::Boolean(value),
            ) => Some(format!("put it in quotes: \"{value}\"")),
            (Self::List(item), Value::Text(text)) if item.properties().is_empty() => {
                Some(format!("write it as a list: [\"{text}\"]"))
            }
            (Self::List(_), Value::Number(number)) => {
                Some(format!("write it as a list: [{}]", number.text))
            }
            (Self::Boolean, Value::Text(text)) => match text.to_lowercase().as_str() {
                "yes" | "on" | "true" | "y" => Some("write `true`".into()),
                "no" | "off" | "false" | "n" => Some("write `false`".into()),
                _ => None,
            },
            (Self::Boolean, Value::Number(number)) => match number.text.as_str() {
                "1" => Some("write `true`".into()),
                "0" => Some("write `false`".into()),
                _ => None,
            },
            (Self::Number(..) | Self::Whole(..), Value::Text(text)) => {
                Some(match text.parse::<f64>() {
                    Ok(_) => format!("remove the quotes: {text}"),
                    Err(_) => format!("write a number, as `{}`", self.example()),
                })
            }
            (Self::Whole(..), Value::Number(number)) => {
                Some(format!("write it without a fraction: `{}`", number.value.round()))
            }
            _ => None,
        }
    }
}

/// The path to the first mapping of a dialect that has this key.
fn home(fields: &'static [Property], name: &str) -> Option<String> {
    fields.iter().find_map(|field| {
        let mut shape = field.shape;
        while let Shape::List(inner) | Shape::Group(inner) | Shape::Dependent(inner, _) = shape {
            shape = *inner;
        }
        let Shape::Mapping(inner) = shape else { return None };
        if inner.iter().any(|field| field.name == name) {
            return Some(field.name.to_owned());
        }
        home(inner, name).map(|rest| format!("{}.{rest}", field.name))
    })
}
