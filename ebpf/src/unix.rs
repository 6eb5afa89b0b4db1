//! Hooks on Unix sockets: who is connected or sent to. A socket of the scope itself needs no rule;
//! another is judged by the path that it is bound to, or by its abstract name.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use ringfence_common::{
    Action, Right,
    files::{self, DEAD},
};

use crate::{
    emit::{self, EPERM},
    file::{self, address},
    kernel::{offset, read_u32, read_u64},
    network::is_own,
    path::{Location, put_abstract},
    scope::{Task, governed},
    table::walk,
};

/// Bytes of an address before an abstract name: the family, and a NUL (unix(7)).
const BEFORE_NAME: u32 = 3;

/// `security_unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)`: also
/// sockets that keep the order of packets.
#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(ctx: LsmContext) -> i32 {
    governed(Action::Connect, EPERM, |task| judge(task, address(&ctx, 1), Action::Connect))
}

/// `security_unix_may_send(struct socket *sock, struct socket *other)`: a datagram, whether the
/// socket is connected or not, and connecting.
#[lsm(hook = "unix_may_send")]
pub fn unix_may_send(ctx: LsmContext) -> i32 {
    governed(Action::Send, EPERM, |task| {
        judge(task, read_u64(address(&ctx, 1) + offset!(socket_sock)), Action::Send)
    })
}

/// Judges reaching the socket at `peer`.
#[inline(always)]
pub(crate) fn judge(task: &mut Task, peer: u64, action: Action) -> i32 {
    if is_own(peer, task) {
        return 0;
    }
    // The path by which it was bound, in the mount namespace of who did.
    let Location { mount, dentry } = Location::of_path(peer + offset!(unix_path));
    if dentry != 0 {
        return file::judge(task, mount, dentry, Right::Socket.bit(), action);
    }
    judge_abstract(task, peer, action)
}

#[inline(never)]
fn judge_abstract(task: &mut Task, peer: u64, action: Action) -> i32 {
    let Some(table) = task.table() else { return -EPERM };
    if !files::governs_abstract(&table) {
        return 0;
    }
    let name = read_u64(peer + offset!(unix_name));
    let length = if name == 0 { 0 } else { read_u32(name + offset!(name_length)) };
    let first = name + offset!(name_bytes) + BEFORE_NAME as u64;
    let is_named = put_abstract(&mut task.room, first, length.saturating_sub(BEFORE_NAME) as u64);
    let state = if is_named { walk(table, &mut task.room) } else { DEAD };
    emit::paths(task, action, files::decide_abstract(&table, state), None)
}
