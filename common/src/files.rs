//! Decisions about paths: a deterministic automaton over the bytes of an absolute path, with one
//! [`Cell`] for each [`Right`] at every state.

use crate::{
    Cell, Decision, Image, Reason,
    decision::Answer,
    image::{CLASSES, ENTRY_BYTES, TRANSITIONS, header},
};

/// What a name may be used for. The number is the column in a table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Right {
    /// Open for reading, list a folder.
    Read = 0,
    /// Change content or length.
    Write = 1,
    /// Execute, or map executable.
    Exec = 2,
    /// Make the name.
    Create = 3,
    /// Remove the name.
    Delete = 4,
    /// Change mode, owner, times, extended attributes, access control lists, flags.
    Metadata = 5,
    /// Open a device node, beside reading or writing.
    Device = 6,
}

impl Right {
    /// Every right, in column order.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Write,
        Self::Exec,
        Self::Create,
        Self::Delete,
        Self::Metadata,
        Self::Device,
    ];

    /// The bit that stands for the right in a set of rights.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The word for the right in policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Exec => "exec",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Metadata => "metadata",
            Self::Device => "device",
        }
    }
}

/// Rights over what a name stands for, whose gain a new name is checked for. The others are
/// rights over the name itself.
const CONTENT_RIGHTS: [Right; 5] =
    [Right::Read, Right::Write, Right::Exec, Right::Metadata, Right::Device];

/// The state in which no path can match any more.
pub const DEAD: u32 = 0;
/// What a step that leaves the image yields; it stays there and every decision on it refuses.
pub const CORRUPT: u32 = u32::MAX;

/// What walking a path needs from the header, read once.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    shift: u32,
    /// The state before the first byte.
    pub start: u32,
}

impl Walker {
    /// Reads the header; `None` when the image is too short to have one.
    #[inline(always)]
    pub fn new<I: Image + ?Sized>(image: &I) -> Option<Self> {
        // Masked: a shift count from a table must not be trusted, and the verifier asks for it.
        let shift = image.word(header::STRIDE_SHIFT)? & 15;
        Some(Self { shift, start: image.word(header::START_STATE)? })
    }

    /// The state after one more byte of the path.
    #[inline(always)]
    pub fn step<I: Image + ?Sized>(self, image: &I, state: u32, byte: u8) -> u32 {
        if state > 0xffff {
            return CORRUPT;
        }
        let Some(class) = image.byte(CLASSES + byte as u32) else { return CORRUPT };
        let row = state << self.shift;
        match image.half(TRANSITIONS + (row + class as u32) * 2) {
            Some(next) => next as u32,
            None => CORRUPT,
        }
    }

    /// The state after a whole path.
    pub fn walk<I: Image + ?Sized>(self, image: &I, path: &[u8]) -> u32 {
        path.iter().fold(self.start, |state, byte| self.step(image, state, *byte))
    }
}

/// The cell for `right` in `state`.
#[inline(always)]
pub fn cell<I: Image + ?Sized>(image: &I, state: u32, right: Right) -> Option<Cell> {
    if state > 0xffff {
        return None;
    }
    let accepts = image.word(header::ACCEPTS)?;
    let entry = image.half(accepts.wrapping_add(state * 2))? as u32;
    let entries = image.word(header::ENTRIES)?;
    let at = entries.wrapping_add(entry * ENTRY_BYTES + right as u32 * 4);
    Some(Cell(image.word(at)?))
}

/// Whether files can be judged that go by names in other letters too.
///
/// Where a file system does not tell upper from lower case, a rule that denies a name does not
/// speak of the others. A list of what is allowed does: none of them is in it.
#[inline(always)]
pub fn may_fold<I: Image + ?Sized>(image: &I) -> bool {
    image.word(header::DENIES_PATHS) == Some(0)
}

/// Whether any right of the set is governed: if not, the path need not be looked at.
#[inline(always)]
pub fn governs<I: Image + ?Sized>(image: &I, rights: u32) -> bool {
    match image.word(header::GOVERNED_RIGHTS) {
        Some(governed) => governed & rights != 0,
        None => true,
    }
}

/// The strictest answer to a set of rights; among equals the first in column order names the rule.
#[inline(always)]
fn answer<I: Image + ?Sized>(image: &I, state: u32, rights: u32) -> Answer {
    let mut answer = Answer::ALLOW;
    for right in Right::ALL {
        if rights & right.bit() != 0 {
            answer =
                answer.stricter(Answer::of(image, cell(image, state, right), Reason::FsViolation));
        }
    }
    answer
}

/// Those rights of the set that are allowed on the path that led to `state`, with no event.
#[inline(always)]
pub fn allowed<I: Image + ?Sized>(image: &I, state: u32, rights: &[Right]) -> u32 {
    let mut allowed = 0_u64;
    for &right in rights {
        let answer = Answer::of(image, cell(image, state, right), Reason::FsViolation);
        if answer.strictness() == 0 {
            allowed |= right.bit() as u64;
        }
        // Or the verifier follows every set of rights separately.
        allowed = image.blur(allowed);
    }
    allowed as u32
}

