//! The layout of a policy image: one block of bytes, little-endian, written by the policy
//! compiler and read by the decisions in this crate.
//!
//! ```text
//! 0     header: the words named below
//! 256   byte classes: one byte for each byte value
//! 512   transitions: u16 [state << STRIDE_SHIFT | class]
//! …     accepts: u16 [state], an index of entries
//! …     entries: one Cell per Right, ENTRY_BYTES each; entry 0 is the default
//! …     v4: u32 [n] first addresses, ascending, the first 0; then u32 [n] leaf offsets
//! …     v6: (u64 high, u64 low) [n], ascending, the first 0; then u32 [n] leaf offsets
//! …     leaves: (tcp offset, tcp count, udp offset, udp count) as u32
//! …     ports: (u32 first port, u32 Cell) ascending, the first port 0
//! …     name classes: one byte for each byte value
//! …     name states: (u32 first slot, u32 next state otherwise, u32 Cell), NAME_STATE_BYTES each
//! …     name slots: (u32 state whose slot it is, u32 next state), NAME_SLOT_BYTES each
//! …     serving: a leaf, by the port that is served
//! ```
//!
//! All offsets are in bytes from the start of the image and multiples of their element's size;
//! u64s are stored as two little-endian words, low word first.
//! State 0 is dead: no path that reached it can match. Every lookup has an answer in a valid
//! image; a lookup that leaves the image yields `None` and the act is refused as
//! [`Reason::TableCorrupt`](crate::Reason::TableCorrupt).

/// `RFI1`, little-endian: the first word of an image.
pub const MAGIC: u32 = u32::from_le_bytes(*b"RFI1");
/// Offset of the byte classes.
pub const CLASSES: u32 = 256;
/// Offset of the transitions.
pub const TRANSITIONS: u32 = 512;
/// Rights a table entry has room for.
pub const RIGHTS: u32 = 8;
/// Bytes of a table entry: one [`Cell`](crate::Cell) for each right.
pub const ENTRY_BYTES: u32 = RIGHTS * 4;
/// States that a table may have; the u16 transitions can name no more.
pub const MAX_STATES: u32 = 1 << 16;
/// Intervals that an address table may have: what [`SEARCH_STEPS`] halvings can tell apart.
pub const MAX_INTERVALS: u32 = 1 << SEARCH_STEPS;
/// States that the table of names may have.
pub const MAX_NAME_STATES: u32 = 1 << 18;
/// Bytes of a state of the table of names.
pub const NAME_STATE_BYTES: u32 = 12;
/// Bytes of a slot of the table of names.
pub const NAME_SLOT_BYTES: u32 = 8;
/// Halvings of a binary search. A constant, since the kernel's verifier wants bounded loops.
pub const SEARCH_STEPS: u32 = 20;

