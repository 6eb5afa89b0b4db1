//! The address tables: one sweep over all networks of all boundaries.
//!
//! Networks nest or are disjoint, so the sweep keeps a stack, and the answer inside a network is
//! that of the network around it with a few rules added.

use std::collections::HashMap;

use ringfence_common::{egress::Protocol, image::MAX_INTERVALS};

use super::{
    CompileError, MAX_IMAGE_BYTES, Problem,
    idle::{self, Destinations, Judge},
    image::{INTERVAL_BYTES_V4, INTERVAL_BYTES_V6, LEAF_BYTES, PORT_BYTES},
    networks::{At, Family, NEVER_INCLUDED, Network},
    ports::{PortMap, PortMaps, PortRule, intersection, without_allows},
    rules::{EgressLayer, NumberedEgressRule, RuleBook},
};
use crate::boundary::EgressRule;

/// The protocols of a leaf, in its order.
const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// The interval tables of both families, ready to be written.
pub(super) struct Addresses {
    /// First address of each interval, and the index of its leaf.
    pub(super) v4: Vec<(u128, u32)>,
    /// As `v4`.
    pub(super) v6: Vec<(u128, u32)>,
    /// Indices of the TCP and the UDP port table.
    pub(super) leaves: Vec<[u32; 2]>,
    pub(super) ports: Vec<PortMap>,
}

/// The tables for all layers together, in at most `room` bytes.
pub(super) fn build(
    layers: &[EgressLayer<'_>],
    networks: &[At],
    room: usize,
    book: &RuleBook,
    judge: &mut Judge,
) -> Result<Addresses, CompileError> {
    let mut sweep = Sweep::new(layers, room, Destinations::new(layers, judge));
    let split = networks.partition_point(|at| at.network.family == Family::V4);
    let (v4, v6) = networks.split_at(split);
    let tables = sweep.family(Family::V4, v4).and_then(|v4| {
        sweep.room = sweep.room.saturating_sub(v4.len() * INTERVAL_BYTES_V4);
        Ok((v4, sweep.family(Family::V6, v6)?))
    });
    let (v4, v6) = tables.map_err(|problem| book.error(sweep.rule, problem))?;
    Ok(Addresses { v4, v6, leaves: sweep.leaves.list, ports: sweep.leaves.ports.into_list() })
}

/// For each layer the numbers of its port maps for TCP and for UDP.
type Answers = Vec<[u32; 2]>;

struct Sweep<'a> {
    layers: &'a [EgressLayer<'a>],
    /// The port maps of single layers.
    maps: PortMaps,
    leaves: Leaves,
    /// Bytes that the tables may take.
    room: usize,
    /// Number of the rule that was added last.
    rule: u32,
    watch: Destinations<'a>,
}

/// A network that the sweep is inside of.
struct Open {
    last: u128,
    answers: Answers,
    leaf: u32,
}

