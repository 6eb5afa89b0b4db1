//! Decisions about making sockets: an allowlist of kinds, since what is not TCP, UDP or a Unix
//! socket goes past every rule about addresses.

use crate::{Cell, Decision, Image, Reason, egress, image::header};

/// Address families, as `socket(2)` numbers them.
pub mod family {
    /// Unix sockets.
    pub const UNIX: u32 = 1;
    /// IPv4.
    pub const INET: u32 = 2;
    /// IPv6.
    pub const INET6: u32 = 10;
    /// Netlink.
    pub const NETLINK: u32 = 16;
}

const STREAM: u32 = 1;
const DGRAM: u32 = 2;
const RAW: u32 = 3;
const SEQPACKET: u32 = 5;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
/// `NETLINK_ROUTE`: what `getifaddrs` reads. Changing the network by it needs `CAP_NET_ADMIN`.
const NETLINK_ROUTE: u32 = 0;

/// Whether a socket of this kind may be made. `kind` is the type without its flag bits.
#[inline(always)]
pub fn decide<I: Image + ?Sized>(image: &I, family: u32, kind: u32, protocol: u32) -> Decision {
    if !egress::governs(image) || is_listed(family, kind, protocol) {
        return Decision::ALLOW;
    }
    match image.word(header::SOCKET_VIOLATION) {
        Some(word) => Decision::of(Cell(word), Reason::ForbiddenSocket),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

#[inline(always)]
const fn is_listed(family: u32, kind: u32, protocol: u32) -> bool {
    match family {
        family::UNIX => matches!(kind, STREAM | DGRAM | SEQPACKET),
        family::INET | family::INET6 => {
            (kind == STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
                || (kind == DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
        }
        family::NETLINK => (kind == RAW || kind == DGRAM) && protocol == NETLINK_ROUTE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_kinds_of_socket_are_listed() {
        let listed = [(1, 1, 0), (1, 5, 0), (2, 1, 0), (2, 1, 6), (10, 2, 17), (16, 3, 0)];
        let unlisted = [
            (2, 3, 1),    // raw ICMP
            (2, 2, 1),    // ping
            (2, 1, 132),  // SCTP
            (2, 1, 262),  // MPTCP
            (2, 2, 136),  // UDP-Lite
            (17, 3, 768), // packet
            (40, 1, 0),   // vsock
            (38, 5, 0),   // AF_ALG
            (44, 3, 0),   // AF_XDP
            (16, 3, 12),  // netfilter netlink
            (1, 3, 0),    // Unix raw
            (0, 0, 0),
        ];
        assert!(listed.iter().all(|(f, k, p)| is_listed(*f, *k, *p)));
        assert!(unlisted.iter().all(|(f, k, p)| !is_listed(*f, *k, *p)));
    }
}
