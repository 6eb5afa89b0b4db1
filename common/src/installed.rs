//! Addresses that a name stands for, and what the policy says of connecting to them: one entry of
//! a map for each scope and address.
//!
//! The resolver puts an entry in before it tells a process the address. The kernel programs ask
//! for it where the rules about addresses leave a destination open ([`egress::Answer`]).
//!
//! [`egress::Answer`]: crate::egress::Answer

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Address, Cell, Decision, Reason, Verdict, egress::Protocol};

/// Ranges of ports that an entry has room for, of all protocols together.
pub const MAX_RANGES: usize = 16;
/// Entries that all scopes of a set of programs have room for together.
pub const MAX_ENTRIES: u32 = 1 << 20;
/// Entries that one scope may have, so that one cannot take the room of all.
pub const MAX_SCOPE_ENTRIES: u32 = 1 << 16;

/// Which scope, and which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key {
    /// The scope's number.
    pub scope: u32,
    /// The generation of its policy, as in the image ([`GENERATION`](crate::image::header)).
    pub generation: u32,
    /// The address in network byte order; IPv4 is IPv4-mapped.
    pub address: [u8; 16],
}

impl Key {
    /// The key of an address, in the one form that [`Address`] has.
    #[inline(always)]
    pub const fn new(scope: u32, generation: u32, address: Address) -> Self {
        let number = (address.high as u128) << 64 | address.low as u128;
        Self { scope, generation, address: number.to_be_bytes() }
    }
}

/// What an address may be reached at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Value {
    /// When the entry ends: nanoseconds since the machine started, suspended time included
    /// (`bpf_ktime_get_boot_ns`).
    pub expires: u64,
    /// Bit i is set where range i is for TCP.
    pub tcp: u16,
    /// Bit i is set where range i is for UDP.
    pub udp: u16,
    /// Bit i is set where the first bytes of a TCP connection by range i must name a server that
    /// the scope may look up.
    pub checks_name: u16,
    /// Always 0.
    pub reserved: u16,
    /// The ranges; those that are for no protocol are not used.
    pub ranges: [Range; MAX_RANGES],
}

/// Some ports, and the answer to connecting to them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Range {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// A [`Cell`].
    pub cell: u32,
}

/// What an entry says of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Allowed or observed, and the rule that says so.
    pub decision: Decision,
    /// The connection's first bytes must name a server that the scope may look up.
    pub checks_name: bool,
}

impl Value {
    /// An entry that says nothing yet.
    pub const fn new(expires: u64) -> Self {
        let unused = Range { first: 0, last: 0, cell: 0 };
        Self { expires, tcp: 0, udp: 0, checks_name: 0, reserved: 0, ranges: [unused; MAX_RANGES] }
    }

    /// Adds a range for one protocol; what is said of another protocol alike shares its place.
    /// False when there is no room left: the entry must not be used.
    #[must_use]
    pub fn add(&mut self, protocol: Protocol, range: Range, checks_name: bool) -> bool {
        let (used, checked) = (self.tcp | self.udp, self.checks_name);
        let is_place = |at: usize, old: &Range| {
            let bit = 1 << at;
            used & bit == 0 || (*old == range && (checked & bit != 0) == checks_name)
        };
        let mut places = self.ranges.iter_mut().enumerate();
        let Some((at, place)) = places.find(|(at, old)| is_place(*at, old)) else { return false };
        *place = range;
        match protocol {
            Protocol::Tcp => self.tcp |= 1 << at,
            Protocol::Udp => self.udp |= 1 << at,
        }
        self.checks_name |= u16::from(checks_name) << at;
        true
    }
}

/// What an entry says of a port; `None` when it says nothing or has ended, so that the answer by
/// address stands. `now` is on the clock of [`Value::expires`].
#[inline(always)]
pub fn find(value: &Value, now: u64, protocol: Protocol, port: u16) -> Option<Opened> {
    let mut open = match protocol {
        Protocol::Tcp => value.tcp,
        Protocol::Udp => value.udp,
    } as u64;
    let mut checked = value.checks_name as u64;
    // 0 for nothing found, else the cell and the bits above it. Without a branch, each of which
    // doubles what the verifier follows: numbers below 0 have their highest bit.
    let (mut found, mut wanted) = (0_u64, u64::MAX);
    for range in &value.ranges {
        let after_first = (port as u64).wrapping_sub(range.first as u64);
        let before_last = (range.last as u64).wrapping_sub(port as u64);
        let fits = open & !((after_first | before_last) >> 63) & 1;
        let taken = 0_u64.wrapping_sub(fits) & wanted;
        found |= taken & (FOUND | (checked & 1) << 32 | range.cell as u64);
        wanted &= !taken;
        open >>= 1;
        checked >>= 1;
    }
    let cell = Cell(found as u32);
    // Nothing here refuses: a refusal is what there is without an entry.
    if found == 0 || now >= value.expires || matches!(cell.verdict(), Verdict::Deny) {
        return None;
    }
    let decision = Decision::of(cell, Reason::EgressViolation);
    Some(Opened { decision, checks_name: found >> 32 & 1 != 0 })
}