impl<'a> Sweep<'a> {
    fn new(layers: &'a [EgressLayer<'a>], room: usize, watch: Destinations<'a>) -> Self {
        let (maps, leaves) = (PortMaps::default(), Leaves::default());
        Self { layers, maps, leaves, room, rule: 0, watch }
    }

    /// The table of one family.
    fn family(&mut self, family: Family, rules: &[At]) -> Result<Vec<(u128, u32)>, Problem> {
        let everything = Network { family, first: 0, prefix: 0 };
        let answers =
            self.layers.iter().map(|layer| [self.maps.number(vec![(0, layer.default)]); 2]);
        let answers: Answers = answers.collect();
        let leaf = self.leaves.number(&answers, &self.maps);
        let mut intervals = Intervals(vec![(0, leaf)]);
        let mut stack = vec![Open { last: everything.last(), answers, leaf }];
        for (network, rules) in openings(family, rules) {
            while stack.pop_if(|open| open.last < network.first).is_some_and(|closed| {
                if let Some(around) = stack.last() {
                    intervals.push(closed.last.saturating_add(1), around.leaf);
                }
                true
            }) {}
            let Some(around) = stack.last() else { break };
            let answers = self.inside(&around.answers, network, rules);
            let leaf = self.leaves.number(&answers, &self.maps);
            intervals.push(network.first, leaf);
            stack.push(Open { last: network.last(), answers, leaf });
            self.check(family, intervals.0.len())?;
        }
        while let (Some(closed), Some(around)) = (stack.pop(), stack.last()) {
            if closed.last < everything.last() {
                intervals.push(closed.last + 1, around.leaf);
            }
        }
        self.check(family, intervals.0.len())?;
        Ok(intervals.0)
    }

    /// The answers inside a network, from those around it and the rules that name it.
    fn inside(&mut self, around: &Answers, network: Network, rules: &[At]) -> Answers {
        let mut answers = around.clone();
        if NEVER_INCLUDED.contains(&network) {
            for (answer, layer) in answers.iter_mut().zip(self.layers) {
                *answer = answer.map(|map| {
                    let map = without_allows(self.maps.get(map), layer);
                    self.maps.number(map)
                });
            }
        }
        for (i, at) in rules.iter().enumerate() {
            let Some(layer) = self.layers.get(at.layer) else { continue };
            let Some(numbered) = layer.rules.get(at.rule).copied() else { continue };
            let NumberedEgressRule { number, rule, .. } = numbered;
            let add = PortRule::of(layer, number, rule);
            self.rule = number;
            // Rules at one network are in the order of the layers.
            let later = rules[i + 1..].iter().take_while(|later| later.layer == at.layer);
            let later = later.filter_map(|later| layer.rules.get(later.rule).copied());
            let later: Vec<_> = later.take(idle::MAX_AT_ONE).collect();
            for (protocol, map) in PROTOCOLS.into_iter().zip(&mut answers[at.layer]) {
                let is_for = |rule: &EgressRule| rule.protocol.is_none_or(|only| only == protocol);
                if is_for(rule) {
                    let later = later.iter().copied().filter(|later| is_for(later.rule));
                    let before = self.maps.get(*map);
                    self.watch.look(numbered, layer, before, later);
                    *map = self.maps.number(add.added_to(before));
                }
            }
        }
        answers
    }

    fn check(&self, family: Family, intervals: usize) -> Result<(), Problem> {
        if intervals > MAX_INTERVALS as usize {
            return Err(Problem::TooManyIntervals);
        }
        let each = match family {
            Family::V4 => INTERVAL_BYTES_V4,
            Family::V6 => INTERVAL_BYTES_V6,
        };
        // The maps of single layers are not written, but they take memory here.
        let is_too_large = intervals * each + self.leaves.bytes() > self.room
            || self.maps.intervals() * PORT_BYTES > 4 * MAX_IMAGE_BYTES;
        if is_too_large { Err(Problem::TooLarge) } else { Ok(()) }
    }
}

/// Each network that rules name or that allow rules never include, with its rules; outer
/// networks before inner ones.
fn openings(family: Family, rules: &[At]) -> impl Iterator<Item = (Network, &[At])> {
    let mut special: Vec<Network> =
        NEVER_INCLUDED.iter().copied().filter(|network| network.family == family).collect();
    special.sort();
    let mut special = special.into_iter().peekable();
    let mut named = rules.chunk_by(|one, other| one.network == other.network).peekable();
    std::iter::from_fn(move || {
        let next = named.peek().and_then(|rules| rules.first()).map(|at| at.network);
        match (special.peek().copied(), next) {
            (Some(network), Some(next)) if next < network => Some((next, named.next()?)),
            (Some(network), next) => {
                special.next();
                let rules = if next == Some(network) { named.next()? } else { &[] };
                Some((network, rules))
            }
            (None, Some(next)) => Some((next, named.next()?)),
            (None, None) => None,
        }
    })
}

/// First addresses and their leaves; neighbours with the same leaf are one interval.
struct Intervals(Vec<(u128, u32)>);

impl Intervals {
    /// Begins an interval at `first`, which is not before the last one's.
    fn push(&mut self, first: u128, leaf: u32) {
        self.0.pop_if(|(start, _)| *start == first);
        if self.0.last().is_none_or(|(_, last)| *last != leaf) {
            self.0.push((first, leaf));
        }
    }
}

/// Distinct answers to destinations.
#[derive(Default)]
struct Leaves {
    list: Vec<[u32; 2]>,
    /// What all layers say together.
    ports: PortMaps,
    by_answers: HashMap<Answers, u32>,
    by_ports: HashMap<[u32; 2], u32>,
}

impl Leaves {
    fn number(&mut self, answers: &Answers, maps: &PortMaps) -> u32 {
        if let Some(leaf) = self.by_answers.get(answers) {
            return *leaf;
        }
        let ports = [0, 1].map(|protocol| {
            let layers: Vec<_> = answers.iter().map(|answer| maps.get(answer[protocol])).collect();
            self.ports.number(intersection(&layers))
        });
        let leaf = *self.by_ports.entry(ports).or_insert_with(|| {
            self.list.push(ports);
            // Fewer than intervals, which are limited.
            (self.list.len() - 1) as u32
        });
        self.by_answers.insert(answers.clone(), leaf);
        leaf
    }

    fn bytes(&self) -> usize {
        self.list.len() * LEAF_BYTES + self.ports.intervals() * PORT_BYTES
    }
}
