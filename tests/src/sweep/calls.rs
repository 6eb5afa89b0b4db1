//! System calls on one path, and on a descriptor of it.

use std::{ffi::CStr, io};

use libc::{AT_FDCWD, c_char, c_int};

use super::{
    answer,
    objects::{self, Answer, named, one},
};

/// A call on a path.
type OnPath = fn(*const c_char) -> Answer;
/// A call on a descriptor.
type OnDescriptor = fn(c_int) -> Answer;

/// A result with nothing more to say.
fn plain(result: impl Into<i64>) -> Answer {
    (answer(result), String::new())
}

/// Whether it succeeded, where the number is not the same each time.
fn whether(result: impl Into<i64>) -> Answer {
    (answer(result).map(|_| 0), String::new())
}

/// Closes what was opened and says what it was.
fn opened(result: impl Into<i64>) -> Answer {
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

/// A system call by its number, as 64-bit words.
macro_rules! raw {
    ($name:ident $(, $argument:expr)*) => {{
        // SAFETY: pointers among the arguments are to variables of the caller, to constants, or
        // meant to be bad, which the kernel finds out.
        unsafe { libc::syscall(libc::$name $(, $argument as i64)*) }
    }};
}

const HERE: c_int = AT_FDCWD;
const EMPTY: c_int = libc::AT_EMPTY_PATH;
const NOFOLLOW: c_int = libc::AT_SYMLINK_NOFOLLOW;
const SYS_FCHMODAT2: libc::c_long = 452;
/// No flag of any of these calls.
const BOGUS: c_int = 0x4000_0000;

fn times(seconds: i64, nanoseconds: i64) -> [libc::timespec; 2] {
    [libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds }; 2]
}

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

/// Executes it in a child. The result is how the child ended, or the errno plus 1000.
fn execute(call: impl FnOnce()) -> Answer {
    let ended = crate::sys::in_child(|| {
        call();
        io::Error::last_os_error().raw_os_error().map_or(250, |errno| 100 + errno)
    });
    (ended.map(i64::from).map_err(|error| error.raw_os_error().unwrap_or(0)), String::new())
}

/// No environment.
static NOTHING: usize = 0;
const WORDS: [*const c_char; 2] = [c"program".as_ptr(), std::ptr::null()];

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

