//! Hooks on what comes in: on which ports others than the scope itself are served.
//!
//! Every port may be listened on where only the scope itself can come from, and on all addresses
//! at once, as test servers do: who else connects is turned away by the packet.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{
        bpf_sk_ancestor_cgroup_id, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release,
    },
    macros::{cgroup_skb, lsm},
    programs::{LsmContext, SkBuffContext},
};
use ringfence_common::{
    Action, Address, Image as _, Verdict,
    egress::Protocol,
    layout::ABSENT,
    scope::{Here, on},
    serving,
    socket::{self, family},
};

use crate::{
    emit::{self, EPERM, NOWHERE},
    file::address,
    installed,
    kernel::{offset, read_u16, read_u32, read_u64, setting},
    listen::{OWN_NETWORK, tuple},
    network::{Peer, is_own},
    packet::Packet,
    redirect::is_answer,
    scope::{Task, governed},
    scopes,
    table::{Table, table},
};

/// `TCP_SYN_SENT` (`net/tcp_states.h`): a socket whose connection is not answered yet.
const SYN_SENT: u32 = 2;

/// The address and port that a TCP socket is bound to; `None` for a socket of another family.
#[inline(always)]
fn bound(sock: u64) -> Option<Peer> {
    let address = match read_u16(sock + offset!(sock_family)) as u32 {
        family::INET => Address::v4(u32::from_be(read_u32(sock + offset!(sock_address_v4)))),
        family::INET6 if setting!(layout.sock_address_v6) != ABSENT => {
            let at = sock + offset!(sock_address_v6);
            Address::v6(u64::from_be(read_u64(at)), u64::from_be(read_u64(at + 8)))
        }
        _ => return None,
    };
    Some(Peer { address, port: read_u16(sock + offset!(sock_port)), protocol: Protocol::Tcp })
}

/// Judges listening with a socket. The address of all is loopback's too, and counts as that.
#[inline(always)]
pub(crate) fn judge_listening(task: &mut Task, sock: u64) -> i32 {
    let Some(table) = task.table() else { return -EPERM };
    match bound(sock) {
        Some(here) if !here.address.is_loopback() => {
            let decision = serving::decide(&table, here.protocol, here.port);
            emit::going(task, Action::Listen, decision, &here.destination())
        }
        _ => 0,
    }
}

/// `security_socket_accept(struct socket *sock, struct socket *newsock)`: of a socket that was not
/// made in the scope, whose packets no program of the scope sees.
#[lsm(hook = "socket_accept")]
pub fn socket_accept(ctx: LsmContext) -> i32 {
    governed(Action::Listen, EPERM, |task| {
        let sock = read_u64(address(&ctx, 0) + offset!(socket_sock));
        let Some(here) = bound(sock) else { return 0 };
        if is_own(sock, task) {
            return 0;
        }
        let Some(table) = task.table() else { return -EPERM };
        let decision = serving::decide(&table, here.protocol, here.port);
        emit::going(task, Action::Listen, decision, &here.destination())
    })
}

/// Where a packet came from, and where it came to; `None` for one of a connection that was judged
/// when it was opened.
#[inline(always)]
fn arrival(ctx: &SkBuffContext, table: &Table) -> Result<Option<(Peer, (Address, u16))>, i64> {
    let packet = Packet::parse(ctx, table)?;
    let protocol = packet.protocol;
    if protocol == Protocol::Tcp && !packet.opens(ctx)? {
        return Ok(None);
    }
    let ((address, port), here) = (packet.source(ctx)?, packet.target(ctx)?);
    let from = Peer { address: table.blurred(address), port, protocol };
    Ok(Some((from, (table.blurred(here.0), here.1))))
}

/// Whether a packet was sent by a socket of the scope itself: one of this machine to which an
/// answer would go.
#[inline(always)]
fn is_own_sender(ctx: &SkBuffContext, here: &Here, from: Peer, to: (Address, u16)) -> bool {
    let (mut tuple, size) = tuple(to, (from.address, from.port));
    let (packet, level) = (ctx.as_ptr(), here.level as i32);
    let tuple = tuple.as_mut_ptr().cast();
    // SAFETY: the tuple is on our stack and as long as is said; the sockets are given back on every
    // way, as the verifier demands.
    unsafe {
        if from.protocol == Protocol::Tcp {
            let sock = bpf_sk_lookup_tcp(packet, tuple, size, OWN_NETWORK, 0);
            if sock.is_null() {
                return false;
            }
            // Not a listening socket, which is found for any address.
            let is_own = (*sock).state == SYN_SENT
                && bpf_sk_ancestor_cgroup_id(sock.cast(), level) == here.cgroup;
            bpf_sk_release(sock.cast());
            return is_own;
        }
        // A socket of datagrams is found for any address, so that it must be one of this machine.
        if !from.address.is_loopback() {
            return false;
        }
        let sock = bpf_sk_lookup_udp(packet, tuple, size, OWN_NETWORK, 0);
        if sock.is_null() {
            return false;
        }
        let is_own = bpf_sk_ancestor_cgroup_id(sock.cast(), level) == here.cgroup;
        bpf_sk_release(sock.cast());
        is_own
    }
}

/// `BPF_CGROUP_INET_INGRESS`: what comes in to a socket of the cgroup.
#[cgroup_skb]
pub fn ingress(ctx: SkBuffContext) -> i32 {
    let Some(here) = scopes::here() else { return 0 };
    if here.on & on::SERVING == 0 {
        return 1;
    }
    let Some(table) = table(here.scope) else { return 0 };
    let (from, to) = match arrival(&ctx, &table) {
        Ok(None) => return 1,
        Ok(Some(arrival)) => arrival,
        Err(_) => {
            let decision = socket::decide(&table, 0, 0, 0);
            if decision.verdict == Verdict::Deny {
                emit::packet(here, Action::Listen, decision, &NOWHERE);
                return 0;
            }
            return 1;
        }
    };
    if from.protocol == Protocol::Udp && is_answer(&ctx, here, (from.address, from.port)) {
        return 1;
    }
    // As a number that the verifier takes for any: else it follows what comes next once for each
    // way that leads to an answer.
    let answer = match from.protocol {
        Protocol::Udp => installed::decide_packet(&ctx, here, &table, from).decision.verdict,
        Protocol::Tcp => Verdict::Deny,
    };
    let answer = table.blur(answer as u64);
    if answer == Verdict::Allow as u64 {
        return 1;
    }
    let decision = serving::decide(&table, from.protocol, to.1);
    if decision.verdict == Verdict::Allow || is_own_sender(&ctx, here, from, to) {
        return 1;
    }
    let decision = serving::unless_answered(decision, answer == Verdict::Observe as u64);
    // Who came, and the port that it came to.
    let to = Peer { port: to.1, ..from }.destination();
    emit::packet(here, Action::Listen, decision, &to);
    (decision.verdict != Verdict::Deny) as i32
}
