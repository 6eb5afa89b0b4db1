//! Rules that decide nothing, found on the way.
//!
//! Every rule is watched while the tables are made. At each place where a rule begins to match,
//! whatever follows (a set of path nodes, a network and some of its ports), the rules that match
//! there as well are noted: its *rivals*. A rule that begins anywhere without one is useful, and
//! is watched no longer. A deny rule is useful only where it takes something.
//!
//! At the end, rules whose every beginning has a rival that stays are idle. They are taken out
//! one by one, last rule first, so that all of them together may be removed and no answer
//! changes. What is noted may be too little, never too much: a rule that is called idle is idle.

mod destinations;
mod paths;

use std::collections::HashMap;

use super::rules::{EgressLayer, PathLayer, RuleBook};
use crate::boundary::{Effect, Place, Target};

pub(super) use destinations::{Destinations, MAX_AT_ONE};
pub(super) use paths::Paths;

/// A rule of a document that could be removed, judged by this document alone. All idle rules of
/// all documents may be removed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Its number in `Tables::rules`. Where one entry of a document became several rules with one
    /// effect, that of the first.
    pub rule: u32,
    /// Where it stands.
    pub place: Place,
    /// Why it decides nothing.
    pub why: Why,
}

/// Why a rule decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A rule that denies, and without which nothing more would be allowed.
    NeverTakes,
    /// A rule that allows, where rules that deny match everywhere. One of them:
    Denied {
        /// Where it stands.
        by: Place,
    },
    /// Other rules with the same effect match everywhere; for one that allows, some of them may
    /// deny. One of them, which is not idle itself:
    Covered {
        /// Where it stands; for a rule of the baseline the file is `baseline`.
        by: Place,
    },
}

/// Rules that an idle rule leans on, beyond which another does not lean on it in turn.
const MAX_HEIRS: usize = 8;
/// Numbers in all sets of rivals together. A policy that needs more is not judged.
const MAX_MEMBERS: usize = 4 << 20;

/// What is known about every rule, by the number of its group.
pub(super) struct Judge {
    rules: Vec<Watched>,
    /// Distinct sets of groups that match together, each ascending.
    sets: Vec<Vec<u32>>,
    numbers: HashMap<Vec<u32>, u32>,
    members: usize,
    /// Set when there was too much to note: then nothing is idle.
    gave_up: bool,
}

/// What is known about the rules at one place with one effect.
#[derive(Clone, Default)]
struct Watched {
    effect: Option<Effect>,
    /// A rule of a document, about paths or networks. Others only cover.
    is_judged: bool,
    /// It begins somewhere without a rival, so that it decides.
    is_alone: bool,
    /// Something that it matches would be allowed without it; always set for rules that allow.
    takes: bool,
    /// The sets of rivals, in order of number.
    beginnings: Vec<u32>,
    /// Rivals that were met where nothing was to be taken, or that beat it before it matched.
    met: Met,
    /// It began somewhere where nothing was to be taken, without a rival.
    takes_nothing_alone: bool,
    /// When it is idle: rules that stay and together match wherever it does.
    heirs: Option<Vec<u32>>,
    /// When it is idle: each of the heirs denies.
    is_denied: bool,
}

/// A rival of each effect.
#[derive(Clone, Copy, Default)]
struct Met {
    deny: Option<u32>,
    same: Option<u32>,
}

