//! Acts that run code which no file holds.

use std::{fs::File, io, os::fd::AsRawFd as _, ptr::null_mut};

use super::{Act, Trouble, argument};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("run-memory", |_| run(map(libc::MAP_ANONYMOUS, -1)?)),
    ("run-changed-copy", run_changed_copy),
];

const PAGE: usize = 4096;
/// `mov eax, 42; ret`.
const CODE: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];

/// Maps a private page to read and write.
fn map(flags: i32, fd: i32) -> io::Result<*mut u8> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | flags);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let at = unsafe { libc::mmap(null_mut(), PAGE, protection, flags, fd, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

/// Writes code to a page, makes it executable, and runs it.
fn run(page: *mut u8) -> Done {
    // SAFETY: the page is ours, and may be written.
    unsafe { page.copy_from_nonoverlapping(CODE.as_ptr(), CODE.len()) };
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: the page is ours, and nothing refers to it.
    sys::check(unsafe { libc::mprotect(page.cast(), PAGE, protection) })?;
    // SAFETY: the page holds a function that takes nothing and gives a number.
    let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(page) };
    match function() {
        42 => Ok(String::new()),
        other => Err(Trouble::Other(format!("the code gave {other}"))),
    }
}

/// Maps a program for itself alone, changes it in memory, and runs that.
fn run_changed_copy(a: Arguments) -> Done {
    let file = File::from(sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?);
    run(map(0, file.as_raw_fd())?)
}
