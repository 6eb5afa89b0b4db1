//! How to make a value fit its shape, where that can be guessed.

use super::Shape;
use crate::{
    document::{Node, Value},
    suggestion::listed,
};

/// How to make the node fit, where that can be guessed.
pub(super) fn advice(shape: Shape, node: &Node) -> Option<String> {
    match (shape, &node.value) {
        (Shape::Mapping(_) | Shape::Record(_) | Shape::Dependent(..), Value::Null) => {
            Some("its keys stand on the lines below, each indented by two spaces".into())
        }
        (Shape::List(_) | Shape::Group(_), Value::Null) => {
            Some("write `[]` for an empty list; it is not the same as no list".into())
        }
        (Shape::OneOf(words), Value::Number(number)) => {
            let with_unit = with_short_unit(&format!("{}d", number.text), words);
            Some(match with_unit {
                Some(word) => format!("give its unit: `{word}`"),
                None => format!("it is one of {}", listed(words)),
            })
        }
        (Shape::Text | Shape::NonEmptyText | Shape::Form(_), Value::Number(number)) => {
            Some(format!("put it in quotes: \"{}\"", number.text))
        }
        (Shape::OneOf(words), Value::Boolean(_)) => Some(format!("it is one of {}", listed(words))),
        (Shape::Text | Shape::NonEmptyText | Shape::Form(_), Value::Boolean(value)) => {
            Some(format!("put it in quotes: \"{value}\""))
        }
        (Shape::List(item), Value::Text(text)) if item.properties().is_empty() => {
            Some(format!("write it as a list: [{}]", serde_json::Value::from(text.as_str())))
        }
        (Shape::List(_) | Shape::Group(_), Value::Text(_)) => {
            Some("write a list: each item on a line of its own, behind a `-`; `[]` is none".into())
        }
        (Shape::List(_), Value::Number(number)) => {
            Some(format!("write it as a list: [{}]", number.text))
        }
        (Shape::Boolean, Value::Text(text)) => match text.to_lowercase().as_str() {
            "yes" | "on" | "true" | "y" => Some("write `true`".into()),
            "no" | "off" | "false" | "n" => Some("write `false`".into()),
            _ => None,
        },
        (Shape::Boolean, Value::Number(number)) => match number.text.as_str() {
            "1" => Some("write `true`".into()),
            "0" => Some("write `false`".into()),
            _ => None,
        },
        (Shape::Number(..) | Shape::Whole(..), Value::Text(text)) => {
            Some(match text.parse::<f64>() {
                Ok(_) => format!("remove the quotes: {text}"),
                Err(_) => format!("write a number, as `{}`", shape.example()),
            })
        }
        (Shape::Whole(..), Value::Number(number)) if number.value.is_finite() => {
            Some(format!("write it without a fraction: `{}`", number.value.round()))
        }
        _ => None,
    }
}

/// The word that a text with its unit written out stands for: `30d` for `30 days`.
pub(super) fn with_short_unit(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim().trim_end_matches('s').to_ascii_lowercase();
    let is_unit = matches!(unit.as_str(), "d" | "day");
    words.iter().copied().find(|word| is_unit && word.strip_suffix('d') == Some(number))
}
