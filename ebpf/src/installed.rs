//! Destinations that are open because a name stands for their address: what the resolver has
//! installed, and which sockets were opened by it.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_sk_fullsock, bpf_sk_storage_get},
    macros::{btf_map, map},
    maps::HashMap,
    programs::SkBuffContext,
};
use ringfence_common::{
    Decision, Verdict, egress,
    installed::{Key, Value, find},
};

use crate::{kernel::setting, network::Peer, table::Table};

/// What the resolver has opened. Without memory set aside: most scopes need a few entries.
#[map]
static INSTALLED: HashMap<Key, Value> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);

/// Where a socket was let to by a name: an open connection outlives the entry that opened it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    high: u64,
    low: u64,
    port: u16,
    protocol: u8,
    /// 1 when the first bytes must name a server that the scope may look up.
    pub(crate) checks_name: u8,
    spare: u32,
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
}

/// Decides about a destination.
#[inline(always)]
pub(crate) fn decide(table: &Table, to: Peer) -> Found {
    let answer = egress::answer(table, to.address, to.protocol, to.port);
    let by_default = answer.by_default && answer.decision.verdict != Verdict::Allow;
    let closed =
        Found { decision: answer.decision, by_default, by_name: false, checks_name: false };
    if !by_default {
        return closed;
    }
    let key = Key::new(setting!(scope), to.address);
    let Some(value) = INSTALLED.get_ptr(&key) else { return closed };
    // SAFETY: the map's values live until a grace period after the program, and are replaced as a
    // whole; the helper takes no arguments.
    let found = unsafe { find(&*value, bpf_ktime_get_boot_ns(), to.protocol, to.port) };
    match found {
        Some(opened) => Found {
            decision: opened.decision,
            by_name: true,
            checks_name: opened.checks_name,
            ..closed
        },
        None => closed,
    }
}

/// The flow of a socket that the kernel gave; `None` without one, or without memory for it.
#[inline(always)]
fn flow(sock: *mut c_void, flags: u32) -> Option<&'static mut Flow> {
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
        checks_name: found.checks_name as u8,
        spare: 0,
    };
    true
}

/// The flow of a packet's socket, if it is to or from there.
#[inline(always)]
pub(crate) fn flow_of(ctx: &SkBuffContext, far: Peer) -> Option<&'static mut Flow> {
    let flow = flow(socket(ctx)?, 0)?;
    let is_there = flow.high == far.address.high
        && flow.low == far.address.low
        && flow.port == far.port
        && flow.protocol == far.protocol.number();
    is_there.then_some(flow)
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
pub(crate) fn decide_packet(ctx: &SkBuffContext, table: &Table, far: Peer) -> Found {
    let found = decide(table, far);
    if found.by_default && !found.by_name && flow_of(ctx, far).is_some() {
        return Found { decision: Decision::ALLOW, ..found };
    }
    found
}
