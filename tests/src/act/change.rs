//! Acts that change names, modes and owners by other calls than the usual.

use std::{
    ffi::CString,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixListener,
    },
};

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("link-empty", link_empty),
    ("whiteout", whiteout),
    ("bind-socket", bind_socket),
    ("mknod-device", mknod_device),
    // SAFETY: the numbers stand for themselves.
    ("chmod-open", |a| with_open(a, |fd| unsafe { libc::fchmod(fd.as_raw_fd(), 0o751) })),
    // SAFETY: as above.
    ("chown-open", |a| with_open(a, |fd| unsafe { libc::fchown(fd.as_raw_fd(), 1000, 1000) })),
    ("chmodat2", chmodat2),
    ("lchown", lchown),
];

fn path(a: Arguments, index: usize) -> Result<CString, Trouble> {
    Ok(sys::text(argument(a, index)?)?)
}

fn done(result: i32) -> Done {
    sys::check(result)?;
    Ok(String::new())
}

/// Gives another name to a file that a descriptor names.
fn link_empty(a: Arguments) -> Done {
    let file = sys::open(argument(a, 0)?, libc::O_PATH, 0)?;
    let (here, new) = (libc::AT_FDCWD, path(a, 1)?);
    let (file, none) = (file.as_raw_fd(), c"".as_ptr());
    // SAFETY: both paths are NUL-terminated strings.
    done(unsafe { libc::linkat(file, none, here, new.as_ptr(), libc::AT_EMPTY_PATH) })
}

/// Renames and leaves a whiteout at the old name.
fn whiteout(a: Arguments) -> Done {
    let (here, old, new) = (libc::AT_FDCWD, path(a, 0)?, path(a, 1)?);
    let flags = libc::RENAME_WHITEOUT;
    // SAFETY: both paths are NUL-terminated strings.
    done(unsafe { libc::renameat2(here, old.as_ptr(), here, new.as_ptr(), flags) })
}

fn bind_socket(a: Arguments) -> Done {
    UnixListener::bind(String::from_utf8_lossy(argument(a, 0)?).as_ref())?;
    Ok(String::new())
}

/// Makes a device: a path, its `S_IF…`, and both numbers.
fn mknod_device(a: Arguments) -> Done {
    let (path, kind) = (path(a, 0)?, parsed::<u32>(a, 1)?);
    let device = libc::makedev(parsed(a, 2)?, parsed(a, 3)?);
    // SAFETY: the path is a NUL-terminated string.
    done(unsafe { libc::mknod(path.as_ptr(), kind | 0o600, device) })
}

/// Opens a file to read, and does something with the descriptor.
fn with_open(a: Arguments, call: impl Fn(&OwnedFd) -> i32) -> Done {
    done(call(&sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?))
}

fn chmodat2(a: Arguments) -> Done {
    /// `fchmodat2`, of which the C library knows nothing yet.
    const FCHMODAT2: i64 = 452;
    let path = path(a, 0)?;
    let flags = i64::from(libc::AT_SYMLINK_NOFOLLOW);
    let arguments = [i64::from(libc::AT_FDCWD), path.as_ptr() as i64, 0o751, flags, 0, 0];
    // SAFETY: the path is a NUL-terminated string.
    unsafe { sys::call(FCHMODAT2, arguments) }?;
    Ok(String::new())
}

fn lchown(a: Arguments) -> Done {
    let path = path(a, 0)?;
    // SAFETY: the path is a NUL-terminated string.
    done(unsafe { libc::lchown(path.as_ptr(), 1000, 1000) })
}
