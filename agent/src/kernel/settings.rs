//! What the kernel programs are told of the running kernel before they are loaded.

use anyhow::{Context as _, Result};
use ringfence_common::layout::{ABSENT, Layout, Settings};

use super::{
    btf::{Btf, BtfError},
    symbols,
};

/// What the kernel is told, from its own description of itself.
///
/// # Errors
///
/// When it lacks what the programs need to read.
pub(super) fn settings(btf: &Btf, image_bytes: u32) -> Result<Settings> {
    let layout = Layout::try_from_fn(|structure, members| offset(btf, structure, members))
        .context("the kernel's structures are not what ringfence knows")?;
    let locks = symbols::path_locks()?;
    let (next_mount, next_mount_target) = mount_list(btf)?;
    let by_cast = btf.function("bpf_rdonly_cast").and(btf.structure("timespec64"));
    Ok(Settings {
        rename_lock: locks.rename,
        mount_lock: locks.mount,
        image_bytes,
        readable_type: by_cast.unwrap_or(0),
        layout,
        next_mount,
        next_mount_target,
        // `(dentry, attr)` at first; in front of both came the mount's mapping of owners.
        setattr_dentry: u32::from(btf.parameters("bpf_lsm_inode_setattr") == Some(3)),
        backing_mode: backing_mode(btf),
        spare: [0; Settings::SPARE],
    })
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
