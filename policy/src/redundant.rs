//! Rules about host names that change nothing. Rules about paths and addresses are judged by the
//! compiler, which sees all that they match; names are not in its tables.

use std::collections::{HashMap, HashSet};

use crate::{
    boundary::{Boundary, Effect, Egress, EgressRule, Place, Target},
    diagnostic::{Diagnostic, code, quoted},
    hosts::matches_pattern,
    pattern::MAX_PAIRS,
};

/// What is to be said about the names in the egress rules of boundaries that govern together.
/// Findings carry no source line.
pub(crate) fn names(boundaries: &[Boundary]) -> Vec<Diagnostic> {
    let mut work = MAX_PAIRS;
    let egress = || boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
    let patterns = Patterns::new(egress().flat_map(|egress| &egress.rules));
    egress().flat_map(|egress| in_one(egress, &patterns, &mut work)).collect()
}

fn in_one(egress: &Egress, patterns: &Patterns<'_>, work: &mut usize) -> Vec<Diagnostic> {
    let (allows, denies) = (Index::new(egress, Effect::Allow), Index::new(egress, Effect::Deny));
    let mut findings = Vec::new();
    for (number, rule) in egress.rules.iter().enumerate() {
        let Target::Host(host) = &rule.target else { continue };
        // A pattern that denies has the addresses of those names only that are denied one by one:
        // that may be what this rule is for, whatever it says itself.
        let is_needed =
            rule.effect == Effect::Deny && !host.contains('*') && patterns.matches(host, work);
        let (same, other) = match rule.effect {
            Effect::Allow => (&allows, Some(&denies)),
            Effect::Deny => (&denies, None),
        };
        let denied = other.and_then(|denies| denies.covering(number, rule, host, is_needed, work));
        let finding = if let Some(by) = denied {
            let message =
                format!("{} is never allowed: the rule at {} denies it", quoted(host), by);
            (code::SHADOWED, message, "remove one of the two rules")
        } else if let Some(by) = same.covering(number, rule, host, is_needed, work) {
            let message = format!("{} is covered already by the rule at {by}", quoted(host));
            (code::REDUNDANT, message, "remove it, unless the wider rule is the mistake")
        } else if rule.effect == Effect::Deny && allows.is_empty() {
            let message = format!("nothing is denied by {}: no rule allows anything", quoted(host));
            let help = "what no rule allows is refused already";
            (code::DENY_TAKES_NOTHING, message, help)
        } else {
            continue;
        };
        let (code, message, help) = finding;
        let length = u32::try_from(host.chars().count()).unwrap_or(1);
        let finding = Diagnostic::warning(code, rule.place.clone(), length, message);
        findings.push(finding.with_help(help));
    }
    findings
}

/// The rules of one effect, by what they can cover.
struct Index<'a> {
    rules: &'a [EgressRule],
    /// Rules about one name.
    exact: HashMap<&'a str, Vec<usize>>,
    /// Rules about all names that end in what follows the star: `.example.com`.
    suffixes: HashMap<&'a str, Vec<usize>>,
    /// Rules about other patterns.
    patterns: Vec<usize>,
    /// Rules about every address of a family.
    everything: [Vec<usize>; 2],
    count: usize,
}

impl<'a> Index<'a> {
    fn new(egress: &'a Egress, effect: Effect) -> Self {
        let mut index = Self {
            rules: &egress.rules,
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            patterns: Vec::new(),
            everything: [Vec::new(), Vec::new()],
            count: 0,
        };
        for (number, rule) in egress.rules.iter().enumerate() {
            if rule.effect != effect {
                continue;
            }
            index.count += 1;
            match &rule.target {
                Target::Network(network) => {
                    if network.prefix() == 0 {
                        index.everything[usize::from(network.is_ipv6())].push(number);
                    }
                }
                Target::Host(host) => match host.strip_prefix('*') {
                    _ if !host.contains('*') => index.exact.entry(host).or_default().push(number),
                    Some(suffix) if !suffix.contains('*') && suffix.starts_with('.') => {
                        index.suffixes.entry(suffix).or_default().push(number);
                    }
                    _ => index.patterns.push(number),
                },
            }
        }
        index
    }

    /// A rule that covers another one, which is about `host`: where it stands. Of two that cover
    /// each other, the later one is covered.
    fn covering(
        &self,
        number: usize,
        rule: &EgressRule,
        host: &str,
        is_needed: bool,
        work: &mut usize,
    ) -> Option<&'a Place> {
        let ports = rule.ports.len().max(1);
        let mut first = |list: &[usize], is_candidate: &dyn Fn(usize) -> bool| {
            // Beyond so many pairs a policy goes without this advice.
            *work = work.checked_sub(list.len())?;
            for &other in list.iter().filter(|other| **other != number) {
                let wider = &self.rules[other];
                *work = work.checked_sub(ports.saturating_mul(wider.ports.len()))?;
                if !is_candidate(other) || !is_within(rule, wider) {
                    continue;
                }
                let covers_back = wider.effect == rule.effect
                    && is_same(&wider.target, &rule.target)
                    && is_within(wider, rule);
                if !covers_back || other < number {
                    return Some(other);
                }
            }
            None
        };
        let found = 'search: {
            let [v4, v6] = &self.everything;
            if !is_needed
                && let (Some(found), Some(_)) = (first(v4, &|_| true), first(v6, &|_| true))
            {
                break 'search Some(found);
            }
            let twins = self.exact.get(host).map_or(&[][..], Vec::as_slice);
            if let Some(found) = first(twins, &|_| true) {
                break 'search Some(found);
            }
            if !host.contains('*') {
                break 'search None;
            }
            let dots = host.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| at);
            for suffix in dots.filter_map(|at| self.suffixes.get(host.get(at..)?)) {
                if let Some(found) = first(suffix, &|_| true) {
                    break 'search Some(found);
                }
            }
            // A star of the host's own pattern is matched by a star only: no name holds one.
            first(&self.patterns, &|other| match &self.rules[other].target {
                Target::Host(pattern) => matches_pattern(pattern, host),
                Target::Network(_) => false,
            })
        };
        found.map(|found| &self.rules[found].place)
    }

    const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The patterns of all rules, by what they end in.
