//! Durations and amounts of bytes in `budgets`.

use ringfence_common::budget::Kind;

use super::Budgets;
use crate::{
    boundary::{self, Budget, Mode},
    diagnostic::code,
    lowering::Lowering,
    model::{Field, Scalar},
};

/// The budgets, with findings about the amounts that cannot be read.
pub(super) fn budgets(
    budgets: &Budgets,
    mode: Mode,
    lowering: &mut Lowering<'_>,
) -> boundary::Budgets {
    let limits = [
        of_amount(Kind::WallClock, &budgets.wall_clock, time, lowering),
        of_number(Kind::FilesTouched, &budgets.files_touched),
        of_amount(Kind::OutputBytes, &budgets.output_bytes, size, lowering),
        of_number(Kind::Connections, &budgets.connections),
        of_number(Kind::Processes, &budgets.processes),
        of_amount(Kind::SentBytes, &budgets.sent_bytes, size, lowering),
    ];
    boundary::Budgets { mode, limits: limits.into_iter().flatten().collect() }
}

fn of_number(kind: Kind, field: &Option<Field<u64>>) -> Option<Budget> {
    let field = field.as_ref()?;
    Some(Budget { kind, amount: field.value?, place: field.key.place.clone() })
}

/// A budget whose amount has a unit; `read` yields it, or what is wrong and what to write.
fn of_amount(
    kind: Kind,
    field: &Option<Field<Scalar>>,
    read: fn(&Scalar) -> Result<u64, (&'static str, String)>,
    lowering: &mut Lowering<'_>,
) -> Option<Budget> {
    let field = field.as_ref()?;
    let scalar = field.value.as_ref()?;
    match read(scalar) {
        Ok(amount) => Some(Budget { kind, amount, place: field.key.place.clone() }),
        Err((what, help)) => {
            let message = format!("{} is no {what}", scalar.describe());
            lowering.error(code::BAD_AMOUNT, &field.span, message, &help);
            None
        }
    }
}

fn time(scalar: &Scalar) -> Result<u64, (&'static str, String)> {
    match scalar {
        Scalar::Text(text) => milliseconds(text).ok_or_else(|| ("duration", duration_meant(text))),
        Scalar::Number(number) => Err(("duration", format!("with its unit: `{}s`", number.text))),
    }
}

fn size(scalar: &Scalar) -> Result<u64, (&'static str, String)> {
    bytes(scalar).ok_or_else(|| {
        let meant = match scalar {
            Scalar::Text(text) => decimal_unit(text),
            Scalar::Number(_) => None,
        };
        let help = match meant {
            Some(meant) => format!("units are powers of 1024: `{meant}`"),
            None => "a number, or one with a unit: `1048576`, `64KiB`, `1MiB` or `2GiB`".to_owned(),
        };
        ("amount of bytes", help)
    })
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
