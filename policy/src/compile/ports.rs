//! Answers by port: what one boundary says about the ports of a destination, and what several say
//! together.

use std::{collections::HashMap, ops::RangeInclusive};

use ringfence_common::{Cell, Verdict, egress::Protocol};

use super::rules::{EgressLayer, ServingLayer, strictest};
use crate::boundary::{Effect, EgressRule, ListenRule};

/// Intervals of ports: the first port of each, ascending from 0, and its answer.
pub(crate) type PortMap = Vec<(u32, Cell)>;

/// Port maps by number, each distinct one once.
#[derive(Default)]
pub(super) struct PortMaps {
    list: Vec<PortMap>,
    numbers: HashMap<PortMap, u32>,
    intervals: usize,
}

impl PortMaps {
    pub(super) fn number(&mut self, map: PortMap) -> u32 {
        if let Some(number) = self.numbers.get(&map) {
            return *number;
        }
        self.intervals += map.len();
        // Far fewer than 2^32: their sizes are summed up and limited.
        let number = self.list.len() as u32;
        self.numbers.insert(map.clone(), number);
        self.list.push(map);
        number
    }

    pub(super) fn get(&self, number: u32) -> &[(u32, Cell)] {
        self.list.get(number as usize).map_or(&[], Vec::as_slice)
    }

    /// Intervals of all maps together.
    pub(super) fn intervals(&self) -> usize {
        self.intervals
    }

    pub(super) fn into_list(self) -> Vec<PortMap> {
        self.list
    }
}

/// A rule about destinations, as one layer adds it to its answers.
#[derive(Clone, Copy)]
pub(crate) struct PortRule<'a> {
    pub(crate) number: u32,
    pub(crate) effect: Effect,
    pub(crate) ports: &'a [RangeInclusive<u16>],
    /// As for [`EgressLayer`].
    pub(crate) default: Cell,
    /// As for [`EgressLayer`].
    pub(crate) unnamed: Cell,
}

impl<'a> PortRule<'a> {
    pub(crate) fn of(layer: &EgressLayer<'_>, number: u32, rule: &'a EgressRule) -> Self {
        let EgressLayer { default, unnamed, .. } = *layer;
        Self { number, effect: rule.effect, ports: rule.port_ranges(), default, unnamed }
    }

    /// A layer's answers with this rule added to those that gave them.
    pub(crate) fn added_to(self, map: &[(u32, Cell)]) -> PortMap {
        let mut ranges: Vec<(u32, u32)> = self
            .ports
            .iter()
            .map(|range| ((*range.start()).into(), (*range.end()).into()))
            .collect();
        ranges.sort_unstable();
        let mut cuts: Vec<u32> = map.iter().map(|(port, _)| *port).collect();
        cuts.extend(ranges.iter().flat_map(|(first, last)| [*first, last + 1]));
        cuts.retain(|cut| *cut <= u16::MAX.into());
        cuts.sort_unstable();
        cuts.dedup();
        let (mut map, mut ranges) = (map.iter().peekable(), ranges.iter().peekable());
        let mut cell = self.default;
        // One past the furthest port of the ranges that began.
        let mut end = 0;
        merged(cuts.into_iter().map(|cut| {
            while let Some((_, next)) = map.next_if(|(port, _)| *port <= cut) {
                cell = *next;
            }
            while let Some((_, last)) = ranges.next_if(|(first, _)| *first <= cut) {
                end = end.max(last + 1);
            }
            (cut, if cut < end { self.answer(cell) } else { cell })
        }))
    }

    /// Deny wins over allow, and of equals the first in the document, which has the lower number.
    fn answer(self, before: Cell) -> Cell {
        let refusal = self.default.verdict();
        let is_allowed = before.verdict() == Verdict::Allow;
        let is_no_rules = before == self.default || before == self.unnamed;
        match self.effect {
            Effect::Deny if is_allowed || is_no_rules => Cell::new(refusal, self.number),
            Effect::Deny => Cell::new(refusal, before.rule().min(self.number)),
            Effect::Allow if is_allowed => {
                Cell::new(Verdict::Allow, before.rule().min(self.number))
            }
            Effect::Allow if is_no_rules => Cell::new(Verdict::Allow, self.number),
            Effect::Allow => before,
        }
    }
}

/// A layer's answers as they are at an address that only a rule opens that names it literally.
pub(super) fn without_allows(map: &[(u32, Cell)], layer: &EgressLayer<'_>) -> PortMap {
    merged(map.iter().map(|(port, cell)| {
        let is_open = cell.verdict() == Verdict::Allow || *cell == layer.default;
        (*port, if is_open { layer.unnamed } else { *cell })
    }))
}

