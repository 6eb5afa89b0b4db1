//! Renames: both ends are judged, in both directions, and nothing gains rights.

use super::{By, DENIED, FILES, Family, Row, Stage, UNLISTED, UNREAD, refused};

pub(super) const FAMILY: Family = Family {
    title: "Renames",
    test: "names are not moved across the boundary",
    file: "renames",
    policy: FILES,
    stage: Stage::Files,
    rows: ROWS,
    works: &[
        "rename {work}/file {work}/sub/moved",
        "rename {work}/sub {work}/moved",
        "exchange {work}/file {work}/sub/file",
        "whiteout {work}/file {work}/sub/moved",
    ],
};

const ROWS: &[Row] = &[
    refused(
        "Out of the workspace, to a new or an old name",
        &["path_rename"],
        &["rename {work}/file {out}/moved", "rename {work}/file {out}/secret"],
        "rename",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "Into the workspace, to a new or an old name",
        &["path_rename"],
        &["rename {out}/secret {work}/moved", "rename {out}/secret {work}/file"],
        "rename",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "From or over what is denied",
        &["path_rename"],
        &[
            "rename {work}/denied/secret {work}/moved",
            "rename {work}/file {work}/denied/secret",
            "exchange {work}/file {work}/denied/secret",
        ],
        "rename",
        "fs_violation",
        DENIED,
    ),
    refused(
        "`RENAME_EXCHANGE` across the boundary, in both directions",
        &["path_rename"],
        &["exchange {work}/file {out}/secret", "exchange {out}/secret {work}/file"],
        "rename",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "`RENAME_WHITEOUT` across the boundary, in both directions",
        &["path_rename"],
        &["whiteout {work}/file {out}/moved", "whiteout {out}/secret {work}/moved"],
        "rename",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A folder across the boundary, or the workspace itself",
        &["path_rename"],
        &[
            "rename {work}/sub {out}/moved",
            "rename {out}/folder {work}/moved",
            "rename {work} {base}/moved",
        ],
        "rename",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "To a name by which it may be read, or that takes one's place",
        &["path_rename"],
        &[
            "rename {work}/unread/secret {work}/moved",
            "rename {work}/unread/secret {work}/file",
            "exchange {work}/unread/secret {work}/file",
            "exchange {work}/file {work}/unread/secret",
        ],
        "rename",
        "rights_widened",
        UNREAD,
    ),
    refused(
        "A folder between trees that are ruled differently",
        &["path_rename"],
        &[
            "rename {work}/unread {work}/moved",
            "rename {work}/denied {work}/moved",
            "exchange {work}/unread {work}/sub",
            "exchange {work}/sub {work}/denied",
        ],
        "rename",
        "rights_widened",
        By::Nothing,
    ),
];
