//! The scopes that one set of kernel programs holds, and how the programs find the one of a task
//! or of a control group's hook.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Scopes that a set of programs has room for.
pub const MAX_SCOPES: u32 = 256;
/// Depth of the cgroup that all scopes are in, below the root of the hierarchy.
pub const PARENT_LEVEL: u32 = 1;
/// Depth of a scope's cgroup.
pub const LEVEL: u32 = 2;
/// The place among images and rings that no scope has: the selectors of the agent's configuration,
/// and the ring of notices.
pub const NOBODY: u32 = 0;
/// Bytes of a scope's name.
pub const NAME_BYTES: usize = 64;

/// Ports of a scope's resolver in a network namespace; 0 where it has none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Resolver {
    /// At 127.0.0.1; 0 where questions to name servers are judged like everything else.
    pub v4: u32,
    /// At ::1.
    pub v6: u32,
}

/// Who has brought a scope into force, and what holds for it therefore: [`Scope::kind`].
pub mod kind {
    /// Nobody: the place is free.
    pub const FREE: u32 = 0;
    /// A run: one control group, and the scope ends with its command.
    pub const RUN: u32 = 1;
    /// The long-running agent: any number of control groups, and the scope stays when the agent
    /// ends.
    pub const SERVICE: u32 = 2;
}

/// A scope, as the agent writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Scope {
    /// Identifier of its cgroup; 0 for a scope of the long-running agent.
    pub cgroup: u64,
    /// Its resolver, in the network namespace of the agent.
    pub resolver: Resolver,
    /// Not 0 while it is being ended: no governed task may fork any more, so that a list of them
    /// has an end.
    pub closing: u32,
    /// Bytes of its name.
    pub name_length: u32,
    /// One of [`kind`].
    pub kind: u32,
    /// The generation of the policy of which verdicts may be remembered: that in force, or the one
    /// that is about to be.
    pub generation: u32,
    /// Its name, filled up with zeros.
    pub name: [u8; NAME_BYTES],
    /// What people ask of it.
    pub about: About,
}

impl Scope {
    /// Its name, empty for one that is none.
    pub fn name(&self) -> &str {
        let bytes = self.name.get(..self.name_length as usize).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// What no program asks of a scope, and people do: kept here, where it outlives the process that
/// brought the scope into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct About {
    /// When the scope came into force: nanoseconds on `CLOCK_BOOTTIME`; 0 before.
    pub since: u64,
    /// SHA-256 of the policy image.
    pub policy: [u8; 32],
    /// The process that brought it into force, by the number that this has to itself.
    pub process: u32,
    /// [`ENFORCES`] where any group of its policy refuses, [`OBSERVES`] where any only records.
    pub modes: u32,
    /// Documents of the policy.
    pub documents: u32,
    /// How many things they ask for that are not enforced.
    pub missing: u32,
    /// The file of the first document, filled up with zeros; of a long one its end, after `…`.
    pub document: [u8; DOCUMENT_BYTES],
    /// What is not enforced, a line each, filled up with zeros: as many as there is room for.
    pub pieces: [u8; PIECES_BYTES],
}

/// In [`About::modes`]: what some group does not allow is refused.
pub const ENFORCES: u32 = 1;
/// In [`About::modes`]: what some group does not allow is only recorded.
pub const OBSERVES: u32 = 2;
/// Bytes for the name of a document's file.
pub const DOCUMENT_BYTES: usize = 128;
/// Bytes for what is not enforced.
pub const PIECES_BYTES: usize = 256;

/// What the hooks of a control group know of the scope that they are attached for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Here {
    /// Identifier of the cgroup.
    pub cgroup: u64,
    /// The scope's number.
    pub scope: u32,
    /// Depth of the cgroup below the root of the hierarchy.
    pub level: u32,
    /// Fills the structure.
    pub spare: u32,
    /// What the scope's policy has for these hooks, of [`on`], so that they need not look into it. 0
    /// until the rest has been written: what is attached before that lets nothing through.
    pub on: u32,
}

/// A cgroup whose processes, and those in cgroups below, are governed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Member {
    /// The scope's number, or [`HELD`]; 0 for a cgroup that is governed no more, while tasks may
    /// still have the label.
    pub scope: u32,
    /// Depth of the cgroup below the root of the hierarchy.
    pub level: u32,
    /// 1 when the programs of control groups are attached to it, or the policy has nothing for
    /// them. Before that no process in it may use the network.
    pub is_attached: u32,
    /// Fills the structure.
    pub spare: u32,
}

/// In place of a scope's number: which scope the cgroup belongs to is not known yet, and until it
/// is no program may be started in it, but by who has all of [`INFRASTRUCTURE`]: the agent may be in
/// a container itself, and so may be what it needs to learn the rest.
pub const HELD: u32 = u32::MAX;
/// The capabilities by which privileged containers are known (`linux/capability.h`), on the host:
/// `CAP_NET_ADMIN`, `CAP_SYS_MODULE`, `CAP_SYS_PTRACE`, `CAP_SYS_ADMIN` and `CAP_BPF`. Who has them is
/// root on the machine, wherever it runs.
pub const INFRASTRUCTURE: u64 = 1 << 12 | 1 << 16 | 1 << 19 | 1 << 21 | 1 << 39;
/// In place of a scope's number, among selectors only: which scope the cgroup belongs to is not
/// known yet, and until it is nothing in it is governed.
pub const UNHELD: u32 = u32::MAX - 1;
/// Cgroups whose processes are governed, of all scopes of a set of programs.
pub const MAX_MEMBERS: u32 = 1 << 14;

