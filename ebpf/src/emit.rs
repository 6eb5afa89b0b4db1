//! Telling of decisions. A verdict never depends on it: what the ring has no room for is counted.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_dynptr,
    btf_maps::{ArrayOfMaps, RingBuf},
    helpers::generated::{
        bpf_dynptr_write, bpf_get_current_cgroup_id, bpf_get_current_comm,
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns,
        bpf_ringbuf_discard_dynptr, bpf_ringbuf_output, bpf_ringbuf_reserve_dynptr,
        bpf_ringbuf_submit_dynptr,
    },
    macros::btf_map,
};
use ringfence_common::{
    Action, Decision, Verdict,
    event::{Destination, Event, PATH_BYTES},
    scope::{Here, MAX_SCOPES, NOBODY, Notice},
    tls::NAME_ROOM,
};

use crate::{
    kernel::{current, offset, read_u32, read_u64},
    path::PathRoom,
    scope::Task,
    scopes::{lost, next},
    table::{generation, table},
};

pub(crate) const EPERM: i32 = 1;
pub(crate) const EACCES: i32 = 13;

/// A ring of events of a scope.
type Ring = RingBuf<Event, { 1 << 20 }>;

/// The rings, by number of their scope. The agent makes one for each.
#[btf_map]
static RINGS: ArrayOfMaps<Ring, { MAX_SCOPES as usize }> = ArrayOfMaps::new();

/// No destination.
pub(crate) const NOWHERE: Destination =
    Destination { address: [0; 16], port: 0, protocol: 0, family: 0, detail: 0 };

/// What the caller gets for a decision: 0 or a negative error.
#[inline(always)]
pub(crate) fn answer(decision: Decision, errno: i32) -> i32 {
    if decision.verdict == Verdict::Deny { -errno } else { 0 }
}

/// What an act is refused with that names a path.
#[inline(always)]
const fn errno_of(action: Action) -> i32 {
    match action {
        Action::Connect | Action::Send => EPERM,
        _ => EACCES,
    }
}

/// Fills in the decision.
#[inline(always)]
fn describe(
    event: &mut Event,
    scope: u32,
    action: Action,
    decision: Decision,
    errno: i32,
    destination: Destination,
) {
    // SAFETY: the helper takes no arguments and cannot fail.
    event.time = unsafe { bpf_ktime_get_boot_ns() };
    event.scope = scope;
    event.sequence = next(scope);
    event.rule = decision.rule;
    event.action = action as u8;
    event.verdict = decision.verdict as u8;
    event.reason = decision.reason.number();
    event.errno = if decision.verdict == Verdict::Deny { errno as u8 } else { 0 };
    event.destination = destination;
    event.path_room = 0;
    event.path_length = 0;
    event.new_path_room = 0;
    event.new_path_length = 0;
}

/// Fills in who the current task is.
#[inline(always)]
fn by_current(event: &mut Event) {
    // SAFETY: these helpers take no arguments and cannot fail.
    let (pid_tgid, uid_gid, cgroup) = unsafe {
        (bpf_get_current_pid_tgid(), bpf_get_current_uid_gid(), bpf_get_current_cgroup_id())
    };
    event.cgroup = cgroup;
    event.pid = (pid_tgid >> 32) as u32;
    event.tid = pid_tgid as u32;
    event.uid = uid_gid as u32;
    // SAFETY: the destination is 16 bytes, TASK_COMM_LEN.
    unsafe { bpf_get_current_comm((&raw mut event.comm).cast::<c_void>(), 16) };
}

/// Process of the current task's parent.
#[inline(always)]
fn parent() -> u32 {
    let parent = read_u64(current() + offset!(task_parent));
    read_u32(parent + offset!(task_process))
}

/// The ring of a scope, as the helpers take it; null where it has none.
#[inline(always)]
fn ring(scope: u32) -> *mut c_void {
    RINGS
        .get(scope)
        .map_or(core::ptr::null_mut(), |ring: &Ring| (&raw const *ring).cast_mut().cast())
}

