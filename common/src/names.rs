//! Decisions about host names: a deterministic automaton over the bytes of a name, from the last
//! to the first, with one [`Cell`] at every state.
//!
//! A letter is the same in both cases. The dot at the end of a complete name is not a part of it:
//! who walks a name leaves it out.

use crate::{
    Cell, Decision, Image, Reason, egress,
    image::{MAX_NAME_STATES, NAME_SLOT_BYTES, NAME_STATE_BYTES, header},
};

/// The state in which no rule is about the name, whatever is read further.
pub const DEAD: u32 = 0;
/// What a step that leaves the image yields; it stays there and every decision on it refuses.
pub const CORRUPT: u32 = u32::MAX;
/// Bytes of the longest host name (RFC 1035, section 2.3.4, as text and without the dot at the
/// end).
pub const MAX_NAME: u32 = 253;

/// What walking a name needs from the header, read once.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    classes: u32,
    states: u32,
    slots: u32,
    /// The state before the last byte of a name.
    pub start: u32,
}

impl Walker {
    /// Reads the header; `None` when the image is too short to have one.
    #[inline(always)]
    pub fn new<I: Image + ?Sized>(image: &I) -> Option<Self> {
        Some(Self {
            classes: image.word(header::NAME_CLASSES)?,
            states: image.word(header::NAME_STATES)?,
            slots: image.word(header::NAME_SLOTS)?,
            start: image.word(header::NAME_START)?,
        })
    }

    /// The state after one more byte of the name, going towards its beginning.
    #[inline(always)]
    pub fn step<I: Image + ?Sized>(self, image: &I, state: u32, byte: u8) -> u32 {
        self.next(image, state, byte).unwrap_or(CORRUPT)
    }

    #[inline(always)]
    fn next<I: Image + ?Sized>(self, image: &I, state: u32, byte: u8) -> Option<u32> {
        if state >= MAX_NAME_STATES {
            return None;
        }
        let class = image.byte(self.classes.wrapping_add(byte as u32))?;
        let record = self.states.wrapping_add(state * NAME_STATE_BYTES);
        let slot = image.word(record)?.wrapping_add(class as u32);
        let slot = self.slots.wrapping_add(slot.wrapping_mul(NAME_SLOT_BYTES));
        let at = if image.word(slot)? == state { slot } else { record };
        image.word(at.wrapping_add(4))
    }

    /// What is said of looking up a name whose first byte led to `state`.
    #[inline(always)]
    pub fn cell<I: Image + ?Sized>(self, image: &I, state: u32) -> Option<Cell> {
        if state >= MAX_NAME_STATES {
            return None;
        }
        let record = self.states.wrapping_add(state * NAME_STATE_BYTES);
        image.word(record.wrapping_add(8)).map(Cell)
    }

    /// The state after a whole name.
    pub fn walk<I: Image + ?Sized>(self, image: &I, name: &[u8]) -> u32 {
        name.iter().rev().fold(self.start, |state, byte| self.step(image, state, *byte))
    }

    /// Whether a name may be looked up, whose first byte led to `state`. For [`DEAD`] this is the
    /// answer to what is no name at all.
    #[inline(always)]
    pub fn decide<I: Image + ?Sized>(self, image: &I, state: u32) -> Decision {
        self.decide_for(image, state, Reason::UnlistedName)
    }

    /// The same, where the name is asked about for another reason than to look it up.
    #[inline(always)]
    pub(crate) fn decide_for<I: Image + ?Sized>(
        self,
        image: &I,
        state: u32,
        reason: Reason,
    ) -> Decision {
        match self.cell(image, state) {
            Some(cell) => Decision::of(cell, reason),
            None => Decision::deny(Reason::TableCorrupt),
        }
    }
}

/// Whether the addresses of a name may be asked for: when some rule lets it be connected to, at
/// whatever port.
pub fn decide_lookup<I: Image + ?Sized>(image: &I, name: &[u8]) -> Decision {
    if !egress::governs(image) {
        return Decision::ALLOW;
    }
    let Some(walker) = Walker::new(image) else { return Decision::deny(Reason::TableCorrupt) };
    let name = name.strip_suffix(b".").unwrap_or(name);
    walker.decide(image, walker.walk(image, name))
}
