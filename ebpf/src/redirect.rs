//! Questions to name servers: whatever server a governed process names, its port 53 leads to the
//! agent's resolver, and the process sees the server that it has named.
//!
//! The resolver has sockets in each network namespace in which processes of the scope are. Where to
//! is looked up by the namespace of the very socket, so that a question never goes to a port of one
//! namespace in another, where anybody may listen at it. A namespace without an entry has no
//! resolver, and its questions are refused. While no agent runs, the port is free again, and
//! somebody in the namespace may take it: he may tell who asks whatever he likes, but opens no
//! address by it, which only the resolver does.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_get_netns_cookie, bpf_map_update_elem, bpf_sk_storage_get,
    },
    macros::{btf_map, cgroup_sock_addr, map},
    maps::{HashMap, LruHashMap},
    programs::{SkBuffContext, SockAddrContext},
};
use ringfence_common::{
    Address,
    resolver::{Asker, MAX_PLACES, Named, PORT, Place},
    scope::{Here, Resolver, on},
};

use crate::{installed::socket, packet::Packet, scopes::here};

/// The server that a socket has asked last.
#[btf_map]
static SERVERS: SkStorage<Named> = SkStorage::new();

/// The server that each socket has named which asks the resolver just now. Who floods it makes
/// the resolver choose a server itself.
#[map]
static ASKERS: LruHashMap<Asker, Named> = LruHashMap::with_max_entries(1 << 14, 0);

/// Where the resolver of each scope is, in each network namespace that has processes of it.
#[map]
static RESOLVERS: HashMap<Place, Resolver> =
    HashMap::with_max_entries(MAX_PLACES, BPF_F_NO_PREALLOC);

/// 127.0.0.1.
const LOOPBACK: u32 = 0x7f00_0001;
/// The upper half of the lower 64 bits of an IPv4-mapped address (RFC 4291, 2.5.5.2).
const MAPPED: u64 = 0xffff;
/// The lower 64 bits of 127.0.0.1.
const MAPPED_LOOPBACK: u64 = (MAPPED << 32) | LOOPBACK as u64;

/// Whether a destination is that of questions to name servers, and there is a resolver for them.
#[inline(always)]
pub(crate) fn concerns(here: &Here, port: u16) -> bool {
    port == PORT && here.on & on::RESOLVER != 0
}

/// The scope's resolver in a network namespace.
#[inline(always)]
fn resolver(here: &Here, network: u64) -> Option<Resolver> {
    let place = Place::new(here.scope, network);
    // SAFETY: the agent replaces a value as a whole, and it is copied at once; of ports that are
    // mixed up none is a resolver's.
    unsafe { RESOLVERS.get(&place) }.copied()
}

/// What became of a destination.
pub(crate) enum Redirection {
    /// It is none that the resolver answers for.
    None,
    /// It is the resolver's now.
    Done,
    /// There is no memory to remember the server.
    Failed,
    /// There is no resolver in the socket's network namespace, or none for this family.
    Nowhere,
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
fn name(server: &mut Named, network: u64, high: u64, low: u64) {
    server.network = network;
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

/// The network namespace of a call's socket.
#[inline(always)]
fn network(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the context of the program.
    unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) }
}

/// The server that a socket has named, if this address is where its question was led: by the hook
/// of a control group below, of which this one sees what it has made of the address.
#[inline(always)]
fn named(
    ctx: &SockAddrContext,
    here: &Here,
    is_at: impl FnOnce(Resolver) -> bool,
) -> Option<&'static mut Named> {
    if here.on & on::RESOLVER == 0 {
        return None;
    }
    let server = server(sock(ctx), 0)?;
    is_at(resolver(here, server.network)?).then_some(server)
}

/// Sends what goes to a name server over IPv4 to the resolver.
#[inline(always)]
pub(crate) fn redirect_v4(ctx: &SockAddrContext, here: &Here) -> Redirection {
    let port = port(ctx);
    // SAFETY: user_ip4 may be read in IPv4 programs.
    let address = u32::from_be(unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() });
    if !concerns(here, port) {
        let is_led = address == LOOPBACK
            && named(ctx, here, |resolver| resolver.v4 == port as u32).is_some();
        return if is_led { Redirection::Done } else { Redirection::None };
    }
    let network = network(ctx);
    let to = match resolver(here, network) {
        Some(resolver) if resolver.v4 != 0 => resolver.v4,
        _ => return Redirection::Nowhere,
    };
    let Some(server) = server(sock(ctx), BPF_SK_STORAGE_GET_F_CREATE) else {
        return Redirection::Failed;
    };
    name(server, network, 0, (MAPPED << 32) | address as u64);
    set_v4(ctx, LOOPBACK, to as u16);
    Redirection::Done
}