/// Tells of a decision with no path, from a hook that knows its task.
#[inline(never)]
fn of_task(task: &mut Task, action: Action, decision: &Decision, errno: i32, to: &Destination) {
    let scope = task.scope;
    let event = &mut task.event;
    describe(event, scope, action, *decision, errno, *to);
    by_current(event);
    event.ppid = parent();
    let (ring, event) = (ring(scope), &raw mut *event);
    // SAFETY: the ring is one, and the event is initialised memory of a map.
    let is_told = !ring.is_null()
        && unsafe { bpf_ringbuf_output(ring, event.cast(), size_of::<Event>() as u64, 0) } == 0;
    if !is_told {
        lost(scope);
    }
}

/// Tells of a decision about a destination by a governed task.
#[inline(always)]
pub(crate) fn going(task: &mut Task, action: Action, decision: Decision, to: &Destination) -> i32 {
    if decision.verdict != Verdict::Allow {
        of_task(task, action, &decision, EPERM, to);
    }
    answer(decision, EPERM)
}

/// Tells of a decision that is about no path and no destination.
#[inline(always)]
pub(crate) fn plain(task: &mut Task, action: Action, decision: Decision, errno: i32) {
    of_task(task, action, &decision, errno, &NOWHERE);
}

/// Tells, in the context of a task, how much of a budget is used.
#[inline(always)]
pub(crate) fn budget(scope: u32, decision: Decision, to: &Destination) {
    reserved(scope, Action::Budget, decision, 0, to, by_current);
}

/// Tells of a decision by a task of a scope that has no label.
#[inline(always)]
pub(crate) fn nameless(scope: u32, action: Action, decision: Decision, errno: i32) {
    reserved(scope, action, decision, errno, &NOWHERE, by_current);
}

/// Tells of a decision from a program that has no label to fill in: the cgroup's own hooks.
#[inline(always)]
pub(crate) fn unlabelled(here: &Here, action: Action, decision: Decision, to: &Destination) {
    reserved(here.scope, action, decision, EPERM, to, by_current);
}

/// Tells of a packet; no task is known for it.
#[inline(always)]
pub(crate) fn packet(here: &Here, action: Action, decision: Decision, to: &Destination) {
    reserved(here.scope, action, decision, EPERM, to, |event| by_none(event, here));
}

/// A record with room for the name of a server.
#[repr(C)]
struct Named {
    event: Event,
    name: [u8; NAME_ROOM],
}

/// Tells of a packet that names a server; the name's bytes are at the end of its room.
#[inline(always)]
pub(crate) fn named_packet(
    here: &Here,
    action: Action,
    decision: Decision,
    to: &Destination,
    (name, length): (&[u8; NAME_ROOM], u32),
) {
    let Some(mut entry) = RINGS.get(here.scope).and_then(|ring| ring.reserve_untyped::<Named>(0))
    else {
        next(here.scope);
        lost(here.scope);
        return;
    };
    // SAFETY: as in `reserved`; every byte of the name is written too.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    let event = &mut record.event;
    event.exe_length = 0;
    event.ppid = 0;
    event.generation = generation_of(here.scope);
    describe(event, here.scope, action, decision, EPERM, *to);
    by_none(event, here);
    event.path_room = NAME_ROOM as u16;
    event.path_length = length as u16;
    record.name = *name;
    entry.submit(0);
}

/// Tells the agent of a control group or a task of it; false without room for it.
#[inline(always)]
pub(crate) fn notice(notice: &Notice) -> bool {
    let ring = ring(NOBODY);
    // SAFETY: the ring is one, and the notice is initialised memory of ours.
    !ring.is_null()
        && unsafe {
            let size = size_of::<Notice>() as u64;
            bpf_ringbuf_output(ring, (&raw const *notice).cast_mut().cast(), size, 0) == 0
        }
}

#[inline(always)]
fn by_none(event: &mut Event, here: &Here) {
    event.cgroup = here.cgroup;
    event.pid = 0;
    event.tid = 0;
    event.uid = 0;
    event.comm = [0; 16];
}

