//! Acts that reach a file by an unusual way.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("openat2", openat2),
    ("fchdir-read", fchdir_read),
    ("folder-kept", folder_kept),
    ("handle", |a| handle(argument(a, 0)?, &[argument(a, 0)?, b"/", argument(a, 1)?].concat())),
    ("handle-on", |a| handle(argument(a, 0)?, argument(a, 1)?)),
    ("watch", watch),
];

fn folder(path: &[u8]) -> io::Result<OwnedFd> {
    sys::open(path, libc::O_PATH | libc::O_DIRECTORY, 0)
}

/// Opens a file relative to a folder, with the RESOLVE_… flags that a number stands for.
fn openat2(a: Arguments) -> Done {
    let (folder, name) = (folder(argument(a, 0)?)?, sys::text(argument(a, 1)?)?);
    // struct open_how: flags, mode, resolve.
    let how = [(libc::O_RDONLY | libc::O_CLOEXEC) as u64, 0, parsed(a, 2)?];
    let arguments = [
        i64::from(folder.as_raw_fd()),
        name.as_ptr() as i64,
        how.as_ptr() as i64,
        size_of_val(&how) as i64,
        0,
        0,
    ];
    // SAFETY: the pointers are to our own string and structure, which is as long as is said.
    unsafe { sys::call(libc::SYS_openat2, arguments) }.map(sys::owned)?;
    Ok(String::new())
}

fn fchdir_read(a: Arguments) -> Done {
    let folder = folder(argument(a, 0)?)?;
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::fchdir(folder.as_raw_fd()) })?;
    sys::open(argument(a, 1)?, libc::O_RDONLY, 0)?;
    Ok(String::new())
}

/// Keeps a folder, tries to rename it, and opens a file in it, wherever it is then.
fn folder_kept(a: Arguments) -> Done {
    let kept = folder(argument(a, 0)?)?;
    let (old, new) = (sys::text(argument(a, 0)?)?, sys::text(argument(a, 1)?)?);
    // What counts is whether the file can be read in the end.
    // SAFETY: both paths are NUL-terminated strings.
    let _ = unsafe { libc::rename(old.as_ptr(), new.as_ptr()) };
    sys::open(&[&sys::fd_path(&kept), &b"/"[..], argument(a, 2)?].concat(), libc::O_RDONLY, 0)?;
    Ok(String::new())
}

/// `struct file_handle` with room for `MAX_HANDLE_SZ` bytes.
#[repr(C)]
struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; 128],
}

/// Opens a file by a handle, on the mount that a folder is on: no path is walked.
fn handle(mount: &[u8], file: &[u8]) -> Done {
    let (mount, file) = (sys::open(mount, libc::O_RDONLY, 0)?, sys::text(file)?);
    let mut handle = Handle { length: 128, kind: 0, bytes: [0; 128] };
    let (at, mut number) = ((&raw mut handle) as i64, 0_i32);
    let here = i64::from(libc::AT_FDCWD);
    let arguments = [here, file.as_ptr() as i64, at, (&raw mut number) as i64, 0, 0];
    // SAFETY: the handle has as much room as its length says, and the rest lives until the end.
    unsafe { sys::call(libc::SYS_name_to_handle_at, arguments) }?;
    let arguments = [i64::from(mount.as_raw_fd()), at, i64::from(libc::O_RDONLY), 0, 0, 0];
    // SAFETY: the handle is the one that the kernel has filled in.
    unsafe { sys::call(libc::SYS_open_by_handle_at, arguments) }.map(sys::owned)?;
    Ok(String::new())
}

/// Asks to be told of everything that happens to a file, or in a folder.
fn watch(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    // SAFETY: no memory is involved.
    let watcher = sys::check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) }).map(sys::owned)?;
    let events = libc::IN_ALL_EVENTS;
    // SAFETY: the path is a NUL-terminated string.
    sys::check(unsafe { libc::inotify_add_watch(watcher.as_raw_fd(), path.as_ptr(), events) })?;
    Ok(String::new())
}
