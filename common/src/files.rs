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
    /// Connect or send to the Unix socket.
    Socket = 7,
}

impl Right {
    /// Every right, in column order.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Exec,
        Self::Create,
        Self::Delete,
        Self::Metadata,
        Self::Device,
        Self::Socket,
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
            Self::Socket => "socket",
        }
    }
}

/// Rights over what a name stands for, whose gain a new name is checked for. The others are
/// rights over the name itself.
const CONTENT_RIGHTS: u32 = Right::Read.bit()
    | Right::Write.bit()
    | Right::Exec.bit()
    | Right::Metadata.bit()
    | Right::Device.bit()
    | Right::Socket.bit();

/// How many rights there are.
const COLUMNS: u32 = Right::ALL.len() as u32;
/// Where no image has bytes, however many columns further.
const NOWHERE: u32 = u32::MAX - 4 * COLUMNS;

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

/// Where the cells of `state` stand, one for each right.
#[inline(always)]
fn row<I: Image + ?Sized>(image: &I, state: u32) -> u32 {
    let row = || {
        let accepts = image.word(header::ACCEPTS)?;
        let entry = image.half(accepts.checked_add(state.checked_mul(2)?)?)?;
        image.word(header::ENTRIES)?.checked_add(entry as u32 * ENTRY_BYTES)
    };
    image.blur(row().unwrap_or(NOWHERE) as u64) as u32
}

/// The cell for `right` in `state`.
#[inline(always)]
pub fn cell<I: Image + ?Sized>(image: &I, state: u32, right: Right) -> Option<Cell> {
    image.word(row(image, state).wrapping_add(right as u32 * 4)).map(Cell)
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

/// What is asked of a row's columns, one after the other.
struct Question {
    /// Where the column's cell stands.
    at: u32,
    /// The rights that are asked for; the lowest bit is that of this column.
    rights: u32,
    /// The strictest answer to them; among equals the first in column order names the rule.
    answer: Answer,
    /// All rights that are allowed, of those that were looked at in the highest bits.
    allowed: u32,
}

impl Question {
    #[inline(always)]
    fn put<I: Image + ?Sized>(image: &I, state: u32, rights: u32) -> Self {
        let mut all = Self {
            at: row(image, state),
            rights: image.blur(rights as u64) as u32,
            answer: Answer::allow(image),
            allowed: image.blur(0) as u32,
        };
        image.repeat(COLUMNS, &mut all, |image, all| {
            let answer = Answer::of(image, image.word(all.at).map(Cell), Reason::FsViolation);
            if all.rights & 1 != 0 {
                all.answer = all.answer.stricter(answer);
            }
            all.allowed = (all.allowed | answer.is_allow() << COLUMNS) >> 1;
            all.rights >>= 1;
            all.at = all.at.wrapping_add(4);
            true
        });
        all
    }
}

/// The strictest answer to a set of rights.
#[inline(always)]
fn answer<I: Image + ?Sized>(image: &I, state: u32, rights: u32) -> Answer {
    Question::put(image, state, rights).answer
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

/// The same, with the set of all rights that are allowed there without an event.
#[inline(always)]
pub fn decide_all<I: Image + ?Sized>(image: &I, state: u32, rights: u32) -> (Decision, u32) {
    let all = Question::put(image, state, rights);
    (all.answer.decision(), all.allowed)
}

/// Whether what gives a right is a rule of the baseline.
#[inline(always)]
pub fn is_by_baseline<I: Image + ?Sized>(image: &I, state: u32, right: Right) -> bool {
    cell(image, state, right).is_some_and(Cell::is_by_baseline)
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

/// What two rows are compared for, one column after the other.
struct Comparison {
    old: u32,
    new: u32,
    /// The lowest bit is that of this column.
    rights: u32,
    exchanges: bool,
    answer: Answer,
}

/// Whether a new name would allow what the old name does not: the strictest of the refusals that
/// it would lift. Of names that trade places, this holds both ways.
#[inline(always)]
fn widens<I: Image + ?Sized>(image: &I, old: u32, new: u32, exchanges: bool) -> Answer {
    let rights = image.blur(CONTENT_RIGHTS as u64) as u32;
    let (old, new) = (row(image, old), row(image, new));
    let mut all = Comparison { old, new, rights, exchanges, answer: Answer::allow(image) };
    image.repeat(COLUMNS, &mut all, |image, all| {
        if all.rights & 1 != 0 {
            let at = |row| Answer::of(image, image.word(row).map(Cell), Reason::RightsWidened);
            let (old, new) = (at(all.old), at(all.new));
            // From a refusal to an observation is a gain too.
            if new.strictness() < old.strictness() {
                all.answer = all.answer.stricter(old);
            }
            if all.exchanges && old.strictness() < new.strictness() {
                all.answer = all.answer.stricter(new);
            }
        }
        all.rights >>= 1;
        all.old = all.old.wrapping_add(4);
        all.new = all.new.wrapping_add(4);
        true
    });
    all.answer
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
    // Or the verifier follows each combination of these to the end.
    let is = |flag: bool| image.blur(flag as u64) & 1 != 0;
    let (mut at_old, mut at_new) = (Right::Delete.bit(), Right::Create.bit());
    if is(one.replaces) || is(one.exchanges) {
        at_new |= Right::Delete.bit();
    }
    if is(one.exchanges) {
        at_old |= Right::Create.bit();
    }
    let mut all = answer(image, one.old, at_old).stricter(answer(image, one.new, at_new));
    // A folder's own name gives rights too: to list it.
    all = all.stricter(widens(image, one.old, one.new, is(one.exchanges)));
    if is(one.is_folder) && !ruled_alike(image, one.old, one.new) {
        all = all.stricter(fixed(image, header::FILES_VIOLATION, Reason::RightsWidened));
    }
    all.decision()
}

/// Whether Unix sockets without a path are judged at all.
#[inline(always)]
pub fn governs_abstract<I: Image + ?Sized>(image: &I) -> bool {
    governs(image, Right::Socket.bit()) || image.word(header::ABSTRACT) != Some(0)
}

/// Whether a Unix socket of a process outside the scope may be reached that has no path. `state`
/// is that after its name with `@` before it, which is no path's; [`DEAD`] where it has no name.
#[inline(always)]
pub fn decide_abstract<I: Image + ?Sized>(image: &I, state: u32) -> Decision {
    Answer::of(image, cell(image, state, Right::Socket), Reason::EgressViolation)
        .stricter(fixed(image, header::ABSTRACT, Reason::EgressViolation))
        .decision()
}

/// Whether the file at `old` may get the second name `new`.
#[inline(always)]
pub fn decide_link<I: Image + ?Sized>(image: &I, old: u32, new: u32) -> Decision {
    answer(image, old, Right::Write.bit())
        .stricter(answer(image, new, Right::Create.bit()))
        .stricter(widens(image, old, new, false))
        .decision()
}
