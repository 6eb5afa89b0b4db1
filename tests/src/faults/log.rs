//! The log of all lives of an agent: every number of a scope once.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::harness::{Failure, ensure};

/// What a log says of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Events.
    pub(super) events: u64,
    /// Events that were lost.
    pub(super) lost: u64,
}

/// Reads a folder's log, and holds it to the promise about numbers: each once, from 1 on, and none
/// left out.
///
/// # Errors
///
/// When it is broken.
pub(super) fn read(folder: &Path, scope: &str) -> Result<Told, Failure> {
    let mut seen = BTreeMap::<u64, u32>::new();
    let mut told = Told::default();
    let mut files: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        for line in fs::read_to_string(file)?.lines() {
            let value: Value = serde_json::from_str(line)
                .map_err(|error| Failure::new(format!("a line is no JSON: {error}")).with(line))?;
            if value["scope"] != scope {
                continue;
            }
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            let lost = &value["lost"];
            let (first, last) = match lost.is_null() {
                true => (number(&value["seq"]), number(&value["seq"])),
                false => (number(&lost["first_seq"]), number(&lost["last_seq"])),
            };
            let count = last + 1 - first;
            match lost.is_null() {
                true => told.events += 1,
                false => told.lost += count,
            }
            ensure(lost.is_null() || number(&lost["count"]) == count, || line.to_owned())?;
            (first..=last).for_each(|number| *seen.entry(number).or_default() += 1);
        }
    }
    let twice = seen.iter().filter(|(_, times)| **times > 1).map(|(number, _)| *number);
    let twice: Vec<u64> = twice.collect();
    let last = seen.keys().next_back().copied().unwrap_or(0);
    let absent: Vec<u64> = (1..=last).filter(|number| !seen.contains_key(number)).collect();
    let some = |numbers: &[u64]| numbers.iter().take(5).copied().collect::<Vec<_>>();
    ensure(twice.is_empty() && absent.is_empty() && !seen.contains_key(&0), || {
        format!(
            "of {last} numbers {} are told more than once, as {:?}, and {} not, as {:?}",
            twice.len(),
            some(&twice),
            absent.len(),
            some(&absent)
        )
    })?;
    Ok(told)
}
