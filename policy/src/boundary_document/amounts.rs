//! Durations and amounts of bytes in `budgets`.

use super::Budgets;
use crate::{
    boundary,
    diagnostic::code,
    lowering::Lowering,
    model::{Scalar, value},
};

/// The budgets, with findings about the amounts that cannot be read.
pub(super) fn budgets(budgets: &Budgets, lowering: &mut Lowering<'_>) -> boundary::Budgets {
    let mut wall_clock = None;
    if let Some(field) = &budgets.wall_clock
        && let Some(amount) = &field.value
    {
        wall_clock = match amount {
            Scalar::Text(text) => milliseconds(text),
            Scalar::Number(_) => None,
        };
        if wall_clock.is_none() {
            let message = format!("{} is no duration", amount.describe());
            let help = match amount {
                Scalar::Number(number) => format!("with its unit: `{}s`", number.text),
                Scalar::Text(text) => duration_meant(text),
            };
            lowering.error(code::BAD_AMOUNT, &field.span, message, &help);
        }
    }
    let mut output_bytes = None;
    if let Some(field) = &budgets.output_bytes
        && let Some(amount) = &field.value
    {
        output_bytes = bytes(amount);
        if output_bytes.is_none() {
            let message = format!("{} is no amount of bytes", amount.describe());
            let meant = match amount {
                Scalar::Text(text) => decimal_unit(text),
                Scalar::Number(_) => None,
            };
            let help = match meant {
                Some(meant) => format!("units are powers of 1024: `{meant}`"),
                None => {
                    "a number, or one with a unit: `1048576`, `64KiB`, `1MiB` or `2GiB`".to_owned()
                }
            };
            lowering.error(code::BAD_AMOUNT, &field.span, message, &help);
        }
    }
    boundary::Budgets {
        wall_clock,
        files_touched: value(&budgets.files_touched).copied(),
        output_bytes,
        connections: value(&budgets.connections).copied(),
        processes: value(&budgets.processes).copied(),
    }
}

/// What was likely meant by a duration whose unit is written out.
fn duration_meant(text: &str) -> String {
    let unit = amount(text).and_then(|(number, unit)| {
        let unit = match unit.to_ascii_lowercase().as_str() {
            "sec" | "secs" | "second" | "seconds" => "s",
            "min" | "mins" | "minute" | "minutes" => "m",
            "hr" | "hrs" | "hour" | "hours" => "h",
            "millisecond" | "milliseconds" => "ms",
            "d" | "day" | "days" => return Some(format!("write `{}h`", number.checked_mul(24)?)),
            _ => return None,
        };
        Some(format!("write `{number}{unit}`"))
    });
    unit.unwrap_or_else(|| "a number and a unit: `500ms`, `600s`, `10m` or `2h`".to_owned())
}

/// A duration in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = amount(text)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// An amount of bytes.
fn bytes(amount: &Scalar) -> Option<u64> {
    let text = match amount {
        Scalar::Number(number) => return number.whole(),
        Scalar::Text(text) => text,
    };
    let (number, unit) = self::amount(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// What was likely meant by a unit that is a power of 1000, or is misspelt.
fn decimal_unit(text: &str) -> Option<String> {
    let (number, unit) = amount(text)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "t" | "tb" | "tib" => "TiB",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// A whole number and the unit that follows it, with a space between or without.
fn amount(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit.strip_prefix(' ').unwrap_or(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("600s", Some(600_000)),
            ("10m", Some(600_000)),
            ("2h", Some(7_200_000)),
            ("10 m", Some(600_000)),
            ("10", None),
            ("m", None),
            ("1.5m", None),
            ("-1s", None),
            ("10 minutes", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn decimal_units_are_turned_away_with_what_was_meant() {
        for (text, meant) in [
            ("1MB", Some("1MiB")),
            ("64k", Some("64KiB")),
            ("2gib", Some("2GiB")),
            ("1 byte", None),
        ] {
            assert_eq!(decimal_unit(text).as_deref(), meant, "{text}");
        }
    }
}
