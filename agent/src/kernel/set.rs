//! A set of kernel programs, which holds every scope that fits into it: loaded for the first of
//! them, found by its pins for each that comes later, and removed with the last.
//!
//! A folder of bpffs has the maps, the links of the machine's hooks, the programs for the hooks of
//! control groups, and a folder for each scope with their links. Whoever changes any of it holds
//! the machine's lock ([`crate::scopes`]).

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::{EbpfLoader, VerifierLogLevel, maps::MapData};
use ringfence_common::{layout::kfunc, scope::MAX_SCOPES};
use zerocopy::IntoBytes as _;

use crate::scopes;

use super::{
    attach::{self, Lack, Object},
    hooks::{HOOKS, Hook},
    object, probe,
    settings::settings,
    sys::{self, NewMap},
};

/// The compiled kernel programs. Aligned, since an ELF parser reads words from it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ringfence-ebpf"));

/// Tells this build's programs from those of others.
pub(crate) const THIS_BUILD: &str = env!("RINGFENCE_PROGRAMS");

/// Every map that programs and agents share, by its name in the object.
pub(super) const MAPS: &[&str] = &[
    "TASKS",
    "SECOND_PATHS",
    "SEARCHES",
    "SCOPES",
    "BY_CGROUP",
    "WATCH",
    "SEQUENCES",
    "TOLD",
    "STARTERS",
    "ROOT",
    "SELECTED",
    "LOST",
    "BUDGETS",
    "LIMITS",
    "TOUCHED",
    "SENT_TO",
    "PARENT",
    "HERE",
    IMAGES,
    "RINGS",
    "PROGRAMS",
    "FOLDERS",
    "INSTALLED",
    "FLOWS",
    "BEGINNINGS",
    "SERVERS",
    "ASKERS",
    "RESOLVERS",
    "OWN_LISTENERS",
    "OWN",
];
/// The map of policy images, which the loader has no way to make: its size is found here.
pub(super) const IMAGES: &str = "IMAGES";
/// Bytes that there may be for each image: most fit into the first.
const SIZES: [u32; 5] = [1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 25];
/// `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_ARRAY_OF_MAPS` (`linux/bpf.h`).
pub(super) const ARRAY: u32 = 2;
const ARRAY_OF_MAPS: u32 = 12;
/// The folder of scopes in that of a set.
const SCOPES: &str = "scopes";

/// Programs that are loaded together. A folder of the same name tells that all of them were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The hooks that are attached for the whole machine.
    Machine,
    /// The programs for the hooks of control groups.
    Network,
    /// The programs by which tasks come under the scopes of the long-running agent.
    Membership,
    /// What counts processes.
    Processes,
    /// What counts bytes written, and costs every write on the machine something.
    Output,
}

impl Part {
    /// What the long-running agent needs whatever its policies are.
    pub(crate) const OF_AGENT: [Self; 3] = [Self::Machine, Self::Network, Self::Membership];
    pub(crate) const ALL: [Self; 5] =
        [Self::Machine, Self::Network, Self::Membership, Self::Processes, Self::Output];

    /// The folder's name.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Network => "network",
            Self::Membership => "membership",
            Self::Processes => "processes",
            Self::Output => "output",
        }
    }

    fn hooks(self) -> impl Iterator<Item = &'static Hook> {
        HOOKS.iter().filter(move |hook| hook.part == self)
    }
}

/// What this kernel cannot enforce for any policy, for want of hooks.
///
/// # Errors
///
/// When the kernel does not tell which it has.
pub(crate) fn lacking() -> Result<Vec<String>> {
    let sets = Set::all(&scopes::sets());
    let is_pinned = |hook: &Hook| {
        sets.iter().any(|set| set.is_of_this_build() && set.folder.join(hook.name).exists())
    };
    let needed = Part::Machine.hooks().filter(|hook| hook.otherwise.is_none());
    let unseen: Vec<&Hook> = needed.filter(|hook| !is_pinned(hook)).collect();
    if unseen.is_empty() {
        return Ok(Vec::new());
    }
    let btf = probe::kernel_btf()?;
    let is_absent = |hook: &&&Hook| btf.function(&format!("bpf_lsm_{}", hook.name)).is_none();
    Ok(unseen.iter().filter(is_absent).map(|hook| hook.lack()).collect())
}

