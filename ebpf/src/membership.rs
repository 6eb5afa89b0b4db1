//! How tasks come under the scopes of the long-running agent, whose control groups may be anywhere:
//! by the name of a group when it is made, by being moved or born into one, or by the program that
//! they execute.
//!
//! Here the label is given before the task first runs in the group, so that the other hooks need not
//! look for its group. What could not be labelled is asked for ([`scopes::ask`]), and until the
//! agent has seen to it every hook looks.

use aya_ebpf::{
    bindings::task_struct,
    helpers::generated::bpf_get_current_task_btf,
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use ringfence_common::{
    Image as _, Right, Verdict,
    files::{self, Walker},
    scope::{HELD, MAX_SELECTORS, Member, NOBODY, Notice, UNHELD, notice, walk as walks},
};

use crate::{
    budget,
    emit::{self, EACCES},
    kernel::{offset, read_u16, read_u32, read_u64, typed},
    path::{Ascent, Location, climb},
    scope::{
        ATTACHED, BY_RUNTIME, IN_SETUP, LET_THROUGH, Place, TASKS, Task, has_storage, label,
        labelled,
    },
    scopes::{self, BY_CGROUP},
    setup,
    table::{generation, repeat, table, walk},
};

/// The number of the scope that a rule of the table of selectors stands for; twice, for tables of
/// even and of odd generation, so that one can be filled while the other is asked.
#[map]
static SELECTED: Array<u32> = Array::with_max_entries(2 * MAX_SELECTORS, 0);

/// Most bytes of a control group's path that the kernel tells (`TRACE_CGROUP_PATH_LEN`).
const PATH_BYTES: u32 = 1024;
/// `CLONE_INTO_CGROUP` (`linux/sched.h`).
const INTO_CGROUP: u64 = 0x2_0000_0000;
/// `PF_KTHREAD` (`linux/sched.h`).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A walk along the path of a control group.
struct Reading {
    path: u64,
    state: u32,
    is_at_end: u32,
}

/// The scope that selects a path; `right` tells what kind of path it is.
#[inline(always)]
fn selected(state: u32, right: Right) -> Option<u32> {
    let table = table(NOBODY)?;
    let cell = files::cell(&table, state, right)?;
    if cell.verdict() != Verdict::Allow || cell.rule() == 0 {
        return None;
    }
    let bank = (generation(&table) & 1) * MAX_SELECTORS;
    SELECTED.get(bank + cell.rule()).copied().filter(|number| *number != NOBODY)
}

/// The scope that selects the control group whose path is there.
#[inline(never)]
fn by_path(path: u64) -> u32 {
    let Some(image) = table(NOBODY) else { return NOBODY };
    let Some(walker) = Walker::new(&image) else { return NOBODY };
    let start = image.blur(walker.start as u64) as u32;
    let mut reading =
        Reading { path: image.blur(path), state: start, is_at_end: image.blur(0) as u32 };
    repeat((image, walker), PATH_BYTES, &mut reading, |(image, walker), reading| {
        let byte = read_u16(reading.path) as u8;
        if byte == 0 {
            reading.is_at_end = 1;
            return false;
        }
        reading.state = walker.step(image, reading.state, byte);
        reading.path += 1;
        true
    });
    if reading.is_at_end == 0 {
        return NOBODY;
    }
    selected(reading.state, Right::Read).unwrap_or(NOBODY)
}

/// Whether a control group is of the hierarchy that tasks are governed by (cgroup v2).
#[inline(always)]
fn is_of_hierarchy(cgroup: u64) -> bool {
    read_u32(read_u64(cgroup + offset!(cgroup_root)) + offset!(root_hierarchy)) == 0
}

#[inline(always)]
fn identifier(cgroup: u64) -> u64 {
    read_u64(read_u64(cgroup + offset!(cgroup_node)) + offset!(node_id))
}

/// Tells the agent. What it is not told it finds out by looking at everything.
#[inline(always)]
pub(crate) fn tell(kind: u32, scope: u32, cgroup: u64, process: u32) {
    let notice = Notice { kind, scope, cgroup, process, spare: 0 };
    if !emit::notice(&notice) {
        scopes::miss();
    }
}

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`: a control group was made, and nothing is
/// in it yet.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    if !is_of_hierarchy(cgroup) {
        return 0;
    }
    let scope = by_path(ctx.arg::<*const u8>(1) as u64);
    if scope == NOBODY {
        return 0;
    }
    let id = identifier(cgroup);
    let level = read_u32(cgroup + offset!(cgroup_level));
    let known = if scope == UNHELD { NOBODY } else { scope };
    let member = Member { scope: known, level, is_attached: 0, spare: 0 };
    if BY_CGROUP.insert(&id, &member, 0).is_err() {
        scopes::miss();
    }
    tell(notice::BEGAN, scope, id, 0);
    0
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`: a control group is gone, and nothing was
/// in it.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    if !is_of_hierarchy(cgroup) {
        return 0;
    }
    let id = identifier(cgroup);
    if let Some(member) = BY_CGROUP.get_ptr(&id) {
        // SAFETY: the value lives as long as the program runs.
        let scope = unsafe { (*member).scope };
        // One that goes by itself is as good.
        let _ = BY_CGROUP.remove(&id);
        tell(notice::ENDED, scope, id, 0);
    }
    0
}

