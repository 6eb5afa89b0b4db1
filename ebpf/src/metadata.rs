//! Hooks on times, extended attributes and access control lists, which are given a directory
//! entry and no mount.
//!
//! The kernel has the mount by which the file was reached, and does not pass it on. So the file
//! is judged by every name that it has in the task's mount namespace, and all of them must allow.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_loop},
    macros::{btf_map, lsm},
    programs::LsmContext,
};
use ringfence_common::{Action, Decision, Reason, Right, event::PATH_BYTES, files};

use crate::{
    emit::{self, EACCES},
    file::{address, resolve},
    kernel::{current, in_borrowed_credentials, offset, opaque, read_u32, read_u64, setting},
    path::{Location, magic},
    scope::{Task, TaskStorage, governed},
    table::Table,
};

/// `ATTR_SIZE`, `ATTR_ATIME` and `ATTR_MTIME` (`linux/fs.h`).
const SIZE: u32 = 1 << 3;
const TIMES: u32 = 1 << 4 | 1 << 5;

/// `SB_KERNMOUNT`: a file system that the kernel mounted for itself.
const KERNEL_MOUNT: u32 = 1 << 22;

/// Mounts of one file system that are looked at, those of other namespaces included.
const MAX_MOUNTS: u32 = 1 << 16;
/// Mounts of one file system in the task's namespace that are judged.
const MAX_JUDGED: u32 = 16;

/// Where the names of an entry are looked for. In a map, as [`PathRoom`] is.
#[repr(C)]
struct Search {
    dentry: u64,
    /// The `struct mnt_namespace` of the task.
    namespace: u64,
    /// Where the list of mounts begins, and in older kernels ends too.
    head: u64,
    /// The link to the next mount.
    link: u64,
    /// A name of the entry is refused.
    refused: u32,
    /// Mounts in the task's namespace.
    seen: u32,
    /// Those of them that the entry is in.
    named: u32,
    /// The list was read to its end.
    ended: u32,
}

#[btf_map]
static SEARCHES: TaskStorage<Search> = TaskStorage::new();

/// What a turn finds on the caller's stack.
#[repr(C)]
struct Turn {
    search: *mut Search,
    task: *mut Task,
    table: Table,
}

/// Judges a hook that has a directory entry alone.
#[inline(always)]
fn judge_entry(dentry: u64) -> i32 {
    governed(Action::Metadata, EACCES, |task| {
        // A file system on top of another one, such as overlayfs, does with the credentials of who
        // mounted it what the task was allowed to do above.
        if in_borrowed_credentials() { 0 } else { judge_everywhere(task, dentry) }
    })
}

/// Judges an entry by each name that it has in the task's mount namespace.
#[inline(never)]
fn judge_everywhere(task: &mut Task, dentry: u64) -> i32 {
    let Some(table) = task.table() else { return -EACCES };
    // SAFETY: the helper has no arguments and cannot fail.
    let Some(search) = SEARCHES.get_or_create(unsafe { bpf_get_current_task_btf() }) else {
        emit::plain(task, Action::Metadata, Decision::deny(Reason::TableFull), EACCES);
        return -EACCES;
    };
    let superblock = read_u64(dentry + offset!(dentry_superblock));
    let nsproxy = read_u64(current() + offset!(task_nsproxy));
    search.dentry = dentry;
    search.namespace = read_u64(nsproxy + offset!(nsproxy_mount));
    search.head = superblock + offset!(superblock_mounts);
    search.link = read_u64(search.head);
    search.refused = 0;
    search.seen = 0;
    search.named = 0;
    search.ended = 0;
    let mut context = Turn { search, task: &raw mut *task, table };
    // SAFETY: `turn` has the type that bpf_loop calls, and the context outlives the loop.
    unsafe { bpf_loop(MAX_MOUNTS, turn as *mut c_void, (&raw mut context).cast(), 0) };
    // Pipes, memfds and the like, as in `resolve`.
    if search.seen == 0
        && read_u32(superblock + offset!(superblock_flags)) & KERNEL_MOUNT != 0
        && read_u32(superblock + offset!(superblock_magic)) != magic::MESSAGE_QUEUE
    {
        return 0;
    }
    if search.refused != 0 {
        return -EACCES;
    }
    if search.ended == 0 || search.named == 0 {
        task.room.position = PATH_BYTES as u32;
        let decision = files::violation(&table, Reason::PathUnresolved);
        return emit::paths(task, Action::Metadata, decision, None);
    }
    0
}

