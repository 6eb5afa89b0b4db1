//! Watches rules about paths while sets of nodes are made.
//!
//! A pattern begins to match at the set in which it comes to match whatever follows, or whatever
//! follows in this component, or matches without promising anything. Only what promises as much
//! is its rival. This looks at each set before the patterns that are beaten are forgotten: a
//! pattern that was forgotten earlier was beaten by one that is still there, and that is its
//! rival too.

use std::collections::HashMap;

use ringfence_common::Right;

use super::Judge;
use crate::{
    boundary::{Effect, Rights},
    compile::{
        globs::{Patterns, Use},
        nfa::{Nfa, Tail},
    },
};

/// Nodes and rules that are looked at: what bounds time. A policy that needs more is not judged.
const MAX_STEPS: usize = 256 << 20;

/// What a pattern that matches promises, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Promise {
    Anything,
    Component,
    Nothing,
}

/// A pattern that matches.
struct Matching {
    pattern: usize,
    promise: Promise,
    /// Whether it begins here, and did not promise as much before.
    begins: bool,
}

/// A rule that matches: its layer, right and effect, what it promises, and its group.
type Present = (usize, usize, Promise, Effect, u32);

pub(in crate::compile) struct Paths<'a> {
    nfa: &'a Nfa,
    patterns: &'a Patterns,
    judge: &'a mut Judge,
    steps: usize,
}

impl<'a> Paths<'a> {
    pub(in crate::compile) fn new(
        nfa: &'a Nfa,
        patterns: &'a Patterns,
        judge: &'a mut Judge,
    ) -> Self {
        for double in patterns.doubles() {
            // What is said of an earlier rule of its own group is said of it.
            if !double.rivals.contains(&double.group) {
                let set = judge.set(double.rivals.clone());
                judge.begins(double.group, set);
            }
        }
        Self { nfa, patterns, judge, steps: 0 }
    }

    /// Looks at the set of nodes that follows another, sorted and before any is forgotten.
    /// `on_slash` says that they follow on a slash.
    pub(in crate::compile) fn look(&mut self, before: &[u32], nodes: &[u32], on_slash: bool) {
        let matching = self.matching(before, nodes, on_slash);
        self.steps += nodes.len();
        let beginning: Vec<(usize, Promise)> = matching
            .iter()
            .filter(|one| {
                one.begins && self.uses(one.pattern).any(|one| self.judge.is_open(one.group))
            })
            .map(|one| (one.pattern, one.promise))
            .collect();
        if beginning.is_empty() {
            return;
        }
        let mut present: Vec<Present> = Vec::new();
        for one in &matching {
            for rule in self.uses(one.pattern).chain(self.patterns.doubled(one.pattern)) {
                let rights = Right::ALL.into_iter().filter(|right| rule.rights.has(*right));
                present.extend(rights.map(|right| {
                    (rule.layer, right as usize, one.promise, rule.effect, rule.group)
                }));
            }
        }
        self.steps += present.len();
        let mut sets = HashMap::new();
        for (pattern, promise) in beginning {
            let patterns = self.patterns;
            for rule in patterns.uses(pattern) {
                for right in Right::ALL.into_iter().filter(|right| rule.rights.has(*right)) {
                    if !self.judge.is_open(rule.group) {
                        break;
                    }
                    let denies = rule.effect == Effect::Deny;
                    if denies && !self.is_allowed(rule, right, promise, nodes) {
                        self.takes_nothing(rule, right, promise, &present);
                        continue;
                    }
                    let key = (rule.layer, right as usize, promise, denies);
                    let set = *sets.entry(key).or_insert_with(|| {
                        self.steps += present.len();
                        self.judge.set(rivals(&present, key))
                    });
                    self.judge.begins(rule.group, set);
                }
            }
        }
        if self.steps > MAX_STEPS {
            self.judge.gave_up = true;
        }
    }

