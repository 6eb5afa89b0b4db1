//! What a decision is: a verdict, the reason for it, and the rule that took it.

use crate::Image;

/// What happens to an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// The act goes on.
    Allow = 0,
    /// The act goes on; in enforce mode it would have been denied.
    Observe = 1,
    /// The act is refused.
    Deny = 2,
}

impl Verdict {
    /// The name in events, as `INTERFACE` has it: `allow`, `observe`, `deny`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Observe => "observe",
            Self::Deny => "deny",
        }
    }
}

/// Declares a `repr(u8)` enumeration with the names that events carry.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $type { $($(#[$doc])* $variant = $number,)* }

        impl $type {
            /// Every value, in order of number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in events and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The value with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

named! {
    /// What a governed process tried to do.
    Action {
        /// Opening a file for reading, listing a folder.
        Read = 0 "read",
        /// Opening a file for writing, truncating it.
        Write = 1 "write",
        /// Executing a file, or mapping it executable.
        Exec = 2 "exec",
        /// Making a name: file, folder, device node, symbolic link.
        Create = 3 "create",
        /// Removing a name.
        Delete = 4 "delete",
        /// Moving a name.
        Rename = 5 "rename",
        /// Giving a file a second name.
        Link = 6 "link",
        /// Changing mode, owner, times, extended attributes, access control lists, flags.
        Metadata = 7 "metadata",
        /// Changing what is mounted where, or the root.
        Mount = 8 "mount",
        /// Connecting a socket.
        Connect = 9 "connect",
        /// Sending to an address.
        Send = 10 "send",
        /// Giving a socket a local address.
        Bind = 11 "bind",
        /// Accepting connections.
        Listen = 12 "listen",
        /// Making a socket.
        Socket = 13 "socket",
        /// Asking for the addresses of a name.
        Resolve = 14 "resolve",
        /// Signalling a process.
        Signal = 15 "signal",
        /// Tracing a process or reading its memory.
        Ptrace = 16 "ptrace",
        /// Using the `bpf` system call.
        Bpf = 17 "bpf",
        /// Spending more than a budget allows.
        Budget = 18 "budget",
        /// Using a capability that would change the boundary itself.
        Capability = 19 "capability",
        /// Making a user namespace.
        Namespace = 20 "namespace",
        /// Typing into a terminal.
        Terminal = 21 "terminal",
        /// Making a key, or reading or changing one of the kernel's keyrings.
        Key = 22 "key",
        /// What the kernel runs or records: modules, kexec, its log.
        Kernel = 23 "kernel",
        /// Work of an io_uring that goes beyond the task's own.
        Uring = 24 "uring",
    }
}

/// Declares [`Reason`]. A number with names and not an enumeration: the kernel programs carry it
/// as one, since a choice among names is a branch each to the verifier.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        #[expect(non_upper_case_globals, reason = "used like the variants of an enumeration")]
        impl Reason {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every reason, in order of number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in events and metrics.
            pub const fn name(self) -> &'static str {
                match self.0 { $($number => $text,)* _ => "unknown" }
            }

            /// The reason with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self($number)),)* _ => None }
            }
        }
    };
}

/// Why. The first three are Sec0's violation codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Reason(pub(crate) u8);

impl Reason {
    /// The number in an event record.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The reason that had this number.
    pub const fn of_number(number: u8) -> Self {
        Self(number)
    }
}

reasons! {
    /// Nothing was wrong.
    None = 0 "none",
    /// A path outside the filesystem boundary (Sec0 `fs_violation`).
    FsViolation = 1 "fs_violation",
    /// A destination outside the egress boundary (Sec0 `egress_violation`).
    EgressViolation = 2 "egress_violation",
    /// A path of more bytes, or more components, than can be judged.
    PathTooLong = 3 "path_too_long",
    /// A path that does not lead to the root of the process's own mount namespace.
    PathUnresolved = 4 "path_unresolved",
    /// A table or allocation that the decision needs was exhausted.
    TableFull = 5 "table_full",
    /// A kind of socket that no boundary lists.
    ForbiddenSocket = 6 "forbidden_socket",
    /// A change to mounts, the root, or namespaces.
    ForbiddenMount = 7 "forbidden_mount",
    /// An act against ringfence itself or against processes outside the scope.
    SelfProtection = 8 "self_protection",
    /// A budget is spent.
    BudgetExceeded = 9 "budget_exceeded",
    /// A name that no rule lists.
    UnlistedName = 10 "unlisted_name",
    /// A new name for a file would give rights that its old name did not have.
    RightsWidened = 11 "rights_widened",
    /// The policy allows no program to be started after the first.
    ExecAfterStart = 12 "exec_after_start",
    /// A program with no name in the file system: memfd, deleted, or on an internal mount.
    UnnamedProgram = 13 "unnamed_program",
    /// A capability that would let the process leave its boundary.
    ForbiddenCapability = 14 "forbidden_capability",
    /// The policy tables did not hold what the decision looked for.
    TableCorrupt = 15 "table_corrupt",
    /// The address family or its length could not be understood.
    AddressUnreadable = 16 "address_unreadable",
    /// The kernel itself: a file of its control file systems opened for writing, what it runs, its
    /// log.
    KernelControl = 17 "kernel_control",
    /// Memory that no file stands behind, or a private copy of one, was to become executable.
    AnonymousCode = 20 "anonymous_code",
    /// A program's file does not have the content that the policy names (Sec0
    /// `tool_code_changed`).
    ToolCodeChanged = 21 "tool_code_changed",
    /// An io_uring, or work of one that goes beyond the task's own.
    ForbiddenUring = 22 "forbidden_uring",
    /// The first bytes of a connection name a server that the policy does not let be looked up.
    UnlistedServerName = 23 "unlisted_server_name",
    /// The first bytes of a connection name no server that could be read.
    NoServerName = 24 "no_server_name",
    /// The programs that judge packets are not attached to the control group yet.
    NotAttached = 25 "not_attached",
    /// No resolver takes questions in the socket's network namespace, or not yet.
    NoResolver = 26 "no_resolver",
}

