//! What one document allows, in the terms of the kernel: the common form that every dialect is
//! lowered to, and that the compiler reads.

use std::{fmt, net::IpAddr, ops::RangeInclusive, sync::Arc};

use ipnetwork::IpNetwork;
use ringfence_common::{Right, Verdict, budget::Kind};

/// Where something stands in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file's name, as the user gave it.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Whether what is not allowed is refused, or only recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Refused.
    Enforce,
    /// Let through, with an event.
    Observe,
}

impl Mode {
    /// The verdict on an act that is not allowed.
    pub const fn refusal(self) -> Verdict {
        match self {
            Self::Enforce => Verdict::Deny,
            Self::Observe => Verdict::Observe,
        }
    }
}

/// Whether a rule gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Gives what it names.
    Allow,
    /// Takes what it names, whatever else gives it.
    Deny,
}

/// A set of [`Right`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(pub u32);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// Open for reading, list folders.
    pub const READ: Self = Self(Right::Read.bit());
    /// What the word `write` gives in a policy: content, names, metadata.
    pub const WRITE: Self = Self(
        Right::Write.bit() | Right::Create.bit() | Right::Delete.bit() | Right::Metadata.bit(),
    );
    /// Execute.
    pub const EXEC: Self = Self(Right::Exec.bit());
    /// Open device nodes, beside reading or writing them.
    pub const DEVICE: Self = Self(Right::Device.bit());
    /// What reading and writing are together: all rights over files but that over devices.
    pub const FILES: Self = Self::READ.and(Self::WRITE);
    /// Connect and send to Unix sockets. Whoever may change the content of a path has it there.
    pub const SOCKET: Self = Self(Right::Socket.bit());
    /// Every right that a rule of the `files` group can give.
    pub const ABOUT_FILES: Self = Self::FILES.and(Self::DEVICE);

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without another.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both sets.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What a group that is said to govern these rights governs: devices with any other right over
    /// files, in every language, and Unix sockets with content.
    pub const fn governed(self) -> Self {
        let with_sockets = self.with_sockets();
        if self.common(Self::FILES).is_empty() {
            with_sockets
        } else {
            with_sockets.and(Self::DEVICE)
        }
    }

    /// What a rule about these rights is about: whoever may write to a Unix socket may connect.
    pub const fn with_sockets(self) -> Self {
        if self.has(Right::Write) { self.and(Self::SOCKET) } else { self }
    }

    /// Whether the right is in the set.
    pub const fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the characters of a path pattern mean. All patterns are anchored at both ends and match
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlobSyntax {
    /// `boundary`: `*` and `?` stay inside a component, `**` crosses, classes and braces as in
    /// globset with `literal_separator(true)`.
    Component,
    /// Sec0 and agent.yaml: `*` crosses `/` (globset with `literal_separator(false)`).
    Crossing,
    /// SecAI policy.yaml: no character is special but a trailing `/**`; the path itself and all
    /// below it.
    Prefix,
}

/// What a file's content must be: all that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digests {
    /// Its SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// Its fs-verity digest, by SHA-256.
    pub fsverity: Option<[u8; 32]>,
}

impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lead = "";
        for (name, digest) in [("SHA-256", self.sha256), ("fs-verity SHA-256", self.fsverity)] {
            if let Some(digest) = digest {
                write!(f, "{lead}{name} {}", hexadecimal(&digest))?;
                lead = " and ";
            }
        }
        Ok(())
    }
}

/// Bytes as they are written in a policy.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A rule about paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// The pattern as the user wrote it.
    pub pattern: String,
    /// How to read the pattern.
    pub syntax: GlobSyntax,
    /// Gives or takes.
    pub effect: Effect,
    /// Which rights.
    pub rights: Rights,
    /// The content that the file must have; the pattern is a path then, and the rule gives
    /// execution alone.
    pub content: Option<Digests>,
    /// Where the rule stands; for a baseline rule the file is `baseline`.
    pub place: Place,
}

/// Rights that a document governs: what no rule of it allows is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGroup {
    /// Which rights.
    pub rights: Rights,
    /// What a refusal does.
    pub mode: Mode,
    /// Where the group's key stands.
    pub place: Place,
    /// Whether the group as a whole is a rule that refusals name: Sec0's `fs_allowlist` is one
    /// rule, a `boundary` document's `files` is a list of many.
    pub is_rule: bool,
}

/// A destination that an egress rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host name, lower case, or a pattern in which `*` stands for any characters.
    Host(String),
    /// Addresses.
    Network(IpNetwork),
}

