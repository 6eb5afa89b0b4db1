//! A scope in force: its place in a set of kernel programs.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, RingBuf};
use ringfence_common::{
    budget::{Kind, kinds},
    content::{Key, Pin},
    egress,
    image::{Image as _, header},
    installed,
    scope::{About, Here, LEVEL, MAX_SCOPES, Member, NAME_BYTES, Scope, Told, kind, on},
    serving,
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::{
    budgets::{self, WallClock},
    cgroup::Cgroup,
    clock::since_boot,
    names::{Addresses, Askers, Ports},
};

use super::{
    maps::Maps,
    members::Members,
    places,
    sequence::Sequence,
    set::{Part, Set},
    sys,
};

/// The budgets that need parts of their own, which go with the last scope that has one.
const COUNTING: [(Kind, Part); 2] =
    [(Kind::Processes, Part::Processes), (Kind::OutputBytes, Part::Output)];

/// What a scope is governed by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded<'a> {
    /// The policy image.
    pub(crate) image: &'a [u8],
    /// The files that have the content which the policy names.
    pub(crate) contents: &'a [(Key, Pin)],
    /// Where its resolver is for processes in the agent's own network namespace.
    pub(crate) resolver: Ports,
    /// What people may want to know of it.
    pub(crate) about: About,
}

/// What a policy has for the hooks of a control group.
fn on(image: &[u8]) -> u32 {
    // Its automaton has a state beside the dead one.
    let has_names = image.word(header::NAME_STATE_COUNT).is_none_or(|states| states > 1);
    let part = |is_on: bool, bit: u32| if is_on { bit } else { 0 };
    on::SET
        | part(egress::governs(image), on::EGRESS)
        | part(serving::governs(image), on::SERVING)
        | part(has_names, on::NAMES)
        | part(budgets::has(image, Kind::Connections), on::CONNECTIONS)
        | part(budgets::has(image, Kind::SentBytes), on::SENT)
}

/// The kinds that are counted for a scope, as a set of [`Kind::bit`]s. What cannot be read counts as
/// needed.
fn counted(maps: &Maps, number: u32) -> u32 {
    budgets::get(maps, number).map_or(u32::MAX, |(limits, used)| {
        // Of a budget that is gone, until every task that it counted has been seen to.
        let places = used.amounts.get(Kind::Processes as usize).is_some_and(|used| *used != 0);
        limits.on | if places { Kind::Processes.bit() } else { 0 }
    })
}

/// The parts of the programs that count for these kinds.
pub(super) fn counting(kinds: u32) -> impl Iterator<Item = Part> {
    COUNTING.iter().filter(move |(kind, _)| kinds & kind.bit() != 0).map(|(_, part)| *part)
}

impl Loaded<'_> {
    /// Whether the control group's hooks have anything to judge. They are half of what the kernel
    /// verifies.
    pub(crate) fn has_network(&self) -> bool {
        let counts = [Kind::Connections, Kind::SentBytes];
        egress::governs(self.image)
            || serving::governs(self.image)
            || counts.iter().any(|kind| budgets::has(self.image, *kind))
    }

    /// The parts of the programs that it needs.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let network = self.has_network().then_some(Part::Network);
        let counting = counting(kinds(self.image));
        [Part::Machine].into_iter().chain(network).chain(counting).collect()
    }

    /// What it has for the hooks of a control group.
    fn on(&self) -> u32 {
        on(self.image) | if self.resolver.v4 == 0 { 0 } else { on::RESOLVER }
    }
}

/// A control group whose processes are governed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    /// Its identifier.
    pub(crate) id: u64,
    /// Its depth below the root of the hierarchy.
    pub(crate) level: u32,
    /// Its folder.
    pub(crate) folder: BorrowedFd<'a>,
}

/// What is read and written while a scope is in force.
pub(crate) struct Channels {
    /// Decisions to tell of.
    pub(crate) events: RingBuf<MapData>,
    /// Their numbers.
    pub(crate) sequence: Sequence,
    /// What the scope's resolver needs.
    pub(crate) names: NameMaps,
}

/// The maps that a scope's resolver reads and writes.
pub(crate) struct NameMaps {
    /// The scope's number.
    pub(crate) scope: u32,
    /// The addresses that names stand for.
    pub(crate) addresses: Addresses,
    /// Who asks.
    pub(crate) askers: Askers,
}

/// The place of a scope.
pub(crate) struct Programs {
    pub(super) set: Set,
    pub(super) maps: Maps,
    pub(super) number: u32,
    pub(super) cgroup: u64,
    pub(super) wall_clock: Option<WallClock>,
}

