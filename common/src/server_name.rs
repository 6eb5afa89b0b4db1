//! Whether a connection may go on by what server it names: the check of what an address that many
//! names share is used for.
//!
//! What a client sends is read as it is sent, up to where no further name can follow in the clear.

use crate::{
    Decision, Image, Reason, Verdict,
    names::{CORRUPT, DEAD, MAX_NAME, Walker},
    tls::{Bytes, MAX_TURNS, NAME_ROOM, Parser, end},
};

/// A part of what a client sends, and the policy.
pub trait Stream: Bytes {
    /// The policy.
    type Table: Image + ?Sized;

    /// The policy that names are looked up in.
    fn table(&self) -> &Self::Table;
}

/// The answer to a connection that names no server that could be read.
#[inline(always)]
pub fn nameless<I: Image + ?Sized>(image: &I) -> Decision {
    match Walker::new(image) {
        Some(walker) => walker.decide_for(image, DEAD, Reason::NoServerName),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

/// How far the check of a connection is. What is all zero is at the start.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Check {
    is_begun: u32,
    /// Bytes that were read.
    seen: u32,
    /// Where the automaton of names is, and how many bytes of the name follow.
    state: u32,
    left: u32,
    parser: Parser,
}

/// What becomes of a part of what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It ends inside a message: nothing can be said yet, and the server can do nothing with it.
    Inside,
    /// Every server that was named is allowed. Another message may name another.
    Between,
    /// Every server that was named is allowed, and none can follow in the clear.
    Done,
    /// It is refused, or would be. A name was read if the reason is
    /// [`Reason::UnlistedServerName`].
    Refused(Decision),
    /// Something before it was never seen.
    Missing,
}

impl Check {
    /// The check of a new connection.
    pub const START: Self = Self { is_begun: 0, seen: 0, state: 0, left: 0, parser: Parser::START };

    /// The name that was read last: bytes at the end of the room, and how many.
    #[inline(always)]
    pub const fn name(&self) -> (&[u8; NAME_ROOM], u32) {
        (&self.parser.name, self.parser.name_length)
    }

    /// Reads `length` bytes, which begin `offset` bytes after the connection's first. Bytes that
    /// were read before are not looked at again: they are the same.
    #[inline(always)]
    pub fn read<S: Stream>(&mut self, stream: &S, offset: u32, length: u32) -> Progress {
        if self.is_begun == 0 {
            self.parser.begin();
            self.is_begun = 1;
        }
        if offset > self.seen {
            return Progress::Missing;
        }
        let after = offset.wrapping_add(length);
        if after > self.seen {
            self.seen = after;
        }
        self.parser.end = end::GOES_ON;
        stream.repeat(MAX_TURNS + 4 * MAX_NAME, self, |stream, check| check.turn(stream));
        self.progress(stream.table())
    }

    /// Reads on, or walks over one byte of a name.
    #[inline(always)]
    fn turn<S: Stream>(&mut self, stream: &S) -> bool {
        if self.parser.end == end::NAME {
            return self.walk(stream.table());
        }
        let goes_on = self.parser.turn(stream);
        if self.parser.end != end::NAME {
            return goes_on;
        }
        self.left = self.parser.name_length;
        self.state = Walker::new(stream.table()).map_or(CORRUPT, |walker| walker.start);
        true
    }

    /// Names are walked from their last byte to the first.
    #[inline(always)]
    fn walk<I: Image + ?Sized>(&mut self, table: &I) -> bool {
        let Some(walker) = Walker::new(table) else { return false };
        if self.left == 0 {
            let decision = walker.decide(table, self.state);
            let is_allowed = decision.verdict == Verdict::Allow;
            if is_allowed {
                self.parser.again();
            }
            return is_allowed;
        }
        self.left = self.left.wrapping_sub(1);
        let before = (NAME_ROOM as u32).wrapping_sub(self.parser.name_length);
        let at = before.wrapping_add(self.left) as usize % NAME_ROOM;
        self.state = walker.step(table, self.state, self.parser.name[at]);
        true
    }

    #[inline(always)]
    fn progress<I: Image + ?Sized>(&self, table: &I) -> Progress {
        let Some(walker) = Walker::new(table) else {
            return Progress::Refused(Decision::deny(Reason::TableCorrupt));
        };
        let (state, reason) = match self.parser.end {
            end::DONE => return Progress::Done,
            end::MORE if self.parser.at < self.seen => {
                // Bytes that are there could not be read.
                return Progress::Refused(Decision::deny(Reason::TableCorrupt));
            }
            end::MORE if self.parser.is_between() => return Progress::Between,
            end::MORE => return Progress::Inside,
            end::NAME => (self.state, Reason::UnlistedServerName),
            _ => (DEAD, Reason::NoServerName),
        };
        let decision = walker.decide_for(table, state, reason);
        match decision.verdict {
            Verdict::Allow => Progress::Done,
            _ => Progress::Refused(decision),
        }
    }
}
