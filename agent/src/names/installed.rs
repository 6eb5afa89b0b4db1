//! The table of addresses that names stand for, here and in the kernel.
//!
//! Several names may stand for one address, each with ports and a time of its own, while the
//! kernel has one entry with one time. The entry ends when the first part of it does, unless it
//! was written anew before: so it never opens what no name stands for any more, and what is left
//! goes on, as long as this process runs.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ringfence_agent::resolver::NotInstalled;
use ringfence_common::{
    Address,
    installed::{Key, MAX_SCOPE_ENTRIES, Value},
};
use ringfence_policy::grants::{Grant, entry};
use zerocopy::IntoBytes as _;

use super::{Addresses, Rules};
use crate::clock::since_boot;

/// How long before a part ends its entry is written without it.
const AHEAD: Duration = Duration::from_secs(2);
/// Addresses that may be open at a time.
const CAPACITY: usize = MAX_SCOPE_ENTRIES as usize;

/// Names that are remembered of those that open the same at an address, so that another policy can
/// be asked about them. Of more the last are, and who asked for another asks again after a reload.
const NAMES: usize = 16;
/// Entries that are written in one go: whoever looks a name up waits no longer than that takes.
const HELPING: usize = 32;

/// The table of one scope.
pub(super) struct Installed {
    state: Mutex<State>,
}

struct State {
    /// The scope's number.
    scope: u32,
    kernel: Addresses,
    entries: HashMap<IpAddr, Entry>,
    /// The rules in force.
    rules: Arc<Rules>,
    /// Those that are about to be: entries are written for both.
    next: Option<Arc<Rules>>,
}

/// What names open at an address.
struct Entry {
    parts: Vec<Part>,
    /// The generation of the rules by which the parts are.
    generation: u32,
}

/// What some names open at an address.
#[derive(Clone)]
struct Part {
    grants: Vec<Grant>,
    /// Nanoseconds on the clock of [`Value::expires`].
    expires: u64,
    /// The names, and when each ends.
    names: Vec<(Arc<str>, u64)>,
}

impl Installed {
    pub(super) fn new(scope: u32, kernel: Addresses, rules: Arc<Rules>) -> Self {
        let state = State { scope, kernel, entries: HashMap::new(), rules, next: None };
        Self { state: Mutex::new(state) }
    }

    /// Opens addresses for a time, by the rules that are in force now. All are in the kernel's
    /// table when this returns.
    pub(super) fn add(
        &self,
        name: &str,
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
        let name: Arc<str> = name.into();
        addresses.iter().try_for_each(|(address, grants)| {
            // The policy may have been replaced since they were asked for.
            let grants = match state.rules.generation {
                0 => grants.clone(),
                _ => state.rules.grants(&name, *address),
            };
            let names = vec![(Arc::clone(&name), expires)];
            state.add(*address, Part { grants, expires, names }, now)
        })
    }

    /// How many addresses are open.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Takes out what ends.
    pub(super) fn sweep(&self) {
        self.lock().sweep(since_boot());
    }

    /// Writes entries for rules that are about to be in force, beside those that are.
    pub(super) fn prepare(&self, rules: &Arc<Rules>) {
        let addresses: Vec<IpAddr> = {
            let mut state = self.lock();
            state.next = Some(Arc::clone(rules));
            state.entries.keys().copied().collect()
        };
        for some in addresses.chunks(HELPING) {
            let mut state = self.lock();
            for address in some {
                state.write_next(*address);
            }
        }
    }

    /// The prepared rules are in force now: the entries for those before go.
    pub(super) fn commit(&self) {
        let (before, addresses) = {
            let mut state = self.lock();
            let Some(next) = state.next.take() else { return };
            let before = std::mem::replace(&mut state.rules, next).generation;
            (before, state.entries.keys().copied().collect::<Vec<_>>())
        };
        self.remove(before, &addresses);
    }

    /// The prepared rules will not be in force.
    pub(super) fn abandon(&self) {
        let (next, addresses) = {
            let mut state = self.lock();
            let Some(next) = state.next.take() else { return };
            (next.generation, state.entries.keys().copied().collect::<Vec<_>>())
        };
        self.remove(next, &addresses);
    }

