//! All system calls on one path or descriptor, and what they have in common.

use std::io;

use libc::{AT_FDCWD, c_char, c_int};

use super::{
    answer,
    descriptors::{ON_DESCRIPTOR, WAYS, of_descriptor},
    objects::{self, Answer, named, one},
    paths::ON_PATH,
};

/// Makes every call on every object by a user.
///
/// # Errors
///
/// When an object cannot be made.
pub(super) fn all(user: u32, record: &mut String) -> io::Result<()> {
    let objects = objects::all();
    for flags in flags() {
        for object in &objects {
            let call = format!("open-{flags:o}");
            // A FIFO would make it wait for another.
            let flags = flags | libc::O_NONBLOCK;
            one(user, &call, object, record, |p| opened(raw!(SYS_open, p, flags, 0o640)))?;
        }
    }
    for (call, body) in ON_PATH {
        for object in &objects {
            one(user, call, object, record, body)?;
        }
    }
    for (way, flags) in WAYS {
        for object in &objects {
            for (call, body) in ON_DESCRIPTOR {
                let call = format!("{call}-of-{way}");
                let mut is_open = true;
                one(user, &call, object, record, |p| {
                    let answer = of_descriptor(p, flags, *body);
                    is_open = answer.is_ok();
                    answer.unwrap_or_else(|errno| (Err(errno), "cannot be opened".to_owned()))
                })?;
                // No other call will have a descriptor either.
                if !is_open {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Flags that are tried in all combinations.
const FLAGS: [c_int; 5] =
    [libc::O_CREAT, libc::O_EXCL, libc::O_TRUNC, libc::O_DIRECTORY, libc::O_NOFOLLOW];

/// All flags of `open` that are tried: every combination with each access mode, with `O_PATH`, and
/// those of unnamed files.
fn flags() -> Vec<c_int> {
    let mut all = Vec::new();
    for mode in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR] {
        for chosen in 0..1 << FLAGS.len() {
            let picked = FLAGS.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
            all.push(picked.fold(mode, |flags, (_, flag)| flags | flag));
        }
        all.extend([0, libc::O_EXCL, libc::O_TRUNC].map(|more| mode | libc::O_TMPFILE | more));
    }
    for more in [0, libc::O_DIRECTORY, libc::O_NOFOLLOW, libc::O_NOFOLLOW | libc::O_CREAT] {
        all.push(libc::O_PATH | more);
    }
    let append = libc::O_WRONLY | libc::O_APPEND;
    all.extend([3, 3 | libc::O_CREAT, append, append | libc::O_TRUNC, append | libc::O_CREAT]);
    all.extend([libc::O_NOATIME, libc::O_DIRECT, libc::O_SYNC | libc::O_WRONLY, libc::O_ASYNC]);
    all
}

/// A result with nothing more to say.
pub(super) fn plain(result: impl Into<i64>) -> Answer {
    (answer(result), String::new())
}

/// Closes what was opened and says what it was.
pub(super) fn opened(result: impl Into<i64>) -> Answer {
    let result = answer(result);
    let Ok(fd) = result else { return (result, String::new()) };
    let fd = fd as c_int;
    // SAFETY: an all-zero stat is valid; the pointer is to our own variable; the descriptor is
    // ours, and nobody uses it afterwards.
    let told = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        let is = libc::fstat(fd, &raw mut stat);
        let flags = libc::fcntl(fd, libc::F_GETFL);
        let mut byte = [0_u8; 16];
        let read = answer(libc::read(fd, byte.as_mut_ptr().cast(), 16) as i64);
        libc::close(fd);
        format!("{is} {:o} {} {flags:o} read {}", stat.st_mode, stat.st_nlink, named(read))
    };
    (Ok(0), told)
}

pub(super) const HERE: c_int = AT_FDCWD;
pub(super) const EMPTY: c_int = libc::AT_EMPTY_PATH;
pub(super) const NOFOLLOW: c_int = libc::AT_SYMLINK_NOFOLLOW;
pub(super) fn times(seconds: i64, nanoseconds: i64) -> [libc::timespec; 2] {
    [libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds }; 2]
}

/// Executes it in a child. The result is how the child ended, or 100 and the errno.
pub(super) fn execute(call: impl FnOnce()) -> Answer {
    let ended = crate::sys::in_child(|| {
        call();
        io::Error::last_os_error().raw_os_error().map_or(250, |errno| 100 + errno)
    });
    (ended.map(i64::from).map_err(|error| error.raw_os_error().unwrap_or(0)), String::new())
}

/// No environment.
pub(super) static NOTHING: usize = 0;
pub(super) const WORDS: [*const c_char; 2] = [c"program".as_ptr(), std::ptr::null()];

pub(super) fn execveat(fd: c_int, path: *const c_char, flags: c_int) -> Answer {
    execute(|| {
        raw!(SYS_execveat, fd, path, WORDS.as_ptr(), &raw const NOTHING, flags);
    })
}