/// Gives a task the label of the scope that its control group is of, unless it has one.
#[inline(always)]
fn enter(task: *mut task_struct) {
    let set = read_u64(task as u64 + offset!(task_cgroups));
    let cgroup = read_u64(set + offset!(set_cgroup));
    if read_u32(task as u64 + offset!(task_flags)) & KERNEL_THREAD != 0 {
        return;
    }
    if let Some(place) = scopes::nearest(cgroup) {
        enter_place(task, place);
    }
}

#[inline(always)]
fn enter_place(task: *mut task_struct, place: Place) {
    if let Some(present) = TASKS.get(task) {
        if present.scope == NOBODY {
            // It executes a program just now, and will have no label if that selects no scope.
            return unlabelled(place);
        }
        // Selected by its program before, and now where the agent has put it.
        if present.cgroup == 0 && present.scope == place.scope {
            present.level = place.level;
            present.cgroup = place.cgroup;
        }
        return;
    }
    if label(task, place).is_none() {
        unlabelled(place);
    }
}

/// Has every hook look for itself until a walk over all tasks has been here.
#[inline(always)]
fn unlabelled(place: Place) {
    scopes::ask();
    tell(notice::ASKED, place.scope, place.cgroup, 0);
}

/// The place of a control group that should be governed, and for which there was no room when it
/// was made.
#[inline(always)]
fn unlisted(cgroup: u64, path: u64) -> Option<Place> {
    let watch = scopes::watch()?;
    let id = identifier(cgroup);
    // What has an entry is known, also to be nobody's.
    if watch.missed == watch.entered || BY_CGROUP.get_ptr(&id).is_some() {
        return None;
    }
    let scope = by_path(path);
    let level = read_u32(cgroup + offset!(cgroup_level));
    (scope != NOBODY && scope != UNHELD).then_some(Place { scope, level, cgroup: id })
}

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool
/// threadgroup)`: a task was moved. Of a process with many threads only the first is told.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    if !is_of_hierarchy(cgroup) {
        return 0;
    }
    let task: *mut task_struct = ctx.arg(2);
    let place =
        scopes::nearest(cgroup).or_else(|| unlisted(cgroup, ctx.arg::<*const u8>(1) as u64));
    let Some(place) = place else { return 0 };
    if read_u32(task as u64 + offset!(task_flags)) & KERNEL_THREAD == 0 {
        enter_place(task, place);
    }
    let signal = read_u64(task as u64 + offset!(task_signal));
    if ctx.arg::<u32>(3) & 0xff != 0 && read_u32(signal + offset!(signal_threads)) > 1 {
        unlabelled(place);
    }
    0
}

/// `task_newtask(struct task_struct *task, unsigned long clone_flags)`: a task that is about to run
/// for the first time. The label is its parent's, unless it is born into another control group, or
/// the parent was moved while it was made.
#[btf_tracepoint(function = "task_newtask")]
pub fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the helper has no arguments and cannot fail.
    let parent = unsafe { bpf_get_current_task_btf() };
    if ctx.arg::<u64>(1) & INTO_CGROUP == 0 && !has_storage(parent) {
        return 0;
    }
    let task: *mut task_struct = ctx.arg(0);
    enter(task);
    0
}

/// What the kernel gives an iterator over tasks (`struct bpf_iter__task`).
#[repr(C)]
struct TaskIteration {
    meta: *const IterationMeta,
    task: *mut task_struct,
}

/// `struct bpf_iter_meta`, whose form is the same everywhere.
#[repr(C)]
struct IterationMeta {
    file: u64,
    session: u64,
    /// How many came before.
    number: u64,
}

