//! Combines what every boundary says about a path to the one answer that the kernel is given.

use std::collections::HashMap;

use ringfence_common::{Cell, Right, Verdict};

use super::{
    globs::Patterns,
    rules::{PathLayer, strictest},
};
use crate::boundary::Effect;

/// The answers to one set of matching patterns, one for each right.
pub(super) type Entry = [Cell; Right::ALL.len()];

/// Turns sets of matching patterns into entries, each distinct entry once.
pub(super) struct Entries<'a> {
    layers: &'a [PathLayer],
    patterns: &'a Patterns,
    /// By number; entry 0 is the answer when no pattern matches.
    list: Vec<Entry>,
    numbers: HashMap<Entry, u32>,
}

/// The first rule in document order that takes a right, the first that gives it to a certain
/// content, and the first that gives it.
#[derive(Clone, Copy, Default)]
struct First {
    deny: Option<u32>,
    pin: Option<u32>,
    allow: Option<u32>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(layers: &'a [PathLayer], patterns: &'a Patterns) -> Self {
        let mut this = Self { layers, patterns, list: Vec::new(), numbers: HashMap::new() };
        this.number(std::iter::empty());
        this
    }

    /// The number of the entry for a set of patterns that match at once.
    pub(super) fn number(&mut self, matching: impl Iterator<Item = usize>) -> u32 {
        let entry = self.entry(matching);
        *self.numbers.entry(entry).or_insert_with(|| {
            self.list.push(entry);
            // There are no more entries than states, and states are counted in u32.
            (self.list.len() - 1) as u32
        })
    }

    pub(super) fn into_list(self) -> Vec<Entry> {
        self.list
    }

    fn entry(&self, matching: impl Iterator<Item = usize>) -> Entry {
        let mut firsts = vec![[First::default(); Right::ALL.len()]; self.layers.len()];
        for rule in matching.flat_map(|pattern| self.patterns.uses(pattern)) {
            for right in Right::ALL.into_iter().filter(|right| rule.rights.has(*right)) {
                let first = &mut firsts[rule.layer][right as usize];
                let first = match rule.effect {
                    Effect::Deny => &mut first.deny,
                    Effect::Allow if rule.is_pin => &mut first.pin,
                    Effect::Allow => &mut first.allow,
                };
                *first = Some(first.map_or(rule.number, |number| number.min(rule.number)));
            }
        }
        Right::ALL.map(|right| {
            let layers = self.layers.iter().zip(&firsts);
            strictest(layers.filter_map(|(layer, firsts)| {
                let default = layer.defaults[right as usize]?;
                Some(answer(default, firsts[right as usize], layer.first_baseline))
            }))
        })
    }
}

/// What one boundary answers: deny wins over allow, where a content is named it is asked for
/// whatever else allows, and what no rule names is refused.
fn answer(default: Cell, first: First, first_baseline: u32) -> Cell {
    match first {
        First { deny: Some(number), .. } => Cell::new(default.verdict(), number),
        First { pin: Some(number), .. } => Cell::unless_pinned(default.verdict(), number),
        First { allow: Some(number), .. } => {
            let cell = Cell::new(Verdict::Allow, number);
            if number >= first_baseline { cell.by_baseline() } else { cell }
        }
        First { deny: None, pin: None, allow: None } => default,
    }
}
