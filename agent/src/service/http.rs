//! As much of HTTP/1.1 as a scrape and a probe need: a request is answered, and the connection
//! closed. Whoever asks can take no more than a place among [`Limits::connections`], for a time
//! that ends.

use std::{io, net, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};
use ringfence_policy::configuration::Metrics;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
    task::{AbortHandle, JoinSet, spawn_local},
    time::timeout,
};

use super::socket::{self, Place};

/// What a client may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes of the request line and the headers.
    head: usize,
    /// Connections at a time; others wait to be accepted.
    connections: usize,
    /// How long the client may take to ask and to read, each, and the answer to be made.
    patience: Duration,
}

const LIMITS: Limits = Limits { head: 8 << 10, connections: 16, patience: Duration::from_secs(10) };
/// How long what the client still sends is taken, after the answer.
const LINGER: Duration = Duration::from_secs(1);
/// How much of it.
const LEFT_OVER: u64 = 64 << 10;
/// After a failure that may last, as when there are no descriptors left.
const BREATH: Duration = Duration::from_millis(20);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// The code and its name.
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Response {
    const TEXT: &'static str = "text/plain; charset=utf-8";

    /// What was asked for, of a media type.
    pub(super) const fn page(kind: &'static str, body: String) -> Self {
        Self { status: "200 OK", kind, body }
    }

    /// That all is well.
    pub(super) fn ok() -> Self {
        Self::page(Self::TEXT, "ok\n".to_owned())
    }

    /// That something is not, in words.
    pub(super) const fn unavailable(body: String) -> Self {
        Self { status: "503 Service Unavailable", kind: Self::TEXT, body }
    }

    fn failure(status: &'static str) -> Self {
        Self { status, kind: Self::TEXT, body: format!("{status}\n") }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, kind, body } = self;
        // Which methods there are must be said with 405, and may be with any (RFC 9110, 10.2.1).
        let head = format!(
            "HTTP/1.1 {status}\r\nAllow: GET\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// A socket that is bound and not served yet.
pub(super) struct Listener {
    socket: Socket,
    place: Option<Place>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that is served, until this is dropped.
pub(super) struct Endpoint {
    task: AbortHandle,
    /// Goes with it.
    _place: Option<Place>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Binds a socket, in the context of the runtime.
    ///
    /// # Errors
    ///
    /// When it cannot be bound, as where another program has the address.
    pub(super) fn bind(at: &Metrics) -> Result<Self> {
        let bound = match at {
            Metrics::Address(address) => tcp(*address).with_context(|| address.to_string()),
            Metrics::Socket(path) => socket::listen_at(path).and_then(|(listener, place)| {
                let socket = Socket::Unix(UnixListener::from_std(listener)?);
                Ok(Self { socket, place: Some(place) })
            }),
        };
        bound.context("metrics cannot be served")
    }

    /// Answers by a function of the path, which has `None` for a page that there is not.
    pub(super) fn serve<R>(self, respond: R) -> Endpoint
    where
        R: AsyncFn(&str) -> Option<Response> + 'static,
    {
        let task = spawn_local(self.socket.accept(Rc::new(respond), LIMITS)).abort_handle();
        Endpoint { task, _place: self.place }
    }
}

fn tcp(address: net::SocketAddr) -> Result<Listener> {
    let listener = net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(Listener { socket: Socket::Tcp(TcpListener::from_std(listener)?), place: None })
}

impl Socket {
    async fn accept<R>(self, respond: Rc<R>, limits: Limits)
    where
        R: AsyncFn(&str) -> Option<Response> + 'static,
    {
        let mut open = JoinSet::new();
        loop {
            while open.len() >= limits.connections {
                open.join_next().await;
            }
            while open.try_join_next().is_some() {}
            let respond = Rc::clone(&respond);
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    open.spawn_local(converse(stream, respond, limits));
                }),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    open.spawn_local(converse(stream, respond, limits));
                }),
            };
            if accepted.is_err() {
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// What was read of a request.
enum Head {
    Whole(Vec<u8>),
    TooLong,
    /// The client has closed the connection.
    Cut,
}

/// Answers one request. Whatever ends it, the connection is closed.
async fn converse<S, R>(mut stream: S, respond: Rc<R>, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: AsyncFn(&str) -> Option<Response>,
{
    let response = match timeout(limits.patience, read_head(&mut stream, limits.head)).await {
        Ok(Ok(Head::Whole(head))) => {
            let answered = timeout(limits.patience, answer(&head, &*respond)).await;
            answered.unwrap_or_else(|_| Response::unavailable("it takes too long\n".to_owned()))
        }
        Ok(Ok(Head::TooLong)) => Response::failure("431 Request Header Fields Too Large"),
        Ok(Ok(Head::Cut) | Err(_)) => return,
        Err(_) => Response::failure("408 Request Timeout"),
    };
    let write = async {
        stream.write_all(&response.bytes()).await?;
        stream.shutdown().await
    };
    if matches!(timeout(limits.patience, write).await, Ok(Ok(()))) {
        // Where anything is left unread the kernel sends a reset, and the client may never see the
        // answer (tcp_close).
        let (mut rest, mut nowhere) = (stream.take(LEFT_OVER), tokio::io::sink());
        let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere)).await;
    }
}

/// Reads up to the empty line that ends the headers.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Head> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::with_capacity(1 << 10);
    loop {
        let looked_at = bytes.len().saturating_sub(END.len() - 1);
        let room = most.saturating_sub(bytes.len());
        if room == 0 {
            return Ok(Head::TooLong);
        }
        if (&mut *stream).take(room as u64).read_buf(&mut bytes).await? == 0 {
            return Ok(Head::Cut);
        }
        let new = bytes.get(looked_at..).unwrap_or_default();
        if new.windows(END.len()).any(|window| window == END) {
            return Ok(Head::Whole(bytes));
        }
    }
}

async fn answer(head: &[u8], respond: &impl AsyncFn(&str) -> Option<Response>) -> Response {
    let Some((method, path)) = request(head) else { return Response::failure("400 Bad Request") };
    if method != "GET" {
        return Response::failure("405 Method Not Allowed");
    }
    respond(path).await.unwrap_or_else(|| Response::failure("404 Not Found"))
}

/// The method and the path of a request.
fn request(head: &[u8]) -> Option<(&str, &str)> {
    let line = str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_request = words.next().is_none()
        && !method.is_empty()
        && target.starts_with('/')
        && matches!(version, "HTTP/1.0" | "HTTP/1.1");
    is_request.then(|| (method, target.split('?').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
