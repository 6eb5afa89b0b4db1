//! Ways out over the network. Each is tried by a test of its own, which makes a network for it.

/// A way out, and the test that tries it without a boundary, where it succeeds, and with one.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// What an attacker would do.
    pub way: &'static str,
    /// What closes it.
    pub closed_by: &'static str,
    /// The test's sentence.
    pub test: &'static str,
}

const DESTINATIONS: &str =
    "only listed destinations are reached, by whatever call and in whatever words";
const ROUTES: &str = "no packet is routed by options to where no rule lets it go";
const KINDS: &str = "sockets that are not TCP, UDP or Unix are not made";
const FROM_OUTSIDE: &str =
    "a socket from outside reaches nothing more, and a program may pass its own on";
const UNLISTED: &str = "a name that no rule lists is refused, and nothing of the question leaves";
const TUNNEL: &str = "a tunnel through questions carries nothing, whatever way is asked";
const PORT_53: &str = "port 53 of whatever server carries nothing but questions and answers";
const PORT_853: &str =
    "names over TLS have no way past the resolver where their port is not listed";
const NAMED: &str = "whichever name server is named seems to be the one that answers";
const ASKED: &str = "an address is reached only after its name was asked for, at listed ports only";
const ENDED: &str =
    "after its time and the grace an address is closed to new connections, and old ones go on";
const REBINDING: &str = "an allowed name that leads to inner addresses opens none and tells none";
const ELSEWHERE: &str = "a network without a resolver has its questions refused, until it has one";
const LIES: &str =
    "what an answer says besides its answer, or another says in its place, opens nothing";
const CUT: &str =
    "another name at the same address, no name or no TLS is cut before the server sees any";

/// Every way, in the order of the page.
pub const NETWORK: &[Tried] = &[
    tried(
        "Connecting over TCP, also by Fast Open inside a send, and by an io_uring",
        "`socket_connect`, `socket_sendmsg`, `connect4`, `connect6`, `egress`",
        DESTINATIONS,
    ),
    tried(
        "Sending datagrams: `sendto`, `sendmsg`, `sendmmsg`, connected, to an address without a family",
        "`socket_connect`, `socket_sendmsg`, `egress`",
        DESTINATIONS,
    ),
    tried(
        "An address in other words: IPv4-mapped, `0.0.0.0`, `::`",
        "the same, after both are brought into one form",
        DESTINATIONS,
    ),
    tried(
        "A route of the sender's choice: IPv4 options, routing headers of IPv6",
        "`egress`",
        ROUTES,
    ),
    tried(
        "Raw, packet, ping, MPTCP, SCTP, UDP-Lite, vsock, AF_ALG, AF_XDP, other netlink",
        "`socket_create`",
        KINDS,
    ),
    tried(
        "A socket that a process outside has made, and hands over",
        "`file_receive`",
        FROM_OUTSIDE,
    ),
    tried(
        "Looking up a name that no rule lists, and so telling its owner something",
        "the resolver",
        UNLISTED,
    ),
    tried(
        "A tunnel: long labels, other types of record, by UDP and TCP, by any server",
        "the resolver",
        TUNNEL,
    ),
    tried(
        "Other things than questions to port 53",
        "`connect4`, `sendmsg4` and those for IPv6, `egress`, the resolver",
        PORT_53,
    ),
    tried(
        "Names over TLS or QUIC (853)",
        "`socket_connect`, `socket_sendmsg`: a rule must list the port",
        PORT_853,
    ),
    tried(
        "A name server of the process's own choice, which answers what it likes",
        "the resolver asks trusted servers alone",
        NAMED,
    ),
    tried(
        "A container's network, to which the resolver has not come, and a helper there at its port",
        "`connect4`, `sendmsg4` and those for IPv6, by the socket's network namespace",
        ELSEWHERE,
    ),
    tried(
        "An address of an allowed host that was not looked up, or another port of it",
        "`socket_connect`, by the table of addresses",
        ASKED,
    ),
    tried("An address after its time", "the same", ENDED),
    tried(
        "Rebinding: an allowed name that leads to metadata services, loopback or private networks",
        "the resolver",
        REBINDING,
    ),
    tried("Poison in an answer, and answers of somebody else", "the resolver", LIES),
    tried(
        "Another host at a shared address, or no TLS at its port 443",
        "`egress`, which reads the server's name",
        CUT,
    ),
];

const fn tried(way: &'static str, closed_by: &'static str, test: &'static str) -> Tried {
    Tried { way, closed_by, test }
}
