//! Hard links: the old and the new name are judged, and the new gives no more than the old.

use super::{DENIED, FILES, Family, Row, Stage, UNLISTED, UNREAD, refused};

pub(super) const FAMILY: Family = Family {
    title: "Hard links",
    test: "no hard link gives a file another name to be judged by",
    file: "links",
    policy: FILES,
    stage: Stage::Files,
    rows: ROWS,
    works: &["link {work}/file {work}/sub/linked", "tmpfile-link {work} {work}/named"],
};

const ROWS: &[Row] = &[
    refused(
        "A link in the workspace to a file outside, or to one that may only be read",
        &["path_link"],
        &["link {out}/secret {work}/linked", "link {ro}/file {work}/linked"],
        "link",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A link to such a file through `/proc/self/fd`, or by `AT_EMPTY_PATH`",
        &["path_link"],
        &["link-descriptor {out}/secret {work}/linked", "link-empty {out}/secret {work}/linked"],
        "link",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A link outside to a file of the workspace",
        &["path_link"],
        &["link {work}/file {out}/linked"],
        "link",
        "fs_violation",
        UNLISTED,
    ),
    refused(
        "A link to a file that is denied",
        &["path_link"],
        &["link {work}/denied/secret {work}/linked"],
        "link",
        "fs_violation",
        DENIED,
    ),
    refused(
        "A link that may be read, to a file that may not",
        &["path_link"],
        &["link {work}/unread/secret {work}/linked"],
        "link",
        "rights_widened",
        UNREAD,
    ),
    refused(
        "`O_TMPFILE`, named outside with `linkat`",
        &["path_link"],
        &["tmpfile-link {work} {out}/named"],
        "link",
        "fs_violation",
        UNLISTED,
    ),
];
