//! The network of the tests: the machine's own end of a cable (or that of a namespace of the
//! test's own), and an outside with name servers, servers and everything that is to be out of
//! reach. What comes to the outside is captured from the cable.

use std::{
    fs, io,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Instant,
};

use super::{
    capture::Capture,
    servers::{Notes, serve_names, serve_tcp, serve_tls, serve_udp},
};
use crate::{
    harness::{Failure, ensure},
    sys,
};

/// The last number of the address that no policy opens.
pub(super) const FORBIDDEN: u8 = 66;
/// The last numbers of the addresses of name servers: of `resolv.conf`, of one that nobody trusts,
/// and of one that a policy may list.
pub(super) const TRUSTED: u8 = 53;
pub(super) const ROGUE: u8 = 54;
pub(super) const LISTED: u8 = 55;

/// Ports of the servers that tell where one is, for TCP.
const TCP: [u16; 5] = [853, 8080, 8081, 8443, 9000];
/// The same for UDP; 443 stands for QUIC.
const UDP: [u16; 3] = [443, 5300, 5301];
/// The last numbers of addresses that answer datagrams.
const ANSWERING: [u8; 9] = [10, 11, 12, 13, 14, 20, 21, 40, FORBIDDEN];

/// An address outside. It must look like one of the internet: what is private, or for
/// documentation, no name may stand for.
pub(super) const fn public(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(93, 184, 216, last))
}

/// The same over IPv6.
pub(super) const fn public_v6(last: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0x220, 1, 0, 0, 0, last as u16))
}

/// Where governed processes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// In the machine's own network.
    Machine,
    /// In a network namespace of their own, as in a container.
    Namespace,
}

/// The network of a test. The cable goes away with it.
pub(crate) struct Network {
    /// What came to servers.
    pub(super) notes: Notes,
    /// What came over the cable.
    pub(crate) capture: Capture,
    /// What `resolv.conf` said before.
    resolv: Option<String>,
    /// Runs a program outside.
    outside: Sender<Command>,
    started: Receiver<io::Result<std::process::Child>>,
}

impl Network {
    /// Makes it. With [`Client::Namespace`], this thread and all that it starts is in the new
    /// namespace from then on.
    pub(crate) fn make(client: Client) -> Result<Self, Failure> {
        if client == Client::Namespace {
            // SAFETY: no memory is involved; the thread's network becomes a new one.
            sys::check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            ip("link set lo up")?;
        }
        let (tell, told) = channel();
        let (begin, begins) = channel::<()>();
        let (outside, commands) = channel::<Command>();
        let (start, started) = channel();
        let notes = Notes::default();
        let noted = notes.clone();
        thread::spawn(move || {
            // SAFETY: no memory is involved; the thread's network becomes a new one.
            let apart = sys::check(unsafe { libc::unshare(libc::CLONE_NEWNET) });
            // SAFETY: no memory is involved.
            let _ = tell.send(apart.map(|_| Ready::Apart(unsafe { libc::gettid() })));
            let _ = begins.recv();
            let _ = tell.send(open(&noted).map(Ready::Open));
            // Each program is started here, and so outside.
            for mut command in commands {
                let _ = start.send(command.spawn());
            }
        });
        let Ready::Apart(thread) = told.recv()?? else {
            return Err(Failure::new("the outside is not apart"));
        };
        ip(&format!("link add rf-here type veth peer name rf-there netns {thread}"))?;
        // From here on it is taken away again, whatever happens.
        let resolv = fs::read_to_string(RESOLV).ok();
        let here = |capture| Self { notes, capture, resolv, outside, started };
        let words = [
            "addr add 10.88.0.1/24 dev rf-here",
            "addr add 2606:2800:220:2::1/64 dev rf-here nodad",
            "link set rf-here up",
            "route add default via 10.88.0.2",
            "route add default via 2606:2800:220:2::2",
        ];
        ip(&words.join("\n"))?;
        let _ = begin.send(());
        let Ready::Open(capture) = told.recv()?? else {
            return Err(Failure::new("the outside is not open"));
        };
        let network = here(capture);
        network.name_server(&format!("nameserver {}\n", public(TRUSTED)))?;
        Ok(network)
    }

