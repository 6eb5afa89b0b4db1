//! The maps that a set of kernel programs shares with agents: what is read and written there.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use ringfence_common::{
    budget::{FileKey, Limits, Used},
    content,
    image::header,
    installed,
    scope::{MAX_MEMBERS, MAX_SCOPES, Member, Scope, kind},
};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{
    set::{ARRAY, IMAGES, Set},
    sys::{self, NewMap},
};

/// Where an image has the generation of its policy.
const GENERATION: usize = header::GENERATION as usize;
/// `BPF_MAP_TYPE_RINGBUF` (`linux/bpf.h`).
const RING: u32 = 27;
/// Bytes of a scope's ring of events.
const RING_BYTES: u32 = 1 << 20;

/// The maps of a set that is loaded.
pub(crate) struct Maps {
    pub(super) tasks: MapData,
    scopes: MapData,
    pub(super) by_cgroup: MapData,
    pub(super) watch: MapData,
    /// Not in a set of an older build.
    pub(super) own: Option<MapData>,
    pub(super) folders: Option<MapData>,
    pub(super) sequences: MapData,
    pub(super) told: MapData,
    pub(super) starters: MapData,
    pub(super) selected: MapData,
    pub(super) lost: Array<MapData, u64>,
    pub(crate) budgets: MapData,
    pub(crate) limits: MapData,
    pub(crate) touched: HashMap<MapData, [u8; size_of::<FileKey>()], u8>,
    pub(super) parent: Array<MapData, u64>,
    pub(super) here: MapData,
    pub(super) resolvers: MapData,
    pub(super) images: MapData,
    pub(super) rings: MapData,
    pub(super) contents:
        HashMap<MapData, [u8; size_of::<content::Key>()], [u8; size_of::<content::Pin>()]>,
    pub(super) addresses:
        HashMap<MapData, [u8; size_of::<installed::Key>()], [u8; size_of::<installed::Value>()]>,
}

impl Set {
    /// Opens the maps.
    ///
    /// # Errors
    ///
    /// When it is not loaded, or was loaded by a build whose maps are others.
    pub(crate) fn open(&self) -> Result<Maps> {
        let open = |name: &str| self.pinned(name);
        let maps = || -> Result<Maps> {
            let scopes = open("SCOPES")?;
            let value = scopes.info()?.value_size() as usize;
            if value != size_of::<Scope>() {
                bail!("it is of another version of ringfence, which can remove it");
            }
            let sized = |name: &str, bytes: usize| {
                let map = open(name)?;
                let value = map.info()?.value_size() as usize;
                ensure!(value == bytes, "its map {name} is of another version of ringfence");
                Ok(map)
            };
            Ok(Maps {
                tasks: open("TASKS")?,
                scopes,
                by_cgroup: open("BY_CGROUP")?,
                watch: open("WATCH")?,
                own: open("OWN").ok(),
                folders: open("FOLDERS").ok(),
                sequences: open("SEQUENCES")?,
                told: open("TOLD")?,
                starters: open("STARTERS")?,
                selected: open("SELECTED")?,
                lost: Map::Array(open("LOST")?).try_into()?,
                budgets: sized("BUDGETS", size_of::<Used>())?,
                limits: sized("LIMITS", size_of::<Limits>())?,
                touched: Map::HashMap(open("TOUCHED")?).try_into()?,
                parent: Map::Array(open("PARENT")?).try_into()?,
                here: open("HERE")?,
                resolvers: open("RESOLVERS")?,
                images: open(IMAGES)?,
                rings: open("RINGS")?,
                contents: Map::HashMap(open("PROGRAMS")?).try_into()?,
                addresses: Map::HashMap(open("INSTALLED")?).try_into()?,
            })
        };
        maps().with_context(|| format!("the programs pinned in {}", self.folder().display()))
    }

    /// A map for one image.
    pub(super) fn new_image(&self) -> io::Result<OwnedFd> {
        let kind =
            NewMap { kind: ARRAY, key: 4, value: self.image_bytes(), entries: 1, inner: None };
        sys::create(&kind)
    }

    /// Puts a policy image in force for a number. Every hook judges by the one before or by this
    /// one, and when this returns none judges by the one before any more: the kernel waits for the
    /// programs that may (`maybe_wait_bpf_programs`).
    ///
    /// # Errors
    ///
    /// When it is too large for the set, or the system call's.
    pub(super) fn put_image(
        &self,
        maps: &Maps,
        number: u32,
        image: &[u8],
        generation: u32,
    ) -> Result<()> {
        let mut image = image.to_vec();
        let room = self.image_bytes() as usize;
        ensure!(image.len() <= room, "the policy image is too large for these programs");
        let word = image.get_mut(GENERATION..GENERATION + 4).context("the image has no header")?;
        word.copy_from_slice(&generation.to_le_bytes());
        image.resize(room, 0);
        let map = self.new_image().context("making the map of the policy")?;
        sys::set(&map, &0_u32.to_ne_bytes(), &image).context("writing the policy image")?;
        refer(&maps.images, number, &map).context("the map of policies")
    }

