//! The evasion catalogue: every known way out of a boundary, as data.
//!
//! The tests in virtual machines run this very table: each row without a boundary, where it must
//! succeed or proves nothing; in enforce mode; and in observe mode. [`page`] writes
//! `docs/evasions.md` from it.

mod boundary;
mod control;
mod creation;
mod descriptors;
mod exec;
mod leaving;
mod links;
mod metadata;
mod mounts;
mod names;
mod network;
mod odd;
mod opening;
mod page;
mod processes;
mod renames;
mod serving;
mod unix;
mod uring;

pub use network::{NETWORK, Tried};
pub use page::markdown;

/// Every family of ways out, in the order of the page.
pub const FAMILIES: [&Family; 17] = [
    &opening::FAMILY,
    &names::FAMILY,
    &odd::FAMILY,
    &links::FAMILY,
    &renames::FAMILY,
    &creation::FAMILY,
    &metadata::FAMILY,
    &descriptors::FAMILY,
    &mounts::FAMILY,
    &uring::FAMILY,
    &exec::FAMILY,
    &unix::FAMILY,
    &serving::FAMILY,
    &processes::FAMILY,
    &control::FAMILY,
    &boundary::FAMILY,
    &leaving::FAMILY,
];

/// What closes a way besides the hooks of the kernel: a name for [`Row::closed_by`], and what it
/// stands for.
pub const BESIDES_HOOKS: &[(&str, &str)] = &[(
    "launch",
    "what `ringfence run` does before it starts the command: it closes every descriptor above 2, \
     and sets `no_new_privs`",
)];

/// A kernel, in a certain mode, that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Debian's Linux 6.1.
    Linux6_1,
    /// Debian's Linux 6.12.
    Linux6_12,
    /// The newest 7.x that Debian has.
    Linux7,
    /// 6.12 with `lockdown=confidentiality`.
    Lockdown,
}

impl Kernel {
    /// Every kernel, in the order of the page's columns.
    pub const ALL: [Self; 4] = [Self::Linux6_1, Self::Linux6_12, Self::Linux7, Self::Lockdown];

    /// The name of the environment in `cargo xtask test`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux6_1 => "6.1",
            Self::Linux6_12 => "6.12",
            Self::Linux7 => "7",
            Self::Lockdown => "6.12-lockdown",
        }
    }
}

/// Ways out that have something in common, tried together under one policy.
#[derive(Debug)]
pub struct Family {
    /// What they are.
    pub title: &'static str,
    /// The test that runs them.
    pub test: &'static str,
    /// Which file of `tests/src/catalogue/` holds them.
    pub file: &'static str,
    /// The policy's text, in which `{room}` is the folder above those of the rows.
    pub policy: &'static str,
    /// What the rows find.
    pub stage: Stage,
    /// The ways.
    pub rows: &'static [Row],
    /// Acts that must go on working under the same policy.
    pub works: &'static [&'static str],
}

/// What is in the folder of each act, `{base}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Files: `{work}`, `{ro}` and `{out}`.
    Files,
    /// Programs: `{work}`, and `{base}/bin` whose programs may be executed.
    Programs,
    /// Files with odd names, and file systems that fold cases.
    Names,
    /// Files, and mounts that somebody outside has made.
    Mounts,
    /// Files, and the kernel's own file systems mounted elsewhere.
    Control,
    /// Files, and services at Unix sockets outside.
    Sockets,
    /// Files, a neighbour on the same machine, and a visitor from another network.
    Network,
}

/// A way out: the acts that try it, and what comes of each.
#[derive(Debug)]
pub struct Row {
    /// What it is, for people.
    pub way: &'static str,
    /// Hooks that close it, or names of [`BESIDES_HOOKS`].
    pub closed_by: &'static [&'static str],
    /// Lines for `act`, with `{work}` and the like.
    pub acts: &'static [&'static str],
    /// What comes of it in a boundary.
    pub end: End,
    /// Without a boundary it succeeds, or fails with this error, which comes later than any check.
    pub control: Option<i32>,
    /// Kernels that cannot have it, and why.
    pub lacking: &'static [(Kernel, &'static str)],
}

