//! Acts that change what paths mean, or the machine under the boundary.

use std::{os::fd::AsRawFd as _, ptr::null};

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("overlay", overlay),
    ("umount-mounted", umount_mounted),
    ("fsmount", fsmount),
    ("fspick", |a| with_path(a, |path| call(libc::SYS_fspick, &[HERE, path, 0]))),
    ("mount-setattr", mount_setattr),
    ("setns-process", setns_process),
    // No segments: what was loaded is forgotten.
    ("kexec", |_| called(libc::SYS_kexec_load, &[0, 0, 0, 0])),
    ("reboot-key", reboot_key),
    ("iopl", |_| called(libc::SYS_iopl, &[3])),
    ("swapon", |a| with_path(a, |path| call(libc::SYS_swapon, &[path, 0]))),
    ("account", account),
    ("fanotify", fanotify),
    ("trusted-attribute", trusted_attribute),
    ("set-clock", set_clock),
    ("kernel-log", kernel_log),
];

const HERE: i64 = libc::AT_FDCWD as i64;

/// A system call given by number, whose pointers are to what lives until its end.
fn call(number: i64, given: &[i64]) -> std::io::Result<i64> {
    let mut arguments = [0; 6];
    arguments[..given.len()].copy_from_slice(given);
    // SAFETY: callers give numbers, and pointers to strings and structures of their own.
    unsafe { sys::call(number, arguments) }
}

fn called(number: i64, given: &[i64]) -> Done {
    call(number, given)?;
    Ok(String::new())
}

fn with_path(a: Arguments, body: impl Fn(i64) -> std::io::Result<i64>) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    body(path.as_ptr() as i64)?;
    Ok(String::new())
}

/// Lays the first folder over the second, at the third.
fn overlay(a: Arguments) -> Done {
    let options = [b"lowerdir=", argument(a, 0)?, b":", argument(a, 1)?].concat();
    let (options, at) = (sys::text(&options)?, sys::text(argument(a, 2)?)?);
    let kind = c"overlay".as_ptr() as i64;
    let options = options.as_ptr() as i64;
    called(libc::SYS_mount, &[kind, at.as_ptr() as i64, kind, 0, options])
}

/// Unmounts, and mounts again for the next who tries.
fn umount_mounted(a: Arguments) -> Done {
    let flags = i64::from(libc::MNT_DETACH);
    with_path(a, |path| call(libc::SYS_umount2, &[path, flags]))?;
    let kind = c"tmpfs".as_ptr() as i64;
    with_path(a, |path| call(libc::SYS_mount, &[kind, path, kind, 0, 0]))
}

fn fsmount(_: Arguments) -> Done {
    /// `FSCONFIG_CMD_CREATE`.
    const CREATE: i64 = 6;
    let context = call(libc::SYS_fsopen, &[c"tmpfs".as_ptr() as i64, 0]).map(sys::owned)?;
    let context = i64::from(context.as_raw_fd());
    call(libc::SYS_fsconfig, &[context, CREATE, 0, 0, 0])?;
    called(libc::SYS_fsmount, &[context, 0, 0])
}

fn mount_setattr(a: Arguments) -> Done {
    // MOUNT_ATTR_NODIRATIME, to be set.
    let attributes = [0x80_u64, 0, 0, 0];
    let (at, size) = (attributes.as_ptr() as i64, size_of_val(&attributes) as i64);
    with_path(a, |path| call(libc::SYS_mount_setattr, &[HERE, path, 0, at, size]))
}

/// Enters the mount namespace of a process.
fn setns_process(a: Arguments) -> Done {
    let process = call(libc::SYS_pidfd_open, &[parsed(a, 0)?, 0]).map(sys::owned)?;
    called(libc::SYS_setns, &[process.as_raw_fd().into(), libc::CLONE_NEWNS.into()])
}

/// Says what Ctrl-Alt-Del does: it ends no machine.
fn reboot_key(_: Arguments) -> Done {
    let magic = [libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2].map(|n| i64::from(n as u32));
    called(libc::SYS_reboot, &[magic[0], magic[1], libc::LINUX_REBOOT_CMD_CAD_OFF.into(), 0])
}

/// Has every process of the machine recorded in a file, and puts an end to that.
fn account(a: Arguments) -> Done {
    with_path(a, |path| call(libc::SYS_acct, &[path]))?;
    called(libc::SYS_acct, &[null::<u8>() as i64])
}

fn fanotify(_: Arguments) -> Done {
    /// `FAN_CLASS_CONTENT`: asked before a file is opened.
    const CONTENT: i64 = 4;
    let watcher = call(libc::SYS_fanotify_init, &[CONTENT, 0]).map(sys::owned)?;
    drop(watcher);
    Ok(String::new())
}

fn trusted_attribute(a: Arguments) -> Done {
    let name = c"trusted.test".as_ptr() as i64;
    let value = c"value".as_ptr() as i64;
    with_path(a, |path| call(libc::SYS_setxattr, &[path, name, value, 5, 0]))
}

/// Sets the clock to what it says.
fn set_clock(_: Arguments) -> Done {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let at = (&raw mut now) as i64;
    call(libc::SYS_clock_gettime, &[libc::CLOCK_REALTIME.into(), at])?;
    called(libc::SYS_clock_settime, &[libc::CLOCK_REALTIME.into(), at])
}

/// A `SYSLOG_ACTION_…` of the kernel's log, by number.
fn kernel_log(a: Arguments) -> Done {
    let mut text = [0_u8; 64];
    called(libc::SYS_syslog, &[parsed(a, 0)?, text.as_mut_ptr() as i64, 64])
}
