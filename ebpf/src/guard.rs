//! Hooks on what would change the boundary itself, or reach beyond the scope.

use aya_ebpf::{
    bindings::task_struct, helpers::generated::bpf_get_current_pid_tgid, macros::lsm,
    programs::LsmContext,
};
use ringfence_common::{Action, event::Destination, guard};

use crate::{
    emit::{self, EPERM, NOWHERE},
    file::address,
    kernel::{current, offset, read_u32, read_u64},
    scope::{Task, governed, is_member},
    table::table,
};

/// `CAP_OPT_NOAUDIT`: the kernel only asks; nobody sees the answer.
const NO_AUDIT: u32 = 2;

#[inline(always)]
pub(crate) fn refuse(task: &mut Task, action: Action, detail: u32) -> i32 {
    let Some(table) = table() else { return -EPERM };
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
        let Some(table) = table() else { return -EPERM };
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
        if is_member(target) {
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

/// `security_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)`.
#[lsm(hook = "file_ioctl")]
pub fn file_ioctl(ctx: LsmContext) -> i32 {
    match ctx.arg::<u32>(1) {
        TIOCSTI | TIOCLINUX => always(Action::Terminal),
        FIOSETOWN | SIOCSPGRP => always(Action::Signal),
        _ => 0,
    }
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
