//! Descriptors that somebody else opened.

use super::{By, FILES, Family, Row, Stage, UNLISTED, refused};

pub(super) const FAMILY: Family = Family {
    title: "Descriptors from outside",
    test: "descriptors from outside are worth nothing",
    file: "descriptors",
    policy: FILES,
    stage: Stage::Mounts,
    rows: ROWS,
    works: &["pass-socket-to-child"],
};

const ROWS: &[Row] = &[
    refused(
        "A file passed over a Unix socket (`SCM_RIGHTS`)",
        &["file_receive"],
        &["receive {room}/file.sock"],
        "read",
        "fs_violation",
        UNLISTED,
    )
    .shows("/passed"),
    refused(
        "A file passed so, and opened to write",
        &["file_receive"],
        &["receive {room}/writable.sock"],
        "write",
        "fs_violation",
        UNLISTED,
    )
    .shows("/passed"),
    refused(
        "A folder passed so, to open files in it",
        &["file_receive", "file_open"],
        &["receive-folder {room}/folder.sock passed", "receive-folder {room}/listed.sock passed"],
        "read",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A folder passed so, of a tree that is mounted nowhere",
        &["file_open"],
        &["receive-folder {room}/detached.sock passed"],
        "read",
        "path_unresolved",
        By::Nothing,
    ),
    refused(
        "A file put into the process by the supervisor of its seccomp filter \
         (`SECCOMP_IOCTL_NOTIF_ADDFD`)",
        &["file_receive"],
        &["supervised {room}/supervisor.sock"],
        "read",
        "fs_violation",
        UNLISTED,
    )
    .shows("/passed"),
    refused(
        "A descriptor taken from a process outside with `pidfd_getfd`",
        &["ptrace_access_check"],
        &["take-descriptor {victim}"],
        "ptrace",
        "self_protection",
        By::Any,
    )
    .errno(libc::EPERM),
    refused(
        "A descriptor inherited from whoever started ringfence",
        &["launch"],
        &["read-descriptor {inherited}"],
        "",
        "",
        By::Nothing,
    )
    .always(libc::EBADF),
];