/// One precomputed answer in a policy image: a verdict and the rule that gives it.
///
/// Bits 31–30 are the verdict, bits 27–0 the rule's number, 0 where no rule is to be named. Bit 29
/// says that the verdict holds unless something else is found: for a path, that the file has the
/// content that the rule names; for a destination, that a name was looked up that stands for it.
/// Bit 28 says that the rule is one of the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Cell(pub u32);

impl Cell {
    /// Allowed by no rule in particular: the group is not governed.
    pub const ALLOW: Self = Self(0);
    /// The largest rule number that fits.
    pub const MAX_RULE: u32 = (1 << 28) - 1;
    /// See [`Self::by_baseline`].
    const BASELINE: u32 = 1 << 28;
    /// See [`Self::unless_pinned`] and [`Self::unless_installed`].
    const UNLESS: u32 = 1 << 29;

    /// Packs a verdict and a rule number; rule numbers above [`Self::MAX_RULE`] become 0.
    pub const fn new(verdict: Verdict, rule: u32) -> Self {
        let rule = if rule > Self::MAX_RULE { 0 } else { rule };
        Self(((verdict as u32) << 30) | rule)
    }

    /// Allowed by the rule while the file has the content that it names, and refused otherwise.
    #[must_use]
    pub const fn unless_pinned(refusal: Verdict, rule: u32) -> Self {
        Self(Self::new(refusal, rule).0 | Self::UNLESS)
    }

    /// The same answer, to a destination of which no rule speaks: a name may still stand for it.
    #[must_use]
    pub const fn unless_installed(self) -> Self {
        Self(self.0 | Self::UNLESS)
    }

    /// The same answer, by a rule of the baseline.
    #[must_use]
    pub const fn by_baseline(self) -> Self {
        Self(self.0 | Self::BASELINE)
    }

    /// Whether the rule is one of the baseline's.
    pub const fn is_by_baseline(self) -> bool {
        self.0 & Self::BASELINE != 0
    }

    /// The same answer, final.
    #[must_use]
    pub const fn settled(self) -> Self {
        Self(self.0 & !Self::UNLESS)
    }

    /// Whether a name may still stand for the destination that this is the answer to.
    pub const fn is_by_default(self) -> bool {
        self.0 & Self::UNLESS != 0
    }

    /// Whether the verdict is one on files that do not have the content that the rule names.
    pub const fn is_by_content(self) -> bool {
        self.0 & Self::UNLESS != 0
    }

    /// The same rule's answer to a file that has the content.
    const fn permitted(self) -> Self {
        Self::new(Verdict::Allow, self.rule())
    }

    /// The verdict. The unused bit pattern 3 reads as [`Verdict::Deny`].
    pub const fn verdict(self) -> Verdict {
        match self.0 >> 30 {
            0 => Verdict::Allow,
            1 => Verdict::Observe,
            _ => Verdict::Deny,
        }
    }

    /// The rule's number, 0 for none.
    pub const fn rule(self) -> u32 {
        self.0 & Self::MAX_RULE
    }
}

/// The answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Why; [`Reason::None`] exactly when the verdict is [`Verdict::Allow`].
    pub reason: Reason,
    /// Number of the rule that decided, 0 for none.
    pub rule: u32,
}

impl Decision {
    /// Allowed, by no rule in particular.
    pub const ALLOW: Self = Self { verdict: Verdict::Allow, reason: Reason::None, rule: 0 };

