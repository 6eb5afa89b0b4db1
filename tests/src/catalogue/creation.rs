//! Making and removing names.

use super::{By, DENIED, FILES, Family, Row, Stage, UNLISTED, refused};

pub(super) const FAMILY: Family = Family {
    title: "Making and removing names",
    test: "nothing is made or removed outside the workspace, nor a device within",
    file: "creation",
    policy: FILES,
    stage: Stage::Files,
    rows: ROWS,
    works: &[
        "create {work}/new",
        "mkdir {work}/new",
        "mknod {work}/new",
        "unlink {work}/file",
        "symlink /etc/shadow {work}/symlink",
        "bind-socket {work}/socket",
        "tmpfile {work}",
    ],
};

const ROWS: &[Row] = &[
    refused(
        "`O_CREAT`",
        &["path_mknod"],
        &["create {out}/new"],
        "create",
        "fs_violation",
        UNLISTED,
    ),
    refused("`O_TMPFILE`", &["file_open"], &["tmpfile {out}"], "write", "fs_violation", UNLISTED),
    refused(
        "`mkdir`, `mknod`, `symlink`",
        &["path_mkdir", "path_mknod", "path_symlink"],
        &["mkdir {out}/new", "mknod {out}/new", "symlink {work}/file {out}/new"],
        "create",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Binding a Unix socket to a path",
        &["path_mknod"],
        &["bind-socket {out}/socket"],
        "create",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`unlink`, `rmdir`",
        &["path_unlink", "path_rmdir"],
        &["unlink {out}/secret", "rmdir {out}/empty", "unlink {ro}/file"],
        "delete",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Making names where it is denied",
        &["path_mknod", "path_mkdir"],
        &["create {work}/denied/new", "mkdir {work}/denied/new"],
        "create",
        "fs_violation",
        DENIED,
    ),
    refused(
        "Removing names where it is denied",
        &["path_unlink"],
        &["unlink {work}/denied/secret"],
        "delete",
        "fs_violation",
        DENIED,
    ),
    refused(
        "A device node in the workspace: the machine's memory, a disk",
        &["capable"],
        &["mknod-device {work}/memory 8192 1 1", "mknod-device {work}/disk 24576 7 0"],
        "capability",
        "forbidden_capability",
        By::Any,
    )
    .errno(libc::EPERM),
];
