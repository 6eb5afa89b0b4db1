//! Acts through io_uring: no system call of their own opens the file or connects the socket, and
//! with `async` a worker of the kernel does it.

use std::{
    ffi::{CStr, CString},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use libc::c_void;

use super::{
    Act, Trouble, argument,
    network::{destination, socket},
    unix::Name,
};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them; each takes `now` or `async` as its last argument.
pub(super) const ACTS: &[Act] = &[
    ("uring-open", uring_open),
    ("uring-open-fixed", uring_open_fixed),
    ("uring-read-passed", uring_read_passed),
    ("uring-connect", uring_connect),
    ("uring-connect-unix", uring_connect_unix),
    ("uring-unlink", |a| on_names(a, UNLINKAT)),
    ("uring-mkdir", |a| on_names(a, MKDIRAT)),
    ("uring-symlink", |a| on_names(a, SYMLINKAT)),
    ("uring-rename", |a| on_names(a, RENAMEAT)),
    ("uring-link", |a| on_names(a, LINKAT)),
    ("uring-setup", |_| ring(0)),
    ("uring-sqpoll", |_| ring(SQPOLL)),
    ("uring-personality", uring_personality),
    ("uring-command", uring_command),
];

/// `IORING_OP_…`.
const OPENAT: u8 = 18;
const RENAMEAT: u8 = 35;
const UNLINKAT: u8 = 36;
const MKDIRAT: u8 = 37;
const SYMLINKAT: u8 = 38;
const LINKAT: u8 = 39;

/// `struct io_uring_sqe`, as far as these acts need it.
#[derive(Default)]
#[repr(C)]
struct Entry {
    operation: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    buffer: u16,
    personality: u16,
    file_index: u32,
    address_3: u64,
    rest: u64,
}

/// `IOSQE_ASYNC`, if that is what the act is asked for.
fn flags(word: &[u8]) -> u8 {
    if word == b"async" { 1 << 4 } else { 0 }
}

/// An entry that opens a file to read.
fn opening(path: &CStr, how: &[u8]) -> Entry {
    let (fd, address) = (libc::AT_FDCWD, path.as_ptr() as u64);
    Entry { operation: OPENAT, flags: flags(how), fd, address, ..Entry::default() }
}

fn uring_open(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    submit(opening(&path, argument(a, 1)?), |_| Ok(()))?;
    Ok(String::new())
}

/// Opens a file into the ring's own table, where it has no descriptor.
fn uring_open_fixed(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    let mut entry = opening(&path, argument(a, 1)?);
    // `file_index`: the first of the table, counted from 1.
    entry.file_index = 1;
    submit(entry, |ring| register(ring, [-1]))?;
    Ok(String::new())
}

/// Gives a ring its own table of files, of one entry; -1 leaves it free.
fn register(ring: RawFd, file: [RawFd; 1]) -> io::Result<()> {
    /// `IORING_REGISTER_FILES`.
    const REGISTER: i64 = 2;
    let arguments = [ring.into(), REGISTER, file.as_ptr() as i64, 1, 0, 0];
    // SAFETY: the array is ours, and as long as is said.
    unsafe { sys::call(libc::SYS_io_uring_register, arguments) }.map(drop)
}

/// Has whoever serves a Unix socket put a file into the table of a ring, and reads from it there.
fn uring_read_passed(a: Arguments) -> Done {
    /// `IORING_OP_READ`, and `IOSQE_FIXED_FILE`.
    const READ: u8 = 22;
    const FIXED: u8 = 1;
    let mut byte = 0_u8;
    let address = (&raw mut byte) as u64;
    let server = String::from_utf8_lossy(argument(a, 0)?).into_owned();
    let entry = Entry { operation: READ, flags: FIXED, address, length: 1, ..Entry::default() };
    let read = submit(entry, |ring| {
        register(ring, [-1])?;
        let mut server = UnixStream::connect(server)?;
        writeln!(server, "{} {ring}", std::process::id())?;
        let mut answer = [0];
        server.read_exact(&mut answer)?;
        match answer[0] {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number.into())),
        }
    })?;
    if read == 1 { Ok(String::new()) } else { Err(Trouble::Other("nothing was read".into())) }
}

