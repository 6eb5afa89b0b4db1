//! Acts with descriptors that somebody outside opened.

use std::{
    fs::File,
    io::Read as _,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use super::{Act, Trouble, argument};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them. The first argument is the socket of whoever serves the descriptor.
pub(super) const ACTS: &[Act] = &[("receive-folder", receive_folder), ("supervised", supervised)];

fn connect(a: Arguments) -> Result<UnixStream, Trouble> {
    Ok(UnixStream::connect(String::from_utf8_lossy(argument(a, 0)?).as_ref())?)
}

fn read_byte(fd: OwnedFd) -> Done {
    File::from(fd).read_exact(&mut [0])?;
    Ok(String::new())
}

/// Takes a folder, and opens a file in it. A descriptor that the kernel keeps back gives no error
/// of its own; it counts as EACCES here.
fn receive_folder(a: Arguments) -> Done {
    let Some(folder) = sys::receive_descriptor(connect(a)?.as_fd())? else {
        return Err(Trouble::Errno(libc::EACCES));
    };
    let (name, flags) = (sys::text(argument(a, 1)?)?, libc::O_RDONLY | libc::O_CLOEXEC);
    // SAFETY: the path is a NUL-terminated string.
    let file = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags) };
    read_byte(sys::check(file).map(sys::owned)?)
}

/// Has whoever serves supervise this process's `getppid`, whose answer is then a descriptor.
fn supervised(a: Arguments) -> Done {
    /// `SECCOMP_SET_MODE_FILTER`, and its flag that makes a descriptor to supervise with.
    const FILTER: i64 = 1;
    const NEW_LISTENER: i64 = 1 << 3;
    let supervisor = connect(a)?;
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let call = libc::SYS_getppid as u32;
    let mut code = [
        // The number of the system call is the first word.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: code.as_mut_ptr() };
    let arguments = [FILTER, NEW_LISTENER, (&raw const program) as i64, 0, 0, 0];
    // SAFETY: the program and its code live until the end of the call.
    let listener = unsafe { sys::call(libc::SYS_seccomp, arguments) }.map(sys::owned)?;
    sys::send_descriptor(supervisor.as_fd(), listener.as_fd())?;
    // SAFETY: the call has no arguments.
    let fd = unsafe { sys::call(libc::SYS_getppid, [0; 6]) }.map(sys::owned)?;
    read_byte(fd)
}
