//! Runs the product as a user does, and reads what it leaves: output, exit code, events.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    act::{PHASE, Report},
    harness::{Context, Failure},
};

/// Where it is.
pub(crate) const PROGRAM: &str = "/usr/local/bin/ringfence";
/// Where this program is, so that a boundary's baseline lets it be executed.
pub(crate) const ACTOR: &str = "/usr/local/bin/ringfence-vm-tests";
/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A run of `ringfence run`, to be.
#[derive(Debug)]
pub(crate) struct Run {
    folder: PathBuf,
    options: Vec<OsString>,
    command: Vec<OsString>,
    input: Vec<u8>,
    phase: &'static str,
    /// Without a boundary: the command alone.
    free: bool,
    /// With its events thrown away.
    is_unrecorded: bool,
    user: Option<u32>,
}

/// A run that has begun.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    events: PathBuf,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained of.
    pub(crate) stderr: String,
    /// Every event, in order.
    pub(crate) events: Vec<Value>,
}

impl Run {
    /// A run of a command.
    pub(crate) fn new<S: Into<OsString>>(
        context: &Context,
        command: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            folder: context.folder.clone(),
            options: Vec::new(),
            command: command.into_iter().map(Into::into).collect(),
            input: Vec::new(),
            phase: "enforce",
            free: false,
            is_unrecorded: false,
            user: None,
        }
    }

    /// A run of acts, a line each.
    pub(crate) fn acts(context: &Context, lines: &[String], in_process: bool) -> Self {
        let mut run = Self::new(context, [ACTOR, "act"]);
        if in_process {
            run.command.push("--in-process".into());
        }
        run.input = lines.join("\n").into_bytes();
        run
    }

    /// Under a policy.
    pub(crate) fn policy(self, policy: &Path) -> Self {
        self.option("--policy").option(policy)
    }

    /// With one more word before the command.
    pub(crate) fn option(mut self, word: impl Into<OsString>) -> Self {
        self.options.push(word.into());
        self
    }

    /// With this on standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// In observe mode.
    pub(crate) fn observing(mut self) -> Self {
        self.phase = "observe";
        self.option("--mode").option("observe")
    }

    /// Without ringfence: the control.
    pub(crate) fn free(mut self) -> Self {
        (self.free, self.phase) = (true, "control");
        self
    }

    /// With its events thrown away: those of a command that is refused without end fill the
    /// memory of a machine whose files are in memory.
    pub(crate) const fn unrecorded(mut self) -> Self {
        self.is_unrecorded = true;
        self
    }

    /// Started by another user than root.
    pub(crate) const fn by_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(self) -> Result<Running, Failure> {
        let number = fs::read_dir(&self.folder)?.count();
        let place = |what: &str| self.folder.join(format!("{number}-{what}"));
        let events = match self.is_unrecorded {
            true => PathBuf::from("/dev/null"),
            false => place("events"),
        };
        let mut command = match self.free {
            true => Command::new(&self.command[0]),
            false => {
                let mut command = Command::new(PROGRAM);
                command.arg("run").args(&self.options);
                command.arg("--events").arg(&events).arg("--").arg(&self.command[0]);
                command
            }
        };
        let read_back =
            |name| File::options().create_new(true).read(true).write(true).open(place(name));
        let mut stdin = read_back("stdin")?;
        stdin.write_all(&self.input)?;
        stdin.rewind()?;
        let (stdout, stderr) = (read_back("stdout")?, read_back("stderr")?);
        command.args(&self.command[1..]).env(PHASE, self.phase);
        command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        Ok(Running { child: command.spawn()?, stdout, stderr, events })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does not end.
    pub(crate) fn end(self) -> Result<Ended, Failure> {
        self.start()?.end()
    }
}

impl Running {
    /// The process that was started.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub(crate) fn end(mut self) -> Result<Ended, Failure> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill()?;
                self.child.wait()?;
                let said = text(&mut self.stderr)?;
                return Err(Failure::new("`ringfence run` does not end").with(said));
            }
            thread::sleep(Duration::from_millis(2));
        };
        let events = match fs::read_to_string(&self.events) {
            // A writer that was killed may have been cut off within its last line.
            Ok(text) if status.signal() == Some(libc::SIGKILL) => {
                parse_events(text.rsplit_once('\n').map_or("", |(whole, _)| whole))?
            }
            Ok(text) => parse_events(&text)?,
            Err(_) => Vec::new(),
        };
        let (stdout, stderr) = (text(&mut self.stdout)?, text(&mut self.stderr)?);
        Ok(Ended { status, stdout, stderr, events })
    }
}

fn text(file: &mut File) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse_events(text: &str) -> Result<Vec<Value>, Failure> {
    let parse = |line: &str| {
        serde_json::from_str(line)
            .map_err(|error| Failure::new(format!("an event is no JSON: {error}")).with(line))
    };
    text.lines().map(parse).collect()
}

impl Ended {
    /// The exit code, as a shell has it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|n| 128 + n)).unwrap_or(-1)
    }

    /// All that was printed, for the details of a failure.
    pub(crate) fn said(&self) -> String {
        let events: Vec<String> = self.events.iter().map(Value::to_string).collect();
        format!(
            "exit code {}\nstdout: {}\nstderr: {}\nevents: {}",
            self.code(),
            self.stdout,
            self.stderr,
            events.join("\n")
        )
    }

    /// The reports of acts.
    ///
    /// # Errors
    ///
    /// When there are not as many as acts.
    pub(crate) fn reports(&self, acts: usize) -> Result<Vec<Report>, Failure> {
        let reports: Result<Vec<Report>, String> = self.stdout.lines().map(str::parse).collect();
        match reports {
            Ok(reports) if reports.len() == acts && self.code() == 0 => Ok(reports),
            Ok(reports) => {
                let reason = format!("{} of {acts} acts were reported", reports.len());
                Err(Failure::new(reason).with(self.said()))
            }
            Err(wrong) => Err(Failure::new(wrong).with(self.said())),
        }
    }

    /// Events with this verdict.
    pub(crate) fn with_verdict(&self, verdict: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["verdict"] == verdict).collect()
    }
}

/// Writes a policy into the test's folder.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn policy(context: &Context, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = context.folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
