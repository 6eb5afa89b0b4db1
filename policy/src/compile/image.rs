//! Writes and checks images, as [`ringfence_common::image`] lays them out.

use ringfence_common::{
    Image, Right,
    budget::{Kind, Limit},
    image::{
        CLASSES, ENTRY_BYTES, MAGIC, MAX_NAME_STATES, MAX_STATES, NAME_SLOT_BYTES,
        NAME_STATE_BYTES, TRANSITIONS, header as word,
    },
};

use super::{
    addresses::Addresses, automaton::PathTable, header::Header, names::NameTable, ports::PortMap,
};

/// Bytes of an interval of IPv4 addresses.
pub(super) const INTERVAL_BYTES_V4: usize = 8;
/// Bytes of an interval of IPv6 addresses.
pub(super) const INTERVAL_BYTES_V6: usize = 20;
/// Bytes of a leaf.
pub(super) const LEAF_BYTES: usize = 16;
/// Bytes of an interval of ports.
pub(super) const PORT_BYTES: usize = 8;
/// What every part begins at a multiple of: more than any element needs.
const ALIGNMENT: usize = 16;
/// Parts of an image.
const PARTS: usize = 12;

/// Bytes of an image up to the address tables, and what aligning these may take.
pub(super) fn path_bytes(paths: &PathTable) -> usize {
    TRANSITIONS as usize
        + (paths.transitions.len() + paths.accepts.len()) * 2
        + paths.entries.len() * ENTRY_BYTES as usize
        + PARTS * ALIGNMENT
}

/// Bytes of the leaf for serving and its ports.
pub(super) fn serving_bytes(serving: &[PortMap; 2]) -> usize {
    LEAF_BYTES + serving.iter().map(|map| map.len() * PORT_BYTES).sum::<usize>()
}

