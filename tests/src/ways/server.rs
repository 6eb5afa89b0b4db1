//! Processes outside the boundary that help whoever asks: they give away descriptors.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
    net::TcpListener,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};

use crate::{act, harness::Failure, sys};

/// `OPEN_TREE_CLONE`.
const CLONE_TREE: i64 = 1;

/// Serves sockets in `room`, with descriptors of the file `passed` in `folder`, or of the folder.
pub(super) fn start(room: &Path, folder: &Path) -> Result<(), Failure> {
    let path = |flags: i32| {
        let folder = sys::path(folder)?;
        sys::open(folder.as_bytes(), flags, 0)
    };
    let file = folder.join("passed");
    let tree = sys::path(folder)?;
    let (here, tree) = (i64::from(libc::AT_FDCWD), tree.as_ptr() as i64);
    // SAFETY: the path is a NUL-terminated string.
    let detached = unsafe { sys::call(libc::SYS_open_tree, [here, tree, CLONE_TREE, 0, 0, 0]) }?;
    let given: [(&str, OwnedFd); 5] = [
        ("file", File::open(&file)?.into()),
        ("writable", File::options().read(true).write(true).open(&file)?.into()),
        ("folder", path(libc::O_PATH | libc::O_DIRECTORY)?),
        ("listed", path(libc::O_RDONLY | libc::O_DIRECTORY)?),
        ("detached", sys::owned(detached)),
    ];
    for (name, fd) in given {
        serve(room, name, move |stream| sys::send_descriptor(stream.as_fd(), fd.as_fd()))?;
    }
    let passed = File::open(&file)?;
    serve(room, "ring", move |stream| pass_to_ring(stream, &passed))?;
    let file = File::open(file)?;
    serve(room, "supervisor", move |stream| supervise(stream, &file))
}

/// Has services at Unix sockets: streams, packets and datagrams, of which the names that begin
/// with `listed` are listed.
pub(crate) fn start_services(room: &Path) -> Result<(), Failure> {
    for name in ["closed", "listed", "written", "read", "denied"] {
        hold(act::bound_socket(path_of(room, name).as_bytes(), STREAM)?);
    }
    for name in ["closed", "listed"] {
        hold(act::bound_socket(path_of(room, &format!("{name}-packets")).as_bytes(), PACKETS)?);
        hold(act::bound_socket(path_of(room, &format!("{name}-log")).as_bytes(), DATAGRAMS)?);
        hold(act::bound_socket(format!("@rf-test/{name}").as_bytes(), STREAM)?);
        hold(act::bound_socket(format!("@rf-test/{name}-log").as_bytes(), DATAGRAMS)?);
    }
    // In a mount namespace of its own, which is that of one thread.
    let elsewhere = path_of(room, "listed-elsewhere");
    let bound = thread::spawn(move || {
        // SAFETY: no memory is involved.
        sys::check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        act::bound_socket(elsewhere.as_bytes(), STREAM)
    });
    let bound = bound.join().map_err(|_| Failure::new("no namespace of its own"))?;
    // The socket keeps the namespace's mount.
    hold(bound?);
    let closed = room.join("closed.sock");
    serve(room, "passing", move |stream| {
        sys::send_descriptor(stream.as_fd(), UnixStream::connect(&closed)?.as_fd())
    })
}

const STREAM: i32 = libc::SOCK_STREAM;
const PACKETS: i32 = libc::SOCK_SEQPACKET;
const DATAGRAMS: i32 = libc::SOCK_DGRAM;

fn path_of(room: &Path, name: &str) -> String {
    let at = room.join(format!("{name}.sock"));
    // Left over from another test.
    let _ = fs::remove_file(&at);
    at.display().to_string()
}

/// Keeps a socket until the test's process ends.
fn hold(socket: OwnedFd) {
    std::mem::forget(socket);
}

/// Gives away a socket that listens.
pub(crate) fn start_passing_listener(room: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    serve(room, "listener", move |stream| sys::send_descriptor(stream.as_fd(), listener.as_fd()))
}

/// Answers whoever connects.
fn serve(
    room: &Path,
    name: &str,
    answer: impl Fn(&UnixStream) -> io::Result<()> + Send + 'static,
) -> Result<(), Failure> {
    let at = room.join(format!("{name}.sock"));
    // Left over from another family.
    let _ = fs::remove_file(&at);
    let listener = UnixListener::bind(at)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who takes it not is none of the server's business.
            let _ = answer(&stream);
        }
    });
    Ok(())
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
struct Addition {
    id: u64,
    flags: u32,
    source: u32,
    new: u32,
    new_flags: u32,
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Takes what a process is supervised by, puts a file into it when it asks, and tells it the
/// number, or the error.
fn supervise(stream: &UnixStream, file: &File) -> io::Result<()> {
    /// `SECCOMP_IOCTL_NOTIF_RECV`, `_SEND` and `_ADDFD`.
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    const ADD: libc::c_ulong = 0x4018_2103;
    let listener = sys::receive_descriptor(stream.as_fd())?;
    let listener = listener.ok_or_else(|| io::Error::other("no descriptor"))?;
    // `struct seccomp_notif` has 80 bytes, which must be zero.
    let mut call = [0_u64; 10];
    // SAFETY: the kernel writes what fits into the array.
    sys::check(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, call.as_mut_ptr()) })?;
    let id = call[0];
    let source = file.as_raw_fd() as u32;
    let addition = Addition { id, flags: 0, source, new: 0, new_flags: 0 };
    // SAFETY: the structure is ours.
    let added = sys::check(unsafe { libc::ioctl(listener.as_raw_fd(), ADD, &raw const addition) });
    let (value, error) = match added {
        Ok(number) => (number, 0),
        Err(error) => (0, -error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let answer = Answer { id, value, error, flags: 0 };
    // SAFETY: as above.
    sys::check(unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) }).map(drop)
}

/// Puts a file into a ring of whoever asks, who says its process and the ring's descriptor there;
/// the answer is an error number.
fn pass_to_ring(stream: &UnixStream, file: &File) -> io::Result<()> {
    let mut line = String::new();
    io::BufReader::new(stream).read_line(&mut line)?;
    let numbers: Vec<i64> = line.split_whitespace().flat_map(str::parse).collect();
    let [process, ring] = numbers[..] else { return Err(io::Error::other("no numbers")) };
    // SAFETY: no memory is involved.
    let process = unsafe { sys::call(libc::SYS_pidfd_open, [process, 0, 0, 0, 0, 0]) };
    let process = process.map(sys::owned)?;
    let arguments = [process.as_raw_fd().into(), ring, 0, 0, 0, 0];
    // SAFETY: as above.
    let ring = unsafe { sys::call(libc::SYS_pidfd_getfd, arguments) }.map(sys::owned)?;
    let passed = act::pass(file.as_raw_fd(), ring.as_raw_fd());
    let number = passed.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
    (&mut &*stream).write_all(&[u8::try_from(number).unwrap_or(u8::MAX)])
}
