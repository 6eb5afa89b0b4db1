//! The addresses of host names that are known when a run starts: of those that rules deny, which
//! are closed too, whatever rule about addresses would open them, and of those in `/etc/hosts`,
//! which nobody asks a name server for.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _},
    thread,
};

use ringfence_policy::{
    Boundary,
    boundary::{Effect, Mode, Place, Resolved, Target},
    hosts::matches_pattern,
};

/// Where the system keeps names that need no name server.
const HOSTS_FILE: &str = "/etc/hosts";
/// Names of that file that are compared with the rules: more are a list of what to block.
const MAX_NAMES: usize = 4_096;
/// Names that are looked up at a time.
const AT_A_TIME: usize = 32;

/// The addresses that are known of names in rules, and the denied names that have none, with the
/// places of their rules.
pub(crate) fn hosts(boundaries: &[Boundary]) -> (Resolved, Vec<(Place, String)>) {
    let text = fs::read_to_string(HOSTS_FILE).unwrap_or_default();
    let egress = || boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
    let patterns: HashSet<&str> = egress()
        .flat_map(|egress| &egress.rules)
        .filter_map(|rule| match &rule.target {
            Target::Host(pattern) => Some(pattern.as_str()),
            Target::Network(_) => None,
        })
        .collect();
    let mut resolved =
        in_file(&text, |name| patterns.iter().any(|pattern| matches_pattern(pattern, name)));
    let mut unknown = vec![];
    let rules = egress().flat_map(|egress| egress.rules.iter().map(|rule| (egress.mode, rule)));
    let denied = rules.filter_map(|(mode, rule)| match &rule.target {
        Target::Host(name) if !name.contains('*') && rule.effect != Effect::Allow => {
            Some((mode, rule, name))
        }
        _ => None,
    });
    let denied: Vec<_> = denied.collect();
    let mut asked: Vec<&str> = denied.iter().map(|(_, _, name)| name.as_str()).collect();
    asked.retain(|name| !resolved.contains_key(*name));
    asked.sort_unstable();
    asked.dedup();
    for names in asked.chunks(AT_A_TIME) {
        resolved.extend(look_up_all(names));
    }
    for (mode, rule, name) in denied {
        let addresses = resolved.entry(name.clone()).or_default();
        // Where nothing is refused, nothing is left open.
        if addresses.is_empty() && mode == Mode::Enforce {
            unknown.push((rule.place.clone(), name.clone()));
        }
    }
    (resolved, unknown)
}

/// The names of a hosts file (hosts(5)) that are asked for, and `localhost`, which every machine
/// has (RFC 6761, section 6.3).
fn in_file(text: &str, is_asked: impl Fn(&str) -> bool) -> Resolved {
    let localhost = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    let localhost = localhost.map(|address| ("localhost".to_owned(), address));
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let listed = lines.flat_map(|line| {
        let mut words = line.split_whitespace();
        let address: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
        let named = move |name: &str| address.map(|address| (name.to_ascii_lowercase(), address));
        words.filter_map(named).collect::<Vec<_>>()
    });
    let mut resolved = Resolved::new();
    for (name, address) in localhost.into_iter().chain(listed.take(MAX_NAMES)) {
        if is_asked(&name) {
            let addresses = resolved.entry(name).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    resolved
}

/// Looks names up, all at a time: each may take as long as the system's resolver waits.
fn look_up_all(names: &[&str]) -> Vec<(String, Vec<IpAddr>)> {
    thread::scope(|scope| {
        let ask = |name| thread::Builder::new().spawn_scoped(scope, move || look_up(name)).ok();
        let asking: Vec<_> = names.iter().map(|name| (*name, ask(*name))).collect();
        let found = |(name, thread): (&str, Option<thread::ScopedJoinHandle<'_, _>>)| {
            let found = thread.map_or_else(|| Ok(look_up(name)), |thread| thread.join());
            (name.to_owned(), found.unwrap_or_default())
        };
        asking.into_iter().map(found).collect()
    })
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
            assert!(!resolved["localhost"].is_empty());
            assert_eq!(resolved.contains_key(&name), deny);
            assert_eq!(unknown.len(), expected, "{unknown:?}");
            assert!(unknown.iter().all(|(place, told)| place.line == 4 && *told == name));
        }
    }

    #[test]
    fn names_of_the_hosts_file_need_no_name_server() {
        let text = "# 10.0.0.1 no\n10.0.0.2\tDB.example  db # alias\n::1 localhost\n\
                    10.0.0.3 db\nnot-an-address db\n\n10.0.0.4\n10.0.0.5 other\n";
        let resolved = in_file(text, |name| name != "other");
        let addresses = |name: &str| -> Vec<String> {
            resolved.get(name).into_iter().flatten().map(ToString::to_string).collect()
        };
        assert_eq!(addresses("db.example"), ["10.0.0.2"]);
        assert_eq!(addresses("db"), ["10.0.0.2", "10.0.0.3"]);
        assert_eq!(addresses("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(resolved.len(), 3);
        assert!(in_file(text, |_| false).is_empty());
    }
}
