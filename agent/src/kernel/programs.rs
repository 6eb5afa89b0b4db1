//! Loads the kernel programs with a policy, attaches them, and pins them so that they outlive
//! this process.

use std::{
    collections::HashSet,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, Map, MapData, RingBuf},
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, Lsm, Program,
        links::{FdLink, PinnedLink},
    },
};
use ringfence_common::{
    Image as _,
    content::{Key, Pin},
    egress,
    image::header,
    layout::{ABSENT, Layout, Settings, kfunc},
    serving,
};
use zerocopy::IntoBytes;

use crate::names::{Addresses, Askers};

use super::{
    btf::{Btf, BtfError},
    hooks::{Attachment, HOOKS, Hook},
    members::{self, Members},
    object, probe, symbols, sys,
};

/// The compiled kernel programs. Aligned, since an ELF parser reads words from it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ringfence-ebpf"));

/// The map of files that have the content which the policy names.
const CONTENTS: &str = "PROGRAMS";

/// The cgroup that a scope governs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScopeId {
    /// Identifier of the cgroup.
    pub(crate) cgroup: u64,
    /// Its depth below the root of the hierarchy.
    pub(crate) level: u32,
}

/// What the programs decide by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded<'a> {
    /// The policy image.
    pub(crate) image: &'a [u8],
    /// The files that have the content which the policy names.
    pub(crate) contents: &'a [(Key, Pin)],
    /// The resolver's ports at 127.0.0.1 and ::1; 0 for none.
    pub(crate) resolver: [u16; 2],
}

/// What is read and written while the programs are in force.
pub(crate) struct Maps {
    /// Decisions to tell of.
    pub(crate) events: RingBuf<MapData>,
    /// The addresses that names stand for.
    pub(crate) addresses: Addresses,
    /// Who asks the resolver.
    pub(crate) askers: Askers,
}

/// The programs of a scope, in force.
pub(crate) struct Programs {
    /// Kept so that the maps stay reachable.
    object: Ebpf,
    links: Vec<PinnedLink>,
    pins: PathBuf,
    lost: Array<MapData, u64>,
}

/// What the kernel is told, from its own description of itself.
fn settings(btf: &Btf, scope: ScopeId, policy: Loaded<'_>) -> Result<Settings> {
    let layout = Layout::try_from_fn(|structure, members| offset(btf, structure, members))
        .context("the kernel's structures are not what ringfence knows")?;
    let locks = symbols::path_locks()?;
    let (next_mount, next_mount_target) = mount_list(btf)?;
    let by_cast = btf.function("bpf_rdonly_cast").and(btf.structure("timespec64"));
    Ok(Settings {
        cgroup: scope.cgroup,
        rename_lock: locks.rename,
        mount_lock: locks.mount,
        cgroup_level: scope.level,
        scope: 0,
        image_bytes: u32::try_from(policy.image.len()).context("the policy image is too large")?,
        readable_type: by_cast.unwrap_or(0),
        layout,
        next_mount,
        next_mount_target,
        // `(dentry, attr)` at first; in front of both came the mount's mapping of owners.
        setattr_dentry: u32::from(btf.parameters("bpf_lsm_inode_setattr") == Some(3)),
        backing_mode: backing_mode(btf),
        resolver_v4: policy.resolver[0].into(),
        resolver_v6: policy.resolver[1].into(),
        checks_names: u32::from(checks_names(policy.image)),
        pins: u32::try_from(policy.contents.len()).context("too many files are pinned")?,
        spare: [0; Settings::SPARE],
    })
}

/// Whether the control group's hooks have anything to judge. They are half of what the kernel
/// verifies at a start.
fn governs_network(image: &[u8]) -> bool {
    egress::governs(image) || serving::governs(image)
}

/// Whether the policy has a rule about names: its automaton has a state beside the dead one.
fn checks_names(image: &[u8]) -> bool {
    image.word(header::NAME_STATE_COUNT).is_none_or(|states| states > 1)
}

/// The offset of the first of several members, parted by `|`, that the kernel has.
fn offset(btf: &Btf, structure: &str, members: &str) -> Result<u32, BtfError> {
    let (member, others) = members.split_once('|').unwrap_or((members, ""));
    match btf.offset(structure, member) {
        Err(_) if member != members && others.is_empty() => Ok(ABSENT),
        Err(_) if !others.is_empty() => offset(btf, structure, others),
        found => found,
    }
}

