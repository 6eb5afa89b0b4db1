//! Acts on Unix sockets. A socket is named by its path, or by `@` and its abstract name.

use std::{
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
};

use libc::c_int;

use super::{Act, Trouble, argument, network::socket};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("unix-connect", |a| connect_by(a, libc::SOCK_STREAM)),
    ("unix-connect-packets", |a| connect_by(a, libc::SOCK_SEQPACKET)),
    ("unix-connect-datagrams", |a| connect_by(a, libc::SOCK_DGRAM)),
    ("unix-send", send),
    ("unix-take-connected", take_connected),
    ("unix-own", own),
    ("unix-own-datagrams", own_datagrams),
    ("unix-pair-of-datagrams", pair_of_datagrams),
];

/// The address of a Unix socket as system calls take it.
pub(super) struct Name {
    address: libc::sockaddr_un,
    length: u32,
}

impl Name {
    pub(super) fn new(name: &[u8]) -> Result<Self, Trouble> {
        let mut text = name.to_vec();
        match text.first_mut() {
            Some(first) if *first == b'@' => *first = 0,
            _ => text.push(0),
        }
        // SAFETY: an all-zero address is a valid one.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        if text.len() > address.sun_path.len() {
            return Err(Trouble::Other("the name is too long".into()));
        }
        for (to, from) in address.sun_path.iter_mut().zip(&text) {
            *to = *from as libc::c_char;
        }
        Ok(Self { address, length: 2 + text.len() as u32 })
    }

    pub(super) fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.address).cast()
    }

    pub(super) const fn length(&self) -> u32 {
        self.length
    }
}

fn connect(socket: &OwnedFd, name: &Name) -> io::Result<()> {
    // SAFETY: the address is of the length given.
    let connected = unsafe { libc::connect(socket.as_raw_fd(), name.pointer(), name.length()) };
    sys::check(connected).map(drop)
}

fn connect_by(a: Arguments, kind: c_int) -> Done {
    let name = Name::new(argument(a, 0)?)?;
    connect(&socket(libc::AF_UNIX, kind, 0)?, &name)?;
    Ok(String::new())
}

fn send_to(socket: &OwnedFd, name: &Name) -> io::Result<()> {
    let (fd, text) = (socket.as_raw_fd(), b"x");
    // SAFETY: buffer and address are of the lengths given.
    let sent =
        unsafe { libc::sendto(fd, text.as_ptr().cast(), 1, 0, name.pointer(), name.length()) };
    sys::check(sent as i64).map(drop)
}

fn send(a: Arguments) -> Done {
    let name = Name::new(argument(a, 0)?)?;
    send_to(&socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?, &name)?;
    Ok(String::new())
}

/// Takes a socket from whoever serves a Unix socket, and writes to whom it is connected to.
fn take_connected(a: Arguments) -> Done {
    let stream = UnixStream::connect(String::from_utf8_lossy(argument(a, 0)?).into_owned())?;
    let Some(taken) = sys::receive_descriptor(stream.as_fd())? else {
        return Err(Trouble::Errno(libc::EPERM));
    };
    // SAFETY: the buffer is of the length given.
    sys::check(unsafe { libc::write(taken.as_raw_fd(), b"x".as_ptr().cast(), 1) } as i64)?;
    Ok(String::new())
}

/// A socket of one's own that one is connected to by its name.
fn own(a: Arguments) -> Done {
    let name = Name::new(argument(a, 0)?)?;
    let server = bind(&name, libc::SOCK_STREAM)?;
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::listen(server.as_raw_fd(), 1) })?;
    connect(&socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &name)?;
    UnixListener::from(server).accept()?;
    Ok(String::new())
}

fn own_datagrams(a: Arguments) -> Done {
    let name = Name::new(argument(a, 0)?)?;
    let server = bind(&name, libc::SOCK_DGRAM)?;
    let client = socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    send_to(&client, &name)?;
    connect(&client, &name)?;
    UnixDatagram::from(server).recv(&mut [0])?;
    Ok(String::new())
}

/// A socket that is bound to a name, and listens where it can.
///
/// # Errors
///
/// The system calls'.
pub(crate) fn bound_socket(name: &[u8], kind: c_int) -> io::Result<OwnedFd> {
    let wrong = |trouble| match trouble {
        Trouble::Errno(number) => io::Error::from_raw_os_error(number),
        Trouble::Other(text) => io::Error::other(text),
    };
    let socket = Name::new(name).and_then(|name| bind(&name, kind)).map_err(wrong)?;
    if kind != libc::SOCK_DGRAM {
        // SAFETY: no memory is involved.
        sys::check(unsafe { libc::listen(socket.as_raw_fd(), 64) })?;
    }
    Ok(socket)
}

fn bind(name: &Name, kind: c_int) -> Result<OwnedFd, Trouble> {
    let server = socket(libc::AF_UNIX, kind, 0)?;
    // SAFETY: the address is of the length given.
    sys::check(unsafe { libc::bind(server.as_raw_fd(), name.pointer(), name.length()) })?;
    Ok(server)
}

fn pair_of_datagrams(_: Arguments) -> Done {
    let (one, other) = UnixDatagram::pair()?;
    one.send(b"x")?;
    other.recv(&mut [0])?;
    Ok(String::new())
}