/// A word of the header that is a cell.
#[inline(always)]
fn fixed<I: Image + ?Sized>(image: &I, at: u32, reason: Reason) -> Answer {
    Answer::of(image, image.word(at).map(Cell), reason)
}

/// Whether the path that led to `state` may be used for every right of the set.
#[inline(always)]
pub fn decide<I: Image + ?Sized>(image: &I, state: u32, rights: u32) -> Decision {
    answer(image, state, rights).decision()
}

/// How code comes to be executed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Execution {
    /// As a program, by a process that has executed one in its scope before.
    pub started: bool,
    /// From memory that no longer is what the file holds: a private copy that was or can be
    /// written.
    pub anonymous: bool,
    /// The file has the content that the rule of [`content_rule`] names.
    pub pinned: bool,
}

/// The rule by whose content the path that led to `state` may be executed, where one names any.
#[inline(always)]
pub fn content_rule<I: Image + ?Sized>(image: &I, state: u32) -> Option<u32> {
    let cell = cell(image, state, Right::Exec)?;
    if cell.is_by_content() { Some(cell.rule()) } else { None }
}

/// Whether a file may be executed.
#[inline(always)]
pub fn decide_exec<I: Image + ?Sized>(image: &I, state: u32, how: Execution) -> Decision {
    let mut all = Answer::to_exec(image, cell(image, state, Right::Exec), how.pinned);
    if how.anonymous {
        all = all.stricter(fixed(image, header::EXEC_ANONYMOUS, Reason::AnonymousCode));
    }
    if how.started {
        all = fixed(image, header::EXEC_AFTER_START, Reason::ExecAfterStart).stricter(all);
    }
    all.decision()
}

/// Whether memory that no file stands behind may become executable.
#[inline(always)]
pub fn decide_anonymous<I: Image + ?Sized>(image: &I) -> Decision {
    fixed(image, header::EXEC_ANONYMOUS, Reason::AnonymousCode).decision()
}

/// How a violation of the files group that belongs to no rule is answered.
#[inline(always)]
pub fn violation<I: Image + ?Sized>(image: &I, reason: Reason) -> Decision {
    fixed(image, header::FILES_VIOLATION, reason).decision()
}

/// Whether a new name would allow what the old name does not: the strictest of the refusals that
/// it would lift.
#[inline(always)]
fn widens<I: Image + ?Sized>(image: &I, old: u32, new: u32) -> Answer {
    let mut all = Answer::ALLOW;
    for right in CONTENT_RIGHTS {
        let before = Answer::of(image, cell(image, old, right), Reason::RightsWidened);
        let after = Answer::of(image, cell(image, new, right), Reason::RightsWidened);
        // From a refusal to an observation is a gain too.
        if after.strictness() < before.strictness() {
            all = all.stricter(before);
        }
    }
    all
}

/// Whether what lies below two folders is ruled alike: the automaton is in the same state after
/// the slash that follows each.
#[inline(always)]
fn ruled_alike<I: Image + ?Sized>(image: &I, old: u32, new: u32) -> bool {
    let Some(walker) = Walker::new(image) else { return false };
    let below_old = walker.step(image, old, b'/');
    below_old != CORRUPT && below_old == walker.step(image, new, b'/')
}

/// A name that is moved.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// State of the old path.
    pub old: u32,
    /// State of the new path.
    pub new: u32,
    /// What is moved, or what it trades places with, is a folder.
    pub is_folder: bool,
    /// Something stands at the new path, and is deleted by it.
    pub replaces: bool,
    /// The two trade places (`RENAME_EXCHANGE`).
    pub exchanges: bool,
}

/// Whether a name may be moved: it is deleted at the old path, created at the new, what stood
/// there is deleted, and neither the file nor anything below a folder may gain rights by it. Of
/// names that trade places, this holds both ways.
#[inline(always)]
pub fn decide_rename<I: Image + ?Sized>(image: &I, one: Move) -> Decision {
    let (mut at_old, mut at_new) = (Right::Delete.bit(), Right::Create.bit());
    if one.replaces || one.exchanges {
        at_new |= Right::Delete.bit();
    }
    if one.exchanges {
        at_old |= Right::Create.bit();
    }
    let (at_old, at_new) = (image.blur(at_old as u64) as u32, image.blur(at_new as u64) as u32);
    let mut all = answer(image, one.old, at_old).stricter(answer(image, one.new, at_new));
    // A folder's own name gives rights too: to list it.
    all = all.stricter(widens(image, one.old, one.new));
    if one.exchanges {
        all = all.stricter(widens(image, one.new, one.old));
    }
    if one.is_folder && !ruled_alike(image, one.old, one.new) {
        all = all.stricter(fixed(image, header::FILES_VIOLATION, Reason::RightsWidened));
    }
    all.decision()
}

/// Whether the file at `old` may get the second name `new`.
#[inline(always)]
pub fn decide_link<I: Image + ?Sized>(image: &I, old: u32, new: u32) -> Decision {
    answer(image, old, Right::Write.bit())
        .stricter(answer(image, new, Right::Create.bit()))
        .stricter(widens(image, old, new))
        .decision()
}
