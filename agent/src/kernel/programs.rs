//! A scope in force: its place in a set of kernel programs.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, RingBuf};
use ringfence_common::{
    content::{Key, Pin},
    egress,
    image::{Image as _, header},
    installed,
    scope::{About, Here, MAX_SCOPES, NAME_BYTES, Resolver, Scope, on},
    serving,
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::{
    cgroup::Cgroup,
    clock::since_boot,
    names::{Addresses, Askers},
};

use super::{
    members::Members,
    set::{Maps, Set},
    sys::{self, NewMap},
};

/// `BPF_MAP_TYPE_RINGBUF` (`linux/bpf.h`).
const RING: u32 = 27;
/// Bytes of a scope's ring of events.
const RING_BYTES: u32 = 1 << 20;

/// What a scope is governed by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded<'a> {
    /// The policy image.
    pub(crate) image: &'a [u8],
    /// The files that have the content which the policy names.
    pub(crate) contents: &'a [(Key, Pin)],
    /// The resolver's ports at 127.0.0.1 and ::1; 0 for none.
    pub(crate) resolver: [u16; 2],
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
}

impl Loaded<'_> {
    /// Whether the control group's hooks have anything to judge. They are half of what the kernel
    /// verifies.
    pub(crate) fn has_network(&self) -> bool {
        egress::governs(self.image) || serving::governs(self.image)
    }
}

/// What is read and written while a scope is in force.
pub(crate) struct Channels {
    /// Decisions to tell of.
    pub(crate) events: RingBuf<MapData>,
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
    set: Set,
    maps: Maps,
    number: u32,
    cgroup: u64,
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
        let maps = set.open()?;
        let taken = maps.scopes()?;
        let is_free = |number: &u32| taken.iter().all(|(other, _)| other != number);
        let number = (1..MAX_SCOPES).find(is_free).context("there is no room for another scope")?;
        let mut this = Self { set, maps, number, cgroup: cgroup.id };
        // What an entry opens must not outlive the scope that it was made for.
        let placed = this.clear().and_then(|()| this.place(name, cgroup, policy));
        match placed {
            Ok(channels) => Ok((this, channels)),
            Err(error) => {
                let _ = this.release();
                Err(error)
            }
        }
    }

    fn place(&mut self, name: &str, cgroup: &Cgroup, policy: Loaded<'_>) -> Result<Channels> {
        let number = self.number;
        let key = number.to_ne_bytes();
        let resolver = Resolver { v4: policy.resolver[0].into(), v6: policy.resolver[1].into() };
        let mut scope = Scope {
            cgroup: cgroup.id,
            resolver,
            closing: 0,
            name_length: u32::try_from(name.len())?,
            name: [0; NAME_BYTES],
            about: policy.about,
        };
        scope
            .name
            .get_mut(..name.len())
            .context("the name is too long")?
            .copy_from_slice(name.as_bytes());
        self.maps.set_scope(number, &scope)?;

        let mut image = policy.image.to_vec();
        let room = self.set.image_bytes() as usize;
        ensure!(image.len() <= room, "the policy image is too large for these programs");
        image.resize(room, 0);
        let map = self.set.new_image().context("making the map of the policy")?;
        sys::set(&map, &0_u32.to_ne_bytes(), &image).context("writing the policy image")?;
        let refer = |maps: &MapData, map: &OwnedFd| {
            sys::set(maps.fd(), &key, &map.as_raw_fd().to_ne_bytes())
        };
        refer(&self.maps.images, &map).context("the map of policies")?;

        let ring = NewMap { kind: RING, key: 0, value: 0, entries: RING_BYTES, inner: None };
        let ring = sys::create(&ring).context("making the ring of events")?;
        refer(&self.maps.rings, &ring).context("the map of rings")?;
        for (key, pin) in policy.contents {
            let key: [u8; size_of::<Key>()] = zerocopy::transmute!(Key { scope: number, ..*key });
            let pin: [u8; size_of::<Pin>()] = zerocopy::transmute!(*pin);
            self.maps.contents.insert(key, pin, 0).context("the map of contents")?;
        }
        if policy.has_network() {
            self.set.attach_network(number, cgroup.open()?)?;
            let here = Here { cgroup: cgroup.id, resolver, scope: number, on: on(policy.image) };
            sys::set(self.maps.here.fd(), &cgroup.id.to_ne_bytes(), here.as_bytes())
                .context("telling the control group's hooks")?;
        }
        let channels = Channels {
            events: Map::RingBuf(MapData::from_fd(ring)?).try_into()?,
            names: NameMaps {
                scope: number,
                addresses: Map::HashMap(self.set.pinned("INSTALLED")?).try_into()?,
                askers: Map::LruHashMap(self.set.pinned("ASKERS")?).try_into()?,
            },
        };
        self.maps.parent.set(0, cgroup.parent, 0).context("the map of the parent")?;
        scope.about.since = since_boot();
        self.maps.set_scope(number, &scope)?;
        // From here on it is in force.
        sys::set(self.maps.by_cgroup.fd(), &cgroup.id.to_ne_bytes(), &key)
            .context("the map of cgroups")?;
        Ok(channels)
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
                found.push(Self { set, maps, number, cgroup: scope.cgroup });
            }
        }
        Ok(found)
    }

    /// The processes that are governed.
    pub(crate) const fn members(&self) -> Members<'_> {
        Members { maps: &self.maps, number: self.number }
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
        if is_last { set.remove() } else { Ok(()) }
    }

    /// Removes all that is known of the scope, last that there is one.
    fn clear(&mut self) -> Result<()> {
        let (maps, number) = (&mut self.maps, self.number);
        let key = number.to_ne_bytes();
        sys::remove(maps.by_cgroup.fd(), &self.cgroup.to_ne_bytes())?;
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
        sys::remove(maps.images.fd(), &key)?;
        sys::remove(maps.rings.fd(), &key)?;
        maps.lost.set(number, 0, 0)?;
        maps.set_scope(number, &Scope::new_zeroed())
    }
}
