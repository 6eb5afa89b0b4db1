//! System calls on a path.

use std::ffi::CStr;

use libc::{c_char, c_int};

use super::{
    answer,
    calls::{EMPTY, HERE, NOFOLLOW, NOTHING, WORDS, execute, execveat, opened, plain, times},
    objects::{Answer, named},
};

/// A call on a path.
pub(super) type OnPath = fn(*const c_char) -> Answer;

/// Every call on a path but `open`.
pub(super) const ON_PATH: &[(&str, OnPath)] = &[
    ("creat", creat),
    ("openat2", |p| openat2(p, 0, 0)),
    ("openat2-write", |p| openat2(p, libc::O_RDWR as u64, 0)),
    ("openat2-no-xdev", |p| openat2(p, 0, libc::RESOLVE_NO_XDEV)),
    ("openat2-no-magiclinks", |p| openat2(p, 0, libc::RESOLVE_NO_MAGICLINKS)),
    ("openat2-no-symlinks", |p| openat2(p, 0, libc::RESOLVE_NO_SYMLINKS)),
    ("openat2-beneath", |p| openat2(p, 0, libc::RESOLVE_BENEATH)),
    ("openat2-in-root", |p| openat2(p, 0, libc::RESOLVE_IN_ROOT)),
    ("openat2-wrong", |p| openat2(p, 0, 1 << 40)),
    ("truncate-0", |p| plain(raw!(SYS_truncate, p, 0_i64))),
    ("truncate-9", |p| plain(raw!(SYS_truncate, p, 9_i64))),
    ("truncate-negative", |p| plain(raw!(SYS_truncate, p, -1_i64))),
    ("truncate-huge", |p| plain(raw!(SYS_truncate, p, 1_i64 << 40))),
    ("mkdir", |p| plain(raw!(SYS_mkdir, p, 0o755))),
    ("mkdirat", |p| plain(raw!(SYS_mkdirat, HERE, p, 0o1777))),
    ("mkdirat-closed", |p| plain(raw!(SYS_mkdirat, 999, p, 0o755))),
    ("rmdir", |p| plain(raw!(SYS_rmdir, p))),
    ("unlink", |p| plain(raw!(SYS_unlink, p))),
    ("unlinkat", |p| plain(raw!(SYS_unlinkat, HERE, p, 0))),
    ("unlinkat-folder", |p| plain(raw!(SYS_unlinkat, HERE, p, libc::AT_REMOVEDIR))),
    ("unlinkat-wrong", |p| plain(raw!(SYS_unlinkat, HERE, p, BOGUS))),
    ("mknod-fifo", |p| plain(raw!(SYS_mknod, p, libc::S_IFIFO | 0o644, 0))),
    ("mknod-file", |p| plain(raw!(SYS_mknod, p, libc::S_IFREG | 0o644, 0))),
    ("mknodat-socket", |p| plain(raw!(SYS_mknodat, HERE, p, libc::S_IFSOCK | 0o644, 0))),
    ("mknod-folder", |p| plain(raw!(SYS_mknod, p, libc::S_IFDIR | 0o755, 0))),
    ("mknod-wrong", |p| plain(raw!(SYS_mknod, p, libc::S_IFLNK | 0o755, 0))),
    ("mknod-device-character", |p| plain(raw!(SYS_mknod, p, libc::S_IFCHR | 0o644, 0x103))),
    ("mknod-device-block", |p| plain(raw!(SYS_mknod, p, libc::S_IFBLK | 0o644, 0x700))),
    ("chmod-0", |p| plain(raw!(SYS_chmod, p, 0))),
    ("chmod-6755", |p| plain(raw!(SYS_chmod, p, 0o6755))),
    ("fchmodat", |p| plain(raw!(SYS_fchmodat, HERE, p, 0o640))),
    ("fchmodat2", |p| plain(fchmodat2(p, 0o641, 0))),
    ("fchmodat2-nofollow", |p| plain(fchmodat2(p, 0o641, NOFOLLOW))),
    ("fchmodat2-empty", |p| plain(fchmodat2(p, 0o641, EMPTY))),
    ("fchmodat2-wrong", |p| plain(fchmodat2(p, 0o641, BOGUS))),
    ("chown-user", |p| plain(raw!(SYS_chown, p, 1000, 1000))),
    ("chown-root", |p| plain(raw!(SYS_chown, p, 0, 0))),
    ("chown-nobody", |p| plain(raw!(SYS_chown, p, -1, -1))),
    ("chown-group", |p| plain(raw!(SYS_chown, p, -1, 1000))),
    ("lchown", |p| plain(raw!(SYS_lchown, p, 1000, 1000))),
    ("fchownat-empty", |p| plain(raw!(SYS_fchownat, HERE, p, 1000, 1000, EMPTY))),
    ("fchownat-wrong", |p| plain(raw!(SYS_fchownat, HERE, p, 1000, 1000, BOGUS))),
    ("utimensat-set", |p| utimensat(p, 0, 0)),
    ("utimensat-nofollow", |p| utimensat(p, 5, NOFOLLOW)),
    ("utimensat-now", |p| plain(raw!(SYS_utimensat, HERE, p, 0_usize, 0))),
    ("utimensat-now-word", |p| utimensat(p, libc::UTIME_NOW, 0)),
    ("utimensat-omit", |p| utimensat(p, libc::UTIME_OMIT, 0)),
    ("utimensat-wrong", |p| utimensat(p, 2_000_000_000, 0)),
    ("utime", |p| plain(raw!(SYS_utime, p, [7_i64, 8].as_ptr()))),
    ("utimes", |p| plain(raw!(SYS_utimes, p, [7_i64, 0, 8, 0].as_ptr()))),
    ("setxattr-user", |p| setxattr(p, c"user.one", 0)),
    ("setxattr-replace", |p| setxattr(p, c"user.one", 2)),
    ("setxattr-wrong-flags", |p| setxattr(p, c"user.one", 8)),
    ("setxattr-security", |p| setxattr(p, c"security.one", 0)),
    ("setxattr-trusted", |p| setxattr(p, c"trusted.one", 0)),
    ("setxattr-acl-wrong", |p| setxattr(p, c"system.posix_acl_access", 0)),
    ("setxattr-unknown", |p| setxattr(p, c"unknown.one", 0)),
    ("setxattr-no-name", |p| setxattr(p, c"", 0)),
    ("setxattr-large", |p| {
        plain(raw!(SYS_setxattr, p, c"user.one".as_ptr(), c"".as_ptr(), 1 << 20, 0))
    }),
    ("lsetxattr", |p| plain(raw!(SYS_lsetxattr, p, c"user.one".as_ptr(), p, 1, 0))),
    ("getxattr-user", |p| getxattr(p, c"user.one", 64)),
    ("getxattr-trusted", |p| getxattr(p, c"trusted.one", 64)),
    ("getxattr-unknown", |p| getxattr(p, c"unknown.one", 64)),
    ("lgetxattr", |p| plain(raw!(SYS_lgetxattr, p, c"user.one".as_ptr(), 0_usize, 0))),
    ("listxattr", |p| plain(raw!(SYS_listxattr, p, 0_usize, 0))),
    ("llistxattr", |p| plain(raw!(SYS_llistxattr, p, 0_usize, 0))),
    ("removexattr-user", |p| plain(raw!(SYS_removexattr, p, c"user.one".as_ptr()))),
    ("removexattr-trusted", |p| plain(raw!(SYS_removexattr, p, c"trusted.one".as_ptr()))),
    ("lremovexattr", |p| plain(raw!(SYS_lremovexattr, p, c"user.one".as_ptr()))),
    ("attributes", attributes),
    ("statx", |p| statx(p, 0)),
    ("statx-nofollow", |p| statx(p, NOFOLLOW)),
    ("statx-empty", |p| statx(p, EMPTY)),
    ("statx-wrong", |p| statx(p, BOGUS)),
    ("access-exists", |p| plain(raw!(SYS_access, p, 0))),
    ("access-read", |p| plain(raw!(SYS_access, p, 4))),
    ("access-write", |p| plain(raw!(SYS_access, p, 2))),
    ("access-execute", |p| plain(raw!(SYS_access, p, 1))),
    ("access-wrong", |p| plain(raw!(SYS_access, p, 64))),
    ("faccessat2-effective", |p| plain(raw!(SYS_faccessat2, HERE, p, 6, libc::AT_EACCESS))),
    ("faccessat2-nofollow", |p| plain(raw!(SYS_faccessat2, HERE, p, 7, NOFOLLOW))),
    ("readlink", |p| readlink(p, 64)),
    ("readlink-short", |p| readlink(p, 2)),
    ("readlink-nothing", |p| readlink(p, 0)),
    ("statfs", statfs),
    ("watch", |p| watch(p, libc::IN_ALL_EVENTS)),
    ("watch-folder", |p| watch(p, libc::IN_CREATE | libc::IN_ONLYDIR)),
    ("watch-nothing", |p| watch(p, 0)),
    ("handle", |p| handle(p, 128)),
    ("handle-small", |p| handle(p, 1)),
    ("chdir", enter),
    ("execve", execve),
    ("execve-large", execve_large),
    ("execveat", |p| execveat(HERE, p, 0)),
    ("execveat-nofollow", |p| execveat(HERE, p, NOFOLLOW)),
    ("bind", |p| socket_call(p, libc::SOCK_STREAM, true)),
    ("connect", |p| socket_call(p, libc::SOCK_STREAM, false)),
    ("connect-datagram", |p| socket_call(p, libc::SOCK_DGRAM, false)),
    ("open-without-descriptors", without_descriptors),
];

