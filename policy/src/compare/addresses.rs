//! Compares what two policies say about addresses.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ringfence_common::{Cell, Image, egress::Protocol, image::header};

use super::{Answer, Comparison, MAX_DIFFERENCES, Subject, example_port};
use crate::{compile::Tables, question};

/// Intervals of ports that are looked at before a comparison is given up.
const MAX_PORT_STEPS: usize = 64 << 20;

/// Adds the differences about addresses.
pub(super) fn compare(old: &Tables, new: &Tables, comparison: &mut Comparison) {
    let mut search = Search {
        old,
        new,
        comparison,
        leaves: HashSet::new(),
        ports: HashSet::new(),
        known: HashSet::new(),
        unnamed: Vec::new(),
        steps: 0,
    };
    let is_complete = [Family::V4, Family::V6].into_iter().all(|family| {
        let tables = family.intervals(&old.image).zip(family.intervals(&new.image));
        tables.is_some_and(|(old, new)| search.family(family, &old, &new).is_some())
    });
    search.tell_unnamed();
    comparison.is_complete &= is_complete;
}

struct Search<'a> {
    old: &'a Tables,
    new: &'a Tables,
    comparison: &'a mut Comparison,
    /// Pairs of leaves, and of port tables, that have been compared.
    leaves: HashSet<(u32, u32)>,
    ports: HashSet<(u8, PortTable, PortTable)>,
    /// Pairs of answers that an example was found for.
    known: HashSet<(u8, Cell, Cell)>,
    /// Told at the end, where no other address differs alike: a reader knows the list of rules, and
    /// not which addresses must be named literally.
    unnamed: Vec<(Cell, Cell, IpAddr, u16, Protocol)>,
    steps: usize,
}

impl Search<'_> {
    /// `None` when the work became too much, or a table cannot be read.
    fn family(&mut self, family: Family, old: &[(u128, u32)], new: &[(u128, u32)]) -> Option<()> {
        for (first, last, old_leaf, new_leaf) in merged(old, new, family.last()) {
            let Some(address) = family.example(first, last) else { continue };
            if self.leaves.insert((old_leaf, new_leaf)) {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    self.leaf(address, protocol, old_leaf, new_leaf)?;
                }
            }
        }
        Some(())
    }

    fn leaf(&mut self, address: IpAddr, protocol: Protocol, old: u32, new: u32) -> Option<()> {
        let old = PortTable::of(&self.old.image, old, protocol)?;
        let new = PortTable::of(&self.new.image, new, protocol)?;
        if !self.ports.insert((protocol.number(), old, new)) {
            return Some(());
        }
        let (old, new) = (old.read(&self.old.image)?, new.read(&self.new.image)?);
        self.steps += old.len() + new.len();
        for (first, last, old, new) in merged(&old, &new, u16::MAX.into()) {
            let key = (protocol.number(), old.settled(), new.settled());
            if old.verdict() == new.verdict() || self.known.contains(&key) {
                continue;
            }
            let Some(port) = port_of(first, last) else { continue };
            if self.known.len() == MAX_DIFFERENCES {
                return None;
            }
            self.known.insert(key);
            let lists = (self.old.list_of(old), self.new.list_of(new));
            if lists.0.or(lists.1).is_some() {
                let (old, new) = (lists.0.unwrap_or(key.1), lists.1.unwrap_or(key.2));
                self.unnamed.push((old, new, address, port, protocol));
                continue;
            }
            self.add(Subject::Address { address, port, protocol }, address, port, protocol);
        }
        (self.steps <= MAX_PORT_STEPS).then_some(())
    }

    fn tell_unnamed(&mut self) {
        for (old, new, address, port, protocol) in std::mem::take(&mut self.unnamed) {
            if self.known.insert((protocol.number(), old, new)) {
                self.add(Subject::Address { address, port, protocol }, address, port, protocol);
            }
        }
    }

    /// Tells an example with the answers that the kernel would give.
    fn add(&mut self, subject: Subject, address: IpAddr, port: u16, protocol: Protocol) {
        let about =
            |tables| Answer::of(question::about_address(tables, address, port, protocol), tables);
        let (old, new) = (about(self.old), about(self.new));
        debug_assert_ne!(old.verdict, new.verdict, "{subject:?}");
        self.comparison.is_complete &= old.verdict != new.verdict;
        self.comparison.add(subject, old, new);
    }
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn last(self) -> u128 {
        match self {
            Self::V4 => u32::MAX.into(),
            Self::V6 => u128::MAX,
        }
    }

    /// First addresses, and the offsets of their leaves.
    fn intervals(self, image: &[u8]) -> Option<Vec<(u128, u32)>> {
        let (base, count, width) = match self {
            Self::V4 => (image.word(header::V4)?, image.word(header::V4_COUNT)?, 4),
            Self::V6 => (image.word(header::V6)?, image.word(header::V6_COUNT)?, 16),
        };
        let leaves = base.checked_add(count.checked_mul(width)?)?;
        let interval = |i: u32| {
            let first = match self {
                Self::V4 => image.word(base + i * width)?.into(),
                Self::V6 => {
                    let word = |n: u32| image.word(base + i * width + n * 4).map(u128::from);
                    word(1)? << 96 | word(0)? << 64 | word(3)? << 32 | word(2)?
                }
            };
            Some((first, image.word(leaves.checked_add(i * 4)?)?))
        };
        (0..count).map(interval).collect()
    }

    /// An address of the interval that a person can read; `None` when the interval holds only
    /// other spellings of addresses that are looked up elsewhere.
    fn example(self, first: u128, last: u128) -> Option<IpAddr> {
        // Where the range begins with the unspecified address, which is loopback: one that is
        // set aside for examples (RFC 5737, RFC 3849), or the first that the internet has.
        let (public, host_bits): ([u128; 2], _) = match self {
            Self::V4 => ([0xc000_0201, 0x0100_0001], 0xff),
            Self::V6 => ([0x2001_0db8 << 96 | 1, 0x2000 << 112 | 1], 0xffff),
        };
        if let Some(public) = public.into_iter().find(|public| first == 0 && *public <= last) {
            return Some(self.address(public));
        }
        let mut address = first;
        // No network spans the borders of these ranges, so that one step over each is enough.
        for range in self.elsewhere() {
            if range.contains(&address) {
                address = range.end().checked_add(1)?;
            }
        }
        if address > last {
            return None;
        }
        let is_network = address & host_bits == 0;
        Some(self.address(if is_network && address < last { address + 1 } else { address }))
    }

    /// Ascending ranges of addresses that lookups turn into others first.
    fn elsewhere(self) -> &'static [std::ops::RangeInclusive<u128>] {
        const MAPPED: u128 = 0xffff << 32;
        const NAT64: u128 = 0x0064_ff9b << 96;
        match self {
            Self::V4 => &[0..=0],
            Self::V6 => &[0..=0, MAPPED..=MAPPED | 0xffff_ffff, NAT64..=NAT64 | 0xffff_ffff],
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// Where the answers by port of a leaf stand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PortTable {
    base: u32,
    count: u32,
}

