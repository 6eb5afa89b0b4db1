//! The agent's own files, which nobody who is governed changes, by whatever name: a container may see
//! them elsewhere than the machine does.
//!
//! Only the kernel knows what tells one inode from all others on every file system. So the agent
//! shows its files, by asking for the attributes of each, and they are noted here.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::bpf_get_current_pid_tgid,
    macros::{lsm, map},
    maps::HashMap,
    programs::LsmContext,
};
use ringfence_common::{
    Right,
    scope::{MAX_OWN, Noted, OwnFile, own},
};

use crate::{
    file::address,
    kernel::{offset, read_u32, read_u64},
    scope::{self, Subject},
    scopes,
};

/// Folders above an entry that are looked at: so deep lies what is in a folder of the agent's.
const LEVELS: u32 = 4;

#[map]
static OWN: HashMap<OwnFile, Noted> = HashMap::with_max_entries(MAX_OWN, BPF_F_NO_PREALLOC);

#[inline(always)]
fn file(inode: u64) -> OwnFile {
    let superblock = read_u64(inode + offset!(inode_superblock));
    OwnFile {
        device: read_u32(superblock + offset!(superblock_device)),
        generation: read_u32(inode + offset!(inode_generation)),
        inode: read_u64(inode + offset!(inode_number)),
    }
}

/// `security_inode_listxattr(struct dentry *dentry)`: the agent shows a file; of overlays this is
/// called again for the one below.
#[lsm(hook = "inode_listxattr")]
pub fn inode_listxattr(ctx: LsmContext) -> i32 {
    // An agent that was killed while it showed them shows no more: its number may be another's.
    if let Some(watch) = scopes::watch()
        && watch.shower != 0
        && watch.shower == bpf_get_current_pid_tgid() as u32
        && let Subject::Ungoverned = scope::subject()
    {
        note(address(&ctx, 0), Noted { kind: watch.shown, round: watch.round });
    }
    0
}

#[inline(always)]
fn note(dentry: u64, noted: Noted) {
    let file = file(read_u64(dentry + offset!(dentry_inode)));
    // What is shown as both is the agent's own.
    let is_known = OWN.get_ptr(&file).is_some_and(|known| {
        // SAFETY: the value lives as long as the program runs.
        let known = unsafe { *known };
        known.round == noted.round && known.kind == own::FILE
    });
    if is_known || OWN.insert(&file, &noted, 0).is_ok() {
        scopes::noted();
    }
}

/// Whether a change of an entry would change what is the agent's.
#[inline(never)]
pub(crate) fn is_touched(dentry: u64, rights: u32) -> bool {
    if scopes::watch().is_none_or(|watch| watch.round == 0) {
        return false;
    }
    let mut entry = dentry;
    for level in 0..LEVELS {
        let inode = read_u64(entry + offset!(dentry_inode));
        // A name that does not exist yet has none.
        if inode != 0
            && let Some(noted) = OWN.get_ptr(&file(inode))
        {
            // SAFETY: the value lives as long as the program runs.
            let kind = unsafe { (*noted).kind };
            if kind == own::FILE || (level == 0 && rights & Right::Delete.bit() != 0) {
                return true;
            }
        }
        let parent = read_u64(entry + offset!(dentry_parent));
        if parent == entry {
            return false;
        }
        entry = parent;
    }
    false
}
