//! Acts of servers. Who is to come is a process outside that is told by a Unix socket
//! (`tests/src/visitor.rs`): whether it got through is the act's result.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream},
    },
    thread,
    time::Duration,
};

use super::{
    Act, Trouble, argument,
    network::{PHASE, socket},
    parsed,
};
use crate::{sys, visitor::port_of_phase};

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them. A port is that of the phase: enforcing and observing runs are at work at once.
pub(super) const ACTS: &[Act] = &[
    ("serve-tcp", serve_tcp),
    ("serve-unbound", serve_unbound),
    ("serve-udp", serve_udp),
    ("serve-self", serve_self),
    ("serve-self-udp", serve_self_udp),
    ("serve-listening-only", |a| Ok(TcpListener::bind(here(a)?).map(|_| String::new())?)),
    ("serve-taken", serve_taken),
    ("ask-udp", ask_udp),
    ("be-neighbour", be_neighbour),
    ("hold-on", hold_on),
];

/// How long an answer is waited for that may not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address and port to serve on, which are the first two arguments.
fn here(a: Arguments) -> Result<SocketAddr, Trouble> {
    let phase = std::env::var(PHASE).unwrap_or_default();
    let port = port_of_phase(parsed(a, 1)?, &phase);
    Ok(SocketAddr::new(parsed::<IpAddr>(a, 0)?, port))
}

/// Asks the visitor at the Unix socket to come to an address; fails as it failed.
fn invite(visitor: &[u8], protocol: &str, to: SocketAddr) -> Result<(), Trouble> {
    let mut visitor = UnixStream::connect(String::from_utf8_lossy(visitor).into_owned())?;
    writeln!(visitor, "{protocol} {to}")?;
    let mut answer = [0];
    visitor.read_exact(&mut answer)?;
    match answer[0] {
        0 => Ok(()),
        number => Err(Trouble::Errno(number.into())),
    }
}

/// Listens where other scopes may try to come, writes its process's number to a file, and goes on
/// until it is ended.
fn be_neighbour(a: Arguments) -> Done {
    let _tcp = TcpListener::bind("127.0.0.1:20700")?;
    let _unix = UnixListener::bind_addr(&UnixAddress::from_abstract_name("rf-neighbour")?)?;
    hold_on(a)
}

/// Writes its process's number to a file, and goes on until it is ended.
fn hold_on(a: Arguments) -> Done {
    let file = String::from_utf8_lossy(argument(a, 0)?).into_owned();
    fs::write(file, format!("{}\n", std::process::id()))?;
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Serves on an address; the visitor comes to another, which is the third argument.
fn serve_tcp(a: Arguments) -> Done {
    let listener = TcpListener::bind(here(a)?)?;
    let to = SocketAddr::new(parsed(a, 2)?, listener.local_addr()?.port());
    invite(argument(a, 3)?, "tcp", to)?;
    listener.accept()?;
    Ok(String::new())
}

/// Listens with a socket that was never bound: the kernel chooses the port.
fn serve_unbound(a: Arguments) -> Done {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::listen(socket.as_raw_fd(), 1) })?;
    let listener = TcpListener::from(socket);
    let to = SocketAddr::new(parsed(a, 0)?, listener.local_addr()?.port());
    invite(argument(a, 1)?, "tcp", to)?;
    listener.accept()?;
    Ok(String::new())
}

fn serve_udp(a: Arguments) -> Done {
    let server = UdpSocket::bind(here(a)?)?;
    let to = SocketAddr::new(parsed(a, 2)?, server.local_addr()?.port());
    invite(argument(a, 3)?, "udp", to)?;
    receive(&server)
}

/// Waits for a datagram.
fn receive(socket: &UdpSocket) -> Done {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.recv_from(&mut [0; 16])?;
    Ok(String::new())
}

/// Serves oneself: on the first address, connected to by the second.
fn serve_self(a: Arguments) -> Done {
    let listener = TcpListener::bind(SocketAddr::new(parsed(a, 0)?, 0))?;
    let to = SocketAddr::new(parsed(a, 1)?, listener.local_addr()?.port());
    let client = TcpStream::connect_timeout(&to, PATIENCE)?;
    let (mut server, _) = listener.accept()?;
    server.write_all(b"x")?;
    (&client).read_exact(&mut [0])?;
    Ok(String::new())
}

fn serve_self_udp(a: Arguments) -> Done {
    let to = here(a)?;
    let server = UdpSocket::bind(to)?;
    UdpSocket::bind(SocketAddr::new(to.ip(), 0))?.send_to(b"x", to)?;
    receive(&server)
}

/// Accepts at a listening socket that is taken from whoever serves a Unix socket, who also
/// connects to it.
fn serve_taken(a: Arguments) -> Done {
    let stream = UnixStream::connect(String::from_utf8_lossy(argument(a, 0)?).into_owned())?;
    let Some(taken) = sys::receive_descriptor(stream.as_fd())? else {
        return Err(Trouble::Errno(libc::EPERM));
    };
    let taken = TcpListener::from(taken);
    let _client = TcpStream::connect_timeout(&taken.local_addr()?, PATIENCE).ok();
    taken.set_nonblocking(true)?;
    match taken.accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(String::new()),
        accepted => Ok(accepted.map(|_| String::new())?),
    }
}

/// Asks a server of datagrams and waits for the answer.
fn ask_udp(a: Arguments) -> Done {
    let any: IpAddr = parsed(a, 0)?;
    let any = if any.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.send_to(b"x", SocketAddr::new(parsed(a, 0)?, parsed(a, 1)?))?;
    receive(&socket)
}
