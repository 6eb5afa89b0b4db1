//! Hooks on sockets and packets. LSM hooks judge who acts, the cgroup's hooks whose socket it is.

use aya_ebpf::{
    helpers::generated::bpf_get_current_ancestor_cgroup_id,
    macros::{cgroup_skb, cgroup_sock_addr, lsm},
    programs::{LsmContext, SkBuffContext, SockAddrContext},
};
use ringfence_common::{
    Action, Address, Decision, Image as _, Reason, Verdict,
    egress::{self, Protocol},
    event::Destination,
    resolver::PORT,
    scope::{Here, on},
    serving,
    socket::{self, family},
};

use crate::{
    budget,
    emit::{self, EPERM, NOWHERE},
    file::address,
    installed,
    kernel::{offset, read_u16, read_u32, read_u64},
    listen::is_own_listener,
    membership,
    packet::Packet,
    redirect::{self, Redirection},
    scope::{Task, governed},
    scopes::{self, identifier},
    server_name,
    table::{Table, table},
    unix,
};

/// `AF_UNSPEC`.
const UNSPECIFIED: u32 = 0;
/// `SOCK_STREAM`.
pub(crate) const STREAM: u16 = 1;

/// An address and port as a socket call carries them.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: Address,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

impl Peer {
    #[inline(always)]
    pub(crate) fn destination(self) -> Destination {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address.high.to_be_bytes());
        bytes[8..].copy_from_slice(&self.address.low.to_be_bytes());
        let family = if self.address.as_v4().is_some() { family::INET } else { family::INET6 };
        Destination {
            address: bytes,
            port: self.port,
            protocol: self.protocol.number(),
            family: family as u8,
            detail: 0,
        }
    }
}

/// `security_socket_create(int family, int type, int protocol, int kern)`.
#[lsm(hook = "socket_create")]
pub fn socket_create(ctx: LsmContext) -> i32 {
    if ctx.arg::<i32>(3) != 0 {
        return 0;
    }
    governed(Action::Socket, EPERM, |task| {
        let Some(table) = task.table() else { return -EPERM };
        let (family, kind, protocol) = (ctx.arg::<u32>(0), ctx.arg::<u32>(1), ctx.arg::<u32>(2));
        let decision = socket::decide(&table, family, kind, protocol);
        let is_of_network = family == family::INET || family == family::INET6;
        let is_judged = egress::governs(&table)
            || serving::governs(&table)
            || budget::counts_network(task.scope);
        let decision = if is_of_network && is_judged && !membership::is_attached(task) {
            Decision::deny(Reason::NotAttached)
        } else {
            decision
        };
        let to =
            Destination { family: family as u8, port: protocol as u16, detail: kind, ..NOWHERE };
        emit::going(task, Action::Socket, decision, &to)
    })
}

/// Whether a socket belongs to the task's cgroup of the scope or one below, as the cgroup's hooks
/// see it.
#[inline(always)]
pub(crate) fn is_own(sock: u64, task: &Task) -> bool {
    let cgroup = read_u64(sock + offset!(sock_cgroup));
    cgroup != 0
        && read_u32(cgroup + offset!(cgroup_level)) >= task.level
        && identifier(cgroup, task.level) == task.cgroup
}

/// Judges a socket that another process hands over: a Unix socket by whom it is connected to.
#[inline(always)]
pub(crate) fn judge_received(task: &mut Task, file: u64) -> i32 {
    let Some(table) = task.table() else { return -EPERM };
    let sock = read_u64(read_u64(file + offset!(file_private)) + offset!(socket_sock));
    let family = read_u16(sock + offset!(sock_family)) as u32;
    if is_own(sock, task) {
        return 0;
    }
    if family == family::UNIX {
        let peer = read_u64(sock + offset!(unix_peer));
        return if peer == 0 { 0 } else { unix::judge(task, peer, Action::Connect) };
    }
    let to = Destination {
        family: family as u8,
        port: read_u16(sock + offset!(sock_protocol)),
        detail: read_u16(sock + offset!(sock_type)) as u32,
        ..NOWHERE
    };
    // A kind of socket that is never listed: it was made by another's rules.
    emit::going(task, Action::Socket, socket::decide(&table, 0, 0, 0), &to)
}

