//! Who comes to a server in a boundary from outside: a neighbour on the same machine, and a
//! visitor from a network of its own, at the other end of a cable.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    harness::{Failure, ensure},
    sys,
};

/// How long a connection that is not answered is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// This end of the cable, and the other; the same over IPv6 is `fd77::1` and `fd77::2`.
const OTHER_END: &str = "10.77.0.2";
/// Where the visitor answers datagrams.
const ANSWERING: u16 = 5300;

/// The port that stands for this one in a phase of a test: two runs may serve at once.
pub(crate) fn port_of_phase(port: u16, phase: &str) -> u16 {
    port + match phase {
        "enforce" => 1000,
        "observe" => 2000,
        _ => 0,
    }
}

/// The network of a test. The cable goes away with it.
pub(crate) struct Visitors;

impl Visitors {
    /// Has them wait at `neighbour.sock` and `visitor.sock` in a folder.
    pub(crate) fn invite(room: &Path) -> Result<Self, Failure> {
        let neighbour = listener(&room.join("neighbour.sock"))?;
        thread::spawn(move || attend(&neighbour));
        let visitor = listener(&room.join("visitor.sock"))?;
        let (tell, told) = mpsc::channel();
        let (begin, begins) = mpsc::channel::<()>();
        thread::spawn(move || -> io::Result<()> {
            // SAFETY: no memory is involved; the thread's network becomes its own.
            sys::check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            // SAFETY: no memory is involved.
            let _ = tell.send(unsafe { libc::gettid() });
            let _ = begins.recv();
            let up = [
                &["link", "set", "lo", "up"][..],
                &["addr", "add", "10.77.0.2/24", "dev", "rf-there"],
                &["-6", "addr", "add", "fd77::2/64", "dev", "rf-there", "nodad"],
                &["link", "set", "rf-there", "up"],
            ];
            let is_up = up.iter().all(|words| ip(words).is_ok());
            let echo = UdpSocket::bind((OTHER_END, ANSWERING))?;
            thread::spawn(move || {
                while let Ok((_, from)) = echo.recv_from(&mut [0; 16]) {
                    // Who went away gets no answer.
                    let _ = echo.send_to(b"x", from);
                }
            });
            let _ = tell.send(libc::pid_t::from(is_up));
            attend(&visitor);
            Ok(())
        });
        let thread = told.recv()?;
        let here = Self;
        ip(&["link", "add", "rf-here", "type", "veth", "peer", "name", "rf-there"])?;
        ip(&["link", "set", "rf-there", "netns", &thread.to_string()])?;
        ip(&["addr", "add", "10.77.0.1/24", "dev", "rf-here"])?;
        ip(&["-6", "addr", "add", "fd77::1/64", "dev", "rf-here", "nodad"])?;
        ip(&["link", "set", "rf-here", "up"])?;
        let _ = begin.send(());
        ensure(told.recv()? == 1, || "the visitor has no network".into())?;
        Ok(here)
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        // What does not go shows among the traces of the test.
        let _ = ip(&["link", "delete", "rf-here"]);
    }
}

fn ip(words: &[&str]) -> Result<(), Failure> {
    let done = Command::new("ip").args(words).output()?;
    let said = || format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr));
    ensure(done.status.success(), said)
}

fn listener(at: &Path) -> io::Result<UnixListener> {
    let _ = fs::remove_file(at);
    UnixListener::bind(at)
}

/// Goes where whoever connects says, and answers with an error number; each in a thread of its
/// own, since some wait long.
fn attend(listener: &UnixListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let number = match visit(&stream) {
                Ok(()) => 0,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => libc::ETIMEDOUT,
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            };
            // Who takes it not is none of the visitor's business.
            let _ = (&stream).write_all(&[u8::try_from(number).unwrap_or(u8::MAX)]);
        });
    }
}

fn visit(stream: &UnixStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let wrong = || io::Error::other("not a protocol and an address");
    let (protocol, to) = line.trim().split_once(' ').ok_or_else(wrong)?;
    let to: SocketAddr = to.parse().map_err(|_| wrong())?;
    match protocol {
        "tcp" => TcpStream::connect_timeout(&to, PATIENCE).map(drop),
        _ => {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any)?.send_to(b"x", to).map(drop)
        }
    }
}
