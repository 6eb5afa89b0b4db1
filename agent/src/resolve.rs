//! Looks up the host names that egress rules deny, once, when a run starts: their addresses are
//! closed too, whatever rule about addresses would open them.

use std::net::{IpAddr, ToSocketAddrs as _};

use ringfence_policy::{
    Boundary,
    boundary::{Effect, Mode, Place, Resolved, Target},
};

/// The addresses of every exact host name that a rule denies, and the rules whose name has none:
/// where they stand, and what is missing.
pub(crate) fn hosts(boundaries: &[Boundary]) -> (Resolved, Vec<(Place, String)>) {
    let egress = boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
    let mut resolved = Resolved::new();
    let mut open = vec![];
    let rules = egress.flat_map(|egress| egress.rules.iter().map(|rule| (egress.mode, rule)));
    for (mode, rule) in rules {
        let Target::Host(name) = &rule.target else { continue };
        if name.contains('*') || rule.effect == Effect::Allow {
            continue;
        }
        let addresses = match resolved.get(name) {
            Some(known) => known,
            None => {
                let found = look_up(name);
                resolved.entry(name.clone()).or_insert(found)
            }
        };
        // Where nothing is refused, nothing is left open.
        if addresses.is_empty() && mode == Mode::Enforce {
            let what = format!("{name} is denied, and has no address that could be closed");
            open.push((rule.place.clone(), what));
        }
    }
    (resolved, open)
}

fn look_up(name: &str) -> Vec<IpAddr> {
    match (name, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            tell!("ringfence: warning: no address of {name} is known: {error}");
            vec![]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_policy::{Source, parse};

    #[test]
    fn a_denied_name_without_an_address_is_told_and_an_allowed_one_stays_closed() {
        // No resolver asks anybody about a label of more than 63 bytes.
        let name = format!("{}.invalid", "x".repeat(64));
        for (deny, expected) in [(true, 1), (false, 0)] {
            let text = format!(
                "boundary: 1\negress:\n  - {{ host: localhost }}\n  - {{ host: a.b, deny: {deny} }}\n"
            );
            let parsed = parse(&Source::new("a.yaml", text), None);
            let mut boundary = parsed.document.unwrap().boundary;
            for rule in boundary.egress.iter_mut().flat_map(|egress| &mut egress.rules) {
                if rule.target == Target::Host("a.b".into()) {
                    rule.target = Target::Host(name.clone());
                }
            }
            let (resolved, open) = hosts(&[boundary]);
            assert!(!resolved["localhost"].is_empty());
            assert_eq!(open.len(), expected, "{open:?}");
            assert!(open.iter().all(|(place, _)| place.line == 4));
        }
    }
}
