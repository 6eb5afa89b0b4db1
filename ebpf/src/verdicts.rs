//! What a task has been allowed already, so that opening a file again costs no climb and no walk.
//!
//! Remembered is a name in a folder: the folder by its directory entry and mount, the name by its
//! bytes, and the rights that are allowed without an event. A verdict is used only while it must
//! come out the same:
//!
//! - **The folder has the path that it had**: nothing was renamed or mounted since ([`Moment`]).
//! - **The folder is the one that it was.** The kernel may forget a directory entry and make
//!   another at its address, but none becomes a folder's without `d_instantiate`, which is counted
//!   before others can find the entry. No entry that is read here can be freed meanwhile: programs
//!   run within one RCU section.
//! - **The name is the one that was judged**, byte by byte, in that folder at that moment.
//! - The counts of renames and mounts have 32 bits. A verdict is forgotten long before they could
//!   come round to where they were.
//!
//! - **The policy is the one that judged**, of the scope that the task is in: with the first verdict
//!   of another all before are forgotten.
//!
//! Nothing is remembered of file systems
//! whose names depend on who asks, or that are guarded, nor where processes may change their root.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    helpers::generated::{bpf_jiffies64, bpf_probe_read_kernel},
    macros::{lsm, map},
    maps::Array,
    programs::LsmContext,
};
use ringfence_common::{
    Image as _, Right, Verdict, budget::Kind, event::PATH_BYTES, image::header,
};

use crate::{
    budget, content,
    file::{FILE_TYPE, FOLDER, is_guarded},
    kernel::{
        load_u64, number, offset, opaque, read_u64, reads_by_cast, typed, typed_u16, typed_u32,
    },
    path::{Location, Moment},
    scope::Task,
    scopes,
    table::{Table, generation},
};

/// Verdicts that a task has room for.
const SLOTS: usize = 32;
/// Names up to this long are remembered.
const NAME_BYTES: u32 = 24;
/// Jiffies after which a verdict is forgotten: 20 s at 1,000 a second, 200 s at 100. To come round,
/// the counts need two thousand million renames.
const LIFETIME: u64 = 20_000;
/// Rights of which verdicts are remembered: what else is asked of programs and devices is more
/// than their names say.
const RIGHTS: u32 = Right::Read.bit()
    | Right::Write.bit()
    | Right::Create.bit()
    | Right::Delete.bit()
    | Right::Metadata.bit();

/// How many folders have got a directory entry since the programs were loaded.
#[map]
static FOLDERS: Array<u64> = Array::with_max_entries(1, 0);

/// The verdicts that a task remembers, by a hash of the directory entry that they were about.
#[repr(C)]
pub(crate) struct Verdicts {
    /// By which policy they are: scope and generation.
    policy: u64,
    slots: [Slot; SLOTS],
}

/// What stands for no policy.
const NO_POLICY: u64 = u64::MAX;

/// A policy of a scope, as one number.
#[inline(always)]
const fn policy(scope: u32, generation: u32) -> u64 {
    (scope as u64) << 32 | generation as u64
}

/// All zero to begin with, which is no folder.
#[repr(C)]
struct Slot {
    folder: u64,
    /// The `struct vfsmount`.
    mount: u64,
    moment: Moment,
    folders: u64,
    jiffies: u64,
    /// The name, filled up with zeros.
    name: [u64; 3],
    length: u32,
    /// Bits of the rights that are allowed.
    allowed: u32,
}

/// `security_d_instantiate(struct dentry *dentry, struct inode *inode)`: a directory entry is
/// about to stand for an inode.
#[lsm(hook = "d_instantiate")]
pub fn d_instantiate(ctx: LsmContext) -> i32 {
    let inode: *const u8 = ctx.arg(1);
    // SAFETY: the kernel gives an inode, or none, of which the load yields 0.
    let mode = unsafe { typed_u16(inode, offset!(inode_mode)) };
    if mode & FILE_TYPE == FOLDER
        && let Some(folders) = FOLDERS.get_ptr_mut(0)
    {
        // SAFETY: the element is a u64 that is only ever changed by this atomic addition.
        unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) folders, in(reg) 1_u64) };
    }
    0
}

/// How many folders have got a directory entry.
#[inline(always)]
pub(crate) fn folders() -> u64 {
    // SAFETY: the element lives as long as the program.
    FOLDERS.get_ptr(0).map_or(0, |folders| unsafe { folders.read_volatile() })
}

#[inline(always)]
fn jiffies() -> u64 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_jiffies64() }
}

/// Keeps the first `length` bytes of a word.
#[inline(always)]
const fn mask(length: u32) -> u64 {
    if length >= 8 { u64::MAX } else { (1 << (length * 8)) - 1 }
}

