//! Hooks on what would change the boundary itself, or reach beyond the scope.

use aya_ebpf::{
    bindings::task_struct, helpers::generated::bpf_get_current_pid_tgid, macros::lsm,
    programs::LsmContext,
};
use ringfence_common::{Action, Right, event::Destination, guard};

use crate::{
    emit::{self, EACCES, EPERM, NOWHERE},
    file::{address, judge},
    kernel::{current, in_borrowed_credentials, offset, read_u32, read_u64},
    path::Location,
    scope::{Task, governed, is_member},
};

/// `CAP_OPT_NOAUDIT`: the kernel only asks; nobody sees the answer.
const NO_AUDIT: u32 = 2;

#[inline(always)]
pub(crate) fn refuse(task: &mut Task, action: Action, detail: u32) -> i32 {
    let Some(table) = task.table() else { return -EPERM };
    let to = Destination { detail, ..NOWHERE };
    emit::going(task, action, guard::decide(&table, action), &to)
}

#[inline(always)]
fn always(action: Action) -> i32 {
    governed(action, EPERM, |task| refuse(task, action, 0))
}

/// Declares hooks that refuse every governed task.
macro_rules! refused {
    ($($(#[$doc:meta])* $name:ident => $action:ident;)*) => {$(
        $(#[$doc])*
        #[lsm]
        pub fn $name(_: LsmContext) -> i32 {
            always(Action::$action)
        }
    )*};
}

refused! {
    /// `security_sb_mount(…)`: mount and bind mount.
    sb_mount => Mount;
    /// `security_move_mount(…)`: attaching a detached tree.
    move_mount => Mount;
    /// `security_sb_pivotroot(…)`.
    sb_pivotroot => Mount;
    /// `security_sb_umount(…)`.
    sb_umount => Mount;
    /// `security_sb_remount(…)`.
    sb_remount => Mount;
    /// `security_path_chroot(const struct path *path)`.
    path_chroot => Mount;
    /// `security_create_user_ns(const struct cred *cred)`, since Linux 6.1.
    userns_create => Namespace;
    /// `security_bpf(int cmd, …)`: the way to switch ringfence off.
    bpf => Bpf;
    /// `security_perf_event_open(…)`.
    perf_event_open => Ptrace;
    /// `security_syslog(int type)`: the kernel's log, which tells of everybody.
    syslog => Kernel;
    /// `security_uring_sqpoll(void)`: a thread of the kernel that works on after the call.
    uring_sqpoll => Uring;
    /// `security_uring_override_creds(const struct cred *new)`: a request with credentials that
    /// were registered before.
    uring_override_creds => Uring;
    /// `security_uring_cmd(struct io_uring_cmd *ioucmd)`: what a driver makes of a request; the
    /// requests of no `ioctl` that could be judged.
    uring_cmd => Uring;
}

#[inline(always)]
fn judge_ring() -> i32 {
    governed(Action::Uring, EPERM, |task| {
        let Some(table) = task.table() else { return -EPERM };
        emit::going(task, Action::Uring, guard::decide_ring(&table), &NOWHERE)
    })
}

/// `security_uring_allowed(void)`, since Linux 6.15: making an io_uring.
#[lsm(hook = "uring_allowed")]
pub fn uring_allowed(_: LsmContext) -> i32 {
    judge_ring()
}

/// `security_inode_init_security_anon(struct inode *inode, const struct qstr *name, const struct
/// inode *context_inode)`: the file of an io_uring, which has this name in every kernel.
#[lsm(hook = "inode_init_security_anon")]
pub fn inode_init_security_anon(ctx: LsmContext) -> i32 {
    const NAME: &[u8; 8] = b"[io_urin";
    let name = read_u64(address(&ctx, 1) + offset!(qstr_name));
    if read_u64(name) != u64::from_le_bytes(*NAME) {
        return 0;
    }
    judge_ring()
}

/// `READING_FIRMWARE` and `LOADING_FIRMWARE` (`enum kernel_read_file_id` and
/// `kernel_load_data_id`): by drivers, for whoever opens the device.
const FIRMWARE: u32 = 1;

#[inline(always)]
fn judge_loaded(kind: u32) -> i32 {
    if kind == FIRMWARE { 0 } else { always(Action::Kernel) }
}

/// `security_kernel_read_file(struct file *file, enum kernel_read_file_id id, bool contents)`:
/// modules and kernels to be started, by descriptor.
#[lsm(hook = "kernel_read_file")]
pub fn kernel_read_file(ctx: LsmContext) -> i32 {
    judge_loaded(ctx.arg::<u32>(1))
}

/// `security_kernel_load_data(enum kernel_load_data_id id, bool contents)`: the same from memory.
#[lsm(hook = "kernel_load_data")]
pub fn kernel_load_data(ctx: LsmContext) -> i32 {
    judge_loaded(ctx.arg::<u32>(0))
}

/// Keys are shared with processes outside the scope, by session and by user. What the kernel
/// looks up for itself goes on.
#[inline(always)]
fn judge_key() -> i32 {
    governed(Action::Key, EPERM, |task| {
        if in_borrowed_credentials() { 0 } else { refuse(task, Action::Key, 0) }
    })
}

/// `security_key_alloc(struct key *key, const struct cred *cred, unsigned long flags)`: also of
/// keyrings, and of what `request_key` has made by a program outside the scope.
#[lsm(hook = "key_alloc")]
pub fn key_alloc(_: LsmContext) -> i32 {
    judge_key()
}

/// `KEY_NEED_SEARCH` (`enum key_need_perm`): finding a key shows nothing of it, and file systems
/// find theirs so when a file is opened.
const SEARCH: u32 = 4;

/// `security_key_permission(key_ref_t key_ref, const struct cred *cred, enum key_need_perm
/// need_perm)`. The error must not be EACCES, on which reading looks for another way to allow it.
#[lsm(hook = "key_permission")]
pub fn key_permission(ctx: LsmContext) -> i32 {
    if ctx.arg::<u32>(2) == SEARCH { 0 } else { judge_key() }
}

/// `security_capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int
/// opts)`: for the ways to change mounts and namespaces that have no hook of their own.
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    let capability = ctx.arg::<u32>(2);
    if !guard::is_forbidden_capability(capability) {
        return 0;
    }
    governed(Action::Capability, EPERM, |task| {
        // With other credentials than its own, the task does what the kernel does for everybody:
        // an overlay looks at its layers as the one who mounted it.
        if address(&ctx, 0) != read_u64(current() + offset!(task_real_cred)) {
            return 0;
        }
        let Some(table) = task.table() else { return -EPERM };
        let decision = guard::decide(&table, Action::Capability);
        if ctx.arg::<u32>(3) & NO_AUDIT != 0 {
            return emit::answer(decision, EPERM);
        }
        let to = Destination { detail: capability, ..NOWHERE };
        emit::going(task, Action::Capability, decision, &to)
    })
}

#[inline(always)]
fn outsider(target: *mut task_struct, action: Action) -> i32 {
    governed(action, EPERM, |task| {
        if is_member(task, target) {
            return 0;
        }
        let process = read_u32(target as u64 + offset!(task_process));
        refuse(task, action, process)
    })
}

/// `security_task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct
/// cred *cred)`.
#[lsm(hook = "task_kill")]
pub fn task_kill(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Signal)
}

