//! Names that are long, deep or odd: judged rightly, or refused with the reason.

use super::{By, Family, Row, Stage, UNLISTED, refused};

pub(super) const FAMILY: Family = Family {
    title: "Long, deep and odd names",
    test: "long, deep and odd names are judged rightly, or refused as too long",
    file: "odd",
    policy: POLICY,
    stage: Stage::Names,
    rows: ROWS,
    works: &[
        "deep-read {room}/deep/work {long} 15 {fit-work}",
        "deep-read {room}/deep/work d 2000 leaf",
        "open-both {work}/{long}",
        "open-both {work}/a%0Ab",
        "open-both {work}/a%FFb",
        "open-both {work}/a\\x41b",
        "open-both {work}/%20",
        "open-both {work}/%252e",
        "create {work}/new%FF%01%7F",
    ],
};

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/fat/**", allow: [read] }
  - { path: "{room}/fat/secret", deny: [read] }
"#;

const ROWS: &[Row] = &[
    refused(
        "A path of 4,096 bytes",
        &["file_open"],
        &["deep-read {room}/deep/out {long} 15 {fit-out}"],
        "read",
        "fs_violation",
        UNLISTED,
    )
    .shows("f"),
    refused(
        "A path of 2,000 folders",
        &["file_open"],
        &["deep-read {room}/deep/out d 2000 leaf"],
        "read",
        "fs_violation",
        UNLISTED,
    )
    .shows("/d/d/d/leaf"),
    refused(
        "A path longer than a path can be, reached step by step",
        &["file_open"],
        &["deep-read {room}/deep/work {long} 18 leaf", "deep-read {room}/deep/out {long} 18 leaf"],
        "read",
        "path_too_long",
        By::Nothing,
    ),
    refused(
        "A name of 255 bytes",
        &["file_open"],
        &["open-read {out}/{long}"],
        "read",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A newline, a space, a percent sign or a backslash in a name",
        &["file_open"],
        &[
            "open-read {out}/a%0Ab",
            "open-read {out}/%20",
            "open-read {out}/%252e",
            "open-read {out}/a\\x41b",
        ],
        "read",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A name that is not UTF-8",
        &["file_open"],
        &["open-read {out}/a%FFb"],
        "read",
        "fs_violation",
        UNLISTED,
    )
    .shows("a\\xffb"),
    refused(
        "Creating a name that is not UTF-8",
        &["path_mknod"],
        &["create {out}/new%FF%01"],
        "create",
        "fs_violation",
        By::Any,
    ),
    refused(
        "What a rule denies, in other letters, on a file system that does not tell upper from lower \
         case (FAT; exFAT, NTFS and ext4 with `casefold` are told by the same mark)",
        &["file_open"],
        &["open-read {room}/fat/SECRET"],
        "read",
        "path_unresolved",
        By::Nothing,
    ),
];
