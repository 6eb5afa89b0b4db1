//! Distinct files that are opened.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::generated::{bpf_map_lookup_elem, bpf_map_update_elem},
    macros::map,
    maps::HashMap,
};
use ringfence_common::{
    Action, Cell, Decision, Reason, Right, Verdict,
    budget::{self, FileKey, Kind, MAX_FILES, MAX_SCOPE_FILES},
    files,
};

use super::{BUDGETS, add, is_on, take};
use crate::{
    emit::{self, EACCES},
    file::FILE_TYPE,
    kernel::{offset, read_u16, read_u32, read_u64},
    scope::Task,
    table::{Table, table},
};

/// The files that scopes with such a budget have opened.
#[map]
static TOUCHED: HashMap<FileKey, u8> = HashMap::with_max_entries(MAX_FILES, BPF_F_NO_PREALLOC);

/// `S_IFREG`.
const REGULAR: u16 = 0o100000;

/// Whether opening an inode counts as touching a file.
#[inline(always)]
pub(crate) fn is_touch(scope: u32, inode: u64, rights: u32) -> bool {
    rights & (Right::Read.bit() | Right::Write.bit()) != 0
        && is_on(scope, Kind::FilesTouched)
        && read_u16(inode + offset!(inode_mode)) & FILE_TYPE == REGULAR
}

/// Whether the rule that allows an opening is one of the baseline's.
#[inline(always)]
pub(crate) fn is_by_baseline(table: &Table, state: u32, rights: u32) -> bool {
    let right = if rights & Right::Write.bit() != 0 { Right::Write } else { Right::Read };
    files::is_by_baseline(table, state, right)
}

/// Counts a file that is opened, once for each scope: the answer as a [`Cell`], and above it the
/// reason if it does not allow.
#[inline(never)]
fn touch_file(scope: u32, inode: u64) -> u64 {
    let key = FileKey {
        inode: read_u64(inode + offset!(inode_number)),
        device: read_u32(read_u64(inode + offset!(inode_superblock)) + offset!(superblock_device)),
        generation: read_u32(inode + offset!(inode_generation)),
        scope,
        reserved: 0,
    };
    const FULL: u64 = (Reason::TableFull.number() as u64) << 32;
    const SPENT: u64 = (Reason::BudgetExceeded.number() as u64) << 32;
    if is_touched(&key) {
        return 0;
    }
    let cell = take(scope, Kind::FilesTouched, 1, |decision, to| emit::budget(scope, decision, to));
    if cell.verdict() == Verdict::Deny {
        // Another may have opened it meanwhile.
        return if is_touched(&key) { 0 } else { SPENT | cell.0 as u64 };
    }
    let has_room = BUDGETS
        .get(scope)
        .is_some_and(|used| used.amounts[Kind::FilesTouched as usize] <= MAX_SCOPE_FILES);
    let value = 0_u8;
    // SAFETY: the loader puts the map's address here; the key and the value are as the map's.
    let failed = unsafe {
        has_room as i64 - 1
            | bpf_map_update_elem(
                (&raw const TOUCHED).cast_mut().cast::<c_void>(),
                (&raw const key).cast_mut().cast(),
                (&raw const value).cast_mut().cast(),
                BPF_NOEXIST as u64,
            )
    };
    if failed != 0 {
        add(scope, Kind::FilesTouched, u64::MAX);
        let limit = table(scope).and_then(|table| budget::limit(&table, Kind::FilesTouched));
        let refusal = limit.map_or(Cell::new(Verdict::Deny, 0), |limit| limit.refusal);
        return if is_touched(&key) { 0 } else { FULL | refusal.0 as u64 };
    }
    if cell == Cell::ALLOW { 0 } else { SPENT | cell.0 as u64 }
}

#[inline(always)]
fn is_touched(key: &FileKey) -> bool {
    // SAFETY: the loader puts the map's address here, and the key is as long as the map's.
    let found = unsafe {
        bpf_map_lookup_elem(
            (&raw const TOUCHED).cast_mut().cast::<c_void>(),
            (&raw const *key).cast_mut().cast(),
        )
    };
    !found.is_null()
}

/// What becomes of opening a file that the policy allows to be opened.
#[inline(always)]
pub(crate) fn touch(scope: u32, inode: u64) -> Decision {
    let answer = touch_file(scope, inode);
    Decision::of(Cell(answer as u32), Reason::of_number((answer >> 32) as u8))
}

/// Counts a file that is opened where no policy is about files.
#[inline(always)]
pub(crate) fn touch_ungoverned(task: &mut Task, inode: u64, rights: u32, action: Action) -> i32 {
    if !is_touch(task.scope, inode, rights) {
        return 0;
    }
    let decision = touch(task.scope, inode);
    if decision.verdict == Verdict::Allow {
        return 0;
    }
    emit::plain(task, action, decision, EACCES);
    emit::answer(decision, EACCES)
}