/// Sends what goes to a name server over IPv6 to the resolver: that of an IPv4 address to 127.0.0.1.
#[inline(always)]
pub(crate) fn redirect_v6(ctx: &SockAddrContext, here: &Here) -> Redirection {
    let port = port(ctx);
    let [a, b, c, d] = words(ctx);
    let (high, low) = (long(a, b), long(c, d));
    if !concerns(here, port) {
        let is_led = is_loopback(high, low)
            && named(ctx, here, |resolver| port_for(resolver, low) == port as u32).is_some();
        return if is_led { Redirection::Done } else { Redirection::None };
    }
    let is_v4 = high == 0 && low >> 32 == MAPPED;
    let network = network(ctx);
    let to = match resolver(here, network) {
        Some(resolver) => {
            if is_v4 {
                resolver.v4
            } else {
                resolver.v6
            }
        }
        None => 0,
    };
    if to == 0 {
        return Redirection::Nowhere;
    }
    let Some(server) = server(sock(ctx), BPF_SK_STORAGE_GET_F_CREATE) else {
        return Redirection::Failed;
    };
    name(server, network, high, low);
    set_words(ctx, 0, if is_v4 { MAPPED_LOOPBACK } else { 1 });
    // SAFETY: user_port may be written in these programs.
    unsafe { (&raw mut (*ctx.sock_addr).user_port).write_volatile((to as u16).to_be() as u32) };
    Redirection::Done
}

/// Whether an address is one of those that resolvers have.
#[inline(always)]
const fn is_loopback(high: u64, low: u64) -> bool {
    high == 0 && (low == MAPPED_LOOPBACK || low == 1)
}

/// The port of the resolver at such an address, by its lower half.
#[inline(always)]
const fn port_for(resolver: Resolver, low: u64) -> u32 {
    if low == 1 { resolver.v6 } else { resolver.v4 }
}

/// Shows the server that the process has named where the kernel would show the resolver.
#[inline(always)]
fn restore_v4(ctx: &SockAddrContext) -> i32 {
    // SAFETY: user_ip4 may be read in IPv4 programs.
    let address = unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() };
    let port = port(ctx);
    if u32::from_be(address) == LOOPBACK
        && let Some(here) = here()
        && let Some(server) = named(ctx, here, |resolver| resolver.v4 == port as u32)
    {
        set_v4(ctx, server.low as u32, PORT);
    }
    1
}

#[inline(always)]
fn restore_v6(ctx: &SockAddrContext) -> i32 {
    let [a, b, c, d] = words(ctx);
    let (high, low, port) = (long(a, b), long(c, d), port(ctx));
    if is_loopback(high, low)
        && let Some(here) = here()
        && let Some(server) = named(ctx, here, |resolver| port_for(resolver, low) == port as u32)
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

/// The server that a packet's socket has named, if the packet's other end is the resolver that the
/// question was led to.
#[inline(always)]
fn asked(
    ctx: &SkBuffContext,
    here: &Here,
    (address, port): (Address, u16),
) -> Option<&'static mut Named> {
    if here.on & on::RESOLVER == 0 || !is_loopback(address.high, address.low) {
        return None;
    }
    let server = server(socket(ctx)?, 0)?;
    let resolver = resolver(here, server.network)?;
    (port_for(resolver, address.low) == port as u32).then_some(server)
}

/// Whether a packet to a socket is the resolver's answer to it.
#[inline(always)]
pub(crate) fn is_answer(ctx: &SkBuffContext, here: &Here, from: (Address, u16)) -> bool {
    asked(ctx, here, from).is_some()
}

/// Whether a packet is a question that was led to the resolver; then that learns which server the
/// packet's socket has named.
#[inline(always)]
pub(crate) fn is_question(
    ctx: &SkBuffContext,
    here: &Here,
    packet: Packet,
    to: (Address, u16),
) -> bool {
    let Some(server) = asked(ctx, here, to) else { return false };
    if let Ok((source, source_port)) = packet.source(ctx) {
        let place = Place::new(here.scope, server.network);
        let key = Asker::new(place, source, source_port, packet.protocol.number());
        let map = (&raw const ASKERS).cast_mut().cast::<c_void>();
        // SAFETY: key and value are as long as the map's. What cannot be remembered makes the
        // resolver choose a server itself.
        unsafe {
            bpf_map_update_elem(map, (&raw const key).cast(), (&raw const *server).cast(), 0)
        };
    }
    true
}
