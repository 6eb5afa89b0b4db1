//! The programs that put processes into control groups: what they do there before they execute
//! something else is the set-up of a container or a service, and not its work.

use std::{
    fs::{self, File},
    path::Path,
};

use ringfence_common::scope::{MAX_STARTERS, Starter};

use crate::kernel::inode;

/// Where such programs are, on the systems that are known.
const KNOWN: &[&str] = &[
    // The service manager: for a moment a new service is a copy of it.
    "/proc/1/exe",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-executor",
    "/lib/systemd/systemd-executor",
    // Container runtimes and their helpers.
    "/usr/bin/crun",
    "/usr/local/bin/crun",
    "/usr/sbin/runc",
    "/usr/bin/runc",
    "/usr/local/bin/runc",
    "/usr/local/sbin/runc",
    "/usr/bin/youki",
    "/usr/bin/conmon",
    "/usr/libexec/podman/conmon",
    "/usr/bin/podman",
    "/usr/bin/containerd-shim-runc-v2",
    "/usr/local/bin/containerd-shim-runc-v2",
    "/usr/bin/crio",
];

/// Those that are on this machine now. An upgrade replaces them, so that this is asked again.
pub(super) fn present() -> Vec<Starter> {
    let mut found: Vec<Starter> =
        KNOWN.iter().filter_map(|program| starter(Path::new(program))).collect();
    found.sort_by_key(|starter| (starter.device, starter.inode));
    found.dedup();
    found.truncate(MAX_STARTERS as usize);
    found
}

fn starter(program: &Path) -> Option<Starter> {
    // Whoever may write a starter would decide what is set-up.
    let is_trusted = fs::metadata(program).is_ok_and(|file| {
        use std::os::unix::fs::MetadataExt as _;
        file.uid() == 0 && file.mode() & 0o022 == 0
    });
    let (device, inode) =
        inode::kernel_numbers(&File::open(program).ok().filter(|_| is_trusted)?).ok()?;
    Some(Starter { device, spare: 0, inode })
}