struct Patterns<'a> {
    suffixes: HashSet<&'a str>,
    others: Vec<&'a str>,
}

impl<'a> Patterns<'a> {
    fn new(rules: impl Iterator<Item = &'a EgressRule>) -> Self {
        let mut patterns = Self { suffixes: HashSet::new(), others: Vec::new() };
        for rule in rules {
            let Target::Host(host) = &rule.target else { continue };
            match host.strip_prefix('*') {
                _ if !host.contains('*') => {}
                Some(suffix) if !suffix.contains('*') && suffix.starts_with('.') => {
                    patterns.suffixes.insert(suffix);
                }
                _ => patterns.others.push(host),
            }
        }
        patterns
    }

    /// Whether a pattern is about the name; `true` also when there are too many to tell.
    fn matches(&self, host: &str, work: &mut usize) -> bool {
        let mut dots = host.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| at);
        if dots.any(|at| host.get(at..).is_some_and(|suffix| self.suffixes.contains(suffix))) {
            return true;
        }
        let Some(rest) = work.checked_sub(self.others.len()) else { return true };
        *work = rest;
        self.others.iter().any(|pattern| matches_pattern(pattern, host))
    }
}

/// Whether two targets are about the same: patterns may have more stars than they need.
fn is_same(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Host(one), Target::Host(other)) => {
            matches_pattern(one, other) && matches_pattern(other, one)
        }
        (one, other) => one == other,
    }
}

/// Whether a rule's ports and protocol are all among those of another.
fn is_within(inner: &EgressRule, outer: &EgressRule) -> bool {
    let protocol = outer.protocol.is_none() || outer.protocol == inner.protocol;
    let holds = |range: &std::ops::RangeInclusive<u16>| {
        let within = |wide: &std::ops::RangeInclusive<u16>| {
            wide.start() <= range.start() && range.end() <= wide.end()
        };
        outer.port_ranges().iter().any(within)
    };
    protocol && inner.port_ranges().iter().all(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, testing::document};

    fn found(rules: &str) -> Vec<(&'static str, u32)> {
        let text = format!("boundary: 1\negress:\n{rules}");
        let document = document(&text, Dialect::Boundary);
        names(&[document.boundary]).iter().map(|found| (found.code, found.place.line)).collect()
    }

    #[test]
    fn names_that_change_nothing_are_told() {
        for (rules, expected) in [
            ("  - { host: a.b.c }\n  - { host: A.b.c. }\n", &[(code::REDUNDANT, 4)][..]),
            ("  - { host: '*.x.b.c' }\n  - { host: '*.b.c' }\n", &[(code::REDUNDANT, 3)]),
            ("  - { host: '*.c' }\n  - { host: '**.c' }\n", &[(code::REDUNDANT, 4)]),
            ("  - { host: '*' }\n  - { host: a.c, ports: [443] }\n", &[(code::REDUNDANT, 4)]),
            (
                "  - { host: a.c }\n  - { cidr: 0.0.0.0/0 }\n  - { cidr: '::/0' }\n",
                &[(code::REDUNDANT, 3)],
            ),
            ("  - { host: a.c }\n  - { host: a.c, deny: true }\n", &[(code::SHADOWED, 3)]),
            ("  - { host: '*.a.c' }\n  - { host: '*.c', deny: true }\n", &[(code::SHADOWED, 3)]),
            ("  - { host: b.c, deny: true }\n", &[(code::DENY_TAKES_NOTHING, 3)]),
        ] {
            assert_eq!(found(rules), expected, "{rules}");
        }
    }

    #[test]
    fn names_that_change_something_are_not() {
        for rules in [
            "  - { host: a.c, ports: [443] }\n  - { host: a.c, ports: [80] }\n",
            "  - { host: a.c, ports: [443, 80] }\n  - { host: '*.c', ports: [443] }\n",
            "  - { host: a.c }\n  - { host: '*.c', protocol: tcp }\n",
            "  - { host: c }\n  - { host: '*.c' }\n",
            "  - { host: a.c }\n  - { cidr: 0.0.0.0/0 }\n",
            "  - { host: a.c }\n  - { cidr: 10.0.0.0/8 }\n",
            "  - { host: '*.c' }\n  - { host: a.c, deny: true }\n",
            "  - { cidr: 10.0.0.0/8 }\n  - { host: a.c, deny: true }\n",
            "  - { host: a.c }\n  - { host: '*.c', ports: [22], deny: true }\n",
            "  - { host: '*.a.c' }\n  - { host: 'b*', deny: true }\n",
            // A pattern that denies has the addresses of names that are denied one by one.
            "  - { host: a.b.c }\n  - { host: '*.b.c' }\n",
            "  - { host: '*' }\n  - { host: a.c, deny: true }\n  - { host: '*.c', deny: true }\n",
            "  - { host: a.c }\n  - { host: '*.c', deny: true }\n",
            "  - { host: a.c }\n  - { host: '*', ports: [443] }\n  - { host: '*.c' }\n",
            // Two names may share an address.
            "  - { host: a.c }\n  - { host: b.c, deny: true }\n",
        ] {
            assert_eq!(found(rules), [], "{rules}");
        }
    }
}
