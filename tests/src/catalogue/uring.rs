//! io_uring: operations without a system call of their own, some by a worker of the kernel.

use libc::EPERM;

use super::{By, FILES, Family, Row, Stage, UNLISTED, open, refused};

pub(super) const FAMILY: Family = Family {
    title: "io_uring",
    test: "no operation of a ring does what its system call may not",
    file: "uring",
    policy: FILES,
    stage: Stage::Files,
    rows: ROWS,
    works: &[
        "uring-open {work}/file now",
        "uring-open {work}/file async",
        "uring-open-fixed {work}/file now",
        "uring-mkdir {work}/new async",
    ],
};

const ROWS: &[Row] = &[
    refused(
        "Opening, at once and by a worker",
        &["file_open"],
        &["uring-open {out}/secret now", "uring-open {out}/secret async"],
        "read",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Opening into the ring's own table of files, past the process's",
        &["file_open"],
        &["uring-open-fixed {out}/secret now", "uring-open-fixed {out}/secret async"],
        "read",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`IORING_OP_MKDIRAT`, `IORING_OP_SYMLINKAT`",
        &["path_mkdir", "path_symlink"],
        &["uring-mkdir {out}/new async", "uring-symlink {work}/file {out}/new async"],
        "create",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`IORING_OP_UNLINKAT`",
        &["path_unlink"],
        &["uring-unlink {out}/secret async"],
        "delete",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`IORING_OP_RENAMEAT`",
        &["path_rename"],
        &["uring-rename {out}/secret {work}/moved async"],
        "rename",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`IORING_OP_LINKAT`",
        &["path_link"],
        &["uring-link {out}/secret {work}/linked async"],
        "link",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A ring with a thread of its own, and requests with other credentials",
        &["uring_sqpoll", "uring_override_creds"],
        &["uring-sqpoll", "uring-personality"],
        "uring",
        "forbidden_uring",
        By::Any,
    )
    .errno(EPERM),
    open(
        "A file that a process outside puts into a ring of the scope (`IORING_OP_MSG_RING`)",
        &["uring-read-passed {room}/ring.sock"],
        "The kernel asks no security module when a file goes from ring to ring. It takes a process \
         outside that may do to the ring what a debugger may, and helps; such a one could as well \
         write what it reads into a pipe.",
    ),
];
