//! System calls, with their errors as [`io::Error`].

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr,
};

use libc::{c_int, c_long};

/// The result of a system call: -1 stands for the error in `errno`.
pub(crate) fn check(result: impl Into<i64>) -> io::Result<i64> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// A path, or any other text, as the kernel takes it.
///
/// # Errors
///
/// When it holds a NUL byte.
pub(crate) fn text(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(io::Error::other)
}

/// A path as the kernel takes it.
///
/// # Errors
///
/// When it holds a NUL byte.
pub(crate) fn path(path: &Path) -> io::Result<CString> {
    text(path.as_os_str().as_bytes())
}

/// Takes a descriptor that a system call has just made.
pub(crate) fn owned(result: i64) -> OwnedFd {
    // SAFETY: the caller has it from a successful system call and gives it to nobody else.
    unsafe { OwnedFd::from_raw_fd(result as RawFd) }
}

/// Opens a file relative to the current folder.
///
/// # Errors
///
/// The system call's.
pub(crate) fn open(file: &[u8], flags: c_int, mode: u32) -> io::Result<OwnedFd> {
    let file = text(file)?;
    // SAFETY: the path is a NUL-terminated string.
    check(unsafe { libc::open(file.as_ptr(), flags | libc::O_CLOEXEC, mode) }).map(owned)
}

/// A system call of which the C library may know nothing.
///
/// # Errors
///
/// The system call's.
///
/// # Safety
///
/// The arguments must be what the call takes: pointers among them valid while it runs.
pub(crate) unsafe fn call(number: c_long, arguments: [i64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's promise.
    check(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// An `ioctl` as a 32-bit program makes it, which a 64-bit program can make too; its argument is a
/// pointer to a number.
///
/// # Errors
///
/// The system call's; `ENOSYS` where the machine has no such call.
#[cfg(target_arch = "x86_64")]
pub(crate) fn ioctl_32(fd: RawFd, command: u32, number: u32) -> io::Result<()> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    // SAFETY: a new mapping at a place of the kernel's choice, which 32 bits can name.
    let page = unsafe {
        let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0)
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page is ours, and longer than a number.
    unsafe { page.cast::<u32>().write(number) };
    // `ioctl` is number 54 there.
    let mut result = 54_i64;
    // SAFETY: the kernel reads the number; its interrupt changes nothing but the registers named.
    unsafe {
        core::arch::asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) i64::from(fd) => _,
            inout("rax") result,
            in("rcx") u64::from(command),
            in("rdx") page,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // SAFETY: the mapping is ours and not used any more.
    unsafe { libc::munmap(page, 4096) };
    match i32::try_from(result).unwrap_or(-libc::EINVAL) {
        error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
        _ => Ok(()),
    }
}

/// Other machines have no such call.
///
/// # Errors
///
/// Always.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn ioctl_32(_: RawFd, _: u32, _: u32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// What `/proc/self/fd` calls a descriptor.
pub(crate) fn fd_path(fd: &impl AsRawFd) -> Vec<u8> {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes()
}

/// Runs `body` in a child process that then ends with the number it gives; returns how the child
/// ended, as `waitpid` has it.
///
/// # Errors
///
/// When there can be no child.
pub(crate) fn in_child(body: impl FnOnce() -> i32) -> io::Result<c_int> {
    // SAFETY: callers are processes with one thread, so that the child may do what it likes.
    match check(unsafe { libc::fork() })? {
        0 => exit(body()),
        child => wait(child as libc::pid_t),
    }
}

/// Ends the process without running anything of the parent's that was inherited.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for a child to end.
///
/// # Errors
///
/// When there is no such child.
pub(crate) fn wait(child: libc::pid_t) -> io::Result<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to our own variable.
        match check(unsafe { libc::waitpid(child, &raw mut status, 0) }) {
            Ok(_) => return Ok(status),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Mounts a new tmpfs, or what the flags of `mount(2)` say.
///
/// # Errors
///
/// The system call's.
pub(crate) fn mount(from: &Path, to: &Path, flags: u64) -> io::Result<()> {
    let (from, to, none) = (path(from)?, path(to)?, ptr::null());
    // SAFETY: the names are NUL-terminated strings, and nothing else is pointed to.
    let done = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), c"tmpfs".as_ptr(), flags, none) };
    check(done).map(drop)
}

/// Keeps what is mounted and unmounted from here on to this mount namespace.
///
/// # Errors
///
/// The system call's.
pub(crate) fn private_mounts() -> io::Result<()> {
    mount("none".as_ref(), "/".as_ref(), libc::MS_REC | libc::MS_PRIVATE)
}

/// Sends a signal.
///
/// # Errors
///
/// The system call's.
pub(crate) fn kill(process: u32, signal: c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(process as libc::pid_t, signal) }).map(drop)
}

/// Sends one byte and a descriptor over a Unix socket.
///
/// # Errors
///
/// The system call's.
pub(crate) fn send_descriptor(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = [1_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 8];
    // SAFETY: an all-zero msghdr is a valid one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: the macros compute sizes and places within `control`, which is large enough for
    // one descriptor and aligned as a cmsghdr is.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        check(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) as i64).map(drop)
    }
}

/// Receives one byte and a descriptor; `None` when the kernel kept the descriptor back.
///
/// # Errors
///
/// The system call's.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 8];
    // SAFETY: as in `send_descriptor`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `control` is as long as said, and the kernel writes well-formed headers into it.
    unsafe {
        message.msg_controllen = size_of_val(&control);
        check(libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) as i64)?;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || ((*header).cmsg_len as usize) < libc::CMSG_LEN(4) as usize {
            return Ok(None);
        }
        let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        Ok(Some(OwnedFd::from_raw_fd(fd)))
    }
}

/// The name of an error number, as in the manuals, where tests are likely to meet it.
pub(crate) fn errno_name(number: i32) -> String {
    let name = match number {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EBADF => "EBADF",
        libc::EACCES => "EACCES",
        libc::EEXIST => "EEXIST",
        libc::EXDEV => "EXDEV",
        libc::EINVAL => "EINVAL",
        libc::ENODATA => "ENODATA",
        libc::ENOSYS => "ENOSYS",
        libc::ENOEXEC => "ENOEXEC",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::ESOCKTNOSUPPORT => "ESOCKTNOSUPPORT",
        _ => return io::Error::from_raw_os_error(number).to_string(),
    };
    name.to_owned()
}

/// Starts a program that is born into a cgroup, by `CLONE_INTO_CGROUP`, and waits for its end.
///
/// # Errors
///
/// The system calls'.
pub(crate) fn born_into(cgroup: i32, words: &[&str]) -> io::Result<()> {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let words: Vec<CString> =
        words.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // `struct clone_args` (`linux/sched.h`).
    let mut arguments = [0_u64; 11];
    (arguments[0], arguments[4]) = (INTO_CGROUP, libc::SIGCHLD as u64);
    arguments[10] = cgroup as u64;
    // SAFETY: the arguments are as long as is said. The child, a copy of this process with one
    // thread, only executes the program or ends.
    let child =
        unsafe { libc::syscall(libc::SYS_clone3, arguments.as_mut_ptr(), size_of_val(&arguments)) };
    if child == 0 {
        // SAFETY: the words live, and the list of them ends with a null pointer.
        unsafe {
            libc::execv(pointers[0], pointers.as_ptr());
            libc::_exit(127);
        }
    }
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the child is ours, and nothing is written.
    unsafe { libc::waitpid(child as i32, ptr::null_mut(), 0) };
    Ok(())
}