/// Whether a call only asks from which address the machine would send: getaddrinfo(3) connects to
/// port 0 of each address of a name, to put them in order. What is sent there is judged.
#[inline(always)]
fn is_ordering(action: Action, protocol: Protocol, port: u16) -> bool {
    matches!((action, protocol, port), (Action::Connect, Protocol::Udp, 0))
}

/// Judges a call on a socket that names an address at `name`.
#[inline(never)]
fn judge(task: &mut Task, socket: u64, name: u64, length: u32, sends: u32) -> i32 {
    let Some(table) = task.table() else { return -EPERM };
    let is_governed = egress::governs(&table);
    if !is_governed && !budget::counts_network(task.scope) {
        return 0;
    }
    let action = if sends != 0 { Action::Send } else { Action::Connect };
    let sock = read_u64(socket + offset!(socket_sock));
    let socket_family = read_u16(sock + offset!(sock_family)) as u32;
    if socket_family != family::INET && socket_family != family::INET6 {
        return 0;
    }
    if !membership::is_attached(task) {
        return emit::going(task, action, Decision::deny(Reason::NotAttached), &NOWHERE);
    }
    if !is_governed {
        return 0;
    }
    let stream = read_u16(sock + offset!(sock_type)) == STREAM;
    let protocol = if stream { Protocol::Tcp } else { Protocol::Udp };
    let mut named = read_u16(name) as u32;
    if named == UNSPECIFIED {
        if sends == 0 || socket_family == family::INET6 {
            // Connecting to it dissolves a connection; an IPv6 socket sends to its peer.
            return 0;
        }
        // udp_sendmsg takes it for AF_INET.
        named = family::INET;
    }
    let port = u16::from_be(read_u16(name + 2));
    let address = match named {
        family::INET if length >= 8 => Address::v4(u32::from_be(read_u32(name + 4))),
        family::INET6 if length >= 24 => {
            Address::v6(u64::from_be(read_u64(name + 8)), u64::from_be(read_u64(name + 16)))
        }
        _ => {
            let decision = Decision::deny(Reason::AddressUnreadable);
            return emit::going(task, action, decision, &NOWHERE);
        }
    };
    if is_ordering(action, protocol, port) {
        return 0;
    }
    if port == PORT
        && let Some(scope) = scopes::scope(task.scope)
        && scope.resolver.v4 != 0
    {
        // The cgroup's hooks lead it to the resolver, which asks the policy about each name. They
        // do not see a socket that was not made in the scope.
        if is_own(sock, task) {
            return 0;
        }
        let to = Peer { address, port, protocol }.destination();
        return emit::going(task, action, egress::violation(&table), &to);
    }
    if stream && address.is_loopback() && is_own(sock, task) {
        // Whether one of the scope's own sockets listens there, only the cgroup's hooks can see,
        // which judge this socket next.
        return 0;
    }
    let to = Peer { address, port, protocol };
    let found = installed::decide(task.scope, &table, to);
    emit::going(task, action, found.decision, &to.destination())
}

/// `security_socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)`.
#[lsm(hook = "socket_connect")]
pub fn socket_connect(ctx: LsmContext) -> i32 {
    governed(Action::Connect, EPERM, |task| {
        judge(task, address(&ctx, 0), address(&ctx, 1), ctx.arg::<u32>(2), 0)
    })
}

/// `security_socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)`: also Fast Open,
/// which connects inside a send.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(ctx: LsmContext) -> i32 {
    governed(Action::Send, EPERM, |task| {
        let message = address(&ctx, 1);
        let name = read_u64(message + offset!(msghdr_name));
        if name == 0 {
            return 0;
        }
        let length = read_u32(message + offset!(msghdr_name_length));
        judge(task, address(&ctx, 0), name, length, 1)
    })
}

/// Whether the current task is in the scope's cgroup, so that the LSM hooks judge it.
#[inline(always)]
fn is_member(here: &Here) -> bool {
    // SAFETY: the helper takes a number and yields 0 when there is no such ancestor.
    let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(here.level as i32) };
    ancestor == here.cgroup
}

