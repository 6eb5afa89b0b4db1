//! Processes outside the scope: neither signalled, nor looked into, nor made to do something.

use libc::EPERM;

use super::{By, EVERY_PATH, Family, Row, Stage, open, refused};

pub(super) const FAMILY: Family = Family {
    title: "Processes outside",
    test: "processes outside are neither signalled nor looked into",
    file: "processes",
    policy: EVERY_PATH,
    stage: Stage::Files,
    rows: ROWS,
    works: &["signal-child", "trace-child"],
};

const fn protected(
    way: &'static str,
    closed_by: &'static [&'static str],
    acts: &'static [&'static str],
    action: &'static str,
) -> Row {
    refused(way, closed_by, acts, action, "self_protection", By::Any).errno(EPERM)
}

const ROWS: &[Row] = &[
    protected(
        "Signals: `kill`, `tgkill`, `rt_sigqueueinfo`",
        &["task_kill"],
        &[
            "signal {victim} 0",
            "signal {victim} 18",
            "signal 1 0",
            "signal-thread {victim}",
            "queue-signal {victim}",
        ],
        "signal",
    ),
    protected(
        "A signal by descriptor: `pidfd_send_signal`",
        &["task_kill"],
        &["signal-by-descriptor {victim}"],
        "signal",
    ),
    protected(
        "Having the kernel signal for a descriptor: `F_SETOWN`, `FIOSETOWN`",
        &["file_fcntl", "file_ioctl"],
        &["own-descriptor {victim} fcntl", "own-descriptor {victim} ioctl"],
        "signal",
    ),
    protected(
        "Limits, priority, scheduling, processors",
        &["task_setrlimit", "task_setnice", "task_setscheduler", "task_setioprio"],
        &[
            "limit {victim}",
            "nice {victim}",
            "schedule {victim}",
            "pin-to-processor {victim}",
            "input-priority {victim}",
        ],
        "signal",
    ),
    protected("`ptrace`", &["ptrace_access_check"], &["seize {victim}"], "ptrace"),
    protected(
        "`process_vm_readv`, `process_vm_writev`",
        &["ptrace_access_check"],
        &["peek {victim} {stack}", "poke {victim} {stack}"],
        "ptrace",
    ),
    protected(
        "`pidfd_getfd`, `kcmp`",
        &["ptrace_access_check"],
        &["take-descriptor {victim}", "compare {victim}"],
        "ptrace",
    ),
    protected(
        "`/proc/PID/mem`, `environ`, `maps`, `root`, `cwd`, `fd`, though a rule allows every path",
        &["ptrace_access_check"],
        &[
            "open-read /proc/{victim}/mem",
            "read /proc/{victim}/environ",
            "read /proc/{victim}/maps",
            "open-read /proc/{victim}/root/etc/hostname",
            "list /proc/{victim}/cwd",
            "open-read /proc/{victim}/fd/0",
        ],
        "ptrace",
    )
    .errno(libc::EACCES),
    refused(
        "Writing to `/proc/PID` of a process outside",
        &["file_open"],
        &["open-write /proc/{victim}/oom_score_adj", "open-write /proc/{victim}/comm"],
        "write",
        "kernel_control",
        By::Any,
    ),
    protected(
        "Typing into a terminal: `TIOCSTI`",
        &["file_ioctl"],
        &["type-into-terminal"],
        "terminal",
    ),
    refused(
        "POSIX message queues, which are the whole machine's",
        &["file_open"],
        &["message-queue"],
        "read|write|create",
        "path_unresolved|fs_violation",
        By::Any,
    )
    .errno(libc::EACCES),
    refused(
        "System V shared memory of another user",
        &["capable"],
        &["attach-memory {foreign}"],
        "capability",
        "forbidden_capability",
        By::Any,
    ),
    open(
        "System V shared memory of a process outside, where its mode allows it",
        &["attach-memory {segment}"],
        "A segment has no path that a rule could speak of, and nothing in it tells which process \
         made it; a boundary that refused them all would break programs that use their own. What a \
         process outside shares by mode is as open as before: start the command as a user of its \
         own.",
    ),
];