/// A set of programs, loaded or not.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    folder: PathBuf,
    /// Bytes that there are for each image.
    image_bytes: u32,
}

impl Set {
    /// The set of this build's programs for images of that many bytes, in the folder of all sets.
    ///
    /// # Errors
    ///
    /// When no set has room for such an image.
    pub(crate) fn of_this_build(all: &Path, image: usize) -> Result<Self> {
        let fits = |bytes: &&u32| image <= **bytes as usize;
        let image_bytes = *SIZES.iter().find(fits).context("the policy image is too large")?;
        let name = format!("{THIS_BUILD}-{}k", image_bytes >> 10);
        Ok(Self { folder: all.join(name), image_bytes })
    }

    /// A set of its own in a folder of another name, to try out what can be loaded.
    pub(crate) fn for_trial(folder: PathBuf) -> Self {
        Self { folder, image_bytes: SIZES[0] }
    }

    /// Every set in the folder of all sets, loaded by whatever build.
    pub(crate) fn all(all: &Path) -> Vec<Self> {
        let entries = fs::read_dir(all).into_iter().flatten().flatten();
        let set = |folder: PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = build_and_size(&name).and_then(|(_, bytes)| u32::try_from(bytes).ok());
            Self { image_bytes: bytes.unwrap_or(SIZES[0]), folder }
        };
        entries.map(|entry| set(entry.path())).collect()
    }

    /// Whether this build can load what is missing of it.
    pub(crate) fn is_of_this_build(&self) -> bool {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        build_and_size(&name).is_some_and(|(build, _)| build == THIS_BUILD)
    }

    /// Loads what is not loaded yet of what a scope needs.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a program or lacks a hook; the message names which, and nothing
    /// stays attached that was not before.
    pub(crate) fn load(&self, parts: &[Part]) -> Result<()> {
        let mut failure = None;
        let loaded = self.load_each(parts, |hook, result| {
            match result {
                // Who has accepted that was told of it: see `lacking`.
                Err(error) if error.is::<Lack>() && hook.is_dispensable() => {}
                Err(error) => {
                    failure.get_or_insert(error.context(hook.lack()));
                }
                Ok(_) => {}
            }
        });
        let Some(error) = loaded.err().or(failure) else { return Ok(()) };
        if self.is_unused().unwrap_or(false) {
            let _ = self.remove();
        }
        Err(error)
    }

    /// As [`Self::load`], but goes on where a hook fails and tells of each: in a few words, by what
    /// it is enforced.
    ///
    /// # Errors
    ///
    /// When nothing can be loaded at all.
    pub(crate) fn load_each(
        &self,
        parts: &[Part],
        mut tell: impl FnMut(&Hook, Result<&'static str>),
    ) -> Result<()> {
        let is_whole = |part: &Part| self.folder.join(part.mark()).exists();
        if parts.contains(&Part::Machine) && !is_whole(&Part::Machine) {
            // What was begun by one that was killed meanwhile holds nobody yet.
            self.remove()?;
        }
        // Of a part that is whole, what somebody has taken away: a hook that the kernel lacks has
        // no pin.
        let is_missing = |part: &Part, hook: &&Hook| {
            !is_whole(part) || (hook.otherwise.is_none() && !self.folder.join(hook.name).exists())
        };
        let missing: Vec<(Part, Vec<&Hook>)> = parts
            .iter()
            .map(|part| (*part, part.hooks().filter(|hook| is_missing(part, hook)).collect()))
            .filter(|(_, hooks): &(Part, Vec<&Hook>)| !hooks.is_empty())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut object = self.open_object()?;
        let kernel = aya::Btf::from_sys_fs()?;
        for (part, hooks) in missing {
            let mut is_loaded = true;
            for hook in hooks {
                let result = attach::load(&mut object, hook, &kernel, &self.folder);
                let is_lack = result.as_ref().is_err_and(anyhow::Error::is::<Lack>);
                is_loaded &= result.is_ok() || (is_lack && hook.is_dispensable());
                tell(hook, result);
            }
            let mark = self.folder.join(part.mark());
            if is_loaded && !mark.exists() {
                fs::create_dir(&mark).with_context(|| mark.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Takes a part out of the kernel that no scope needs any more.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub(crate) fn unload(&self, part: Part) -> Result<()> {
        // First, so that a part of which something is missing is loaded anew.
        let gone = |path: PathBuf, done: io::Result<()>| match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        };
        let mark = self.folder.join(part.mark());
        gone(mark.clone(), fs::remove_dir(mark))?;
        for hook in part.hooks() {
            let pin = self.folder.join(hook.name);
            gone(pin.clone(), fs::remove_file(pin))?;
        }
        Ok(())
    }

    /// The object with this kernel's numbers in it, and the maps that are pinned.
    fn open_object(&self) -> Result<Object> {
        let btf = probe::kernel_btf()?;
        probe::check_preemption(&btf)?;
        let settings = settings(&btf, self.image_bytes)?;
        let mut bytes = OBJECT.to_vec();
        if let Some(function) = btf.function("bpf_rdonly_cast") {
            object::call_kernel_function(&mut bytes, kfunc::RDONLY_CAST, function)?;
        }
        let names = Part::Machine.hooks().map(|hook| hook.name);
        let is_absent = |name: &&str| btf.function(&format!("bpf_lsm_{name}")).is_none();
        let lacks = names.filter(is_absent).collect();
        drop(btf);
        let scopes = self.folder.join(SCOPES);
        fs::create_dir_all(&scopes).with_context(|| scopes.display().to_string())?;
        self.make_images().context("making the map of policies")?;
        let mut loader = EbpfLoader::new();
        loader
            // Task storage, which the loader creates but has no type for.
            .allow_unsupported_maps()
            .verifier_log_level(verifier_log())
            .override_global("SETTINGS", settings.as_bytes(), true);
        for map in MAPS {
            loader.map_pin_path(map, self.folder.join(map));
        }
        let programs = loader.load(&bytes).context("loading the kernel programs")?;
        Ok(Object { programs, lacks })
    }

    fn make_images(&self) -> Result<()> {
        let path = self.folder.join(IMAGES);
        if path.exists() {
            return Ok(());
        }
        let example = self.new_image()?;
        let kind =
            NewMap { kind: ARRAY_OF_MAPS, key: 4, value: 4, entries: MAX_SCOPES, inner: None };
        let map = sys::create(&NewMap { inner: Some(example.as_fd()), ..kind })?;
        MapData::from_fd(map)?.pin(&path)?;
        Ok(())
    }

    /// Where it is pinned.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that there are for an image.
    pub(crate) const fn image_bytes(&self) -> u32 {
        self.image_bytes
    }

    /// Opens one map.
    pub(super) fn pinned(&self, map: &str) -> Result<MapData> {
        let path = self.folder.join(map);
        MapData::from_pin(&path).with_context(|| path.display().to_string())
    }

    /// Attaches the programs of control groups to one of a scope, and pins their links.
    pub(super) fn attach_network(&self, number: u32, id: u64, cgroup: impl AsFd) -> Result<()> {
        let links = self.links(number).join(id.to_string());
        // Begun by one that was killed meanwhile; there is no moment without those that are there.
        let is_there = |hook: &Hook| links.join(hook.name).exists();
        fs::create_dir_all(&links).with_context(|| links.display().to_string())?;
        for hook in Part::Network.hooks().filter(|hook| !is_there(hook)) {
            attach::to_cgroup(&self.folder.join(hook.name), hook, &cgroup)
                .and_then(|link| Ok(link.pin(links.join(hook.name))?))
                .with_context(|| format!("attaching {}", hook.name))?;
        }
        Ok(())
    }

    /// The folder of a scope's links, with a folder for each of its control groups.
    fn links(&self, number: u32) -> PathBuf {
        self.folder.join(SCOPES).join(number.to_string())
    }

    /// Detaches the programs of control groups from all of a scope.
    pub(super) fn detach_network(&self, number: u32) -> io::Result<()> {
        remove_folder(&self.links(number))
    }

    /// Detaches them from one control group of a scope.
    pub(super) fn detach_group(&self, number: u32, id: u64) -> io::Result<()> {
        remove_folder(&self.links(number).join(id.to_string()))
    }

    /// Whether the programs are attached to a control group of a scope.
    pub(super) fn is_attached(&self, number: u32, id: u64) -> bool {
        let links = self.links(number).join(id.to_string());
        Part::Network.hooks().all(|hook| links.join(hook.name).exists())
    }

    /// Runs the iterator over all tasks.
    pub(super) fn walk_tasks(&self) -> Result<()> {
        let pin = self.folder.join("every_task");
        fs::read(&pin).with_context(|| pin.display().to_string())?;
        Ok(())
    }

    /// Whether its maps are there.
    pub(super) fn is_begun(&self) -> bool {
        // No scope is in it before all programs of the machine's hooks are attached.
        self.folder.join(Part::Machine.mark()).exists()
    }

    /// Whether no scope is in it.
    pub(crate) fn is_unused(&self) -> Result<bool> {
        Ok(!self.is_begun() || self.open()?.scopes()?.is_empty())
    }

    /// Takes it out of the kernel, as far as nobody holds it.
    ///
    /// The pins go last: who removes the last reference to a link waits until the kernel has
    /// detached it, a tenth of a second each, but the kernel removes those of files by itself.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        remove_folder(&self.folder).with_context(|| self.folder.display().to_string())?;
        if let Some(all) = self.folder.parent() {
            // Stays while other sets are in it.
            let _ = fs::remove_dir(all);
        }
        Ok(())
    }
}

/// Takes the name of a set's folder apart: the build, and bytes for an image.
pub(super) fn build_and_size(name: &str) -> Option<(&str, u64)> {
    let (build, size) = name.split_once('-')?;
    let kibibytes: u64 = size.strip_suffix('k')?.parse().ok()?;
    build.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((build, kibibytes << 10))
}

/// Removes a folder of pins with all that is in it; one that is not there is removed already.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Why the verifier refuses a program is for whoever writes it; to tell costs seconds.
const fn verifier_log() -> VerifierLogLevel {
    if cfg!(debug_assertions) { VerifierLogLevel::DEBUG } else { VerifierLogLevel::DISABLE }
}

#[cfg(test)]
mod tests {
    use ::object::{
        Endianness, Object as _, ObjectSection as _, ObjectSymbol as _,
        read::elf::{ElfFile64, ElfSymbol64},
    };

    use super::*;

    #[test]
    fn an_image_goes_to_the_set_with_the_least_room_for_it() {
        for (image, room) in [
            (1, 1 << 18),
            (1 << 18, 1 << 18),
            ((1 << 18) + 1, 1 << 20),
            (8_400_000, 1 << 24),
            (ringfence_policy::compile::MAX_IMAGE_BYTES, 1 << 25),
        ] {
            let set = Set::of_this_build(Path::new("/x"), image).unwrap();
            assert_eq!(set.image_bytes(), room, "{image}");
        }
        assert!(Set::of_this_build(Path::new("/x"), (1 << 25) + 1).is_err());
    }

    #[test]
    fn names_in_a_set_are_such_as_bpffs_takes() {
        // `bpf_lookup` (`kernel/bpf/inode.c`) keeps names with a dot for itself.
        let set = Set::of_this_build(Path::new("/x"), 1).unwrap();
        let folder = set.folder.file_name().unwrap().to_string_lossy().into_owned();
        let hooks = HOOKS.iter().map(|hook| hook.name);
        let all = MAPS.iter().copied().chain(hooks).chain([folder.as_str(), SCOPES]);
        assert!(all.into_iter().all(|name| !name.contains('.')));
    }

    #[test]
    fn every_map_of_the_object_is_pinned() {
        // One that is not would be another map to what is loaded later.
        let object: ElfFile64<'_, Endianness> = ElfFile64::parse(OBJECT).unwrap();
        let in_maps = |symbol: &ElfSymbol64<'_, '_, Endianness>| {
            let section = symbol.section_index().and_then(|at| object.section_by_index(at).ok());
            section.is_some_and(|one| one.name().is_ok_and(|name| matches!(name, "maps" | ".maps")))
        };
        let symbols = object.symbols().filter(in_maps);
        let mut found: Vec<_> =
            symbols.map(|one| one.name().unwrap()).filter(|name| !name.is_empty()).collect();
        let mut pinned = MAPS.to_vec();
        found.sort_unstable();
        pinned.sort_unstable();
        assert_eq!(found, pinned);
    }
}