/// Offsets of the header's words.
pub mod header {
    /// [`MAGIC`](super::MAGIC).
    pub const MAGIC: u32 = 0;
    /// Length of the image in bytes.
    pub const LENGTH: u32 = 4;
    /// Bit r is set when right number r is governed at all.
    pub const GOVERNED_RIGHTS: u32 = 8;
    /// 1 when network egress is governed, else 0.
    pub const GOVERNS_EGRESS: u32 = 12;
    /// Binary logarithm of a transition row's length.
    pub const STRIDE_SHIFT: u32 = 16;
    /// The state before the first byte of a path.
    pub const START_STATE: u32 = 20;
    /// Offset of the accepts.
    pub const ACCEPTS: u32 = 24;
    /// Offset of the entries.
    pub const ENTRIES: u32 = 28;
    /// Offset of the IPv4 table.
    pub const V4: u32 = 32;
    /// Number of intervals in the IPv4 table.
    pub const V4_COUNT: u32 = 36;
    /// Offset of the IPv6 table.
    pub const V6: u32 = 40;
    /// Number of intervals in the IPv6 table.
    pub const V6_COUNT: u32 = 44;
    /// Cell: how a violation of the files group that is no rule's is answered (rights widened,
    /// unresolved path): deny or observe.
    pub const FILES_VIOLATION: u32 = 48;
    /// Cell: how a socket kind outside the list is answered.
    pub const SOCKET_VIOLATION: u32 = 52;
    /// Cell: how acts against mounts, namespaces, capabilities and foreign processes are answered.
    pub const GUARD_VIOLATION: u32 = 56;
    /// Cell: whether programs may be started after the first.
    pub const EXEC_AFTER_START: u32 = 60;
    /// Number of states.
    pub const STATES: u32 = 64;
    /// Cell: whether an io_uring may be made.
    pub const IO_URING: u32 = 68;
    /// Cell: whether anonymous memory may become executable.
    pub const EXEC_ANONYMOUS: u32 = 72;
    /// 1 when a rule of a document denies paths, else 0.
    pub const DENIES_PATHS: u32 = 76;
    /// Offset of the byte classes of names.
    pub const NAME_CLASSES: u32 = 80;
    /// Offset of the states of names.
    pub const NAME_STATES: u32 = 84;
    /// Number of states of names.
    pub const NAME_STATE_COUNT: u32 = 88;
    /// Offset of the slots of names.
    pub const NAME_SLOTS: u32 = 92;
    /// Number of slots of names.
    pub const NAME_SLOT_COUNT: u32 = 96;
    /// The state before the last byte of a name.
    pub const NAME_START: u32 = 100;
    /// Cell: what those say about Unix sockets without a path who govern destinations, and neither
    /// files nor Unix sockets.
    pub const ABSTRACT: u32 = 104;
    /// 1 when serving is governed, else 0.
    pub const GOVERNS_SERVING: u32 = 108;
    /// Offset of the leaf for serving.
    pub const SERVING: u32 = 112;
    /// 1 when a rule names the content of a program, else 0.
    pub const NAMES_CONTENTS: u32 = 116;
    /// The budgets: [`WORDS`](crate::budget::WORDS) for each [`Kind`](crate::budget::Kind), in
    /// order of number.
    pub const BUDGETS: u32 = 160;
    /// How many policies the scope had before this one, counted by whoever loads it: what is in
    /// other tables for one of those does not count for this one. The last word of the header.
    pub const GENERATION: u32 = 252;
}

/// Bounds-checked reads from an image.
///
/// The kernel programs and the agent hold the same bytes in different ways: a map value that the
/// verifier must see checked against a constant, and a slice.
pub trait Image {
    /// The byte at `at`, or `None` beyond the end.
    fn byte(&self, at: u32) -> Option<u8>;
    /// The little-endian u16 at `at`, or `None` beyond the end.
    fn half(&self, at: u32) -> Option<u16>;
    /// The little-endian u32 at `at`, or `None` beyond the end.
    fn word(&self, at: u32) -> Option<u32>;

    /// The same number, but any number to the kernel's verifier: it follows every known value
    /// separately, and ways that differ only in it become one.
    #[inline(always)]
    fn blur(&self, number: u64) -> u64 {
        number
    }

    /// Runs `turn` on `state` until it yields false, at most `turns` times.
    ///
    /// The kernel programs run it as `bpf_loop`, whose body is verified once and not once a turn;
    /// so `turn` may capture nothing: what it needs is in `state`.
    ///
    /// Whatever a turn changes must be [blurred](Self::blur) before the first. Until Linux 6.7 the
    /// verifier takes the loop for one of a single turn, and removes what a later turn would do but
    /// the first cannot: `if state.answer == 0 { … } else { … }` becomes its first half.
    #[inline(always)]
    fn repeat<S>(&self, turns: u32, state: &mut S, turn: impl Fn(&Self, &mut S) -> bool) {
        for _ in 0..turns {
            if !turn(self, state) {
                break;
            }
        }
    }
}

impl Image for [u8] {
    fn byte(&self, at: u32) -> Option<u8> {
        self.get(at as usize).copied()
    }

    fn half(&self, at: u32) -> Option<u16> {
        let at = at as usize;
        Some(u16::from_le_bytes(self.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }

    fn word(&self, at: u32) -> Option<u32> {
        let at = at as usize;
        Some(u32::from_le_bytes(self.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }
}
