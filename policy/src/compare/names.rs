//! Compares what two policies say about host names.
//!
//! Rules about names are not in the tables. For each set of rules that count at some port, the
//! names of those rules are compiled as if they were patterns of paths, and compared as paths
//! are. What is told is what [`hosts`] answers.

mod pattern;
mod sets;

use std::collections::{HashMap, HashSet};

use ringfence_common::{Cell, Right, files::cell};

use self::sets::{Ask, NameRules, RuleSet};
use super::{
    Answer, Comparison, Difference, MAX_DIFFERENCES, Side, Subject,
    product::{self, Form, MAX_PAIRS},
};
use crate::{
    boundary::{Boundary, Place},
    compile::{RuleInfo, Tables},
    hosts::{self, HostDecision},
};

/// Adds the differences about names.
pub(super) fn compare(old: Side<'_>, new: Side<'_>, comparison: &mut Comparison) {
    let (old_rules, new_rules) = (NameRules::new(old.boundaries), NameRules::new(new.boundaries));
    let (sets, is_complete) = sets::differing(&old_rules, &new_rules);
    comparison.is_complete &= is_complete;
    let mut search = Search {
        old: Answers::new(old),
        new: Answers::new(new),
        comparison,
        room: MAX_PAIRS,
        known: HashSet::new(),
        lookups: Vec::new(),
    };
    let is_complete = sets.iter().all(|set| search.set(set, &old_rules, &new_rules).is_some());
    search.tell_lookups();
    comparison.is_complete &= is_complete;
}

/// What makes two differences one: the act, and both answers.
type Key = (u8, [(u8, Option<Place>); 2]);

struct Search<'a> {
    old: Answers<'a>,
    new: Answers<'a>,
    comparison: &'a mut Comparison,
    /// Pairs of states that may still be looked at.
    room: usize,
    known: HashSet<Key>,
    /// Told at the end, where connecting does not differ alike.
    lookups: Vec<(Key, Difference)>,
}

impl Search<'_> {
    /// `None` when not everything could be compared.
    fn set(&mut self, set: &RuleSet, old: &NameRules<'_>, new: &NameRules<'_>) -> Option<()> {
        let (old, new) = (old.compile(&set.old).ok()?.image, new.compile(&set.new).ok()?.image);
        let mut known: HashSet<(Cell, Cell)> = HashSet::new();
        let mut names = Vec::new();
        let is_complete =
            product::walk::<HostName>(&old, &new, &mut self.room, |old_state, new_state, trail| {
                let cells = cell(&*old, old_state, Right::Read)
                    .zip(cell(&*new, new_state, Right::Read))
                    .filter(|(old, new)| old.verdict() != new.verdict());
                if let Some(cells) = cells
                    && names.len() <= MAX_DIFFERENCES
                    && known.insert(cells)
                {
                    names.push(trail.text());
                }
            });
        for mut name in names {
            name.reverse();
            let name = String::from_utf8(name).ok()?;
            for ask in set.asks.iter().flatten() {
                self.add(&name, *ask)?;
            }
        }
        is_complete.then_some(())
    }

    /// Tells a difference as the rules themselves have it.
    fn add(&mut self, name: &str, ask: Ask) -> Option<()> {
        let (old, new) = (self.old.decide(name, ask), self.new.decide(name, ask));
        debug_assert_ne!(old.verdict, new.verdict, "{name} {ask:?}");
        let one = |decision: &HostDecision| (decision.verdict as u8, decision.place.clone());
        let key = (ask.kind() as u8, [one(&old), one(&new)]);
        if old.verdict == new.verdict || self.known.len() >= MAX_DIFFERENCES {
            return None;
        }
        if !self.known.insert(key.clone()) {
            return Some(());
        }
        let name = name.to_owned();
        let (old, new) = (self.old.answer(old), self.new.answer(new));
        match ask {
            Ask::Connect(port, protocol) => {
                self.comparison.add(Subject::Host { name, port, protocol }, old, new);
            }
            Ask::Lookup => {
                self.lookups
                    .push((key, Difference { subject: Subject::Lookup { name }, old, new }));
            }
        }
        Some(())
    }

    fn tell_lookups(&mut self) {
        for ((lookup, answers), difference) in std::mem::take(&mut self.lookups) {
            let mut acts = 0..lookup;
            if !acts.any(|connect| self.known.contains(&(connect, answers.clone()))) {
                self.comparison.differences.push(difference);
            }
        }
    }
}

/// What one side answers, and its rules by place.
struct Answers<'a> {
    boundaries: &'a [Boundary],
    rules: HashMap<&'a Place, &'a RuleInfo>,
}

impl<'a> Answers<'a> {
    fn new(Side { boundaries, tables: Tables { rules, .. } }: Side<'a>) -> Self {
        // Of several rules at one place the first stays.
        let rules = rules.iter().rev().map(|rule| (&rule.place, rule)).collect();
        Self { boundaries, rules }
    }

    fn decide(&self, name: &str, ask: Ask) -> HostDecision {
        match ask {
            Ask::Connect(port, protocol) => hosts::decide(self.boundaries, name, port, protocol),
            Ask::Lookup => hosts::decide_lookup(self.boundaries, name),
        }
    }

    fn answer(&self, HostDecision { verdict, place }: HostDecision) -> Answer {
        let rule = place.and_then(|place| self.rules.get(&place).copied().cloned());
        Answer { verdict, rule, content: None }
    }
}

/// A host name as resolvers take it, backwards: labels of at most 63 letters, digits, `-` and
/// `_`, the one that is first here not a number (RFC 1123, section 2.1). A state is the length of
/// the label so far, and [`Self::NUMBER`] while all of the name is digits.
struct HostName;

impl HostName {
    const NUMBER: u8 = 64;
}

impl Form for HostName {
    const STATES: u8 = 128;
    const START: u8 = Self::NUMBER;
    const LONGEST: usize = 253;

    fn step(state: u8, byte: u8) -> Option<u8> {
        let (length, number) = (state % Self::NUMBER, state & Self::NUMBER);
        match byte {
            b'.' if length > 0 && number == 0 => Some(0),
            b'0'..=b'9' if length < 63 => Some(number | (length + 1)),
            b'a'..=b'z' | b'-' | b'_' if length < 63 => Some(length + 1),
            _ => None,
        }
    }

    fn may_end(state: u8) -> bool {
        state & Self::NUMBER == 0 && state > 0
    }
}

#[cfg(test)]
mod tests;