/// A transport protocol that a rule is limited to.
pub use ringfence_common::egress::Protocol;

/// A rule about destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRule {
    /// Gives or takes.
    pub effect: Effect,
    /// Where to.
    pub target: Target,
    /// Ports, as the document lists them; [`Self::port_ranges`] are those that count.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Protocol; `None` means TCP and UDP.
    pub protocol: Option<Protocol>,
    /// Whether TCP connections to port 443 by this rule must name, in the first message of TLS, a
    /// server that may be looked up. Has no meaning but in a rule that allows a host by name.
    pub tls_name_check: bool,
    /// Where the rule stands.
    pub place: Place,
}

/// The port of DNS over TLS and over QUIC (RFC 7858, section 3.1; RFC 9250, section 4.1.1).
const DNS_OVER_TLS: u16 = 853;

impl EgressRule {
    /// The ports that the rule is about. Without a list that is every port; but of a rule that
    /// allows, not the one at which names are looked up in secret, which must be listed.
    pub fn port_ranges(&self) -> &[RangeInclusive<u16>] {
        const ALL: &[RangeInclusive<u16>] = &[0..=u16::MAX];
        const ORDINARY: &[RangeInclusive<u16>] =
            &[0..=DNS_OVER_TLS - 1, DNS_OVER_TLS + 1..=u16::MAX];
        match self.effect {
            _ if !self.ports.is_empty() => &self.ports,
            Effect::Allow => ORDINARY,
            Effect::Deny => ALL,
        }
    }
}

/// The destinations that a document governs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// What a refusal does.
    pub mode: Mode,
    /// Where the group's key stands.
    pub place: Place,
    /// As for [`PathGroup::is_rule`].
    pub is_rule: bool,
    /// The rules; empty allows nothing.
    pub rules: Vec<EgressRule>,
}

/// What one document allows. A group that is absent is not governed by this document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The file's name, as the user gave it.
    pub file: Arc<str>,
    /// Which rights over paths are governed.
    pub path_groups: Vec<PathGroup>,
    /// The rules about paths, in the order of the document.
    pub path_rules: Vec<PathRule>,
    /// Which rules are added to `path_rules` when compiling.
    pub baseline: Baseline,
    /// Set when no program may be started after the first.
    pub no_exec_after_start: Option<(Mode, Place)>,
    /// Set when no anonymous memory may become executable.
    pub no_anonymous_code: Option<(Mode, Place)>,
    /// Whether io_urings may be made, where the document says so.
    pub io_uring: Option<Rings>,
    /// The destinations, when governed.
    pub egress: Option<Egress>,
    /// The ports on which others than the scope may be served. Without it none, where destinations
    /// are governed.
    pub listen: Option<Listen>,
    /// What the scope may use up.
    pub budgets: Budgets,
}

/// Which rules everybody is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// None.
    None,
    /// What every program needs; of what may be executed, libraries.
    #[default]
    Libraries,
    /// What every program needs, and the system's programs.
    Programs,
}

/// Whether io_urings may be made. What is done with one is judged all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rings {
    /// What a refusal does; `None` where they may be made.
    pub refused: Option<Mode>,
    /// Where it stands.
    pub place: Place,
}

/// The ports on which others than the scope may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What a refusal does.
    pub mode: Mode,
    /// Where the group's key stands.
    pub place: Place,
    /// The ports; none allows none.
    pub rules: Vec<ListenRule>,
}

/// A port on which others may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRule {
    /// The port.
    pub port: u16,
    /// Protocol; `None` means TCP and UDP.
    pub protocol: Option<Protocol>,
    /// Where the rule stands.
    pub place: Place,
}

/// What a scope may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// What becomes of an act that a spent budget has no room for.
    pub mode: Mode,
    /// The limits, each kind at most once; a kind that is not there is without limit.
    pub limits: Vec<Budget>,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Of what.
    pub kind: Kind,
    /// How much; of the clock, milliseconds.
    pub amount: u64,
    /// Where it stands.
    pub place: Place,
}