/// That a range was found, above a cell and the bit for its check.
const FOUND: u64 = 1 << 33;

/// The decision of [`find`].
#[inline(always)]
pub fn decide(value: &Value, now: u64, protocol: Protocol, port: u16) -> Option<Decision> {
    find(value, now, protocol, port).map(|opened| opened.decision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, rule: u32) -> Range {
        Range { first, last, cell: Cell::new(Verdict::Allow, rule).0 }
    }

    #[test]
    fn an_entry_answers_inside_its_ranges_and_until_it_ends() {
        let mut value = Value::new(100);
        assert!(value.add(Protocol::Tcp, range(443, 443, 7), true));
        assert!(value.add(Protocol::Udp, range(8000, 8100, 8), false));
        let rule = |now, protocol, port| {
            find(&value, now, protocol, port).map(|one| (one.decision.rule, one.checks_name))
        };
        assert_eq!(rule(99, Protocol::Tcp, 443), Some((7, true)));
        for port in [8000, 8050, 8100] {
            assert_eq!(rule(0, Protocol::Udp, port), Some((8, false)), "{port}");
        }
        for (now, protocol, port) in [
            (100, Protocol::Tcp, 443),
            (u64::MAX, Protocol::Tcp, 443),
            (0, Protocol::Udp, 443),
            (0, Protocol::Tcp, 442),
            (0, Protocol::Tcp, 444),
            (0, Protocol::Tcp, 8000),
            (0, Protocol::Udp, 7999),
            (0, Protocol::Udp, 8101),
            // Unused ranges are from port 0 to port 0.
            (0, Protocol::Tcp, 0),
        ] {
            assert_eq!(decide(&value, now, protocol, port), None, "{now} {protocol:?} {port}");
        }
    }

    #[test]
    fn protocols_share_a_range_only_when_all_of_it_is_alike() {
        let mut value = Value::new(1);
        for (protocol, checks_name) in
            [(Protocol::Tcp, false), (Protocol::Udp, false), (Protocol::Tcp, true)]
        {
            assert!(value.add(protocol, range(1, 2, 3), checks_name));
        }
        assert_eq!((value.tcp, value.udp, value.checks_name), (0b11, 0b01, 0b10));
    }

    #[test]
    fn an_entry_that_is_full_takes_no_more() {
        let mut value = Value::new(1);
        for port in 0..MAX_RANGES as u16 {
            assert!(value.add(Protocol::Tcp, range(port, port, 1), false), "{port}");
        }
        assert!(!value.add(Protocol::Tcp, range(99, 99, 1), false));
        assert!(value.add(Protocol::Udp, range(5, 5, 1), false), "the same for UDP is no more");
        assert_eq!(decide(&value, 0, Protocol::Tcp, 15).map(|one| one.rule), Some(1));
    }

    #[test]
    fn an_entry_never_refuses_and_observes_with_a_reason() {
        let mut value = Value::new(1);
        let cell = |verdict| Cell::new(verdict, 1).0;
        let deny = Range { first: 1, last: 1, cell: cell(Verdict::Deny) };
        let observe = Range { first: 2, last: 2, cell: cell(Verdict::Observe) };
        assert!(value.add(Protocol::Tcp, deny, false) && value.add(Protocol::Tcp, observe, false));
        assert_eq!(decide(&value, 0, Protocol::Tcp, 1), None);
        let expected =
            Decision { verdict: Verdict::Observe, reason: Reason::EgressViolation, rule: 1 };
        assert_eq!(decide(&value, 0, Protocol::Tcp, 2), Some(expected));
    }

    #[test]
    fn a_key_is_the_same_for_every_spelling_of_an_address() {
        let key = Key::new(3, 1, Address::v4(0x0102_0304));
        assert_eq!(key, Key::new(3, 1, Address::v6(0, 0xffff_0102_0304)));
        assert_eq!(key.address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!((size_of::<Key>(), size_of::<Value>()), (24, 144));
    }
}
