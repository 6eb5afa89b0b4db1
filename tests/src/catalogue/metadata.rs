//! Mode, owner, times, attributes. `metadata.rs` of the tests has more ways to each.

use super::{By, DENIED, FILES, Family, Kernel, Row, Stage, UNLISTED, refused};

pub(super) const FAMILY: Family = Family {
    title: "Metadata",
    test: "metadata are changed only where a file may be written",
    file: "metadata",
    policy: FILES,
    stage: Stage::Files,
    rows: ROWS,
    works: &["chmod {work}/file", "chmod-open {work}/file", "chown {work}/file"],
};

const ROWS: &[Row] = &[
    refused(
        "`chmod`, of a file outside or of one that may only be read",
        &["path_chmod"],
        &["chmod {out}/secret", "chmod {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`fchmod` through a descriptor that only reads",
        &["path_chmod"],
        &["chmod-open {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`fchmodat2`",
        &["path_chmod"],
        &["chmodat2 {out}/secret", "chmodat2 {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    )
    .lacking(&[(Kernel::Linux6_1, "the call came with Linux 6.6")]),
    refused(
        "`chown`, `lchown`, and `fchown` through a descriptor that only reads",
        &["path_chown"],
        &["chown {out}/secret", "lchown {out}/secret", "chown-open {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`utimensat`: times",
        &["inode_setattr"],
        &["set-times {out}/secret", "set-times {ro}/file", "set-times {work}/denied/secret"],
        "metadata",
        "fs_violation",
        By::Any,
    ),
    refused(
        "`setxattr`: extended attributes",
        &["inode_setxattr"],
        &["set-xattr {out}/secret", "set-xattr {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Access control lists",
        &["inode_set_acl", "inode_setxattr"],
        &["set-acl {out}/secret", "set-acl {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Extended attributes by an io_uring, whose worker has credentials of its own",
        &["inode_setxattr"],
        &["uring-set-xattr {ro}/file"],
        "metadata",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Where writing is denied",
        &["path_chmod", "path_chown"],
        &["chmod {work}/denied/secret", "chown {work}/denied/secret"],
        "metadata",
        "fs_violation",
        DENIED,
    ),
];
