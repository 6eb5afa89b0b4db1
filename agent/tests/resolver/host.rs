//! A policy that is read from text, and a table and a log that remember.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ringfence_agent::resolver::{Decision, Gate, Install, NotInstalled, Reason, Tell};
use ringfence_common::Verdict;
use ringfence_policy::{
    Boundary, Source,
    boundary::Target,
    hosts::{HostDecision, decide_lookup},
    parse,
};

/// What the tests look at afterwards.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) policy: Mutex<Vec<Boundary>>,
    /// Name, address, seconds.
    pub(crate) installed: Mutex<Vec<(String, IpAddr, u64)>>,
    /// What the next installations come to; then they succeed.
    pub(crate) failures: Mutex<Vec<NotInstalled>>,
    /// Becomes the policy when an installation fails.
    pub(crate) next_policy: Mutex<Option<Vec<Boundary>>>,
    pub(crate) told: Mutex<Vec<Told>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) host: String,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<Reason>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) line: Option<u32>,
}

pub(crate) fn policy(text: &str) -> Vec<Boundary> {
    let parsed = parse(&Source::new("test.yaml", text), None);
    vec![parsed.document.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)).boundary]
}

impl State {
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.installed.lock().unwrap().iter().map(|(_, address, _)| *address).collect()
    }

    pub(crate) fn reasons(&self) -> Vec<(Verdict, Option<Reason>)> {
        self.told.lock().unwrap().iter().map(|told| (told.verdict, told.reason)).collect()
    }
}

/// The state, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Host(pub Arc<State>);

impl Gate for Host {
    type Grants = ();

    fn ask(&self, name: &str) -> HostDecision {
        decide_lookup(&self.0.policy.lock().unwrap(), name)
    }

    fn grants(&self, _: &str, _: IpAddr) -> Option<()> {
        Some(())
    }

    fn special(&self, _: &str, address: IpAddr) -> Verdict {
        let policy = self.0.policy.lock().unwrap();
        let Some(egress) = policy.iter().find_map(|one| one.egress.as_ref()) else {
            return Verdict::Allow;
        };
        let is_listed = egress.rules.iter().any(
            |rule| matches!(&rule.target, Target::Network(network) if network.contains(address)),
        );
        if is_listed { Verdict::Allow } else { egress.mode.refusal() }
    }
}

impl Install for Host {
    fn install(
        &self,
        name: &str,
        addresses: &[(IpAddr, ())],
        lifetime: Duration,
    ) -> Result<(), NotInstalled> {
        if let Some(failure) = self.0.failures.lock().unwrap().pop() {
            if let Some(next) = self.0.next_policy.lock().unwrap().take() {
                *self.0.policy.lock().unwrap() = next;
            }
            return Err(failure);
        }
        let entries =
            addresses.iter().map(|(address, ())| (name.to_owned(), *address, lifetime.as_secs()));
        self.0.installed.lock().unwrap().extend(entries);
        Ok(())
    }
}

impl Tell for Host {
    fn tell(&self, decision: &Decision<'_>) {
        self.0.told.lock().unwrap().push(Told {
            host: decision.host.to_owned(),
            verdict: decision.verdict,
            reason: decision.reason,
            address: decision.address,
            line: decision.place.map(|place| place.line),
        });
    }
}