impl PortTable {
    fn of(image: &[u8], leaf: u32, protocol: Protocol) -> Option<Self> {
        let at = match protocol {
            Protocol::Tcp => leaf,
            Protocol::Udp => leaf.checked_add(8)?,
        };
        Some(Self { base: image.word(at)?, count: image.word(at.checked_add(4)?)? })
    }

    fn read(self, image: &[u8]) -> Option<Vec<(u128, Cell)>> {
        let interval = |i: u32| {
            let at = self.base.checked_add(i.checked_mul(8)?)?;
            Some((image.word(at)?.into(), Cell(image.word(at.checked_add(4)?)?)))
        };
        (0..self.count).map(interval).collect()
    }
}

/// The intervals in which neither of two tables changes: first, last, and both values. The first
/// interval of each table begins at 0.
fn merged<A: Copy, B: Copy>(
    old: &[(u128, A)],
    new: &[(u128, B)],
    last: u128,
) -> impl Iterator<Item = (u128, u128, A, B)> {
    let (mut i, mut j, mut first) = (0, 0, Some(0));
    std::iter::from_fn(move || {
        let begin = first?;
        let values = (old.get(i)?.1, new.get(j)?.1);
        let starts = [old.get(i + 1).map(|next| next.0), new.get(j + 1).map(|next| next.0)];
        first = starts.into_iter().flatten().min();
        i += usize::from(first.is_some() && starts[0] == first);
        j += usize::from(first.is_some() && starts[1] == first);
        Some((begin, first.map_or(last, |next| next - 1), values.0, values.1))
    })
}

/// A port of the interval. Nobody can ask about port 0.
fn port_of(first: u128, last: u128) -> Option<u16> {
    let (first, last) = (u16::try_from(first.max(1)).ok()?, u16::try_from(last).ok()?);
    (first <= last).then(|| example_port(first, last))
}

#[cfg(test)]
mod tests;
