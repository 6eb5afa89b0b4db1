//! The check of a document against its shape: everything that is wrong is found at once.

use super::{GROUP, Property, Shape, advice};
use crate::{
    boundary::Place,
    diagnostic::{Diagnostic, code, quoted},
    document::{Entry, Key, Node, Value},
    suggestion::{listed, nearest},
};

/// Checks a whole document against the fields of its outermost mapping.
pub(crate) fn check_document(document: &Node, shape: Shape, diagnostics: &mut Vec<Diagnostic>) {
    let fields = shape.properties();
    let mut check = Check { root: fields, path: Vec::new(), diagnostics };
    let start = Place { line: 1, column: 1, ..document.span.place.clone() };
    check.mapping(document, fields, (&start, 0));
}

/// The key that `anonymous` is asked for by.
const ANONYMOUS: &str = "exec_anonymous";

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
                self.path.push("[]");
                // An item has no key of its own to point at.
                for value in items {
                    self.node(value, *item, (&value.span.place, 1));
                }
                self.path.pop();
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
            let finding =
                Diagnostic::error(code::MISSING_KEY, place, length, message).with_help(match field
                    .shape
                {
                    Shape::Boolean => format!("add `{0}: true` or `{0}: false`", field.name),
                    shape => format!("add `{}: {}`", field.name, shape.example()),
                });
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
        let allows = fields.iter().find(|field| field.name == "allow");
        let takes_truth = allows.is_some_and(|field| matches!(field.shape, Shape::Boolean));
        let help = match meant {
            _ if key.name == "deny" && takes_truth => {
                "write `allow` instead: `false` refuses".to_owned()
            }
            _ if key.name == "anonymous" && self.root.iter().any(|one| one.name == ANONYMOUS) => {
                format!("write `{ANONYMOUS}: deny` beside `exec`")
            }
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
        let meant =
            advice::with_short_unit(text, words).or_else(|| nearest(text, words.iter().copied()));
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
        self.error(code::WRONG_TYPE, node, message, advice::advice(shape, node));
    }

    fn error(&mut self, code: &'static str, node: &Node, message: String, help: Option<String>) {
        let finding =
            Diagnostic::error(code, node.span.place.clone(), node.span.length.max(1), message);
        self.diagnostics.push(Diagnostic { help, ..finding });
    }

    /// The node at hand, for a message.
    fn name(&self) -> String {
        quoted(&self.path.join(".").replace(".[]", "[]"))
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
