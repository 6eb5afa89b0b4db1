//! Landlock: a ruleset that lets folders be read, and everything else that it governs be refused.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::PathBuf,
};

/// `LANDLOCK_ACCESS_FS_EXECUTE`, which is not governed here, comes before these two.
const READ_FILE: u64 = 1 << 2;
/// `LANDLOCK_ACCESS_FS_READ_DIR`.
const READ_DIR: u64 = 1 << 3;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_ruleset_attr`, its first member.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Confines this thread, and what it becomes, to reading these files and below these folders.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn confine(folders: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    let attributes = Ruleset { handled_access_fs: READ_FILE | READ_DIR };
    // SAFETY: the structure and its size are those of `landlock_create_ruleset(2)`.
    let ruleset = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<Ruleset>(),
            0,
        )
    })?;
    // SAFETY: the descriptor is new, and nobody else's.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset as i32) };
    for path in folders {
        let opened = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        let is_folder = opened.metadata()?.is_dir();
        let allowed_access = if is_folder { READ_FILE | READ_DIR } else { READ_FILE };
        let rule = PathBeneath { allowed_access, parent_fd: opened.as_raw_fd() };
        // SAFETY: the structure is that of `landlock_add_rule(2)` for paths.
        check(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                PATH_BENEATH,
                &raw const rule,
                0,
            )
        })?;
    }
    // SAFETY: numbers alone.
    unsafe {
        check(i64::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))?;
        check(libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0))?;
    }
    Ok(())
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
