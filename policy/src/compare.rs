//! What one policy allows and another does not, with an example for each difference.
//!
//! The tables are compared, not the texts: two policies that say the same in other words do not
//! differ, and a rule that changes nothing makes no difference. Every example is found by
//! walking both tables at once, with the code that the kernel decides by, and the first example
//! of a difference that is found is the shortest.
//!
//! Not compared is what depends on two paths at once: moving a name, and giving a second one.

mod addresses;
mod names;
mod paths;
mod product;
mod serving;

use std::net::IpAddr;

use ringfence_common::{Cell, Decision, Image, Right, Verdict, egress::Protocol, image::header};

use crate::{
    Boundary,
    boundary::Digests,
    compile::{RuleInfo, Tables},
};

/// Differences of one kind (paths, addresses, names) that are told. Nobody reads more.
const MAX_DIFFERENCES: usize = 5000;

/// One of the two policies: documents that hold together, and what they compile to.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The documents.
    pub boundaries: &'a [Boundary],
    /// The tables for all of them, compiled without the addresses of any host name.
    pub tables: &'a Tables,
}

/// What came of comparing two policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// One example for each distinct pair of answers, in a fixed order.
    pub differences: Vec<Difference>,
    /// Whether everything was compared and every difference told. If not, the policies are too
    /// large together, and what is not among the differences may differ.
    pub is_complete: bool,
}

/// A question that the two policies answer with different verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What is asked about.
    pub subject: Subject,
    /// The answer of the old policy.
    pub old: Answer,
    /// The answer of the new policy.
    pub new: Answer,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Using a path.
    Path {
        /// What for.
        right: Right,
        /// The path as the kernel has it.
        path: Vec<u8>,
    },
    /// Executing a path as the first program of a scope. Told where the policies agree about the
    /// same rules for later programs.
    FirstProgram {
        /// The path as the kernel has it.
        path: Vec<u8>,
    },
    /// Using any path of more than [`ringfence_common::event::PATH_BYTES`] bytes. Told where no
    /// shorter path differs like that.
    LongPath {
        /// What for.
        right: Right,
    },
    /// Connecting or sending to an address.
    Address {
        /// The address.
        address: IpAddr,
        /// The port, not 0.
        port: u16,
        /// The transport.
        protocol: Protocol,
    },
    /// Connecting to an abstract Unix socket of a process outside the scope.
    AbstractSocket {
        /// The name, without the NUL before it.
        name: Vec<u8>,
    },
    /// Serving others on a port.
    Serve {
        /// The port, not 0.
        port: u16,
        /// The transport.
        protocol: Protocol,
    },
    /// Connecting or sending to a host by its name.
    Host {
        /// The name, lower case.
        name: String,
        /// The port, not 0.
        port: u16,
        /// The transport.
        protocol: Protocol,
    },
    /// Asking for the addresses of a name. Told where connecting does not differ by the same
    /// rules.
    Lookup {
        /// The name, lower case.
        name: String,
    },
    /// Starting any program after the first.
    ExecAfterStart,
    /// Making anonymous memory executable.
    ExecAnonymous,
    /// Making an io_uring.
    Ring,
    /// Making a socket of a kind that no policy lists.
    OtherSocket,
    /// Acts against the boundary itself: mounts, namespaces, processes outside.
    Guard,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What happens.
    pub verdict: Verdict,
    /// The rule that decides, or the list that has none; `None` when the act is not governed or
    /// no rule is to be named.
    pub rule: Option<RuleInfo>,
    /// The content that a file must have for it, where the rule asks for one.
    pub content: Option<Digests>,
}

/// Which way a difference goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The new policy allows what the old does not.
    Widened,
    /// The old policy allows what the new does not.
    Narrowed,
    /// Both refuse, but one of them only records it.
    Mode,
}

impl Difference {
    /// Which way the difference goes.
    pub const fn change(&self) -> Change {
        match (self.old.verdict, self.new.verdict) {
            (Verdict::Allow, Verdict::Allow) if self.old.content.is_none() => Change::Narrowed,
            (_, Verdict::Allow) => Change::Widened,
            (Verdict::Allow, _) => Change::Narrowed,
            _ => Change::Mode,
        }
    }
}

impl Answer {
    fn of(decision: Decision, tables: &Tables) -> Self {
        let rule = tables.rule(decision.rule).cloned();
        Self { verdict: decision.verdict, rule, content: None }
    }
}

/// The differences between two policies.
///
/// # Examples
/// ```
/// use ringfence_policy::{Source, compare, compile::compile, parse};
///
/// let read = |text: &str| vec![parse(&Source::new("p", text), None).document.unwrap().boundary];
/// let old = read("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n");
/// let new = read("boundary: 1\nfiles:\n  - { path: /srv/**, allow: [read] }\n");
/// let tables = [&old, &new].map(|side| compile(side, &Default::default()).unwrap());
/// let side = |boundaries, tables| compare::Side { boundaries, tables };
/// let all = compare::differences(side(&old, &tables[0]), side(&new, &tables[1]));
/// assert!(all.is_complete);
/// assert_eq!(all.differences[0].change(), compare::Change::Widened);
/// ```
pub fn differences(old: Side<'_>, new: Side<'_>) -> Comparison {
    let mut comparison = Comparison { differences: Vec::new(), is_complete: true };
    for (at, subject) in [
        (header::EXEC_AFTER_START, Subject::ExecAfterStart),
        (header::EXEC_ANONYMOUS, Subject::ExecAnonymous),
        (header::IO_URING, Subject::Ring),
        (header::SOCKET_VIOLATION, Subject::OtherSocket),
        (header::GUARD_VIOLATION, Subject::Guard),
    ] {
        let answer = |tables: &Tables| {
            let cell = Cell(tables.image.word(at).unwrap_or_default());
            let rule = tables.rule(cell.rule()).cloned();
            Answer { verdict: cell.verdict(), rule, content: None }
        };
        comparison.add(subject, answer(old.tables), answer(new.tables));
    }
    paths::compare(old.tables, new.tables, &mut comparison);
    addresses::compare(old.tables, new.tables, &mut comparison);
    serving::compare(old.tables, new.tables, &mut comparison);
    names::compare(old, new, &mut comparison);
    comparison
}

/// Ports that make an example easy to read.
const WELL_KNOWN: [u16; 3] = [443, 80, 22];

/// A port of an interval, one that people know if there is one.
fn example_port(first: u16, last: u16) -> u16 {
    WELL_KNOWN.into_iter().find(|port| (first..=last).contains(port)).unwrap_or(first)
}

impl Comparison {
    /// Tells a difference, if it is one.
    fn add(&mut self, subject: Subject, old: Answer, new: Answer) {
        if (old.verdict, old.content) != (new.verdict, new.content) {
            self.differences.push(Difference { subject, old, new });
        }
    }
}

#[cfg(test)]
mod tests;
