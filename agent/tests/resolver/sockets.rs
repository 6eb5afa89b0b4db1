//! The sockets that processes reach.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
};

use ringfence_agent::resolver::serve;

use super::*;

/// Serves in a thread of its own, and leads nobody here who asks from `stranger`.
fn serving(
    server: &Liar,
    options: Options,
    stranger: Option<SocketAddr>,
) -> (SocketAddr, SocketAddr) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let (resolver, _) = resolver(&[server], options);
    let original = server.address;
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let originals =
            move |peer: SocketAddr, _: Protocol| (Some(peer) != stranger).then_some(original);
        runtime
            .block_on(serve(Arc::new(resolver), udp, tcp, 0, originals))
            .map(|never| match never {})
    });
    addresses
}

fn send(stream: &mut TcpStream, question: &Message) {
    let question = bytes(question);
    let length = u16::try_from(question.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], &question].concat()).unwrap();
}

fn receive(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn datagram(socket: &UdpSocket, question: &Message) -> Message {
    socket.send(&bytes(question)).unwrap();
    let mut reply = [0; 4_096];
    let length = socket.recv(&mut reply).unwrap();
    Message::from_vec(&reply[..length]).unwrap()
}

#[test]
fn questions_by_udp_and_several_on_one_connection_by_tcp_are_answered() {
    let server = Liar::honest(vec![v4("a.example.com.", GOOD)]);
    let (udp, tcp) = serving(&server, patient(), None);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(udp).unwrap();
    let (allowed, refused) =
        (question("a.example.com.", RecordType::A), question("evil.org.", RecordType::A));
    assert_eq!(addresses(&datagram(&socket, &allowed)), [GOOD]);
    assert_eq!(datagram(&socket, &refused).metadata.response_code, ResponseCode::Refused);

    let mut stream = TcpStream::connect(tcp).unwrap();
    // The second is sent before the first is answered.
    send(&mut stream, &allowed);
    send(&mut stream, &refused);
    assert_eq!(addresses(&receive(&mut stream)), [GOOD]);
    assert_eq!(receive(&mut stream).metadata.response_code, ResponseCode::Refused);
    send(&mut stream, &allowed);
    assert_eq!(addresses(&receive(&mut stream)), [GOOD]);
}

#[test]
fn a_question_that_waits_holds_up_no_other() {
    let server =
        Liar::start(|question, _| match question.queries[0].name == name("slow.example.com.") {
            true => vec![],
            false => vec![Say::Send(bytes(&answer(question, vec![v4("a.example.com.", GOOD)])))],
        });
    let (udp, _) = serving(&server, patient(), None);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(udp).unwrap();
    socket.send(&bytes(&question("slow.example.com.", RecordType::A))).unwrap();
    assert_eq!(addresses(&datagram(&socket, &question("a.example.com.", RecordType::A))), [GOOD]);
}

#[test]
fn who_was_not_led_here_is_not_answered() {
    let server = Liar::honest(vec![v4("a.example.com.", GOOD)]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (udp, _) = serving(&server, patient(), Some(stranger.local_addr().unwrap()));
    let asked = question("a.example.com.", RecordType::A);
    stranger.send_to(&bytes(&asked), udp).unwrap();
    // Questions are taken in their order: once the second is answered, the first will never be.
    let member = UdpSocket::bind("127.0.0.1:0").unwrap();
    member.connect(udp).unwrap();
    assert_eq!(addresses(&datagram(&member, &asked)), [GOOD]);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_connection_ends_when_it_says_too_much_or_nothing() {
    let server = Liar::silent();
    let (_, tcp) = serving(&server, patient(), None);
    let mut stream = TcpStream::connect(tcp).unwrap();
    stream.write_all(&[0xff, 0xff, 0, 0]).unwrap();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)), "longer than any question");

    let idle = Duration::from_millis(50);
    let (_, tcp) = serving(&server, Options { idle, ..patient() }, None);
    let mut stream = TcpStream::connect(tcp).unwrap();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)), "nothing was said");
}

#[test]
fn a_connection_too_many_is_closed() {
    let server = Liar::honest(vec![v4("a.example.com.", GOOD)]);
    let (_, tcp) = serving(&server, Options { connections: 1, ..patient() }, None);
    let asked = question("a.example.com.", RecordType::A);
    let mut first = TcpStream::connect(tcp).unwrap();
    send(&mut first, &asked);
    assert_eq!(addresses(&receive(&mut first)), [GOOD]);
    let mut second = TcpStream::connect(tcp).unwrap();
    assert!(matches!(second.read(&mut [0; 1]), Ok(0) | Err(_)));
    send(&mut first, &asked);
    assert_eq!(addresses(&receive(&mut first)), [GOOD]);
}
