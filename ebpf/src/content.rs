//! Files whose content the policy names: executed only while they have it, and changed by nobody
//! who is governed.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, macros::map, maps::HashMap};
use ringfence_common::{
    Cell, Decision, Image as _, Reason, Right,
    content::{ANY_RULE, Inode, Key, MAX_PINS, Pin},
    image::header,
};

use crate::{
    kernel::{offset, read_u32, read_u64},
    table::Table,
};

/// The files that had the content when the agent looked, before their scope came into force.
#[map]
static PROGRAMS: HashMap<Key, Pin> = HashMap::with_max_entries(MAX_PINS, BPF_F_NO_PREALLOC);

/// Whether any rule names a content.
#[inline(always)]
pub(crate) fn is_asked(table: &Table) -> bool {
    table.word(header::NAMES_CONTENTS) != Some(0)
}

#[inline(always)]
fn pin(scope: u32, table: &Table, inode: u64, rule: u32) -> Option<&'static Pin> {
    let superblock = read_u64(inode + offset!(inode_superblock));
    let key = Key {
        device: read_u32(superblock + offset!(superblock_device)),
        rule,
        inode: read_u64(inode + offset!(inode_number)),
        scope,
        generation: table.word(header::GENERATION)?,
    };
    PROGRAMS.get_ptr(&key).map(|pin| {
        // SAFETY: nobody changes an entry while its scope is in force.
        unsafe { &*pin }
    })
}

/// Whether a file has the content that a rule names.
#[inline(always)]
pub(crate) fn holds(scope: u32, table: &Table, inode: u64, rule: u32) -> bool {
    let Some(pin) = pin(scope, table, inode, rule) else { return false };
    pin.holds(Inode {
        changed_seconds: read_u64(inode + offset!(inode_changed_seconds)),
        size: read_u64(inode + offset!(inode_size)),
        changed_nanoseconds: read_u32(inode + offset!(inode_changed_nanoseconds)),
        generation: read_u32(inode + offset!(inode_generation)),
        flags: read_u32(inode + offset!(inode_flags)),
        writers: read_u32(inode + offset!(inode_writers)) as i32,
    })
}

/// The decision on using a file, by whatever name, for a set of rights: the one that was taken, or
/// a stricter one where it would change a file whose content a rule names.
#[inline(always)]
pub(crate) fn keep(
    scope: u32,
    table: &Table,
    inode: u64,
    rights: u32,
    decision: Decision,
) -> Decision {
    if !is_asked(table) || rights & Right::Write.bit() == 0 || inode == 0 {
        return decision;
    }
    match pin(scope, table, inode, ANY_RULE) {
        Some(pin) if Cell(pin.refusal).verdict() as u8 > decision.verdict as u8 => {
            Decision::of(Cell(pin.refusal), Reason::ToolCodeChanged)
        }
        _ => decision,
    }
}