/// Judges a socket of the scope's cgroup, whoever uses it: 1 lets it go on.
#[inline(always)]
fn judge_socket(ctx: &SockAddrContext, here: &Here, action: Action, address: Address) -> i32 {
    // SAFETY: the kernel gives a valid context; these fields may be read in every such program.
    let (port, kind) = unsafe { ((*ctx.sock_addr).user_port, (*ctx.sock_addr).type_) };
    let protocol = if kind == STREAM as u32 { Protocol::Tcp } else { Protocol::Udp };
    let port = u16::from_be(port as u16);
    let to_loopback = protocol == Protocol::Tcp && address.is_loopback();
    if protocol == Protocol::Tcp && here.on & on::NAMES != 0 {
        // A socket may be connected anew: what the connection before has named is no word for this
        // one.
        installed::forget(redirect::sock(ctx));
    }
    // A datagram socket that is connected remembers the name by which it was, for as long as it is.
    let sends_at_once = protocol == Protocol::Tcp || action == Action::Send;
    if sends_at_once && !to_loopback && is_member(here) {
        // The LSM hook has just let it go to the same address, and the packet that follows at once
        // is judged again: a third answer would cost as much as these.
        return 1;
    }
    let Some(table) = table(here.scope) else { return 0 };
    let address = table.blurred(address);
    let to_loopback = table.blur(to_loopback as u64) != 0;
    if is_ordering(action, protocol, port) {
        return 1;
    }
    let to = Peer { address, port, protocol };
    let found = installed::decide(here.scope, &table, to);
    if found.by_name && !installed::remember(redirect::sock(ctx), to, found) {
        let decision = Decision::deny(Reason::TableFull);
        emit::unlabelled(here, action, decision, &to.destination());
        return 0;
    }
    let decision = found.decision;
    if decision.verdict == Verdict::Allow {
        return 1;
    }
    if to_loopback && is_own_listener(ctx, here, address, port) {
        return 1;
    }
    // What a member of the scope does elsewhere is told by the LSM hook that ran before.
    if decision.verdict == Verdict::Deny || to_loopback || !is_member(here) {
        emit::unlabelled(here, action, decision, &to.destination());
    }
    (decision.verdict != Verdict::Deny) as i32
}

/// Judges an address, unless it is the resolver's to answer for.
#[inline(always)]
fn judge_redirected(
    ctx: &SockAddrContext,
    here: &Here,
    action: Action,
    redirection: Redirection,
    address: impl FnOnce() -> Address,
) -> i32 {
    match redirection {
        Redirection::None => {
            let address = address();
            let goes_on = judge_socket(ctx, here, action, address);
            if goes_on == 0 || here.on & on::CONNECTIONS == 0 {
                return goes_on;
            }
            count(ctx, here, action, address)
        }
        Redirection::Done => 1,
        Redirection::Failed => {
            emit::unlabelled(here, action, Decision::deny(Reason::TableFull), &NOWHERE);
            0
        }
        Redirection::Nowhere => {
            emit::unlabelled(here, action, Decision::deny(Reason::NoResolver), &NOWHERE);
            0
        }
    }
}

/// Counts what may be connected to.
#[inline(always)]
fn count(ctx: &SockAddrContext, here: &Here, action: Action, address: Address) -> i32 {
    // SAFETY: as in `judge_socket`.
    let (port, kind) = unsafe { ((*ctx.sock_addr).user_port, (*ctx.sock_addr).type_) };
    let protocol = if kind == STREAM as u32 { Protocol::Tcp } else { Protocol::Udp };
    let port = u16::from_be(port as u16);
    if is_ordering(action, protocol, port) {
        return 1;
    }
    budget::connection(ctx, here, action, Peer { address, port, protocol })
}

#[inline(always)]
fn judge_v4(ctx: &SockAddrContext, action: Action) -> i32 {
    let Some(here) = scopes::here() else { return 0 };
    judge_redirected(ctx, here, action, redirect::redirect_v4(ctx, here), || {
        // SAFETY: user_ip4 may be read in IPv4 programs.
        Address::v4(u32::from_be(unsafe { (*ctx.sock_addr).user_ip4 }))
    })
}