/// `FMODE_BACKING`, which BTF does not have. Linux 6.14 moved it down a bit when it gave files
/// marks for fsnotify, and so did later releases of 6.12; the function that gives them is in BTF,
/// by one of the names that it has had.
fn backing_mode(btf: &Btf) -> u32 {
    const MARKING: [&str; 3] = [
        "file_set_fsnotify_mode",
        "file_set_fsnotify_mode_from_watchers",
        "fsnotify_open_perm_and_set_mode",
    ];
    let marks = MARKING.iter().any(|name| btf.function(name).is_some());
    match btf.structure("backing_file") {
        None => 0,
        Some(_) if marks => 1 << 24,
        Some(_) => 1 << 25,
    }
}

/// How the mounts of a file system are chained: the link's offset in `struct mount`, and what it
/// points to.
fn mount_list(btf: &Btf) -> Result<(u32, u32)> {
    if let Ok(next) = btf.offset("mount", "mnt_next_for_sb") {
        return Ok((next, 0));
    }
    let link = btf.offset("mount", "mnt_instance").context("the kernel's list of mounts")?;
    Ok((link, link))
}

impl Programs {
    /// Loads and attaches every program for a scope and pins the links in the folder `pins`,
    /// which must be new. From the return on, the policy is in force.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a program or lacks a hook; the message names which, and nothing
    /// stays attached.
    pub(crate) fn attach(
        scope: ScopeId,
        cgroup: impl AsFd,
        policy: Loaded<'_>,
        pins: &Path,
    ) -> Result<(Self, Maps)> {
        let mut failure = None;
        let attached = Self::try_each(scope, cgroup, policy, pins, |hook, result| {
            if let Err(error) = result {
                let what =
                    format!("this kernel cannot enforce {} (hook `{}`)", hook.purpose, hook.name);
                failure.get_or_insert(error.context(what));
            }
        })?;
        match failure {
            None => Ok(attached),
            Some(error) => {
                attached.0.remove();
                Err(error)
            }
        }
    }

    /// As [`Self::attach`], but goes on where a hook fails and tells of each: in a few words, by
    /// what it is enforced.
    ///
    /// # Errors
    ///
    /// When nothing can be loaded at all.
    pub(crate) fn try_each(
        scope: ScopeId,
        cgroup: impl AsFd,
        policy: Loaded<'_>,
        pins: &Path,
        mut tell: impl FnMut(&Hook, Result<&'static str>),
    ) -> Result<(Self, Maps)> {
        let btf = probe::kernel_btf()?;
        probe::check_preemption(&btf)?;
        let settings = settings(&btf, scope, policy)?;
        let mut bytes = OBJECT.to_vec();
        if let Some(function) = btf.function("bpf_rdonly_cast") {
            object::call_kernel_function(&mut bytes, kfunc::RDONLY_CAST, function)?;
        }
        object::set_value_size(&mut bytes, "IMAGES", settings.image_bytes)?;
        let hooks: HashSet<&str> = HOOKS
            .iter()
            .map(|hook| hook.name)
            .filter(|name| btf.function(&format!("bpf_lsm_{name}")).is_some())
            .collect();
        drop(btf);

        let mut object = EbpfLoader::new()
            // Task storage, which the loader creates but has no type for.
            .allow_unsupported_maps()
            .verifier_log_level(verifier_log())
            .map_max_entries(CONTENTS, settings.pins.max(1))
            .override_global("SETTINGS", settings.as_bytes(), true)
            .load(&bytes)
            .context("loading the kernel programs")?;
        fill_image(&mut object, policy.image)?;
        fill_contents(&mut object, policy.contents)?;
        let mut take = |name| object.take_map(name).with_context(|| format!("no map {name}"));
        let maps = Maps {
            events: take("EVENTS")?.try_into()?,
            addresses: take("INSTALLED")?.try_into()?,
            askers: take("ASKERS")?.try_into()?,
        };
        let lost = take("LOST")?.try_into()?;

        fs::create_dir_all(pins).with_context(|| pins.display().to_string())?;
        let kernel = aya::Btf::from_sys_fs()?;
        let mut this = Self { object, links: vec![], pins: pins.to_owned(), lost };
        // What a killed run leaves is ended by what is pinned here.
        for name in [members::TASKS, members::CLOSING] {
            let map = this.object.map(name).with_context(|| format!("no map {name}"))?;
            map.pin(pins.join(name)).with_context(|| format!("pinning {name}"))?;
        }
        let has_network = governs_network(policy.image);
        for hook in HOOKS {
            if !has_network && !matches!(hook.attachment, Attachment::SecurityModule) {
                tell(hook, Ok("nothing to judge"));
                continue;
            }
            if let Some(otherwise) = hook.otherwise
                && !hooks.contains(hook.name)
            {
                tell(hook, Ok(otherwise));
                continue;
            }
            let pinned = attach(&mut this.object, hook, &cgroup, &kernel)
                .and_then(|link| Ok(link.pin(this.pins.join(hook.name))?));
            tell(
                hook,
                pinned.map(|link| {
                    this.links.push(link);
                    "enforced"
                }),
            );
        }
        Ok((this, maps))
    }

    /// The processes that are governed.
    pub(crate) fn members(&self) -> Members<'_> {
        let fd = |name| match self.object.map(name) {
            Some(Map::Unsupported(map) | Map::Array(map)) => Some(map),
            _ => None,
        };
        Members { tasks: fd("TASKS"), closing: fd("CLOSING") }
    }

