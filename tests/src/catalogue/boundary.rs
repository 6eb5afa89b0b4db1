//! Calls that would switch ringfence off, or change the machine under it.

use libc::EPERM;

use super::{By, EVERY_PATH, Family, Kernel, Row, Stage, refused};

pub(super) const FAMILY: Family = Family {
    title: "The boundary itself",
    test: "the boundary is neither switched off nor undermined",
    file: "boundary",
    policy: EVERY_PATH,
    stage: Stage::Files,
    rows: ROWS,
    works: &[],
};

const LOCKED: &[(Kernel, &str)] = &[(Kernel::Lockdown, "lockdown refuses it to everybody")];

const fn capability(way: &'static str, acts: &'static [&'static str]) -> Row {
    refused(way, &["capable"], acts, "capability", "forbidden_capability", By::Any).errno(EPERM)
}

const ROWS: &[Row] = &[
    // Linux 6.1 asks for a capability first.
    refused(
        "`bpf`",
        &["bpf", "capable"],
        &["bpf"],
        "bpf|capability",
        "self_protection|forbidden_capability",
        By::Any,
    )
    .always(EPERM),
    refused(
        "An io_uring, where the policy does not allow any",
        &["uring_allowed", "inode_init_security_anon"],
        &["uring-setup"],
        "uring",
        "forbidden_uring",
        By::Any,
    )
    .errno(EPERM),
    // Debian's kernel asks for a capability first, and says EACCES.
    refused(
        "`perf_event_open`",
        &["perf_event_open", "capable"],
        &["perf-event"],
        "ptrace|capability",
        "self_protection|forbidden_capability",
        By::Any,
    )
    .somehow(),
    capability("Loading a kernel module", &["load-module"]).control(libc::ENOEXEC).lacking(LOCKED),
    capability("Removing a kernel module", &["unload-module"]).control(libc::ENOENT),
    capability("`kexec_load`", &["kexec"]).lacking(LOCKED),
    capability("`reboot`", &["reboot-key"]),
    capability("`iopl`: the machine's ports", &["iopl"]).lacking(LOCKED),
    capability("`sethostname`", &["set-host-name"]),
    capability("`swapon`: a file as the machine's memory", &["swapon {work}/file"])
        .control(libc::EINVAL),
    capability(
        "`acct`: the kernel records every process of the machine in a file",
        &["account {work}/file"],
    ),
    capability("`fanotify`: the opens of everybody, with permission to refuse them", &["fanotify"]),
    capability("Setting the clock", &["set-clock"]),
    capability("The kernel's log: reading it, and its console", &["kernel-log 3", "kernel-log 7"]),
    refused(
        "Keys and keyrings, which others have too",
        &["key_alloc", "key_permission"],
        &["add-key", "new-session-keyring"],
        "key",
        "self_protection",
        By::Any,
    )
    .errno(EPERM),
    capability("Trusted extended attributes", &["trusted-attribute {work}/file"]),
];
