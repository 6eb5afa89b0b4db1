//! System calls on two paths.

use std::{ffi::CStr, io};

use libc::{AT_FDCWD, c_char, c_int, c_long, c_uint};

use super::{
    answer,
    objects::{self, Answer, Object, one},
};

/// A call on two paths.
type OnPair = fn(*const c_char, *const c_char) -> Answer;

/// Kinds of object that a pair is made of; the others differ only as one path does.
const KINDS: &[&str] = &[
    "file",
    "own",
    "folder",
    "own-folder",
    "in-sticky",
    "in-locked",
    "link",
    "link-to-folder",
    "fifo",
    "device",
    "immutable",
    "on-read-only",
    "new-on-full",
    "mount",
    "missing",
    "below-file",
    "file-slash",
    "missing-slash",
    "dot",
    "no-name",
    "bad-address",
    "name-256",
];

fn call(number: c_long, from: *const c_char, to: *const c_char, flags: c_uint) -> Answer {
    // SAFETY: the paths are NUL-terminated strings, or meant to be bad.
    let result = unsafe { libc::syscall(number, AT_FDCWD, from, AT_FDCWD, to, flags) };
    (answer(result), String::new())
}

fn rename(from: *const c_char, to: *const c_char, flags: c_uint) -> Answer {
    call(libc::SYS_renameat2, from, to, flags)
}

fn link(from: *const c_char, to: *const c_char, flags: c_int) -> Answer {
    call(libc::SYS_linkat, from, to, flags as c_uint)
}

const CALLS: &[(&str, OnPair)] = &[
    ("rename", |a, b| call(libc::SYS_renameat, a, b, 0)),
    ("rename-noreplace", |a, b| rename(a, b, libc::RENAME_NOREPLACE)),
    ("rename-exchange", |a, b| rename(a, b, libc::RENAME_EXCHANGE)),
    ("rename-whiteout", |a, b| rename(a, b, libc::RENAME_WHITEOUT)),
    ("rename-contradiction", |a, b| rename(a, b, libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE)),
    ("rename-wrong", |a, b| rename(a, b, 1 << 20)),
    ("link", |a, b| link(a, b, 0)),
    ("link-follow", |a, b| link(a, b, libc::AT_SYMLINK_FOLLOW)),
    ("link-wrong", |a, b| link(a, b, 1 << 20)),
    ("symlink", |a, b| {
        // SAFETY: as above.
        (answer(unsafe { libc::syscall(libc::SYS_symlinkat, a, AT_FDCWD, b) }), String::new())
    }),
];

/// Makes every call on every pair by a user.
///
/// # Errors
///
/// When an object cannot be made.
pub(super) fn all(user: u32, record: &mut String) -> io::Result<()> {
    let objects = objects::all();
    let chosen: Vec<&Object> =
        objects.iter().filter(|object| KINDS.contains(&object.name)).collect();
    for (name, body) in CALLS {
        for first in &chosen {
            for second in &chosen {
                // The first is made in a folder of its own: both may have the same name.
                let Some(path) = moved(first)? else { continue };
                let call = format!("{name} {} to", first.name);
                let from = path.as_deref();
                one(user, &call, second, record, |to| {
                    let pointer = from.map_or(std::ptr::without_provenance(1), CStr::as_ptr);
                    let (result, _) = body(pointer, to);
                    (result, objects::state(from))
                })?;
            }
        }
    }
    Ok(())
}

/// Makes an object, and moves what it is in from `tree` to `tree/from`. Gives its path there;
/// `None` inside stands for an address that cannot be read.
fn moved(object: &Object) -> io::Result<Option<Option<std::ffi::CString>>> {
    let Some(path) = object.path() else { return Ok(Some(None)) };
    let text = path.to_string_lossy();
    object.make()?;
    let Some(name) = text.strip_prefix("tree/") else { return Ok(Some(Some(path.to_owned()))) };
    let made: Vec<_> = std::fs::read_dir("tree")?.collect::<Result<_, _>>()?;
    std::fs::create_dir("tree/from")?;
    std::os::unix::fs::chown("tree/from", Some(1000), Some(1000))?;
    for entry in made {
        std::fs::rename(entry.path(), std::path::Path::new("tree/from").join(entry.file_name()))?;
    }
    Ok(Some(crate::sys::text(format!("tree/from/{name}").as_bytes()).ok()))
}
