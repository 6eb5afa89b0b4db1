//! The scopes that one set of kernel programs holds, and how the programs find the one of a task
//! or of a control group's hook.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Scopes that a set of programs has room for.
pub const MAX_SCOPES: u32 = 256;
/// Depth of the cgroup that all scopes are in, below the root of the hierarchy.
pub const PARENT_LEVEL: u32 = 1;
/// Depth of a scope's cgroup.
pub const LEVEL: u32 = 2;
/// Bytes of a scope's name.
pub const NAME_BYTES: usize = 64;

/// Ports of a scope's resolver; 0 where it has none.
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

/// A scope, as the agent writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Scope {
    /// Identifier of its cgroup; 0 for a place that is free.
    pub cgroup: u64,
    /// Its resolver.
    pub resolver: Resolver,
    /// Not 0 while it is being ended: no governed task may fork any more, so that a list of them
    /// has an end.
    pub closing: u32,
    /// Bytes of its name.
    pub name_length: u32,
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
    /// The scope's resolver.
    pub resolver: Resolver,
    /// The scope's number.
    pub scope: u32,
    /// What the scope's policy has for these hooks, of [`on`], so that they need not look into it. 0
    /// until the rest has been written: what is attached before that lets nothing through.
    pub on: u32,
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
}
