//! Patterns of host names: one deterministic automaton that says for a name, read backwards,
//! what looking it up is answered.
//!
//! Backwards, since names are alike at the end: their beginnings are where they branch. Each rule
//! is told apart to its pattern's last byte, so that 10,000 names need more states than paths
//! have; but nearly all of them have one successor. So the table holds of each state the
//! successor that most classes of bytes have, and where the others stand.

use std::collections::HashMap;

use ringfence_common::{
    Cell, Right,
    image::{MAX_NAME_STATES, NAME_SLOT_BYTES, NAME_STATE_BYTES},
};

use super::{
    CompileError, MAX_IMAGE_BYTES, Problem,
    automaton::Plain,
    blame,
    cells::Entries,
    globs::{Patterns, TooComplex},
    minimise::minimise,
    nfa::Nfa,
    rules::{EgressLayer, NumberedPathRule, PathLayer, RuleBook},
    subsets::{self, Room},
};
use crate::{
    boundary::{GlobSyntax, Rights},
    hosts,
};

/// Rules are told apart, so that few states are equal and will be merged.
const ROOM: Room = Room { subsets: MAX_NAME_STATES as usize, members: 8 << 20, steps: 256 << 20 };

/// The table of names, ready to be written. State 0 is dead.
pub(super) struct NameTable {
    /// By byte. A letter has one class in both cases.
    pub(super) classes: [u8; 256],
    pub(super) start: u32,
    pub(super) states: Vec<NameState>,
    pub(super) slots: Vec<Slot>,
}

/// A state: where its slots begin, one for each class, its successor for classes whose slot is
/// another's, and its answer.
#[derive(Clone, Copy)]
pub(super) struct NameState {
    pub(super) base: u32,
    pub(super) otherwise: u32,
    pub(super) cell: Cell,
}

/// A state and its successor for the class whose slot this is.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) owner: u32,
    pub(super) next: u32,
}

/// Slots, of the last, among which a row's place is looked for.
const WINDOW: usize = 1024;
/// A slot that is no state's.
const FREE: Slot = Slot { owner: u32::MAX, next: 0 };

impl NameTable {
    pub(super) fn bytes(&self) -> usize {
        self.states.len() * NAME_STATE_BYTES as usize + self.slots.len() * NAME_SLOT_BYTES as usize
    }
}

