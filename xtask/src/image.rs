//! The initramfs of one boot: the base archive, and after it an archive with what is this boot's
//! own. The kernel unpacks both, so that a boot costs a copy and not a rebuild.
//!
//! Neither is compressed: unpacking with an emulated processor takes longer than loading more.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    cpio::Archive,
    guest::{self, Programs},
    kernel_modules::Module,
    run,
    tree::{self, Tree},
};

/// PID 1 is a shell script: it is a list of mounts, and busybox, which is in the guest anyway,
/// does those. A program of our own would be three times as long and a second, static build.
const INIT: &str = include_str!("init.sh");
/// Before a Debian system's own PID 1.
const SYSTEM_INIT: &str = include_str!("system/init.sh");
/// Where the files are that go onto the disk of a Debian system.
const FOR_DISK: &str = "/.vm/root";

/// What is this boot's own.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    /// The programs that the guest has.
    pub(crate) programs: Programs,
    /// Files and directories of the host, and where they go.
    pub(crate) additions: &'a [(PathBuf, PathBuf)],
    /// Kernel modules, in the order in which they load.
    pub(crate) modules: &'a [Module],
    /// The command and its arguments.
    pub(crate) command: &'a [std::ffi::OsString],
    /// What the verdict is recognised by.
    pub(crate) nonce: &'a str,
}

/// Files that each guest has. `/etc/shadow` holds a known word: tests look for it.
pub(crate) const FILES: &[(&str, u32, &str)] = &[
    (
        "/etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\n\
         user:x:1000:1000:user:/home/user:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("/etc/group", 0o644, "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n"),
    ("/etc/shadow", 0o640, "root:ringfence-shadow-marker:19000:0:99999:7:::\n"),
    ("/etc/hosts", 0o644, "127.0.0.1 localhost ringfence-vm\n::1 localhost\n"),
    ("/etc/hostname", 0o644, "ringfence-vm\n"),
    ("/etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n"),
];

/// Writes the initramfs of one boot to `to`.
pub(crate) fn write(to: &Path, contents: &Contents<'_>) -> Result<()> {
    let base = guest::base(contents.programs)?;
    let mut file = File::create(to).with_context(|| to.display().to_string())?;
    io::copy(&mut File::open(base)?, &mut file)?;

    let mut archive = Archive::new(BufWriter::new(file));
    // The kernel opens it for PID 1, before anything is mounted.
    archive.character_device(Path::new("/dev/console"), 0o600, (5, 1))?;
    archive.directory_with_mode(Path::new("/.vm"), 0o700)?;
    let is_system = contents.programs == Programs::System;
    let mut tree = Tree::default();
    if is_system {
        archive.directory(Path::new(FOR_DISK))?;
        for (host, guest) in contents.additions {
            // With the libraries that the system has: this machine's may be of another release.
            tree.take_as(host, &below(FOR_DISK, guest))?;
        }
    } else {
        for (path, mode, content) in FILES {
            archive.file(Path::new(path), *mode, content.as_bytes())?;
        }
        for (host, guest) in contents.additions {
            tree.take_as(host, guest)?;
        }
        tree.take_libraries().context("cannot add everything to the virtual machine")?;
    }
    tree.write(&mut archive)?;

    for (number, module) in contents.modules.iter().enumerate() {
        // The shell sorts what it globs.
        let path = format!("/.vm/modules/{number:03}-{}.ko", module.name);
        archive.file(Path::new(&path), 0o600, &module.content)?;
    }
    let words: Vec<_> = contents.command.iter().map(|word| run::quote(word)).collect();
    let command = format!("set -- {}\n", words.join(" "));
    archive.file(Path::new("/.vm/command"), 0o600, command.as_bytes())?;
    archive.file(Path::new("/.vm/nonce"), 0o400, contents.nonce.as_bytes())?;
    let init = if is_system { SYSTEM_INIT } else { INIT };
    archive.file(Path::new("/init"), 0o700, format!("#!/bin/busybox sh\n{init}").as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// The path of the guest `path` when its root is at `root`; in `/usr` where `/` has only links.
fn below(root: &str, path: &Path) -> PathBuf {
    let path = tree::guest_path(path);
    Path::new(root).join(path.strip_prefix("/").unwrap_or(&path))
}