/// Puts a file into the table of another ring: a message from ring to ring, which no hook sees.
pub(crate) fn pass(file: RawFd, to: RawFd) -> io::Result<()> {
    /// `IORING_OP_MSG_RING`, `IORING_MSG_SEND_FD`, `IORING_MSG_RING_CQE_SKIP`.
    const MESSAGE: u8 = 40;
    const SEND_FILE: u64 = 1;
    const NO_COMPLETION: u32 = 1;
    let mut entry = Entry { operation: MESSAGE, fd: to, address: SEND_FILE, ..Entry::default() };
    entry.operation_flags = NO_COMPLETION;
    // Into the first of the table, counted from 1; from the first of ours, counted from 0.
    entry.file_index = 1;
    submit(entry, |ring| register(ring, [file])).map(drop)
}

/// An operation on one name, or on two; both are relative to the current folder.
fn on_names(a: Arguments, operation: u8) -> Done {
    let (how, names) = a.split_last().ok_or_else(|| Trouble::Other("which names?".into()))?;
    let names: Vec<CString> =
        names.iter().map(|name| sys::text(name)).collect::<io::Result<_>>()?;
    let [one, two] = [0, 1].map(|index| names.get(index).map_or(0, |name| name.as_ptr() as u64));
    let mut entry = Entry { operation, flags: flags(how), address: one, ..Entry::default() };
    entry.fd = libc::AT_FDCWD;
    entry.offset = two;
    match operation {
        MKDIRAT => entry.length = 0o755,
        // Where the second name is relative to.
        RENAMEAT | LINKAT => entry.length = libc::AT_FDCWD as u32,
        _ => {}
    }
    submit(entry, |_| Ok(()))?;
    Ok(String::new())
}

/// Opens a file for reading, by a worker of the kernel if so asked.
///
/// # Errors
///
/// The system calls'.
pub(super) fn open(path: &CStr, by_worker: bool) -> io::Result<()> {
    submit(opening(path, if by_worker { b"async" } else { b"now" }), |_| Ok(())).map(drop)
}

/// Writes to a file, by a worker of the kernel if so asked; gives how many bytes.
///
/// # Errors
///
/// The system calls'.
pub(crate) fn write(file: RawFd, bytes: &[u8], by_worker: bool) -> io::Result<usize> {
    /// `IORING_OP_WRITE`.
    const WRITE: u8 = 23;
    let entry = Entry {
        operation: WRITE,
        flags: flags(if by_worker { b"async" } else { b"now" }),
        fd: file,
        address: bytes.as_ptr() as u64,
        length: bytes.len() as u32,
        ..Entry::default()
    };
    Ok(submit(entry, |_| Ok(()))? as usize)
}

/// Sets an extended attribute. The kernel leaves this to a worker always.
///
/// # Errors
///
/// The system calls'.
pub(super) fn set_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    /// `IORING_OP_SETXATTR`.
    const SETXATTR: u8 = 42;
    let entry = Entry {
        operation: SETXATTR,
        address: name.as_ptr() as u64,
        length: value.len() as u32,
        offset: value.as_ptr() as u64,
        address_3: path.as_ptr() as u64,
        ..Entry::default()
    };
    submit(entry, |_| Ok(())).map(drop)
}

fn uring_connect(a: Arguments) -> Done {
    let to = destination(a)?;
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    connect(&socket, to.pointer(), to.length(), argument(a, 2)?)
}

fn uring_connect_unix(a: Arguments) -> Done {
    let to = Name::new(argument(a, 0)?)?;
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?;
    connect(&socket, to.pointer(), to.length(), argument(a, 1)?)
}

fn connect(socket: &OwnedFd, to: *const libc::sockaddr, length: u32, how: &[u8]) -> Done {
    /// `IORING_OP_CONNECT`.
    const CONNECT: u8 = 16;
    let (address, offset) = (to as u64, u64::from(length));
    let (fd, flags) = (socket.as_raw_fd(), flags(how));
    submit(Entry { operation: CONNECT, flags, fd, offset, address, ..Entry::default() }, |_| {
        Ok(())
    })?;
    Ok(String::new())
}

/// `IORING_SETUP_SQPOLL`.
const SQPOLL: u32 = 1 << 1;

/// Makes a ring and no use of it.
fn ring(flags: u32) -> Done {
    set_up(flags)?;
    Ok(String::new())
}

