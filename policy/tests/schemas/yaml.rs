//! Values as YAML text, in the ways that people write it.

use std::fmt::Write as _;

use serde_json::Value;

use super::random::Random;

/// The value as JSON, which is YAML, or in block style with texts quoted only where they must be.
pub(crate) fn text(value: &Value, random: &mut Random) -> String {
    match random.below(3) {
        0 => value.to_string(),
        1 => format!("{value:#}\n"),
        _ => {
            let mut out = String::new();
            block(value, 0, false, &mut out);
            out
        }
    }
}

/// Writes a value behind a key or a dash, or, where `out` is at the start of a line, a whole
/// document.
fn block(value: &Value, indent: usize, is_behind_dash: bool, out: &mut String) {
    let mut is_first = true;
    let mut start = |out: &mut String| {
        // The first key of a mapping in a list stands beside the dash.
        let stays = std::mem::take(&mut is_first) && (is_behind_dash || out.is_empty());
        if !stays {
            let _ = write!(out, "\n{:indent$}", "");
        } else if is_behind_dash {
            out.push(' ');
        }
    };
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                start(out);
                let _ = write!(out, "{}:", scalar(key));
                block(value, indent + 2, false, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                start(out);
                out.push('-');
                block(item, indent + 2, true, out);
            }
        }
        Value::String(text) => {
            let _ = write!(out, " {}", scalar(text));
        }
        // Empty collections, numbers, truth values and null are written as in JSON.
        value => {
            let _ = write!(out, " {value}");
        }
    }
}

/// Text without quotes where it then still is text.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !["null", "true", "false"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}
