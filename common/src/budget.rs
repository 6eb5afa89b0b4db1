//! What a scope may use up: the limits in a policy image, and what taking from one comes to.
//!
//! What is used is counted by the kernel programs, one count for each scope and kind. The decision
//! is made twice where it matters: on the count as it stands, so that what cannot fit disturbs
//! nobody, and on the count as it was when the amount was added in one step. So programs on many
//! CPUs never together take more than there is.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Cell, Image, Verdict, image::header};

/// How many kinds there are.
pub const KINDS: usize = 6;
/// Words of an image for each kind: the low and the high half of the limit, and a [`Cell`].
pub const WORDS: u32 = 3;
/// Distinct files that all scopes of a set of programs have room for together.
pub const MAX_FILES: u32 = 1 << 18;
/// Distinct files that one scope may have, so that one cannot take the room of all.
pub const MAX_SCOPE_FILES: u64 = 1 << 16;

/// What a budget is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Milliseconds on the clock since the scope came into force.
    WallClock = 0,
    /// Distinct files opened by a rule of the policy, not by the baseline's.
    FilesTouched = 1,
    /// Bytes written.
    OutputBytes = 2,
    /// Connections begun.
    Connections = 3,
    /// Tasks at a time, threads included.
    Processes = 4,
    /// Bytes sent over the network, as the length of IP packets.
    SentBytes = 5,
}

impl Kind {
    /// Every kind, in order of number.
    pub const ALL: [Self; KINDS] = [
        Self::WallClock,
        Self::FilesTouched,
        Self::OutputBytes,
        Self::Connections,
        Self::Processes,
        Self::SentBytes,
    ];

    /// The name in policies, events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WallClock => "wall_clock",
            Self::FilesTouched => "files_touched",
            Self::OutputBytes => "output_bytes",
            Self::Connections => "connections",
            Self::Processes => "processes",
            Self::SentBytes => "sent_bytes",
        }
    }

    /// The kind with this number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }

    /// The kind in a set of kinds.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Where its words stand in an image.
    pub const fn offset(self) -> u32 {
        header::BUDGETS + self as u32 * WORDS * 4
    }
}

/// How much of a kind there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How much.
    pub amount: u64,
    /// The answer to taking more: refused or observed, and the rule that says so.
    pub refusal: Cell,
}

/// The limit of a kind in a policy image; `None` where there is none.
#[inline(always)]
pub fn limit<I: Image + ?Sized>(image: &I, kind: Kind) -> Option<Limit> {
    let at = kind.offset();
    let refusal = Cell(image.word(at + 8)?);
    if matches!(refusal.verdict(), Verdict::Allow) {
        return None;
    }
    let (low, high) = (image.word(at)?, image.word(at + 4)?);
    Some(Limit { amount: (high as u64) << 32 | low as u64, refusal })
}

/// The kinds that a policy image has a limit for, as a set of [`Kind::bit`]s.
pub fn kinds<I: Image + ?Sized>(image: &I) -> u32 {
    let limited = Kind::ALL.into_iter().filter(|kind| limit(image, *kind).is_some());
    limited.fold(0, |set, kind| set | kind.bit())
}

/// What taking an amount comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// There is as much.
    pub fits: bool,
    /// At least 80 % of the limit are used.
    pub most: bool,
    /// All of it is used, or what was left is too little for what would fit into it unused.
    pub all: bool,
}

/// What taking `amount` comes to when `used` of `limit` were used before. Nothing fits into a
/// budget that is spent: when `used >= limit`.
#[inline(always)]
pub const fn take(used: u64, amount: u64, limit: u64) -> Taken {
    let fits = used < limit && amount <= limit - used;
    let after = if fits { used + amount } else { used };
    let all = after >= limit || (!fits && amount <= limit);
    Taken { fits, most: all || after >= limit - limit / 5, all }
}

/// What a scope has used. The kernel programs add to it, each number in one step; the agent sets
/// it to zero before the scope comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Used {
    /// How much of each kind, by its number. Of [`Kind::WallClock`] nothing is counted here.
    pub amounts: [u64; KINDS],
    /// Not 0 when it was told that 80 % are used.
    pub told_most: [u64; KINDS],
    /// Not 0 when it was told that all is used.
    pub told_all: [u64; KINDS],
}

/// What the programs know of a scope's budgets without looking into its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limits {
    /// When every act is refused: nanoseconds on `CLOCK_BOOTTIME`; 0 for never.
    pub deadline: u64,
    /// The kinds that are counted, as a set of [`Kind::bit`]s.
    pub on: u32,
    /// Number of the rule that sets the deadline.
    pub deadline_rule: u32,
    /// Which of the scope's policies brought the budget of bytes written, from 1 on.
    pub output_since: u64,
    /// The limits, by number of their kind, as they stand in the image.
    pub amounts: [u64; KINDS],
}

/// A file that a scope has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FileKey {
    /// Its inode number.
    pub inode: u64,
    /// The device of its file system (`s_dev`).
    pub device: u32,
    /// Its generation, which tells it from an earlier file of the same inode number.
    pub generation: u32,
    /// The scope's number.
    pub scope: u32,
    /// Always 0.
    pub reserved: u32,
}

/// How a budget stands in the place of an event's address: the amount used and the limit.
#[inline(always)]
pub const fn to_bytes(used: u64, limit: u64) -> [u8; 16] {
    ((used as u128) << 64 | limit as u128).to_be_bytes()
}