    /// What a cell says; `reason` is used when it does not allow.
    pub const fn of(cell: Cell, reason: Reason) -> Self {
        let verdict = cell.verdict();
        let reason = if matches!(verdict, Verdict::Allow) { Reason::None } else { reason };
        Self { verdict, reason, rule: cell.rule() }
    }

    /// Refused whatever the mode: what fails closed, and what protects ringfence itself.
    pub const fn deny(reason: Reason) -> Self {
        Self { verdict: Verdict::Deny, reason, rule: 0 }
    }
}

/// A decision in the making: a cell, and in the lowest byte the reason if it does not allow.
///
/// Answers are compared as numbers and become a [`Decision`] only at the end: the kernel's
/// verifier follows every branch on a known value, and branches on branches are too many for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer(u64);

impl Answer {
    /// What nothing has been added to, and any answer to the kernel's verifier.
    #[inline(always)]
    pub(crate) fn allow<I: Image + ?Sized>(image: &I) -> Self {
        Self(image.blur(0))
    }

    /// A cell's answer; what could not be read is corrupt, and refuses.
    #[inline(always)]
    pub(crate) fn of<I: Image + ?Sized>(image: &I, cell: Option<Cell>, reason: Reason) -> Self {
        const CORRUPT: Answer = Answer::new(Cell::new(Verdict::Deny, 0), Reason::TableCorrupt);
        let answer = match cell {
            Some(cell) => Self::new(cell, reason),
            None => CORRUPT,
        };
        Self(image.blur(answer.0))
    }

    /// The answer of a cell to executing a file: `pinned` says that it has the content that the
    /// cell's rule names.
    #[inline(always)]
    pub(crate) fn to_exec<I: Image + ?Sized>(image: &I, cell: Option<Cell>, pinned: bool) -> Self {
        match cell {
            Some(cell) if cell.is_by_content() && pinned => {
                Self::of(image, Some(cell.permitted()), Reason::None)
            }
            Some(cell) if cell.is_by_content() => {
                Self::of(image, Some(cell), Reason::ToolCodeChanged)
            }
            cell => Self::of(image, cell, Reason::FsViolation),
        }
    }

    #[inline(always)]
    const fn new(cell: Cell, reason: Reason) -> Self {
        Self(((cell.0 as u64) << 8) | reason.0 as u64)
    }

    /// The verdict as a number, larger for stricter.
    #[inline(always)]
    pub(crate) const fn strictness(self) -> u64 {
        self.0 >> 38
    }

    /// 1 for a verdict that allows, else 0. Not by comparing, which is one more branch to follow.
    #[inline(always)]
    pub(crate) const fn is_allow(self) -> u32 {
        ((self.strictness() + 3) >> 2) as u32 ^ 1
    }

    /// The stricter of two answers; the first when both are equally strict, unless it names no
    /// rule and allows.
    #[inline(always)]
    pub(crate) fn stricter(self, other: Self) -> Self {
        if other.strictness() > self.strictness() || self.0 >> 8 == 0 { other } else { self }
    }

    #[inline(always)]
    pub(crate) fn decision(self) -> Decision {
        Decision::of(Cell((self.0 >> 8) as u32), Reason(self.0 as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_gives_back_what_it_was_made_of() {
        for verdict in [Verdict::Allow, Verdict::Observe, Verdict::Deny] {
            for rule in [0, 1, 77, Cell::MAX_RULE] {
                let cell = Cell::new(verdict, rule);
                assert_eq!((cell.verdict(), cell.rule()), (verdict, rule));
            }
        }
        assert_eq!(Cell::new(Verdict::Deny, Cell::MAX_RULE + 1).rule(), 0);
        assert_eq!(Cell(u32::MAX).verdict(), Verdict::Deny, "an unknown pattern refuses");
        let cell = Cell::new(Verdict::Allow, 77).by_baseline();
        assert_eq!((cell.verdict(), cell.rule()), (Verdict::Allow, 77));
        assert!(
            cell.is_by_baseline() && !Cell::new(Verdict::Allow, Cell::MAX_RULE).is_by_baseline()
        );
        let cell = Cell::unless_pinned(Verdict::Observe, 77);
        assert_eq!((cell.verdict(), cell.rule()), (Verdict::Observe, 77));
        assert!(cell.is_by_content() && !cell.permitted().is_by_content());
        assert_eq!(cell.permitted(), Cell::new(Verdict::Allow, 77));
    }

    #[test]
    fn every_number_reads_back_and_every_name_is_unique() {
        for action in Action::ALL {
            assert_eq!(Action::from_number(*action as u8), Some(*action));
        }
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            assert!(Reason::ALL[i + 1..].iter().all(|other| other.name() != reason.name()));
        }
        assert_eq!(Action::from_number(200), None);
    }
}
