//! Writes an automaton as the table that the kernel walks.

use std::collections::HashMap;

use ringfence_common::image::MAX_STATES;

use super::{cells::Entry, minimise, subsets::Classes};

/// The path table: state 0 is dead, and row n has the successors of state n by class.
pub(super) struct PathTable {
    pub(super) classes: [u8; 256],
    pub(super) class_count: usize,
    /// Binary logarithm of a row's length.
    pub(super) shift: u32,
    pub(super) start: u16,
    pub(super) transitions: Vec<u16>,
    /// By state, the number of its entry.
    pub(super) accepts: Vec<u16>,
    pub(super) entries: Vec<Entry>,
}

/// An automaton with its own numbers, before it is made small. State 0 is dead.
pub(super) struct Plain {
    pub(super) class_count: usize,
    pub(super) start: u32,
    /// `[state * class_count + class]`
    pub(super) transitions: Vec<u32>,
    /// By state, the number of its entry; 0 where nothing but the defaults holds.
    pub(super) accepts: Vec<u32>,
}

/// The table for an automaton; `None` when it has too many states.
pub(super) fn table(plain: &Plain, classes: &Classes, entries: Vec<Entry>) -> Option<PathTable> {
    let plain = minimise::minimise(plain);
    let states = plain.accepts.len();
    if states > MAX_STATES as usize {
        return None;
    }
    let (merged, columns) = merge_columns(&plain);
    let shift = columns.len().next_power_of_two().trailing_zeros();
    let mut transitions = vec![0; states << shift];
    for state in 0..states {
        for (class, column) in columns.iter().enumerate() {
            let next = plain.transitions[state * plain.class_count + column];
            transitions[(state << shift) + class] = u16::try_from(next).ok()?;
        }
    }
    let accepts = plain.accepts.iter().map(|entry| u16::try_from(*entry));
    Some(PathTable {
        classes: classes.of.map(|class| merged[usize::from(class)]),
        class_count: columns.len(),
        shift,
        start: u16::try_from(plain.start).ok()?,
        transitions,
        accepts: accepts.collect::<Result<_, _>>().ok()?,
        entries,
    })
}

/// Classes whose bytes lead to the same states everywhere become one: the new class of each old
/// one, and an old class for each new one.
fn merge_columns(plain: &Plain) -> (Vec<u8>, Vec<usize>) {
    let mut known = HashMap::new();
    let mut columns = Vec::new();
    let merged = (0..plain.class_count).map(|class| {
        let column = plain.transitions.iter().skip(class).step_by(plain.class_count);
        *known.entry(column.copied().collect::<Vec<_>>()).or_insert_with(|| {
            columns.push(class);
            // 256 bytes have no more than 256 classes.
            (columns.len() - 1) as u8
        })
    });
    (merged.collect(), columns)
}
