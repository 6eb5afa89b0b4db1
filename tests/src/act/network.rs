//! Acts on sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use libc::c_int;

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them. Those with a destination take an address and a port.
pub(super) const ACTS: &[Act] = &[
    ("tcp", |a| with_socket(a, libc::SOCK_STREAM, connect)),
    ("tcp-mapped", |a| mapped(a, libc::SOCK_STREAM, connect)),
    ("tcp-fast-open", |a| with_socket(a, libc::SOCK_STREAM, fast_open)),
    ("udp-connect", |a| with_socket(a, libc::SOCK_DGRAM, connect_and_send)),
    ("udp-sendto", |a| with_socket(a, libc::SOCK_DGRAM, |fd, to| send_to(fd, to, 0))),
    ("udp-mapped", |a| mapped(a, libc::SOCK_DGRAM, |fd, to| send_to(fd, to, 0))),
    ("udp-unspecified", |a| with_socket(a, libc::SOCK_DGRAM, send_to_no_family)),
    ("udp-routed", |a| with_socket(a, libc::SOCK_DGRAM, send_routed)),
    ("udp-sendmsg", |a| with_socket(a, libc::SOCK_DGRAM, |fd, to| send_messages(fd, to, false))),
    ("udp-sendmmsg", |a| with_socket(a, libc::SOCK_DGRAM, |fd, to| send_messages(fd, to, true))),
    ("socket", socket_of),
    ("socketpair", |_| Ok(UnixStream::pair().map(|_| String::new())?)),
    ("interfaces", interfaces),
    ("connect-passed", connect_passed),
    ("pass-socket-to-child", pass_to_child),
];

/// What datagrams say: the phase of the test in which they are sent.
pub(crate) const PHASE: &str = "RINGFENCE_TEST_PHASE";

fn payload() -> Vec<u8> {
    std::env::var(PHASE).unwrap_or_default().into_bytes()
}

/// A socket address as system calls take it.
#[derive(Clone)]
pub(super) struct To {
    bytes: [u8; 28],
    length: u32,
}

impl To {
    pub(super) fn new(address: IpAddr, port: u16) -> Self {
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        let (family, length) = match address {
            IpAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.octets());
                (libc::AF_INET, 16)
            }
            IpAddr::V6(v6) => {
                bytes[8..24].copy_from_slice(&v6.octets());
                (libc::AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, length }
    }

    /// The address of no family, to which connecting dissolves a connection.
    pub(super) const fn nowhere() -> Self {
        Self { bytes: [0; 28], length: 16 }
    }

    pub(super) fn pointer(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    pub(super) const fn length(&self) -> u32 {
        self.length
    }

    fn family(&self) -> c_int {
        c_int::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]))
    }
}

pub(super) fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) }).map(sys::owned)
}

pub(super) fn destination(a: Arguments) -> Result<To, Trouble> {
    Ok(To::new(parsed::<IpAddr>(a, 0)?, parsed(a, 1)?))
}

fn with_socket(a: Arguments, kind: c_int, act: impl FnOnce(RawFd, &To) -> io::Result<()>) -> Done {
    let to = destination(a)?;
    let fd = socket(to.family(), kind, 0)?;
    act(fd.as_raw_fd(), &to)?;
    Ok(String::new())
}

/// The same with an IPv6 socket and an IPv4-mapped address.
fn mapped(a: Arguments, kind: c_int, act: impl FnOnce(RawFd, &To) -> io::Result<()>) -> Done {
    let v6 = parsed::<Ipv4Addr>(a, 0)?.to_ipv6_mapped();
    let fd = socket(libc::AF_INET6, kind, 0)?;
    act(fd.as_raw_fd(), &To::new(Ipv6Addr::into(v6), parsed(a, 1)?))?;
    Ok(String::new())
}

pub(super) fn connect(fd: RawFd, to: &To) -> io::Result<()> {
    // SAFETY: the address is of the length given.
    sys::check(unsafe { libc::connect(fd, to.pointer(), to.length()) }).map(drop)
}

fn connect_and_send(fd: RawFd, to: &To) -> io::Result<()> {
    connect(fd, to)?;
    let text = payload();
    // SAFETY: the buffer is of the length given.
    sys::check(unsafe { libc::send(fd, text.as_ptr().cast(), text.len(), 0) } as i64).map(drop)
}