/// `security_ptrace_access_check(struct task_struct *child, unsigned int mode)`: also
/// /proc/PID/mem, process_vm_readv, pidfd_getfd.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Ptrace)
}

/// `security_ptrace_traceme(struct task_struct *parent)`: having itself traced by its parent.
#[lsm(hook = "ptrace_traceme")]
pub fn ptrace_traceme(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Ptrace)
}

/// `security_task_setrlimit(struct task_struct *p, unsigned int resource, struct rlimit
/// *new_rlim)`: a limit on processor time kills.
#[lsm(hook = "task_setrlimit")]
pub fn task_setrlimit(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Signal)
}

/// `security_task_setnice(struct task_struct *p, int nice)`.
#[lsm(hook = "task_setnice")]
pub fn task_setnice(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Signal)
}

/// `security_task_setscheduler(struct task_struct *p)`: also its processors.
#[lsm(hook = "task_setscheduler")]
pub fn task_setscheduler(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Signal)
}

/// `security_task_setioprio(struct task_struct *p, int ioprio)`.
#[lsm(hook = "task_setioprio")]
pub fn task_setioprio(ctx: LsmContext) -> i32 {
    outsider(ctx.arg(0), Action::Signal)
}

/// `TIOCSTI`: types into a terminal, whose reader may be a shell outside the scope.
const TIOCSTI: u32 = 0x5412;
/// `TIOCLINUX`: pastes into a console.
const TIOCLINUX: u32 = 0x541c;
/// `FIOSETOWN` and `SIOCSPGRP`: whom the kernel signals for this descriptor.
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