/// The slot for a directory entry.
#[inline(always)]
fn slot(verdicts: &mut Verdicts, entry: u64) -> &mut Slot {
    let index = opaque(entry >> 6 ^ entry >> 12) & (SLOTS as u64 - 1);
    // SAFETY: the index is below the number of slots.
    unsafe { &mut *verdicts.slots.as_mut_ptr().add(index as usize) }
}

/// Whether the task is known to be allowed every right of the set on this entry of this mount: two
/// pointers that the verifier knows the types of.
#[inline(always)]
pub(crate) fn allows(task: &mut Task, mount: *const u8, entry: *const u8, rights: u32) -> bool {
    let now = Moment::now();
    let Some(scope) = scopes::scope(task.scope) else { return false };
    if task.verdicts.policy != policy(task.scope, scope.generation) {
        return false;
    }
    let slot = slot(&mut task.verdicts, number(&mut task.room.number, entry as u64));
    // SAFETY: the caller's pointers are those of structures.
    let (folder, length, name) = unsafe {
        (
            typed(entry, offset!(dentry_parent)),
            typed_u32(entry, offset!(dentry_name_length)),
            typed(entry, offset!(dentry_name)),
        )
    };
    if slot.folder != folder
        || slot.mount != mount as u64
        || slot.moment != now
        || rights & !slot.allowed != 0
        || slot.length != length
        || slot.folders != folders()
        || jiffies().wrapping_sub(slot.jiffies) > LIFETIME
    {
        return false;
    }
    let Some([first, second, third]) = words(name, length) else { return false };
    first & mask(length) == slot.name[0]
        && (length <= 8 || second & mask(length - 8) == slot.name[1])
        && (length <= 16 || third & mask(length - 16) == slot.name[2])
        // What was read of the entry belongs together.
        && now.is_before_renames()
}

/// The words that a name is in; those beyond its end are any.
#[inline(always)]
fn words(name: u64, length: u32) -> Option<[u64; 3]> {
    if reads_by_cast() {
        let first = read_u64(name);
        let second = if length > 8 { read_u64(name + 8) } else { 0 };
        let third = if length > 16 { read_u64(name + 16) } else { 0 };
        return Some([first, second, third]);
    }
    let mut words = MaybeUninit::<[u64; 3]>::uninit();
    // SAFETY: the destination is as many bytes of our stack; the helper checks the source, which
    // is within the least that the kernel allocates for a name.
    let failed =
        unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), NAME_BYTES, name as *const _) };
    // SAFETY: the helper has written every byte: zeros where it could not read.
    let words = unsafe { words.assume_init() };
    (failed == 0).then_some(words)
}

/// Remembers what is allowed on the entry whose path has just been put together in the task's
/// room.
#[inline(always)]
pub(crate) fn remember(task: &mut Task, table: &Table, location: Location, allowed: u32) {
    if budget::is_on(task.scope, Kind::FilesTouched) {
        // A name says nothing of which file has it, and every one counts.
        return;
    }
    let room = &mut task.room;
    let (length, moment) = (room.name_length, room.begun);
    let may_change_root =
        table.word(header::GUARD_VIOLATION).is_none_or(|cell| cell >> 30 < Verdict::Deny as u32);
    if room.folder == 0 || length == 0 || length > NAME_BYTES || may_change_root {
        return;
    }
    if is_guarded(location.magic()) {
        return;
    }
    // Where rules name contents, whether a file may be written is asked of the file too.
    let rights = if content::is_asked(table) { RIGHTS & !Right::Write.bit() } else { RIGHTS };
    let allowed = allowed & rights;
    let folder = room.folder;
    let policy = policy(task.scope, generation(table));
    if task.verdicts.policy != policy {
        task.verdicts.policy = NO_POLICY;
        for slot in &mut task.verdicts.slots {
            slot.folder = 0;
        }
        task.verdicts.policy = policy;
    }
    let slot = slot(&mut task.verdicts, number(&mut room.number, location.dentry));
    // Nothing that is half written is taken for whole, whatever comes between.
    slot.folder = 0;
    slot.mount = location.mount;
    slot.moment = moment;
    slot.folders = room.folders;
    slot.jiffies = jiffies();
    slot.length = length;
    slot.allowed = allowed;
    let start = opaque(PATH_BYTES as u64 - length as u64) & (PATH_BYTES as u64 - 1);
    // SAFETY: `start` is below PATH_BYTES, and the path's array more than 24 bytes longer.
    unsafe {
        let name = room.path.as_ptr().add(start as usize);
        slot.name[0] = load_u64(name) & mask(length);
        slot.name[1] = load_u64(name.add(8)) & mask(length.saturating_sub(8));
        slot.name[2] = load_u64(name.add(16)) & mask(length.saturating_sub(16));
    }
    slot.folder = folder;
}
