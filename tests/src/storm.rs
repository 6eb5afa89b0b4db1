//! Names that change while they are judged: no open succeeds by a name that the file never had, and
//! none by a verdict that was right before a change that is complete.
//!
//! What a file holds says what it is: `shut` in files that the boundary allows by none of their
//! names, `open` in the others. Where a storm moves a file between two names, neither is allowed,
//! and each mixture of the two is, though no file ever has it: whoever reads `shut` was judged by a
//! mixture. A file that is reached is reached by its own folder too, which is held open, so that
//! each attempt meets it wherever it is.

mod rounds;
mod storms;
mod worker;

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{ACTOR, Run, Running, policy},
    sys,
};

pub(crate) use worker::main as worker;

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("after a change of names or mounts is complete, the next open has the new verdict", |c| {
        rounds::rounds(c)
    }),
    ("no storm of renames, links, symbolic links and mounts opens what no name allows", |c| {
        storms::storms(c)
    }),
];

/// Content of what may be opened by no name.
const SHUT: &str = "shut";
/// Content of everything else.
const OPEN: &str = "open";

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/work/**", allow: [read, write] }
  - { path: "{room}/open/**", allow: [read] }
  - { path: "{room}/open/**/*.key", deny: [read] }
  # Names that only a mixture of two real names is.
  - { path: "{room}/mix/stolen/a/y", allow: [write] }
  - { path: "{room}/mix/stolen/b/x", allow: [write] }
  - { path: "{room}/mix/*/a/{y,e}", allow: [read] }
  - { path: "{room}/mix/*/a/{y,e}/**", allow: [read] }
  - { path: "{room}/mix/*/b/{x,d}", allow: [read] }
  - { path: "{room}/mix/*/b/{x,d}/**", allow: [read] }
  - { path: "{room}/mix/*/c/**/m/**", allow: [read] }
  - { path: "{room}/mix/*/g/**/l/**", allow: [read] }
"#;

/// Variable of the environment that says for how many seconds a storm lasts; `--storm-seconds`.
pub(crate) const SECONDS: &str = "RINGFENCE_STORM_SECONDS";
/// How long it lasts when nothing is said.
const SHORT: Duration = Duration::from_secs(2);

/// How long one storm lasts.
fn duration() -> Duration {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    seconds.map_or(SHORT, Duration::from_secs)
}

/// How the attempts of a storm ended.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    attempts: u64,
    refused: u64,
    missing: u64,
    open: u64,
    /// What must not be.
    shut: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempts, refused, missing, open, shut } = self;
        write!(f, "{attempts} {refused} {missing} {open} {shut}")
    }
}

impl FromStr for Counts {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[attempts, refused, missing, open, shut]) => {
                Ok(Self { attempts, refused, missing, open, shut })
            }
            _ => Err(Failure::new(format!("not the counts of a storm: {line:?}"))),
        }
    }
}

/// The governed process, and the way to talk to it.
struct Inside {
    running: Running,
    asks: File,
    answers: BufReader<File>,
}

impl Inside {
    /// Starts it, free as the control or under the policy.
    fn start(context: &Context, free: bool) -> Result<Self, Failure> {
        let work = context.room.join("work");
        fs::create_dir_all(&work)?;
        for name in ["ask", "answer"] {
            let path = work.join(name);
            let _ = fs::remove_file(&path);
            let path = sys::path(&path)?;
            // SAFETY: the path is a NUL-terminated string.
            sys::check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) })?;
        }
        let text = POLICY.replace("{room}", &context.room.to_string_lossy());
        let file = policy(context, "policy.yaml", &text)?;
        let run = Run::new(context, [ACTOR, "storm", &work.to_string_lossy()]);
        let run = run.policy(&file).unrecorded();
        let running = if free { run.free() } else { run }.start()?;
        let end = |name| File::options().read(true).write(true).open(work.join(name));
        Ok(Self { running, asks: end("ask")?, answers: BufReader::new(end("answer")?) })
    }

    /// Tells it something, and gives its answer once that is done.
    fn tell(&mut self, line: &str) -> Result<String, Failure> {
        self.asks.write_all(format!("{line}\n").as_bytes())?;
        if self.answers.buffer().is_empty() {
            let patience = duration().as_millis() as i32 + 120_000;
            let fd = self.answers.get_ref().as_raw_fd();
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: the pointer is to our own variable, the only one.
            let ready = sys::check(unsafe { libc::poll(&raw mut poll, 1, patience) })?;
            ensure(ready == 1, || format!("there is no answer to {line:?}"))?;
        }
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }

    fn end(mut self) -> Result<(), Failure> {
        self.asks.write_all(b"end\n")?;
        let ended = self.running.end()?;
        ensure(ended.code() == 0, || ended.said())
    }
}

/// Makes a file with what is above it.
fn make(path: &Path, content: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(fs::write(path, content)?)
}

/// Renames with flags.
fn rename(from: &Path, to: &Path, flags: u32) -> Result<(), Failure> {
    let (from, to) = (sys::path(from)?, sys::path(to)?);
    let here = libc::AT_FDCWD;
    // SAFETY: the paths are NUL-terminated strings.
    let done = unsafe { libc::renameat2(here, from.as_ptr(), here, to.as_ptr(), flags) };
    Ok(sys::check(done).map(drop)?)
}

/// Mounts a new, small file system.
fn mount_new(at: &Path) -> Result<(), Failure> {
    mount(None, at, 0)
}

/// Mounts, or moves a mount, by `mount(2)`'s flags.
fn mount(from: Option<&Path>, to: &Path, flags: u64) -> Result<(), Failure> {
    Ok(sys::mount(from.unwrap_or(Path::new("none")), to, flags)?)
}

fn unmount(at: &Path) -> Result<(), Failure> {
    let at = sys::path(at)?;
    // SAFETY: the path is a NUL-terminated string.
    Ok(sys::check(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }).map(drop)?)
}

/// Unmounts when the test ends, however it does.
struct Mounts(Vec<PathBuf>);

impl Drop for Mounts {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // Some are mounted at times only.
            while unmount(path).is_ok() {}
        }
    }
}
