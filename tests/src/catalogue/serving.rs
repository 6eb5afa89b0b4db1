//! Serving others: reverse shells, and servers that were only meant for the scope itself.

use libc::EPERM;

use super::{By, Family, Row, Stage, refused};

pub(super) const FAMILY: Family = Family {
    title: "Serving others",
    test: "nobody outside is served on a port that no rule lists",
    file: "serving",
    policy: POLICY,
    stage: Stage::Network,
    rows: ROWS,
    works: &[
        "serve-tcp 0.0.0.0 20100 10.77.0.1 {room}/visitor.sock",
        "serve-tcp 10.77.0.1 20101 10.77.0.1 {room}/visitor.sock",
        "serve-tcp 127.0.0.1 20100 127.0.0.1 {room}/neighbour.sock",
        "serve-udp 0.0.0.0 20102 10.77.0.1 {room}/visitor.sock",
        "serve-self 127.0.0.1 127.0.0.1",
        "serve-self 0.0.0.0 127.0.0.1",
        "serve-self :: ::1",
        "serve-self :: 127.0.0.1",
        "serve-self-udp 127.0.0.1 20103",
        "ask-udp 10.77.0.2 5300",
    ],
};

/// A port is that of the run: 1,000 higher in enforce mode, 2,000 in observe mode.
const POLICY: &str = r#"boundary: 1
egress:
  - { cidr: "10.77.0.2/32", ports: [5300], protocol: udp }
  - { cidr: "127.0.0.1/32", ports: [21103, 22103], protocol: udp }
listen:
  - { port: 21100, protocol: tcp }
  - { port: 22100, protocol: tcp }
  - { port: 21101, protocol: tcp }
  - { port: 22101, protocol: tcp }
  - { port: 21104, protocol: tcp }
  - { port: 22104, protocol: tcp }
  - { port: 21102, protocol: udp }
  - { port: 22102, protocol: udp }
"#;

/// Nothing allows it.
const UNLISTED: By = By::Default("listen:");

const fn dropped(way: &'static str, acts: &'static [&'static str]) -> Row {
    refused(way, &["ingress"], acts, "listen", "egress_violation", UNLISTED).somehow()
}

const ROWS: &[Row] = &[
    dropped(
        "A connection from another machine, to a server on all addresses",
        &[
            "serve-tcp 0.0.0.0 20200 10.77.0.1 {room}/visitor.sock",
            "serve-tcp :: 20201 10.77.0.1 {room}/visitor.sock",
            "serve-tcp :: 20202 fd77::1 {room}/visitor.sock",
        ],
    ),
    dropped(
        "The same to a socket that was never bound",
        &["serve-unbound 10.77.0.1 {room}/visitor.sock"],
    ),
    dropped(
        "A connection from a process outside on the same machine",
        &[
            "serve-tcp 127.0.0.1 20203 127.0.0.1 {room}/neighbour.sock",
            "serve-tcp ::1 20204 ::1 {room}/neighbour.sock",
            "serve-tcp 0.0.0.0 20205 10.77.0.1 {room}/neighbour.sock",
            "serve-unbound 127.0.0.1 {room}/neighbour.sock",
        ],
    ),
    dropped(
        "A datagram that is no answer",
        &[
            "serve-udp 0.0.0.0 20206 10.77.0.1 {room}/visitor.sock",
            "serve-udp :: 20207 fd77::1 {room}/visitor.sock",
            "serve-udp 127.0.0.1 20208 127.0.0.1 {room}/neighbour.sock",
            "serve-udp 0.0.0.0 20104 10.77.0.1 {room}/visitor.sock",
        ],
    ),
    refused(
        "Listening on an address at which only others could come",
        &["socket_listen"],
        &["serve-listening-only 10.77.0.1 20209", "serve-listening-only fd77::1 20210"],
        "listen",
        "egress_violation",
        UNLISTED,
    )
    .errno(EPERM),
    refused(
        "A listening socket that a process outside hands over",
        &["file_receive"],
        &["serve-taken {room}/listener.sock"],
        "socket",
        "forbidden_socket",
        By::Any,
    )
    .errno(EPERM),
];
