//! How questions to name servers get to the agent's resolver: the layout of the map in which it
//! finds which server a process has named.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Address;

/// The port of name servers (RFC 1035, 4.2).
pub const PORT: u16 = 53;

/// Who asks: the socket's own address, as the resolver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Asker {
    /// The upper 64 bits of the address.
    pub high: u64,
    /// The lower 64 bits of the address; IPv4 addresses are mapped.
    pub low: u64,
    /// Source port.
    pub port: u16,
    /// Number of the protocol, of TCP or UDP.
    pub protocol: u8,
    /// Fills the key.
    pub spare: u8,
    /// Number of the socket's scope.
    pub scope: u32,
}

impl Asker {
    /// The key for a socket of this address in a scope.
    #[inline(always)]
    pub const fn new(scope: u32, address: Address, port: u16, protocol: u8) -> Self {
        Self { high: address.high, low: address.low, port, protocol, spare: 0, scope }
    }
}

/// The server that a process has named, whose port is [`PORT`], and the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Named {
    /// The upper 64 bits of the address.
    pub high: u64,
    /// The lower 64 bits of the address; IPv4 addresses are mapped.
    pub low: u64,
    /// The process (thread group) that named it.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// `comm` of its task.
    pub comm: [u8; 16],
}