    fn remove(&self, generation: u32, addresses: &[IpAddr]) {
        for some in addresses.chunks(HELPING) {
            let mut state = self.lock();
            for address in some {
                let key = key(state.scope, generation, *address);
                // One that is not there is as good.
                let _ = state.kernel.remove(&key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and what is half done ends by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether addresses have room, those among them that are open already in their own place.
    fn has_room(&self, addresses: &[(IpAddr, Vec<Grant>)]) -> bool {
        let is_new = |address: IpAddr| !self.entries.contains_key(&address);
        let new = addresses.iter().filter(|(address, _)| is_new(*address)).count();
        self.entries.len() + new <= CAPACITY
    }

    fn add(&mut self, address: IpAddr, part: Part, now: u64) -> Result<(), NotInstalled> {
        // What ends about now would end the new entry too, at once.
        let mut parts = self.entries.get(&address).map_or_else(Vec::new, |entry| {
            entry.parts_by(&self.rules, address).filter(|part| part.lasts(now)).collect()
        });
        join(&mut parts, part);
        let value = union(&parts).ok_or(NotInstalled::Full)?;
        let key = key(self.scope, self.rules.generation, address);
        self.kernel.insert(key, bytes(&value), 0).map_err(|_| NotInstalled::Failed)?;
        self.entries.insert(address, Entry { parts, generation: self.rules.generation });
        self.write_next(address);
        Ok(())
    }

    /// Writes an entry as the rules have it that are about to be in force.
    fn write_next(&mut self, address: IpAddr) {
        let (Some(next), Some(entry)) = (&self.next, self.entries.get(&address)) else { return };
        let parts: Vec<Part> = entry.parts_by(next, address).collect();
        if let Some(value) = union(&parts) {
            // Without it the address is closed, until it is asked for again.
            let key = key(self.scope, next.generation, address);
            let _ = self.kernel.insert(key, bytes(&value), 0);
        }
    }

    fn sweep(&mut self, now: u64) {
        let (kernel, rules, next, scope) = (&mut self.kernel, &self.rules, &self.next, self.scope);
        self.entries.retain(|address, entry| {
            let before = entry.parts.len();
            let is_current = entry.generation == rules.generation;
            if is_current && entry.parts.iter().all(|part| part.lasts(now)) {
                return true;
            }
            entry.parts = entry.parts_by(rules, *address).filter(|part| part.lasts(now)).collect();
            entry.generation = rules.generation;
            if is_current && entry.parts.len() == before {
                return true;
            }
            let key_now = key(scope, rules.generation, *address);
            if let Some(value) = union(&entry.parts)
                && kernel.insert(key_now, bytes(&value), 0).is_ok()
            {
                return true;
            }
            // What cannot be removed ends by itself.
            let _ = kernel.remove(&key_now);
            if let Some(next) = next {
                let _ = kernel.remove(&key(scope, next.generation, *address));
            }
            false
        });
    }
}

impl Entry {
    /// The parts as some rules have them: names that these open nothing for are left out.
    fn parts_by(&self, rules: &Rules, address: IpAddr) -> impl Iterator<Item = Part> {
        if self.generation == rules.generation {
            return self.parts.clone().into_iter();
        }
        let mut parts = Vec::new();
        for (name, expires) in self.parts.iter().flat_map(|part| &part.names) {
            let grants = rules.grants(name, address);
            if !grants.is_empty() {
                let names = vec![(Arc::clone(name), *expires)];
                join(&mut parts, Part { grants, expires: *expires, names });
            }
        }
        parts.into_iter()
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
    let Some(one) = parts.iter_mut().find(|one| one.grants == part.grants) else {
        parts.push(part);
        return;
    };
    one.expires = one.expires.max(part.expires);
    for (name, expires) in part.names {
        one.names.retain(|(other, _)| *other != name);
        if one.names.len() == NAMES {
            one.names.remove(0);
        }
        one.names.push((name, expires));
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

fn key(scope: u32, generation: u32, address: IpAddr) -> [u8; size_of::<Key>()] {
    let mut bytes = [0; size_of::<Key>()];
    bytes.copy_from_slice(Key::new(scope, generation, Address::from(address)).as_bytes());
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
            Part { grants: vec![grant(443, Verdict::Observe, false)], expires: 30, names: vec![] },
            Part { grants: vec![grant(443, Verdict::Allow, true)], expires: 20, names: vec![] },
            Part {
                grants: vec![grant(443, Verdict::Allow, false), grant(80, Verdict::Allow, false)],
                expires: 40,
                names: vec![],
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
        let part = |port, expires| Part {
            grants: vec![grant(port, Verdict::Allow, true)],
            expires,
            names: vec![],
        };
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
        let part = |expires| Part { grants: Vec::new(), expires, names: vec![] };
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
            names: vec![],
        };
        assert!(union(&[part(0..16)]).is_some());
        assert!(union(&[part(0..16), part(20..21)]).is_none());
        assert!(union(&[]).is_none());
    }
}