impl Programs {
    /// Gives a scope a place in a set that is loaded. From the return on, the policy is in force.
    ///
    /// # Errors
    ///
    /// When there is none, or the kernel refuses; then nothing is left of it.
    pub(crate) fn attach(
        set: Set,
        name: &str,
        cgroup: &Cgroup,
        policy: Loaded<'_>,
    ) -> Result<(Self, Channels)> {
        Self::take(set, name, cgroup.id, policy, |this| {
            let channels = this.channels()?;
            this.maps.parent.set(0, cgroup.parent, 0).context("the map of the parent")?;
            this.begin(policy)?;
            let folder = cgroup.open()?;
            this.admit(Group { id: cgroup.id, level: LEVEL, folder: folder.as_fd() }, policy)?;
            Ok(channels)
        })
    }

    /// Gives a scope of the long-running agent a place, as [`Self::attach`] does. No control group
    /// is in it yet. Its events are numbered from the one after `last` on: those before had a
    /// place in another set.
    ///
    /// # Errors
    ///
    /// As for [`Self::attach`].
    pub(crate) fn settle(
        set: Set,
        name: &str,
        policy: Loaded<'_>,
        last: u64,
    ) -> Result<(Self, Channels)> {
        set.load(&policy.parts())?;
        Self::take(set, name, 0, policy, |this| {
            let channels = this.channels()?;
            let key = this.number.to_ne_bytes();
            sys::set(this.maps.sequences.fd(), &key, &last.to_ne_bytes())?;
            sys::set(this.maps.told.fd(), &key, Told { last, lost: 0 }.as_bytes())?;
            this.begin(policy)?;
            Ok(channels)
        })
    }

    fn take<T>(
        set: Set,
        name: &str,
        cgroup: u64,
        policy: Loaded<'_>,
        begin: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        let maps = set.open()?;
        let taken = maps.scopes()?;
        ensure!(
            taken.iter().all(|(_, scope)| scope.name() != name),
            "a scope named `{name}` is in force"
        );
        let is_free = |number: &u32| taken.iter().all(|(other, _)| other != number);
        let number = (1..MAX_SCOPES).find(is_free).context("there is no room for another scope")?;
        let mut this = Self { set, maps, number, cgroup, wall_clock: None };
        // What an entry opens must not outlive the scope that it was made for.
        let placed = this.clear().and_then(|()| {
            this.fill(name, policy)?;
            begin(&mut this)
        });
        match placed {
            Ok(channels) => Ok((this, channels)),
            Err(error) => {
                let _ = this.release();
                Err(error)
            }
        }
    }

    fn fill(&mut self, name: &str, policy: Loaded<'_>) -> Result<()> {
        let number = self.number;
        let mut scope = Scope {
            cgroup: self.cgroup,
            resolver: policy.resolver.resolver(),
            closing: 0,
            name_length: u32::try_from(name.len())?,
            kind: if self.cgroup == 0 { kind::SERVICE } else { kind::RUN },
            generation: 0,
            name: [0; NAME_BYTES],
            about: policy.about,
        };
        scope
            .name
            .get_mut(..name.len())
            .context("the name is too long")?
            .copy_from_slice(name.as_bytes());
        self.maps.set_scope(number, &scope)?;
        self.lead_to(policy.resolver)?;

        self.set.put_image(&self.maps, number, policy.image, 0)?;
        self.set.make_ring(&self.maps, number)?;
        self.pin_contents(policy.contents, 0)
    }

    pub(super) fn pin_contents(&mut self, contents: &[(Key, Pin)], generation: u32) -> Result<()> {
        for (key, pin) in contents {
            let key = Key { scope: self.number, generation, ..*key };
            let key: [u8; size_of::<Key>()] = zerocopy::transmute!(key);
            let pin: [u8; size_of::<Pin>()] = zerocopy::transmute!(*pin);
            self.maps.contents.insert(key, pin, 0).context("the map of contents")?;
        }
        Ok(())
    }

    /// Notes when the scope came into force: now.
    fn begin(&mut self, policy: Loaded<'_>) -> Result<()> {
        let mut scope = self.maps.scope(self.number)?;
        let since = since_boot();
        scope.about.since = since;
        self.wall_clock = budgets::wall_clock(policy.image, since);
        budgets::set(&self.maps, self.number, policy.image, since).context("the map of budgets")?;
        self.maps.set_scope(self.number, &scope)
    }

    /// What is read and written while the scope is in force.
    ///
    /// # Errors
    ///
    /// When its maps cannot be opened.
    pub(crate) fn channels(&self) -> Result<Channels> {
        Ok(Channels {
            events: self.set.ring(&self.maps, self.number)?,
            sequence: Sequence::open(self.maps.sequences.fd(), self.number)?,
            names: NameMaps {
                scope: self.number,
                addresses: Map::HashMap(self.set.pinned("INSTALLED")?).try_into()?,
                askers: Map::LruHashMap(self.set.pinned("ASKERS")?).try_into()?,
            },
        })
    }