/// What the programs ask of the agent, and the agent has done, about tasks that are governed and
/// have no label yet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Watch {
    /// How often something happened after which a task may lack its label. Counted by programs,
    /// and by the agent before it changes which cgroups are governed.
    pub asked: u64,
    /// The count of [`Self::asked`] up to which all tasks have theirs. While it is another, every
    /// hook looks at the cgroups of every task.
    pub done: u64,
    /// Cgroups that should be governed and were not entered, for want of room, or that the agent
    /// was not told of.
    pub missed: u64,
    /// The count of [`Self::missed`] up to which the agent has entered all. While it is another, as
    /// it is while the agent looks at all cgroups, what is moved into a cgroup without an entry is
    /// judged by that cgroup's path.
    pub entered: u64,
    /// 1 when programs select scopes, so that each that is executed is looked at.
    pub programs: u32,
    /// What the walk over all tasks is to do: one of [`walk`].
    pub walk: u32,
    /// The scope whose labels it takes away.
    pub target: u32,
    /// The agent's thread while it shows its own files: each whose attributes it asks for is noted.
    pub shower: u32,
    /// What it shows: one of [`own`].
    pub shown: u32,
    /// How often it has shown all; 0 while none are noted.
    pub round: u32,
    /// How often the file was noted that is shown.
    pub noted: u32,
    /// Fills the structure.
    pub spare: u32,
}

/// A file as the kernel tells it from all others, by whatever name, and from one that gets its
/// number after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OwnFile {
    /// `super_block.s_dev`.
    pub device: u32,
    /// `inode.i_generation`.
    pub generation: u32,
    /// `inode.i_ino`.
    pub inode: u64,
}

/// What is noted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Noted {
    /// One of [`own`].
    pub kind: u32,
    /// The [`Watch::round`] in which it was shown last.
    pub round: u32,
}

/// Files of the agent that are noted at a time, with the folders that lead to them.
pub const MAX_OWN: u32 = 4096;

/// How a file matters to the agent.
pub mod own {
    /// It is the agent's own, with all that is in it if it is a folder: nobody who is governed
    /// changes it.
    pub const FILE: u32 = 1;
    /// A folder or link on the way to one, which nobody who is governed removes or renames.
    pub const ABOVE: u32 = 2;
}

/// What a walk over all tasks does: [`Watch::walk`].
pub mod walk {
    /// Labels those in a governed cgroup, and gives those the right label whose cgroup is another
    /// scope's now, or none's.
    pub const LABEL: u32 = 0;
    /// Takes the labels of a scope away, which is out of force.
    pub const FORGET: u32 = 1;
}

/// Kinds of [`Starter`]s.
pub mod starter {
    /// A container runtime, or what starts one.
    pub const RUNTIME: u32 = 1;
    /// The service manager.
    pub const MANAGER: u32 = 2;
}

/// A program that puts processes into cgroups and is not governed while it does: a container
/// runtime, or the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Starter {
    /// Device of the file system, as the kernel has it (`s_dev`).
    pub device: u32,
    /// Fills the structure.
    pub spare: u32,
    /// Number of the inode.
    pub inode: u64,
}

/// Programs that there is room for.
pub const MAX_STARTERS: u32 = 64;
/// Rules of a table of selectors that there is room for.
pub const MAX_SELECTORS: u32 = 1 << 15;

/// How far the events of a scope have been told: kept for the agent that comes after one that was
/// killed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Told {
    /// Number of the last event.
    pub last: u64,
    /// How many of all were losses.
    pub lost: u64,
}

/// What the programs tell the agent of cgroups: a record in the ring of scope 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Notice {
    /// One of [`notice`].
    pub kind: u32,
    /// The scope's number.
    pub scope: u32,
    /// Identifier of the cgroup.
    pub cgroup: u64,
    /// The process that it is about.
    pub process: u32,
    /// Fills the structure.
    pub spare: u32,
}

/// What a [`Notice`] is about.
pub mod notice {
    /// A cgroup was made that is governed.
    pub const BEGAN: u32 = 1;
    /// A cgroup that was governed is gone.
    pub const ENDED: u32 = 2;
    /// A process is governed since it executes a program that selects a scope.
    pub const SELECTED: u32 = 3;
    /// A process that was put together by a starter executes its own program.
    pub const STARTED: u32 = 4;
    /// A task may lack its label: [`Watch::asked`](super::Watch::asked) was counted up.
    pub const ASKED: u32 = 5;
}

/// Bits of [`Here::on`].
pub mod on {
    /// The rest has been written.
    pub const SET: u32 = 1;
    /// Destinations are governed.
    pub const EGRESS: u32 = 2;
    /// Serving is governed.
    pub const SERVING: u32 = 4;
    /// A rule is about names, so that connections may have to name their server.
    pub const NAMES: u32 = 8;
    /// There is a budget of connections.
    pub const CONNECTIONS: u32 = 16;
    /// There is a budget of bytes sent.
    pub const SENT: u32 = 32;
    /// Questions to name servers go to the scope's resolver, or nowhere.
    pub const RESOLVER: u32 = 64;
}