fn execveat(fd: c_int, path: *const c_char, flags: c_int) -> Answer {
    execute(|| {
        raw!(SYS_execveat, fd, path, WORDS.as_ptr(), &raw const NOTHING, flags);
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

/// Every call on a path but `open`.
const ON_PATH: &[(&str, OnPath)] = &[
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
    ("fchmodat2", |p| plain(unsafe_call(SYS_FCHMODAT2, p, 0o641, 0))),
    ("fchmodat2-nofollow", |p| plain(unsafe_call(SYS_FCHMODAT2, p, 0o641, NOFOLLOW))),
    ("fchmodat2-empty", |p| plain(unsafe_call(SYS_FCHMODAT2, p, 0o641, EMPTY))),
    ("fchmodat2-wrong", |p| plain(unsafe_call(SYS_FCHMODAT2, p, 0o641, BOGUS))),
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

fn unsafe_call(number: libc::c_long, path: *const c_char, mode: c_int, flags: c_int) -> i64 {
    // SAFETY: the path is a NUL-terminated string, or meant to be bad.
    unsafe { libc::syscall(number, HERE, path, mode, flags) }
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

/// Maps four bytes and changes the protection of the mapping.
fn map(fd: c_int, protection: c_int, flags: c_int) -> Answer {
    let at = answer(raw!(SYS_mmap, 0_usize, 4096, protection, flags, fd, 0));
    let Ok(address) = at else { return (at, String::new()) };
    let mut changes = String::new();
    for later in [1, 3, 5, 7] {
        changes += &format!("{} ", named(answer(raw!(SYS_mprotect, address, 4096, later))));
    }
    raw!(SYS_munmap, address, 4096);
    (Ok(0), changes)
}

fn listed(fd: c_int) -> Answer {
    let mut room = [0_u64; 64];
    plain(raw!(SYS_getdents64, fd, room.as_mut_ptr(), 512))
}

/// Copies from it into a new file, or from the program into it.
fn copied(fd: c_int, call: fn(c_int, c_int) -> i64) -> Answer {
    let to = raw!(SYS_open, c"tree/copy".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) as c_int;
    let from = raw!(SYS_open, c"program".as_ptr(), 0, 0) as c_int;
    let result = answer(call(fd, to));
    let other = answer(call(from, fd));
    raw!(SYS_close, to);
    raw!(SYS_close, from);
    (result, named(other))
}

fn control(fd: c_int, command: c_int, argument: i64) -> Answer {
    plain(raw!(SYS_fcntl, fd, command, argument))
}

fn lock(fd: c_int, kind: c_int) -> Answer {
    // SAFETY: an all-zero flock is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    plain(raw!(SYS_fcntl, fd, libc::F_SETLK, &raw const lock))
}

/// Locks it twice, through another descriptor too.
fn flock(fd: c_int) -> Answer {
    let other = raw!(SYS_open, format!("/proc/self/fd/{fd}\0").as_ptr(), libc::O_NONBLOCK, 0);
    let result = answer(raw!(SYS_flock, fd, libc::LOCK_EX | libc::LOCK_NB));
    let second = answer(raw!(SYS_flock, other, libc::LOCK_EX | libc::LOCK_NB));
    raw!(SYS_close, other);
    (result, named(second))
}

/// A name for a descriptor.
fn linked(fd: c_int, flags: c_int) -> Answer {
    if flags == EMPTY {
        return plain(raw!(SYS_linkat, fd, c"".as_ptr(), HERE, c"tree/new".as_ptr(), flags));
    }
    let path = format!("/proc/self/fd/{fd}\0");
    plain(raw!(SYS_linkat, HERE, path.as_ptr(), HERE, c"tree/new".as_ptr(), flags))
}

const PUNCH: c_int = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;

/// Every call on a descriptor.
const ON_DESCRIPTOR: &[(&str, OnDescriptor)] = &[
    ("ftruncate", |f| plain(raw!(SYS_ftruncate, f, 2_i64))),
    ("ftruncate-negative", |f| plain(raw!(SYS_ftruncate, f, -1_i64))),
    ("fallocate", |f| plain(raw!(SYS_fallocate, f, 0, 0_i64, 100_i64))),
    ("fallocate-punch", |f| plain(raw!(SYS_fallocate, f, PUNCH, 0_i64, 2_i64))),
    ("fallocate-collapse", |f| {
        plain(raw!(SYS_fallocate, f, libc::FALLOC_FL_COLLAPSE_RANGE, 0_i64, 4096_i64))
    }),
    ("fallocate-nothing", |f| plain(raw!(SYS_fallocate, f, 0, 0_i64, 0_i64))),
    ("fallocate-huge", |f| plain(raw!(SYS_fallocate, f, 0, 0_i64, 1_i64 << 40))),
    ("fchmod", |f| plain(raw!(SYS_fchmod, f, 0o600))),
    ("fchown", |f| plain(raw!(SYS_fchown, f, 1000, 1000))),
    ("futimens", |f| plain(raw!(SYS_utimensat, f, 0_usize, times(9, 0).as_ptr(), 0))),
    ("fsetxattr", |f| plain(raw!(SYS_fsetxattr, f, c"user.one".as_ptr(), c"v".as_ptr(), 1, 0))),
    ("fgetxattr", |f| plain(raw!(SYS_fgetxattr, f, c"user.one".as_ptr(), 0_usize, 0))),
    ("flistxattr", |f| plain(raw!(SYS_flistxattr, f, 0_usize, 0))),
    ("fremovexattr", |f| plain(raw!(SYS_fremovexattr, f, c"user.one".as_ptr()))),
    ("fchdir", |f| {
        let back = raw!(SYS_open, c".".as_ptr(), libc::O_PATH, 0);
        let result = plain(raw!(SYS_fchdir, f));
        raw!(SYS_fchdir, back);
        raw!(SYS_close, back);
        result
    }),
    ("write", |f| plain(raw!(SYS_write, f, c"content".as_ptr(), 7))),
    ("write-bad-address", |f| plain(raw!(SYS_write, f, 1_usize, 7))),
    ("pwrite-far", |f| plain(raw!(SYS_pwrite64, f, c"content".as_ptr(), 7, 1_i64 << 35))),
    ("pread", |f| plain(raw!(SYS_pread64, f, [0_u8; 8].as_mut_ptr(), 8, 0_i64))),
    ("read-bad-address", |f| plain(raw!(SYS_read, f, 1_usize, 7))),
    ("lseek", |f| plain(raw!(SYS_lseek, f, 0_i64, libc::SEEK_END))),
    ("lseek-wrong", |f| plain(raw!(SYS_lseek, f, -5_i64, libc::SEEK_SET))),
    ("lseek-data", |f| plain(raw!(SYS_lseek, f, 99_i64, libc::SEEK_DATA))),
    ("list", listed),
    ("fsync", |f| plain(raw!(SYS_fsync, f))),
    ("readahead", |f| plain(raw!(SYS_readahead, f, 0_i64, 10))),
    ("map-read", |f| map(f, 1, libc::MAP_PRIVATE)),
    ("map-read-shared", |f| map(f, 1, libc::MAP_SHARED)),
    ("map-write", |f| map(f, 3, libc::MAP_PRIVATE)),
    ("map-write-shared", |f| map(f, 3, libc::MAP_SHARED)),
    ("map-execute", |f| map(f, 5, libc::MAP_PRIVATE)),
    ("map-execute-shared", |f| map(f, 4, libc::MAP_SHARED)),
    ("map-all", |f| map(f, 7, libc::MAP_PRIVATE)),
    ("map-none", |f| map(f, 0, libc::MAP_PRIVATE)),
    ("map-wrong", |f| map(f, 1, 0)),
    ("append", |f| control(f, libc::F_SETFL, i64::from(libc::O_APPEND))),
    ("no-access-time", |f| control(f, libc::F_SETFL, i64::from(libc::O_NOATIME))),
    ("direct", |f| control(f, libc::F_SETFL, i64::from(libc::O_DIRECT))),
    ("lease", |f| control(f, libc::F_SETLEASE, i64::from(libc::F_WRLCK))),
    ("notify", |f| control(f, libc::F_NOTIFY, 4)),
    ("seal", |f| control(f, libc::F_ADD_SEALS, 1)),
    ("pipe-size", |f| control(f, libc::F_GETPIPE_SZ, 0)),
    ("control-wrong", |f| control(f, 9999, 0)),
    ("lock-read", |f| lock(f, libc::F_RDLCK as c_int)),
    ("lock-write", |f| lock(f, libc::F_WRLCK as c_int)),
    ("flock", flock),
    ("copy-range", |f| {
        copied(f, |from, to| raw!(SYS_copy_file_range, from, 0_usize, to, 0_usize, 4, 0))
    }),
    ("sendfile", |f| copied(f, |from, to| raw!(SYS_sendfile, to, from, 0_usize, 4))),
    ("link", |f| linked(f, libc::AT_SYMLINK_FOLLOW)),
    ("link-empty", |f| linked(f, EMPTY)),
    ("execute", |f| execveat(f, c"".as_ptr(), EMPTY)),
    ("terminal", |f| plain(raw!(SYS_ioctl, f, libc::TCGETS, [0_u64; 16].as_mut_ptr()))),
    ("attributes-of-inode", |f| {
        let mut flags = 0_u64;
        plain(raw!(SYS_ioctl, f, 0x8008_6601_u32, &raw mut flags))
    }),
];

/// How a descriptor is opened.
const WAYS: [(&str, c_int); 3] =
    [("read", libc::O_RDONLY), ("write", libc::O_RDWR), ("path", libc::O_PATH)];

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

/// Does a call on a descriptor, or says why there is none.
fn of_descriptor(path: *const c_char, flags: c_int, body: OnDescriptor) -> Result<Answer, i32> {
    let fd = answer(raw!(SYS_open, path, flags | libc::O_NONBLOCK, 0))? as c_int;
    let result = body(fd);
    raw!(SYS_close, fd);
    Ok(result)
}
