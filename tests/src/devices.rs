//! Device nodes: not opened by a rule for every path, by whatever name.

use std::{io, path::Path};

use libc::{EACCES, ENODEV, ENOENT, ENXIO};

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("device nodes are opened only where a rule says so", by_rule),
    ("device nodes are told by their numbers where no policy is about files", by_number),
];

const POLICY: &str = r#"boundary: 1
io_uring: allow
files:
  - { path: "/**", allow: [read, write] }
  - { path: "{room}/*/work/given", allow: [device] }
"#;

/// Nodes of the kernel's log, under three names, and of `/dev/null`.
fn prepare(base: &Path) -> io::Result<()> {
    let work = base.join("work");
    std::fs::create_dir_all(&work)?;
    for (name, minor) in [("node", 11), ("given", 11), ("nothing", 3)] {
        let path = sys::path(&work.join(name))?;
        let device = libc::makedev(1, minor);
        // SAFETY: the path is a NUL-terminated string.
        sys::check(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, device) })?;
    }
    Ok(())
}

fn denied(act: &str, action: &'static str, by: By) -> Case {
    refused(act, EACCES, action, "fs_violation", by)
}

fn by_rule(context: &mut Context) -> Result<(), Failure> {
    let unlisted = By::Default("files:");
    let lacking = [ENOENT, ENODEV, ENXIO];
    let cases = [
        works("open-both /dev/null"),
        works("open-read /dev/urandom"),
        works("open-both /dev/ptmx").unless_lacking(&lacking),
        works("open-write {work}/given"),
        works("create {work}/file"),
        works("pipe-reopen"),
        denied("open-write /dev/kmsg", "write", unlisted),
        denied("open-write {work}/node", "write", unlisted),
        denied("reopen {work}/node", "read", unlisted),
        denied("uring-open {work}/node now", "read", unlisted),
        // The baseline allows a name, and this is another.
        denied("open-both {work}/nothing", "write", unlisted),
        denied("open-both /dev/console", "write", unlisted).unless_lacking(&lacking),
        denied("open-read /dev/loop0", "read", unlisted).unless_lacking(&lacking),
        denied("open-read /dev/loop-control", "read", unlisted).unless_lacking(&lacking),
    ];
    Attack { policy: POLICY, prepare, observe: true }.run(context, &cases)
}

fn by_number(context: &mut Context) -> Result<(), Failure> {
    let lacking = [ENOENT, ENODEV, ENXIO];
    let cases = [
        works("open-both /dev/null"),
        works("open-both {work}/nothing"),
        works("open-both /dev/ptmx").unless_lacking(&lacking),
        works("open-read /etc/passwd"),
        denied("open-write /dev/kmsg", "write", By::Nothing).shows("/dev/kmsg"),
        denied("open-write {work}/node", "write", By::Nothing),
        denied("open-read /dev/loop0", "read", By::Nothing).unless_lacking(&lacking),
    ];
    Attack { policy: "boundary: 1\negress: []\n", prepare, observe: true }.run(context, &cases)
}
