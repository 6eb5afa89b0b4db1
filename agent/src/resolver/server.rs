//! The sockets that governed processes reach.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use ringfence_common::egress::Protocol;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Client, Install, Resolver, Step, Tell, query::MAX_QUERY};

/// After a failure that may last, as when there are no descriptors left.
const BREATH: Duration = Duration::from_millis(20);

/// Which server a process named: of the socket that a question comes from, before it was led
/// here. `None` if it was not led here, and then it is not answered.
pub trait Originals: Send + Sync + 'static {
    /// Looks it up. Must not block.
    fn original(&self, peer: SocketAddr, protocol: Protocol) -> Option<SocketAddr>;
}

impl<F: Fn(SocketAddr, Protocol) -> Option<SocketAddr> + Send + Sync + 'static> Originals for F {
    fn original(&self, peer: SocketAddr, protocol: Protocol) -> Option<SocketAddr> {
        self(peer, protocol)
    }
}

/// Answers on a pair of sockets until the future is dropped. They are bound already, in whatever
/// network namespace the processes are in; the servers are asked from the namespace of the thread
/// that runs the future. `network` is what [`Client::network`] is to say of that namespace.
///
/// # Errors
///
/// When the sockets cannot be used at all. What goes wrong later is gone on from.
pub async fn serve<S: Install + Tell>(
    resolver: Arc<Resolver<S>>,
    udp: UdpSocket,
    tcp: TcpListener,
    network: u64,
    originals: impl Originals,
) -> io::Result<Infallible> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let (udp, tcp) = (net::UdpSocket::from_std(udp)?, net::TcpListener::from_std(tcp)?);
    let originals = Arc::new(originals);
    let datagrams = datagrams(&resolver, Arc::new(udp), network, &*originals);
    let streams = streams(&resolver, tcp, network, Arc::clone(&originals));
    tokio::select! {
        never = datagrams => match never {},
        never = streams => match never {},
    }
}

async fn datagrams<S: Install + Tell>(
    resolver: &Arc<Resolver<S>>,
    socket: Arc<net::UdpSocket>,
    network: u64,
    originals: &impl Originals,
) -> Infallible {
    let mut tasks = JoinSet::new();
    // One byte more shows that a question is too long.
    let mut bytes = vec![0; MAX_QUERY + 1];
    loop {
        let received = tokio::select! {
            biased;
            Some(_) = tasks.join_next() => continue,
            received = socket.recv_from(&mut bytes) => received,
        };
        let Ok((length, address)) = received else {
            sleep(BREATH).await;
            continue;
        };
        let protocol = Protocol::Udp;
        let Some(original) = originals.original(address, protocol) else { continue };
        let client = Client { network, address, protocol, original };
        // Only what must wait becomes a task, and those are counted.
        match resolver.judge(&bytes[..length], client) {
            Step::Ignore => {}
            Step::Reply(reply) => drop(socket.send_to(&reply, address).await),
            Step::Ask(asked) => {
                let (resolver, socket) = (Arc::clone(resolver), Arc::clone(&socket));
                tasks.spawn(async move {
                    let reply = resolver.ask(*asked).await;
                    // Whoever does not take it asks again.
                    drop(socket.send_to(&reply, address).await);
                });
            }
        }
    }
}

async fn streams<S: Install + Tell>(
    resolver: &Arc<Resolver<S>>,
    listener: net::TcpListener,
    network: u64,
    originals: Arc<impl Originals>,
) -> Infallible {
    let places = Arc::new(Semaphore::new(resolver.options.connections));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            sleep(BREATH).await;
            continue;
        };
        let protocol = Protocol::Tcp;
        let Some(original) = originals.original(address, protocol) else { continue };
        // One too many is closed.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let client = Client { network, address, protocol, original };
        let resolver = Arc::clone(resolver);
        tasks.spawn(async move {
            let _place = place;
            // Whatever ends it, the process sees the connection closed.
            let _ = converse(&resolver, stream, client).await;
        });
    }
}

/// Answers the questions of one connection, one after the other (RFC 7766).
async fn converse<S: Install + Tell>(
    resolver: &Resolver<S>,
    mut stream: net::TcpStream,
    client: Client,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let idle = resolver.options.idle;
    let mut bytes = [0; MAX_QUERY];
    loop {
        let length: usize = timeout(idle, stream.read_u16()).await??.into();
        let Some(question) = bytes.get_mut(..length) else { return Ok(()) };
        timeout(idle, stream.read_exact(question)).await??;
        let Some(mut reply) = resolver.answer(question, client).await else { return Ok(()) };
        let Ok(length) = u16::try_from(reply.len()) else { return Ok(()) };
        reply.splice(..0, length.to_be_bytes());
        timeout(idle, stream.write_all(&reply)).await??;
    }
}
