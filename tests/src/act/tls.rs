//! Acts that say hello over TLS, in every way that bytes get into a connection.

use std::{
    fs::File,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, RawFd},
    ptr::null_mut,
    thread,
    time::Duration,
};

use super::{
    Act, Trouble, argument,
    names::{SHORT, line, places, word},
    network::{To, connect, socket},
    parsed,
};
use crate::{names::hello::hello, sys};

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("tls", tls),
    ("tls-again", tls_again),
    ("tls-plain", tls_plain),
    ("tls-by", tls_by),
    ("tls-fast-open", tls_fast_open),
    ("tls-retry", tls_retry),
];

/// Says hello over TLS: the host to connect to, the port, the name to say (`-` for none), how many
/// bytes come before it, the size of the pieces, and perhaps the address family. Says what the
/// server says.
fn tls(a: Arguments) -> Done {
    let to = place(a, 5)?;
    in_pieces(&to, &message(a, 2, parsed(a, 3)?)?, parsed(a, 4)?)
}

/// Says something that is not TLS; perhaps with the address family.
fn tls_plain(a: Arguments) -> Done {
    in_pieces(&place(a, 3)?, argument(a, 2)?, usize::MAX)
}

/// The first place that a host and a port lead to, of a family if there is one; else of IPv4.
fn place(a: Arguments, family: usize) -> Result<SocketAddr, Trouble> {
    let family = word(a, family).unwrap_or_else(|_| "4".to_owned());
    let places = places(&word(a, 0)?, parsed(a, 1)?, &family)?;
    places.first().copied().ok_or_else(|| Trouble::Other("the name has no address".into()))
}

/// The message that says the name of an argument.
fn message(a: Arguments, index: usize, before: usize) -> Result<Vec<u8>, Trouble> {
    let name = word(a, index)?;
    Ok(hello((name != "-").then_some(name.as_str()), before))
}

fn in_pieces(to: &SocketAddr, bytes: &[u8], size: usize) -> Done {
    let mut stream = TcpStream::connect_timeout(to, SHORT)?;
    write_pieces(&mut stream, bytes, size)?;
    Ok(line(&mut stream)?)
}

