//! Looks up the host names that egress rules deny, once, when a run starts: their addresses are
//! closed too, whatever rule about addresses would open them.

use std::net::{IpAddr, ToSocketAddrs as _};

use ringfence_policy::{
    Boundary,
    boundary::{Effect, Mode, Place, Resolved, Target},
};

/// The addresses of every exact host name that a rule denies, and the names that have none, with
/// the places of their rules.
pub(crate) fn hosts(boundaries: &[Boundary]) -> (Resolved, Vec<(Place, String)>) {
    let egress = boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
    let mut resolved = Resolved::new();
    let mut unknown = vec![];
    let rules = egress.flat_map(|egress| egress.rules.iter().map(|rule| (egress.mode, rule)));
    for (mode, rule) in rules {
        let Target::Host(name) = &rule.target else { continue };
        if name.contains('*') || rule.effect == Effect::Allow {
            continue;
        }
        let addresses = match resolved.get(name) {
            Some(known) => known,
            None => resolved.entry(name.clone()).or_insert_with(|| look_up(name)),
        };
        // Where nothing is refused, nothing is left open.
        if addresses.is_empty() && mode == Mode::Enforce {
            unknown.push((rule.place.clone(), name.clone()));
        }
    }
    (resolved, unknown)
}

fn look_up(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs().into_iter().flatten();
    found.map(|address| address.ip()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_policy::{Source, parse};

    #[test]
    fn a_denied_name_is_looked_up_and_an_allowed_one_is_not() {
        // No resolver asks anybody about a label of more than 63 bytes.
        let name = format!("{}.invalid", "x".repeat(64));
        for (deny, expected) in [(true, 1), (false, 0)] {
            let text = format!(
                "boundary: 1\negress:\n  - {{ host: localhost, deny: {deny} }}\n  \
                 - {{ host: a.b, deny: {deny} }}\n"
            );
            let parsed = parse(&Source::new("a.yaml", text), None);
            let mut boundary = parsed.document.unwrap().boundary;
            for rule in boundary.egress.iter_mut().flat_map(|egress| &mut egress.rules) {
                if rule.target == Target::Host("a.b".into()) {
                    rule.target = Target::Host(name.clone());
                }
            }
            let (resolved, unknown) = hosts(&[boundary]);
            assert_eq!(resolved.get("localhost").is_some_and(|found| !found.is_empty()), deny);
            assert_eq!(unknown.len(), expected, "{unknown:?}");
            assert!(unknown.iter().all(|(place, told)| place.line == 4 && *told == name));
        }
    }
}
