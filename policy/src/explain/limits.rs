//! What holds whatever a policy says: `docs/semantics.md` and `README.md` have the same lists.

/// What a governed process is refused, whatever its policy says. `docs/semantics.md`, "Always
/// refused to a governed process".
pub(super) const ALWAYS_REFUSED: &[&str] = &[
    "`bpf()`, and writing to bpffs: in observe mode too",
    "mounts, chroot and pivot_root, user namespaces, and children born in another control group",
    "the capabilities NET_ADMIN, NET_RAW, IPC_OWNER, SYS_MODULE, SYS_RAWIO, SYS_CHROOT, \
     SYS_PTRACE, SYS_PACCT, SYS_ADMIN, SYS_BOOT, SYS_TIME, MKNOD, AUDIT_CONTROL, MAC_*, SYSLOG, \
     PERFMON and BPF",
    "io_urings, unless a document says `io_uring: allow`, and of those that are allowed what goes \
     beyond the process itself",
    "performance events, and typing into terminals (`TIOCSTI`, `TIOCLINUX`)",
    "writing to the kernel's own file systems: cgroup, sysfs, tracefs, debugfs, securityfs, \
     binfmt_misc, and `/proc` but for the own process's folder",
    "towards processes outside the scope: signals, limits, priorities, scheduling, tracing",
    "sockets other than Unix, TCP, UDP and `NETLINK_ROUTE`, where destinations are governed",
    "Unix sockets without a path of processes outside the scope, where files, Unix sockets or \
     destinations are governed, unless they are listed",
    "what cannot be judged: a path too long, a mount that leads nowhere, a full table",
];

/// What no boundary of this version holds. `README.md`, "What it does not protect against yet".
pub(super) const OUTSIDE: &[&str] = &[
    "`stat`, `readlink`, and whether a name exists",
    "what a process tells the owner of a name that it may look up, by the names that it asks for",
    "a program may do with what it may read and run whatever it likes",
    "bugs of the kernel",
];
