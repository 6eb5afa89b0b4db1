//! The set-up of a container or a service: what its runtime does in its control group, before it
//! executes the program that is to be governed.
//!
//! It mounts, and changes its root: what no policy would allow. So a task has its label and is not
//! judged while it runs a program of the runtime's in the machine's own root. From there it has only
//! one way, the container's root, and whatever it executes in that is governed: also the runtime's
//! program, which a container can have it execute by `/proc/self/exe`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::bpf_get_current_task_btf,
    macros::map,
    maps::{Array, HashMap},
};
use ringfence_common::scope::{
    HELD, INFRASTRUCTURE, MAX_STARTERS, NOBODY, Starter, notice, starter,
};

use crate::{
    budget,
    emit::EACCES,
    kernel::{offset, read_u32, read_u64},
    membership::tell,
    path::magic,
    scope::{BY_RUNTIME, IN_SETUP, LET_THROUGH, TASKS, Task},
    scopes::BY_CGROUP,
};

/// The programs that put processes into control groups, each with its kind.
#[map]
static STARTERS: HashMap<Starter, u32> = HashMap::with_max_entries(MAX_STARTERS, BPF_F_NO_PREALLOC);

/// The root of the machine's init (`struct dentry`).
#[map]
static ROOT: Array<u64> = Array::with_max_entries(1, 0);

/// The root of a task (`struct dentry`); 0 for one that ends.
#[inline(always)]
fn root(task: u64) -> u64 {
    let fs = read_u64(task + offset!(task_fs));
    if fs == 0 { 0 } else { read_u64(fs + offset!(fs_root) + offset!(path_dentry)) }
}

/// Notes the root of the machine's init.
#[inline(always)]
pub(crate) fn note_machine(init: u64) {
    if let Some(machine) = ROOT.get_ptr_mut(0) {
        // SAFETY: the element lives as long as the program, and every walk writes the same.
        unsafe { machine.write_volatile(root(init)) };
    }
}

/// Whether a task has the machine's own root.
#[inline(always)]
pub(crate) fn is_of_machine(task: u64) -> bool {
    ROOT.get(0).is_some_and(|machine| *machine != 0 && *machine == root(task))
}

/// What kind of starter an inode is the program of; 0 for any other program.
#[inline(always)]
fn kind(inode: u64) -> u32 {
    let superblock = read_u64(inode + offset!(inode_superblock));
    let key = Starter {
        device: read_u32(superblock + offset!(superblock_device)),
        spare: 0,
        inode: read_u64(inode + offset!(inode_number)),
    };
    // SAFETY: the value lives as long as the program runs, and is never taken apart.
    STARTERS.get_ptr(&key).map_or(0, |kind| unsafe { *kind })
}

/// The inode of the program that a task runs, or 0.
#[inline(always)]
fn program(task: u64) -> u64 {
    let mm = read_u64(task + offset!(task_mm));
    let file = if mm == 0 { 0 } else { read_u64(mm + offset!(mm_program)) };
    if file == 0 { 0 } else { read_u64(file + offset!(file_inode)) }
}

/// Whether an inode may be of a copy that a runtime runs in its own place, so that a container that
/// gets hold of it has not the runtime itself: in memory, or seen through an overlay.
#[inline(always)]
fn is_copy(inode: u64) -> bool {
    let superblock = read_u64(inode + offset!(inode_superblock));
    read_u32(inode + offset!(inode_links)) == 0
        || read_u32(superblock + offset!(superblock_magic)) == magic::OVERLAY
}

/// What the flags of a task begin with that comes under a scope.
#[inline(never)]
pub(crate) fn flags(task: u64) -> u32 {
    if !is_of_machine(task) {
        return 0;
    }
    let own = program(task);
    if own == 0 {
        return 0;
    }
    match kind(own) {
        starter::RUNTIME => return IN_SETUP | BY_RUNTIME,
        starter::MANAGER => return IN_SETUP,
        _ if !is_copy(own) => return 0,
        _ => {}
    }
    let parent = read_u64(task + offset!(task_parent));
    let by_parent = program(parent);
    // The runtime itself may be such a copy, but not what has started it.
    let by_its_parent = program(read_u64(parent + offset!(task_parent)));
    let is_runtime = |inode| inode != 0 && kind(inode) == starter::RUNTIME;
    if is_runtime(by_parent) || is_runtime(by_its_parent) { IN_SETUP | BY_RUNTIME } else { 0 }
}

/// Looks at a program that a task executes in its set-up: 0, or what refuses it.
#[inline(never)]
pub(crate) fn goes_on(task: &mut Task, current: u64, file: u64) -> i32 {
    if is_of_machine(current) {
        let inode = read_u64(file + offset!(file_inode));
        let next = kind(inode);
        let by_runtime = task.flags & BY_RUNTIME != 0;
        if by_runtime && (next == starter::RUNTIME || is_copy(inode)) {
            return 0;
        }
        if !by_runtime && next == starter::MANAGER {
            return 0;
        }
        // A service whose program is a runtime: by the service manager of the machine, and not by
        // one of a user's, who has a say in what else is loaded with the program.
        if !by_runtime && next == starter::RUNTIME && is_infrastructure(current) {
            task.flags |= BY_RUNTIME;
            return 0;
        }
    }
    let process = read_u32(current + offset!(task_process));
    // The agent may have learnt meanwhile what the control group is.
    let scope = match BY_CGROUP.get_ptr(&task.cgroup) {
        // SAFETY: the value lives as long as the program runs.
        Some(member) => unsafe { (*member).scope },
        None => task.scope,
    };
    tell(notice::STARTED, scope, task.cgroup, process);
    match scope {
        HELD if task.flags & LET_THROUGH != 0 || is_infrastructure(current) => {
            task.flags |= LET_THROUGH;
            return 0;
        }
        HELD => return -EACCES,
        // It is known by now, and no scope is for it.
        NOBODY => {
            // SAFETY: the helper has no arguments and cannot fail.
            TASKS.remove(unsafe { bpf_get_current_task_btf() });
            return 0;
        }
        _ => {}
    }
    task.scope = scope;
    task.flags &= !(IN_SETUP | LET_THROUGH | BY_RUNTIME);
    budget::begin_with(task, current);
    0
}

/// Whether a task is as good as root on the machine.
#[inline(always)]
fn is_infrastructure(task: u64) -> bool {
    let cred = read_u64(task + offset!(task_cred));
    let namespace = read_u64(cred + offset!(cred_namespace));
    let capabilities = read_u64(cred + offset!(cred_capabilities));
    namespace != 0
        && read_u32(namespace + offset!(user_namespace_level)) == 0
        && capabilities & INFRASTRUCTURE == INFRASTRUCTURE
}
