//! Acts on what a file system keeps about a file: times, extended attributes, access control
//! lists, flags.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr::null,
};

use libc::{c_char, c_int};

use super::{Act, Trouble, argument, uring};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("set-times", |a| set_times(a, &SOME_TIMES, 0)),
    ("set-modified", |a| set_times(a, &ONLY_MODIFIED, 0)),
    ("touch", |a| set_times(a, &NOW, 0)),
    ("set-times-link", |a| set_times(a, &SOME_TIMES, libc::AT_SYMLINK_NOFOLLOW)),
    ("set-times-descriptor", set_times_descriptor),
    ("set-times-named", set_times_named),
    ("set-xattr", |a| xattr(a, libc::setxattr)),
    ("set-xattr-link", |a| xattr(a, libc::lsetxattr)),
    ("set-xattr-descriptor", set_xattr_descriptor),
    ("set-xattr-named", set_xattr_named),
    ("set-xattr-at", set_xattr_at),
    ("set-xattr-pipe", set_xattr_pipe),
    ("remove-xattr", |a| remove_xattr(a, libc::removexattr)),
    ("remove-xattr-link", |a| remove_xattr(a, libc::lremovexattr)),
    ("remove-xattr-descriptor", remove_xattr_descriptor),
    ("set-acl", set_acl),
    ("remove-acl", remove_acl),
    ("set-flags", set_flags),
    ("set-flags-32", set_flags_32),
    ("set-flags-at", set_flags_at),
    ("uring-set-xattr", |a| uring_set_xattr(a, false)),
    ("uring-set-xattr-later", |a| uring_set_xattr(a, true)),
    ("append", append),
    ("drop-privileges-by-write", drop_privileges),
];

/// Access and modification time.
type Times = [libc::timespec; 2];

const fn at(tv_sec: i64, tv_nsec: i64) -> libc::timespec {
    libc::timespec { tv_sec, tv_nsec }
}

const SOME_TIMES: Times = [at(1, 0), at(2, 0)];
const ONLY_MODIFIED: Times = [at(0, libc::UTIME_OMIT), at(2, 0)];
const NOW: Times = [at(0, libc::UTIME_NOW), at(0, libc::UTIME_NOW)];

fn set_times(a: Arguments, times: &Times, flags: c_int) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    // SAFETY: the path is a NUL-terminated string, and there are two times.
    sys::check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), flags) })?;
    Ok(String::new())
}

fn for_reading(a: Arguments) -> io::Result<OwnedFd> {
    sys::open(argument(a, 0).unwrap_or_default(), libc::O_RDONLY, 0)
}

/// Sets the times of a file that is only open for reading.
fn set_times_descriptor(a: Arguments) -> Done {
    let file = for_reading(a)?;
    // SAFETY: there are two times.
    sys::check(unsafe { libc::futimens(file.as_raw_fd(), SOME_TIMES.as_ptr()) })?;
    Ok(String::new())
}

/// What `/proc/self/fd` calls a file that was only named.
fn named(a: Arguments) -> io::Result<(OwnedFd, Vec<u8>)> {
    let name = sys::open(argument(a, 0).unwrap_or_default(), libc::O_PATH, 0)?;
    let path = sys::fd_path(&name);
    Ok((name, path))
}

fn set_times_named(a: Arguments) -> Done {
    let (_name, path) = named(a)?;
    set_times(&[path], &SOME_TIMES, 0)
}

/// An attribute that any file may have, on every file system that has attributes: a capability of
/// a program (`struct vfs_cap_data`, revision 2, CAP_CHOWN).
const CAPABILITY: [u8; 20] = [0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CAPABILITY_NAME: &std::ffi::CStr = c"security.capability";

type SetXattr =
    unsafe extern "C" fn(*const c_char, *const c_char, *const libc::c_void, usize, c_int) -> c_int;

fn xattr(a: Arguments, call: SetXattr) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    let (name, value) = (CAPABILITY_NAME.as_ptr(), CAPABILITY.as_ptr().cast());
    // SAFETY: both are NUL-terminated strings, and the value is as long as said.
    sys::check(unsafe { call(path.as_ptr(), name, value, CAPABILITY.len(), 0) })?;
    Ok(String::new())
}

fn set_on_descriptor(file: &OwnedFd, name: &std::ffi::CStr) -> Done {
    let value = CAPABILITY.as_ptr().cast();
    // SAFETY: the name is a NUL-terminated string, and the value is as long as said.
    let set = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value, 20, 0) };
    sys::check(set)?;
    Ok(String::new())
}

fn set_xattr_descriptor(a: Arguments) -> Done {
    set_on_descriptor(&for_reading(a)?, CAPABILITY_NAME)
}

fn set_xattr_named(a: Arguments) -> Done {
    let (_name, path) = named(a)?;
    xattr(&[path], libc::setxattr)
}

/// By `setxattrat`, since Linux 6.13.
fn set_xattr_at(a: Arguments) -> Done {
    /// `__NR_setxattrat`.
    const NUMBER: libc::c_long = 463;
    let path = sys::text(argument(a, 0)?)?;
    // struct xattr_args: the value's address, its length, flags.
    let given = [CAPABILITY.as_ptr() as u64, CAPABILITY.len() as u64];
    let arguments = [
        i64::from(libc::AT_FDCWD),
        path.as_ptr() as i64,
        0,
        CAPABILITY_NAME.as_ptr() as i64,
        given.as_ptr() as i64,
        16,
    ];
    // SAFETY: all that is pointed to lives until the end of the call.
    unsafe { sys::call(NUMBER, arguments) }?;
    Ok(String::new())
}

