//! Looks up the host names of egress rules, once, when a run starts.

use std::net::{IpAddr, ToSocketAddrs as _};

use ringfence_policy::{
    Boundary,
    boundary::{Resolved, Target},
};

/// The addresses of every exact host name in the rules. What cannot be looked up is told on the
/// standard error and stays closed.
pub(crate) fn hosts(boundaries: &[Boundary]) -> Resolved {
    let names = boundaries
        .iter()
        .filter_map(|boundary| boundary.egress.as_ref())
        .flat_map(|egress| &egress.rules)
        .filter_map(|rule| match &rule.target {
            Target::Host(name) if !name.contains('*') => Some(name.clone()),
            Target::Host(_) | Target::Network(_) => None,
        });
    let mut resolved = Resolved::new();
    for name in names {
        if resolved.contains_key(&name) {
            continue;
        }
        let addresses: Vec<IpAddr> = match (name.as_str(), 0).to_socket_addrs() {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => {
                tell!("ringfence: warning: {name} stays closed: {error}");
                vec![]
            }
        };
        resolved.insert(name, addresses);
    }
    resolved
}
