//! Acts on names: asking for them as programs do and as `dig` does, and going where they lead.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use super::{Act, Trouble, argument, parsed};
use crate::{
    names::dns::{Answer, Question, type_called},
    sys,
};

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("look-up", look_up),
    ("reach", reach),
    ("ask", ask),
    ("ask-from-port", ask_from_port),
    ("send-raw", send_raw),
    ("hold", hold),
];

/// How long an answer is waited for that may not come; the resolver takes up to 4.5 seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long an address is tried that may not be reached.
pub(super) const SHORT: Duration = Duration::from_secs(3);
/// How long addresses may stay reachable that an answer of few seconds has led to.
const LONGEST: Duration = Duration::from_secs(300);

/// The argument with this number, as text.
pub(super) fn word(a: Arguments, index: usize) -> Result<String, Trouble> {
    Ok(String::from_utf8_lossy(argument(a, index)?).into_owned())
}

/// Asks the C library for the addresses of a name, to go to a port; says them, in order.
fn look_up(a: Arguments) -> Done {
    let all = (word(a, 0)?, parsed(a, 1)?).to_socket_addrs()?;
    let mut found: Vec<IpAddr> = all.map(|at| at.ip()).collect();
    found.sort();
    found.dedup();
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    Ok(text.join(" "))
}

/// Where a word leads, which is an address or a name: with the C library's help, in its order.
/// `4` or `6` leaves only addresses of the family.
pub(super) fn places(name: &str, port: u16, family: &str) -> io::Result<Vec<SocketAddr>> {
    let all = (name, port).to_socket_addrs()?;
    let fits = |at: &SocketAddr| match family {
        "4" => at.is_ipv4(),
        "6" => at.is_ipv6(),
        _ => true,
    };
    Ok(all.filter(fits).collect())
}

/// Goes to a name or an address: protocol, name, port, and perhaps a family. Says which address
/// the server says that was reached.
fn reach(a: Arguments) -> Done {
    let (protocol, name, port) = (word(a, 0)?, word(a, 1)?, parsed(a, 2)?);
    let family = word(a, 3).unwrap_or_default();
    let mut last = Trouble::Other("the name has no such address".to_owned());
    for at in places(&name, port, &family)? {
        let reached = match protocol.as_str() {
            "tcp" => greeting(&at).map(|(_, said)| said),
            _ => datagrams(&at).and_then(|socket| exchange(&socket)),
        };
        match reached {
            Ok(said) => return Ok(said),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Connects, and hears what the server says first.
pub(super) fn greeting(at: &SocketAddr) -> io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect_timeout(at, SHORT)?;
    let said = line(&mut stream)?;
    Ok((stream, said))
}

/// What the other end says, up to the end of the line.
pub(super) fn line(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend(byte);
    }
}

/// A socket for datagrams that is connected.
fn datagrams(at: &SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any(at))?;
    socket.connect(at)?;
    socket.set_read_timeout(Some(SHORT))?;
    Ok(socket)
}

const fn any(at: &SocketAddr) -> &'static str {
    if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
}

fn exchange(socket: &UdpSocket) -> io::Result<String> {
    socket.send(b"x")?;
    let mut bytes = [0; 128];
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// Asks a name server as `dig` does: way, server, name and type. Says the code, what the records
/// of the answer hold, what is beside it, and which server the answer is from.
fn ask(a: Arguments) -> Done {
    let (bytes, from) = answer(a, &question(a)?)?;
    said(&bytes, from)
}

/// What comes back for a question, by a way and from a server.
pub(super) fn answer(a: Arguments, question: &Question) -> Result<(Vec<u8>, SocketAddr), Trouble> {
    let server = SocketAddr::new(parsed(a, 1)?, 53);
    Ok(match word(a, 0)?.as_str() {
        "tcp" => by_stream(server, question)?,
        "udp-connected" => {
            let socket = UdpSocket::bind(any(&server))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(&question.bytes())?;
            let mut bytes = [0; 4096];
            let length = socket.recv(&mut bytes)?;
            (bytes[..length].to_vec(), socket.peer_addr()?)
        }
        _ => by_datagram(&UdpSocket::bind(any(&server))?, server, question)?,
    })
}

/// The same by a socket that is bound to a port before, which asks two servers in turn: the last
/// one says who answered.
fn ask_from_port(a: Arguments) -> Done {
    let server = SocketAddr::new(parsed(a, 1)?, 53);
    let port: u16 = parsed(a, 4)?;
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    let other = SocketAddr::new(parsed(a, 5)?, 53);
    let question = question(a)?;
    let (_, from) = by_datagram(&socket, other, &question)?;
    let (bytes, second) = by_datagram(&socket, server, &question)?;
    Ok(format!("{} after {}", said(&bytes, second)?, from.ip()))
}

fn question(a: Arguments) -> Result<Question, Trouble> {
    let record = type_called(&word(a, 3)?);
    let record = record.ok_or_else(|| Trouble::Other("no such type".to_owned()))?;
    Ok(Question::new(std::process::id() as u16, &word(a, 2)?, record))
}

fn by_datagram(
    socket: &UdpSocket,
    server: SocketAddr,
    question: &Question,
) -> io::Result<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(&question.bytes(), server)?;
    let mut bytes = [0; 4096];
    let (length, from) = socket.recv_from(&mut bytes)?;
    Ok((bytes[..length].to_vec(), from))
}

