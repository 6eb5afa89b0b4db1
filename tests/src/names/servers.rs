//! The servers of the test network: they tell who reached them, and note what they get.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{dns::Question, hello, zone};

/// Something that reached a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) is_tcp: bool,
    /// Where it came to.
    pub(super) to: SocketAddr,
    /// What it said; nothing yet for a connection that was made.
    pub(super) bytes: Vec<u8>,
}

/// What servers note.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<Arrival>>>);

impl Notes {
    fn add(&self, is_tcp: bool, to: SocketAddr, bytes: &[u8]) {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        self.lock().push(Arrival { is_tcp, to, bytes: bytes.to_vec() });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was noted since this was asked last.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.lock())
    }
}

/// A name server on an address: UDP and TCP.
pub(super) fn serve_names(at: IpAddr, notes: &Notes) -> io::Result<()> {
    let socket = UdpSocket::bind((at, 53))?;
    let heard = notes.clone();
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        let mut held = Some(Vec::new());
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            heard.add(false, SocketAddr::new(at, 53), &bytes[..length]);
            let Some(question) = Question::read(&bytes[..length]) else { continue };
            if let Some(held) = held.as_mut().filter(|_| zone::is_held(&question, at)) {
                held.push((question, from));
                continue;
            }
            if question.name == zone::RELEASE {
                for (question, from) in held.take().into_iter().flatten() {
                    answer(&socket, &question, at, from);
                }
            }
            answer(&socket, &question, at, from);
        }
    });
    let listener = TcpListener::bind((at, 53))?;
    let heard = notes.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = heard.clone();
            // Who went away gets no answer.
            thread::spawn(move || answer_stream(stream, at, &heard));
        }
    });
    Ok(())
}

fn answer(socket: &UdpSocket, question: &Question, at: IpAddr, to: SocketAddr) {
    for (index, answer) in zone::answers(question, at, false).iter().enumerate() {
        if index > 0 {
            // In their order, on a machine with several processors too.
            thread::sleep(Duration::from_millis(20));
        }
        // Who went away gets no answer.
        let _ = socket.send_to(answer, to);
    }
}

fn answer_stream(mut stream: TcpStream, at: IpAddr, notes: &Notes) -> io::Result<()> {
    let to = SocketAddr::new(at, 53);
    notes.add(true, to, b"");
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        notes.add(true, to, &bytes[..length]);
        all.extend(&bytes[..length]);
        // The C library sends two questions at once.
        while let Some(message) = first_message(&all) {
            for answer in
                Question::read(message).map_or(vec![], |one| zone::answers(&one, at, true))
            {
                let length = (answer.len() as u16).to_be_bytes();
                stream.write_all(&[&length, answer.as_slice()].concat())?;
            }
            all.drain(..2 + message.len());
        }
    }
}

/// The first whole message of a connection, which has its length before it.
fn first_message(bytes: &[u8]) -> Option<&[u8]> {
    let length = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    bytes.get(2..2 + usize::from(length))
}

/// Whoever connects to the port, at any address, is told the address that it has reached, and
/// then hears what it says.
pub(super) fn serve_tcp(port: u16, notes: &Notes) -> io::Result<()> {
    serve(port, notes, echo_stream)
}

/// Serves each connection to the port, at any address, on a thread of its own.
fn serve(
    port: u16,
    notes: &Notes,
    answer: fn(TcpStream, &Notes) -> io::Result<()>,
) -> io::Result<()> {
    let listener = TcpListener::bind(("::", port))?;
    let notes = notes.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let notes = notes.clone();
            // Who went away hears nothing.
            thread::spawn(move || answer(stream, &notes));
        }
    });
    Ok(())
}

fn echo_stream(mut stream: TcpStream, notes: &Notes) -> io::Result<()> {
    let to = stream.local_addr()?;
    notes.add(true, to, b"");
    writeln!(stream, "{}", to.ip().to_canonical())?;
    let mut bytes = [0; 4096];
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        notes.add(true, to, &bytes[..length]);
        stream.write_all(&bytes[..length])?;
    }
}

/// Whoever sends a datagram to the port of the address is told the address.
pub(super) fn serve_udp(at: SocketAddr, notes: &Notes) -> io::Result<()> {
    let socket = UdpSocket::bind(at)?;
    let notes = notes.clone();
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            notes.add(false, at, &bytes[..length]);
            // Who went away hears nothing.
            let _ = socket.send_to(at.ip().to_string().as_bytes(), from);
        }
    });
    Ok(())
}

/// A server of TLS at any address: it says which name each first message has, and nothing else.
pub(super) fn serve_tls(port: u16, notes: &Notes) -> io::Result<()> {
    serve(port, notes, answer_hello)
}

fn answer_hello(mut stream: TcpStream, notes: &Notes) -> io::Result<()> {
    let to = stream.local_addr()?;
    notes.add(true, to, b"");
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        notes.add(true, to, &bytes[..length]);
        all.extend(&bytes[..length]);
        while let Some((said, length)) = hello::said(&all) {
            all.drain(..length);
            if !said.is_empty() {
                writeln!(stream, "{said}")?;
            }
        }
    }
}