/// The answers to serving, by port: for TCP, and for UDP.
pub(super) fn serving(layers: &[ServingLayer<'_>]) -> [PortMap; 2] {
    [Protocol::Tcp, Protocol::Udp].map(|protocol| {
        let maps: Vec<PortMap> = layers.iter().map(|layer| served(layer, protocol)).collect();
        intersection(&maps.iter().map(Vec::as_slice).collect::<Vec<_>>())
    })
}

fn served(layer: &ServingLayer<'_>, protocol: Protocol) -> PortMap {
    let default = layer.default;
    let is_for = |rule: &ListenRule| rule.protocol.is_none_or(|only| only == protocol);
    let mut ports: Vec<(u16, u32)> = layer
        .rules
        .iter()
        .filter(|(_, rule)| is_for(rule))
        .map(|(number, rule)| (rule.port, *number))
        .collect();
    // Of rules for one port the first is named.
    ports.sort_unstable();
    ports.dedup_by_key(|(port, _)| *port);
    let mut map = vec![(0, default)];
    for (port, number) in ports {
        let port = u32::from(port);
        map.pop_if(|(first, _)| *first == port);
        map.push((port, Cell::new(Verdict::Allow, number)));
        if port < u16::MAX.into() {
            map.push((port + 1, default));
        }
    }
    map
}

/// The strictest answers of several layers. A name may still change one in which some layer's
/// default has part, and no layer's rule refuses.
pub(crate) fn intersection(maps: &[&[(u32, Cell)]]) -> PortMap {
    if let [only] = maps {
        return only.to_vec();
    }
    let mut cuts: Vec<u32> =
        maps.iter().flat_map(|map| map.iter().map(|(port, _)| *port)).collect();
    cuts.push(0);
    cuts.sort_unstable();
    cuts.dedup();
    let mut at = vec![0; maps.len()];
    merged(cuts.into_iter().map(|cut| {
        let (mut is_open, mut is_refused) = (false, false);
        let cells = maps.iter().zip(&mut at).filter_map(|(map, at)| {
            while map.get(*at + 1).is_some_and(|(port, _)| *port <= cut) {
                *at += 1;
            }
            let cell = map.get(*at)?.1;
            is_open |= cell.is_by_default();
            is_refused |= !cell.is_by_default() && cell.verdict() == Verdict::Deny;
            Some(cell.settled())
        });
        let cell = strictest(cells);
        (cut, if is_open && !is_refused { cell.unless_installed() } else { cell })
    }))
}

/// Neighbours with the same answer become one interval.
fn merged(intervals: impl Iterator<Item = (u32, Cell)>) -> PortMap {
    let mut map = PortMap::new();
    for (port, cell) in intervals {
        if map.last().is_none_or(|(_, last)| *last != cell) {
            map.push((port, cell));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Cell = Cell::new(Verdict::Deny, 1).unless_installed();
    const UNNAMED: Cell = Cell::new(Verdict::Deny, 99);

    fn rule(number: u32, effect: Effect, ports: &[RangeInclusive<u16>]) -> PortRule<'_> {
        PortRule { number, effect, ports, default: DEFAULT, unnamed: UNNAMED }
    }

    fn allow(number: u32) -> Cell {
        Cell::new(Verdict::Allow, number)
    }

    #[test]
    fn ranges_that_overlap_touch_or_are_empty_are_one_set_of_ports() {
        #[expect(clippy::reversed_empty_ranges, reason = "a document can say it")]
        let ports =
            [443..=443, 80..=90, 85..=100, 101..=101, 9..=3, 200..=300, 210..=220, 65535..=65535];
        let map = rule(2, Effect::Allow, &ports).added_to(&[(0, DEFAULT)]);
        let expected = [
            (0, DEFAULT),
            (80, allow(2)),
            (102, DEFAULT),
            (200, allow(2)),
            (301, DEFAULT),
            (443, allow(2)),
            (444, DEFAULT),
            (65535, allow(2)),
        ];
        assert_eq!(map, expected);
    }

    #[test]
    fn all_ports_are_one_interval() {
        assert_eq!(rule(2, Effect::Allow, &[0..=65535]).added_to(&[(0, DEFAULT)]), [(0, allow(2))]);
    }

    #[test]
    fn deny_wins_in_whatever_order_and_the_first_rule_is_named() {
        let ports = [10..=20];
        let (give, take) = (rule(2, Effect::Allow, &[0..=65535]), rule(3, Effect::Deny, &ports));
        let expected = [(0, allow(2)), (10, Cell::new(Verdict::Deny, 3)), (21, allow(2))];
        assert_eq!(take.added_to(&give.added_to(&[(0, DEFAULT)])), expected);
        assert_eq!(give.added_to(&take.added_to(&[(0, DEFAULT)])), expected);
        let later = rule(9, Effect::Deny, &ports).added_to(&expected);
        assert_eq!(later, expected);
        assert_eq!(rule(9, Effect::Allow, &[]).added_to(&later), expected);
    }

    #[test]
    fn ports_that_are_served_are_those_of_every_layer() {
        let place = crate::boundary::Place { file: "".into(), line: 1, column: 1 };
        let rule = |port, protocol| ListenRule { port, protocol, place: place.clone() };
        let rules = [
            rule(8081, None),
            rule(8080, None),
            rule(8080, Some(Protocol::Tcp)),
            rule(53, Some(Protocol::Udp)),
            rule(65535, None),
        ];
        let one = ServingLayer { default: DEFAULT, rules: (2..).zip(&rules).collect() };
        let [tcp, udp] = serving(&[one]);
        let shared = [(8080, allow(3)), (8081, allow(2)), (8082, DEFAULT), (65535, allow(6))];
        assert_eq!(tcp, [&[(0, DEFAULT)], &shared[..]].concat());
        assert_eq!(udp, [&[(0, DEFAULT), (53, allow(5)), (54, DEFAULT)], &shared[..]].concat());
        let one = ServingLayer { default: DEFAULT, rules: (2..).zip(&rules[..1]).collect() };
        let none = ServingLayer { default: Cell::new(Verdict::Observe, 9), rules: Vec::new() };
        let [tcp, _] = serving(&[one, none]);
        let observed = Cell::new(Verdict::Observe, 9);
        assert_eq!(tcp, [(0, DEFAULT), (8081, observed), (8082, DEFAULT)]);
        assert_eq!(serving(&[]), [[(0, Cell::ALLOW)], [(0, Cell::ALLOW)]]);
    }

    #[test]
    fn an_intersection_refuses_what_any_layer_refuses() {
        let one = [(0, DEFAULT), (80, allow(2)), (90, DEFAULT)];
        let other = [(0, allow(5)), (85, Cell::new(Verdict::Observe, 4))];
        let expected =
            [(0, DEFAULT), (80, allow(2)), (85, Cell::new(Verdict::Observe, 4)), (90, DEFAULT)];
        assert_eq!(intersection(&[&one, &other]), expected);
    }

    #[test]
    fn a_name_changes_what_a_default_refuses_and_not_what_any_rule_does() {
        let (deny, observe) = (Cell::new(Verdict::Deny, 3), Cell::new(Verdict::Observe, 4));
        for (cells, expected) in [
            ([DEFAULT, allow(2)], DEFAULT),
            ([allow(2), DEFAULT], DEFAULT),
            ([DEFAULT, deny], DEFAULT.settled()),
            ([deny, DEFAULT], deny),
            ([DEFAULT, observe], DEFAULT),
            (
                [observe, Cell::new(Verdict::Observe, 5).unless_installed()],
                observe.unless_installed(),
            ),
            ([DEFAULT, UNNAMED], DEFAULT.settled()),
            ([allow(2), observe], observe),
        ] {
            let maps = cells.map(|cell| [(0, cell)]);
            assert_eq!(intersection(&[&maps[0], &maps[1]]), [(0, expected)], "{cells:?}");
        }
    }

    #[test]
    fn what_only_a_literal_rule_opens_is_opened_by_one_and_taken_by_a_denial() {
        let layer = EgressLayer { default: DEFAULT, unnamed: UNNAMED, rules: Vec::new() };
        let ports = [80..=80];
        let taken = rule(3, Effect::Deny, &ports).added_to(&[(0, allow(2))]);
        let special = without_allows(&taken, &layer);
        let denied = Cell::new(Verdict::Deny, 3);
        assert_eq!(special, [(0, UNNAMED), (80, denied), (81, UNNAMED)]);
        let opened = rule(4, Effect::Allow, &[0..=65535]).added_to(&special);
        assert_eq!(opened, [(0, allow(4)), (80, denied), (81, allow(4))]);
        let taken = rule(5, Effect::Deny, &[0..=65535]).added_to(&[(0, UNNAMED)]);
        assert_eq!(taken, [(0, Cell::new(Verdict::Deny, 5))]);
    }
}
