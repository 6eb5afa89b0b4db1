//! The scopes that these programs hold: which one a task's control group belongs to, and what the
//! agent has written of each.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_map_type, task_struct},
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_local_storage},
    macros::{btf_map, map},
    maps::{Array, HashMap},
};
use ringfence_common::scope::{
    Here, LEVEL, MAX_MEMBERS, MAX_SCOPES, Member, NOBODY, PARENT_LEVEL, Scope, Told, Watch, on,
};

use crate::{
    kernel::{offset, read_u32, read_u64, reads_by_cast, typed, typed_u32},
    scope::Place,
    table::repeat,
};

/// By number.
#[map]
static SCOPES: Array<Scope> = Array::with_max_entries(MAX_SCOPES, 0);

/// The cgroups whose processes are governed, by which scope. An entry brings the scope into force
/// for them.
#[map]
pub(crate) static BY_CGROUP: HashMap<u64, Member> =
    HashMap::with_max_entries(MAX_MEMBERS, BPF_F_NO_PREALLOC);

/// What the agent is asked to see to.
#[map]
static WATCH: Array<Watch> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How far the events of each scope have been told, by its number. For agents only.
#[map]
static TOLD: Array<Told> = Array::with_max_entries(MAX_SCOPES, 0);

/// How many events of a scope there were, by its number: told and lost.
#[map]
static SEQUENCES: Array<u64> = Array::with_max_entries(MAX_SCOPES, BPF_F_MMAPABLE);

/// How many events of a scope found no room, by its number.
#[map]
static LOST: Array<u64> = Array::with_max_entries(MAX_SCOPES, 0);

/// Identifier of the cgroup that all scopes are in.
#[map]
static PARENT: Array<u64> = Array::with_max_entries(1, 0);

/// A `BPF_MAP_TYPE_CGROUP_STORAGE` that all programs of a cgroup share: its key is a number.
#[repr(C)]
struct CgroupStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_CGROUP_STORAGE as usize],
    key: *const u64,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; 0],
}

// SAFETY: the pointers are placeholders that describe the map to the loader and are never read.
unsafe impl<T> Sync for CgroupStorage<T> {}

#[btf_map]
static HERE: CgroupStorage<Here> = CgroupStorage {
    r#type: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

/// What the agent has written of the scope that a control group's hook is attached for; `None`
/// before it has.
#[inline(always)]
pub(crate) fn here() -> Option<&'static Here> {
    let map = (&raw const HERE).cast_mut().cast::<c_void>();
    // SAFETY: the loader puts the map's address here. The helper always yields the storage of the
    // cgroup that the program is attached to, which only the agent writes, before it is used.
    let here = unsafe { &*bpf_get_local_storage(map, 0).cast::<Here>() };
    (here.on & on::SET != 0).then_some(here)
}

/// A scope.
#[inline(always)]
pub(crate) fn scope(number: u32) -> Option<&'static Scope> {
    SCOPES.get(number)
}

/// Adds one. The target has no compare-and-swap to the compiler, and so no `AtomicU64::fetch_add`.
///
/// # Safety
///
/// The number is one of a map that programs only ever change by atomic additions.
#[inline(always)]
unsafe fn count(number: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) number, in(reg) 1_u64) };
}

/// The number of a scope's next event: the first is 1.
#[inline(always)]
pub(crate) fn next(number: u32) -> u64 {
    let Some(place) = SEQUENCES.get_ptr_mut(number) else { return 0 };
    let mut before = 1_u64;
    // SAFETY: as in `count`; the agent too only ever adds.
    unsafe {
        asm!("{0} = atomic_fetch_add((u64 *)({1} + 0), {0})", inout(reg) before, in(reg) place);
    }
    before + 1
}

/// Counts an event of a scope that found no room, and has a number.
#[inline(always)]
pub(crate) fn lost(number: u32) {
    if let Some(lost) = LOST.get_ptr_mut(number) {
        // SAFETY: the element is a u64 that is only ever changed by this addition.
        unsafe { count(lost) };
    }
}

/// What the agent is asked, and has been told to do.
#[inline(always)]
pub(crate) fn watch() -> Option<&'static Watch> {
    WATCH.get(0)
}

