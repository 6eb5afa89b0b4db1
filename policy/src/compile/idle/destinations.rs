//! Watches rules about destinations while the sweep goes into networks.

use ringfence_common::{Cell, Verdict};

use super::Judge;
use crate::{
    boundary::{Effect, EgressRule},
    compile::{
        ports::PortRule,
        rules::{EgressLayer, NumberedEgressRule},
    },
};

/// How many rules of one network are compared with those after them.
pub(in crate::compile) const MAX_AT_ONE: usize = 64;
/// Ranges of ports that are looked at: what bounds time. A policy that needs more is not judged.
const MAX_STEPS: usize = 64 << 20;

/// What the rules of one network are held against.
pub(in crate::compile) struct Destinations<'a> {
    judge: &'a mut Judge,
    /// By number: the group of each rule about a network; 0 for others.
    groups: Vec<u32>,
    steps: usize,
}

impl<'a> Destinations<'a> {
    pub(in crate::compile) fn new(layers: &[EgressLayer<'_>], judge: &'a mut Judge) -> Self {
        let mut groups = vec![0; judge.rules.len()];
        for rule in layers.iter().flat_map(|layer| &layer.rules) {
            if judge.rules[rule.group as usize].is_judged {
                groups[rule.number as usize] = rule.group;
            }
        }
        Self { judge, groups, steps: 0 }
    }

    /// Looks at a rule that is about to be added to the answers of its layer for one protocol.
    /// `later` are the rules of the same network that follow it, for this layer and protocol.
    pub(in crate::compile) fn look(
        &mut self,
        rule: NumberedEgressRule<'_>,
        layer: &EgressLayer<'_>,
        answers: &[(u32, Cell)],
        later: impl Iterator<Item = NumberedEgressRule<'a>>,
    ) {
        let group = rule.group;
        let is_open = self.judge.is_open(group);
        let denies = rule.rule.effect == Effect::Deny;
        if denies && !is_open {
            return;
        }
        let after = if is_open { self.later(layer, later) } else { Vec::new() };
        for ports in ports_of(rule.rule) {
            for (first, last, cell) in overlapping(answers, ports) {
                self.steps += 1;
                let is_allowed = cell.verdict() == Verdict::Allow;
                if denies && is_allowed {
                    self.judge.takes(group);
                } else if !denies && !is_allowed {
                    // The default is no rule's: its group is 0.
                    self.judge.takes(self.group(cell));
                }
                for (_, _, later) in overlapping(&after, (first, last)) {
                    self.steps += 1;
                    let rivals = [cell, later].into_iter();
                    let rivals = rivals.filter(|cell| !denies || cell.verdict() != Verdict::Allow);
                    let rivals = rivals.map(|cell| self.group(cell)).filter(|rival| *rival != 0);
                    let set = self.judge.set(rivals.collect());
                    self.judge.begins(group, set);
                }
            }
        }
        self.judge.gave_up |= self.steps > MAX_STEPS;
    }

    /// The group of the rule that a cell names; 0 for a default and for a rule about names.
    fn group(&self, cell: Cell) -> u32 {
        self.groups.get(cell.rule() as usize).copied().unwrap_or(0)
    }

    /// The answers that the rules after one give by themselves.
    fn later(
        &mut self,
        layer: &EgressLayer<'_>,
        later: impl Iterator<Item = NumberedEgressRule<'a>>,
    ) -> Vec<(u32, Cell)> {
        let later = later.filter(|rule| self.groups[rule.number as usize] != 0);
        let map =
            later.fold(vec![(0, layer.default)], |map, NumberedEgressRule { number, rule, .. }| {
                PortRule::of(layer, number, rule).added_to(&map)
            });
        self.steps += map.len();
        map
    }
}

/// First and last port of the ranges of a rule.
fn ports_of(rule: &EgressRule) -> impl Iterator<Item = (u32, u32)> {
    let ranges = rule.port_ranges().iter();
    let ranges = ranges.map(|range| ((*range.start()).into(), (*range.end()).into()));
    ranges.filter(|(first, last)| first <= last)
}

/// The parts of a port map that lie in a range: first and last port, and the answer.
fn overlapping(
    map: &[(u32, Cell)],
    (first, last): (u32, u32),
) -> impl Iterator<Item = (u32, u32, Cell)> {
    let from = map.partition_point(|(port, _)| *port <= first).saturating_sub(1);
    let parts = map[from..].iter().enumerate().take_while(move |(_, (port, _))| *port <= last);
    parts.map(move |(i, (port, cell))| {
        let end = map.get(from + i + 1).map_or(last, |(next, _)| (next - 1).min(last));
        ((*port).max(first), end, *cell)
    })
}
