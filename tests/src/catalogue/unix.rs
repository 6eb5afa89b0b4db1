//! Unix sockets of processes outside the scope, by path and by abstract name.

use libc::EPERM;

use super::{By, Family, Row, Stage, refused};

pub(super) const FAMILY: Family = Family {
    title: "Unix sockets of processes outside",
    test: "Unix sockets of processes outside are reached only where a rule says so",
    file: "unix",
    policy: POLICY,
    stage: Stage::Sockets,
    rows: ROWS,
    works: &[
        "unix-connect {room}/listed.sock",
        "unix-connect-packets {room}/listed-packets.sock",
        "unix-send {room}/listed-log.sock",
        "unix-connect-datagrams {room}/listed-log.sock",
        "unix-connect {room}/written.sock",
        "unix-connect @rf-test/listed",
        "unix-own {work}/own.sock",
        "unix-own-datagrams {work}/own-log.sock",
        "unix-own @rf-test-own{base}",
        "unix-own-datagrams @rf-test-own{base}",
        "socketpair",
        "unix-pair-of-datagrams",
        "pass-socket-to-child",
        "uring-connect-unix {room}/listed.sock async",
    ],
};

const POLICY: &str = r#"boundary: 1
io_uring: allow
files:
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/written.sock", allow: [content] }
  - { path: "{room}/read.sock", allow: [read] }
  - { path: "{room}/denied.sock", deny: [write] }
sockets:
  - { path: "{room}/listed*.sock" }
  - { path: "{room}/passing.sock" }
  - { path: "{room}/denied.sock" }
  - { path: "@rf-test/listed*" }
"#;

/// Nothing allows it.
const UNLISTED: By = By::Default("sockets:");
const CONNECT: &[&str] = &["unix_stream_connect"];
const SEND: &[&str] = &["unix_may_send"];

const fn closed(
    way: &'static str,
    hooks: &'static [&'static str],
    acts: &'static [&'static str],
    action: &'static str,
    reason: &'static str,
    by: By,
) -> Row {
    refused(way, hooks, acts, action, reason, by).errno(EPERM)
}

const ROWS: &[Row] = &[
    closed(
        "A service at a path (docker, systemd, D-Bus, agents of keys)",
        CONNECT,
        &[
            "unix-connect {room}/closed.sock",
            "unix-connect /proc/self/root{room}/closed.sock",
            "unix-connect-packets {room}/closed-packets.sock",
        ],
        "connect",
        "fs_violation",
        UNLISTED,
    )
    .shows("/closed"),
    closed(
        "The same by another name that leads there",
        CONNECT,
        &["unix-connect {work}/link"],
        "connect",
        "fs_violation",
        UNLISTED,
    )
    .shows("/closed.sock"),
    closed(
        "A service whose path may only be read",
        CONNECT,
        &["unix-connect {room}/read.sock"],
        "connect",
        "fs_violation",
        UNLISTED,
    ),
    closed(
        "A service at a path that one rule lists and another denies to be written",
        CONNECT,
        &["unix-connect {room}/denied.sock"],
        "connect",
        "fs_violation",
        By::Rule("deny: [write]"),
    ),
    closed(
        "A datagram to a path, and connecting to send some",
        SEND,
        &["unix-send {room}/closed-log.sock", "unix-connect-datagrams {room}/closed-log.sock"],
        "send",
        "fs_violation",
        UNLISTED,
    )
    .shows("/closed-log.sock"),
    closed(
        "A service with an abstract name",
        CONNECT,
        &["unix-connect @rf-test/closed"],
        "connect",
        "egress_violation",
        UNLISTED,
    )
    .shows("@rf-test/closed"),
    closed(
        "A datagram to an abstract name",
        SEND,
        &["unix-send @rf-test/closed-log"],
        "send",
        "egress_violation",
        UNLISTED,
    )
    .shows("@rf-test/closed-log"),
    closed(
        "Connecting by an io_uring, at once and by a worker",
        CONNECT,
        &[
            "uring-connect-unix {room}/closed.sock now",
            "uring-connect-unix {room}/closed.sock async",
            "uring-connect-unix @rf-test/closed async",
        ],
        "connect",
        "fs_violation|egress_violation",
        UNLISTED,
    ),
    closed(
        "A socket that was connected by a process outside, and is handed over",
        &["file_receive"],
        &["unix-take-connected {room}/passing.sock"],
        "connect",
        "fs_violation",
        UNLISTED,
    )
    .shows("/closed.sock"),
    closed(
        "A service that was bound in another mount namespace, though its path is listed",
        CONNECT,
        &["unix-connect {room}/listed-elsewhere.sock"],
        "connect",
        "path_unresolved",
        By::Nothing,
    ),
];
