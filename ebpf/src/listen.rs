//! Which listening sockets are the scope's own, so that its processes may talk to each other over
//! loopback without a rule.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_CURRENT_NETNS, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release, bpf_sk_storage_get},
    macros::{btf_map, lsm},
    programs::{LsmContext, SockAddrContext},
};
use ringfence_common::{Action, Address, Decision, Reason, scope::Here};

use crate::{
    emit::{self, EPERM},
    file::address,
    kernel::{offset, read_u64},
    scope::governed,
    serving,
};

/// The cgroup of the scope that a listening socket is of. The kernel takes it away with the socket.
#[btf_map]
static OWN_LISTENERS: SkStorage<u64> = SkStorage::new();

#[inline(always)]
fn mark(sock: *mut c_void, flags: u64) -> *mut u64 {
    let map = (&raw const OWN_LISTENERS).cast_mut().cast();
    // SAFETY: the loader puts the map's address here; the socket is one that the kernel gave.
    unsafe { bpf_sk_storage_get(map, sock, core::ptr::null_mut(), flags).cast() }
}

/// `security_socket_listen(struct socket *sock, int backlog)`: judges, and marks the socket as the
/// scope's.
#[lsm(hook = "socket_listen")]
pub fn socket_listen(ctx: LsmContext) -> i32 {
    governed(Action::Listen, EPERM, |task| {
        let answer =
            serving::judge_listening(task, read_u64(address(&ctx, 0) + offset!(socket_sock)));
        if answer != 0 {
            return answer;
        }
        let socket: *const u8 = ctx.arg(0);
        // SAFETY: the kernel gives a valid `struct socket`, and the verifier checks the offset; a
        // load of its own keeps the type of the pointer, which the helper asks for.
        let sock =
            unsafe { socket.add(offset!(socket_sock) as usize).cast::<*mut c_void>().read() };
        if sock.is_null() {
            return 0;
        }
        // SAFETY: the value lives as long as the socket.
        if let Some(mark) = unsafe { mark(sock, BPF_SK_STORAGE_GET_F_CREATE as u64).as_mut() } {
            *mark = task.cgroup;
            return 0;
        }
        emit::plain(task, Action::Listen, Decision::deny(Reason::TableFull), EPERM);
        -EPERM
    })
}

/// What the kernel looks a socket up by (`struct bpf_sock_tuple`), and how long that is: a packet's
/// source and target. In words, all of which are written, whatever the family.
#[inline(always)]
pub(crate) fn tuple(source: (Address, u16), target: (Address, u16)) -> ([u32; 9], u32) {
    let ports = source.1.to_be() as u32 | (target.1.to_be() as u32) << 16;
    match (source.0.as_v4(), target.0.as_v4()) {
        (Some(source), Some(target)) => {
            ([source.to_be(), target.to_be(), ports, 0, 0, 0, 0, 0, 0], 12)
        }
        _ => {
            let ([a, b, c, d], [e, f, g, h]) = (words(source.0), words(target.0));
            ([a, b, c, d, e, f, g, h, ports], 36)
        }
    }
}

#[inline(always)]
const fn words(address: Address) -> [u32; 4] {
    [
        ((address.high >> 32) as u32).to_be(),
        (address.high as u32).to_be(),
        ((address.low >> 32) as u32).to_be(),
        (address.low as u32).to_be(),
    ]
}

/// `BPF_F_CURRENT_NETNS`, as the helpers take it.
pub(crate) const OWN_NETWORK: u64 = BPF_F_CURRENT_NETNS as i64 as u64;

/// Whether a socket of the scope listens at this address, in the caller's network namespace.
#[inline(always)]
pub(crate) fn is_own_listener(
    ctx: &SockAddrContext,
    here: &Here,
    address: Address,
    port: u16,
) -> bool {
    let (mut tuple, size) = tuple((address, 0), (address, port));
    // SAFETY: the tuple is on our stack and as long as is said; the socket is given back on every
    // way, as the verifier demands.
    unsafe {
        let tuple = tuple.as_mut_ptr().cast();
        let sock = bpf_sk_lookup_tcp(ctx.as_ptr(), tuple, size, OWN_NETWORK, 0);
        if sock.is_null() {
            return false;
        }
        let is_own = mark(sock.cast(), 0).as_ref().is_some_and(|mark| *mark == here.cgroup);
        bpf_sk_release(sock.cast());
        is_own
    }
}