/// An iterator over all tasks, which the agent runs by reading from it: labels what has none, or
/// takes the labels of a scope away.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn every_task(context: *mut TaskIteration) -> i32 {
    // SAFETY: the kernel gives a valid context.
    let task = unsafe { (*context).task };
    if task.is_null() {
        return 0;
    }
    let Some(watch) = scopes::watch() else { return 0 };
    // SAFETY: the kernel gives a valid context.
    if unsafe { (*(*context).meta).number } == 0 {
        // The first of all that the agent sees is the machine's init.
        setup::note_machine(task as u64);
    }
    if watch.walk == walks::FORGET {
        if let Some(label) = TASKS.get(task)
            && label.scope == watch.target
        {
            budget::uncount(label);
            TASKS.remove(task);
        }
        return 0;
    }
    if let Some(label) = TASKS.get(task)
        && let Some(member) = BY_CGROUP.get_ptr(&label.cgroup)
    {
        // SAFETY: the value lives as long as the program runs.
        let scope = unsafe { (*member).scope };
        if label.scope != scope {
            budget::uncount(label);
        }
        if scope != NOBODY {
            label.scope = scope;
            if scope != HELD && label.flags & LET_THROUGH != 0 {
                label.flags &= !(IN_SETUP | LET_THROUGH | BY_RUNTIME);
            }
            budget::recount(label, task as u64);
            return 0;
        }
        TASKS.remove(task);
    }
    enter(task);
    follow(task);
    if let Some(label) = TASKS.get(task) {
        budget::recount(label, task as u64);
    }
    0
}

/// Gives a thread the label of its process's first, which the agent can give one by itself.
#[inline(always)]
fn follow(task: *mut task_struct) {
    if TASKS.get(task).is_some() {
        return;
    }
    // SAFETY: the task is one that the kernel gave, and always has a first thread.
    let first = unsafe { typed(task.cast(), offset!(task_leader)) } as *mut task_struct;
    if let Some(first) = TASKS.get(first)
        && first.scope != NOBODY
        && let Some(label) = TASKS.get_or_create(task)
    {
        label.inherit(first);
        budget::begin_with(label, task as u64);
    }
}

/// Looks at a program before it is judged: with it the set-up of a container or service ends, or a
/// task that was not governed comes under a scope. 0, or what refuses it.
#[inline(always)]
pub(crate) fn before_exec(file: u64) -> i32 {
    // SAFETY: the helper has no arguments and cannot fail.
    let current = unsafe { bpf_get_current_task_btf() };
    let found = labelled().or_else(|| {
        // From 7.0 on a tracepoint's program is left out where it interrupts itself: what was not
        // told of a birth or a move is seen here, unless nothing selects any more.
        table(NOBODY)?;
        enter(current);
        labelled()
    });
    if let Some(task) = found {
        if task.flags & IN_SETUP == 0 {
            return 0;
        }
        return setup::goes_on(task, current as u64, file);
    }
    match scopes::watch() {
        Some(watch) if watch.programs != 0 => by_program(current, file),
        _ => 0,
    }
}

/// Whether a program selects a scope: then the task is governed from here on.
#[inline(never)]
fn by_program(current: *mut task_struct, file: u64) -> i32 {
    // The path means this file to the machine alone: whoever is root in a container could have it
    // mean another, and leave the control group with the container's limits by it.
    if !setup::is_of_machine(current as u64) {
        return 0;
    }
    let Some(image) = table(NOBODY) else { return 0 };
    let Some(task) = TASKS.get_or_create(current) else { return -EACCES };
    let location = Location::of_file(file);
    let state = match climb(location, location.magic(), &mut task.room) {
        Ascent::Rooted { .. } => walk(image, &mut task.room),
        _ => files::DEAD,
    };
    match selected(state, Right::Exec) {
        Some(scope) => {
            task.scope = scope;
            budget::begin_with(task, current as u64);
            let process = read_u32(current as u64 + offset!(task_process));
            tell(notice::SELECTED, scope, 0, process);
        }
        None => TASKS.remove(current),
    }
    0
}

/// Whether the programs that judge packets are attached to the task's control group: before that
/// it may not use the network. They stay once they are.
#[inline(always)]
pub(crate) fn is_attached(task: &mut Task) -> bool {
    if task.flags & ATTACHED != 0 {
        return true;
    }
    // SAFETY: the value lives as long as the program runs.
    let is = BY_CGROUP.get_ptr(&task.cgroup).is_some_and(|one| unsafe { (*one).is_attached } != 0);
    if is {
        task.flags |= ATTACHED;
    }
    is
}

/// What a task's place is worth to its label.
impl Place {
    /// A place by an entry of the table of control groups.
    #[inline(always)]
    pub(crate) const fn of(member: Member, cgroup: u64) -> Self {
        Self { scope: member.scope, level: member.level, cgroup }
    }
}