#[inline(always)]
fn judge_v6(ctx: &SockAddrContext, action: Action) -> i32 {
    let Some(here) = scopes::here() else { return 0 };
    judge_redirected(ctx, here, action, redirect::redirect_v6(ctx, here), || {
        let [a, b, c, d] = redirect::words(ctx);
        Address::v6(redirect::long(a, b), redirect::long(c, d))
    })
}

/// `BPF_CGROUP_INET4_CONNECT`: also what Fast Open does inside a send.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    judge_v4(&ctx, Action::Connect)
}

/// `BPF_CGROUP_INET6_CONNECT`.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    judge_v6(&ctx, Action::Connect)
}

/// `BPF_CGROUP_UDP4_SENDMSG`.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    judge_v4(&ctx, Action::Send)
}

/// `BPF_CGROUP_UDP6_SENDMSG`.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    judge_v6(&ctx, Action::Send)
}

/// What becomes of a packet. Questions to name servers that were not led to the resolver come
/// from sockets that named their server before they were the scope's.
#[inline(always)]
fn decide_packet(ctx: &SkBuffContext, here: &Here, table: &Table, to: Peer) -> Decision {
    if redirect::concerns(here, to.port) {
        return egress::violation(table);
    }
    let found = installed::decide_packet(ctx, here, table, to);
    // A connection that is opened again, since no answer came, keeps what is known of it.
    if found.by_name
        && let Some(sock) = installed::socket(ctx)
        && installed::flow_of(ctx, to, found.generation).is_none()
        && !installed::remember(sock, to, found)
    {
        return Decision::deny(Reason::TableFull);
    }
    found.decision
}

/// `BPF_CGROUP_INET_EGRESS`: the truth on the wire, for whatever socket of the cgroup.
#[cgroup_skb]
pub fn egress(ctx: SkBuffContext) -> i32 {
    let Some(here) = scopes::here() else { return 0 };
    let goes_on = if here.on & on::EGRESS == 0 { 1 } else { judge_leaving(&ctx, here) };
    if goes_on == 0 || here.on & on::SENT == 0 {
        return goes_on;
    }
    budget::packet(&ctx, here)
}

#[inline(always)]
fn judge_leaving(ctx: &SkBuffContext, here: &Here) -> i32 {
    let Some(table) = table(here.scope) else { return 0 };
    judge_packet(ctx, here, &table)
        .unwrap_or_else(|_| answer(here, socket::decide(&table, 0, 0, 0), NOWHERE))
}

/// Judges a packet: 1 lets it go on; `Err` for what is neither TCP nor UDP, is routed by options,
/// or cannot be read.
#[inline(always)]
fn judge_packet(ctx: &SkBuffContext, here: &Here, table: &Table) -> Result<i32, i64> {
    let packet = Packet::parse(ctx, table)?;
    if !packet.is_plain {
        // A source route, for one: it would lead a connection that is open by any machine.
        return Err(0);
    }
    let protocol = packet.protocol;
    // First, since most packets are of connections that are open.
    if protocol == Protocol::Tcp && !packet.opens(ctx)? {
        return Ok(server_name::judge(ctx, here, table, packet));
    }
    let (address, port) = packet.target(ctx)?;
    let address = table.blurred(address);
    if redirect::is_question(ctx, here, packet, (address, port)) {
        return Ok(1);
    }
    let to = Peer { address, port, protocol };
    // To loopback, `connect4` and `connect6` have judged with what is not seen here.
    let is_judged = protocol == Protocol::Udp || !address.is_loopback();
    if is_judged && answer(here, decide_packet(ctx, here, table, to), to.destination()) == 0 {
        return Ok(0);
    }
    Ok(if protocol == Protocol::Tcp { server_name::judge(ctx, here, table, packet) } else { 1 })
}

/// What becomes of a packet; tells of what is refused. In observe mode the socket's own hooks have
/// told; a packet would tell again and again.
#[inline(always)]
fn answer(here: &Here, decision: Decision, to: Destination) -> i32 {
    if decision.verdict != Verdict::Deny {
        return 1;
    }
    emit::packet(here, Action::Send, decision, &to);
    0
}