    /// Whether a number has a ring of events.
    pub(super) fn has_ring(&self, maps: &Maps, number: u32) -> Result<bool> {
        Ok(inner(&maps.rings, number)?.is_some())
    }

    /// Makes a ring of events for a number, unless it has one.
    pub(super) fn make_ring(&self, maps: &Maps, number: u32) -> Result<()> {
        if inner(&maps.rings, number)?.is_some() {
            return Ok(());
        }
        let ring = NewMap { kind: RING, key: 0, value: 0, entries: RING_BYTES, inner: None };
        let ring = sys::create(&ring).context("making the ring of events")?;
        refer(&maps.rings, number, &ring).context("the map of rings")
    }

    /// Opens the ring of events of a number, where the reader before has left off.
    pub(super) fn ring(&self, maps: &Maps, number: u32) -> Result<RingBuf<MapData>> {
        let ring = inner(&maps.rings, number)?.context("there is no ring of events")?;
        Ok(Map::RingBuf(ring).try_into()?)
    }
}

/// The generation of an image.
pub(super) fn generation_of(image: &[u8]) -> Option<u32> {
    image.get(GENERATION..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// Whether two images say the same, of whatever generation, with zeros after either.
pub(super) fn is_same_image(one: &[u8], other: &[u8]) -> bool {
    let parts = |image: &[u8]| {
        let end = image.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let after = image.get(GENERATION + 4..end).unwrap_or_default().to_vec();
        (image.get(..GENERATION).unwrap_or_default().to_vec(), after)
    };
    parts(one) == parts(other)
}

/// Puts a map into a map of maps.
fn refer(outer: &MapData, number: u32, map: &OwnedFd) -> io::Result<()> {
    sys::set(outer.fd(), &number.to_ne_bytes(), &map.as_raw_fd().to_ne_bytes())
}

/// The map that is in a map of maps.
pub(super) fn inner(outer: &MapData, number: u32) -> Result<Option<MapData>> {
    let mut id = [0; 4];
    let is_there = sys::get(outer.fd(), &number.to_ne_bytes(), &mut id)?;
    Ok(is_there.then(|| MapData::from_id(u32::from_ne_bytes(id))).transpose()?)
}

impl Maps {
    /// The image that is in force for a number, if one is, with room after it.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(super) fn image(&self, number: u32) -> Result<Option<Vec<u8>>> {
        let Some(image) = inner(&self.images, number)? else { return Ok(None) };
        // Asked for, since other sets have other room.
        let mut bytes = vec![0; image.info()?.value_size() as usize];
        sys::get(image.fd(), &0_u32.to_ne_bytes(), &mut bytes)?;
        Ok(Some(bytes))
    }

    /// The generation of the image that is in force for a number, if one is.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(super) fn generation(&self, number: u32) -> Result<Option<u32>> {
        let Some(image) = self.image(number)? else { return Ok(None) };
        generation_of(&image).map(Some).context("the image has no header")
    }

    /// The control groups whose processes are governed, by identifier.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn members(&self) -> Result<Vec<(u64, Member)>> {
        let mut found = Vec::new();
        let mut last = None;
        let mut key = [0; 8];
        // Whoever asks for the next key after one that was just removed begins anew.
        for _ in 0..2 * MAX_MEMBERS {
            if !sys::next_key(
                self.by_cgroup.fd(),
                last.as_ref().map(|key: &[u8; 8]| &key[..]),
                &mut key,
            )
            .context("the map of cgroups")?
            {
                break;
            }
            let mut member = Member::new_zeroed();
            if sys::get(self.by_cgroup.fd(), &key, member.as_mut_bytes())? {
                found.push((u64::from_ne_bytes(key), member));
            }
            last = Some(key);
        }
        found.sort_by_key(|(id, _)| *id);
        found.dedup_by_key(|(id, _)| *id);
        Ok(found)
    }

    /// The scopes that are in it, by number.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn scopes(&self) -> Result<Vec<(u32, Scope)>> {
        let mut found = Vec::new();
        for number in 1..MAX_SCOPES {
            let scope = self.scope(number)?;
            if scope.kind != kind::FREE {
                found.push((number, scope));
            }
        }
        Ok(found)
    }

    /// How many events of a scope there were.
    pub(super) fn events(&self, number: u32) -> Result<u64> {
        let mut count = 0_u64;
        sys::get(self.sequences.fd(), &number.to_ne_bytes(), count.as_mut_bytes())
            .context("the map of events' numbers")?;
        Ok(count)
    }

    pub(super) fn scope(&self, number: u32) -> Result<Scope> {
        let mut scope = Scope::new_zeroed();
        sys::get(self.scopes.fd(), &number.to_ne_bytes(), scope.as_mut_bytes())
            .context("reading the map of scopes")?;
        Ok(scope)
    }

    /// Writes what is known of a scope.
    pub(super) fn set_scope(&self, number: u32, scope: &Scope) -> Result<()> {
        sys::set(self.scopes.fd(), &number.to_ne_bytes(), scope.as_bytes())
            .context("writing the map of scopes")
    }

    /// Has no task of a scope fork any more.
    pub(super) fn close(&self, number: u32) -> Result<()> {
        self.set_scope(number, &Scope { closing: 1, ..self.scope(number)? })
    }
}
