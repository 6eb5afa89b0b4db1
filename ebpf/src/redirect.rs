//! Questions to name servers: whatever server a governed process names, its port 53 leads to the
//! agent's resolver, and the process sees the server that it has named.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_map_update_elem, bpf_sk_storage_get,
    },
    macros::{btf_map, cgroup_sock_addr, map},
    maps::LruHashMap,
    programs::{SkBuffContext, SockAddrContext},
};
use ringfence_common::{
    Address,
    resolver::{Asker, Named, PORT},
    scope::{Here, Resolver},
};

use crate::{installed::socket, packet::Packet, scopes::here};

/// The server that a socket has asked last.
#[btf_map]
static SERVERS: SkStorage<Named> = SkStorage::new();

/// The server that each socket has named which asks the resolver just now. Who floods it makes
/// the resolver choose a server itself.
#[map]
static ASKERS: LruHashMap<Asker, Named> = LruHashMap::with_max_entries(1 << 14, 0);

/// 127.0.0.1.
const LOOPBACK: u32 = 0x7f00_0001;
/// The upper half of the lower 64 bits of an IPv4-mapped address (RFC 4291, 2.5.5.2).
const MAPPED: u64 = 0xffff;

/// Whether a destination is that of questions to name servers, and there is a resolver for them.
#[inline(always)]
pub(crate) fn concerns(resolver: Resolver, port: u16) -> bool {
    resolver.v4 != 0 && port == PORT
}

/// What became of a destination.
pub(crate) enum Redirection {
    /// It is none that the resolver answers for.
    None,
    /// It is the resolver's now.
    Done,
    /// There is no memory to remember the server, or no resolver for this family.
    Failed,
}

#[inline(always)]
fn server(sock: *mut c_void, flags: u32) -> Option<&'static mut Named> {
    let map = (&raw const SERVERS).cast_mut().cast();
    // SAFETY: the loader puts the map's address here; the socket is one that the kernel gave, and
    // the value lives as long as it.
    unsafe {
        bpf_sk_storage_get(map, sock, core::ptr::null_mut(), flags as u64).cast::<Named>().as_mut()
    }
}

/// The socket of a call.
#[inline(always)]
pub(crate) fn sock(ctx: &SockAddrContext) -> *mut c_void {
    // SAFETY: the kernel gives a valid context, which always has its socket.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk.cast() }
}

/// The words of an IPv6 address in the context.
#[inline(always)]
pub(crate) fn words(ctx: &SockAddrContext) -> [u32; 4] {
    // SAFETY: user_ip6 may be read in IPv6 programs, a word at a time.
    unsafe {
        let words = (&raw const (*ctx.sock_addr).user_ip6).cast::<u32>();
        [
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ]
    }
}

#[inline(always)]
fn set_words(ctx: &SockAddrContext, high: u64, low: u64) {
    // SAFETY: user_ip6 may be written in IPv6 programs, a word at a time.
    unsafe {
        let words = (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>();
        words.write_volatile(((high >> 32) as u32).to_be());
        words.add(1).write_volatile((high as u32).to_be());
        words.add(2).write_volatile(((low >> 32) as u32).to_be());
        words.add(3).write_volatile((low as u32).to_be());
    }
}

#[inline(always)]
fn set_v4(ctx: &SockAddrContext, address: u32, port: u16) {
    // SAFETY: both may be written in IPv4 programs.
    unsafe {
        (&raw mut (*ctx.sock_addr).user_ip4).write_volatile(address.to_be());
        (&raw mut (*ctx.sock_addr).user_port).write_volatile(port.to_be() as u32);
    }
}

#[inline(always)]
fn port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: user_port may be read in all of these programs.
    u16::from_be(unsafe { (&raw const (*ctx.sock_addr).user_port).read_volatile() } as u16)
}

#[inline(always)]
pub(crate) fn long(high: u32, low: u32) -> u64 {
    ((u32::from_be(high) as u64) << 32) | u32::from_be(low) as u64
}

/// Remembers which server the current task has named.
#[inline(always)]
fn name(server: &mut Named, high: u64, low: u64) {
    server.high = high;
    server.low = low;
    // SAFETY: these helpers take no arguments and cannot fail.
    unsafe {
        server.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        server.uid = bpf_get_current_uid_gid() as u32;
    }
    // SAFETY: the destination is 16 bytes, TASK_COMM_LEN.
    unsafe { bpf_get_current_comm(server.comm.as_mut_ptr().cast(), 16) };
}