/// Has every hook look at the cgroups of every task, until the agent has labelled those that lack
/// their label.
#[inline(always)]
pub(crate) fn ask() {
    if let Some(watch) = WATCH.get_ptr_mut(0) {
        // SAFETY: the count is only ever changed by atomic additions.
        unsafe { count(&raw mut (*watch).asked) };
    }
}

/// Counts a file of the agent's that was noted.
#[inline(always)]
pub(crate) fn noted() {
    if let Some(watch) = WATCH.get_ptr_mut(0) {
        // SAFETY: only the agent's own thread comes here, which waits meanwhile.
        unsafe { (*watch).noted = (*watch).noted.wrapping_add(1) };
    }
}

/// Counts a cgroup that was not entered, or of which the agent was not told.
#[inline(always)]
pub(crate) fn miss() {
    if let Some(watch) = WATCH.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { count(&raw mut (*watch).missed) };
    }
}

/// The way up from a cgroup to the next one whose processes are governed.
struct Climb {
    cgroup: u64,
    /// Levels that are left.
    levels: u32,
    /// What was found.
    scope: u32,
    level: u32,
    own: u64,
}

/// Cgroups within each other that are looked at.
const MAX_LEVELS: u32 = 1024;

/// The cgroup next to this one, itself or above, whose processes are governed.
#[inline(always)]
pub(crate) fn nearest(cgroup: u64) -> Option<Place> {
    let levels = read_u32(cgroup + offset!(cgroup_level)).wrapping_add(1);
    let mut climb = Climb { cgroup, levels, scope: 0, level: 0, own: 0 };
    repeat((), MAX_LEVELS, &mut climb, |(), climb| {
        if climb.levels == 0 {
            return false;
        }
        climb.levels -= 1;
        let id = identifier(climb.cgroup, climb.levels);
        let Some(member) = BY_CGROUP.get_ptr(&id) else { return true };
        // SAFETY: the value lives as long as the program runs.
        let member = unsafe { *member };
        if member.scope == NOBODY {
            return true;
        }
        climb.scope = member.scope;
        climb.level = member.level;
        climb.own = id;
        false
    });
    (climb.scope != 0).then_some(Place {
        scope: climb.scope,
        level: climb.level,
        cgroup: climb.own,
    })
}

/// The scope in whose cgroup, or one below, the current task is.
#[inline(always)]
pub(crate) fn of_current(task: *const task_struct) -> Option<Place> {
    // SAFETY: the task is the current one, and always has a set of cgroups.
    let cgroup = unsafe {
        let set = typed(task.cast(), offset!(task_cgroups)) as *const u8;
        typed(set, offset!(set_cgroup)) as *const u8
    };
    // SAFETY: as above.
    if unsafe { typed_u32(cgroup, offset!(cgroup_level)) } >= LEVEL
        && ancestor(cgroup, PARENT_LEVEL) == *PARENT.get(0)?
    {
        let own = ancestor(cgroup, LEVEL);
        // SAFETY: the value lives as long as the program runs, and is never changed.
        let member = unsafe { *BY_CGROUP.get_ptr(own)? };
        return Some(Place::of(member, own));
    }
    // Those of the agent's scopes have their labels already, unless something went wrong.
    let watch = watch()?;
    if watch.asked == watch.done {
        return None;
    }
    nearest_of_current(cgroup as u64)
}

#[inline(never)]
fn nearest_of_current(cgroup: u64) -> Option<Place> {
    nearest(cgroup)
}

/// Identifier of the current task's ancestor cgroup at a level that it has.
#[inline(always)]
fn ancestor(cgroup: *const u8, level: u32) -> u64 {
    if reads_by_cast() {
        return identifier(cgroup as u64, level);
    }
    // SAFETY: the helper takes a number and yields 0 when there is no such ancestor.
    unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) }
}

/// Identifier of a cgroup's ancestor at a level that it has.
#[inline(always)]
pub(crate) fn identifier(cgroup: u64, level: u32) -> u64 {
    let ancestor = read_u64(cgroup + offset!(cgroup_ancestors) + level as u64 * 8);
    read_u64(read_u64(ancestor + offset!(cgroup_node)) + offset!(node_id))
}