    /// How many events the kernel had no room for so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get(&0, 0).unwrap_or(0)
    }

    /// Takes the programs out of force and removes their pins.
    ///
    /// The pins go last: who removes the last reference to a link waits until the kernel has
    /// detached it, a tenth of a second each, but the kernel removes those of files by itself.
    pub(crate) fn remove(self) {
        drop((self.links, self.object));
        for name in HOOKS.iter().map(|hook| hook.name).chain([members::TASKS, members::CLOSING]) {
            // What cannot be unpinned is cleaned up by the next start.
            let _ = fs::remove_file(self.pins.join(name));
        }
        let _ = fs::remove_dir(&self.pins);
        if let Some(parent) = self.pins.parent() {
            // Stays while other scopes are in it.
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Why the verifier refuses a program is for whoever writes it; to tell costs seconds.
const fn verifier_log() -> VerifierLogLevel {
    if cfg!(debug_assertions) { VerifierLogLevel::DEBUG } else { VerifierLogLevel::DISABLE }
}

/// Writes the policy image; the map is as large as the image.
fn fill_image(ebpf: &mut Ebpf, image: &[u8]) -> Result<()> {
    let map = ebpf.map_mut("IMAGES").context("no map IMAGES")?;
    let Map::Array(data) = map else {
        anyhow::bail!("map IMAGES is not an array");
    };
    sys::set_only_element(data.fd(), image).context("writing the policy image")
}

/// Tells the kernel of the files that have the content which the policy names.
fn fill_contents(ebpf: &mut Ebpf, contents: &[(Key, Pin)]) -> Result<()> {
    let map = ebpf.map_mut(CONTENTS).context("no map of contents")?;
    let mut map: HashMap<_, [u8; size_of::<Key>()], [u8; size_of::<Pin>()]> = map.try_into()?;
    for (key, pin) in contents {
        let key: [u8; size_of::<Key>()] = key.as_bytes().try_into()?;
        let pin: [u8; size_of::<Pin>()] = pin.as_bytes().try_into()?;
        map.insert(key, pin, 0).context("writing the map of contents")?;
    }
    Ok(())
}

fn attach(ebpf: &mut Ebpf, hook: &Hook, cgroup: &impl AsFd, kernel: &aya::Btf) -> Result<FdLink> {
    let program = ebpf.program_mut(hook.name).context("the object lacks the program")?;
    Ok(match hook.attachment {
        Attachment::SecurityModule => {
            let program: &mut Lsm = program.try_into()?;
            program.load(hook.name, kernel)?;
            let link = program.attach()?;
            program.take_link(link)?.into()
        }
        Attachment::SocketAddress => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            let link = program.attach(cgroup, CgroupAttachMode::Single)?;
            program.take_link(link)?.try_into()?
        }
        Attachment::Packet => packets(program, cgroup, CgroupSkbAttachType::Egress)?,
        Attachment::Arrival => packets(program, cgroup, CgroupSkbAttachType::Ingress)?,
    })
}

fn packets(program: &mut Program, cgroup: &impl AsFd, way: CgroupSkbAttachType) -> Result<FdLink> {
    let program: &mut CgroupSkb = program.try_into()?;
    program.load()?;
    let link = program.attach(cgroup, way, CgroupAttachMode::Single)?;
    Ok(program.take_link(link)?.try_into()?)
}
