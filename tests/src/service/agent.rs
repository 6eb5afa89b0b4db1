//! The long-running agent as tests start, kill and ask it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    harness::{Context, Failure, ensure},
    ringfence::PROGRAM,
};

/// Where it is asked.
const CONTROL: &str = "/run/ringfence/control.sock";
/// How long it may take to start, to end, or to do anything else.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent with its files. Dropped, nothing of it is left in the kernel.
pub(super) struct Agent {
    folder: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// Writes a configuration with one scope `tested`, and its policy.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub(super) fn prepare(
        context: &Context,
        selectors: &str,
        policy: &str,
    ) -> Result<Self, Failure> {
        let folder = context.folder.join("agent");
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let this = Self { folder, child: None };
        this.write_policy(policy)?;
        let events = this.folder.join("events");
        let text = format!(
            "agent: 1\nscopes:\n  - name: tested\n    policy: [policy.yaml]\n    match:\n\
             {selectors}events: {}\n",
            events.display()
        );
        fs::write(this.configuration(), text)?;
        Ok(this)
    }

    /// Writes the policy anew, without telling the agent: it notices.
    pub(super) fn write_policy(&self, policy: &str) -> Result<(), Failure> {
        let new = self.folder.join("policy.new");
        fs::write(&new, policy)?;
        Ok(fs::rename(new, self.folder.join("policy.yaml"))?)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("agent.yaml")
    }

    /// Starts it, and waits until everything is in force.
    ///
    /// # Errors
    ///
    /// When that does not come.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let said = File::options().create(true).append(true).open(self.folder.join("said"))?;
        let mut command = Command::new(PROGRAM);
        command.args(["agent", "--config"]).arg(self.configuration());
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        self.child = Some(command.spawn()?);
        let start = Instant::now();
        // One that was killed has left its socket.
        while !self.answers() {
            let ended =
                self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || start.elapsed() > PATIENCE {
                return Err(Failure::new("the agent does not start").with(self.said()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(CONTROL).is_ok()
    }

    /// Kills it, as an attacker would like to.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Has it end by itself.
    ///
    /// # Errors
    ///
    /// When it does not, or with a failure.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        crate::sys::kill(child.id(), libc::SIGTERM)?;
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return ensure(status.success(), || format!("{status}: {}", self.said()));
            }
            if start.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Err(Failure::new("the agent does not end"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The file of its policy.
    pub(super) fn policy(&self) -> PathBuf {
        self.folder.join("policy.yaml")
    }

    /// The file of its log.
    pub(super) fn log(&self) -> Result<PathBuf, Failure> {
        match fs::read_dir(self.folder.join("events"))?.next() {
            Some(entry) => Ok(entry?.path()),
            None => Err(Failure::new("there is no log")),
        }
    }

    /// What it has written to its standard outputs.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    /// Asks it to read its files anew.
    pub(super) fn reload(&self) -> Result<Output, Failure> {
        Ok(Command::new(PROGRAM).arg("reload").output()?)
    }

    /// Every line of its log, after what is under way has been written.
    ///
    /// # Errors
    ///
    /// When a line is none.
    pub(super) fn events(&self) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.folder.join("events"))? {
            for line in fs::read_to_string(entry?.path())?.lines() {
                all.push(serde_json::from_str(line).map_err(|error| {
                    Failure::new(format!("a line of the log: {error}")).with(line.to_owned())
                })?);
            }
        }
        Ok(all)
    }

    /// Waits until the log has an event that is as wanted.
    pub(super) fn wait_for(
        &self,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.events().is_ok_and(|events| events.iter().any(&is_wanted)) {
            if start.elapsed() > Duration::from_secs(20) {
                let events: Vec<_> = self.events()?.iter().map(Value::to_string).collect();
                return Err(Failure::new(format!("no event of {what}")).with(events.join("\n")));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Demands that the log has every number once, in order, from 1 on.
    pub(super) fn must_be_exact(&self) -> Result<(), Failure> {
        let mut next = 1;
        for event in self.events()? {
            let (first, last) = match &event["lost"] {
                Value::Null => (event["seq"].as_u64(), event["seq"].as_u64()),
                lost => (lost["first_seq"].as_u64(), lost["last_seq"].as_u64()),
            };
            ensure(first == Some(next), || format!("number {next} is missing before {event}"))?;
            next = last.unwrap_or_default() + 1;
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = Command::new(PROGRAM).arg("detach").output();
    }
}

/// A control group for the time of a test.
pub(super) struct Group(pub(super) PathBuf);

impl Group {
    /// Makes it, with those above it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn make(path: &str) -> Result<Self, Failure> {
        let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// The file that processes are moved by.
    pub(super) fn entrance(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Moves a process into it.
    pub(super) fn take(&self, process: u32) -> Result<(), Failure> {
        let moved = fs::write(self.entrance(), process.to_string());
        moved.map_err(|error| Failure::new(format!("moving process {process}: {error}")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
