//! How questions to name servers get to the agent's resolver: the layouts of the map that has where
//! it is, and of the map in which it finds which server a process has named.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Address;

/// The port of name servers (RFC 1035, 4.2).
pub const PORT: u16 = 53;

/// A network namespace in which processes of a scope are: each has a loopback of its own, and so
/// ports of its own for the scope's resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Place {
    /// The namespace, by its cookie: no other ever has the same.
    pub network: u64,
    /// The scope's number.
    pub scope: u32,
    /// Fills the key.
    pub spare: u32,
}

impl Place {
    /// The key for a scope in a namespace.
    #[inline(always)]
    pub const fn new(scope: u32, network: u64) -> Self {
        Self { network, scope, spare: 0 }
    }
}

/// Places of all scopes that there is room for.
pub const MAX_PLACES: u32 = 1 << 14;

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
    /// The socket's network namespace, by its cookie: two may have sockets of the same address.
    pub network: u64,
}

impl Asker {
    /// The key for a socket of this address in a place.
    #[inline(always)]
    pub const fn new(place: Place, address: Address, port: u16, protocol: u8) -> Self {
        let Place { network, scope, .. } = place;
        Self { high: address.high, low: address.low, port, protocol, spare: 0, scope, network }
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
    /// The network namespace of its socket, by its cookie.
    pub network: u64,
}
