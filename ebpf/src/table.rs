//! The policy image in a map, and the walk of its automaton along a path.

use core::ffi::c_void;

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps},
    helpers::generated::bpf_loop,
    macros::btf_map,
};
use ringfence_common::{
    Address, Image,
    event::PATH_BYTES,
    files::{CORRUPT, Walker},
    image::header,
    scope::MAX_SCOPES,
};

use crate::{
    kernel::{load_u16, load_u32, opaque, setting},
    path::PathRoom,
};

/// The images, by number of their scope. The agent makes the map, and decides how many bytes there
/// are for each.
#[btf_map]
static IMAGES: ArrayOfMaps<Array<[u8; 4096], 1>, { MAX_SCOPES as usize }> = ArrayOfMaps::new();

/// The image, read with checks that the verifier can follow.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Table(*const u8);

/// The policy of a scope; `None` if it has none, which cannot be while it is in force.
#[inline(always)]
pub(crate) fn table(scope: u32) -> Option<Table> {
    IMAGES.get_value(scope, &0).map(|image| Table(image.as_ptr()))
}

/// Which of the scope's policies it is.
#[inline(always)]
pub(crate) fn generation(table: &Table) -> u32 {
    table.word(header::GENERATION).unwrap_or(0)
}

impl Table {
    /// `bytes` is at most 4, and an image always longer than its header.
    #[inline(always)]
    fn at(self, offset: u32, bytes: u32) -> Option<*const u8> {
        // Or the compiler merges this check with others into arithmetic that the verifier cannot
        // follow.
        let offset = opaque(offset as u64);
        // The comparison is with a constant as far as the verifier is concerned.
        if offset > (setting!(image_bytes) - bytes) as u64 {
            return None;
        }
        // SAFETY: the value of the map is `image_bytes` long, and the offset was checked.
        Some(unsafe { self.0.add(offset as usize) })
    }
}

impl Table {
    /// The same address, of whose many forms the verifier knows nothing any more: else it follows
    /// what comes next once for each.
    #[inline(always)]
    pub(crate) fn blurred(&self, address: Address) -> Address {
        Address { high: self.blur(address.high), low: self.blur(address.low) }
    }
}

impl Image for Table {
    #[inline(always)]
    fn byte(&self, at: u32) -> Option<u8> {
        // SAFETY: `at` yields pointers to that many readable bytes.
        self.at(at, 1).map(|pointer| unsafe { *pointer })
    }

    #[inline(always)]
    fn half(&self, at: u32) -> Option<u16> {
        // SAFETY: as above.
        self.at(at, 2).map(|pointer| unsafe { load_u16(pointer) })
    }

    #[inline(always)]
    fn word(&self, at: u32) -> Option<u32> {
        // SAFETY: as above.
        self.at(at, 4).map(|pointer| unsafe { load_u32(pointer) })
    }

    #[inline(always)]
    fn blur(&self, number: u64) -> u64 {
        // A number from a map is any number to the verifier; twice the same is nothing.
        let any = self.word(header::MAGIC).unwrap_or(0) as u64;
        number ^ (any ^ opaque(any))
    }

    #[inline(always)]
    fn repeat<S>(&self, turns: u32, state: &mut S, turn: impl Fn(&Self, &mut S) -> bool) {
        repeat(*self, turns, state, turn);
    }
}

#[repr(C)]
struct Repeat<B, S> {
    what: B,
    state: *mut S,
}

/// Runs `turn` as [`Image::repeat`] says; `what` is what it reads.
#[inline(always)]
pub(crate) fn repeat<B: Copy, S, F: Fn(&B, &mut S) -> bool>(
    what: B,
    turns: u32,
    state: &mut S,
    _: F,
) {
    const { assert!(size_of::<F>() == 0, "what a turn needs is in its state") };
    let mut context = Repeat { what, state: &raw mut *state };
    // SAFETY: `repeat_once` has the type that bpf_loop calls, and the context outlives the loop.
    unsafe {
        bpf_loop(turns, repeat_once::<B, S, F> as *mut c_void, (&raw mut context).cast(), 0);
    }
}

extern "C" fn repeat_once<B, S, F: Fn(&B, &mut S) -> bool>(
    _: u32,
    context: *mut Repeat<B, S>,
) -> i64 {
    // SAFETY: bpf_loop passes the context that `repeat` gave it, whose state is borrowed there.
    let (context, state) = unsafe { (&*context, &mut *(*context).state) };
    // SAFETY: F has no bytes, so that a value of it can be made of nothing; one exists.
    let turn = unsafe { core::ptr::NonNull::<F>::dangling().as_ref() };
    !turn(&context.what, state) as i64
}

/// Bytes that one turn of the loop consumes: enough to make the turn's own cost small.
const STRIDE: u32 = 16;

/// What a turn of the walk finds on the caller's stack.
#[repr(C)]
struct Walk {
    table: Table,
    room: *mut PathRoom,
    walker: Walker,
}

/// The automaton's state after the path in a room.
#[inline(always)]
pub(crate) fn walk(table: Table, room: &mut PathRoom) -> u32 {
    let Some(walker) = Walker::new(&table) else { return CORRUPT };
    let begin = room.position;
    room.state = walker.start;
    let mut walk = Walk { table, room, walker };
    let turns = PATH_BYTES as u32 / STRIDE + 1;
    // SAFETY: `turn` has the type that bpf_loop calls, and the context outlives the loop.
    unsafe { bpf_loop(turns, turn as *mut c_void, (&raw mut walk).cast(), 0) };
    let end = room.position;
    room.position = begin;
    // Only a walk that came to the end of the path says anything.
    if end == PATH_BYTES as u32 { room.state } else { CORRUPT }
}

extern "C" fn turn(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: bpf_loop passes the context that `walk` gave it, and the room is borrowed there.
    let (walk, room) = unsafe { (&*walk, &mut *(*walk).room) };
    let mut state = room.state;
    let mut position = opaque(room.position as u64);
    for _ in 0..STRIDE {
        if position >= PATH_BYTES as u64 {
            break;
        }
        // SAFETY: the path's array is longer than PATH_BYTES.
        let byte = unsafe { *room.path.as_ptr().add(position as usize) };
        state = walk.walker.step(&walk.table, state, byte);
        if state == CORRUPT {
            // The walk ends short of the path's end, which refuses.
            return 1;
        }
        position = opaque(position + 1);
    }
    room.state = state;
    room.position = position as u32;
    (position >= PATH_BYTES as u64) as i64
}
