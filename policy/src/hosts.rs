//! Decisions about host names, by the rules themselves: no name is looked up.
//!
//! The kernel decides about addresses. A name is judged here as it will be once each rule's name
//! has been looked up, and this is what `policy test --connect NAME:PORT` answers.

use crate::boundary::{Boundary, Effect, Egress, EgressRule, Mode, Place, Protocol, Target};
use ringfence_common::Verdict;

/// The answer about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDecision {
    /// What happens.
    pub verdict: Verdict,
    /// The rule that decides, or the list that holds none for the name; `None` when no document
    /// governs destinations.
    pub place: Option<Place>,
}

/// Whether a connection to a host may be made. All documents must allow it; the strictest
/// answer, and among equals the first, is given.
pub fn decide(boundaries: &[Boundary], host: &str, port: u16, protocol: Protocol) -> HostDecision {
    judge(boundaries, |rule| covers(rule, host) && is_for(rule, port, protocol))
}

/// Whether the addresses of a name may be asked for: when it may be connected to at all.
pub fn decide_lookup(boundaries: &[Boundary], host: &str) -> HostDecision {
    judge(boundaries, |rule| covers(rule, host) && is_for_lookup(rule))
}

fn judge(boundaries: &[Boundary], matches: impl Fn(&EgressRule) -> bool) -> HostDecision {
    let mut answer = HostDecision { verdict: Verdict::Allow, place: None };
    for egress in boundaries.iter().filter_map(|boundary| boundary.egress.as_ref()) {
        let next = in_one(egress, &matches);
        if answer.place.is_none() || next.verdict > answer.verdict {
            answer = next;
        }
    }
    answer
}

fn in_one(egress: &Egress, matches: &impl Fn(&EgressRule) -> bool) -> HostDecision {
    let refuse = |mode: Mode, place: &Place| HostDecision {
        verdict: mode.refusal(),
        place: Some(place.clone()),
    };
    let of = |effect| {
        egress.rules.iter().find(|rule: &&EgressRule| rule.effect == effect && matches(rule))
    };
    match (of(Effect::Deny), of(Effect::Allow)) {
        (Some(rule), _) => refuse(egress.mode, &rule.place),
        (None, Some(rule)) => {
            HostDecision { verdict: Verdict::Allow, place: Some(rule.place.clone()) }
        }
        (None, None) => refuse(egress.mode, &egress.place),
    }
}

/// Whether a rule counts at a port.
pub(crate) fn is_for(rule: &EgressRule, port: u16, protocol: Protocol) -> bool {
    let port_fits = rule.port_ranges().iter().any(|range| range.contains(&port));
    port_fits && rule.protocol.is_none_or(|only| only == protocol)
}

/// Whether a rule counts when the addresses of a name are asked for.
pub(crate) fn is_for_lookup(rule: &EgressRule) -> bool {
    rule.effect == Effect::Allow || rule.ports.is_empty()
}

fn covers(rule: &EgressRule, host: &str) -> bool {
    name_pattern(rule).is_some_and(|pattern| matches_pattern(pattern, host))
}

/// The names that a rule is about, as a pattern, if it is about any. A network that is every
/// address is about every host.
pub(crate) fn name_pattern(rule: &EgressRule) -> Option<&str> {
    match &rule.target {
        Target::Host(pattern) => Some(pattern),
        Target::Network(network) => (network.prefix() == 0).then_some("*"),
    }
}

/// Whether a host name matches a pattern in which `*` stands for any characters. Case and the
/// dot of a complete name make no difference.
pub fn matches_pattern(pattern: &str, host: &str) -> bool {
    matches_folded(pattern, &folded(host))
}

/// A name in lower case and without the dot of a complete name.
pub(crate) fn folded(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// As [`matches_pattern`], for a name that is [`folded`].
pub(crate) fn matches_folded(pattern: &str, host: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = host.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_of_a_name() {
        for (pattern, host, matches) in [
            ("api.example.com", "api.example.com", true),
            ("api.example.com", "API.example.COM.", true),
            ("api.example.com", "xapi.example.com", false),
            ("api.example.com", "api.example.com.evil.org", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*.example.com", "a.example.com.evil.org", false),
            ("api.*.example.*", "api.eu.example.org", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
        ] {
            assert_eq!(matches_pattern(pattern, host), matches, "{pattern} {host}");
        }
    }
}