    /// Brings a control group under the scope. From the return on, the policy is in force for what
    /// is in it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: then no process in it may use the network.
    pub(crate) fn admit(&self, group: Group<'_>, policy: Loaded<'_>) -> Result<()> {
        let Group { id, level, folder } = group;
        if policy.has_network() {
            self.set.attach_network(self.number, id, folder)?;
            self.instruct(id, level, policy, None)?;
        }
        let member = Member { scope: self.number, level, is_attached: 1, spare: 0 };
        sys::set(self.maps.by_cgroup.fd(), &id.to_ne_bytes(), member.as_bytes())
            .context("the map of cgroups")
    }

    /// Tells the hooks of a control group what the policy has for them, and the one before if that
    /// may still be in force.
    pub(super) fn instruct(
        &self,
        id: u64,
        level: u32,
        policy: Loaded<'_>,
        before: Option<&[u8]>,
    ) -> Result<()> {
        let here = Here {
            cgroup: id,
            scope: self.number,
            level,
            spare: 0,
            on: policy.on() | before.map_or(0, on),
        };
        sys::set(self.maps.here.fd(), &id.to_ne_bytes(), here.as_bytes())
            .context("telling the control group's hooks")
    }

    /// The places that a scope has in the sets in that folder: one, or none.
    ///
    /// # Errors
    ///
    /// When a set cannot be read: it may hold the scope.
    pub(crate) fn of(all: &Path, name: &str) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for set in Set::all(all) {
            if !set.is_begun() {
                continue;
            }
            let maps = set.open()?;
            let place = maps.scopes()?.into_iter().find(|(_, scope)| scope.name() == name);
            if let Some((number, scope)) = place {
                let (cgroup, wall_clock) = (scope.cgroup, None);
                found.push(Self { set, maps, number, cgroup, wall_clock });
            }
        }
        Ok(found)
    }

    /// The processes that are governed.
    pub(crate) const fn members(&self) -> Members<'_> {
        Members { maps: &self.maps, number: self.number }
    }

    /// Its budget of time.
    pub(crate) const fn wall_clock(&self) -> Option<WallClock> {
        self.wall_clock
    }

    /// How many events the kernel had no room for so far.
    pub(crate) fn lost(&self) -> u64 {
        self.maps.lost.get(&self.number, 0).unwrap_or(0)
    }

    /// Takes the scope, in which nothing runs any more, out of force, and with the last scope the
    /// set out of the kernel.
    ///
    /// # Errors
    ///
    /// When a map or a pin cannot be changed: the next start tries again.
    pub(crate) fn release(mut self) -> Result<()> {
        self.clear()?;
        let Self { set, maps, .. } = self;
        let is_last = maps.scopes()?.is_empty();
        drop(maps);
        if is_last { set.remove() } else { Self::unload_idle(&set) }
    }

    /// Takes out of the kernel what counts for budgets that no scope of a set has any more.
    ///
    /// # Errors
    ///
    /// When the set cannot be read, or a pin cannot be removed.
    pub(crate) fn unload_idle(set: &Set) -> Result<()> {
        let maps = set.open()?;
        let numbers = maps.scopes()?.into_iter().map(|(number, _)| number);
        let counted = numbers.fold(0, |all, number| all | counted(&maps, number));
        let idle = COUNTING.iter().filter(|(kind, _)| counted & kind.bit() == 0);
        idle.map(|(_, part)| *part)
            .try_for_each(|part| set.unload(part))
            .context("removing what counts for budgets")
    }

    /// Takes the scope out of force as [`Self::release`] does, and leaves the set in the kernel.
    ///
    /// # Errors
    ///
    /// As for [`Self::release`].
    pub(crate) fn vacate(&mut self) -> Result<()> {
        self.clear()
    }

    /// Removes all that is known of the scope, last that there is one.
    fn clear(&mut self) -> Result<()> {
        let (maps, number) = (&mut self.maps, self.number);
        let key = number.to_ne_bytes();
        for (id, member) in maps.members()? {
            if member.scope == number {
                sys::remove(maps.by_cgroup.fd(), &id.to_ne_bytes())?;
            }
        }
        self.set.detach_network(number).context("detaching the control group's hooks")?;
        let opened: Vec<_> = maps.addresses.keys().filter_map(Result::ok).collect();
        for key in opened {
            let is_own = installed::Key::read_from_bytes(&key).is_ok_and(|key| key.scope == number);
            if is_own {
                maps.addresses.remove(&key)?;
            }
        }
        let pinned: Vec<_> = maps.contents.keys().filter_map(Result::ok).collect();
        for key in pinned {
            if Key::read_from_bytes(&key).is_ok_and(|key| key.scope == number) {
                maps.contents.remove(&key)?;
            }
        }
        places::forget(maps, number)?;
        budgets::forget_files(maps, number)?;
        budgets::clear(maps, number)?;
        sys::remove(maps.images.fd(), &key)?;
        sys::remove(maps.rings.fd(), &key)?;
        maps.lost.set(number, 0, 0)?;
        sys::set(maps.sequences.fd(), &key, &0_u64.to_ne_bytes())?;
        sys::set(maps.told.fd(), &key, Told::default().as_bytes())?;
        maps.set_scope(number, &Scope::new_zeroed())
    }
}