    /// Notes which patterns were forgotten, each with the one that beats it.
    pub(in crate::compile) fn forgotten(&mut self, loser: usize, winner: usize) {
        let patterns = self.patterns;
        for rule in patterns.uses(loser) {
            self.steps += 1;
            if !self.judge.is_open(rule.group) {
                continue;
            }
            let winners = patterns.uses(winner).iter().filter(|winner| winner.beats(*rule));
            let (mut denied, mut first_deny, mut first_same) = (Rights::NONE, None, None);
            for winner in winners.filter(|winner| winner.rights.0 & rule.rights.0 != 0) {
                if winner.effect == rule.effect {
                    first_same.get_or_insert(winner.group);
                } else {
                    denied = denied.and(winner.rights);
                    first_deny.get_or_insert(winner.group);
                }
            }
            let is_denied = first_deny.is_some() && rule.rights.without(denied).is_empty();
            let by = if is_denied { first_deny } else { first_same.or(first_deny) };
            if let Some(by) = by {
                self.judge.meets(rule.group, by);
            }
        }
    }

    fn uses(&self, pattern: usize) -> impl Iterator<Item = &'a Use> + use<'a> {
        self.patterns.uses(pattern).iter()
    }

    /// The patterns that match at a set of nodes.
    fn matching(&self, before: &[u32], nodes: &[u32], on_slash: bool) -> Vec<Matching> {
        let node = |number: u32| &self.nfa.nodes[number as usize];
        let was_there = |number: u32| before.binary_search(&number).is_ok();
        let mut matching = Vec::new();
        // A pattern's nodes lie together.
        for nodes in nodes.chunk_by(|one, other| node(*one).pattern == node(*other).pattern) {
            let of = |tail: Tail| nodes.iter().copied().filter(move |one| node(*one).tail == tail);
            let Some(end) = of(Tail::End).next() else { continue };
            let promised = |tail| of(tail).any(was_there) && was_there(end);
            let (promise, begins) = if of(Tail::Anything).next().is_some() {
                (Promise::Anything, !promised(Tail::Anything))
            } else if of(Tail::Component).next().is_some() {
                (Promise::Component, on_slash || !promised(Tail::Component))
            } else {
                (Promise::Nothing, true)
            };
            matching.push(Matching { pattern: node(end).pattern as usize, promise, begins });
        }
        matching
    }

    /// Whether a rule that allows matches too, on some path on which the one that denies does.
    fn is_allowed(&mut self, deny: &Use, right: Right, promise: Promise, nodes: &[u32]) -> bool {
        self.steps += nodes.len();
        nodes.iter().map(|node| &self.nfa.nodes[*node as usize]).any(|node| {
            let can_match = match promise {
                Promise::Anything => node.can_match,
                Promise::Component => node.can_match_in_component,
                Promise::Nothing => node.tail == Tail::End,
            };
            let allows = |rule: &Use| {
                rule.layer == deny.layer && rule.effect == Effect::Allow && rule.rights.has(right)
            };
            can_match && self.patterns.uses(node.pattern as usize).iter().any(allows)
        })
    }

    /// Notes by which rule, if any, a deny rule is covered where it takes nothing.
    fn takes_nothing(&mut self, rule: &Use, right: Right, promise: Promise, present: &[Present]) {
        let rivals = rivals(present, (rule.layer, right as usize, promise, true));
        self.steps += present.len();
        match rivals.into_iter().find(|rival| *rival != rule.group) {
            Some(rival) => self.judge.meets(rule.group, rival),
            None => self.judge.rules[rule.group as usize].takes_nothing_alone = true,
        }
    }
}

/// The rules that decide as well wherever one of a layer, about a right, does that promises as
/// much: for one that denies, those that deny.
fn rivals(present: &[Present], key: (usize, usize, Promise, bool)) -> Vec<u32> {
    let (layer, right, promise, denies) = key;
    let is_rival = |one: &&Present| {
        (one.0, one.1) == (layer, right) && one.2 <= promise && (!denies || one.3 == Effect::Deny)
    };
    present.iter().filter(is_rival).map(|one| one.4).collect()
}