fn write_pieces(stream: &mut TcpStream, bytes: &[u8], size: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for piece in bytes.chunks(size) {
        stream.write_all(piece)?;
        if size < bytes.len() {
            // Each in a segment of its own.
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// Says hello with a first name, dissolves the connection, connects the same socket to the same
/// place again, and says hello with a second name: the host to connect to, the port, the names.
fn tls_again(a: Arguments) -> Done {
    let to = place(a, 4)?;
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(&message(a, 2, 0)?)?;
    let said = line(&mut stream)?;
    // What a client says next (`client_key_exchange`): its name is settled from here on.
    stream.write_all(&[22, 3, 3, 0, 4, 16, 0, 0, 0])?;
    thread::sleep(Duration::from_millis(50));
    connect(stream.as_raw_fd(), &To::nowhere())?;
    connect(stream.as_raw_fd(), &To::new(to.ip(), to.port()))?;
    stream.write_all(&message(a, 3, 0)?)?;
    Ok(format!("{said}, {}", line(&mut stream)?))
}

/// Says hello twice on one connection, as after a server's HelloRetryRequest: the host to connect
/// to, the port, the names, the size of the second message's pieces, and what comes before it.
fn tls_retry(a: Arguments) -> Done {
    let mut stream = TcpStream::connect_timeout(&place(a, 6)?, SHORT)?;
    stream.write_all(&message(a, 2, 0)?)?;
    let said = line(&mut stream)?;
    stream.write_all(argument(a, 5)?)?;
    write_pieces(&mut stream, &message(a, 3, 0)?, parsed(a, 4)?)?;
    Ok(format!("{said}, {}", line(&mut stream)?))
}

/// Says hello by a way to send that is no plain write: way, the host to connect to, the port, the
/// name, and perhaps the address family.
fn tls_by(a: Arguments) -> Done {
    let (way, a) = (word(a, 0)?, a.get(1..).unwrap_or_default());
    let (mut stream, bytes) =
        (TcpStream::connect_timeout(&place(a, 3)?, SHORT)?, message(a, 2, 0)?);
    stream.set_nodelay(true)?;
    let to = stream.as_raw_fd();
    match way.as_str() {
        "write" => stream.write_all(&bytes)?,
        "sendfile" => send_file(to, &bytes)?,
        // The name is behind what was written before.
        "write-and-sendfile" => {
            stream.write_all(&bytes[..20])?;
            send_file(to, &bytes[20..])?;
        }
        "splice" => splice_file(to, &bytes)?,
        "vmsplice" => splice_memory(to, &bytes)?,
        "zerocopy" => send_in_place(to, &bytes)?,
        "urgent" => {
            // The server has the byte that is sent out of turn not in its stream.
            send(to, &[&bytes[..60], b"x"].concat(), libc::MSG_OOB)?;
            stream.write_all(&bytes[60..])?;
        }
        _ => return Err(Trouble::Other(format!("there is no way called {way}"))),
    }
    Ok(line(&mut stream)?)
}

fn send(fd: RawFd, bytes: &[u8], flags: i32) -> io::Result<()> {
    // SAFETY: the buffer is of the length given.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    whole(sent, bytes.len())
}

fn whole(done: isize, length: usize) -> io::Result<()> {
    match sys::check(done as i64)? as usize == length {
        true => Ok(()),
        false => Err(io::Error::other("not all was taken")),
    }
}

/// A file that has these bytes, and no name.
fn file(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: the name is a NUL-terminated string.
    let fd = sys::check(unsafe { libc::memfd_create(c"hello".as_ptr(), 0) }).map(sys::owned)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    Ok(file)
}

fn send_file(to: RawFd, bytes: &[u8]) -> io::Result<()> {
    let (file, mut from) = (file(bytes)?, 0);
    // SAFETY: the place is our own variable.
    let sent = unsafe { libc::sendfile(to, file.as_raw_fd(), &raw mut from, bytes.len()) };
    whole(sent, bytes.len())
}

fn splice_file(to: RawFd, bytes: &[u8]) -> io::Result<()> {
    let ((reader, writer), file) = (io::pipe()?, file(bytes)?);
    let mut from = 0;
    let (file, pipe, length) = (file.as_raw_fd(), writer.as_raw_fd(), bytes.len());
    // SAFETY: the place is our own variable, and null stands for none.
    whole(unsafe { libc::splice(file, &raw mut from, pipe, null_mut(), length, 0) }, length)?;
    drain(reader.as_raw_fd(), to, length)
}

fn splice_memory(to: RawFd, bytes: &[u8]) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    let length = bytes.len();
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: length };
    // SAFETY: the bytes outlive the pipe, and are not changed by being read.
    whole(unsafe { libc::vmsplice(writer.as_raw_fd(), &raw const part, 1, 0) }, length)?;
    drain(reader.as_raw_fd(), to, length)
}

fn drain(pipe: RawFd, to: RawFd, length: usize) -> io::Result<()> {
    // SAFETY: null stands for no place.
    whole(unsafe { libc::splice(pipe, null_mut(), to, null_mut(), length, 0) }, length)
}

/// Sends pages that stay the process's own.
fn send_in_place(to: RawFd, bytes: &[u8]) -> io::Result<()> {
    set_number(to, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
    send(to, bytes, libc::MSG_ZEROCOPY)
}

fn set_number(fd: RawFd, level: i32, option: i32, number: i32) -> io::Result<()> {
    let (value, length) = ((&raw const number).cast(), size_of::<i32>() as u32);
    // SAFETY: the pointer is to our own variable, with its length.
    sys::check(unsafe { libc::setsockopt(fd, level, option, value, length) }).map(drop)
}

/// Says hello by TCP Fast Open: the host to connect to, the port, a name for a first connection,
/// which gets the cookie, and one for a second, how many bytes come before that one, and perhaps
/// the address family. Says what the server says, and whether the second was in the first packet.
fn tls_fast_open(a: Arguments) -> Done {
    let to = place(a, 5)?;
    let mut stream = opened_with(&to, &message(a, 2, 0)?)?;
    let first = line(&mut stream)?;
    let mut stream = opened_with(&to, &message(a, 3, parsed(a, 4)?)?)?;
    let second = line(&mut stream)?;
    let when = if is_in_first_packet(stream.as_raw_fd())? { "at once" } else { "later" };
    Ok(format!("{first}, {second} {when}"))
}

/// Connects inside of a send. What has no room in the first packet follows.
fn opened_with(to: &SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = socket(family, libc::SOCK_STREAM, 0)?;
    let at = To::new(to.ip(), to.port());
    let (pointer, length) = (bytes.as_ptr().cast(), bytes.len());
    let flags = libc::MSG_FASTOPEN;
    // SAFETY: buffer and address are of the lengths given.
    let sent =
        unsafe { libc::sendto(fd.as_raw_fd(), pointer, length, flags, at.pointer(), at.length()) };
    let sent = sys::check(sent as i64)? as usize;
    let mut stream = TcpStream::from(fd);
    stream.write_all(&bytes[sent..])?;
    Ok(stream)
}

/// Whether the server has taken content of the packet that opened the connection.
fn is_in_first_packet(fd: RawFd) -> io::Result<bool> {
    /// `tcpi_options` of `struct tcp_info`, and the bit in it (`linux/tcp.h`).
    const OPTIONS: usize = 5;
    const SYN_DATA: u8 = 32;
    let mut information = [0_u8; 8];
    let mut length = information.len() as libc::socklen_t;
    let place = information.as_mut_ptr().cast();
    // SAFETY: the buffer is of the length given.
    sys::check(unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length)
    })?;
    Ok(information[OPTIONS] & SYN_DATA != 0)
}
