//! The name servers that are asked: the system's, and those that rules list.

use std::{fs, net::SocketAddr, path::Path, time::SystemTime};

use crate::policies::Policy;
use anyhow::{Context as _, Result};
use ringfence_agent::resolver::{PORT, SYSTEM_FILE, Servers};
use ringfence_common::{Right, Verdict, egress::Protocol as Transport};
use ringfence_policy::{
    Boundary,
    boundary::{Effect, Protocol, Target},
    compile::Tables,
    question::{about_address, about_path},
};

/// The servers, which change when the machine's network does.
pub(super) struct Trusted {
    listed: Vec<SocketAddr>,
    /// Whether changes of the file count: not where a governed process could make them.
    is_followed: bool,
    /// When the file was changed last.
    changed: Option<SystemTime>,
}

impl Trusted {
    /// Reads the system's file, and the rules.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot be read.
    pub(super) fn read(policy: &Policy) -> Result<(Self, Servers)> {
        let (boundaries, tables) = (&policy.boundaries, &policy.tables);
        let this = Self {
            listed: listed(boundaries, tables),
            is_followed: !may_change(tables),
            changed: time(),
        };
        Ok((this, Servers::read(Path::new(SYSTEM_FILE)).context(SYSTEM_FILE)?))
    }

    /// All of them, the system's first.
    pub(super) fn servers(&self, system: &Servers) -> Vec<SocketAddr> {
        system.addresses.iter().chain(&self.listed).copied().collect()
    }

    /// All of them, if the file has changed and can be read.
    pub(super) fn changed(&mut self) -> Option<Vec<SocketAddr>> {
        let time = time();
        if !self.is_followed || time == self.changed {
            return None;
        }
        self.changed = time;
        let system = Servers::read(Path::new(SYSTEM_FILE)).ok()?;
        Some(self.servers(&system))
    }
}

fn time() -> Option<SystemTime> {
    fs::metadata(SYSTEM_FILE).and_then(|file| file.modified()).ok()
}

/// Whether a governed process may change the file, by its name or where that leads.
fn may_change(tables: &Tables) -> bool {
    let target = fs::canonicalize(SYSTEM_FILE).ok();
    let paths = [Some(Path::new(SYSTEM_FILE)), target.as_deref()];
    paths.into_iter().flatten().any(|path| {
        [Right::Write, Right::Create, Right::Delete].into_iter().any(|right| {
            let decision = about_path(tables, path.as_os_str().as_encoded_bytes(), right);
            decision.verdict != Verdict::Deny
        })
    })
}

/// The servers that rules list by address with port 53, if all documents allow it: these may be
/// asked, like the system's. Who answers chooses the addresses that a name opens, so that one
/// document must not name a server for the others.
fn listed(boundaries: &[Boundary], tables: &Tables) -> Vec<SocketAddr> {
    let egress = boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
    egress
        .flat_map(|egress| &egress.rules)
        .filter(|rule| {
            let has_port = rule.ports.iter().any(|range| range.contains(&PORT));
            let is_for_datagrams = rule.protocol.is_none_or(|only| only == Protocol::Udp);
            rule.effect == Effect::Allow && has_port && is_for_datagrams
        })
        .filter_map(|rule| match &rule.target {
            Target::Network(network) => {
                let is_one = network.prefix() == if network.is_ipv4() { 32 } else { 128 };
                is_one.then(|| SocketAddr::new(network.ip(), PORT))
            }
            Target::Host(_) => None,
        })
        .filter(|server| {
            let decision = about_address(tables, server.ip(), PORT, Transport::Udp);
            decision.verdict == Verdict::Allow
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_policy::{Source, compile::compile, parse};

    fn boundary(text: &str) -> Boundary {
        parse(&Source::new("a.yaml", text), None).document.unwrap().boundary
    }

    #[test]
    fn the_file_is_followed_only_where_no_governed_process_may_write_it() {
        for (files, is_followed) in [
            ("files:\n  - { path: \"/srv/**\", allow: [read, write] }\n", true),
            ("files:\n  - { path: \"/**\", allow: [write] }\n", false),
            ("mode: observe\nfiles: []\n", false),
            ("", false),
        ] {
            let boundaries = [boundary(&format!("boundary: 1\n{files}egress: []\n"))];
            let tables = compile(&boundaries, &Default::default()).unwrap();
            assert_eq!(!may_change(&tables), is_followed, "{files}");
        }
    }

    #[test]
    fn only_single_addresses_with_the_port_of_name_servers_may_be_asked() {
        let text = "boundary: 1\negress:\n\
            - { cidr: \"9.9.9.9/32\", ports: [53] }\n\
            - { cidr: \"2620:fe::fe\", ports: [\"50-60\"], protocol: udp }\n\
            - { cidr: \"9.9.9.10\", ports: [53], protocol: tcp }\n\
            - { cidr: \"9.9.9.11\", ports: [853] }\n\
            - { cidr: \"9.9.9.12\" }\n\
            - { cidr: \"9.9.9.13\", ports: [53], deny: true }\n\
            - { cidr: \"9.9.8.0/24\", ports: [53] }\n\
            - { host: \"dns.example.com\", ports: [53] }\n";
        assert_eq!(servers(&[text]), ["9.9.9.9:53", "[2620:fe::fe]:53"]);
    }

    #[test]
    fn a_server_may_be_asked_only_if_all_documents_allow_it() {
        let first = "boundary: 1\negress:\n\
            - { cidr: \"9.9.9.9\", ports: [53] }\n\
            - { cidr: \"9.9.9.10\", ports: [53] }\n";
        let second = "boundary: 1\negress:\n  - { cidr: \"9.9.9.8/31\", ports: [53] }\n";
        let silent = "boundary: 1\nfiles: []\n";
        assert_eq!(servers(&[first, second, silent]), ["9.9.9.9:53"]);
    }

    fn servers(documents: &[&str]) -> Vec<String> {
        let boundaries: Vec<Boundary> = documents.iter().map(|text| boundary(text)).collect();
        let tables = compile(&boundaries, &Default::default()).unwrap();
        listed(&boundaries, &tables).iter().map(ToString::to_string).collect()
    }
}
