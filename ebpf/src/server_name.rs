//! The server that a connection names in its first bytes, where the connection was opened by a
//! name: other names that share the address are not open by it.
//!
//! Nothing that a server could act on leaves before it was judged. What ends inside a message is
//! held while it is all that was written: TCP sends it again, with more, at the next write. Where
//! more was written, TCP has cut the message, and the first part must go for the next to come.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get, bpf_skb_load_bytes},
    macros::btf_map,
    programs::SkBuffContext,
};
use ringfence_common::{
    Action, Decision, Reason, Verdict,
    scope::{Here, on},
    server_name::{Check, Progress, Stream, nameless},
    tls::Bytes,
};

use crate::{
    emit,
    installed::{Flow, flow, socket, stage},
    kernel::{number, offset, read_u16, read_u32, read_u64},
    network::Peer,
    packet::Packet,
    table::{Table, repeat},
};

/// The check of a connection's first bytes, until it is over.
#[repr(C)]
#[derive(Clone, Copy)]
struct Beginning {
    check: Check,
    /// For [`number`].
    place: u64,
}

#[btf_map]
static BEGINNINGS: SkStorage<Beginning> = SkStorage::new();

/// `SKBFL_SHARED_FRAG` (`linux/skbuff.h`): pages that others may change after they were judged,
/// as with `sendfile`, `splice` and `MSG_ZEROCOPY`.
const SHARED: u8 = 2;

/// What TCP's header says of a packet (RFC 9293, section 3.1).
struct Segment {
    source: u16,
    /// Sequence number of the first byte of content.
    first: u32,
    opens: bool,
    /// It is the last.
    ends: bool,
    /// A byte of the stream is to be taken out of turn.
    is_urgent: bool,
    /// Where its content begins in the packet.
    at: u32,
    /// How long that is.
    length: u32,
}

impl Segment {
    #[inline(always)]
    fn parse(ctx: &SkBuffContext, packet: Packet) -> Result<Self, i64> {
        let [ports, sequence, _, rest]: [u32; 4] = ctx.load(packet.transport)?;
        let rest = u32::from_be(rest);
        let flags = rest >> 16;
        let opens = flags & 0x12 == 0x02;
        let at = (packet.transport as u32).wrapping_add((rest >> 28) * 4);
        Ok(Self {
            source: (u32::from_be(ports) >> 16) as u16,
            first: u32::from_be(sequence).wrapping_add(opens as u32),
            opens,
            ends: flags & 1 != 0,
            is_urgent: flags & 0x20 != 0,
            at,
            length: ctx.len().saturating_sub(at),
        })
    }
}

/// The content of a packet.
#[derive(Clone, Copy)]
struct Content {
    table: Table,
    packet: *mut __sk_buff,
    /// Where it begins in the packet.
    at: u32,
    /// Where it begins in the stream.
    offset: u32,
    length: u32,
}

impl Bytes for Content {
    #[inline(always)]
    fn byte(&self, at: u32) -> Option<u8> {
        let inside = at.wrapping_sub(self.offset);
        if inside >= self.length {
            return None;
        }
        let mut byte = 0_u8;
        let to = (&raw mut byte).cast::<c_void>();
        // SAFETY: the packet is the program's context, and one byte of our stack is written.
        let read =
            unsafe { bpf_skb_load_bytes(self.packet.cast(), self.at.wrapping_add(inside), to, 1) };
        (read == 0).then_some(byte)
    }

    #[inline(always)]
    fn repeat<S>(&self, turns: u32, state: &mut S, turn: impl Fn(&Self, &mut S) -> bool) {
        repeat(*self, turns, state, turn);
    }
}

impl Stream for Content {
    type Table = Table;

    #[inline(always)]
    fn table(&self) -> &Table {
        &self.table
    }
}

