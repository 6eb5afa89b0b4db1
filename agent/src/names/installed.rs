//! The table of addresses that names stand for, here and in the kernel.
//!
//! Several names may stand for one address, each with ports and a time of its own, while the
//! kernel has one entry with one time. The entry ends when the first part of it does, unless it
//! was written anew before: so it never opens what no name stands for any more, and what is left
//! goes on, as long as this process runs.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ringfence_agent::resolver::NotInstalled;
use ringfence_common::{
    Address,
    installed::{Key, MAX_SCOPE_ENTRIES, Value},
};
use ringfence_policy::grants::{Grant, entry};
use zerocopy::IntoBytes as _;

use super::Addresses;
use crate::clock::since_boot;

/// How long before a part ends its entry is written without it.
const AHEAD: Duration = Duration::from_secs(2);
/// Addresses that may be open at a time.
const CAPACITY: usize = MAX_SCOPE_ENTRIES as usize;

/// The table of one scope.
pub(super) struct Installed {
    state: Mutex<State>,
}

struct State {
    /// The scope's number.
    scope: u32,
    kernel: Addresses,
    entries: HashMap<[u8; size_of::<Key>()], Vec<Part>>,
}

/// What some name opens at an address.
#[derive(Clone)]
struct Part {
    grants: Vec<Grant>,
    /// Nanoseconds on the clock of [`Value::expires`].
    expires: u64,
}

impl Installed {
    pub(super) fn new(scope: u32, kernel: Addresses) -> Self {
        Self { state: Mutex::new(State { scope, kernel, entries: HashMap::new() }) }
    }

    /// Opens addresses for a time. All are in the kernel's table when this returns.
    pub(super) fn add(
        &self,
        addresses: &[(IpAddr, Vec<Grant>)],
        lifetime: Duration,
    ) -> Result<(), NotInstalled> {
        let mut state = self.lock();
        let now = since_boot();
        if !state.has_room(addresses) {
            state.sweep(now);
        }
        if !state.has_room(addresses) {
            return Err(NotInstalled::Full);
        }
        let expires = now.saturating_add(nanoseconds(lifetime));
        addresses.iter().try_for_each(|(address, grants)| {
            state.add(*address, Part { grants: grants.clone(), expires }, now)
        })
    }