/// Sends what goes to a name server over IPv4 to the resolver.
#[inline(always)]
pub(crate) fn redirect_v4(ctx: &SockAddrContext, resolver: Resolver) -> Redirection {
    if !concerns(resolver, port(ctx)) {
        return Redirection::None;
    }
    // SAFETY: user_ip4 may be read in IPv4 programs.
    let address = unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() };
    let Some(server) = server(sock(ctx), BPF_SK_STORAGE_GET_F_CREATE) else {
        return Redirection::Failed;
    };
    name(server, 0, (MAPPED << 32) | u32::from_be(address) as u64);
    set_v4(ctx, LOOPBACK, resolver.v4 as u16);
    Redirection::Done
}

/// Sends what goes to a name server over IPv6 to the resolver: that of an IPv4 address to 127.0.0.1.
#[inline(always)]
pub(crate) fn redirect_v6(ctx: &SockAddrContext, resolver: Resolver) -> Redirection {
    if !concerns(resolver, port(ctx)) {
        return Redirection::None;
    }
    let [a, b, c, d] = words(ctx);
    let (high, low) = (long(a, b), long(c, d));
    let is_v4 = high == 0 && low >> 32 == MAPPED;
    let to = if is_v4 { resolver.v4 } else { resolver.v6 };
    if to == 0 {
        return Redirection::Failed;
    }
    let Some(server) = server(sock(ctx), BPF_SK_STORAGE_GET_F_CREATE) else {
        return Redirection::Failed;
    };
    name(server, high, low);
    set_words(ctx, 0, if is_v4 { (MAPPED << 32) | LOOPBACK as u64 } else { 1 });
    // SAFETY: user_port may be written in these programs.
    unsafe { (&raw mut (*ctx.sock_addr).user_port).write_volatile((to as u16).to_be() as u32) };
    Redirection::Done
}

/// Shows the server that the process has named where the kernel would show the resolver.
#[inline(always)]
fn restore_v4(ctx: &SockAddrContext) -> i32 {
    // SAFETY: user_ip4 may be read in IPv4 programs.
    let address = unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() };
    if let Some(here) = here()
        && here.resolver.v4 != 0
        && port(ctx) == here.resolver.v4 as u16
        && u32::from_be(address) == LOOPBACK
        && let Some(server) = server(sock(ctx), 0)
    {
        set_v4(ctx, server.low as u32, PORT);
    }
    1
}

#[inline(always)]
fn restore_v6(ctx: &SockAddrContext) -> i32 {
    let [a, b, c, d] = words(ctx);
    let (high, low, port) = (long(a, b), long(c, d), port(ctx));
    let Some(Here { resolver, .. }) = here() else { return 1 };
    let from_v4 = low == (MAPPED << 32) | LOOPBACK as u64 && port == resolver.v4 as u16;
    let from_v6 = low == 1 && port == resolver.v6 as u16;
    if resolver.v4 != 0
        && high == 0
        && (from_v4 || from_v6)
        && let Some(server) = server(sock(ctx), 0)
    {
        set_words(ctx, server.high, server.low);
        // SAFETY: user_port may be written in these programs.
        unsafe { (&raw mut (*ctx.sock_addr).user_port).write_volatile(PORT.to_be() as u32) };
    }
    1
}

/// `BPF_CGROUP_UDP4_RECVMSG`.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    restore_v4(&ctx)
}

/// `BPF_CGROUP_UDP6_RECVMSG`.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    restore_v6(&ctx)
}

/// `BPF_CGROUP_INET4_GETPEERNAME`.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    restore_v4(&ctx)
}

/// `BPF_CGROUP_INET6_GETPEERNAME`.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    restore_v6(&ctx)
}

/// Whether an address is the resolver's.
#[inline(always)]
pub(crate) fn is_resolver(resolver: Resolver, address: Address, port: u16) -> bool {
    let is_v4 = address.as_v4() == Some(LOOPBACK) && port as u32 == resolver.v4;
    let is_v6 = address.high == 0 && address.low == 1 && port as u32 == resolver.v6;
    resolver.v4 != 0 && (is_v4 || is_v6)
}

/// Whether a packet goes to the resolver; then it learns which server the packet's socket named.
#[inline(always)]
pub(crate) fn is_question(
    ctx: &SkBuffContext,
    here: &Here,
    packet: Packet,
    (address, port): (Address, u16),
) -> bool {
    if !is_resolver(here.resolver, address, port) {
        return false;
    }
    if let Some(sock) = socket(ctx)
        && let Some(server) = server(sock, 0)
        && let Ok((source, source_port)) = packet.source(ctx)
    {
        let key = Asker::new(here.scope, source, source_port, packet.protocol.number());
        let map = (&raw const ASKERS).cast_mut().cast::<c_void>();
        // SAFETY: key and value are as long as the map's. What cannot be remembered makes the
        // resolver choose a server itself.
        unsafe {
            bpf_map_update_elem(map, (&raw const key).cast(), (&raw const *server).cast(), 0)
        };
    }
    true
}
