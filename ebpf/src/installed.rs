//! Destinations that are open because a name stands for their address: what the resolver has
//! installed, and which sockets were opened by it.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_ktime_get_boot_ns, bpf_sk_fullsock, bpf_sk_storage_delete, bpf_sk_storage_get,
    },
    macros::{btf_map, map},
    maps::HashMap,
    programs::SkBuffContext,
};
use ringfence_common::{
    Cell, Decision, Image as _, Verdict, egress,
    image::header,
    installed::{Key, MAX_ENTRIES, Opened, Value, find},
    scope::Here,
};

use crate::{network::Peer, table::Table};

/// What the resolvers have opened. Without memory set aside: most scopes need a few entries.
#[map]
static INSTALLED: HashMap<Key, Value> = HashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);

/// Where a socket was let to by a name: an open connection outlives the entry that opened it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    high: u64,
    low: u64,
    port: u16,
    protocol: u8,
    /// How far the check of the server's name is: one of [`stage`].
    pub(crate) stage: u8,
    /// Sequence number of the first byte, from [`stage::CHECKED`] on.
    pub(crate) first: u32,
    /// The generation of the policy by which it was.
    generation: u32,
    spare: u32,
}

impl Flow {
    #[inline(always)]
    pub(crate) fn is_to(&self, far: Peer) -> bool {
        self.high == far.address.high
            && self.low == far.address.low
            && self.port == far.port
            && self.protocol == far.protocol.number()
    }
}

/// Stages of the check of the name of a server.
pub(crate) mod stage {
    /// There is none, or it is over: all goes on.
    pub(crate) const PASSES: u8 = 0;
    /// The first bytes must name a server that the scope may look up. There was no packet yet.
    pub(crate) const AWAITED: u8 = 1;
    /// The connection was opened.
    pub(crate) const CHECKED: u8 = 2;
    /// It was refused: nothing that has content goes on.
    pub(crate) const REFUSED: u8 = 3;
}

#[btf_map]
static FLOWS: SkStorage<Flow> = SkStorage::new();

/// What the rules about addresses, and the names that stand for one, say of a destination.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) decision: Decision,
    /// No rule about addresses opens it, and none closes it.
    pub(crate) by_default: bool,
    /// It is open for now, since a name stands for the address.
    pub(crate) by_name: bool,
    /// The first bytes must name a server that the scope may look up.
    pub(crate) checks_name: bool,
    /// The generation of the policy.
    pub(crate) generation: u32,
}

/// What stands for no cell.
const CORRUPT: u64 = u64::MAX;

/// Decides about a destination.
#[inline(always)]
pub(crate) fn decide(scope: u32, table: &Table, to: Peer) -> Found {
    // A number until it is known what it counts for: else the verifier follows what comes next once
    // for each answer.
    let cell = egress::cell(table, to.address, to.protocol, to.port);
    let number = table.blur(cell.map_or(CORRUPT, |cell| cell.0 as u64));
    let cell = (number != CORRUPT).then_some(Cell(number as u32));
    let generation = table.word(header::GENERATION).unwrap_or(0);
    if let Some(cell) = cell
        && cell.is_by_default()
        && let Some(found) = opened(scope, generation, to)
    {
        return found;
    }
    let answer = egress::Answer::of(cell);
    Found {
        generation,
        decision: answer.decision,
        by_default: answer.by_default && answer.decision.verdict != Verdict::Allow,
        by_name: false,
        checks_name: false,
    }
}

/// What a name that stands for the address opens.
#[inline(always)]
fn opened(scope: u32, generation: u32, to: Peer) -> Option<Found> {
    let key = Key::new(scope, generation, to.address);
    let value = INSTALLED.get_ptr(&key)?;
    // SAFETY: the map's values live until a grace period after the program, and are replaced as a
    // whole; the helper takes no arguments.
    let opened = unsafe { find(&*value, bpf_ktime_get_boot_ns(), to.protocol, to.port) }?;
    let Opened { decision, checks_name } = opened;
    Some(Found { decision, by_default: true, by_name: true, checks_name, generation })
}

/// The flow of a socket that the kernel gave; `None` without one, or without memory for it.
#[inline(always)]
pub(crate) fn flow(sock: *mut c_void, flags: u32) -> Option<&'static mut Flow> {
    let map = (&raw const FLOWS).cast_mut().cast();
    // SAFETY: the loader puts the map's address here, and the value lives as long as the socket.
    unsafe {
        bpf_sk_storage_get(map, sock, core::ptr::null_mut(), flags as u64).cast::<Flow>().as_mut()
    }
}

/// Remembers where a socket was let to; false without memory for it: then it must not go.
#[inline(always)]
#[must_use]
pub(crate) fn remember(sock: *mut c_void, to: Peer, found: Found) -> bool {
    let Some(flow) = flow(sock, BPF_SK_STORAGE_GET_F_CREATE) else { return false };
    *flow = Flow {
        high: to.address.high,
        low: to.address.low,
        port: to.port,
        protocol: to.protocol.number(),
        stage: found.checks_name as u8,
        first: 0,
        generation: found.generation,
        spare: 0,
    };
    true
}

/// Forgets where a socket was let to.
#[inline(always)]
pub(crate) fn forget(sock: *mut c_void) {
    // SAFETY: the loader puts the map's address here, and the kernel gave the socket.
    unsafe { bpf_sk_storage_delete((&raw const FLOWS).cast_mut().cast(), sock) };
}

/// The flow of a packet's socket, if it is to or from there, and was let there by this policy and
/// by none before.
#[inline(always)]
pub(crate) fn flow_of(
    ctx: &SkBuffContext,
    far: Peer,
    generation: u32,
) -> Option<&'static mut Flow> {
    let flow = flow(socket(ctx)?, 0)?;
    (flow.is_to(far) && flow.generation == generation).then_some(flow)
}

/// A packet's socket.
#[inline(always)]
pub(crate) fn socket(ctx: &SkBuffContext) -> Option<*mut c_void> {
    // SAFETY: the context is valid.
    let any = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if any.is_null() {
        return None;
    }
    // SAFETY: the helper takes any socket of a packet, and yields null for one that is not whole.
    let sock = unsafe { bpf_sk_fullsock(any) };
    (!sock.is_null()).then_some(sock.cast())
}

/// Decides about a packet, to or from `far`. A socket that was let there by a name goes on.
#[inline(always)]
pub(crate) fn decide_packet(ctx: &SkBuffContext, here: &Here, table: &Table, far: Peer) -> Found {
    let found = decide(here.scope, table, far);
    if found.by_default && !found.by_name && flow_of(ctx, far, found.generation).is_some() {
        return Found { decision: Decision::ALLOW, ..found };
    }
    found
}