fn send_to(fd: RawFd, to: &To, flags: c_int) -> io::Result<()> {
    let text = payload();
    let (pointer, length) = (text.as_ptr().cast(), text.len());
    // SAFETY: buffer and address are of the lengths given.
    let sent = unsafe { libc::sendto(fd, pointer, length, flags, to.pointer(), to.length()) };
    sys::check(sent as i64).map(drop)
}

/// Sends by a route of the sender's choice: by a machine that is this one, as far as the test goes.
fn send_routed(fd: RawFd, to: &To) -> io::Result<()> {
    /// Loose source and record route (RFC 791, section 3.1), by 127.0.0.1 alone.
    const ROUTE_V4: [u8; 8] = [131, 7, 4, 127, 0, 0, 1, 0];
    /// A routing header of type 2 (RFC 6275, section 6.4), by ::1 alone.
    const ROUTE_V6: [u8; 24] =
        [0, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let (level, option, route) = match to.family() {
        libc::AF_INET => (libc::IPPROTO_IP, libc::IP_OPTIONS, &ROUTE_V4[..]),
        _ => (libc::IPPROTO_IPV6, libc::IPV6_RTHDR, &ROUTE_V6[..]),
    };
    let length = route.len() as libc::socklen_t;
    // SAFETY: the buffer is of the length given.
    sys::check(unsafe { libc::setsockopt(fd, level, option, route.as_ptr().cast(), length) })?;
    send_to(fd, to, 0)
}

/// Connects inside of a send.
fn fast_open(fd: RawFd, to: &To) -> io::Result<()> {
    send_to(fd, to, libc::MSG_FASTOPEN)
}

/// The kernel takes an address of no family for one of IPv4.
fn send_to_no_family(fd: RawFd, to: &To) -> io::Result<()> {
    let mut to = to.clone();
    to.bytes[..2].copy_from_slice(&(libc::AF_UNSPEC as u16).to_ne_bytes());
    send_to(fd, &to, 0)
}

fn send_messages(fd: RawFd, to: &To, many: bool) -> io::Result<()> {
    let mut text = payload();
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    // SAFETY: all-zero messages are valid ones.
    let mut messages: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_name = to.pointer().cast_mut().cast();
        message.msg_hdr.msg_namelen = to.length();
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the messages' pointers are to our own variables, with their lengths.
    let sent = unsafe {
        match many {
            true => libc::sendmmsg(fd, messages.as_mut_ptr(), 2, 0) as i64,
            false => libc::sendmsg(fd, &raw const messages[0].msg_hdr, 0) as i64,
        }
    };
    sys::check(sent).map(drop)
}

/// Makes a socket of a family, type and protocol, given as numbers.
fn socket_of(a: Arguments) -> Done {
    socket(parsed(a, 0)?, parsed(a, 1)?, parsed(a, 2)?)?;
    Ok(String::new())
}

/// What `getifaddrs` reads over netlink.
fn interfaces(_: Arguments) -> Done {
    let mut list = std::ptr::null_mut();
    // SAFETY: the pointer is to our own variable; what it is set to is given back.
    unsafe {
        sys::check(libc::getifaddrs(&raw mut list))?;
        libc::freeifaddrs(list);
    }
    Ok(String::new())
}

/// Takes a socket from whoever serves a Unix socket, and connects it.
fn connect_passed(a: Arguments) -> Done {
    let path = String::from_utf8_lossy(argument(a, 2)?).into_owned();
    let stream = UnixStream::connect(path)?;
    let Some(fd) = sys::receive_descriptor(stream.as_fd())? else {
        return Err(Trouble::Errno(libc::EACCES));
    };
    connect(fd.as_raw_fd(), &destination(a)?)?;
    Ok(String::new())
}

/// Passes a socket to a child, as servers with several processes do.
fn pass_to_child(_: Arguments) -> Done {
    let (ours, theirs) = UnixStream::pair()?;
    let (one, _other) = UnixStream::pair()?;
    sys::send_descriptor(ours.as_fd(), one.as_fd())?;
    let status = sys::in_child(|| match sys::receive_descriptor(theirs.as_fd()) {
        Ok(Some(_)) => 0,
        Ok(None) => libc::EACCES,
        Err(error) => error.raw_os_error().unwrap_or(200),
    })?;
    match libc::WEXITSTATUS(status) {
        0 => Ok(String::new()),
        number => Err(Trouble::Errno(number)),
    }
}