impl Judge {
    pub(super) fn new(paths: &[PathLayer], egress: &[EgressLayer<'_>], book: &RuleBook) -> Self {
        let mut rules = vec![Watched::default(); book.len() + 1];
        for rule in paths.iter().flat_map(|layer| &layer.rules) {
            let watched = &mut rules[rule.group as usize];
            watched.effect = Some(rule.effect);
            // A condition is one whatever else allows.
            watched.is_judged = !rule.is_baseline && !rule.is_pin;
            // Noted only where it takes something.
            watched.takes = true;
        }
        for layer in egress {
            let is_name = |target: &Target| matches!(target, Target::Host(_));
            // Nobody knows what a name will stand for.
            let has_names = layer.rules.iter().any(|rule| is_name(&rule.rule.target));
            for rule in &layer.rules {
                let watched = &mut rules[rule.group as usize];
                watched.effect = Some(rule.rule.effect);
                watched.is_judged = true;
                watched.takes = has_names || rule.rule.effect == Effect::Allow;
            }
            for rule in layer.rules.iter().filter(|rule| is_name(&rule.rule.target)) {
                rules[rule.group as usize].is_judged = false;
            }
        }
        Self { rules, sets: Vec::new(), numbers: HashMap::new(), members: 0, gave_up: false }
    }

    /// Whether it is still open whether the rule decides anything.
    fn is_open(&self, group: u32) -> bool {
        let rule = &self.rules[group as usize];
        rule.is_judged && !(rule.is_alone && rule.takes) && !self.gave_up
    }

    fn denies(&self, group: u32) -> bool {
        self.rules[group as usize].effect == Some(Effect::Deny)
    }

    /// The number of a set of groups that match together.
    fn set(&mut self, mut groups: Vec<u32>) -> u32 {
        groups.sort_unstable();
        groups.dedup();
        if let Some(number) = self.numbers.get(&groups) {
            return *number;
        }
        self.members += groups.len();
        if self.members > MAX_MEMBERS {
            self.gave_up = true;
            return 0;
        }
        let number = self.sets.len() as u32;
        self.sets.push(groups.clone());
        self.numbers.insert(groups, number);
        number
    }

    /// Notes that a rule begins to match where a set of rules does, of which it may be one.
    fn begins(&mut self, group: u32, set: u32) {
        if self.gave_up {
            return;
        }
        let rule = &mut self.rules[group as usize];
        if self.sets[set as usize].iter().all(|rival| *rival == group) {
            rule.is_alone = true;
            rule.beginnings = Vec::new();
        } else if !rule.is_alone
            && let Err(at) = rule.beginnings.binary_search(&set)
        {
            rule.beginnings.insert(at, set);
            self.members += 1;
            self.gave_up |= self.members > MAX_MEMBERS;
        }
    }

    /// Notes that a rule denies what another allows.
    fn takes(&mut self, group: u32) {
        self.rules[group as usize].takes = true;
    }

    /// Notes that a rule is beaten by another before it can decide, or where it takes nothing.
    fn meets(&mut self, group: u32, rival: u32) {
        if group == rival {
            return;
        }
        let denies = self.denies(rival);
        let is_same = denies == self.denies(group);
        let met = &mut self.rules[group as usize].met;
        if denies && !is_same {
            met.deny.get_or_insert(rival);
        } else if is_same {
            met.same.get_or_insert(rival);
        }
    }

    /// The idle rules, in order of number.
    pub(super) fn into_idle(mut self, book: &RuleBook) -> Vec<Idle> {
        if self.gave_up {
            return Vec::new();
        }
        for group in (1..self.rules.len() as u32).rev() {
            if self.is_open(group)
                && let Some((heirs, is_denied)) = self.heirs(group)
            {
                for heir in &heirs {
                    self.takes(*heir);
                }
                let rule = &mut self.rules[group as usize];
                (rule.heirs, rule.is_denied) = (Some(heirs), is_denied);
            }
        }
        let groups = 1..self.rules.len() as u32;
        let idle = groups.filter(|group| self.rules[*group as usize].heirs.is_some());
        let idle = idle.filter_map(|group| {
            let place = book.get(group)?.place.clone();
            Some(Idle { rule: group, place, why: self.why(group, book)? })
        });
        idle.collect()
    }

    /// Rules that stay and together match wherever this one decides something, and whether each
    /// of them denies what this one allows; `None` when there are none, and this one stays.
    fn heirs(&self, group: u32) -> Option<(Vec<u32>, bool)> {
        let rule = &self.rules[group as usize];
        if !rule.takes {
            return Some((self.covering(group).unwrap_or_default(), false));
        }
        if rule.is_alone {
            return None;
        }
        let allows = rule.effect == Some(Effect::Allow);
        let mut heirs = Vec::new();
        let mut is_denied = allows && rule.met.same.is_none();
        for set in &rule.beginnings {
            let rivals = || self.sets[*set as usize].iter().copied();
            let denying = || rivals().filter(|rival| allows && self.denies(*rival));
            let found = denying().find_map(|rival| self.stand_in(group, rival));
            is_denied &= found.is_some();
            let same = || rivals().find_map(|rival| self.stand_in(group, rival));
            for heir in found.or_else(same)? {
                if !heirs.contains(&heir) {
                    heirs.push(heir);
                }
            }
        }
        Some((heirs, is_denied))
    }

    /// Rules that stay and cover a rule that takes nothing.
    fn covering(&self, group: u32) -> Option<Vec<u32>> {
        let rule = &self.rules[group as usize];
        let mut heirs = Vec::new();
        for set in &rule.beginnings {
            let mut rivals = self.sets[*set as usize].iter();
            heirs.extend(rivals.find_map(|rival| self.stand_in(group, *rival))?);
        }
        (!rule.is_alone && heirs.len() <= MAX_HEIRS).then_some(heirs)
    }

    /// What matches wherever a rival does once `group` is removed: the rival, or what it left.
    fn stand_in(&self, group: u32, rival: u32) -> Option<Vec<u32>> {
        if rival == group {
            return None;
        }
        let Some(heirs) = &self.rules[rival as usize].heirs else { return Some(vec![rival]) };
        let stays = |heir: &u32| *heir != group && self.rules[*heir as usize].heirs.is_none();
        let is_usable = !heirs.is_empty() && heirs.len() <= MAX_HEIRS && heirs.iter().all(stays);
        is_usable.then(|| heirs.clone())
    }

    fn why(&self, group: u32, book: &RuleBook) -> Option<Why> {
        let rule = &self.rules[group as usize];
        let first = rule.heirs.as_ref().and_then(|heirs| heirs.first().copied());
        let place = |group: u32| book.get(group).map(|rule| rule.place.clone());
        if rule.effect == Some(Effect::Deny) {
            let first = first.or(rule.met.same.filter(|_| !rule.takes_nothing_alone));
            let by = first.and_then(|by| self.kept(by));
            return Some(match by.and_then(place) {
                Some(by) => Why::Covered { by },
                None => Why::NeverTakes,
            });
        }
        if rule.is_denied {
            let by = first.or(rule.met.deny).and_then(|by| self.kept(by))?;
            return Some(Why::Denied { by: place(by)? });
        }
        let heirs = rule.heirs.iter().flatten().copied();
        let same = heirs.filter(|heir| !self.denies(*heir)).chain(rule.met.same);
        let by = same.chain(first).chain(rule.met.deny).find_map(|by| self.kept(by))?;
        Some(Why::Covered { by: place(by)? })
    }

    /// The rule itself if it stays, or one that it leans on.
    fn kept(&self, mut group: u32) -> Option<u32> {
        // No rule leans on one that was taken out before it, so that this ends.
        for _ in 0..self.rules.len() {
            let rule = &self.rules[group as usize];
            match &rule.heirs {
                None => return Some(group),
                Some(heirs) => {
                    group = heirs.first().copied().or(rule.met.same).or(rule.met.deny)?;
                }
            }
        }
        None
    }
}