/// Changes of a file's metadata that have no hook of their own everywhere: `FS_IOC_SETFLAGS` and
/// `FS_IOC_FSSETXATTR` (`chattr`), `FS_IOC_SETVERSION`, `FS_IOC_ENABLE_VERITY`,
/// `FS_IOC_SET_ENCRYPTION_POLICY` (`linux/fs.h`, `linux/fsverity.h`, `linux/fscrypt.h`),
/// `EXT4_IOC_SETVERSION` and `FAT_IOCTL_SET_ATTRIBUTES`. Where a number holds the size of `long`,
/// that of 32-bit programs follows.
const SETFLAGS: u32 = 0x4008_6602;
const SETFLAGS_32: u32 = 0x4004_6602;
const FSSETXATTR: u32 = 0x401c_5820;
const SETVERSION: u32 = 0x4008_7602;
const SETVERSION_32: u32 = 0x4004_7602;
const ENABLE_VERITY: u32 = 0x4080_6685;
const SET_ENCRYPTION_POLICY: u32 = 0x800c_6613;
const EXT4_SETVERSION: u32 = 0x4008_6604;
const EXT4_SETVERSION_32: u32 = 0x4004_6604;
const FAT_SET_ATTRIBUTES: u32 = 0x4004_7211;

/// `BTRFS_IOC_SNAP_CREATE`, `…_SUBVOL_CREATE` and `…_SNAP_DESTROY` with their second versions
/// (`linux/btrfs.h`): trees of files that get names, or lose them, past every hook on names.
const SNAPSHOT: u32 = 0x5000_9401;
const SNAPSHOT_2: u32 = 0x5000_9417;
const SUBVOLUME: u32 = 0x5000_940e;
const SUBVOLUME_2: u32 = 0x5000_9418;
const DESTROY: u32 = 0x5000_940f;
const DESTROY_2: u32 = 0x5000_943f;

#[inline(always)]
fn judge_ioctl(ctx: &LsmContext) -> i32 {
    match ctx.arg::<u32>(1) {
        TIOCSTI | TIOCLINUX => always(Action::Terminal),
        FIOSETOWN | SIOCSPGRP => always(Action::Signal),
        SNAPSHOT | SNAPSHOT_2 | SUBVOLUME | SUBVOLUME_2 | DESTROY | DESTROY_2 => {
            always(Action::Mount)
        }
        SETFLAGS
        | SETFLAGS_32
        | FSSETXATTR
        | SETVERSION
        | SETVERSION_32
        | ENABLE_VERITY
        | SET_ENCRYPTION_POLICY
        | EXT4_SETVERSION
        | EXT4_SETVERSION_32
        | FAT_SET_ATTRIBUTES => governed(Action::Metadata, EACCES, |task| {
            let Location { mount, dentry } = Location::of_file(address(ctx, 0));
            judge(task, mount, dentry, Right::Metadata.bit(), Action::Metadata)
        }),
        _ => 0,
    }
}

/// `security_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)`.
#[lsm(hook = "file_ioctl")]
pub fn file_ioctl(ctx: LsmContext) -> i32 {
    judge_ioctl(&ctx)
}

/// `security_file_ioctl_compat(…)`: the same by the 32-bit system call, which any program can
/// make. Kernels without this hook call `file_ioctl` for it.
#[lsm(hook = "file_ioctl_compat")]
pub fn file_ioctl_compat(ctx: LsmContext) -> i32 {
    judge_ioctl(&ctx)
}

/// `F_SETOWN` and `F_SETOWN_EX`.
const F_SETOWN: u32 = 8;
const F_SETOWN_EX: u32 = 15;

/// `security_file_fcntl(struct file *file, unsigned int cmd, unsigned long arg)`: a process may
/// have itself signalled for a descriptor, and nobody else.
#[lsm(hook = "file_fcntl")]
pub fn file_fcntl(ctx: LsmContext) -> i32 {
    let owner = ctx.arg::<u64>(2) as u32;
    match ctx.arg::<u32>(1) {
        // SAFETY: the helper has no arguments and cannot fail.
        F_SETOWN if owner == 0 || owner == (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32 => {
            0
        }
        F_SETOWN | F_SETOWN_EX => always(Action::Signal),
        _ => 0,
    }
}
