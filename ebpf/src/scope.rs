//! Who is governed: a sticky label on the task, or a cgroup below the scope's.
//!
//! The label is set when a task is first seen inside the cgroup and copied to every child. It is
//! never removed: a labelled task stays governed wherever it moves.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type, task_struct},
    helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_delete, bpf_task_storage_get},
    macros::{btf_map, lsm},
    programs::LsmContext,
};
use ringfence_common::{Action, Decision, Reason, event::Event};

use crate::{
    budget, emit,
    file::address,
    guard,
    kernel::{offset, typed},
    path::PathRoom,
    scopes, setup,
    table::{Table, generation, table},
    verdicts::Verdicts,
};

/// A task has executed a program inside the scope.
pub(crate) const STARTED: u32 = 1;
/// A task comes from outside and is setting up a container or service: it is governed from the
/// program that it executes then.
pub(crate) const IN_SETUP: u32 = 2;

/// The programs that judge packets are attached to the task's control group.
pub(crate) const ATTACHED: u32 = 4;
/// The set-up is over, and it is not known yet which scope the task belongs to: it is let through
/// until it is.
pub(crate) const LET_THROUGH: u32 = 8;
/// It is a container runtime that sets up.
pub(crate) const BY_RUNTIME: u32 = 16;

/// Where a task belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The scope's number.
    pub(crate) scope: u32,
    /// Depth of the cgroup below the root of the hierarchy.
    pub(crate) level: u32,
    /// Identifier of the cgroup that is governed.
    pub(crate) cgroup: u64,
}

/// The label of a governed task, with the room in which its path is put together.
///
/// The room belongs to the task and not to the CPU: programs can be preempted, and another task
/// on the same CPU must not change the path that this one is judged by. Kept below 8 KiB, the
/// most that newer kernels allocate here.
#[repr(C)]
pub(crate) struct Task {
    /// The scope's number. First, where the agent reads it.
    pub(crate) scope: u32,
    pub(crate) flags: u32,
    /// Identifier of the scope's cgroup; 0 where the task's program selected the scope.
    pub(crate) cgroup: u64,
    /// Depth of that cgroup below the root of the hierarchy.
    pub(crate) level: u32,
    /// Fills the structure. Up to here the agent writes labels too.
    spare: u32,
    /// The child that it is making and has counted.
    pub(crate) forking: u64,
    /// Bytes that it has asked to write, or has written.
    pub(crate) written: u64,
    /// Bytes that the call at hand asks to write, and the file.
    pub(crate) writing: u64,
    pub(crate) writing_to: u64,
    /// Not 0 while the task is counted by the scope's budget of processes. Only ever changed in one
    /// step: by the task, and by the iterator over all tasks.
    pub(crate) counted: u64,
    /// The [`output_since`](ringfence_common::budget::Limits::output_since) that it counts from.
    pub(crate) output_since: u64,
    /// The event in the making; its `exe` is kept from the last exec.
    pub(crate) event: Event,
    pub(crate) room: PathRoom,
    pub(crate) verdicts: Verdicts,
}

/// A `BPF_MAP_TYPE_TASK_STORAGE`, which aya-ebpf has no type for.
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers are placeholders that describe the map to the loader and are never read.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    pub(crate) const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    #[inline(always)]
    fn storage(&self, task: *mut task_struct, flags: u64) -> *mut T {
        let map = (&raw const *self).cast_mut().cast::<c_void>();
        // SAFETY: the loader puts the map's address here; the task is one that the kernel gave.
        unsafe { bpf_task_storage_get(map, task, core::ptr::null_mut(), flags).cast() }
    }

    #[inline(always)]
    pub(crate) fn get(&self, task: *mut task_struct) -> Option<&'static mut T> {
        // SAFETY: the value lives as long as its task; only its own task's programs write it, one
        // at a time, and the parent's before the task first runs.
        unsafe { self.storage(task, 0).as_mut() }
    }

    /// Gets or makes the value. The allocation cannot wait and may fail by bad luck, so it is
    /// tried more than once.
    #[inline(always)]
    pub(crate) fn get_or_create(&self, task: *mut task_struct) -> Option<&'static mut T> {
        for _ in 0..3 {
            let value = self.storage(task, BPF_LOCAL_STORAGE_GET_F_CREATE as u64);
            if !value.is_null() {
                // SAFETY: as in `get`.
                return unsafe { value.as_mut() };
            }
        }
        None
    }

    /// Removes the value.
    #[inline(always)]
    pub(crate) fn remove(&self, task: *mut task_struct) {
        let map = (&raw const *self).cast_mut().cast::<c_void>();
        // SAFETY: the loader puts the map's address here; the task is one that the kernel gave. One
        // that is gone already is as good.
        unsafe { bpf_task_storage_delete(map, task) };
    }
}

#[btf_map]
pub(crate) static TASKS: TaskStorage<Task> = TaskStorage::new();

/// Room for the second path of a rename or link.
#[btf_map]
static SECOND_PATHS: TaskStorage<PathRoom> = TaskStorage::new();

impl Task {
    /// Takes over who the parent is governed by.
    #[inline(always)]
    pub(crate) fn inherit(&mut self, parent: &Self) {
        self.scope = parent.scope;
        self.cgroup = parent.cgroup;
        self.level = parent.level;
        self.flags = parent.flags;
        self.output_since = parent.output_since;
    }

