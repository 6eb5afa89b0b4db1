//! System calls on a descriptor.

use libc::{c_char, c_int};

use super::{
    answer,
    calls::{EMPTY, HERE, execveat, plain, times},
    objects::{Answer, named},
};

/// A call on a descriptor.
pub(super) type OnDescriptor = fn(c_int) -> Answer;

const PUNCH: c_int = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;

/// Every call on a descriptor.
pub(super) const ON_DESCRIPTOR: &[(&str, OnDescriptor)] = &[
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
pub(super) const WAYS: [(&str, c_int); 3] =
    [("read", libc::O_RDONLY), ("write", libc::O_RDWR), ("path", libc::O_PATH)];

/// Does a call on a descriptor, or says why there is none.
pub(super) fn of_descriptor(
    path: *const c_char,
    flags: c_int,
    body: OnDescriptor,
) -> Result<Answer, i32> {
    let fd = answer(raw!(SYS_open, path, flags | libc::O_NONBLOCK, 0))? as c_int;
    let result = body(fd);
    raw!(SYS_close, fd);
    Ok(result)
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
