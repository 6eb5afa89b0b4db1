//! The network: where connections and datagrams may go, and which sockets there may be.

use std::{
    fs,
    net::{Ipv6Addr, TcpListener, UdpSocket},
    os::{fd::AsFd as _, unix::net::UnixListener},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use libc::{EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT};

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test, ensure},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("only listed destinations are reached, by whatever call and in whatever words", destinations),
    ("no packet is routed by options to where no rule lets it go", routes),
    ("sockets that are not TCP, UDP or Unix are not made", sockets),
    (
        "a socket from outside reaches nothing more, and a program may pass its own on",
        passed_socket,
    ),
];

const POLICY: &str = r#"boundary: 1
io_uring: allow
egress:
  - { cidr: "127.0.0.1/32", ports: [8080], protocol: tcp }
  - { cidr: "127.0.0.1/32", ports: [5300], protocol: udp }
  - { cidr: "::1/128", ports: [8080], protocol: tcp }
  - { cidr: "::1/128", ports: [5300], protocol: udp }
  - { cidr: "127.0.0.8/29", ports: ["8000-8999"] }
  - { cidr: "127.0.0.9/32", deny: true }
"#;

const UNLISTED: By = By::Default("egress:");

fn nothing(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The same where files are governed too: whatever comes from another process is judged.
const FILES_TOO: &str = r#"boundary: 1
io_uring: allow
files:
  - { path: "{room}/**", allow: [read, write] }
egress:
  - { cidr: "127.0.0.1/32", ports: [8080], protocol: tcp }
"#;

/// What datagrams said that came to the ports that no rule lists.
type Heard = Arc<Mutex<Vec<String>>>;

/// Serves TCP on 8080 (listed) and 8443 (not), and UDP on 5300 (listed) and 5301 (not).
fn serve() -> Result<Heard, Failure> {
    // Fast Open, as client and as server; and `ping` for everybody.
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3")?;
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    for port in [8080, 8443] {
        // One socket for both families.
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
        thread::spawn(move || listener.incoming().for_each(drop));
    }
    let heard = Heard::default();
    for port in [5300, 5301] {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
        let heard = Arc::clone(&heard);
        thread::spawn(move || {
            let mut text = [0; 64];
            while let Ok((length, _)) = socket.recv_from(&mut text) {
                let text = String::from_utf8_lossy(&text[..length]).into_owned();
                if port == 5301
                    && let Ok(mut heard) = heard.lock()
                {
                    heard.push(text);
                }
            }
        });
    }
    Ok(heard)
}

fn denied(act: &str, action: &'static str, by: By) -> Case {
    refused(act, EPERM, action, "egress_violation", by)
}

fn destinations(context: &mut Context) -> Result<(), Failure> {
    let heard = serve()?;
    let connect = |act: &str| denied(act, "connect", UNLISTED);
    let send = |act: &str| denied(act, "send", UNLISTED);
    let cases = [
        works("tcp 127.0.0.1 8080"),
        works("tcp ::1 8080"),
        works("tcp-mapped 127.0.0.1 8080"),
        works("tcp 0.0.0.0 8080"),
        works("tcp :: 8080"),
        works("tcp 127.0.0.10 8080"),
        works("tcp-fast-open 127.0.0.1 8080"),
        works("udp-sendto 127.0.0.1 5300"),
        works("udp-connect 127.0.0.1 5300"),
        works("udp-unspecified 127.0.0.1 5300"),
        works("interfaces"),
        works("socketpair"),
        works("uring-connect 127.0.0.1 8080 now"),
        works("uring-connect 127.0.0.1 8080 async"),
        connect("tcp 127.0.0.1 8443"),
        connect("tcp ::1 8443"),
        connect("tcp-mapped 127.0.0.1 8443"),
        connect("tcp 0.0.0.0 8443"),
        connect("tcp :: 8443"),
        connect("tcp 127.0.0.2 8080"),
        denied("tcp 127.0.0.9 8080", "connect", By::Rule("127.0.0.9")),
        connect("uring-connect 127.0.0.1 8443 now"),
        connect("uring-connect 127.0.0.1 8443 async"),
        denied("tcp-fast-open 127.0.0.1 8443", "connect|send", UNLISTED),
        denied("tcp-fast-open ::1 8443", "connect|send", UNLISTED),
        connect("udp-connect 127.0.0.1 5301"),
        connect("udp-connect ::1 5301"),
        send("udp-sendto 127.0.0.1 5301"),
        send("udp-sendto 0.0.0.0 5301"),
        send("udp-sendto ::1 5301"),
        send("udp-mapped 127.0.0.1 5301"),
        send("udp-unspecified 127.0.0.1 5301"),
        send("udp-sendmsg 127.0.0.1 5301"),
        send("udp-sendmmsg 127.0.0.1 5301"),
        send("udp-sendmmsg ::1 5301"),
        denied("udp-sendto 127.0.0.9 5301", "send", By::Rule("127.0.0.9")),
    ]
    .map(|case| case.unless_lacking(&[libc::ENOSYS]));
    Attack { policy: POLICY, prepare: nothing, observe: true }.run(context, &cases)?;
    thread::sleep(Duration::from_millis(100));
    let heard = heard.lock().map_err(|_| Failure::new("the UDP server panicked"))?;
    ensure(heard.iter().any(|text| text == "control"), || "the controls were not heard".into())?;
    ensure(!heard.iter().any(|text| text == "enforce"), || "a refused datagram arrived".into())
}

fn routes(context: &mut Context) -> Result<(), Failure> {
    serve()?;
    let routed = |act: &str| refused(act, EPERM, "send", "forbidden_socket", By::Any);
    let cases = [
        works("udp-sendto 127.0.0.1 5300"),
        works("udp-sendto ::1 5300"),
        routed("udp-routed 127.0.0.1 5300"),
        routed("udp-routed ::1 5300"),
    ];
    // In observe mode nothing is told of single packets.
    Attack { policy: POLICY, prepare: nothing, observe: false }.run(context, &cases)
}

fn sockets(context: &mut Context) -> Result<(), Failure> {
    serve()?;
    // A kind that no module is here for: the kernel has it not, governed or not.
    let missing = [EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT];
    // Family, type and protocol.
    let refused = [
        "2 3 1",    // IPv4, raw, ICMP
        "2 3 255",  // IPv4, raw
        "10 3 58",  // IPv6, raw, ICMPv6
        "2 2 1",    // IPv4, ping
        "10 2 58",  // IPv6, ping
        "2 1 262",  // MPTCP
        "10 1 262", // MPTCP over IPv6
        "2 1 132",  // SCTP
        "2 5 132",  // SCTP, one to many
        "2 2 136",  // UDP-Lite
        "17 3 768", // packet, IPv4
        "17 2 3",   // packet, everything
        "38 5 0",   // AF_ALG
        "40 1 0",   // vsock
        "16 3 9",   // netlink, audit
        "16 3 12",  // netlink, netfilter
        "16 3 15",  // netlink, device events
        "16 3 16",  // netlink, generic
        "44 3 0",   // AF_XDP
    ]
    .map(|kind| {
        let by = By::Any;
        refused(format!("socket {kind}"), EPERM, "socket", "forbidden_socket", by)
            .unless_lacking(&missing)
    });
    let listed =
        ["2 1 0", "2 1 6", "10 1 6", "2 2 17", "10 2 0", "1 1 0", "1 2 0", "1 5 0", "16 3 0"];
    let cases: Vec<Case> =
        listed.iter().map(|kind| works(format!("socket {kind}"))).chain(refused).collect();
    Attack { policy: POLICY, prepare: nothing, observe: false }.run(context, &cases)
}

fn passed_socket(context: &mut Context) -> Result<(), Failure> {
    serve()?;
    let place = context.room.join("socket");
    let listener = UnixListener::bind(&place)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // SAFETY: no memory is involved.
            let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
            if let Ok(socket) = sys::check(socket).map(sys::owned) {
                // Who takes it not is none of the server's business.
                let _ = sys::send_descriptor(stream.as_fd(), socket.as_fd());
            }
        }
    });
    // Whether it is kept back or refused to connect is the product's choice.
    let reasons = "egress_violation|path_unresolved|fs_violation|forbidden_socket";
    let act = "connect-passed 127.0.0.1 8443 {room}/socket";
    let passed = refused(act, EPERM, "connect|read|write|socket", reasons, By::Any).somehow();
    let cases = [passed, works("pass-socket-to-child"), works("tcp 127.0.0.1 8080")];
    Attack { policy: FILES_TOO, prepare: nothing, observe: false }.run(context, &cases)
}
