//! The kernel's own control files: out of reach, even under a rule that allows every path.

use super::{By, EVERY_PATH, Family, Kernel, Row, Stage, refused};

pub(super) const FAMILY: Family = Family {
    title: "The kernel's control files",
    test: "the kernel's control files are not written, whatever the rules allow",
    file: "control",
    policy: EVERY_PATH,
    stage: Stage::Control,
    rows: ROWS,
    works: &[
        "open-read /etc/shadow",
        "open-read /sys/fs/cgroup/cgroup.controllers",
        "open-read /proc/sys/kernel/core_pattern",
        "open-write /proc/self/comm",
        "open-write /dev/null",
    ],
};

const LOCKED: &[(Kernel, &str)] =
    &[(Kernel::Lockdown, "lockdown lets nobody open files of tracefs and debugfs")];

const fn control(way: &'static str, acts: &'static [&'static str]) -> Row {
    refused(way, &["file_open"], acts, "write", "kernel_control", By::Any)
}

const ROWS: &[Row] = &[
    control(
        "cgroup files: leaving by `cgroup.procs`, controllers",
        &[
            "open-write /sys/fs/cgroup/cgroup.procs",
            "open-append /sys/fs/cgroup/cgroup.subtree_control",
        ],
    ),
    control(
        "`release_agent`: a program that the kernel starts outside when a cgroup is empty",
        &["open-write {room}/cgroup1/release_agent"],
    ),
    refused(
        "A cgroup of one's own",
        &["path_mkdir"],
        &["mkdir-briefly /sys/fs/cgroup/rf-test-made"],
        "create",
        "kernel_control",
        By::Any,
    ),
    control(
        "sysctl: a program that the kernel starts outside for every crash or missing module",
        &[
            "open-write /proc/sys/kernel/core_pattern",
            "open-write /proc/sys/kernel/modprobe",
            "open-write /proc/sys/kernel/hostname",
            "open-write /proc/sys/vm/nr_hugepages",
        ],
    ),
    control(
        "sysctl, through a procfs that is mounted elsewhere",
        &["open-write {room}/proc/sys/kernel/core_pattern"],
    ),
    control("sysrq", &["open-write /proc/sysrq-trigger", "open-write {room}/proc/sysrq-trigger"]),
    control(
        "sysfs, also where it is mounted elsewhere",
        &[
            "open-write /sys/kernel/mm/transparent_hugepage/enabled",
            "open-write {room}/sys/kernel/mm/transparent_hugepage/enabled",
        ],
    ),
    control("tracefs", &["open-write /sys/kernel/tracing/tracing_on"]).lacking(LOCKED),
    control("debugfs, mounted elsewhere", &["open-write {room}/debug/clear_warn_once"])
        .lacking(LOCKED),
    refused(
        "Device nodes that no rule gives `device` for: disks, the kernel's memory, its log",
        &["file_open"],
        &["open-write /dev/kmsg", "open-both /dev/console"],
        "write",
        "fs_violation",
        By::Default("files:"),
    ),
    control("securityfs", &["open-write /sys/kernel/security/lockdown"]),
    control(
        "binfmt_misc: an interpreter for the programs of everybody",
        &["open-write {room}/binfmt/register"],
    ),
    refused(
        "bpffs, where ringfence's own pins are",
        &["path_mkdir"],
        &["mkdir-briefly /sys/fs/bpf/rf-test-made"],
        "create",
        "self_protection",
        By::Any,
    )
    .always(libc::EACCES),
];
