//! The governed side: opens what it is told to, once or in a storm, and says what came of it.
//!
//! It is told on a FIFO called `ask` and answers on one called `answer`, a line each, so that both
//! sides know when a change is complete.

use std::{
    ffi::CString,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Counts, SHUT};
use crate::sys;

/// Threads that open.
const READERS: usize = 2;

/// Does what it is told in a folder until the end of its input.
pub(crate) fn main(arguments: &[Vec<u8>]) -> ExitCode {
    let [folder] = arguments else { return ExitCode::from(2) };
    match serve(Path::new(std::ffi::OsStr::from_bytes(folder))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::from(1)
        }
    }
}

fn serve(folder: &Path) -> io::Result<()> {
    std::env::set_current_dir(folder)?;
    let mut answers = File::options().read(true).write(true).open("answer")?;
    let asks = File::options().read(true).write(true).open("ask")?;
    let mut held = None;
    for line in BufReader::new(asks).lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["open", path] => said(read(libc::AT_FDCWD, path)),
            ["hold", path] => {
                let flags = libc::O_PATH | libc::O_NOFOLLOW;
                held = Some(sys::open(path.as_bytes(), flags, 0)?);
                "held".to_owned()
            }
            ["held", name] => said(read_held(held.as_ref(), name)),
            ["storm", milliseconds, swaps, ..] => {
                let time = Duration::from_millis(milliseconds.parse().unwrap_or(0));
                storm(time, swaps == "swap", held.as_ref(), &words[3..]).to_string()
            }
            ["end"] => break,
            _ => format!("not understood: {line}"),
        };
        answers.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

fn said(read: io::Result<String>) -> String {
    match read {
        Ok(content) => content,
        Err(error) => sys::errno_name(error.raw_os_error().unwrap_or(0)),
    }
}

/// Opens a file and reads the word that it holds.
fn read(folder: i32, path: &str) -> io::Result<String> {
    let path = CString::new(path)?;
    // SAFETY: the path is a NUL-terminated string.
    let opened = unsafe { libc::openat(folder, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let mut content = [0; 8];
    let length = File::from(sys::owned(sys::check(opened)?)).read(&mut content)?;
    Ok(String::from_utf8_lossy(&content[..length]).into_owned())
}

/// Opens a name in what is held, or that itself when the name is `.`, wherever it is now.
fn read_held(held: Option<&OwnedFd>, name: &str) -> io::Result<String> {
    let held = held.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    match name {
        "." => read(libc::AT_FDCWD, &format!("/proc/self/fd/{}", held.as_raw_fd())),
        name => read(held.as_raw_fd(), name),
    }
}

/// Gives a file a second name that may be read, and reads it by that.
fn steal(held: Option<&OwnedFd>, path: &str) -> io::Result<String> {
    let from = CString::new(path)?;
    let folder = match path {
        "" => held.map_or(-1, |held| held.as_raw_fd()),
        _ => libc::AT_FDCWD,
    };
    let (to, flags) = (c"stolen".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: both paths are NUL-terminated strings.
    sys::check(unsafe { libc::linkat(folder, from.as_ptr(), libc::AT_FDCWD, to, flags) })?;
    let content = read(libc::AT_FDCWD, "stolen");
    std::fs::remove_file("stolen")?;
    content
}

/// Opens in a loop, in several threads: paths, and `=NAME` in what is held; `+PATH` and `+` get a
/// second name for a path, or for what is held, first.
fn storm(time: Duration, swaps: bool, held: Option<&OwnedFd>, targets: &[&str]) -> Counts {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = || {
            let mut counts = Counts::default();
            while !over.load(Ordering::Relaxed) {
                for target in targets {
                    counts.add(match (target.strip_prefix('='), target.strip_prefix('+')) {
                        (Some(name), _) => read_held(held, name),
                        (_, Some(path)) => steal(held, path),
                        _ => read(libc::AT_FDCWD, target),
                    });
                }
            }
            counts
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        if swaps {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    swap();
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < time {
            thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .fold(Counts::default(), |sum, reader| sum.and(reader.join().unwrap_or_default()))
    })
}

/// Has the symbolic link lead to the other place, in one step each: the boundary allows that.
fn swap() {
    for target in ["../shut/s", "../open/s"] {
        // Both fail only when the outside did the same a moment before.
        let _ = std::os::unix::fs::symlink(target, "inner");
        let _ = std::fs::rename("inner", "link");
    }
}

impl Counts {
    fn add(&mut self, read: io::Result<String>) {
        self.attempts += 1;
        match read {
            Ok(content) if content == SHUT => self.shut += 1,
            Ok(_) => self.open += 1,
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => self.refused += 1,
            Err(_) => self.missing += 1,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            attempts: self.attempts + other.attempts,
            refused: self.refused + other.refused,
            missing: self.missing + other.missing,
            open: self.open + other.open,
            shut: self.shut + other.shut,
        }
    }
}