fn by_stream(server: SocketAddr, question: &Question) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut stream = TcpStream::connect_timeout(&server, SHORT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let bytes = question.bytes();
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes(), bytes.as_slice()].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    Ok((bytes, stream.peer_addr()?))
}

fn said(bytes: &[u8], from: SocketAddr) -> Done {
    let unreadable = || Trouble::Other("the answer cannot be read".to_owned());
    let answer = Answer::read(bytes).ok_or_else(unreadable)?;
    let mut text = answer.code_name();
    if answer.truncated {
        text += " truncated";
    }
    for record in &answer.answers {
        text += &format!(" {}", record.data);
    }
    // EDNS stands there too, and says nothing of addresses.
    let beside = answer.additional.iter().filter(|record| !record.name.is_empty());
    for record in beside {
        text += &format!(" beside:{}", record.data);
    }
    Ok(format!("{text} from {from}"))
}

/// Sends bytes that are no question to an address and port: protocol, address, port, bytes. Says
/// whether they were taken; who got them is for the other end to say.
fn send_raw(a: Arguments) -> Done {
    let to = SocketAddr::new(parsed(a, 1)?, parsed(a, 2)?);
    let bytes = argument(a, 3)?;
    match word(a, 0)?.as_str() {
        "tcp" => {
            let mut stream = TcpStream::connect_timeout(&to, SHORT)?;
            stream.write_all(bytes)?;
            // What is lost with the connection must not be what is looked for.
            stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            let _ = stream.read(&mut [0; 64]);
        }
        _ => drop(UdpSocket::bind(any(&to))?.send_to(bytes, to)?),
    }
    Ok(String::new())
}

/// Opens connections to a name, uses them until new ones are refused, and then again: name, port
/// of TCP, port of UDP. Without a boundary no new one is ever refused, and is not waited for.
fn hold(a: Arguments) -> Done {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(2 * LONGEST.as_secs() as u32) };
    let (name, tcp, udp) = (word(a, 0)?, parsed(a, 1)?, parsed(a, 2)?);
    let first = |port| -> Result<SocketAddr, Trouble> {
        let found = places(&name, port, "4")?;
        found.first().copied().ok_or_else(|| Trouble::Other("the name has no address".into()))
    };
    let (to, datagrams_to) = (first(tcp)?, first(udp)?);
    let (mut stream, greeted) = greeting(&to)?;
    let socket = datagrams(&datagrams_to)?;
    let mut text = format!("{greeted}, {}", exchange(&socket)?);
    let waits = std::env::var(super::PHASE).is_ok_and(|phase| phase == "enforce");
    let start = Instant::now();
    let mut new = greeting(&to).map(|(_, said)| said);
    while waits && new.is_ok() && start.elapsed() < LONGEST {
        thread::sleep(Duration::from_secs(1));
        new = greeting(&to).map(|(_, said)| said);
    }
    text += &format!("; new: {}", in_words(new));
    let new = datagrams(&datagrams_to).and_then(|socket| exchange(&socket));
    text += &format!(", {}", in_words(new));
    stream.write_all(b"still\n")?;
    text += &format!("; old: {}, {}", line(&mut stream)?, exchange(&socket)?);
    let (_, greeted) = greeting(&first(tcp)?)?;
    Ok(format!("{text}; asked again: {greeted}"))
}

/// What came of an attempt, in words.
pub(super) fn in_words(result: io::Result<String>) -> String {
    match result {
        Ok(said) => said,
        Err(error) => error.raw_os_error().map_or_else(|| error.to_string(), sys::errno_name),
    }
}