/// The image. The caller made sure that it is small enough for every offset to fit.
pub(super) fn write(
    header: &Header,
    paths: &PathTable,
    addresses: &Addresses,
    names: &NameTable,
    serving: &[PortMap; 2],
) -> Vec<u8> {
    let mut bytes = vec![0; TRANSITIONS as usize];
    bytes[CLASSES as usize..].copy_from_slice(&paths.classes);
    bytes.extend(paths.transitions.iter().flat_map(|state| state.to_le_bytes()));
    let accepts = align(&mut bytes);
    bytes.extend(paths.accepts.iter().flat_map(|entry| entry.to_le_bytes()));
    let entries = align(&mut bytes);
    for entry in &paths.entries {
        bytes.extend(entry.iter().flat_map(|cell| cell.0.to_le_bytes()));
        bytes.resize(bytes.len() + ENTRY_BYTES as usize - Right::ALL.len() * 4, 0);
    }
    let v4 = align(&mut bytes);
    let v6 = aligned(v4 + addresses.v4.len() * INTERVAL_BYTES_V4);
    let leaves = aligned(v6 + addresses.v6.len() * INTERVAL_BYTES_V6);
    let leaf_offset = |leaf: u32| ((leaves + leaf as usize * LEAF_BYTES) as u32).to_le_bytes();
    bytes.extend(addresses.v4.iter().flat_map(|(first, _)| (*first as u32).to_le_bytes()));
    bytes.extend(addresses.v4.iter().flat_map(|(_, leaf)| leaf_offset(*leaf)));
    align(&mut bytes);
    for (first, _) in &addresses.v6 {
        bytes.extend(((first >> 64) as u64).to_le_bytes());
        bytes.extend((*first as u64).to_le_bytes());
    }
    bytes.extend(addresses.v6.iter().flat_map(|(_, leaf)| leaf_offset(*leaf)));
    align(&mut bytes);
    let mut ports = aligned(leaves + addresses.leaves.len() * LEAF_BYTES);
    let tables: Vec<[u32; 2]> = addresses
        .ports
        .iter()
        .map(|map| {
            let table = [ports as u32, map.len() as u32];
            ports += map.len() * PORT_BYTES;
            table
        })
        .collect();
    for leaf in &addresses.leaves {
        let words = leaf.iter().flat_map(|table| tables[*table as usize]);
        bytes.extend(words.flat_map(u32::to_le_bytes));
    }
    align(&mut bytes);
    for (port, cell) in addresses.ports.iter().flatten() {
        bytes.extend([*port, cell.0].into_iter().flat_map(u32::to_le_bytes));
    }
    let name_classes = align(&mut bytes);
    bytes.extend(names.classes);
    let name_states = align(&mut bytes);
    let states = names.states.iter();
    let states = states.flat_map(|state| [state.base, state.otherwise, state.cell.0]);
    bytes.extend(states.flat_map(u32::to_le_bytes));
    let name_slots = align(&mut bytes);
    let slots = names.slots.iter().flat_map(|slot| [slot.owner, slot.next]);
    bytes.extend(slots.flat_map(u32::to_le_bytes));
    let serving_leaf = align(&mut bytes);
    let mut ports = serving_leaf + LEAF_BYTES;
    for map in serving {
        bytes.extend([ports as u32, map.len() as u32].into_iter().flat_map(u32::to_le_bytes));
        ports += map.len() * PORT_BYTES;
    }
    for (port, cell) in serving.iter().flatten() {
        bytes.extend([*port, cell.0].into_iter().flat_map(u32::to_le_bytes));
    }
    let words = [
        (word::MAGIC, MAGIC),
        (word::LENGTH, bytes.len() as u32),
        (word::GOVERNED_RIGHTS, header.governed_rights),
        (word::GOVERNS_EGRESS, header.governs_egress),
        (word::STRIDE_SHIFT, paths.shift),
        (word::START_STATE, paths.start.into()),
        (word::ACCEPTS, accepts as u32),
        (word::ENTRIES, entries as u32),
        (word::V4, v4 as u32),
        (word::V4_COUNT, addresses.v4.len() as u32),
        (word::V6, v6 as u32),
        (word::V6_COUNT, addresses.v6.len() as u32),
        (word::FILES_VIOLATION, header.files_violation.0),
        (word::SOCKET_VIOLATION, header.socket_violation.0),
        (word::GUARD_VIOLATION, header.guard_violation.0),
        (word::EXEC_AFTER_START, header.exec_after_start.0),
        (word::IO_URING, header.io_uring.0),
        (word::EXEC_ANONYMOUS, header.exec_anonymous.0),
        (word::DENIES_PATHS, header.denies_paths),
        (word::ABSTRACT, header.abstract_sockets.0),
        (word::GOVERNS_SERVING, header.governs_serving),
        (word::SERVING, serving_leaf as u32),
        (word::NAMES_CONTENTS, header.names_contents),
        (word::STATES, paths.accepts.len() as u32),
        (word::NAME_CLASSES, name_classes as u32),
        (word::NAME_STATES, name_states as u32),
        (word::NAME_STATE_COUNT, names.states.len() as u32),
        (word::NAME_SLOTS, name_slots as u32),
        (word::NAME_SLOT_COUNT, names.slots.len() as u32),
        (word::NAME_START, names.start),
    ];
    let budgets = Kind::ALL.into_iter().zip(header.budgets).filter_map(|(kind, limit)| {
        let Limit { amount, refusal } = limit?;
        let at = kind.offset();
        Some([(at, amount as u32), (at + 4, (amount >> 32) as u32), (at + 8, refusal.0)])
    });
    for (at, value) in words.into_iter().chain(budgets.flatten()) {
        bytes[at as usize..at as usize + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The next offset at which a part may begin.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// Fills up to the next part, and says where it begins.
fn align(bytes: &mut Vec<u8>) -> usize {
    bytes.resize(aligned(bytes.len()), 0);
    bytes.len()
}

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy image is malformed: {0}")]
pub struct Malformed(&'static str);

/// Checks that every lookup in an image has an answer inside it.
///
/// A compiled image always passes; this is for images that were stored, and for tests.
///
/// # Errors
/// Names the first part that would let a lookup leave the image.
pub fn verify(image: &[u8]) -> Result<(), Malformed> {
    let read = |at| image.word(at).ok_or(Malformed("shorter than its header"));
    let length = read(word::LENGTH)?;
    ensure(read(word::MAGIC)? == MAGIC, "not an image of this version")?;
    ensure(length as usize == image.len(), "not as long as it says")?;
    let (shift, states, start) =
        (read(word::STRIDE_SHIFT)?, read(word::STATES)?, read(word::START_STATE)?);
    let (accepts, entries, v4) = (read(word::ACCEPTS)?, read(word::ENTRIES)?, read(word::V4)?);
    ensure(shift <= 8 && (1..=MAX_STATES).contains(&states), "more states than a table has")?;
    ensure(start < states, "no such start state")?;
    let row = 1_u32 << shift;
    let is_class = |at: u32| image.byte(at).is_some_and(|class| u32::from(class) < row);
    ensure((CLASSES..TRANSITIONS).all(is_class), "no such byte class")?;
    let half = |at: u32, below: u32| image.half(at).is_some_and(|half| u32::from(half) < below);
    let cells = states * row;
    ensure(cells * 2 + TRANSITIONS <= accepts, "transitions overlap the accepts")?;
    ensure((0..cells).all(|i| half(TRANSITIONS + i * 2, states)), "no such next state")?;
    ensure((0..row).all(|i| half(TRANSITIONS + i * 2, 1)), "the dead state is alive")?;
    ensure(accepts.checked_add(states * 2).is_some_and(|end| end <= entries), "accepts overlap")?;
    let count = v4.checked_sub(entries).ok_or(Malformed("entries overlap"))? / ENTRY_BYTES;
    ensure(count > 0 && v4 <= length, "entries outside the image")?;
    ensure((0..states).all(|i| half(accepts + i * 2, count)), "no such entry")?;
    ensure(half(accepts, 1), "the dead state has rules of its own")?;
    verify_addresses(image, word::V4, word::V4_COUNT, 4)?;
    verify_addresses(image, word::V6, word::V6_COUNT, 16)?;
    let serving = read(word::SERVING)?;
    verify_ports(image, serving)?;
    verify_ports(image, serving.checked_add(8).ok_or(Malformed("serving leaves the image"))?)?;
    verify_names(image)
}

fn verify_names(image: &[u8]) -> Result<(), Malformed> {
    const OUTSIDE: Malformed = Malformed("the table of names leaves the image");
    let read = |at: u32| image.word(at).ok_or(OUTSIDE);
    let (classes, states, count) =
        (read(word::NAME_CLASSES)?, read(word::NAME_STATES)?, read(word::NAME_STATE_COUNT)?);
    let (slots, slot_count) = (read(word::NAME_SLOTS)?, read(word::NAME_SLOT_COUNT)?);
    ensure((1..=MAX_NAME_STATES).contains(&count), "more states of names than a table has")?;
    ensure(read(word::NAME_START)? < count, "no such start state of names")?;
    let end = slot_count.checked_mul(NAME_SLOT_BYTES).and_then(|size| slots.checked_add(size));
    ensure(end.is_some_and(|end| end as usize <= image.len()), OUTSIDE.0)?;
    let states_end = states.checked_add(count * NAME_STATE_BYTES).ok_or(OUTSIDE)?;
    ensure(states_end <= slots, "states of names overlap the slots")?;
    let ends = classes.checked_add(256).is_some_and(|end| end <= states);
    ensure(ends, "classes of names overlap the states")?;
    let widest = (classes..classes + 256).filter_map(|at| image.byte(at)).max().ok_or(OUTSIDE)?;
    for state in 0..count {
        let at = states + state * NAME_STATE_BYTES;
        ensure(read(at + 4)? < count, "no such next state of names")?;
        let last = read(at)?.checked_add(widest.into());
        ensure(last.is_some_and(|last| last < slot_count), "a state of names has no slots")?;
    }
    let next = |slot: u32| read(slots + slot * NAME_SLOT_BYTES + 4);
    for slot in 0..slot_count {
        ensure(next(slot)? < count, "no such next state of names")?;
    }
    Ok(())
}

fn verify_addresses(image: &[u8], base: u32, count: u32, width: u32) -> Result<(), Malformed> {
    const OUTSIDE: Malformed = Malformed("an address table leaves the image");
    let (base, count) = (image.word(base).ok_or(OUTSIDE)?, image.word(count).ok_or(OUTSIDE)?);
    ensure(count > 0 && count <= ringfence_common::image::MAX_INTERVALS, "no address intervals")?;
    let element = |base: u32, i: u32, width: u32| base.checked_add(i.checked_mul(width)?);
    // Words from the most significant on, so that lists of them compare as numbers do.
    let order: &[u32] = if width == 4 { &[0] } else { &[4, 0, 12, 8] };
    let first_of = |i: u32| -> Option<Vec<u32>> {
        let at = element(base, i, width)?;
        order.iter().map(|word| image.word(at.checked_add(*word)?)).collect()
    };
    let mut last = None;
    for i in 0..count {
        let first = first_of(i).ok_or(OUTSIDE)?;
        match last.replace(first.clone()) {
            None => ensure(first.iter().all(|word| *word == 0), "addresses begin after 0")?,
            Some(last) => ensure(last < first, "addresses are not ascending")?,
        }
        let leaves = element(base, count, width).ok_or(OUTSIDE)?;
        let leaf = element(leaves, i, 4).and_then(|at| image.word(at)).ok_or(OUTSIDE)?;
        for table in [leaf, leaf.checked_add(8).ok_or(OUTSIDE)?] {
            verify_ports(image, table)?;
        }
    }
    Ok(())
}

fn verify_ports(image: &[u8], table: u32) -> Result<(), Malformed> {
    const OUTSIDE: Malformed = Malformed("a port table leaves the image");
    let base = image.word(table).ok_or(OUTSIDE)?;
    let count = table.checked_add(4).and_then(|at| image.word(at)).ok_or(OUTSIDE)?;
    ensure((1..=1 << 16).contains(&count), "no port intervals")?;
    let end = base.checked_add(count * PORT_BYTES as u32).ok_or(OUTSIDE)?;
    ensure(end as usize <= image.len(), OUTSIDE.0)?;
    ensure(image.word(base) == Some(0), "ports begin after 0")?;
    let port = |i: u32| image.word(base + i * PORT_BYTES as u32);
    ensure((1..count).all(|i| port(i - 1) < port(i)), "ports are not ascending")
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed(otherwise)) }
}