/// Looks at one mount of the file system.
extern "C" fn turn(_: u32, context: *mut Turn) -> i64 {
    // SAFETY: bpf_loop passes the context that `judge_everywhere` gave it, and search and task
    // are borrowed there.
    let (context, search, task) =
        unsafe { (&*context, &mut *(*context).search, &mut *(*context).task) };
    // Older kernels have a ring of links, newer a chain. A link of a ring that leads nowhere is
    // that of a mount that was taken away just now: the end is not reached then.
    if search.link == search.head || (search.link == 0 && setting!(next_mount_target) == 0) {
        search.ended = 1;
    }
    if search.link == search.head || search.link == 0 {
        return 1;
    }
    let mount = search.link - setting!(next_mount_target) as u64;
    search.link = read_u64(mount + setting!(next_mount) as u64);
    if read_u64(mount + offset!(mount_namespace)) != search.namespace {
        return 0;
    }
    search.seen += 1;
    if search.seen > MAX_JUDGED {
        return 1;
    }
    let location = Location { mount: mount + offset!(mount_vfsmount), dentry: search.dentry };
    let decision = match resolve(&mut task.room, context.table, location, Right::Metadata.bit()) {
        Ok(state) => files::decide(&context.table, state, Right::Metadata.bit()),
        Err(decision) => decision,
    };
    if decision.reason == Reason::PathUnresolved {
        // A mount of another part of the file system.
        return 0;
    }
    search.named += 1;
    // Told of each name that is not simply allowed, and at once: the room has its path now.
    search.refused = (emit::paths(task, Action::Metadata, decision, None) != 0) as u32;
    search.refused as i64
}

/// `security_inode_setattr([mapping,] struct dentry *dentry, struct iattr *attr)`: every change of
/// an inode's fields. Mode and owner are judged by path, and truncating is writing; what is left
/// are times that a caller sets. Those that a write sets by itself do not come here.
#[lsm(hook = "inode_setattr")]
pub fn inode_setattr(ctx: LsmContext) -> i32 {
    let (first, second) = (address(&ctx, 0), address(&ctx, 1));
    let (dentry, attributes) = if setting!(setattr_dentry) == 0 {
        (first, second)
    } else {
        // Opaque, or the compiler computes which argument to load, and the verifier wants to see.
        (second, opaque(address(&ctx, 2)))
    };
    let valid = read_u32(attributes + offset!(iattr_valid));
    if valid & TIMES == 0 || valid & SIZE != 0 {
        return 0;
    }
    judge_entry(dentry)
}

/// Declares hooks whose second argument is the `struct dentry *` to judge.
macro_rules! judged {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[lsm]
        pub fn $name(ctx: LsmContext) -> i32 {
            judge_entry(address(&ctx, 1))
        }
    )*};
}

judged! {
    /// `security_inode_setxattr(mapping, struct dentry *dentry, const char *name, …)`: up to Linux
    /// 6.1 access control lists too.
    inode_setxattr;
    /// `security_inode_removexattr(mapping, struct dentry *dentry, const char *name)`.
    inode_removexattr;
    /// `security_inode_set_acl(mapping, struct dentry *dentry, …)`, since Linux 6.2.
    inode_set_acl;
    /// `security_inode_remove_acl(mapping, struct dentry *dentry, …)`, since Linux 6.2.
    inode_remove_acl;
}

/// `security_inode_file_setattr(struct dentry *dentry, struct file_kattr *fa)`, since Linux 6.17:
/// what `chattr` changes.
#[lsm(hook = "inode_file_setattr")]
pub fn inode_file_setattr(ctx: LsmContext) -> i32 {
    judge_entry(address(&ctx, 0))
}
