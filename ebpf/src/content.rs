//! Files whose content the policy names: executed only while they have it, and changed by nobody
//! who is governed.

use aya_ebpf::{macros::map, maps::HashMap};
use ringfence_common::{
    Cell, Decision, Reason, Right,
    content::{ANY_RULE, Inode, Key, Pin},
};

use crate::kernel::{offset, read_u32, read_u64, setting};

/// The files that had the content when the agent looked. It fills the map before the programs are
/// attached, with as many entries as it needs.
#[map]
static PROGRAMS: HashMap<Key, Pin> = HashMap::with_max_entries(1, 0);

/// Whether any rule names a content. A constant to the verifier, which removes what depends on it.
#[inline(always)]
pub(crate) fn is_asked() -> bool {
    setting!(pins) != 0
}

#[inline(always)]
fn pin(inode: u64, rule: u32) -> Option<&'static Pin> {
    let superblock = read_u64(inode + offset!(inode_superblock));
    let key = Key {
        device: read_u32(superblock + offset!(superblock_device)),
        rule,
        inode: read_u64(inode + offset!(inode_number)),
    };
    PROGRAMS.get_ptr(&key).map(|pin| {
        // SAFETY: nobody changes the map once the programs are attached.
        unsafe { &*pin }
    })
}

/// Whether a file has the content that a rule names.
#[inline(always)]
pub(crate) fn holds(inode: u64, rule: u32) -> bool {
    let Some(pin) = pin(inode, rule) else { return false };
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
pub(crate) fn keep(inode: u64, rights: u32, decision: Decision) -> Decision {
    if !is_asked() || rights & Right::Write.bit() == 0 || inode == 0 {
        return decision;
    }
    match pin(inode, ANY_RULE) {
        Some(pin) if Cell(pin.refusal).verdict() as u8 > decision.verdict as u8 => {
            Decision::of(Cell(pin.refusal), Reason::ToolCodeChanged)
        }
        _ => decision,
    }
}
