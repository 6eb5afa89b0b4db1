//! What a path means: mounts, roots and namespaces; and trees that somebody else has mounted.

use libc::EPERM;

use super::{By, Family, Row, Stage, UNLISTED, refused};

pub(super) const FAMILY: Family = Family {
    title: "Mounts, roots and namespaces",
    test: "mounts, roots and namespaces are not changed, and mounted trees judged by where they are",
    file: "mounts",
    policy: POLICY,
    stage: Stage::Mounts,
    rows: ROWS,
    works: &["open-both {room}/mounts/work/bound/file", "open-both {room}/mounts/work/merged/file"],
};

/// Everything in each folder, so that nothing but the guard refuses there, and the workspace of a
/// folder with mounts.
const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/case*/**", allow: [read, write] }
  - { path: "{room}/seen*/**", allow: [read, write] }
  - { path: "{room}/mounts/work/**", allow: [read, write] }
  - { path: "/proc/self/ns/*", allow: [read] }
"#;

/// Where a call has no hook of its own, the capability that it needs is refused.
const REASONS: &str = "forbidden_mount|forbidden_capability";

const fn mount(
    way: &'static str,
    closed_by: &'static [&'static str],
    acts: &'static [&'static str],
) -> Row {
    refused(way, closed_by, acts, "mount|capability|namespace", REASONS, By::Any).errno(EPERM)
}

const fn judged(way: &'static str, acts: &'static [&'static str]) -> Row {
    refused(way, &["file_open"], acts, "read", "fs_violation", UNLISTED)
}

const ROWS: &[Row] = &[
    mount("`mount` of a new file system", &["sb_mount", "capable"], &["mount {work}"]),
    mount("Bind mount", &["sb_mount", "capable"], &["bind {work} {out}"]),
    mount("Remount", &["sb_mount", "sb_remount", "capable"], &["remount {room}/mounts/out/tmpfs"]),
    mount(
        "Changing how mounts propagate",
        &["sb_mount", "capable"],
        &["make-private {room}/mounts/out/tmpfs"],
    ),
    mount("`umount`", &["sb_umount", "capable"], &["umount-mounted {room}/mounts/out/spare"]),
    mount("Overlay mount", &["sb_mount", "capable"], &["overlay {out} {work} {ro}"]),
    mount("`open_tree` with a copy of a tree", &["capable"], &["open-tree /etc"]),
    mount("`move_mount`", &["move_mount", "capable"], &["move-mount {out} {work}"]),
    mount("`fsopen`, `fsmount`", &["capable"], &["fsopen", "fsmount"]),
    mount("`fspick`", &["capable"], &["fspick {room}/mounts/out/tmpfs"]),
    mount("A snapshot of a btrfs", &["file_ioctl"], &["snapshot {work}"]).control(libc::ENOTTY),
    mount("`mount_setattr`", &["capable"], &["mount-setattr {room}/mounts/out/tmpfs"]),
    mount("`pivot_root`", &["sb_pivotroot", "capable"], &["pivot-root {work}"]),
    mount("`chroot`", &["path_chroot", "capable"], &["chroot {work}"]),
    mount(
        "`setns`, by path",
        &["capable"],
        &["setns /proc/self/ns/mnt", "setns /proc/self/ns/net"],
    ),
    refused(
        "`setns` to the namespaces of a process outside",
        &["ptrace_access_check", "capable"],
        &["setns-process {victim}"],
        "ptrace|capability",
        "self_protection|forbidden_capability",
        By::Any,
    )
    .errno(EPERM),
    mount(
        "A user namespace, alone or with mounts",
        &["userns_create", "capable"],
        // By their CLONE_NEW… numbers.
        &["unshare 268435456", "unshare 268566528"],
    ),
    mount(
        "Other namespaces: mounts, network, processes, host name, IPC, cgroups, time",
        &["capable"],
        &[
            "unshare 131072",
            "unshare 1073741824",
            "unshare 536870912",
            "unshare 67108864",
            "unshare 134217728",
            "unshare 33554432",
            "unshare 128",
        ],
    ),
    judged(
        "The place below which a folder of the workspace is mounted elsewhere",
        &["open-read {room}/mounts/out/bound/file"],
    )
    .shows("/out/bound/file"),
    judged(
        "The place from which a folder is mounted in the workspace",
        &["open-read {room}/mounts/out/folder/file"],
    ),
    judged("A file system mounted outside", &["open-read {room}/mounts/out/tmpfs/secret"])
        .shows("/out/tmpfs/secret"),
    judged(
        "An overlay outside, though its layers are in the workspace",
        &["open-read {room}/mounts/out/merged/file"],
    )
    .shows("/out/merged/file"),
    judged(
        "The layers of an overlay that is in the workspace",
        &["open-read {room}/mounts/out/lower/file"],
    ),
    refused(
        "A file handle, opened on a mount of another part of its file system",
        &["file_open"],
        &["handle-on {room}/mounts/work/bound {room}/mounts/out/secret"],
        "read",
        "path_unresolved",
        By::Nothing,
    ),
];
