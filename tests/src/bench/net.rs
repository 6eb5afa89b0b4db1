//! Acts on the network, by a client that does what it is told, a line at a time.

pub(crate) mod server;
pub(crate) mod suite;

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use crate::landlock;

/// The address that a rule about addresses opens.
const LISTED: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The address that a name opens. It must look like one of the internet: no name stands for what
/// is private.
const NAMED: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
/// An address that nothing opens.
const CLOSED: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The name that stands for [`NAMED`].
const NAME: &str = "www.example.net";

/// The port where a connection is closed as soon as it is accepted.
const CLOSING: u16 = 7001;
/// The port where what comes is sent back, by TCP and UDP.
const ECHO: u16 = 7002;
/// A port where nobody listens.
const SILENT: u16 = 7003;

/// Acts in one measurement.
const ACTS: u32 = 200;
/// Measurements of which the middle one counts.
const MEASUREMENTS: usize = 7;
/// What is sent: as long as a small request.
const MESSAGE: [u8; 32] = [b'm'; 32];

/// Does acts by the lines of the standard input and prints of each the instructions: middle,
/// smallest, largest. `ask COUNT` asks for as many names. A refused connection must fail with this
/// number.
///
/// # Errors
///
/// When an act comes out otherwise than it should.
pub(crate) fn client(refusal: &str) -> io::Result<()> {
    let refusal: i32 = refusal.parse().map_err(io::Error::other)?;
    for line in io::stdin().lines() {
        let line = line?;
        if let Some(count) = line.strip_prefix("ask ") {
            let count: u32 = count.parse().map_err(io::Error::other)?;
            (0..count).try_for_each(|number| ask(&format!("n{number}.example.net")))?;
            println!("asked");
        } else {
            act(&line, refusal)?;
        }
        io::stdout().flush()?;
    }
    Ok(())
}

/// Confines this process to Landlock rules about ports: those of the acts, and others.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn confine(rules: &str) -> io::Result<()> {
    let rules: u16 = rules.parse().map_err(io::Error::other)?;
    landlock::confine_ports([CLOSING, ECHO].into_iter().chain((2..rules).map(|i| 10_000 + i)))
}

fn act(word: &str, refusal: i32) -> io::Result<()> {
    let (kind, address) = match word.strip_suffix("-name") {
        Some(kind) => {
            ask(NAME)?;
            (kind, NAMED)
        }
        None => (word, LISTED),
    };
    let [closing, echo] = [CLOSING, ECHO].map(|port| SocketAddrV4::new(address, port));
    match kind {
        "connect" => measure(word, || timed(|| connect(closing))),
        "call" => {
            let clock = clock_cost();
            measure(word, || Ok(call(closing)?.saturating_sub(clock)))
        }
        "datagram" => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            measure(word, || {
                timed(|| {
                    socket.send_to(&MESSAGE, echo)?;
                    answer(socket.recv(&mut [0; 64])?)
                })
            })
        }
        "connected" => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(echo)?;
            measure(word, || {
                timed(|| {
                    socket.send(&MESSAGE)?;
                    answer(socket.recv(&mut [0; 64])?)
                })
            })
        }
        "message" => {
            let mut stream = TcpStream::connect(echo)?;
            measure(word, || {
                timed(|| {
                    stream.write_all(&MESSAGE)?;
                    stream.read_exact(&mut [0; MESSAGE.len()])
                })
            })
        }
        "refused" => measure(word, || timed(|| refused(refusal))),
        _ => Err(io::Error::other(format!("no act {word}"))),
    }
}

/// Prints what one act takes.
fn measure(word: &str, mut act: impl FnMut() -> io::Result<Duration>) -> io::Result<()> {
    let mut times = Vec::new();
    for round in 0..=MEASUREMENTS {
        let mut time = Duration::ZERO;
        for _ in 0..ACTS {
            time += act()?;
        }
        // The first only warms the caches.
        if round > 0 {
            times.push(time.as_nanos() as u64 / u64::from(ACTS));
        }
    }
    times.sort_unstable();
    println!("{word} {} {} {}", times[MEASUREMENTS / 2], times[0], times[MEASUREMENTS - 1]);
    Ok(())
}

fn timed(act: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}

/// What it takes to ask what time it is, which is more than nothing beside a single call.
fn clock_cost() -> Duration {
    (0..100).map(|_| Instant::now().elapsed()).min().unwrap_or_default()
}

/// Connects, and waits until the server has accepted and closed.
fn connect(to: SocketAddrV4) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    match stream.read(&mut [0; 1])? {
        0 => Ok(()),
        _ => Err(io::Error::other("the server said something")),
    }
}

/// The time of `connect(2)` alone. Over loopback the whole handshake happens inside.
fn call(to: SocketAddrV4) -> io::Result<Duration> {
    let socket = socket()?;
    let start = Instant::now();
    connect_socket(&socket, to)?;
    let time = start.elapsed();
    TcpStream::from(socket).read(&mut [0; 1]).map(|_| time)
}

/// A connection that is not made: refused by the peer, or before.
fn refused(refusal: i32) -> io::Result<()> {
    match connect_socket(&socket()?, SocketAddrV4::new(CLOSED, SILENT)) {
        Err(error) if error.raw_os_error() == Some(refusal) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(io::Error::other("a connection that should have been refused")),
    }
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: numbers alone.
    match unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor is new, and nobody else's.
        descriptor => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
    }
}

fn connect_socket(socket: &OwnedFd, to: SocketAddrV4) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address is a whole structure of the length that is given.
    match unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn answer(length: usize) -> io::Result<()> {
    match length == MESSAGE.len() {
        true => Ok(()),
        false => Err(io::Error::other("another answer than what was sent")),
    }
}

/// Asks a name server for the addresses of a name.
fn ask(name: &str) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    // An id, "recursion desired", one question.
    let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    // The root; type A, class IN.
    question.extend([0, 0, 1, 0, 1]);
    let mut bytes = [0; 2048];
    let server: SocketAddr = (Ipv4Addr::LOCALHOST, 53).into();
    socket.send_to(&question, server)?;
    let length = socket.recv(&mut bytes)?;
    // Without an error. That it does not fit is no error: the addresses are open.
    match length > 12 && bytes[3] & 15 == 0 {
        true => Ok(()),
        false => Err(io::Error::other(format!("{name}: no answer, code {}", bytes[3] & 15))),
    }
}
