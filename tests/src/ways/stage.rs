//! What the rows of the catalogue find in their folders: files, programs, odd names.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
};

use ringfence_tests::catalogue::Stage;

use crate::{harness::Failure, sys};

/// Puts into the folder of a case what its stage promises.
pub(super) fn of(stage: Stage) -> fn(&Path) -> io::Result<()> {
    match stage {
        Stage::Files | Stage::Mounts | Stage::Control | Stage::Network => files,
        Stage::Sockets => files_and_link,
        Stage::Programs => programs,
        Stage::Names => names,
    }
}

/// Files in `work`, `ro` and `out`.
pub(super) fn files(base: &Path) -> io::Result<()> {
    for folder in ["work/sub", "work/denied", "work/unread", "ro", "out/empty", "out/folder"] {
        fs::create_dir_all(base.join(folder))?;
    }
    for file in [
        "work/file",
        "work/sub/file",
        "work/denied/secret",
        "work/unread/secret",
        "ro/file",
        "out/secret",
        "out/folder/file",
    ] {
        fs::write(base.join(file), "something")?;
    }
    symlink("../out/secret", base.join("work/link"))?;
    symlink("../out", base.join("work/folder-link"))?;
    symlink("../out/made", base.join("work/dangling"))
}

/// The same, with a link to a service outside.
fn files_and_link(base: &Path) -> io::Result<()> {
    files(base)?;
    fs::remove_file(base.join("work/link"))?;
    symlink("../../closed.sock", base.join("work/link"))
}

/// Programs in `work`, which may not be executed, and in `bin`, which may.
pub(crate) fn programs(base: &Path) -> io::Result<()> {
    let executable = |path: &Path| fs::set_permissions(path, PermissionsExt::from_mode(0o755));
    for folder in ["work", "bin"] {
        let folder = base.join(folder);
        fs::create_dir_all(&folder)?;
        // Debian's `true` is linked to libraries: the loader maps it.
        fs::copy("/usr/bin/true", folder.join("program"))?;
        fs::copy("/usr/lib/x86_64-linux-gnu/libm.so.6", folder.join("library"))?;
        let own = folder.join("program");
        for (name, interpreter) in [("script", "/bin/sh"), ("script-own", &*own.to_string_lossy())]
        {
            let script = folder.join(name);
            fs::write(&script, format!("#!{interpreter}\nexit 0\n"))?;
            executable(&script)?;
        }
    }
    let set_user_id = base.join("bin/set-user-id");
    fs::copy("/usr/bin/id", &set_user_id)?;
    fs::set_permissions(set_user_id, PermissionsExt::from_mode(0o4755))?;
    symlink("../work/script-own", base.join("bin/link"))?;
    let script = base.join("bin/script-to-work");
    fs::write(&script, format!("#!{}/work/program\n", base.display()))?;
    executable(&script)
}

fn names(base: &Path) -> io::Result<()> {
    for folder in ["work", "out"] {
        let folder = base.join(folder);
        fs::create_dir_all(&folder)?;
        for name in [&b"a\nb"[..], b"a\xffb", b"a\\x41b", b" ", b"%2e", &[b'l'; 255]] {
            fs::write(folder.join(OsStr::from_bytes(name)), "something")?;
        }
    }
    Ok(())
}

/// Makes `levels` folders called `name` in each other below `top`, and in the last a file called
/// `leaf`. No path is as long as these may be, so that one step is made after the other.
fn make_deep(top: &Path, name: &str, levels: usize, leaf: &str) -> io::Result<()> {
    fs::create_dir_all(top)?;
    let name = CString::new(name)?;
    let enter = |folder: &CString| {
        // SAFETY: the path is a NUL-terminated string.
        sys::check(unsafe { libc::chdir(folder.as_ptr()) })
    };
    enter(&sys::path(top)?)?;
    for _ in 0..levels {
        // SAFETY: as above.
        let made = sys::check(unsafe { libc::mkdir(name.as_ptr(), 0o755) });
        made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(0),
            _ => Err(error),
        })?;
        enter(&name)?;
    }
    let leaf = sys::open(leaf.as_bytes(), libc::O_WRONLY | libc::O_CREAT, 0o644)?;
    File::from(leaf).write_all(b"something")?;
    enter(&c"/".to_owned()).map(drop)
}

/// Deep trees on both sides, and the names of the files whose paths are as long as can be.
pub(super) fn deep(room: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let long = "l".repeat(255);
    // The NUL is the 4,096th byte: what 15 long names leave over.
    let fit = |top: &Path| "f".repeat(4095 - top.as_os_str().len() - 15 * 256 - 1);
    let mut words = Vec::new();
    for (side, word) in [("work", "{fit-work}"), ("out", "{fit-out}")] {
        let top = room.join("deep").join(side);
        let leaf = fit(&top);
        make_deep(&top, &long, 15, &leaf)?;
        make_deep(&top, &long, 18, "leaf")?;
        make_deep(&top, "d", 2000, "leaf")?;
        words.push((word, leaf));
    }
    Ok(words)
}