/// Has a request done with credentials that were registered before.
fn uring_personality(_: Arguments) -> Done {
    /// `IORING_REGISTER_PERSONALITY`.
    const REGISTER_PERSONALITY: i64 = 9;
    // The first that is registered with a ring has the number 1.
    submit(Entry { personality: 1, ..Entry::default() }, |ring| {
        let arguments = [i64::from(ring), REGISTER_PERSONALITY, 0, 0, 0, 0];
        // SAFETY: no memory is involved.
        unsafe { sys::call(libc::SYS_io_uring_register, arguments) }.map(drop)
    })?;
    Ok(String::new())
}

/// Sends a command to a driver that has one which does nothing.
fn uring_command(_: Arguments) -> Done {
    /// `IORING_OP_URING_CMD`.
    const URING_CMD: u8 = 46;
    let file = sys::open(b"/dev/null", libc::O_RDONLY, 0)?;
    submit(Entry { operation: URING_CMD, fd: file.as_raw_fd(), ..Entry::default() }, |_| Ok(()))?;
    Ok(String::new())
}

/// Offsets in the `u32`s of `struct io_uring_params`.
mod at {
    pub(super) const FLAGS: usize = 2;
    pub(super) const SUBMISSION_TAIL: usize = 11;
    pub(super) const SUBMISSION_ARRAY: usize = 16;
    pub(super) const COMPLETION_TAIL: usize = 21;
    pub(super) const COMPLETIONS: usize = 25;
}

/// Makes a ring, and gives what the kernel says of it.
fn set_up(flags: u32) -> io::Result<(OwnedFd, [u32; 30])> {
    let mut parameters = [0_u32; 30];
    parameters[at::FLAGS] = flags;
    let pointer = parameters.as_mut_ptr() as i64;
    // SAFETY: the parameters are as long as the kernel takes them, 120 bytes.
    let ring = unsafe { sys::call(libc::SYS_io_uring_setup, [4, pointer, 0, 0, 0, 0]) };
    Ok((ring.map(sys::owned)?, parameters))
}

/// Has one entry done by a ring of its own, once `prepare` has had the ring's descriptor, and
/// gives its result.
fn submit(entry: Entry, prepare: impl FnOnce(i32) -> io::Result<()>) -> io::Result<i32> {
    let (ring, parameters) = set_up(0)?;
    prepare(ring.as_raw_fd())?;
    let map = |offset: i64| {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, protection, flags, ring.as_raw_fd(), offset)
        };
        match address == libc::MAP_FAILED {
            true => Err(io::Error::last_os_error()),
            false => Ok(address.cast::<u8>()),
        }
    };
    let (submissions, completions, entries) = (map(0)?, map(0x800_0000)?, map(0x1000_0000)?);
    let word = |base: *mut u8, index: usize| base.wrapping_add(parameters[index] as usize);
    // SAFETY: rings of four entries fit in a page, and the offsets are those that the kernel gave.
    unsafe {
        entries.cast::<Entry>().write(entry);
        word(submissions, at::SUBMISSION_ARRAY).cast::<u32>().write_volatile(0);
        word(submissions, at::SUBMISSION_TAIL).cast::<u32>().write_volatile(1);
    }
    /// `IORING_ENTER_GETEVENTS`.
    const WAIT: i64 = 1;
    let fd = i64::from(ring.as_raw_fd());
    // SAFETY: the entry's pointers live in our caller.
    unsafe { sys::call(libc::SYS_io_uring_enter, [fd, 1, 1, WAIT, 0, 0]) }?;
    // SAFETY: as above; the kernel has written the completion.
    let (done, result) = unsafe {
        let done = word(completions, at::COMPLETION_TAIL).cast::<u32>().read_volatile();
        (done, word(completions, at::COMPLETIONS).add(8).cast::<i32>().read_volatile())
    };
    let unmap = |address: *mut u8| {
        // SAFETY: the mapping is ours and not used any more.
        unsafe { libc::munmap(address.cast::<c_void>(), 4096) };
    };
    [submissions, completions, entries].into_iter().for_each(unmap);
    match (done, result) {
        (0, _) => Err(io::Error::other("nothing was completed")),
        (_, result) if result < 0 => Err(io::Error::from_raw_os_error(-result)),
        (_, result) => Ok(result),
    }
}
