//! How fast the resolver is: `cargo bench -p ringfence --bench resolver`.
//!
//! A server on loopback always has the answer. Prints how many questions a second one core
//! answers, by the processor time of the resolver's thread, since on a shared machine the clock
//! tells little; and what the resolver adds to one question, against asking the server itself.
//! Judges nothing.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::{
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use ringfence_agent::resolver::{
    Decision, Gate, Install, NotInstalled, Options, Resolver, Tell, serve,
};
use ringfence_common::{Verdict, egress::Protocol};
use ringfence_policy::hosts::HostDecision;

const QUESTIONS: u32 = 40_000;
/// Questions on their way at a time.
const WINDOW: u32 = 32;
const SINGLE: usize = 4_000;

/// Allows everything, and installs at no cost.
struct Open;

impl Gate for Open {
    type Grants = ();

    fn ask(&self, _: &str) -> HostDecision {
        HostDecision { verdict: Verdict::Allow, place: None }
    }

    fn grants(&self, _: &str, _: IpAddr) -> Option<()> {
        Some(())
    }

    fn special(&self, _: &str, _: IpAddr) -> Verdict {
        Verdict::Deny
    }
}

impl Install for Open {
    fn install(&self, _: &str, _: &[(IpAddr, ())], _: Duration) -> Result<(), NotInstalled> {
        Ok(())
    }
}

impl Tell for Open {
    fn tell(&self, _: &Decision<'_>) {}
}

fn main() {
    let upstream = upstream();
    let (resolver, resolver_clock) = resolver(upstream);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

    single(&client, resolver, 1_000);
    let direct = single(&client, upstream, SINGLE);
    let gated = single(&client, resolver, SINGLE);
    println!(
        "one question at a time, median: {direct:?} from the server itself, {gated:?} through"
    );
    println!("the resolver adds {:?}", gated.saturating_sub(direct));

    let (before, start) = (cpu_time(resolver_clock), Instant::now());
    many(&client, resolver);
    let (used, passed) = (cpu_time(resolver_clock) - before, start.elapsed());
    let each_second = |time: Duration| f64::from(QUESTIONS) / time.as_secs_f64();
    println!(
        "{WINDOW} questions at a time: {:.0} a second of processor time, {:.0} by the clock with \
         client and server on the same cores",
        each_second(used),
        each_second(passed)
    );
}

/// Runs a resolver in a thread of its own; its address, and the clock of the thread's work.
fn resolver(upstream: SocketAddr) -> (SocketAddr, libc::clockid_t) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut clock = 0;
        // SAFETY: the thread is this one and lives, and `clock` has room for the number.
        let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        assert_eq!(error, 0);
        send.send(clock).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolver = Arc::new(Resolver::new(Open, vec![upstream], Options::default()));
        let originals = move |_: SocketAddr, _: Protocol| Some(upstream);
        runtime.block_on(serve(resolver, udp, tcp, 0, originals)).unwrap();
    });
    (address, receive.recv().unwrap())
}

/// A server that gives every name one address.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2_048];
        loop {
            let (length, peer) = socket.recv_from(&mut bytes).unwrap();
            // The question with one answer put behind it: cheaper than reading it.
            let end = 12 + bytes[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let mut reply = bytes[..end.min(length)].to_vec();
            reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 8, 8, 8, 8]);
            socket.send_to(&reply, peer).unwrap();
        }
    });
    address
}

fn question(id: u16) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii("api.example.com.").unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

/// The middle time of questions that are asked one after the other.
fn single(client: &UdpSocket, server: SocketAddr, count: usize) -> Duration {
    let mut bytes = [0; 2_048];
    let mut times = Vec::with_capacity(count);
    for i in 0..count {
        let question = question(i as u16);
        let start = Instant::now();
        client.send_to(&question, server).unwrap();
        let (length, _) = client.recv_from(&mut bytes).unwrap();
        times.push(start.elapsed());
        check(&bytes[..length]);
    }
    times.sort();
    times[count / 2]
}

fn check(bytes: &[u8]) {
    let answer = Message::from_vec(bytes).unwrap();
    let is_address = |record: &Record| record.data == RData::A(A::new(8, 8, 8, 8));
    assert!(answer.answers.iter().any(is_address), "{answer}");
}

/// Asks with several questions on their way.
fn many(client: &UdpSocket, server: SocketAddr) {
    let question = question(1);
    let mut bytes = [0; 2_048];
    for _ in 0..WINDOW {
        client.send_to(&question, server).unwrap();
    }
    for i in 0..QUESTIONS {
        let (length, _) = client.recv_from(&mut bytes).unwrap();
        assert!(length > question.len(), "an answer without an address");
        if i + WINDOW < QUESTIONS {
            client.send_to(&question, server).unwrap();
        }
    }
}

fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is of a thread that never ends, and `time` has room for the answer.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