impl Budget {
    /// The limit in words.
    pub fn in_words(&self) -> String {
        let Self { kind, amount, .. } = self;
        match kind {
            Kind::WallClock => format!("at most {amount} ms on the clock"),
            Kind::FilesTouched => format!("at most {amount} distinct files"),
            Kind::OutputBytes => format!("at most {amount} bytes written"),
            Kind::Connections => format!("at most {amount} connections"),
            Kind::Processes => format!("at most {amount} processes at a time"),
            Kind::SentBytes => format!("at most {amount} bytes sent"),
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self { mode: Mode::Enforce, limits: Vec::new() }
    }
}

impl Budgets {
    /// The limit of a kind.
    pub fn of(&self, kind: Kind) -> Option<u64> {
        self.limits.iter().find(|budget| budget.kind == kind).map(|budget| budget.amount)
    }
}

impl Boundary {
    /// A boundary that governs nothing, with the usual baseline.
    pub fn new(file: impl Into<Arc<str>>) -> Self {
        Self {
            file: file.into(),
            path_groups: Vec::new(),
            path_rules: Vec::new(),
            baseline: Baseline::default(),
            no_exec_after_start: None,
            no_anonymous_code: None,
            io_uring: None,
            egress: None,
            listen: None,
            budgets: Budgets::default(),
        }
    }

    /// The same boundary in the form that is compiled: what is said about files before what is
    /// said about programs, and that before Unix sockets, each in the order of the document. A boundary document has no other
    /// order, so that each language's documents compile like the boundary document they are
    /// lowered to.
    #[must_use]
    pub(crate) fn in_order(mut self) -> Self {
        let groups = std::mem::take(&mut self.path_groups);
        let rules = std::mem::take(&mut self.path_rules);
        for part in [Rights::ABOUT_FILES, Rights::EXEC, Rights::SOCKET] {
            let of = |rights: Rights| Some(rights.common(part)).filter(|part| !part.is_empty());
            self.path_groups.extend(groups.iter().filter_map(|group| {
                Some(PathGroup { rights: of(group.rights)?, ..group.clone() })
            }));
            self.path_rules.extend(
                rules
                    .iter()
                    .filter_map(|rule| Some(PathRule { rights: of(rule.rights)?, ..rule.clone() })),
            );
        }
        self
    }

    /// The same boundary with every group in one mode, as `--mode` asks for.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        for group in &mut self.path_groups {
            group.mode = mode;
        }
        if let Some(egress) = &mut self.egress {
            egress.mode = mode;
        }
        for (exec_mode, _) in
            [&mut self.no_exec_after_start, &mut self.no_anonymous_code].into_iter().flatten()
        {
            *exec_mode = mode;
        }
        if let Some(refused) = self.io_uring.as_mut().and_then(|rings| rings.refused.as_mut()) {
            *refused = mode;
        }
        if let Some(listen) = &mut self.listen {
            listen.mode = mode;
        }
        self.budgets.mode = mode;
        self
    }

    /// Whether any right over files is governed.
    pub fn governs_files(&self) -> bool {
        self.path_groups.iter().any(|group| !group.rights.is_empty())
    }

    /// The modes of all its groups.
    pub fn modes(&self) -> impl Iterator<Item = Mode> {
        let paths = self.path_groups.iter().filter(|group| !group.rights.is_empty());
        let egress = self.egress.as_ref().map(|egress| egress.mode);
        let listen = self.listen.as_ref().map(|listen| listen.mode);
        let budgets = (!self.budgets.limits.is_empty()).then_some(self.budgets.mode);
        let groups = paths.map(|group| group.mode).chain(egress).chain(listen).chain(budgets);
        groups.chain(self.single_modes())
    }

    /// The modes of what is refused in one word, without a list of rules.
    pub(crate) fn single_modes(&self) -> impl Iterator<Item = Mode> {
        let rings = self.io_uring.as_ref().and_then(|rings| rings.refused);
        let both = [&self.no_exec_after_start, &self.no_anonymous_code];
        both.into_iter().flatten().map(|(mode, _)| *mode).chain(rings)
    }

    /// How serving is refused where no rule gives a port, and which group says so.
    pub(crate) fn serving(&self) -> Option<(Mode, &Place)> {
        let egress = || self.egress.as_ref().map(|egress| (egress.mode, &egress.place));
        self.listen.as_ref().map(|listen| (listen.mode, &listen.place)).or_else(egress)
    }

    /// Whether the document governs nothing at all.
    pub fn is_empty(&self) -> bool {
        self.path_groups.is_empty()
            && self.egress.is_none()
            && self.listen.is_none()
            && self.budgets.limits.is_empty()
            && self.single_modes().next().is_none()
    }
}

/// Addresses of the host names in egress rules, as looked up by the caller.
pub type Resolved = std::collections::BTreeMap<String, Vec<IpAddr>>;
