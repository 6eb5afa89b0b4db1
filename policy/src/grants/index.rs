//! Finds the rules of a document that match a name or an address.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{
    boundary::{Effect, Target},
    compile::{
        networks::{self, Network},
        rules::EgressLayer,
    },
    hosts,
};

/// Indices of rules, by what they are about.
#[derive(Default)]
pub(super) struct Index {
    names: HashMap<String, Vec<usize>>,
    /// Patterns that begin with their only `*`: by what follows it.
    endings: HashMap<String, Vec<usize>>,
    /// How long the endings are, in bytes.
    lengths: BTreeSet<usize>,
    /// All other patterns.
    patterns: Vec<(String, usize)>,
    networks: HashMap<Network, Vec<usize>>,
    /// Prefix lengths of the networks.
    prefixes: BTreeSet<u8>,
}

impl Index {
    pub(super) fn new(layer: &EgressLayer<'_>) -> Self {
        let mut index = Self::default();
        for (at, rule) in layer.rules.iter().enumerate() {
            index.add(&rule.rule.target, at);
        }
        index
    }

    fn add(&mut self, target: &Target, rule: usize) {
        match target {
            Target::Network(network) => {
                let network = Network::of(network);
                self.prefixes.insert(network.prefix);
                self.networks.entry(network).or_default().push(rule);
            }
            Target::Host(pattern) => match pattern.split_once('*') {
                None => self.names.entry(pattern.clone()).or_default().push(rule),
                Some(("", ending)) if !ending.contains('*') => {
                    self.lengths.insert(ending.len());
                    self.endings.entry(ending.to_owned()).or_default().push(rule);
                }
                Some(_) => self.patterns.push((pattern.clone(), rule)),
            },
        }
    }

    /// The rules that count once a name, given [folded](hosts::folded), stands for an address,
    /// ascending.
    pub(super) fn matching(
        &self,
        layer: &EgressLayer<'_>,
        name: &str,
        address: IpAddr,
    ) -> Vec<usize> {
        let may_stand_for = networks::may_resolve(name, address);
        let allows = |rule: &usize| {
            layer.rules.get(*rule).is_some_and(|rule| rule.rule.effect == Effect::Allow)
        };
        let mut rules = self.by_name(name);
        rules.retain(|rule| may_stand_for || !allows(rule));
        let number = networks::number(address);
        let special = networks::special(number);
        for prefix in &self.prefixes {
            let Some(network) = Network::around(number, *prefix) else { continue };
            let named = special.is_none_or(|special| special.includes(&network));
            let found = self.networks.get(&network).into_iter().flatten().copied();
            rules.extend(found.filter(|rule| named || !allows(rule)));
        }
        rules.sort_unstable();
        rules
    }

    fn by_name(&self, name: &str) -> Vec<usize> {
        let mut rules = self.names.get(name).cloned().unwrap_or_default();
        let starts = self.lengths.iter().filter_map(|length| name.len().checked_sub(*length));
        for ending in starts.filter_map(|start| name.get(start..)) {
            rules.extend(self.endings.get(ending).into_iter().flatten());
        }
        let matching =
            self.patterns.iter().filter(|(pattern, _)| hosts::matches_folded(pattern, name));
        rules.extend(matching.map(|(_, rule)| rule));
        rules
    }
}
