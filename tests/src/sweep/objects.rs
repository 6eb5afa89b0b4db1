//! What the calls are about: one object of every kind, made anew in an empty folder for each call.
//!
//! All paths are relative to a folder with these things, which root made outside of the boundary:
//! `tree` (where objects are made), `program`, `sleep` (running), `null` (a device), `immutable` and
//! `frozen` (a folder; both only where the file system knows the attribute), `ro` (mounted
//! read-only), `small` (a file system that is full), `mounted` (a mount).

use std::{
    ffi::{CStr, CString},
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    path::Path,
};

use crate::sys;

/// The smallest program: `exit(geteuid() & 255)`, in one page that is read and executed.
pub(super) const PROGRAM: &[u8] = &{
    let mut file = [0_u8; 136];
    let header: [(usize, &[u8]); 14] = [
        (0, b"\x7fELF\x02\x01\x01"),
        (16, &[2, 0, 62, 0, 1]),
        // Where it starts: 0x400078.
        (24, &[0x78, 0, 0x40]),
        // Where the program headers are, and how many of what size.
        (32, &[64]),
        (52, &[64, 0, 56, 0, 1]),
        // PT_LOAD, readable and executable.
        (64, &[1, 0, 0, 0, 5]),
        (80, &[0, 0, 0x40]),
        (88, &[0, 0, 0x40]),
        (96, &[136]),
        (104, &[136]),
        (112, &[0, 0x10]),
        // mov eax, SYS_geteuid; syscall; mov edi, eax
        (120, &[0xb8, 107, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc7]),
        // mov eax, SYS_exit; syscall
        (129, &[0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
        (136, &[]),
    ];
    let mut part = 0;
    while part < header.len() {
        let (at, bytes) = header[part];
        let mut byte = 0;
        while byte < bytes.len() {
            file[at + byte] = bytes[byte];
            byte += 1;
        }
        part += 1;
    }
    file
};

/// An object, and how it is called.
pub(super) struct Object {
    /// What the record calls it.
    pub(super) name: &'static str,
    /// Its path; `None` is an address that cannot be read.
    path: Option<CString>,
    /// Makes it, and what it stands in.
    make: fn() -> io::Result<()>,
}

impl Object {
    /// What a system call is given.
    pub(super) fn pointer(&self) -> *const libc::c_char {
        self.path.as_ref().map_or(std::ptr::without_provenance(1), |path| path.as_ptr())
    }

    /// Its path, where it has one.
    pub(super) fn path(&self) -> Option<&CStr> {
        self.path.as_deref()
    }

    /// Makes it in the empty tree.
    pub(super) fn make(&self) -> io::Result<()> {
        (self.make)()
    }
}

/// Enters the folder that all paths are relative to.
pub(super) fn be_ready(folder: &Path) -> io::Result<()> {
    std::env::set_current_dir(folder)?;
    // SAFETY: no memory is involved. SIGXFSZ would end the process where EFBIG is to be seen.
    unsafe {
        libc::umask(0o022);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: 1 << 30 };
        sys::check(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit))?;
    }
    Ok(())
}

/// Removes all that is in the tree, and whatever a call left beside it.
pub(super) fn clean() -> io::Result<()> {
    let mut left = false;
    for entry in fs::read_dir("tree")? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            left = true;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    if left {
        for entry in fs::read_dir("tree")? {
            fs::remove_dir_all(entry?.path())?;
        }
    }
    Ok(())
}

fn file(name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    fs::write(name, content)?;
    fs::set_permissions(name, Permissions::from_mode(mode))
}

fn own(name: &str, mode: u32) -> io::Result<()> {
    file(name, mode, b"text")?;
    chown(name, Some(1000), Some(1000))?;
    fs::set_permissions(name, Permissions::from_mode(mode))
}

fn folder(name: &str, mode: u32) -> io::Result<()> {
    fs::create_dir(name)?;
    file(&format!("{name}/file"), 0o644, b"text")?;
    fs::set_permissions(name, Permissions::from_mode(mode))
}

fn nothing() -> io::Result<()> {
    Ok(())
}

fn link_to_file() -> io::Result<()> {
    file("tree/file", 0o644, b"text")?;
    symlink("file", "tree/link")
}

fn plain() -> io::Result<()> {
    file("tree/file", 0o644, b"text")
}

