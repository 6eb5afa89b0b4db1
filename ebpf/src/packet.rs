//! The headers of a packet, as far as rules are about them.

use aya_ebpf::programs::SkBuffContext;
use ringfence_common::{Address, Image as _, egress::Protocol};

use crate::table::Table;

/// Where a packet's addresses and its transport header stand.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    source: usize,
    is_v4: bool,
    /// IPv4's header has no options, which may route the packet by another machine.
    pub(crate) is_plain: bool,
    /// Where the header of TCP or UDP begins.
    pub(crate) transport: usize,
    pub(crate) protocol: Protocol,
}

impl Packet {
    /// Reads the header of IP; `Err` for what is neither TCP nor UDP, has headers of IPv6 between,
    /// or cannot be read.
    #[inline(always)]
    pub(crate) fn parse(ctx: &SkBuffContext, table: &Table) -> Result<Self, i64> {
        // All at once, since each load is a call: what either header has in its first bytes.
        let head: [u8; 10] = ctx.load(0)?;
        let (source, is_v4, words, next) = match head[0] >> 4 {
            4 => {
                if u16::from_be_bytes([head[6], head[7]]) & 0x1fff != 0 {
                    return Err(0);
                }
                (12, true, head[0] & 15, head[9])
            }
            6 => (8, false, 10, head[6]),
            _ => return Err(0),
        };
        let protocol = match next {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return Err(0),
        };
        // Numbers that the verifier takes for any: else it follows the rest once for each family.
        let number = |number: u64| table.blur(number);
        let (source, is_v4) = (number(source) as usize, number(is_v4 as u64) & 1 != 0);
        let transport = number(words as u64 * 4) as usize;
        Ok(Self { source, is_v4, is_plain: !is_v4 || transport == 20, transport, protocol })
    }

    /// The address that stands at an offset.
    #[inline(always)]
    fn address(self, ctx: &SkBuffContext, at: usize) -> Result<Address, i64> {
        if self.is_v4 {
            let number: u32 = ctx.load(at)?;
            return Ok(Address::v4(u32::from_be(number)));
        }
        let high: u64 = ctx.load(at)?;
        let low: u64 = ctx.load(at + 8)?;
        Ok(Address::v6(u64::from_be(high), u64::from_be(low)))
    }

    /// Where it comes from.
    #[inline(always)]
    pub(crate) fn source(self, ctx: &SkBuffContext) -> Result<(Address, u16), i64> {
        let port: u16 = ctx.load(self.transport)?;
        Ok((self.address(ctx, self.source)?, u16::from_be(port)))
    }

    /// Where it goes.
    #[inline(always)]
    pub(crate) fn target(self, ctx: &SkBuffContext) -> Result<(Address, u16), i64> {
        let port: u16 = ctx.load(self.transport + 2)?;
        let length = if self.is_v4 { 4 } else { 16 };
        Ok((self.address(ctx, self.source + length)?, u16::from_be(port)))
    }

    /// Whether a TCP packet opens a connection: SYN without ACK.
    #[inline(always)]
    pub(crate) fn opens(self, ctx: &SkBuffContext) -> Result<bool, i64> {
        let flags: u8 = ctx.load(self.transport + 13)?;
        Ok(flags & 0x12 == 0x02)
    }
}
