//! The programs that put processes into control groups: what they do there before they execute
//! something else is the set-up of a container or a service, and not its work.

use std::{fs::File, os::unix::fs::MetadataExt as _, path::Path};

use ringfence_common::scope::{
    MAX_STARTERS, Starter,
    starter::{MANAGER, RUNTIME},
};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::kernel::inode;

/// The root of the machine, also where the agent is in a container that sees all processes.
const MACHINE: &str = "/proc/1/root";

/// Where such programs are, on the systems that are known.
const KNOWN: &[(u32, &[&str])] = &[
    // For a moment a new service is a copy of the service manager.
    (
        MANAGER,
        &[
            "usr/lib/systemd/systemd",
            "lib/systemd/systemd",
            "usr/lib/systemd/systemd-executor",
            "lib/systemd/systemd-executor",
        ],
    ),
    // And what starts them.
    (
        RUNTIME,
        &[
            "usr/bin/crun",
            "usr/local/bin/crun",
            "usr/sbin/runc",
            "usr/bin/runc",
            "usr/local/bin/runc",
            "usr/local/sbin/runc",
            "usr/bin/youki",
            "usr/bin/conmon",
            "usr/libexec/podman/conmon",
            "usr/bin/podman",
            "usr/bin/containerd-shim-runc-v2",
            "usr/local/bin/containerd-shim-runc-v2",
            "usr/bin/crio",
        ],
    ),
];

/// Those that are on this machine now, each with its kind. An upgrade replaces them, so that this is
/// asked again.
pub(super) fn present() -> Vec<(Starter, u32)> {
    let root = Root::open();
    let known = KNOWN.iter().flat_map(|(kind, paths)| paths.iter().map(|path| (*kind, *path)));
    let mut found: Vec<(Starter, u32)> =
        known.filter_map(|(kind, path)| Some((starter(&root.file(path)?)?, kind))).collect();
    // Whatever it is, the machine's init is none that a user has a say in.
    let init = File::open(Path::new("/proc/1/exe")).ok();
    found.extend(init.as_ref().and_then(starter).map(|starter| (starter, MANAGER)));
    found.sort_by_key(|(starter, kind)| (starter.device, starter.inode, *kind));
    found.dedup_by_key(|(starter, _)| *starter);
    found.truncate(MAX_STARTERS as usize);
    found
}

/// Where the machine's programs are looked for.
enum Root {
    /// The agent's own root is the machine's.
    Own,
    /// The agent is in a container.
    Other(File),
}

impl Root {
    fn open() -> Self {
        let numbers = |file: &File| file.metadata().map(|root| (root.dev(), root.ino())).ok();
        match (File::open(MACHINE), File::open("/")) {
            (Ok(machine), Ok(own)) if numbers(&machine) != numbers(&own) => Self::Other(machine),
            _ => Self::Own,
        }
    }

    /// Opens a file as the machine itself would find it, whatever links are on the way.
    fn file(&self, path: &str) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = match self {
            // Without openat2(2), which a unit with RestrictSUIDSGID= refuses.
            Self::Own => rustix::fs::open(Path::new("/").join(path), flags, Mode::empty()),
            Self::Other(root) => {
                rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
            }
        };
        opened.ok().map(File::from)
    }
}

fn starter(program: &File) -> Option<Starter> {
    let metadata = program.metadata().ok()?;
    // Whoever may write a starter would decide what is set-up.
    if !metadata.is_file() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return None;
    }
    let (device, inode) = inode::kernel_numbers(program).ok()?;
    Some(Starter { device, spare: 0, inode })
}