fn plain_folder() -> io::Result<()> {
    folder("tree/folder", 0o755)
}

fn fifo() -> io::Result<()> {
    // SAFETY: the path is a NUL-terminated string.
    sys::check(unsafe { libc::mkfifo(c"tree/fifo".as_ptr(), 0o666) }).map(drop)
}

/// Every kind of object that a path may lead to, or not.
pub(super) fn all() -> Vec<Object> {
    let object = |name, path: &str, make| Object { name, path: CString::new(path).ok(), make };
    let long = "l".repeat(255);
    let dots = |length: usize| {
        let more = if length.is_multiple_of(2) { "/" } else { "" };
        "./".repeat((length - 9) / 2) + more + "tree/file"
    };
    let mut objects = vec![
        object("file", "tree/file", plain),
        object("own", "tree/own", || own("tree/own", 0o600)),
        object("readonly", "tree/readonly", || file("tree/readonly", 0o444, b"text")),
        object("private", "tree/private", || file("tree/private", 0o600, b"text")),
        object("empty", "tree/empty", || file("tree/empty", 0o666, b"")),
        object("program", "tree/program", || file("tree/program", 0o755, PROGRAM)),
        object("setuid", "tree/setuid", || {
            file("tree/setuid", 0o755, PROGRAM)?;
            chown("tree/setuid", Some(1000), Some(1000))?;
            fs::set_permissions("tree/setuid", Permissions::from_mode(0o6755))
        }),
        object("script", "tree/script", || file("tree/script", 0o755, b"#!./program\n")),
        object("orphan", "tree/orphan", || file("tree/orphan", 0o755, b"#!./missing\n")),
        object("no-program", "tree/wrong", || file("tree/wrong", 0o755, b"text\n")),
        object("folder", "tree/folder", plain_folder),
        object("own-folder", "tree/bare", || {
            fs::create_dir("tree/bare")?;
            chown("tree/bare", Some(1000), Some(1000))
        }),
        object("sticky-folder", "tree/sticky", || folder("tree/sticky", 0o1777)),
        object("in-sticky", "tree/sticky/file", || folder("tree/sticky", 0o1777)),
        object("in-locked", "tree/locked/file", || folder("tree/locked", 0o700)),
        object("link", "tree/link", link_to_file),
        object("dangling", "tree/link", || symlink("missing", "tree/link")),
        object("loop", "tree/loop", || symlink("loop", "tree/loop")),
        object("link-to-folder", "tree/link", || {
            plain_folder()?;
            symlink("folder", "tree/link")
        }),
        object("fifo", "tree/fifo", fifo),
        object("socket", "tree/socket", || {
            let _socket = UnixListener::bind("tree/socket")?;
            fs::set_permissions("tree/socket", Permissions::from_mode(0o777))
        }),
        object("device", "tree/null", || fs::hard_link("null", "tree/null")),
        object("running", "tree/sleep", || fs::hard_link("sleep", "tree/sleep")),
        object("immutable", "immutable", nothing),
        object("new-in-frozen", "frozen/new", nothing),
        object("on-read-only", "ro/file", nothing),
        object("new-on-read-only", "ro/new", nothing),
        object("on-full", "small/full", nothing),
        object("last-on-full", "small/last", nothing),
        object("new-on-full", "small/new", nothing),
        object("mount", "mounted", nothing),
        object("missing", "tree/missing", nothing),
        object("deeper-missing", "tree/missing/deeper", nothing),
        object("below-file", "tree/file/below", plain),
        object("file-slash", "tree/file/", plain),
        object("folder-slash", "tree/folder/", plain_folder),
        object("missing-slash", "tree/missing/", nothing),
        object("link-slash", "tree/link/", link_to_file),
        object("parent", "tree/folder/..", plain_folder),
        object("dot", "tree/folder/.", plain_folder),
        object("no-name", "", nothing),
        Object { name: "bad-address", path: None, make: nothing },
    ];
    objects.push(Object {
        name: "name-255",
        path: CString::new(format!("tree/{long}")).ok(),
        make: || file(&format!("tree/{}", "l".repeat(255)), 0o644, b"text"),
    });
    objects.push(object("name-256", &format!("tree/{long}l"), nothing));
    objects.push(object("path-4095", &dots(4095), plain));
    objects.push(object("path-4096", &dots(4096), plain));
    objects
}

