//! Starts a command inside a scope: it is governed before it runs its first instruction.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::Command,
};

use crate::{kernel::sys, user::User};

/// The kernel called none of our programs for the new process: `ENOTRECOVERABLE`, which no step
/// of a start yields by itself.
const NOT_GOVERNED: i32 = libc::ENOTRECOVERABLE;
/// The process could not be moved into the scope, or its rights not be dropped: `EOWNERDEAD`.
const NOT_PREPARED: i32 = libc::EOWNERDEAD;

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The programs are attached, yet the kernel does not call them.
    #[error(
        "the kernel does not call security programs: `bpf` must be in its list of security \
         modules (boot with `lsm=lockdown,yama,bpf` or your list with `bpf` appended)"
    )]
    Ungoverned,
    /// The new process could not be put under the policy.
    #[error("the new process could not be moved into its scope")]
    Unprepared,
    /// The command cannot be executed.
    #[error("cannot execute `{}`: {error}", command.to_string_lossy())]
    Refused {
        /// The command.
        command: OsString,
        /// Why.
        error: io::Error,
    },
}

/// A command, to be started with [`Command::spawn`] in the scope whose cgroup `entrance` leads
/// into.
pub(crate) fn command(words: &[OsString], entrance: File, user: Option<User>) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some((name, home)) = user.as_ref().and_then(|user| user.login.as_ref()) {
        command.env("USER", name).env("LOGNAME", name).env("HOME", home);
    }
    // SAFETY: the closure runs between fork and exec and makes only system calls, which are
    // async-signal-safe: it neither allocates nor locks.
    unsafe { command.pre_exec(move || prepare(&entrance, user.as_ref())) };
    Some(command)
}

/// What the failure of [`Command::spawn`] means.
pub(crate) fn explain(words: &[OsString], error: io::Error) -> LaunchError {
    match error.raw_os_error() {
        Some(NOT_GOVERNED) => LaunchError::Ungoverned,
        Some(NOT_PREPARED) => LaunchError::Unprepared,
        _ => LaunchError::Refused { command: words.first().cloned().unwrap_or_default(), error },
    }
}

/// Runs in the new process, before the command.
fn prepare(mut entrance: &File, user: Option<&User>) -> io::Result<()> {
    let not_prepared = |_| io::Error::from_raw_os_error(NOT_PREPARED);
    // "0" is the writing process itself (cgroups(7)).
    entrance.write_all(b"0").map_err(not_prepared)?;
    // By trying: from here on the bpf system call must be refused.
    if !sys::is_bpf_refused() {
        return Err(io::Error::from_raw_os_error(NOT_GOVERNED));
    }
    if let Some(user) = user {
        become_user(user).map_err(not_prepared)?;
    }
    // No set-user-ID program may give what the policy's author did not think of.
    check(rustix::thread::set_no_new_privs(true)).map_err(not_prepared)?;
    // Whatever else is open here was opened by no rule.
    // SAFETY: the call changes flags of descriptors only; those of this process's own Rust
    // objects stay valid until exec.
    let closed = unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    if closed != 0 { Err(io::Error::from_raw_os_error(NOT_PREPARED)) } else { Ok(()) }
}

fn check(result: rustix::io::Result<()>) -> io::Result<()> {
    result.map_err(io::Error::from)
}

/// Groups first: without the user's rights they cannot be changed any more.
fn become_user(user: &User) -> io::Result<()> {
    // SAFETY: the pointer and length are those of a live slice; after fork there is one thread,
    // so that the raw calls, which act on a thread, act on the process.
    let failed = unsafe {
        libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) != 0
            || libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) != 0
            || libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}
