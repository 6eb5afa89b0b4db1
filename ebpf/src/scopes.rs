//! The scopes that these programs hold: which one a task's control group belongs to, and what the
//! agent has written of each.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{bpf_map_type, task_struct},
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_local_storage},
    macros::{btf_map, map},
    maps::{Array, HashMap},
};
use ringfence_common::scope::{Here, LEVEL, MAX_SCOPES, PARENT_LEVEL, Scope, on};

use crate::kernel::{offset, read_u64, reads_by_cast, typed, typed_u32};

/// By number.
#[map]
static SCOPES: Array<Scope> = Array::with_max_entries(MAX_SCOPES, 0);

/// The number of the scope whose cgroup this is. An entry brings the scope into force.
#[map]
static BY_CGROUP: HashMap<u64, u32> = HashMap::with_max_entries(MAX_SCOPES, 0);

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

/// Counts an event of a scope that found no room.
#[inline(always)]
pub(crate) fn lost(number: u32) {
    if let Some(lost) = LOST.get_ptr_mut(number) {
        // The target has no compare-and-swap to the compiler, and so no `AtomicU64::fetch_add`.
        // SAFETY: the element is a u64 that is only ever changed by this atomic addition.
        unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) lost, in(reg) 1_u64) };
    }
}

/// The scope in whose cgroup, or one below, the current task is: its number and its cgroup.
#[inline(always)]
pub(crate) fn of_current(task: *const task_struct) -> Option<(u32, u64)> {
    // SAFETY: the task is the current one, and always has a set of cgroups.
    let cgroup = unsafe {
        let set = typed(task.cast(), offset!(task_cgroups)) as *const u8;
        typed(set, offset!(set_cgroup)) as *const u8
    };
    // SAFETY: as above.
    if unsafe { typed_u32(cgroup, offset!(cgroup_level)) } < LEVEL {
        return None;
    }
    if ancestor(cgroup, PARENT_LEVEL) != *PARENT.get(0)? {
        return None;
    }
    let own = ancestor(cgroup, LEVEL);
    // SAFETY: the value lives as long as the program runs, and is never changed.
    let number = unsafe { *BY_CGROUP.get_ptr(own)? };
    Some((number, own))
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