/// Whether it succeeded, where the number is not the same each time.
fn whether(result: impl Into<i64>) -> Answer {
    (answer(result).map(|_| 0), String::new())
}

/// Since Linux 6.6.
const SYS_FCHMODAT2: libc::c_long = 452;
/// No flag of any of these calls.
const BOGUS: c_int = 0x4000_0000;

fn utimensat(path: *const c_char, nanoseconds: i64, flags: c_int) -> Answer {
    let times = times(86_400, nanoseconds);
    plain(raw!(SYS_utimensat, HERE, path, times.as_ptr(), flags))
}

/// With a FIFO's other end open, so that it does not wait for it.
fn creat(path: *const c_char) -> Answer {
    // SAFETY: an all-zero stat is valid.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let is_fifo =
        raw!(SYS_stat, path, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let end = if is_fifo { raw!(SYS_open, path, libc::O_RDWR, 0) } else { -1 };
    let result = opened(raw!(SYS_creat, path, 0o644));
    raw!(SYS_close, end);
    result
}

fn openat2(path: *const c_char, flags: u64, resolve: u64) -> Answer {
    let how = [flags | libc::O_NONBLOCK as u64, 0, resolve];
    opened(raw!(SYS_openat2, HERE, path, how.as_ptr(), 24))
}

/// Sets an attribute and takes it away again: others count what is there.
fn setxattr(path: *const c_char, name: &CStr, flags: c_int) -> Answer {
    let result = plain(raw!(SYS_setxattr, path, name.as_ptr(), c"value".as_ptr(), 5, flags));
    raw!(SYS_removexattr, path, name.as_ptr());
    result
}

fn getxattr(path: *const c_char, name: &CStr, room: usize) -> Answer {
    let mut value = [0_u8; 64];
    plain(raw!(SYS_getxattr, path, name.as_ptr(), value.as_mut_ptr(), room))
}

/// Sets an attribute, as far as it can be set, and looks at it in every way.
fn attributes(path: *const c_char) -> Answer {
    let mut room = [0_u8; 256];
    raw!(SYS_setxattr, path, c"user.one".as_ptr(), c"value".as_ptr(), 5, 0);
    let got = answer(raw!(SYS_getxattr, path, c"user.one".as_ptr(), room.as_mut_ptr(), 64));
    let small = answer(raw!(SYS_getxattr, path, c"user.one".as_ptr(), room.as_mut_ptr(), 2));
    let again = answer(raw!(SYS_setxattr, path, c"user.one".as_ptr(), c"v".as_ptr(), 1, 1));
    let list = answer(raw!(SYS_listxattr, path, room.as_mut_ptr(), 256));
    let removed = answer(raw!(SYS_removexattr, path, c"user.one".as_ptr()));
    (got, format!("{} {} {} {}", named(small), named(again), named(list), named(removed)))
}

fn statx(path: *const c_char, flags: c_int) -> Answer {
    // SAFETY: an all-zero statx is valid.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let result = plain(raw!(SYS_statx, HERE, path, flags, 0x7ff, &raw mut found));
    (result.0, format!("{:o} {} {}", found.stx_mode, found.stx_size, found.stx_nlink))
}

fn readlink(path: *const c_char, room: usize) -> Answer {
    let mut text = [0_u8; 64];
    let result = plain(raw!(SYS_readlink, path, text.as_mut_ptr(), room));
    (result.0, String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
}

fn statfs(path: *const c_char) -> Answer {
    // SAFETY: an all-zero statfs is valid.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    let result = plain(raw!(SYS_statfs, path, &raw mut found));
    (result.0, format!("{:x} {}", found.f_type, found.f_namelen))
}

fn handle(path: *const c_char, room: u32) -> Answer {
    // `struct file_handle`, and room for what follows it.
    let mut handle = [0_u32; 36];
    handle[0] = room;
    let mut mount: c_int = 0;
    let result =
        plain(raw!(SYS_name_to_handle_at, HERE, path, handle.as_mut_ptr(), &raw mut mount, 0));
    (result.0, handle[0].to_string())
}

fn watch(path: *const c_char, mask: u32) -> Answer {
    let queue = raw!(SYS_inotify_init1, 0);
    let result = whether(raw!(SYS_inotify_add_watch, queue, path, mask));
    raw!(SYS_close, queue);
    result
}

fn enter(path: *const c_char) -> Answer {
    let back = raw!(SYS_open, c".".as_ptr(), libc::O_PATH, 0);
    let result = plain(raw!(SYS_chdir, path));
    raw!(SYS_fchdir, back);
    raw!(SYS_close, back);
    result
}

fn execve(path: *const c_char) -> Answer {
    execute(|| {
        raw!(SYS_execve, path, WORDS.as_ptr(), &raw const NOTHING);
    })
}

fn execve_large(path: *const c_char) -> Answer {
    let word = vec![b'x'; 200_000];
    let words = [word.as_ptr().cast::<c_char>(), std::ptr::null()];
    execute(|| {
        raw!(SYS_execve, path, words.as_ptr(), &raw const NOTHING);
    })
}

/// A Unix socket's address; `None` when the path does not fit or cannot be read.
fn socket_call(path: *const c_char, kind: c_int, binds: bool) -> Answer {
    // SAFETY: an all-zero address is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    if path.addr() > 4096 {
        // SAFETY: a pointer that is not the bad one is to a NUL-terminated string.
        let text = unsafe { CStr::from_ptr(path) }.to_bytes();
        for (to, from) in address.sun_path.iter_mut().take(107).zip(text) {
            *to = *from as c_char;
        }
    }
    let socket = raw!(SYS_socket, libc::AF_UNIX, kind, 0);
    let length = size_of_val(&address);
    let result = match binds {
        true => plain(raw!(SYS_bind, socket, &raw const address, length)),
        false => plain(raw!(SYS_connect, socket, &raw const address, length)),
    };
    raw!(SYS_close, socket);
    result
}

fn fchmodat2(path: *const c_char, mode: c_int, flags: c_int) -> i64 {
    // SAFETY: the path is a NUL-terminated string, or meant to be bad.
    unsafe { libc::syscall(SYS_FCHMODAT2, HERE, path, mode, flags) }
}

fn without_descriptors(path: *const c_char) -> Answer {
    let limit = |number| {
        let limit = libc::rlimit { rlim_cur: number, rlim_max: 1024 };
        raw!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const limit, 0_usize);
    };
    limit(0);
    let result = opened(raw!(SYS_open, path, libc::O_NONBLOCK, 0));
    limit(1024);
    result
}