/// What comes of trying.
#[derive(Debug)]
pub enum End {
    /// It is refused.
    Refused(Refusal),
    /// It succeeds, for this reason: it is not closed.
    Open(&'static str),
}

/// How a way is refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The error. Where there is none, the act is a program's, which fails in its own way.
    pub errno: Option<i32>,
    /// The event's action; several, of which any will do, are separated by `|`. Empty: the way is
    /// not there at all, and there is no event.
    pub actions: &'static str,
    /// The event's reason, in the same way.
    pub reasons: &'static str,
    /// What the event names as having decided.
    pub by: By,
    /// What the event's object has in it.
    pub shows: Option<&'static str>,
    /// Refused in observe mode too.
    pub always: bool,
}

/// What takes a decision, as an event names it.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// The rule in the first line of the policy that holds this text.
    Rule(&'static str),
    /// No rule: nothing in the group of this line matched.
    Default(&'static str),
    /// No rule can be named.
    Nothing,
    /// Whatever.
    Any,
}

/// A way that is refused with EACCES, and told of with an action and a reason.
const fn refused(
    way: &'static str,
    closed_by: &'static [&'static str],
    acts: &'static [&'static str],
    actions: &'static str,
    reasons: &'static str,
    by: By,
) -> Row {
    let errno = Some(libc::EACCES);
    let refusal = Refusal { errno, actions, reasons, by, shows: None, always: false };
    Row { way, closed_by, acts, end: End::Refused(refusal), control: None, lacking: &[] }
}

/// A way that is there, and why.
const fn open(way: &'static str, acts: &'static [&'static str], why: &'static str) -> Row {
    Row { way, closed_by: &[], acts, end: End::Open(why), control: None, lacking: &[] }
}

impl Row {
    const fn refusal(mut self, errno: Option<i32>, always: bool) -> Self {
        if let End::Refused(refusal) = &mut self.end {
            (refusal.errno, refusal.always) = (errno, always);
        }
        self
    }

    /// With this error.
    const fn errno(self, errno: i32) -> Self {
        self.refusal(Some(errno), false)
    }

    /// In a program, which fails in its own way.
    const fn somehow(self) -> Self {
        self.refusal(None, false)
    }

    /// With this error, in observe mode too.
    const fn always(self, errno: i32) -> Self {
        self.refusal(Some(errno), true)
    }

    /// The event's object has this text in it.
    const fn shows(mut self, text: &'static str) -> Self {
        if let End::Refused(refusal) = &mut self.end {
            refusal.shows = Some(text);
        }
        self
    }

    /// Without a boundary it fails with this error.
    const fn control(mut self, errno: i32) -> Self {
        self.control = Some(errno);
        self
    }

    /// Kernels that cannot have it.
    const fn lacking(mut self, kernels: &'static [(Kernel, &'static str)]) -> Self {
        self.lacking = kernels;
        self
    }

    /// Why this kernel cannot have it, if so.
    pub fn lacking_on(&self, kernel: Kernel) -> Option<&'static str> {
        self.lacking.iter().find(|(one, _)| *one == kernel).map(|(_, why)| *why)
    }
}

/// The policy of most families: a workspace with a part that is denied and one that may not be
/// read, a part that may only be read, and what is outside. Rings may be made, for what is done
/// with them to be judged.
const FILES: &str = r#"boundary: 1
io_uring: allow
files:
  - { path: "{room}/*/work", allow: [read] }
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/*/ro/**", allow: [read] }
  - { path: "{room}/*/work/denied/**", deny: [read, write] }
  - { path: "{room}/*/work/unread/**", deny: [read] }
  - { path: "{room}/*.sock", allow: [read, write] }
"#;

/// Every path may be read and written: nothing but the guard refuses.
const EVERY_PATH: &str = r#"boundary: 1
files:
  - { path: "/**", allow: [read, write] }
"#;

/// The rule of [`FILES`] that denies everything below `work/denied`.
const DENIED: By = By::Rule("denied/**");
/// The rule of [`FILES`] that denies reading below `work/unread`.
const UNREAD: By = By::Rule("unread/**");
/// Nothing allows it.
const UNLISTED: By = By::Default("files:");
