//! Acts by which the kernel itself moves what is in a file.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    ptr::null_mut,
};

use super::{Act, Trouble, argument};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("copy-range", copy_range),
    ("send-file", send_file),
    ("splice", splice),
    ("core-dump", core_dump),
];

fn both(a: Arguments) -> Result<(File, File), Trouble> {
    let from = sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?;
    Ok((from.into(), sys::open(argument(a, 1)?, libc::O_WRONLY, 0)?.into()))
}

fn copied(result: isize) -> Done {
    match sys::check(result as i64)? {
        0 => Err(Trouble::Other("nothing was copied".into())),
        _ => Ok(String::new()),
    }
}

fn copy_range(a: Arguments) -> Done {
    let (from, to) = both(a)?;
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: null stands for the files' own positions.
    copied(unsafe { libc::copy_file_range(from, null_mut(), to, null_mut(), 4, 0) })
}

fn send_file(a: Arguments) -> Done {
    let (from, to) = both(a)?;
    // SAFETY: null stands for the file's own position.
    copied(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), null_mut(), 4) })
}

fn splice(a: Arguments) -> Done {
    let from = sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?;
    let (_reader, writer) = io::pipe()?;
    let (from, to) = (from.as_raw_fd(), writer.as_raw_fd());
    // SAFETY: null stands for the files' own positions.
    copied(unsafe { libc::splice(from, null_mut(), to, null_mut(), 4, 0) })
}

/// Crashes in a folder, for the kernel to write a core dump there. That it does not gives no error
/// of its own; it counts as EACCES here.
fn core_dump(a: Arguments) -> Done {
    let folder = String::from_utf8_lossy(argument(a, 0)?).into_owned();
    sys::in_child(|| {
        let unlimited =
            libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the limit is ours.
        let raised = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const unlimited) } == 0;
        if raised && std::env::set_current_dir(&folder).is_ok() {
            let _ = sys::kill(std::process::id(), libc::SIGQUIT);
        }
        0
    })?;
    let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    match entries.any(|entry| entry.file_name().to_string_lossy().starts_with("core")) {
        true => Ok(String::new()),
        false => Err(Trouble::Errno(libc::EACCES)),
    }
}
