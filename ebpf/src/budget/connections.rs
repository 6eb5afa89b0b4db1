//! Connections that are begun, and bytes that are sent.

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::generated::bpf_sk_storage_get,
    macros::btf_map,
    programs::{SkBuffContext, SockAddrContext},
};
use ringfence_common::{
    Action, Cell, Decision, Reason, Verdict, budget::Kind, egress::Protocol, scope::Here,
};

use super::{decision, state, take};
use crate::{emit, network::Peer, redirect};

/// Where a datagram socket of a scope with such a budget sent last.
#[btf_map]
static SENT_TO: SkStorage<[u64; 3]> = SkStorage::new();

/// Counts what a socket of the scope's begins: 1 lets it go on. A datagram to where the socket sent
/// last begins nothing.
#[inline(always)]
pub(crate) fn connection(ctx: &SockAddrContext, here: &Here, action: Action, to: Peer) -> i32 {
    if to.protocol == Protocol::Udp {
        let place = (to.port as u64) << 1 | 1;
        let map = (&raw const SENT_TO).cast_mut().cast();
        let flags = BPF_SK_STORAGE_GET_F_CREATE as u64;
        // SAFETY: the loader puts the map's address here; the socket is the context's.
        let last = unsafe {
            bpf_sk_storage_get(map, redirect::sock(ctx).cast(), core::ptr::null_mut(), flags)
                .cast::<[u64; 3]>()
                .as_mut()
        };
        let Some(last) = last else {
            emit::unlabelled(here, action, Decision::deny(Reason::TableFull), &to.destination());
            return 0;
        };
        let target = [to.address.high, to.address.low, place];
        if *last == target {
            return 1;
        }
        let goes_on = begin(here, action, to);
        if goes_on != 0 {
            *last = target;
        }
        return goes_on;
    }
    begin(here, action, to)
}

#[inline(always)]
fn begin(here: &Here, action: Action, to: Peer) -> i32 {
    let cell = take(here.scope, Kind::Connections, 1, |decision, to| {
        emit::unlabelled(here, Action::Budget, decision, to);
    });
    if cell == Cell::ALLOW {
        return 1;
    }
    emit::unlabelled(here, action, decision(cell), &to.destination());
    (cell.verdict() != Verdict::Deny) as i32
}

/// Counts the bytes of a packet that is sent: 1 lets it go on.
#[inline(always)]
pub(crate) fn packet(ctx: &SkBuffContext, here: &Here) -> i32 {
    let cell = take(here.scope, Kind::SentBytes, ctx.len() as u64, |decision, to| {
        emit::packet(here, Action::Budget, decision, to);
    });
    if cell == Cell::ALLOW {
        return 1;
    }
    emit::packet(here, Action::Send, decision(cell), &state(here.scope, Kind::SentBytes));
    (cell.verdict() != Verdict::Deny) as i32
}
