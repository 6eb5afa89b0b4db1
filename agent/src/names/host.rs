//! What the resolver asks of the policy and of the kernel, and tells.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringfence_agent::resolver::{Client, Decision, Gate, Install, NotInstalled, Tell};
use ringfence_common::{
    Verdict,
    egress::Protocol,
    names,
    resolver::{Asker, Named, PORT, Place},
};
use ringfence_policy::{grants::Grant, hosts::HostDecision};
use tokio::sync::mpsc;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{Askers, Counts, Installed, Rules, refusal};

/// What the resolver of a scope needs.
pub(super) struct Host {
    pub(super) rules: Mutex<Arc<Rules>>,
    pub(super) installed: Arc<Installed>,
    /// Its number.
    pub(super) scope: u32,
    pub(super) askers: Askers,
    pub(super) tell: mpsc::Sender<Lookup>,
    pub(super) lost: Arc<AtomicU64>,
    pub(super) counts: Arc<Counts>,
}

/// A lookup that was not simply answered.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The name.
    pub(crate) host: String,
    /// The type of record.
    pub(crate) record: String,
    /// The address in the answer that it is about, if about one.
    pub(crate) address: Option<IpAddr>,
    /// The server that the process asked.
    pub(crate) server: SocketAddr,
    /// By which way.
    pub(crate) protocol: Protocol,
    /// What happened.
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) reason: &'static str,
    /// Where the rule stands, or the list that holds none; and whether it is that.
    pub(crate) place: Option<(String, bool)>,
    /// Who asked.
    pub(crate) asker: Option<Named>,
}

impl Host {
    /// What the kernel programs have remembered of a socket that asks, in a network namespace.
    fn asker(&self, network: u64, peer: SocketAddr, protocol: Protocol) -> Option<Named> {
        let place = Place::new(self.scope, network);
        let asker = Asker::new(place, peer.ip().into(), peer.port(), protocol.number());
        let mut key = [0; size_of::<Asker>()];
        key.copy_from_slice(asker.as_bytes());
        Named::read_from_bytes(&self.askers.get(&key, 0).ok()?).ok()
    }

    /// The rules in force.
    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has other rules asked from now on.
    pub(super) fn replace(&self, rules: Arc<Rules>) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// The server that a process named.
    pub(super) fn original(
        &self,
        network: u64,
        peer: SocketAddr,
        protocol: Protocol,
    ) -> Option<SocketAddr> {
        let named = self.asker(network, peer, protocol)?;
        let number = u128::from(named.high) << 64 | u128::from(named.low);
        Some(SocketAddr::new(Ipv6Addr::from_bits(number).to_canonical(), PORT))
    }
}

impl Gate for Host {
    type Grants = Vec<Grant>;

    fn ask(&self, name: &str) -> HostDecision {
        let rules = self.rules();
        let decision = names::decide_lookup(rules.image(), name.as_bytes());
        let rule = rules.policy().tables.rule(decision.rule);
        HostDecision { verdict: decision.verdict, place: rule.map(|rule| rule.place.clone()) }
    }

    fn grants(&self, name: &str, address: IpAddr) -> Option<Vec<Grant>> {
        // More ranges of ports than an entry holds open nothing.
        let grants = self.rules().grants(name, address);
        (!grants.is_empty()).then_some(grants)
    }

    fn special(&self, name: &str, address: IpAddr) -> Verdict {
        // Rules that allow a name do not count at such an address: one lists it.
        let rules = self.rules();
        let grants = rules.grants(name, address);
        let is_listed = grants.iter().any(|grant| grant.verdict == Verdict::Allow);
        if is_listed { Verdict::Allow } else { refusal(rules.image()) }
    }
}

impl Install for Host {
    fn install(
        &self,
        name: &str,
        addresses: &[(IpAddr, Vec<Grant>)],
        lifetime: Duration,
    ) -> Result<(), NotInstalled> {
        self.installed.add(name, addresses, lifetime)
    }
}

impl Tell for Host {
    fn tell(&self, decision: &Decision<'_>) {
        self.counts.count(decision);
        let Some(reason) = decision.reason.filter(|_| decision.verdict != Verdict::Allow) else {
            return;
        };
        let Client { network, address, protocol, original } = decision.client;
        let lookup = Lookup {
            host: decision.host.to_owned(),
            record: decision.record.to_string(),
            address: decision.address,
            server: original,
            protocol,
            verdict: decision.verdict,
            reason: reason.name(),
            place: decision
                .place
                .map(|place| (place.to_string(), self.rules().defaults.contains(place))),
            asker: self.asker(network, address, protocol),
        };
        if self.tell.try_send(lookup).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