/// The amount used and the limit.
pub const fn from_bytes(bytes: [u8; 16]) -> (u64, u64) {
    let both = u128::from_be_bytes(bytes);
    ((both >> 64) as u64, both as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_taken_and_what_is_spent_takes_no_more() {
        for (used, amount, limit, fits, most, all) in [
            (0, 1, 10, true, false, false),
            (6, 1, 10, true, false, false),
            (7, 1, 10, true, true, false),
            (8, 1, 10, true, true, false),
            (9, 1, 10, true, true, true),
            (10, 1, 10, false, true, true),
            (11, 1, 10, false, true, true),
            // What does not fit, and would have.
            (5, 6, 10, false, true, true),
            // What would never have, says nothing of the budget.
            (5, 11, 10, false, false, false),
            (0, u64::MAX, 10, false, false, false),
            // Nothing at all may be used.
            (0, 1, 0, false, true, true),
            (0, 0, 0, false, true, true),
            (2, 1, 3, true, true, true),
            (1, 1, 3, true, false, false),
            (u64::MAX, u64::MAX, u64::MAX, false, true, true),
        ] {
            let expected = Taken { fits, most, all };
            assert_eq!(take(used, amount, limit), expected, "{used} {amount} {limit}");
        }
    }

    #[test]
    fn an_image_without_limits_has_none() {
        assert_eq!(kinds(&[0; 512][..]), 0);
        assert_eq!(kinds(&[][..]), 0, "nor has what is no image");
    }

    #[test]
    fn a_limit_is_read_as_it_stands() {
        let mut image = [0; 512];
        let at = Kind::SentBytes.offset() as usize;
        image[at..at + 8].copy_from_slice(&0x1_0000_0002_u64.to_le_bytes());
        let refusal = Cell::new(Verdict::Observe, 7);
        image[at + 8..at + 12].copy_from_slice(&refusal.0.to_le_bytes());
        let expected = Limit { amount: 0x1_0000_0002, refusal };
        assert_eq!(limit(&image[..], Kind::SentBytes), Some(expected));
        assert_eq!(kinds(&image[..]), Kind::SentBytes.bit());
        assert!(Kind::SentBytes.offset() + WORDS * 4 <= crate::image::CLASSES);
    }

    #[test]
    fn what_an_event_carries_reads_back() {
        for pair in [(0, 0), (7, u64::MAX), (u64::MAX, 1 << 63)] {
            assert_eq!(from_bytes(to_bytes(pair.0, pair.1)), pair);
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u32), Some(kind));
        }
        assert_eq!(Kind::from_number(99), None);
    }

    /// How far one who takes from a budget is, as the kernel programs do it.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Step {
        Looks,
        Adds,
        GivesBack,
        Granted,
        Refused,
    }

    /// The next step of one, on the count that all share.
    fn step(at: Step, count: &mut u64, amount: u64, limit: u64) -> Step {
        match at {
            Step::Looks if take(*count, amount, limit).fits => Step::Adds,
            Step::Looks => Step::Refused,
            Step::Adds => {
                let before = *count;
                *count += amount;
                if take(before, amount, limit).fits { Step::Granted } else { Step::GivesBack }
            }
            Step::GivesBack => {
                *count -= amount;
                Step::Refused
            }
            end => end,
        }
    }

    proptest::proptest! {
        #[test]
        fn however_many_take_at_once_never_more_is_granted_than_there_is(
            amounts in proptest::collection::vec(1..6_u64, 1..12),
            limit in 0..20_u64,
            turns in proptest::collection::vec(0..12_usize, 0..60),
        ) {
            let (mut at, mut count) = ([Step::Looks; 12], 0);
            let granted = |at: &[Step]| -> u64 {
                let of = at.iter().zip(&amounts).filter(|(step, _)| **step == Step::Granted);
                of.map(|(_, amount)| amount).sum()
            };
            // In whatever order, and then all to their end.
            let rest = (0..3).flat_map(|_| 0..12);
            for who in turns.into_iter().chain(rest) {
                if let Some(amount) = amounts.get(who) {
                    at[who] = step(at[who], &mut count, *amount, limit);
                }
                proptest::prop_assert!(granted(&at) <= limit);
            }
            proptest::prop_assert_eq!(count, granted(&at), "what is refused is not taken");
            if amounts.iter().all(|amount| *amount == 1) {
                proptest::prop_assert_eq!(granted(&at), limit.min(amounts.len() as u64));
            }
        }

        #[test]
        fn a_part_that_is_used_stays_used(used: u64, amount: u64, more: u64, limit: u64) {
            let (less, later) = (take(used, amount, limit), take(used.saturating_add(more), amount, limit));
            proptest::prop_assert!(!later.fits || less.fits);
            proptest::prop_assert!(!less.fits || used + amount <= limit);
            proptest::prop_assert!(!less.all || less.most);
        }

        #[test]
        fn units_are_granted_until_there_are_none(limit in 0..50_u64, tries in 0..80_u64) {
            let (mut used, mut marks) = (0, [0; 2]);
            for _ in 0..tries {
                let taken = take(used, 1, limit);
                used += u64::from(taken.fits);
                marks[0] += u64::from(taken.fits && taken.most && used == limit - limit / 5);
                marks[1] += u64::from(taken.fits && taken.all);
            }
            proptest::prop_assert_eq!(used, limit.min(tries));
            proptest::prop_assert_eq!(marks[1], u64::from(limit > 0 && tries >= limit));
            proptest::prop_assert_eq!(marks[0], u64::from(limit > 0 && tries >= limit - limit / 5));
        }
    }
}