    /// Has `resolv.conf` say this.
    pub(super) fn name_server(&self, text: &str) -> Result<(), Failure> {
        Ok(fs::write(RESOLV, text)?)
    }

    /// How many packets have come to an address and port, or any port. One that is sent after them
    /// shows that all were captured.
    pub(crate) fn count(&self, to: IpAddr, port: Option<u16>) -> Result<usize, Failure> {
        let mark = format!("the last: {:?}", Instant::now());
        UdpSocket::bind("0.0.0.0:0")?.send_to(mark.as_bytes(), (public(10), UDP[1]))?;
        ensure(self.capture.gets(&mark), || "the capture does not get on".to_owned())?;
        Ok(self.capture.count(to, port))
    }

    /// Starts a program outside.
    pub(crate) fn start_outside(&self, command: Command) -> Result<std::process::Child, Failure> {
        self.outside.send(command)?;
        Ok(self.started.recv()??)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What does not go shows in the tests that follow.
        let _ = ip("link delete rf-here");
        let _ = match &self.resolv {
            Some(text) => fs::write(RESOLV, text),
            None => fs::remove_file(RESOLV),
        };
    }
}

const RESOLV: &str = "/etc/resolv.conf";

/// How far the outside is.
enum Ready {
    /// In a network of its own, as the thread with this number.
    Apart(libc::pid_t),
    /// Serving.
    Open(Capture),
}

/// Sets the outside up, in the thread's network.
fn open(notes: &Notes) -> io::Result<Capture> {
    let mut words = vec![
        "link set lo up".to_owned(),
        "addr add 10.88.0.2/24 dev rf-there".to_owned(),
        "addr add 2606:2800:220:2::2/64 dev rf-there nodad".to_owned(),
        "link set rf-there up".to_owned(),
        "route add local 93.184.216.0/24 dev lo".to_owned(),
        // Of names that have many addresses.
        "route add local 20.0.0.0/8 dev lo".to_owned(),
        "route add local 169.254.169.254/32 dev lo".to_owned(),
        "route add local 10.66.0.0/24 dev lo".to_owned(),
        "addr add fd00:ec2::254/128 dev lo nodad".to_owned(),
    ];
    for last in (0..=u8::MAX)
        .filter(|last| ANSWERING.contains(last) || [15, 16, 17, 19, 30, TRUSTED].contains(last))
    {
        words.push(format!("addr add {}/128 dev lo nodad", public_v6(last)));
    }
    ip(&words.join("\n")).map_err(|failure| io::Error::other(format!("{failure:?}")))?;
    // Who goes where there is nothing is told so.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    // Whoever connects may send content with the first packet: every server takes it (0x403).
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1027")?;
    let capture = Capture::begin()?;
    for at in [public(TRUSTED), public_v6(TRUSTED), public(ROGUE), public(LISTED)] {
        serve_names(at, notes)?;
    }
    // What is sent to port 53 of a server that is none of names.
    serve_udp(SocketAddr::new(public(10), 53), notes)?;
    for port in TCP {
        serve_tcp(port, notes)?;
    }
    serve_tls(443, notes)?;
    for port in UDP {
        for last in ANSWERING {
            serve_udp(SocketAddr::new(public(last), port), notes)?;
            serve_udp(SocketAddr::new(public_v6(last), port), notes)?;
        }
    }
    Ok(capture)
}

/// Has `ip` do what the lines say.
pub(crate) fn ip(lines: &str) -> Result<(), Failure> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{lines}")?;
    }
    let done = child.wait_with_output()?;
    ensure(done.status.success(), || {
        format!("ip: {} in:\n{lines}", String::from_utf8_lossy(&done.stderr))
    })
}
