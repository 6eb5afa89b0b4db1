//! The headers of a packet, as far as rules are about them.

use aya_ebpf::programs::SkBuffContext;
use ringfence_common::{Address, Image as _, egress::Protocol};

use crate::{redirect::long, table::Table};

/// What a packet's headers say.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    head: Head,
    is_v4: bool,
    /// IPv4's header has no options, which may route the packet by another machine.
    pub(crate) is_plain: bool,
    /// Where the header of TCP or UDP begins.
    pub(crate) transport: usize,
    pub(crate) protocol: Protocol,
    /// As they stand in the packet: the source's first.
    ports: u32,
    /// TCP's; 0 for UDP.
    flags: u8,
}

/// The first bytes as they stand in a packet: IPv6's header, or IPv4's and the least that TCP's has.
/// One load, since each is a call.
type Head = [u32; 10];

/// The first bytes, and whether there are fewer: IPv4 with a short datagram.
#[inline(always)]
fn head(ctx: &SkBuffContext) -> Result<(Head, bool), i64> {
    if let Ok(head) = ctx.load(0) {
        return Ok((head, false));
    }
    let [a, b, c, d, e, f, g]: [u32; 7] = ctx.load(0)?;
    Ok(([a, b, c, d, e, f, g, 0, 0, 0], true))
}

/// A byte of a word that was loaded from a packet.
#[inline(always)]
const fn byte(word: u32, index: u32) -> u8 {
    (word >> (index * 8)) as u8
}

impl Packet {
    /// Reads the headers; `Err` for what is neither TCP nor UDP, has headers of IPv6 between, or
    /// cannot be read.
    #[inline(always)]
    pub(crate) fn parse(ctx: &SkBuffContext, table: &Table) -> Result<Self, i64> {
        let (head, is_short) = head(ctx)?;
        let (is_v4, words, next) = match byte(head[0], 0) >> 4 {
            4 => {
                if u16::from_be((head[1] >> 16) as u16) & 0x1fff != 0 {
                    return Err(0);
                }
                (true, byte(head[0], 0) & 15, byte(head[2], 1))
            }
            6 if !is_short => (false, 10, byte(head[1], 2)),
            _ => return Err(0),
        };
        let protocol = match next {
            6 if !is_short => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return Err(0),
        };
        // Numbers that the verifier takes for any: else it follows the rest once for each family.
        let number = |number: u64| table.blur(number);
        let is_v4 = number(is_v4 as u64) & 1 != 0;
        let transport = number(words as u64 * 4) as usize;
        let is_plain = !is_v4 || transport == 20;
        let (ports, flags) = if is_v4 && is_plain {
            (head[5], byte(head[8], 1))
        } else if protocol == Protocol::Tcp {
            (ctx.load(transport)?, ctx.load(transport + 13)?)
        } else {
            (ctx.load(transport)?, 0)
        };
        let (ports, flags) = (number(ports as u64) as u32, number(flags as u64) as u8);
        Ok(Self { head, is_v4, is_plain, transport, protocol, ports, flags })
    }

    /// The address of which these are the words, of either family.
    #[inline(always)]
    fn address(self, v4: u32, v6: [u32; 4]) -> Address {
        if self.is_v4 {
            return Address::v4(u32::from_be(v4));
        }
        Address::v6(long(v6[0], v6[1]), long(v6[2], v6[3]))
    }

    /// Where it comes from.
    #[inline(always)]
    pub(crate) fn source(self) -> (Address, u16) {
        let [_, _, a, b, c, d, ..] = self.head;
        (self.address(b, [a, b, c, d]), u16::from_be(self.ports as u16))
    }

    /// Where it goes.
    #[inline(always)]
    pub(crate) fn target(self) -> (Address, u16) {
        let [.., v4, _, a, b, c, d] = self.head;
        (self.address(v4, [a, b, c, d]), u16::from_be((self.ports >> 16) as u16))
    }

    /// Whether a TCP packet opens a connection: SYN without ACK.
    #[inline(always)]
    pub(crate) const fn opens(self) -> bool {
        self.flags & 0x12 == 0x02
    }
}