    /// Takes out what ends.
    pub(super) fn sweep(&self) {
        self.lock().sweep(since_boot());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and what is half done ends by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether addresses have room, those among them that are open already in their own place.
    fn has_room(&self, addresses: &[(IpAddr, Vec<Grant>)]) -> bool {
        let is_new = |address: IpAddr| !self.entries.contains_key(&key(self.scope, address));
        let new = addresses.iter().filter(|(address, _)| is_new(*address)).count();
        self.entries.len() + new <= CAPACITY
    }

    fn add(&mut self, address: IpAddr, part: Part, now: u64) -> Result<(), NotInstalled> {
        let key = key(self.scope, address);
        // What ends about now would end the new entry too, at once.
        let before = self.entries.get(&key).into_iter().flatten();
        let mut parts: Vec<Part> = before.filter(|part| part.lasts(now)).cloned().collect();
        join(&mut parts, part);
        let value = union(&parts).ok_or(NotInstalled::Full)?;
        self.kernel.insert(key, bytes(&value), 0).map_err(|_| NotInstalled::Failed)?;
        self.entries.insert(key, parts);
        Ok(())
    }

    fn sweep(&mut self, now: u64) {
        let kernel = &mut self.kernel;
        self.entries.retain(|key, parts| {
            let before = parts.len();
            parts.retain(|part| part.lasts(now));
            if parts.len() == before {
                return true;
            }
            if let Some(value) = union(parts)
                && kernel.insert(key, bytes(&value), 0).is_ok()
            {
                return true;
            }
            // What cannot be removed ends by itself.
            let _ = kernel.remove(key);
            false
        });
    }
}

impl Part {
    /// Whether it does not end about now.
    const fn lasts(&self, now: u64) -> bool {
        self.expires > now.saturating_add(nanoseconds(AHEAD))
    }
}

/// Adds a part to those of other names; what opens the same lasts as long as its longest.
fn join(parts: &mut Vec<Part>, part: Part) {
    match parts.iter_mut().find(|one| one.grants == part.grants) {
        Some(one) => one.expires = one.expires.max(part.expires),
        None => parts.push(part),
    }
}

/// The kernel's entry for all parts; `None` when there are none, or when they do not fit.
fn union(parts: &[Part]) -> Option<Value> {
    let expires = parts.iter().map(|part| part.expires).min()?;
    let grants = parts.iter().flat_map(|part| &part.grants);
    let mut grants: Vec<Grant> = grants.cloned().collect();
    // The first range that fits answers: what one name opens without conditions is open.
    grants.sort_by_key(|grant| (grant.verdict, grant.checks_name));
    entry(&grants, expires)
}

fn key(scope: u32, address: IpAddr) -> [u8; size_of::<Key>()] {
    let mut bytes = [0; size_of::<Key>()];
    bytes.copy_from_slice(Key::new(scope, Address::from(address)).as_bytes());
    bytes
}

fn bytes(value: &Value) -> [u8; size_of::<Value>()] {
    let mut bytes = [0; size_of::<Value>()];
    bytes.copy_from_slice(value.as_bytes());
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "cut to what fits before")]
const fn nanoseconds(time: Duration) -> u64 {
    let nanoseconds = time.as_nanos();
    if nanoseconds > u64::MAX as u128 { u64::MAX } else { nanoseconds as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_common::{Verdict, egress::Protocol, installed::find};

    fn grant(port: u16, verdict: Verdict, checks_name: bool) -> Grant {
        let protocol = Protocol::Tcp;
        Grant { ports: port..=port, protocol, verdict, rule: port.into(), checks_name }
    }

    #[test]
    fn an_entry_of_several_names_ends_with_the_first_and_opens_what_any_opens() {
        let parts = [
            Part { grants: vec![grant(443, Verdict::Observe, false)], expires: 30 },
            Part { grants: vec![grant(443, Verdict::Allow, true)], expires: 20 },
            Part {
                grants: vec![grant(443, Verdict::Allow, false), grant(80, Verdict::Allow, false)],
                expires: 40,
            },
        ];
        let value = union(&parts).unwrap();
        assert_eq!(value.expires, 20);
        let at = |port| find(&value, 0, Protocol::Tcp, port);
        assert_eq!(
            at(443).map(|one| (one.decision.verdict, one.checks_name)),
            Some((Verdict::Allow, false))
        );
        assert!(at(80).is_some() && at(81).is_none());
        let value = union(&parts[..2]).unwrap();
        let at = find(&value, 0, Protocol::Tcp, 443).unwrap();
        assert!(at.decision.verdict == Verdict::Allow && at.checks_name);
    }

    #[test]
    fn names_that_open_the_same_are_one_part_and_the_longest_time_counts() {
        let part =
            |port, expires| Part { grants: vec![grant(port, Verdict::Allow, true)], expires };
        let mut parts = Vec::new();
        for one in [part(443, 20), part(443, 30), part(443, 10), part(80, 40)] {
            join(&mut parts, one);
        }
        let parts: Vec<(u16, u64)> =
            parts.iter().map(|part| (*part.grants[0].ports.start(), part.expires)).collect();
        assert_eq!(parts, [(443, 30), (80, 40)]);
    }

    #[test]
    fn a_part_lasts_no_longer_than_its_entry_can_be_written_in_time() {
        let part = |expires| Part { grants: Vec::new(), expires };
        let ahead = nanoseconds(AHEAD);
        assert!(part(5 + ahead + 1).lasts(5));
        assert!(!part(5 + ahead).lasts(5));
        assert!(!part(u64::MAX).lasts(u64::MAX));
    }

    #[test]
    fn what_does_not_fit_into_an_entry_is_no_entry() {
        let part = |ports: std::ops::Range<u16>| Part {
            grants: ports.map(|port| grant(port, Verdict::Allow, false)).collect(),
            expires: 1,
        };
        assert!(union(&[part(0..16)]).is_some());
        assert!(union(&[part(0..16), part(20..21)]).is_none());
        assert!(union(&[]).is_none());
    }
}
