//! The other side of the acts: outside of every scope.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use super::{CLOSING, ECHO, NAMED};

/// Addresses of a name: as many as fit into a datagram of 1,232 bytes, and a few less.
pub(super) const ADDRESSES: u32 = 64;

/// Serves until it is killed; says `ready` once it does.
///
/// # Errors
///
/// When a port cannot be bound.
pub(crate) fn serve() -> io::Result<()> {
    let everywhere = Ipv4Addr::UNSPECIFIED;
    let closing = TcpListener::bind((everywhere, CLOSING))?;
    let echo = TcpListener::bind((everywhere, ECHO))?;
    let datagrams = UdpSocket::bind((everywhere, ECHO))?;
    let names = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))?;
    println!("ready");
    thread::spawn(move || closing.incoming().for_each(drop));
    thread::spawn(move || echo.incoming().flatten().for_each(|stream| drop(send_back(stream))));
    thread::spawn(move || answer_names(&names));
    let mut bytes = [0; 64];
    loop {
        let (length, from) = datagrams.recv_from(&mut bytes)?;
        datagrams.send_to(&bytes[..length], from)?;
    }
}

fn send_back(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 64];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            length => stream.write_all(&bytes[..length])?,
        }
    }
}

fn answer_names(socket: &UdpSocket) -> io::Result<()> {
    let mut bytes = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut bytes)?;
        if let Some(answer) = answer(&bytes[..length]) {
            socket.send_to(&answer, from)?;
        }
    }
}

/// The answer to a question: addresses of its own for `nNUMBER.…`, and else the one.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let label = question.get(13..13 + usize::from(*question.get(12)?))?;
    // The resolver varies the case of letters.
    let number = str::from_utf8(label).ok()?.to_ascii_lowercase();
    let first = number.strip_prefix('n').and_then(|number| number.parse::<u32>().ok());
    let addresses: Vec<u32> = match first {
        // From 94.0.0.0 on.
        Some(first) => (0..ADDRESSES).map(|i| (94 << 24) + first * ADDRESSES + i).collect(),
        None => vec![NAMED.into()],
    };
    // The question, with the answers put behind it.
    let mut answer = question.get(..end)?.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    for address in addresses {
        // The name that was asked for, A, IN, an hour, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4]);
        answer.extend(address.to_be_bytes());
    }
    Some(answer)
}
