//! Acts: single things that a program might do, done as told, with the kernel's answer reported.
//!
//! `act` reads lines from its standard input, each the name of an act and its arguments, and
//! prints a line for each: its number, the process that did it, and the [`Outcome`]. Each act has
//! a process of its own, since many cannot be undone; with `--in-process` all share one.

mod change;
mod code;
mod container;
mod copy;
mod file;
mod flood;
mod guard;
mod machine;
mod map;
mod memory;
mod metadata;
mod names;
mod network;
mod outsider;
mod passed;
mod process;
mod reach;
mod serve;
mod tls;
mod unix;
mod uring;

use std::{
    io::{self, Read, Write},
    os::fd::{FromRawFd, OwnedFd},
    process::ExitCode,
    str::FromStr,
};

use crate::{sys, words};

pub(crate) use network::PHASE;
pub(crate) use unix::bound_socket;
pub(crate) use uring::{pass, write as uring_write};

/// What an act is called, and what it does with its arguments.
pub(super) type Act = (&'static str, fn(&[Vec<u8>]) -> Result<String, Trouble>);

/// Why an act did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A system call failed.
    Errno(i32),
    /// Something else: a program that ended badly, a wrong number of arguments.
    Other(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::Errno(number),
            None => Self::Other(error.to_string()),
        }
    }
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded, and has this to say.
    Done(String),
    /// A system call failed with this error.
    Errno(i32),
    /// It failed in another way.
    Failed(String),
    /// A signal ended the process.
    Signal(i32),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(text) if text.is_empty() => write!(f, "success"),
            Self::Done(text) => write!(f, "success ({text})"),
            Self::Errno(number) => write!(f, "{}", sys::errno_name(*number)),
            Self::Failed(text) => write!(f, "{text}"),
            Self::Signal(number) => write!(f, "death by signal {number}"),
        }
    }
}

/// A line that `act` printed.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The process that did it.
    pub(crate) process: u32,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

impl FromStr for Report {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("not a report of an act: {line:?}");
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        let [_, process, kind, rest] = fields[..] else { return Err(wrong()) };
        let process = process.parse().map_err(|_| wrong())?;
        let number = || rest.parse().map_err(|_| wrong());
        let text = || String::from_utf8_lossy(&words::decode(rest)).into_owned();
        let outcome = match kind {
            "done" => Outcome::Done(text()),
            "errno" => Outcome::Errno(number()?),
            "failed" => Outcome::Failed(text()),
            "signal" => Outcome::Signal(number()?),
            _ => return Err(wrong()),
        };
        Ok(Self { process, outcome })
    }
}

/// Does what standard input says.
pub(crate) fn main(arguments: &[Vec<u8>]) -> ExitCode {
    let in_process = arguments.first().is_some_and(|word| word == b"--in-process");
    let mut script = String::new();
    if let Err(error) = io::stdin().read_to_string(&mut script) {
        eprintln!("act: {error}");
        return ExitCode::from(2);
    }
    // One system call for all lines of a process that does a thousand acts.
    let mut report = String::new();
    for (number, line) in script.lines().filter(|line| !line.is_empty()).enumerate() {
        let (process, outcome) = match in_process {
            true => (std::process::id(), perform(line)),
            false => in_own_process(line),
        };
        report += &format!("{number} {process} {}\n", written(&outcome));
        if !in_process {
            print(&report);
            report.clear();
        }
    }
    print(&report);
    ExitCode::SUCCESS
}

/// Does one act, given as arguments, and exits with the error number.
pub(crate) fn one(arguments: &[Vec<u8>]) -> ExitCode {
    let line: Vec<String> = arguments.iter().map(|word| words::encode(word)).collect();
    let outcome = perform(&line.join(" "));
    print(&format!("0 {} {}\n", std::process::id(), written(&outcome)));
    ExitCode::from(match outcome {
        Outcome::Done(_) => 0,
        Outcome::Errno(number) => u8::try_from(number).unwrap_or(200),
        Outcome::Failed(_) | Outcome::Signal(_) => 200,
    })
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told when the reader is gone.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn written(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(text) => format!("done {}", words::encode(text.as_bytes())),
        Outcome::Errno(number) => format!("errno {number}"),
        Outcome::Failed(text) => format!("failed {}", words::encode(text.as_bytes())),
        Outcome::Signal(number) => format!("signal {number}"),
    }
}

fn perform(line: &str) -> Outcome {
    let words = words::split(line);
    let Some((name, arguments)) = words.split_first() else {
        return Outcome::Failed("an empty line".into());
    };
    let tables = [
        file::ACTS,
        metadata::ACTS,
        memory::ACTS,
        reach::ACTS,
        copy::ACTS,
        change::ACTS,
        passed::ACTS,
        process::ACTS,
        container::ACTS,
        map::ACTS,
        code::ACTS,
        network::ACTS,
        guard::ACTS,
        machine::ACTS,
        outsider::ACTS,
        uring::ACTS,
        unix::ACTS,
        serve::ACTS,
        names::ACTS,
        tls::ACTS,
        flood::ACTS,
    ];
    let found = tables.iter().flat_map(|table| table.iter()).find(|act| act.0.as_bytes() == name);
    let Some((_, act)) = found else {
        return Outcome::Failed(format!("no act is called {}", String::from_utf8_lossy(name)));
    };
    match act(arguments) {
        Ok(text) => Outcome::Done(text),
        Err(Trouble::Errno(number)) => Outcome::Errno(number),
        Err(Trouble::Other(text)) => Outcome::Failed(text),
    }
}

/// Does an act in a child process, and returns the child's number with the outcome.
fn in_own_process(line: &str) -> (u32, Outcome) {
    match try_in_own_process(line) {
        Ok(both) => both,
        Err(error) => (0, Outcome::Failed(format!("no process for the act: {error}"))),
    }
}

fn try_in_own_process(line: &str) -> io::Result<(u32, Outcome)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    sys::check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the descriptors are new, and nobody else's.
    let [reader, writer] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    // SAFETY: this process has one thread.
    let child = sys::check(unsafe { libc::fork() })?;
    if child == 0 {
        // An act that hangs must not hang the test.
        // SAFETY: no memory is involved.
        unsafe { libc::alarm(40) };
        let outcome = written(&perform(line));
        let _ = std::fs::File::from(writer).write_all(outcome.as_bytes());
        sys::exit(0);
    }
    drop(writer);
    let status = sys::wait(child as libc::pid_t)?;
    let process = child as u32;
    if libc::WIFSIGNALED(status) {
        return Ok((process, Outcome::Signal(libc::WTERMSIG(status))));
    }
    // What was left behind by the act may still hold the other end: one read, no wait for an end.
    let mut text = [0; 4096];
    let length = std::fs::File::from(reader).read(&mut text)?;
    let line = format!("0 {process} {}", String::from_utf8_lossy(&text[..length]));
    let outcome = line.parse::<Report>().map_or_else(Outcome::Failed, |report| report.outcome);
    Ok((process, outcome))
}

/// The argument with this number.
fn argument(arguments: &[Vec<u8>], index: usize) -> Result<&[u8], Trouble> {
    arguments
        .get(index)
        .map(Vec::as_slice)
        .ok_or_else(|| Trouble::Other(format!("argument {} is missing", index + 1)))
}

/// The argument with this number, as text that can be parsed.
fn parsed<T: FromStr>(arguments: &[Vec<u8>], index: usize) -> Result<T, Trouble> {
    let text = String::from_utf8_lossy(argument(arguments, index)?).into_owned();
    text.parse()
        .map_err(|_| Trouble::Other(format!("`{text}` is not what argument {} is", index + 1)))
}
