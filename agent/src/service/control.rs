//! The control socket: one question and one answer a connection, a line of JSON each, for root
//! only.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::net,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::spawn_local,
    time::timeout,
};

use super::socket::{self, Place};

/// How long who asks may take to ask, and to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer is waited for: a large policy takes its time.
const WAIT: Duration = Duration::from_secs(300);
/// Bytes of a question.
const QUESTION: u64 = 4096;
/// Questions that wait.
const WAITING: usize = 16;

/// What the agent can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// To read its configuration and policies anew.
    Reload,
    /// What only it knows of its scopes.
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    command: Command,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether it was done.
    pub(crate) ok: bool,
    /// What is to be said about it.
    pub(crate) lines: Vec<String>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<serde_json::Value>,
}

/// The socket.
pub(super) struct Control {
    /// Goes with it.
    _place: Place,
    requests: mpsc::Receiver<Request>,
}

/// A question that waits for its answer.
pub(super) struct Request {
    command: Command,
    stream: UnixStream,
}

impl Control {
    /// Listens at a path, which only root can reach, and only who is not governed.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made.
    pub(super) fn listen(path: &Path, is_governed: fn(BorrowedFd<'_>) -> bool) -> Result<Self> {
        let (listener, place) = socket::listen_at(path)?;
        let listener = UnixListener::from_std(listener)?;
        let (sender, requests) = mpsc::channel(WAITING);
        spawn_local(accept(listener, sender, is_governed));
        Ok(Self { _place: place, requests })
    }

    /// The next question.
    pub(super) async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

impl Request {
    pub(super) const fn command(&self) -> Command {
        self.command
    }

    /// Answers, if who asked still listens.
    pub(super) fn answer(mut self, answer: Answer) {
        spawn_local(async move {
            let mut line = serde_json::to_string(&answer).unwrap_or_default();
            line.push('\n');
            let _ = timeout(PATIENCE, self.stream.write_all(line.as_bytes())).await;
        });
    }
}

async fn accept(
    listener: UnixListener,
    sender: mpsc::Sender<Request>,
    is_governed: fn(BorrowedFd<'_>) -> bool,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let sender = sender.clone();
        spawn_local(async move {
            // Whatever is no question gets no answer.
            if let Ok(Some(request)) = timeout(PATIENCE, read(stream, is_governed)).await {
                let _ = sender.try_send(request);
            }
        });
    }
}

async fn read(mut stream: UnixStream, is_governed: fn(BorrowedFd<'_>) -> bool) -> Option<Request> {
    // The socket's mode says the same; one that was handed on is asked who it is.
    if stream.peer_cred().ok()?.uid() != 0 {
        return None;
    }
    // A policy may let root of a scope reach the socket.
    if is_governed(peer(&stream)?.as_fd()) {
        tell!("ringfence: a governed process has tried to give the agent orders");
        return None;
    }
    let mut line = String::new();
    let mut limited = tokio::io::BufReader::new(&mut stream).take(QUESTION);
    limited.read_line(&mut line).await.ok()?;
    let Question { command } = serde_json::from_str(&line).ok()?;
    Some(Request { command, stream })
}

/// The process that has connected.
fn peer(stream: &UnixStream) -> Option<OwnedFd> {
    /// `SO_PEERPIDFD` (`asm-generic/socket.h`), since Linux 6.5.
    const PEER_PIDFD: libc::c_int = 77;
    let mut process: libc::c_int = -1;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most as many bytes as `process` has.
    let got = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            PEER_PIDFD,
            (&raw mut process).cast(),
            &raw mut size,
        )
    };
    if got == 0 && process >= 0 {
        // SAFETY: the descriptor is new, and nobody else's.
        return Some(unsafe { OwnedFd::from_raw_fd(process) });
    }
    // By number, which another process may have by now that has ended first.
    let number = Pid::from_raw(stream.peer_cred().ok()?.pid()?)?;
    pidfd_open(number, PidfdFlags::empty()).ok()
}

/// Asks the agent that listens at a path.
///
/// # Errors
///
/// When none does, or it gives no answer.
pub(crate) fn ask(path: &Path, command: Command) -> Result<Answer> {
    let mut stream = match net::UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            bail!(
                "no agent answers at {}: is `ringfence agent` running, with this as its `control`?",
                path.display()
            );
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    stream.set_read_timeout(Some(WAIT))?;
    let mut question = serde_json::to_string(&Question { command })?;
    question.push('\n');
    stream.write_all(question.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("the agent's answer")?;
    serde_json::from_str(&line).context("the agent gave no answer that can be read")
}
