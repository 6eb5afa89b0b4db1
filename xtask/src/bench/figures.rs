//! Figures that a suite prints in a virtual machine, and the table that they make.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result, bail};

use crate::machine::Machine;

/// The case that all others are compared with.
const ALONE: &str = "nothing";

/// Three numbers for each column, of every round, by case.
pub(super) type Figures = BTreeMap<String, BTreeMap<String, Vec<[u64; 3]>>>;

/// Runs a suite, and takes what it prints.
///
/// # Errors
///
/// When the machine, or the suite in it, fails.
pub(super) fn take(machine: &Machine, figures: &mut Figures) -> Result<()> {
    let mut text = Vec::new();
    let code = machine.boot(&mut |bytes| text.extend_from_slice(bytes))?;
    let text = String::from_utf8_lossy(&text);
    if code != 0 {
        bail!("the benchmark failed with {code}:\n{text}");
    }
    text.lines().filter_map(parse).for_each(|(case, column, figure)| {
        figures.entry(case).or_default().entry(column).or_default().push(figure);
    });
    Ok(())
}

/// `CASE: COLUMN MIDDLE SMALLEST LARGEST`
fn parse(line: &str) -> Option<(String, String, [u64; 3])> {
    let (case, rest) = line.trim_end().rsplit_once(": ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [column, numbers @ ..] = &words[..] else { return None };
    let numbers: Vec<u64> = numbers.iter().map_while(|word| word.parse().ok()).collect();
    Some((case.to_owned(), (*column).to_owned(), numbers.try_into().ok()?))
}

fn middle(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

/// The middle round's middle measurement.
fn at(case: &BTreeMap<String, Vec<[u64; 3]>>, column: &str) -> Result<u64> {
    let rounds = case.get(column).with_context(|| format!("no figure for {column}"))?;
    Ok(middle(rounds.iter().map(|figure| figure[0]).collect()))
}

/// A table of ratios to the case without anything, in the columns' order; `corner` says what they
/// are.
///
/// # Errors
///
/// When a case has no figure in a column.
pub(super) fn table(corner: &str, columns: &[&str], figures: &Figures) -> Result<String> {
    let alone = figures.get(ALONE).context("the case without anything is missing")?;
    let mut text = format!("| {corner} |");
    for column in columns {
        write!(text, " {column} |")?;
    }
    text += " largest spread |\n|";
    text += &"---|".repeat(columns.len() + 2);
    text.push('\n');
    let others = figures.iter().filter(|(name, _)| *name != ALONE);
    for (name, case) in std::iter::once((&ALONE.to_owned(), alone)).chain(others) {
        write!(text, "| {name} |")?;
        for column in columns {
            let (own, base) = (at(case, column)?, at(alone, column)?);
            match name == ALONE {
                true => write!(text, " {own} |")?,
                false => write!(text, " {:.3} |", own as f64 / base as f64)?,
            }
        }
        let spread = case.values().map(|rounds| {
            let ends = rounds.iter().map(|figure| figure[0]);
            let (low, high) = (ends.clone().min().unwrap_or(1), ends.max().unwrap_or(1));
            (high - low) as f64 / low as f64
        });
        writeln!(text, " {:.1} % |", 100.0 * spread.fold(0.0, f64::max))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_figures_is_read_and_others_are_not() {
        let read = parse("Landlock, 10 rules: 12 3 2 4\r");
        assert_eq!(read, Some(("Landlock, 10 rules".into(), "12".into(), [3, 2, 4])));
        for other in ["", "ringfence: 12 acts were refused", "x: 1 2 3", "x: 1 2 3 4 5"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn ratios_are_to_the_case_without_anything_and_of_the_middle_round() {
        let rounds = |middles: [u64; 3]| middles.map(|middle| [middle, 0, 0]).to_vec();
        let columns = ["1", "2"];
        let case = |middles| columns.map(|column| (column.to_owned(), rounds(middles))).into();
        let figures =
            [(ALONE.to_owned(), case([100, 100, 100])), ("x".to_owned(), case([150, 110, 120]))];
        let text = table("components", &columns, &figures.into()).unwrap();
        assert!(text.contains("| x | 1.200 | 1.200 | 36.4 % |"), "{text}");
    }
}