/// Sets times of a pipe, which has no name.
fn set_xattr_pipe(_: Arguments) -> Done {
    let (reader, _writer) = io::pipe()?;
    // SAFETY: there are two times.
    sys::check(unsafe { libc::futimens(reader.as_raw_fd(), SOME_TIMES.as_ptr()) })?;
    Ok(String::new())
}

/// Removes an attribute that the file does not have: whoever may is told ENODATA.
fn remove_xattr(
    a: Arguments,
    call: unsafe extern "C" fn(*const c_char, *const c_char) -> c_int,
) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    // SAFETY: both are NUL-terminated strings.
    sys::check(unsafe { call(path.as_ptr(), CAPABILITY_NAME.as_ptr()) })?;
    Ok(String::new())
}

fn remove_xattr_descriptor(a: Arguments) -> Done {
    let file = for_reading(a)?;
    // SAFETY: the name is a NUL-terminated string.
    sys::check(unsafe { libc::fremovexattr(file.as_raw_fd(), CAPABILITY_NAME.as_ptr()) })?;
    Ok(String::new())
}

/// Lets user 1000 read a file, as `setfacl -m u:1000:r` does.
fn set_acl(a: Arguments) -> Done {
    // struct posix_acl_xattr_header, then entries of tag, permissions and number: owner, user
    // 1000, group, mask, others.
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 4, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(number.to_le_bytes());
    }
    let path = sys::text(argument(a, 0)?)?;
    let (name, value) = (c"system.posix_acl_access".as_ptr(), list.as_ptr().cast());
    // SAFETY: both are NUL-terminated strings, and the value is as long as said.
    sys::check(unsafe { libc::setxattr(path.as_ptr(), name, value, list.len(), 0) })?;
    Ok(String::new())
}

fn remove_acl(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    let name = c"system.posix_acl_access".as_ptr();
    // SAFETY: both are NUL-terminated strings.
    sys::check(unsafe { libc::removexattr(path.as_ptr(), name) })?;
    Ok(String::new())
}

/// `FS_IOC_SETFLAGS`, and what 32-bit programs call it.
const SETFLAGS: u64 = 0x4008_6602;
const SETFLAGS_32: u32 = 0x4004_6602;
/// `FS_NODUMP_FL`.
const NODUMP: c_int = 0x40;

/// As `chattr +d` does, with a descriptor that is good for reading only.
fn set_flags(a: Arguments) -> Done {
    let file = for_reading(a)?;
    let flags = NODUMP;
    // SAFETY: the argument is a pointer to an int, as the kernel takes it.
    let set = unsafe { libc::ioctl(file.as_raw_fd(), SETFLAGS as _, &raw const flags) };
    sys::check(set)?;
    Ok(String::new())
}

fn set_flags_32(a: Arguments) -> Done {
    let file = for_reading(a)?;
    sys::ioctl_32(file.as_raw_fd(), SETFLAGS_32, NODUMP as u32)?;
    Ok(String::new())
}

/// By `file_setattr`, since Linux 6.17.
fn set_flags_at(a: Arguments) -> Done {
    /// `__NR_file_setattr`.
    const NUMBER: libc::c_long = 469;
    let path = sys::text(argument(a, 0)?)?;
    // struct file_attr: FS_XFLAG_NODUMP, then sizes and the project.
    let attributes = [0x80_u64, 0, 0];
    let arguments =
        [i64::from(libc::AT_FDCWD), path.as_ptr() as i64, attributes.as_ptr() as i64, 24, 0, 0];
    // SAFETY: all that is pointed to lives until the end of the call.
    unsafe { sys::call(NUMBER, arguments) }?;
    Ok(String::new())
}

/// Through an io_uring; `later`: after the task's credentials were made anew, so that they are
/// not those of the ring's worker.
fn uring_set_xattr(a: Arguments, later: bool) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    if later {
        uring::open(&sys::text(b"/dev/null")?, true)?;
        // SAFETY: no memory is involved.
        sys::check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) })?;
    }
    uring::set_xattr(&path, CAPABILITY_NAME, &CAPABILITY)?;
    Ok(String::new())
}

/// Writes to the end of a file, by which its times change.
fn append(a: Arguments) -> Done {
    let file = sys::open(argument(a, 0)?, libc::O_WRONLY | libc::O_APPEND, 0)?;
    // SAFETY: one byte of a string is read.
    sys::check(unsafe { libc::write(file.as_raw_fd(), c"x".as_ptr().cast(), 1) } as i64)?;
    Ok(String::new())
}

/// Writes as another user to a file with the set-user-ID bit, which the kernel takes away then.
fn drop_privileges(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    // SAFETY: the path is a NUL-terminated string.
    sys::check(unsafe { libc::chmod(path.as_ptr(), 0o4666) })?;
    // SAFETY: this process does one act; the lists are empty.
    unsafe {
        sys::check(libc::setgroups(0, null()))?;
        sys::check(libc::setresuid(1000, 1000, 1000))?;
    }
    append(a)
}
