//! Names for the numbers in records, as `errno(3)`, `socket(2)` and `capabilities(7)` have them.

use std::borrow::Cow;

fn named(number: u32, names: &[(u32, &'static str)]) -> Cow<'static, str> {
    names
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(|| Cow::Owned(number.to_string()), |(_, name)| Cow::Borrowed(*name))
}

/// The error that the caller got; `None` for 0.
pub(super) const fn errno(number: u8) -> Option<&'static str> {
    match number {
        0 => None,
        1 => Some("EPERM"),
        13 => Some("EACCES"),
        _ => Some("unknown"),
    }
}

/// An IP protocol.
pub(super) fn protocol(number: u8) -> Cow<'static, str> {
    named(u32::from(number), &[(6, "tcp"), (17, "udp")])
}

/// An address family.
pub(super) fn family(number: u8) -> Cow<'static, str> {
    named(
        u32::from(number),
        &[
            (1, "AF_UNIX"),
            (2, "AF_INET"),
            (10, "AF_INET6"),
            (16, "AF_NETLINK"),
            (17, "AF_PACKET"),
            (29, "AF_CAN"),
            (31, "AF_BLUETOOTH"),
            (38, "AF_ALG"),
            (40, "AF_VSOCK"),
            (43, "AF_SMC"),
            (44, "AF_XDP"),
        ],
    )
}

/// A type of socket.
pub(super) fn socket_type(number: u32) -> Cow<'static, str> {
    named(
        number,
        &[
            (1, "SOCK_STREAM"),
            (2, "SOCK_DGRAM"),
            (3, "SOCK_RAW"),
            (4, "SOCK_RDM"),
            (5, "SOCK_SEQPACKET"),
        ],
    )
}

/// Every capability (`linux/capability.h`).
pub(crate) const CAPABILITIES: &[(u32, &str)] = &[
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (2, "CAP_DAC_READ_SEARCH"),
    (3, "CAP_FOWNER"),
    (4, "CAP_FSETID"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (8, "CAP_SETPCAP"),
    (9, "CAP_LINUX_IMMUTABLE"),
    (10, "CAP_NET_BIND_SERVICE"),
    (11, "CAP_NET_BROADCAST"),
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (14, "CAP_IPC_LOCK"),
    (15, "CAP_IPC_OWNER"),
    (16, "CAP_SYS_MODULE"),
    (17, "CAP_SYS_RAWIO"),
    (18, "CAP_SYS_CHROOT"),
    (19, "CAP_SYS_PTRACE"),
    (20, "CAP_SYS_PACCT"),
    (21, "CAP_SYS_ADMIN"),
    (22, "CAP_SYS_BOOT"),
    (23, "CAP_SYS_NICE"),
    (24, "CAP_SYS_RESOURCE"),
    (25, "CAP_SYS_TIME"),
    (26, "CAP_SYS_TTY_CONFIG"),
    (27, "CAP_MKNOD"),
    (28, "CAP_LEASE"),
    (29, "CAP_AUDIT_WRITE"),
    (30, "CAP_AUDIT_CONTROL"),
    (31, "CAP_SETFCAP"),
    (32, "CAP_MAC_OVERRIDE"),
    (33, "CAP_MAC_ADMIN"),
    (34, "CAP_SYSLOG"),
    (35, "CAP_WAKE_ALARM"),
    (36, "CAP_BLOCK_SUSPEND"),
    (37, "CAP_AUDIT_READ"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
    (40, "CAP_CHECKPOINT_RESTORE"),
];

/// A capability.
pub(crate) fn capability(number: u32) -> Cow<'static, str> {
    named(number, CAPABILITIES)
}