/// The generation of a scope's policy now.
#[inline(always)]
fn generation_of(scope: u32) -> u32 {
    table(scope).map_or(0, |table| generation(&table))
}

#[inline(always)]
fn reserved(
    scope: u32,
    action: Action,
    decision: Decision,
    errno: i32,
    to: &Destination,
    subject: impl FnOnce(&mut Event),
) {
    let Some(mut entry) = RINGS.get(scope).and_then(|ring| ring.reserve_untyped::<Event>(0)) else {
        next(scope);
        lost(scope);
        return;
    };
    // SAFETY: the reserved room is one Event, whose every bit pattern is one, and every member of
    // which is written here but `exe`, whose length is 0: clearing it would be a loop of its own
    // in each of the programs.
    let event = unsafe { &mut *entry.as_mut_ptr() };
    event.exe_length = 0;
    event.ppid = 0;
    event.generation = generation_of(scope);
    describe(event, scope, action, decision, errno, *to);
    subject(event);
    entry.submit(0);
}

/// Room for a path, in one of three sizes, so that every length is a constant to the verifier.
#[inline(always)]
const fn room_for(length: u32) -> u16 {
    match length {
        0..=256 => 256,
        257..=1024 => 1024,
        _ => PATH_BYTES as u16,
    }
}

/// Writes the last `room` bytes before [`PATH_BYTES`] of a path's buffer.
#[inline(always)]
fn write_path(record: *mut bpf_dynptr, at: u32, path: *const u8, room: u16) -> bool {
    // SAFETY: the lengths are constants, and the ends of their rooms are within the buffer.
    let wrote = unsafe {
        match room {
            256 => {
                bpf_dynptr_write(record, at, path.add(PATH_BYTES - 256).cast_mut().cast(), 256, 0)
            }
            1024 => {
                bpf_dynptr_write(record, at, path.add(PATH_BYTES - 1024).cast_mut().cast(), 1024, 0)
            }
            _ => bpf_dynptr_write(record, at, path.cast_mut().cast(), PATH_BYTES as u32, 0),
        }
    };
    wrote == 0
}

/// Tells of a decision about one path, which stands in the task's buffer, or about two.
#[inline(always)]
pub(crate) fn paths(
    task: &mut Task,
    action: Action,
    decision: Decision,
    second: Option<&PathRoom>,
) -> i32 {
    if decision.verdict != Verdict::Allow {
        tell_paths(task, action, &decision, second);
    }
    answer(decision, errno_of(action))
}

#[inline(never)]
fn tell_paths(task: &mut Task, action: Action, decision: &Decision, second: Option<&PathRoom>) {
    let (scope, length) = (task.scope, task.room.length());
    let event = &mut task.event;
    describe(event, scope, action, *decision, errno_of(action), NOWHERE);
    by_current(event);
    event.ppid = parent();
    event.path_length = length as u16;
    event.path_room = room_for(length);
    if let Some(second) = second {
        event.new_path_length = second.length() as u16;
        event.new_path_room = room_for(second.length());
    }
    let fixed = size_of::<Event>() as u32;
    let (room, new_room) = (event.path_room, event.new_path_room);
    let mut record = bpf_dynptr { __opaque: [0; 2] };
    let record = &raw mut record;
    let ring = ring(scope);
    if ring.is_null() {
        lost(scope);
        return;
    }
    let size = fixed + room as u32 + new_room as u32;
    // SAFETY: the record is submitted or discarded on every way out, as the verifier demands.
    unsafe {
        let reserved = bpf_ringbuf_reserve_dynptr(ring, size, 0, record.cast()) == 0;
        let event = (&raw mut task.event).cast();
        if reserved
            && bpf_dynptr_write(record.cast(), 0, event, fixed, 0) == 0
            && write_path(record, fixed, task.room.path.as_ptr(), room)
            && second.is_none_or(|second| {
                write_path(record, fixed + room as u32, second.path.as_ptr(), new_room)
            })
        {
            bpf_ringbuf_submit_dynptr(record.cast(), 0);
            return;
        }
        bpf_ringbuf_discard_dynptr(record.cast(), 0);
    }
    lost(scope);
}