/// The table for all layers together, in at most `room` bytes.
pub(super) fn build(
    egress: &[EgressLayer<'_>],
    room: usize,
    book: &RuleBook,
) -> Result<NameTable, CompileError> {
    let layers: Vec<PathLayer> = egress.iter().map(layer).collect();
    let patterns = Patterns::new(&layers);
    let mut nfa = Nfa::default();
    for number in 0..patterns.len() {
        let pattern = patterns.text(number);
        nfa.add(&expression(pattern), true).map_err(|_| too_complex(&patterns, number, book))?;
    }
    let try_build = |count| try_build(&nfa, count, &patterns, &layers, room);
    match try_build(patterns.len()) {
        Ok((table, _)) => Ok(table),
        Err(TooComplex) => {
            let used = |count| try_build(count).ok().map(|built| built.1);
            let culprit = blame::first_too_complex(patterns.len(), used);
            Err(too_complex(&patterns, culprit, book))
        }
    }
}

fn too_complex(patterns: &Patterns, number: usize, book: &RuleBook) -> CompileError {
    let pattern = patterns.text(number).to_owned();
    book.error(patterns.rule(number), Problem::NamesTooComplex { pattern })
}

/// The rules that count when a name is looked up, in the form of rules about paths.
fn layer(egress: &EgressLayer<'_>) -> PathLayer {
    let rules = egress.rules.iter().filter(|numbered| hosts::is_for_lookup(numbered.rule));
    let rules = rules.filter_map(|numbered| {
        Some(NumberedPathRule {
            number: numbered.number,
            group: numbered.group,
            is_baseline: false,
            effect: numbered.rule.effect,
            is_pin: false,
            rights: Rights::READ,
            pattern: hosts::name_pattern(numbered.rule)?.to_owned(),
            syntax: GlobSyntax::Crossing,
        })
    });
    let mut defaults = [None; Right::ALL.len()];
    defaults[Right::Read as usize] = Some(egress.default.settled());
    PathLayer { defaults, rules: rules.collect(), pins: Vec::new(), first_baseline: u32::MAX }
}

/// The regular expression for the names of a pattern, written backwards.
fn expression(pattern: &str) -> String {
    let mut text = String::from("(?s-u)^");
    let mut last = b' ';
    for byte in pattern.bytes().rev() {
        match byte {
            b'*' if last == b'*' => {}
            b'*' => text.push_str(".*"),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
        last = byte;
    }
    text.push('$');
    text
}

/// The table for the first `count` patterns, and how much of what it may take it takes, at most 1.
fn try_build(
    nfa: &Nfa,
    count: usize,
    patterns: &Patterns,
    layers: &[PathLayer],
    room: usize,
) -> Result<(NameTable, f64), TooComplex> {
    let mut entries = Entries::new(layers, patterns);
    let made = subsets::determinise(nfa, patterns, count, &mut entries, &ROOM, None)?;
    let plain = minimise(&made.plain);
    let cells: Vec<Cell> =
        entries.into_list().into_iter().map(|entry| entry[Right::Read as usize]).collect();
    let mut classes = made.classes.of;
    for upper in b'A'..=b'Z' {
        classes[usize::from(upper)] = classes[usize::from(upper.to_ascii_lowercase())];
    }
    let table = pack(&plain, classes, &cells);
    let used = [
        made.used,
        table.states.len() as f64 / f64::from(MAX_NAME_STATES),
        table.bytes() as f64 / room.min(MAX_IMAGE_BYTES) as f64,
    ];
    let used = used.into_iter().fold(0.0, f64::max);
    if used > 1.0 { Err(TooComplex) } else { Ok((table, used)) }
}

/// Lays the successors of all states over each other, each state's where no other's are in the
/// way.
fn pack(plain: &Plain, classes: [u8; 256], cells: &[Cell]) -> NameTable {
    let width = plain.class_count;
    let mut slots: Vec<Slot> = Vec::new();
    // No slot before this one is free.
    let mut first_free = 0;
    let rows = plain.transitions.chunks_exact(width).zip(&plain.accepts);
    let mut states = Vec::with_capacity(plain.accepts.len());
    for (state, (row, accept)) in rows.enumerate() {
        let otherwise = most_common(row);
        let own: Vec<usize> = (0..width).filter(|class| row[*class] != otherwise).collect();
        let base = match own.first() {
            None => 0,
            Some(first) => {
                let is_free = |at: usize| slots.get(at).is_none_or(|slot| slot.owner == FREE.owner);
                while !is_free(first_free) {
                    first_free += 1;
                }
                let fits = |base: &usize| own.iter().all(|class| is_free(base + class));
                // Further back there are few free slots, and each row would look at all of them.
                let from = first_free.max(slots.len().saturating_sub(WINDOW));
                let from = from.saturating_sub(*first);
                (from..).find(fits).unwrap_or(slots.len())
            }
        };
        let end = own.last().map_or(0, |last| base + last + 1);
        slots.resize(slots.len().max(end), FREE);
        for class in own {
            slots[base + class] = Slot { owner: state as u32, next: row[class] };
        }
        let cell = cells.get(*accept as usize).copied().unwrap_or(Cell::ALLOW);
        states.push(NameState { base: base as u32, otherwise, cell });
    }
    // Every class of every state has a slot, if only a free one.
    let end = states.iter().map(|state| state.base as usize + width).max().unwrap_or(width);
    slots.resize(end, FREE);
    NameTable { classes, start: plain.start, states, slots }
}

/// The successor that most classes have.
fn most_common(row: &[u32]) -> u32 {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for next in row {
        *counts.entry(*next).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(next, count)| (*count, u32::MAX - next));
    most.map_or(0, |(next, _)| next)
}
