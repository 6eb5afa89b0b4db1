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
}

impl Scope {
    /// Its name, empty for one that is none.
    pub fn name(&self) -> &str {
        let bytes = self.name.get(..self.name_length as usize).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

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
    /// 1 once the rest has been written: what is attached before that lets nothing through.
    pub is_set: u32,
}
