//! What a scalar means: YAML 1.2.2, section 10.3 (core schema).
//!
//! `yes`, `no`, `on` and `off` are text there, as in the reference implementations' parsers.

use std::borrow::Cow;

use serde_yaml::granit_parser::{ScalarStyle, Tag};

use super::Value;

/// A number, and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// The value.
    pub value: f64,
    /// What the document says: `1.0`, `0x1f`.
    pub text: String,
}

impl Number {
    /// The value as a whole number, when it is one that can be told apart from its neighbours.
    pub fn whole(&self) -> Option<u64> {
        if let Ok(value) = self.text.parse() {
            return Some(value);
        }
        // 2^53: above it, a floating-point number stands for several whole ones.
        let exact =
            self.value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&self.value);
        exact.then_some(self.value as u64)
    }
}

/// The value of a scalar with this text.
pub(super) fn resolve(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let core = |suffix| tag.is_some_and(|tag| tag.is_yaml_core_schema_tag(suffix));
    let is_plain = style == ScalarStyle::Plain && tag.is_none();
    if core("str") || !(is_plain || core("int") || core("float") || core("bool") || core("null")) {
        return Value::Text(text.into_owned());
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Boolean(true),
        "false" | "False" | "FALSE" => return Value::Boolean(false),
        _ => {}
    }
    match number(&text) {
        Some(value) => Value::Number(Number { value, text: text.into_owned() }),
        None => Value::Text(text.into_owned()),
    }
}

fn number(text: &str) -> Option<f64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(|value| value as f64);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(|value| value as f64);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    // Rust reads what the core schema calls a float, and `inf`, `nan` and `infinity` besides.
    let starts_like_one = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts_like_one.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let plain = |text: &'static str| resolve(text.into(), ScalarStyle::Plain, None);
        for text in ["", "~", "null"] {
            assert_eq!(plain(text), Value::Null, "{text}");
        }
        assert_eq!(plain("true"), Value::Boolean(true));
        for (text, value) in [
            ("0", 0.0),
            ("-1", -1.0),
            ("+7", 7.0),
            ("0x1f", 31.0),
            ("0o17", 15.0),
            ("1e3", 1000.0),
            (".5", 0.5),
        ] {
            let Value::Number(number) = plain(text) else { panic!("{text} is a number") };
            assert_eq!(number.value, value, "{text}");
        }
        for text in ["yes", "on", "30d", "600s", "inf", "nan", "1.2.3", "0x", "1_000", "-", "."] {
            assert_eq!(plain(text), Value::Text(text.into()), "{text}");
        }
        assert_eq!(resolve("1".into(), ScalarStyle::DoubleQuoted, None), Value::Text("1".into()));
    }

    #[test]
    fn whole_numbers_are_exact_or_none() {
        let whole = |text: &str| Number { value: text.parse().unwrap(), text: text.into() }.whole();
        assert_eq!(whole("18446744073709551615"), Some(u64::MAX));
        assert_eq!(whole("1.0"), Some(1));
        assert_eq!(whole("1.5"), None);
        assert_eq!(whole("-1"), None);
        assert_eq!(whole("1e300"), None);
    }
}
