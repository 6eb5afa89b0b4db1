//! Acts on files and their names.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixStream,
    },
    path::Path,
};

use libc::c_int;

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// A system call on paths.
macro_rules! call {
    ($name:ident ( $($argument:expr),* )) => {
        // SAFETY: `one_path` and `two_paths` give NUL-terminated strings.
        unsafe { libc::$name($($argument),*) }
    };
}

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("open-read", |a| opened(a, libc::O_RDONLY)),
    ("open-write", |a| opened(a, libc::O_WRONLY)),
    ("open-both", |a| opened(a, libc::O_RDWR)),
    ("open-append", |a| opened(a, libc::O_WRONLY | libc::O_APPEND)),
    ("open-truncating", |a| opened(a, libc::O_RDONLY | libc::O_TRUNC)),
    ("open-neither", |a| opened(a, libc::O_ACCMODE)),
    ("create", |a| opened(a, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)),
    ("create-through", |a| opened(a, libc::O_WRONLY | libc::O_CREAT)),
    ("list", |a| opened(a, libc::O_RDONLY | libc::O_DIRECTORY)),
    ("tmpfile", |a| opened(a, libc::O_RDWR | libc::O_TMPFILE)),
    ("read", read),
    ("read-descriptor", read_descriptor),
    ("reopen", reopen),
    ("openat", openat),
    ("read-in-cwd", read_in_cwd),
    ("unlink-reopen", unlink_reopen),
    ("rename-reopen", rename_reopen),
    ("truncate", |a| one_path(a, |path| call!(truncate(path, 1)))),
    ("mkdir", |a| one_path(a, |path| call!(mkdir(path, 0o755)))),
    ("mkdir-briefly", mkdir_briefly),
    ("rmdir", |a| one_path(a, |path| call!(rmdir(path)))),
    ("unlink", |a| one_path(a, |path| call!(unlink(path)))),
    ("mknod", |a| one_path(a, |path| call!(mknod(path, libc::S_IFIFO | 0o644, 0)))),
    ("chmod", |a| one_path(a, |path| call!(chmod(path, 0o751)))),
    ("chown", |a| one_path(a, |path| call!(chown(path, 1000, 1000)))),
    ("symlink", |a| two_paths(a, |one, two| call!(symlink(one, two)))),
    ("link", |a| two_paths(a, |one, two| call!(link(one, two)))),
    ("rename", |a| two_paths(a, |one, two| call!(rename(one, two)))),
    ("exchange", exchange),
    ("link-descriptor", link_descriptor),
    ("tmpfile-link", tmpfile_link),
    ("receive", receive),
    ("deep-read", deep_read),
    ("memfd-reopen", memfd_reopen),
    ("pipe-reopen", pipe_reopen),
    ("write-text", write_text),
];

fn opened(a: Arguments, flags: c_int) -> Done {
    // O_NONBLOCK: a FIFO or a device may make an open wait.
    sys::open(argument(a, 0)?, flags | libc::O_NONBLOCK | libc::O_NOCTTY, 0o644)?;
    Ok(String::new())
}

fn one_path(a: Arguments, call: impl Fn(*const libc::c_char) -> c_int) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    sys::check(call(path.as_ptr()))?;
    Ok(String::new())
}

fn two_paths(
    a: Arguments,
    call: impl Fn(*const libc::c_char, *const libc::c_char) -> c_int,
) -> Done {
    let (one, two) = (sys::text(argument(a, 0)?)?, sys::text(argument(a, 1)?)?);
    sys::check(call(one.as_ptr(), two.as_ptr()))?;
    Ok(String::new())
}

