//! Acts that start or map programs by unusual ways.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
    ptr::{null, null_mut},
};

use libc::c_int;

use super::{Act, Trouble, argument};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("run-through-proc", run_through_proc),
    ("run-tmpfile", run_tmpfile),
    ("preload", preload),
    ("set-user-id", set_user_id),
    ("map-implied", |a| implied(a, map_again)),
    ("make-implied", |a| implied(a, make)),
    ("remap-implied", |a| implied(a, remap)),
];

fn text(a: Arguments, index: usize) -> Result<String, Trouble> {
    Ok(String::from_utf8_lossy(argument(a, index)?).into_owned())
}

/// Executes a path in a child.
fn execute(path: &[u8]) -> Done {
    let path = sys::text(path)?;
    let status = sys::in_child(|| {
        let arguments = [c"true".as_ptr(), null()];
        // SAFETY: both lists end with a null pointer, and the path is a NUL-terminated string.
        unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), [null()].as_ptr()) };
        io::Error::last_os_error().raw_os_error().unwrap_or(200)
    })?;
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(String::new()),
        number => Err(Trouble::Errno(number)),
    }
}

fn run_through_proc(a: Arguments) -> Done {
    let program = sys::open(argument(a, 0)?, libc::O_PATH, 0)?;
    execute(&sys::fd_path(&program))
}

/// Executes a copy of a program in a file of a folder that never had a name.
fn run_tmpfile(a: Arguments) -> Done {
    let content = fs::read(text(a, 1)?)?;
    let file = sys::open(argument(a, 0)?, libc::O_TMPFILE | libc::O_RDWR, 0o755)?;
    io::Write::write_all(&mut File::from(file.try_clone()?), &content)?;
    let program = sys::open(&sys::fd_path(&file), libc::O_RDONLY, 0)?;
    // What is open for writing is not executed.
    drop(file);
    execute(&sys::fd_path(&program))
}

/// Has the loader map a library into an allowed program, which goes on without it when it cannot:
/// that counts as EACCES here.
fn preload(a: Arguments) -> Done {
    let library = text(a, 0)?;
    let mut command = Command::new("/usr/bin/cat");
    let output = command.arg("/proc/self/maps").env("LD_PRELOAD", &library).output()?;
    is_executable(&String::from_utf8_lossy(&output.stdout), &library)
}

/// Whether a process's list of mappings has an executable one of a file.
fn is_executable(maps: &str, file: &str) -> Done {
    match maps.lines().any(|line| line.ends_with(file) && line.contains(" r-x")) {
        true => Ok(String::new()),
        false => Err(Trouble::Errno(libc::EACCES)),
    }
}

/// Has another user run a set-user-ID copy of `id`, which must make it root; without that, EPERM.
fn set_user_id(a: Arguments) -> Done {
    let output = Command::new(text(a, 0)?).arg("-u").uid(1000).gid(1000).output()?;
    match output.stdout.as_slice() {
        b"0\n" => Ok(String::new()),
        b"1000\n" => Err(Trouble::Errno(libc::EPERM)),
        other => Err(Trouble::Other(String::from_utf8_lossy(other).into_owned())),
    }
}

/// How many bytes are mapped: two pages.
const MAPPED: usize = 8192;

/// Maps the start of a file, shared, to read.
fn map(file: &File) -> io::Result<*mut libc::c_void> {
    let fd = file.as_raw_fd();
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let at = unsafe { libc::mmap(null_mut(), MAPPED, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at) }
}

/// Maps a file, makes what is readable executable, and does something with the mapping; it must
/// have a mapping of the file that is executable then.
fn implied(a: Arguments, then: fn(&File, *mut libc::c_void) -> io::Result<()>) -> Done {
    let name = text(a, 0)?;
    // Only of a file that is open for writing is a mapping truly shared, and can be mapped anew.
    let file = File::from(sys::open(argument(a, 0)?, libc::O_RDWR, 0)?);
    let at = map(&file)?;
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::personality(libc::READ_IMPLIES_EXEC as libc::c_ulong) })?;
    let result = then(&file, at);
    // SAFETY: as above.
    unsafe { libc::personality(0) };
    result?;
    is_executable(&fs::read_to_string("/proc/self/maps")?, &name)
}

fn map_again(file: &File, _: *mut libc::c_void) -> io::Result<()> {
    map(file).map(drop)
}

fn make(_: &File, at: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: the mapping is ours, and nothing in it is used.
    done(unsafe { libc::mprotect(at, MAPPED, libc::PROT_READ) })
}

fn remap(_: &File, at: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: as in `make`; the first page of the mapping shows the file's second.
    done(unsafe { libc::remap_file_pages(at, MAPPED / 2, 0, 1, 0) })
}

fn done(result: c_int) -> io::Result<()> {
    sys::check(result).map(drop)
}