/// The state of an object after a call, as far as it does not depend on the time: type and mode,
/// owner, size, links, and times that were set.
pub(super) fn state(path: Option<&CStr>) -> String {
    let Some(path) = path else { return String::new() };
    match fs::symlink_metadata(Path::new(std::ffi::OsStr::new(&*path.to_string_lossy()))) {
        Ok(found) => {
            let set = |seconds: i64| if seconds < 1_000_000 { seconds } else { -1 };
            format!(
                "{:o} {}:{} size {} links {} times {} {}",
                found.mode(),
                found.uid(),
                found.gid(),
                found.size(),
                found.nlink(),
                set(found.atime()),
                set(found.mtime()),
            )
        }
        Err(error) => named(Err(error.raw_os_error().unwrap_or(0))),
    }
}

/// A result in the record.
pub(super) fn named(result: Result<i64, i32>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(number) => errno(number),
    }
}

fn errno(number: i32) -> String {
    const NAMES: &[(i32, &str)] = &[
        (libc::EAGAIN, "EAGAIN"),
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::EBUSY, "EBUSY"),
        (libc::E2BIG, "E2BIG"),
        (libc::EFAULT, "EFAULT"),
        (libc::EFBIG, "EFBIG"),
        (libc::EISDIR, "EISDIR"),
        (libc::ELOOP, "ELOOP"),
        (libc::EMFILE, "EMFILE"),
        (libc::EMLINK, "EMLINK"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENODATA, "ENODATA"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::ENOTSOCK, "ENOTSOCK"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ENXIO, "ENXIO"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EOVERFLOW, "EOVERFLOW"),
        (libc::EPIPE, "EPIPE"),
        (libc::EPROTOTYPE, "EPROTOTYPE"),
        (libc::ERANGE, "ERANGE"),
        (libc::EROFS, "EROFS"),
        (libc::ESPIPE, "ESPIPE"),
        (libc::ESRCH, "ESRCH"),
        (libc::ESTALE, "ESTALE"),
        (libc::ETXTBSY, "ETXTBSY"),
    ];
    match NAMES.iter().find(|known| known.0 == number) {
        Some((_, name)) => (*name).to_owned(),
        None => {
            let name = sys::errno_name(number);
            if name.starts_with('E') && !name.contains(' ') { name } else { format!("E{number}") }
        }
    }
}

/// Does something as another user, who has no capabilities then; root afterwards.
pub(super) fn by<T>(user: u32, body: impl FnOnce() -> T) -> io::Result<T> {
    let change = |user: u32| {
        let ids = [i64::from(user), i64::from(user), 0, 0, 0, 0];
        // SAFETY: no memory is involved; this process has one thread.
        unsafe {
            if user == 0 {
                sys::call(libc::SYS_setresuid, ids)?;
                sys::call(libc::SYS_setresgid, ids)?;
            } else {
                sys::call(libc::SYS_setresgid, ids)?;
                sys::call(libc::SYS_setresuid, ids)?;
            }
        }
        io::Result::Ok(())
    };
    if user == 0 {
        return Ok(body());
    }
    change(user)?;
    let result = body();
    change(0)?;
    Ok(result)
}

/// A result or errno, and what else there is to say.
pub(super) type Answer = (Result<i64, i32>, String);

/// The folders that calls may have changed.
fn reset() -> io::Result<()> {
    for name in [".", "tree"] {
        chown(name, Some(0), Some(0))?;
        fs::set_permissions(name, Permissions::from_mode(0o777))?;
    }
    Ok(())
}

/// Makes an object, does a call by a user, and writes what came of it.
///
/// # Errors
///
/// When the tree cannot be made or cleaned.
pub(super) fn one(
    user: u32,
    call: &str,
    object: &Object,
    record: &mut String,
    body: impl FnOnce(*const libc::c_char) -> Answer,
) -> io::Result<()> {
    reset()?;
    object.make().map_err(|error| io::Error::other(format!("{}: {error}", object.name)))?;
    let pointer = object.pointer();
    let (result, more) = by(user, || body(pointer))?;
    let who = if user == 0 { "root" } else { "user" };
    *record += &format!(
        "{who} {call} {} = {}; {more}; {}\n",
        object.name,
        named(result),
        state(object.path())
    );
    clean()
}
