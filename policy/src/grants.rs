//! What a policy says of connecting to an address once a name stands for it.
//!
//! The rules of all documents count, those about names and those about addresses, as they do in
//! the tables: the resolver puts what comes of it beside them, for the kernel to ask
//! ([`ringfence_common::installed`]).

mod index;

use std::{net::IpAddr, ops::RangeInclusive};

use ringfence_common::{
    Cell, Verdict,
    egress::Protocol,
    installed::{self, Range, Value},
};

use self::index::Index;
use crate::{
    boundary::{Boundary, Effect, EgressRule, Target},
    compile::{
        Tables, networks,
        ports::{PortMap, PortRule, intersection},
        rules::{EgressLayer, RuleBook, egress_layers},
    },
    hosts,
};

/// The port at which connections name their server, unless a rule says that they need not.
const HTTPS: u16 = 443;

/// Ports at which an address may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The ports.
    pub ports: RangeInclusive<u16>,
    /// The transport.
    pub protocol: Protocol,
    /// Allowed or observed.
    pub verdict: Verdict,
    /// Number of the rule that decides, in [`Tables::rules`].
    pub rule: u32,
    /// Whether a connection must name, in its first bytes, a server that the scope may look up.
    pub checks_name: bool,
}

/// A name and an address of which the policy says more than an entry of the kernel's map holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rules about {name} at {address} come to more than {} ranges of ports",
    installed::MAX_RANGES
)]
pub struct TooManyRanges {
    /// The name.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// The egress rules of all documents, found by name and by address: a question takes as long with
/// many rules as with few, but for patterns with a `*` elsewhere than at their start.
pub struct Book<'a> {
    layers: Vec<(EgressLayer<'a>, Index)>,
}

impl<'a> Book<'a> {
    /// The rules of the documents that `tables` were compiled from.
    pub fn new(boundaries: &'a [Boundary], tables: &Tables) -> Self {
        let layers = egress_layers(boundaries, &mut RuleBook::after(tables.path_rules));
        let indexed = |layer: EgressLayer<'a>| {
            let index = Index::new(&layer);
            (layer, index)
        };
        Self { layers: layers.into_iter().map(indexed).collect() }
    }

    /// Where an address may be reached once `name` stands for it: for each protocol disjoint
    /// ranges of ports, ascending, TCP first. Empty when it may not be reached, and when no
    /// document governs destinations: then nothing is asked.
    ///
    /// A rule that allows a name does not count at an address that the name may not stand for
    /// ([`may_stand_for`]), nor does a wide network at one that must be named literally.
    ///
    /// # Errors
    /// When there are more ranges than the kernel can be told of: nothing may be installed then.
    pub fn grants(&self, name: &str, address: IpAddr) -> Result<Vec<Grant>, TooManyRanges> {
        let name = hosts::folded(name);
        let matching: Vec<(&EgressLayer<'_>, Vec<usize>)> = self
            .layers
            .iter()
            .map(|(layer, index)| (layer, index.matching(layer, &name, address)))
            .collect();
        let mut grants = Vec::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let said: Vec<Said> = matching
                .iter()
                .map(|(layer, rules)| Said::of(layer, rules, address, protocol))
                .collect();
            add_ranges(&said, protocol, &mut grants);
        }
        if grants.len() > installed::MAX_RANGES {
            return Err(TooManyRanges { name, address });
        }
        Ok(grants)
    }
}

/// Whether a name may stand for an address. Whoever answers for a public name must not choose
/// which inner machine a rule opens: not for private and special-use addresses, but `localhost`
/// for loopback alone. `name` is in lower case.
pub fn may_stand_for(name: &str, address: IpAddr) -> bool {
    networks::may_resolve(name, address)
}

/// The entry of the kernel's map for some grants, of which there are no more than it holds;
/// `expires` as in [`Value`].
pub fn entry(grants: &[Grant], expires: u64) -> Option<Value> {
    let mut value = Value::new(expires);
    let all = grants.iter().all(|grant| {
        let (first, last) = (*grant.ports.start(), *grant.ports.end());
        let cell = Cell::new(grant.verdict, grant.rule).0;
        value.add(grant.protocol, Range { first, last, cell }, grant.checks_name)
    });
    all.then_some(value)
}

/// What one document says of an address.
struct Said {
    answers: PortMap,
    /// By TCP at [`HTTPS`], only rules allow it by which a connection must name its server.
    checks_name: bool,
}

impl Said {
    /// `rules` are those that match the name or the address, in the order of the document.
    fn of(layer: &EgressLayer<'_>, rules: &[usize], address: IpAddr, protocol: Protocol) -> Self {
        let is_unnamed = networks::special(networks::number(address)).is_some();
        let start = if is_unnamed { layer.unnamed } else { layer.default };
        let mut answers = vec![(0, start)];
        let (mut checks_name, mut opens) = (false, false);
        for numbered in rules.iter().filter_map(|rule| layer.rules.get(*rule)) {
            let rule = numbered.rule;
            if rule.protocol.is_some_and(|only| only != protocol) {
                continue;
            }
            answers = PortRule::of(layer, numbered.number, rule).added_to(&answers);
            if rule.effect == Effect::Allow && hosts::is_for(rule, HTTPS, Protocol::Tcp) {
                if must_name(rule) { checks_name = true } else { opens = true }
            }
        }
        let checks_name = checks_name && !opens && protocol == Protocol::Tcp;
        Self { answers, checks_name }
    }
}

fn must_name(rule: &EgressRule) -> bool {
    rule.tls_name_check && matches!(rule.target, Target::Host(_))
}

/// Adds the ranges that all documents together allow or observe.
fn add_ranges(said: &[Said], protocol: Protocol, grants: &mut Vec<Grant>) {
    let maps: Vec<_> = said.iter().map(|said| said.answers.as_slice()).collect();
    if maps.is_empty() {
        return;
    }
    let checks_name = said.iter().any(|said| said.checks_name);
    let answers = intersection(&maps);
    let lasts = answers.iter().skip(1).map(|(next, _)| next - 1).chain([u16::MAX.into()]);
    for ((first, cell), last) in answers.iter().zip(lasts) {
        // Ports are below 2^16.
        let (first, last) = (*first as u16, last as u16);
        if cell.verdict() == Verdict::Deny {
            continue;
        }
        let parts = if checks_name && (first..=last).contains(&HTTPS) {
            [(first, HTTPS - 1, false), (HTTPS, HTTPS, true), (HTTPS + 1, last, false)]
        } else {
            [(first, last, false), (1, 0, false), (1, 0, false)]
        };
        for (first, last, checks_name) in parts.into_iter().filter(|part| part.0 <= part.1) {
            let (verdict, rule) = (cell.verdict(), cell.rule());
            grants.push(Grant { ports: first..=last, protocol, verdict, rule, checks_name });
        }
    }
}
