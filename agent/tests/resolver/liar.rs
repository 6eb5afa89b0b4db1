//! A name server on loopback that says what it is told to say.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType},
    rr::{
        Name, RData, Record,
        rdata::{A, CNAME},
    },
};
use ringfence_common::egress::Protocol;

/// What the server does with a question, step by step.
pub(crate) enum Say {
    Send(Vec<u8>),
    /// From another port than was asked.
    SendFromElsewhere(Vec<u8>),
    Wait(Duration),
}

pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(Message, Protocol)>>>,
}

impl Liar {
    /// Starts a server that treats every question as `script` says.
    pub(crate) fn start(
        script: impl Fn(&Message, Protocol) -> Vec<Say> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = pair();
        let address = udp.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let script = Arc::new(script);
        let (seen, say) = (Arc::clone(&asked), Arc::clone(&script));
        thread::spawn(move || datagrams(&udp, &seen, &*say));
        let seen = Arc::clone(&asked);
        thread::spawn(move || streams(&tcp, &seen, &*script));
        Self { address, asked }
    }

    /// A server that gives every name these records.
    pub(crate) fn honest(records: Vec<Record>) -> Self {
        Self::start(move |question, _| vec![Say::Send(bytes(&answer(question, records.clone())))])
    }

    pub(crate) fn silent() -> Self {
        Self::start(|_, _| vec![])
    }

    /// The questions, once there are so many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<(Message, Protocol)> {
        while self.asked().len() < count {
            thread::sleep(Duration::from_millis(5));
        }
        self.asked()
    }

    /// The questions that arrived. One that was answered is among them.
    pub(crate) fn asked(&self) -> Vec<(Message, Protocol)> {
        self.asked.lock().unwrap().clone()
    }
}

/// Sockets of both kinds with the same port.
fn pair() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

type Seen = Mutex<Vec<(Message, Protocol)>>;

fn datagrams(socket: &UdpSocket, seen: &Seen, script: &impl Fn(&Message, Protocol) -> Vec<Say>) {
    let mut bytes = [0; 2_048];
    loop {
        let (length, peer) = socket.recv_from(&mut bytes).unwrap();
        let question = Message::from_vec(&bytes[..length]).unwrap();
        seen.lock().unwrap().push((question.clone(), Protocol::Udp));
        for say in script(&question, Protocol::Udp) {
            // Who has gone away in the meantime hears nothing.
            match say {
                Say::Send(bytes) => drop(socket.send_to(&bytes, peer)),
                Say::SendFromElsewhere(bytes) => {
                    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
                    drop(other.send_to(&bytes, peer));
                }
                Say::Wait(time) => thread::sleep(time),
            }
        }
    }
}

fn streams(listener: &TcpListener, seen: &Seen, script: &impl Fn(&Message, Protocol) -> Vec<Say>) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut bytes).unwrap();
        let question = Message::from_vec(&bytes).unwrap();
        seen.lock().unwrap().push((question.clone(), Protocol::Tcp));
        for say in script(&question, Protocol::Tcp) {
            match say {
                Say::Send(bytes) | Say::SendFromElsewhere(bytes) => {
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    drop(stream.write_all(&[&length[..], &bytes].concat()));
                }
                Say::Wait(time) => thread::sleep(time),
            }
        }
    }
}

/// The answer to a question, with these records.
pub(crate) fn answer(question: &Message, records: Vec<Record>) -> Message {
    let mut message = question.clone();
    message.metadata.message_type = MessageType::Response;
    message.answers = records;
    message.edns = None;
    message
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn v4(owner: &str, address: [u8; 4]) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(A(address.into())))
}

pub(crate) fn alias(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::CNAME(CNAME(name(target))))
}