/// Judges a packet of TCP: 1 lets it go on.
#[inline(always)]
pub(crate) fn judge(ctx: &SkBuffContext, here: &Here, table: &Table, packet: Packet) -> i32 {
    if here.on & on::NAMES == 0 {
        return 1;
    }
    let Some(sock) = socket(ctx) else { return 1 };
    let Some(flow) = flow(sock, 0) else { return 1 };
    if flow.stage == stage::PASSES {
        return 1;
    }
    let Ok((address, port)) = packet.target(ctx) else { return 0 };
    let to = Peer { address, port, protocol: packet.protocol };
    if !flow.is_to(to) {
        return 1;
    }
    let Ok(segment) = Segment::parse(ctx, packet) else { return 0 };
    if segment.opens && (flow.stage == stage::AWAITED || flow.first != segment.first) {
        // Not where it is sent again, with or without the content of before.
        if flow.stage != stage::REFUSED {
            flow.stage = stage::CHECKED;
        }
        flow.first = segment.first;
        forget(sock);
    }
    if flow.stage == stage::REFUSED {
        return (segment.length == 0) as i32;
    }
    if segment.length == 0 && !segment.is_urgent {
        return 1;
    }
    let (decision, check) = match read(ctx, table, sock, flow, &segment) {
        Ok(passes) => return passes as i32,
        Err(refusal) => refusal,
    };
    let mut to = to.destination();
    to.detail = segment.source as u32;
    match check {
        Some(check) if decision.reason.number() == Reason::UnlistedServerName.number() => {
            emit::named_packet(here, Action::Send, decision, &to, check.name());
        }
        _ => emit::packet(here, Action::Send, decision, &to),
    }
    forget(sock);
    let is_refused = decision.verdict == Verdict::Deny;
    flow.stage = if is_refused { stage::REFUSED } else { stage::PASSES };
    !is_refused as i32
}

/// Forgets what was read.
#[inline(always)]
fn forget(sock: *mut c_void) {
    // SAFETY: the loader puts the map's address here, and the kernel gave the socket.
    unsafe { bpf_sk_storage_delete((&raw const BEGINNINGS).cast_mut().cast(), sock) };
}

/// Reads what a packet has new; whether it goes on, or why it is refused.
#[inline(always)]
fn read(
    ctx: &SkBuffContext,
    table: &Table,
    sock: *mut c_void,
    flow: &mut Flow,
    segment: &Segment,
) -> Result<bool, (Decision, Option<&'static Check>)> {
    let map = (&raw const BEGINNINGS).cast_mut().cast();
    // SAFETY: the loader puts the map's address here, and the value lives as long as the socket.
    let beginning = unsafe {
        bpf_sk_storage_get(map, sock, core::ptr::null_mut(), BPF_SK_STORAGE_GET_F_CREATE as u64)
            .cast::<Beginning>()
            .as_mut()
    };
    let Some(beginning) = beginning else {
        return Err((Decision::deny(Reason::TableFull), None));
    };
    let is_known = flow.stage == stage::CHECKED;
    // The server may take another byte than the last for urgent, which is then not in its stream.
    if !is_known || segment.is_urgent || is_shared(ctx, beginning) {
        return Err((nameless(table), None));
    }
    let content = Content {
        table: *table,
        packet: ctx.skb.skb,
        at: segment.at,
        offset: segment.first.wrapping_sub(flow.first),
        length: segment.length,
    };
    match beginning.check.read(&content, content.offset, content.length) {
        Progress::Between => Ok(true),
        Progress::Missing => Ok(false),
        Progress::Done => {
            flow.stage = stage::PASSES;
            forget(sock);
            Ok(true)
        }
        Progress::Inside if segment.ends => Err((nameless(table), None)),
        Progress::Inside => Ok(segment.opens || !is_all(sock, beginning, segment)),
        Progress::Refused(decision) => Err((decision, Some(&beginning.check))),
    }
}

/// Whether others may change the packet's content, or it cannot be told.
#[inline(always)]
fn is_shared(ctx: &SkBuffContext, beginning: &mut Beginning) -> bool {
    let packet = number(&mut beginning.place, ctx.skb.skb as u64);
    let head = read_u64(packet + offset!(packet_head));
    let end = read_u32(packet + offset!(packet_end)) as u64;
    let flags = read_u16(head + end + offset!(shared_flags)) as u8;
    head == 0 || flags & SHARED != 0
}

/// Whether a packet ends with the last byte that was written.
#[inline(always)]
fn is_all(sock: *mut c_void, beginning: &mut Beginning, segment: &Segment) -> bool {
    let sock = number(&mut beginning.place, sock as u64);
    segment.first.wrapping_add(segment.length) == read_u32(sock + offset!(tcp_written))
}
