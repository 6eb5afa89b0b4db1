//! Decisions about destinations: which interval of addresses, then which interval of ports.

use crate::{
    Address, Cell, Decision, Image, Reason,
    image::{MAX_INTERVALS, SEARCH_STEPS, header},
};

/// The transport of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `IPPROTO_TCP`.
    Tcp,
    /// `IPPROTO_UDP`.
    Udp,
}

impl Protocol {
    /// The number in an IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// Whether network egress is governed at all.
#[inline(always)]
pub fn governs<I: Image + ?Sized>(image: &I) -> bool {
    image.word(header::GOVERNS_EGRESS) != Some(0)
}

/// What the rules about addresses say of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer while no name stands for the address.
    pub decision: Decision,
    /// In some document no rule speaks of the address at this port, and in none does one refuse
    /// it: what was [installed](crate::installed) for the address is asked next, and its answer,
    /// where there is one, stands in this one's place.
    pub by_default: bool,
}

impl Answer {
    /// The answer of a [`cell`].
    #[inline(always)]
    pub fn of(cell: Option<Cell>) -> Self {
        match cell {
            Some(cell) => Self {
                decision: Decision::of(cell, Reason::EgressViolation),
                by_default: cell.is_by_default(),
            },
            None => Self { decision: Decision::deny(Reason::TableCorrupt), by_default: false },
        }
    }
}

/// Whether a packet or connection may go to this destination, by the rules about addresses.
#[inline(always)]
pub fn answer<I: Image + ?Sized>(
    image: &I,
    address: Address,
    protocol: Protocol,
    port: u16,
) -> Answer {
    Answer::of(cell(image, address, protocol, port))
}

/// The cell of [`answer`]; `None` when the image is none.
#[inline(always)]
pub fn cell<I: Image + ?Sized>(
    image: &I,
    address: Address,
    protocol: Protocol,
    port: u16,
) -> Option<Cell> {
    if !governs(image) {
        return Some(Cell::ALLOW);
    }
    lookup(image, address, protocol, port)
}

/// Whether a packet or connection may go to this destination while no name stands for it: the
/// decision of [`answer`].
#[inline(always)]
pub fn decide<I: Image + ?Sized>(
    image: &I,
    address: Address,
    protocol: Protocol,
    port: u16,
) -> Decision {
    answer(image, address, protocol, port).decision
}

/// The answer to what goes to no destination that a policy could allow.
#[inline(always)]
pub fn violation<I: Image + ?Sized>(image: &I) -> Decision {
    match image.word(header::SOCKET_VIOLATION) {
        Some(word) => Decision::of(Cell(word), Reason::EgressViolation),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

#[inline(always)]
fn lookup<I: Image + ?Sized>(
    image: &I,
    address: Address,
    protocol: Protocol,
    port: u16,
) -> Option<Cell> {
    // As many ways lead to these numbers as addresses have forms; the verifier follows one.
    let address = Address { high: image.blur(address.high), low: image.blur(address.low) };
    let leaf = match address.as_v4() {
        Some(number) => {
            let base = image.word(header::V4)?;
            let count = image.word(header::V4_COUNT)?;
            let index = Search::new(image, (base, 4, count), (0, number as u64)).run(image)?;
            image.word(base.wrapping_add(count.wrapping_add(index).wrapping_mul(4)))?
        }
        None => {
            let base = image.word(header::V6)?;
            let count = image.word(header::V6_COUNT)?;
            let index =
                Search::new(image, (base, 16, count), (address.high, address.low)).run(image)?;
            let leaves = base.wrapping_add(count.wrapping_mul(16));
            image.word(leaves.wrapping_add(index.wrapping_mul(4)))?
        }
    };
    by_port(image, leaf, protocol, port)
}

/// What a leaf says about a port.
#[inline(always)]
pub(crate) fn by_port<I: Image + ?Sized>(
    image: &I,
    leaf: u32,
    protocol: Protocol,
    port: u16,
) -> Option<Cell> {
    let further = match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 8,
    };
    let leaf = image.blur(leaf.wrapping_add(further) as u64) as u32;
    let base = image.word(leaf)?;
    let count = image.word(leaf.wrapping_add(4))?;
    let index = Search::new(image, (base, 8, count), (0, port as u64)).run(image)?;
    Some(Cell(image.word(base.wrapping_add(index.wrapping_mul(8)).wrapping_add(4))?))
}

/// A binary search for the last of some ascending elements that is not after a target. The first
/// element is never after it.
struct Search {
    base: u32,
    /// Bytes from one element to the next. Elements of 16 bytes begin with a key of two u64s,
    /// others with one of a u32.
    stride: u32,
    low: u32,
    high: u32,
    high_target: u64,
    low_target: u64,
    /// 1 once an element could not be read.
    failed: u32,
}

impl Search {
    #[inline(always)]
    fn new<I: Image + ?Sized>(
        image: &I,
        (base, stride, count): (u32, u32, u32),
        (high_target, low_target): (u64, u64),
    ) -> Self {
        let any = |number: u32| image.blur(number as u64) as u32;
        let (stride, low, high) = (any(stride), any(0), any(count));
        Self { base, stride, low, high, high_target, low_target, failed: any(0) }
    }

    /// The element's index; `None` for an empty table, one too large for the steps, or a failed
    /// read.
    #[inline(always)]
    fn run<I: Image + ?Sized>(mut self, image: &I) -> Option<u32> {
        if self.high == 0 || self.high > MAX_INTERVALS {
            return None;
        }
        image.repeat(SEARCH_STEPS + 1, &mut self, |image, search| search.halve(image));
        if self.failed != 0 { None } else { Some(self.low) }
    }

    /// One halving; false when there is nothing left to halve.
    #[inline(always)]
    fn halve<I: Image + ?Sized>(&mut self, image: &I) -> bool {
        if self.high.wrapping_sub(self.low) <= 1 {
            return false;
        }
        let middle = self.low.wrapping_add(self.high.wrapping_sub(self.low) >> 1);
        let at = self.base.wrapping_add(middle.wrapping_mul(self.stride));
        match self.is_after(image, at) {
            Some(true) => self.high = middle,
            Some(false) => self.low = middle,
            None => self.failed = 1,
        }
        self.failed == 0
    }

    #[inline(always)]
    fn is_after<I: Image + ?Sized>(&self, image: &I, at: u32) -> Option<bool> {
        if self.stride != 16 {
            return Some(image.word(at)? as u64 > self.low_target);
        }
        let high = long(image, at)?;
        if high != self.high_target {
            return Some(high > self.high_target);
        }
        Some(long(image, at.wrapping_add(8))? > self.low_target)
    }
}

/// A u64 stored low word first.
#[inline(always)]
fn long<I: Image + ?Sized>(image: &I, at: u32) -> Option<u64> {
    let low = image.word(at)? as u64;
    Some(((image.word(at.wrapping_add(4))? as u64) << 32) | low)
}