    /// The policy of the task's scope.
    #[inline(always)]
    pub(crate) fn table(&mut self) -> Option<Table> {
        let table = table(self.scope)?;
        // Noted here, since another policy may be in force when the decision is told.
        self.event.generation = generation(&table);
        Some(table)
    }
}

/// `CLONE_INTO_CGROUP` (`linux/sched.h`).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Whom a hook has before it.
pub(crate) enum Subject {
    /// Not governed: nothing is asked and nothing is told.
    Ungoverned,
    /// Governed.
    Governed(&'static mut Task),
    /// Governed by this scope, but there is no memory to judge it with: refused.
    Unknown(u32),
}

/// Judges who the current task is. The cheap way out comes first: most tasks are ungoverned.
#[inline(always)]
pub(crate) fn subject() -> Subject {
    // SAFETY: the helper has no arguments and cannot fail.
    let current = unsafe { bpf_get_current_task_btf() };
    if has_storage(current)
        && let Some(task) = TASKS.get(current)
    {
        return if task.flags & IN_SETUP == 0 {
            Subject::Governed(task)
        } else {
            Subject::Ungoverned
        };
    }
    let Some(place) = scopes::of_current(current) else { return Subject::Ungoverned };
    match label(current, place) {
        Some(task) if task.flags & IN_SETUP == 0 => Subject::Governed(task),
        Some(_) => Subject::Ungoverned,
        None => Subject::Unknown(place.scope),
    }
}

/// Gives a task its label, the scope's number last: until then it is nobody's, and refused.
#[inline(always)]
pub(crate) fn label(task: *mut task_struct, place: Place) -> Option<&'static mut Task> {
    let label = TASKS.get_or_create(task)?;
    label.cgroup = place.cgroup;
    label.level = place.level;
    label.flags |= setup::flags(task as u64);
    // SAFETY: the place is that of the number.
    unsafe { (&raw mut label.scope).write_volatile(place.scope) };
    budget::begin_with(label, task as u64);
    Some(label)
}

/// Whether a program of whatever kind has stored anything with the task: a load, where looking for
/// the label is a call.
#[inline(always)]
pub(crate) fn has_storage(task: *const task_struct) -> bool {
    // SAFETY: the task is the current one.
    unsafe { typed(task.cast(), offset!(task_storage)) != 0 }
}

/// The label of the current task, if it has one.
#[inline(always)]
pub(crate) fn labelled() -> Option<&'static mut Task> {
    // SAFETY: the helper has no arguments and cannot fail.
    let current = unsafe { bpf_get_current_task_btf() };
    if has_storage(current) { TASKS.get(current) } else { None }
}

/// The room for a second path.
#[inline(always)]
pub(crate) fn second_path() -> Option<&'static mut PathRoom> {
    // SAFETY: the helper has no arguments and cannot fail.
    SECOND_PATHS.get_or_create(unsafe { bpf_get_current_task_btf() })
}

/// Whether another task is governed by the same scope, and in the same of its cgroups.
#[inline(always)]
pub(crate) fn is_member(own: &Task, other: *mut task_struct) -> bool {
    TASKS.get(other).is_some_and(|other| {
        other.scope == own.scope && other.cgroup == own.cgroup && other.flags & IN_SETUP == 0
    })
}

/// Runs a hook's body for a governed task and answers for the others.
#[inline(always)]
pub(crate) fn governed(
    action: Action,
    errno: i32,
    body: impl FnOnce(&'static mut Task) -> i32,
) -> i32 {
    match subject() {
        Subject::Ungoverned => 0,
        Subject::Governed(task) if budget::is_overdue(task.scope) => {
            budget::tell_overdue(task, action, errno);
            -errno
        }
        Subject::Governed(task) => body(task),
        Subject::Unknown(scope) => {
            emit::nameless(scope, action, Decision::deny(Reason::TableFull), errno);
            -errno
        }
    }
}

/// Copies the label to a child before it runs.
///
/// `security_task_alloc(struct task_struct *task, unsigned long clone_flags)`; a refusal here
/// makes fork fail. A child that is born in another cgroup would be governed, but out of the
/// reach of what ends the scope.
#[lsm(hook = "task_alloc")]
pub fn task_alloc(ctx: LsmContext) -> i32 {
    // SAFETY: the helper has no arguments and cannot fail.
    let current = unsafe { bpf_get_current_task_btf() };
    if has_storage(current)
        && let Some(parent) = TASKS.get(current)
        && parent.flags & IN_SETUP != 0
    {
        let Some(label) = TASKS.get_or_create(ctx.arg(0)) else { return -emit::EPERM };
        label.inherit(parent);
        return 0;
    }
    governed(Action::Exec, emit::EPERM, |parent| {
        if scopes::scope(parent.scope).is_none_or(|scope| scope.closing != 0) {
            return -emit::EPERM;
        }
        if ctx.arg::<u64>(1) & CLONE_INTO_CGROUP != 0 {
            let answer = guard::refuse(parent, Action::Namespace, 0);
            if answer != 0 {
                return answer;
            }
        }
        let child: *mut task_struct = ctx.arg(0);
        let Some(label) = TASKS.get_or_create(child) else {
            emit::plain(parent, Action::Exec, Decision::deny(Reason::TableFull), emit::EPERM);
            return -emit::EPERM;
        };
        label.inherit(parent);
        label.event.exe_length = parent.event.exe_length;
        label.event.exe = parent.event.exe;
        budget::take_child(parent, label, address(&ctx, 0))
    })
}