/// Reads a whole file, and tells its text.
fn read(a: Arguments) -> Done {
    let mut text = Vec::new();
    File::from(sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads from a descriptor that the process was started with.
fn read_descriptor(a: Arguments) -> Done {
    let mut text = [0_u8; 64];
    let fd: c_int = parsed(a, 0)?;
    // SAFETY: the buffer is ours; a descriptor that is none gives an error.
    let length = sys::check(unsafe { libc::read(fd, text.as_mut_ptr().cast(), 64) } as i64)?;
    Ok(String::from_utf8_lossy(&text[..length as usize]).into_owned())
}

/// Names a file by a descriptor that may not read it, and opens that for reading.
fn reopen(a: Arguments) -> Done {
    let name = sys::open(argument(a, 0)?, libc::O_PATH, 0)?;
    sys::open(&sys::fd_path(&name), libc::O_RDONLY, 0)?;
    Ok(String::new())
}

/// Opens a file relative to a folder that was only named.
fn openat(a: Arguments) -> Done {
    let folder = sys::open(argument(a, 0)?, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let file = sys::text(argument(a, 1)?)?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path is a NUL-terminated string.
    sys::check(unsafe { libc::openat(folder.as_raw_fd(), file.as_ptr(), flags) })
        .map(sys::owned)?;
    Ok(String::new())
}

fn change_folder(folder: &[u8]) -> io::Result<()> {
    let folder = sys::text(folder)?;
    // SAFETY: the path is a NUL-terminated string.
    sys::check(unsafe { libc::chdir(folder.as_ptr()) }).map(drop)
}

fn read_in_cwd(a: Arguments) -> Done {
    change_folder(argument(a, 0)?)?;
    let path = [b"/proc/self/cwd/", argument(a, 1)?].concat();
    sys::open(&path, libc::O_RDONLY, 0)?;
    Ok(String::new())
}

/// Makes a folder that must not stay.
fn mkdir_briefly(a: Arguments) -> Done {
    one_path(a, |path| call!(mkdir(path, 0o755)))?;
    one_path(a, |path| call!(rmdir(path)))
}

/// Removes the only name of a file, and then opens it by a descriptor.
fn unlink_reopen(a: Arguments) -> Done {
    let name = sys::open(argument(a, 0)?, libc::O_PATH, 0)?;
    one_path(a, |path| call!(unlink(path)))?;
    sys::open(&sys::fd_path(&name), libc::O_RDONLY, 0)?;
    Ok(String::new())
}

/// Tries to give a file another name, and then opens it by a descriptor, renamed or not.
fn rename_reopen(a: Arguments) -> Done {
    let name = sys::open(argument(a, 0)?, libc::O_PATH, 0)?;
    // What counts is whether the file can be read in the end.
    let _ = two_paths(a, |one, two| call!(rename(one, two)));
    sys::open(&sys::fd_path(&name), libc::O_RDONLY, 0)?;
    Ok(String::new())
}

fn exchange(a: Arguments) -> Done {
    let (here, flags) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    two_paths(a, |one, two| call!(renameat2(here, one, here, two, flags)))
}

/// Gives a name to an open file, through its entry in `/proc/self/fd`.
fn name_descriptor(fd: &impl std::os::fd::AsRawFd, name: &[u8]) -> io::Result<()> {
    let (old, new) = (sys::text(&sys::fd_path(fd))?, sys::text(name)?);
    let here = libc::AT_FDCWD;
    // SAFETY: the paths are NUL-terminated strings.
    let result =
        unsafe { libc::linkat(here, old.as_ptr(), here, new.as_ptr(), libc::AT_SYMLINK_FOLLOW) };
    sys::check(result).map(drop)
}

fn link_descriptor(a: Arguments) -> Done {
    let file = sys::open(argument(a, 0)?, libc::O_PATH, 0)?;
    name_descriptor(&file, argument(a, 1)?)?;
    Ok(String::new())
}

/// Makes a file without a name in one folder, and names it in another.
fn tmpfile_link(a: Arguments) -> Done {
    let file = sys::open(argument(a, 0)?, libc::O_TMPFILE | libc::O_RDWR, 0o644)?;
    name_descriptor(&file, argument(a, 1)?)?;
    Ok(String::new())
}

/// Takes a descriptor from whoever serves a Unix socket, and reads from it. A descriptor that the
/// kernel keeps back gives no error of its own; it counts as EACCES here.
fn receive(a: Arguments) -> Done {
    let path = String::from_utf8_lossy(argument(a, 0)?).into_owned();
    let stream = UnixStream::connect(Path::new(&path))?;
    let Some(fd) = sys::receive_descriptor(stream.as_fd())? else {
        return Err(Trouble::Errno(libc::EACCES));
    };
    let mut byte = [0];
    File::from(fd).read_exact(&mut byte)?;
    Ok(String::new())
}

/// Goes down through folders of one name, a number of times, and reads the file `leaf` there.
fn deep_read(a: Arguments) -> Done {
    change_folder(argument(a, 0)?)?;
    for _ in 0..parsed::<u32>(a, 2)? {
        change_folder(argument(a, 1)?)?;
    }
    sys::open(argument(a, 3)?, libc::O_RDONLY, 0)?;
    Ok(String::new())
}

fn memfd_reopen(_: Arguments) -> Done {
    // SAFETY: the name is a NUL-terminated string.
    let file = sys::check(unsafe { libc::memfd_create(c"test".as_ptr(), 0) }).map(sys::owned)?;
    sys::open(&sys::fd_path(&file), libc::O_RDWR, 0)?;
    Ok(String::new())
}

fn pipe_reopen(_: Arguments) -> Done {
    let (reader, writer) = io::pipe()?;
    sys::open(&sys::fd_path(&reader), libc::O_RDONLY | libc::O_NONBLOCK, 0)?;
    sys::open(&sys::fd_path(&writer), libc::O_WRONLY | libc::O_NONBLOCK, 0)?;
    Ok(String::new())
}

/// Opens a file for writing and writes to it.
fn write_text(a: Arguments) -> Done {
    let mut file = File::from(sys::open(argument(a, 0)?, libc::O_WRONLY, 0)?);
    file.write_all(argument(a, 1)?)?;
    Ok(String::new())
}
