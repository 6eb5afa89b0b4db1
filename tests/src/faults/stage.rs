//! An agent that can be ended in any way, control groups and workers in them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    log::{self, Told},
    tally::{Act, Tally},
};
use crate::{
    harness::{Context, Failure, ensure},
    kill::detach,
    ringfence::{ACTOR, PROGRAM},
    sys,
};

/// The control group that the governed ones are in.
const GROUPS: &str = "/sys/fs/cgroup/rf-faults";
/// The scope.
pub(super) const SCOPE: &str = "faults";
/// How long an agent may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(600);

/// A policy that forbids everything that a worker tries, but one file.
pub(super) const POLICY: &str = r#"boundary: 1
files: [{ path: "{room}/work/**", allow: [read, write] }]
exec: [{ path: "/usr/local/bin/*", allow: true }]
egress: []
"#;

const CONFIGURATION: &str = r#"agent: 1
scopes:
  - name: faults
    policy: [policy.yaml]
    match: [{ cgroup: "/rf-faults/*" }]
events: {folder}/log
control: {folder}/control.sock
"#;

/// What the tests have in common.
pub(super) struct Stage {
    folder: PathBuf,
    room: PathBuf,
    pub(super) tally: Tally,
    /// The port of a server, and how many connections it took.
    port: u16,
    accepted: Arc<AtomicU64>,
    /// By slot.
    workers: Vec<(usize, Child)>,
    agent: Option<Child>,
    next: usize,
}

impl Drop for Stage {
    /// Leaves nothing, whatever came of the test.
    fn drop(&mut self) {
        self.end_workers();
        self.kill();
        let _ = detach();
        for entry in fs::read_dir(GROUPS).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(GROUPS);
    }
}

impl Stage {
    /// Makes files, a server and the control group; no agent yet.
    ///
    /// # Errors
    ///
    /// When something cannot be made.
    pub(super) fn set(context: &Context) -> Result<Self, Failure> {
        let (folder, room) = (context.folder.clone(), context.room.clone());
        for name in ["work", "out"] {
            fs::create_dir_all(room.join(name))?;
        }
        for name in ["first", "second", "both"] {
            fs::create_dir_all(room.join(name).join("deep/er/and/deeper"))?;
            fs::write(room.join(name).join("deep/er/and/deeper/file"), name)?;
        }
        fs::write(room.join("out/secret"), "something")?;
        fs::write(room.join("work/ok"), "something")?;
        fs::write(room.join("out/tool"), "#!/bin/sh\nexit 0\n")?;
        fs::set_permissions(room.join("out/tool"), fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(GROUPS)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|_| {
                count.fetch_add(1, Ordering::SeqCst);
            });
        });
        let tally = Tally::open(&room.join("work/tally"))?;
        let (workers, agent) = (Vec::new(), None);
        let this = Self { folder, room, tally, port, accepted, workers, agent, next: 0 };
        this.write("agent.yaml", CONFIGURATION)?;
        this.policy(POLICY)?;
        Ok(this)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let text = text
            .replace("{room}", &self.room.to_string_lossy())
            .replace("{folder}", &self.folder.to_string_lossy());
        let new = self.folder.join(format!(".{name}"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.folder.join(name))?)
    }

    /// Writes the policy. A running agent notices.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn policy(&self, text: &str) -> Result<(), Failure> {
        self.write("policy.yaml", text)
    }

    /// A place in the room.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.room.join(name)
    }

    /// Makes a control group that is governed while there is a scope.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn group(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = Path::new(GROUPS).join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Starts a worker, in a control group or in none; gives its slot.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn work(
        &mut self,
        kind: &str,
        group: Option<&Path>,
        pause: Duration,
        rounds: u64,
    ) -> Result<usize, Failure> {
        let slot = self.next;
        self.next += 1;
        let mut command = Command::new(ACTOR);
        command.args(["faults", kind]).arg(&self.room);
        let numbers = [slot as u64, self.port.into(), pause.as_micros() as u64, rounds];
        command.args(numbers.map(|number| number.to_string()));
        command.args(group.map(|group| group.join("cgroup.procs")));
        self.workers.push((slot, command.stdin(Stdio::null()).spawn()?));
        Ok(slot)
    }

    /// The process of a worker.
    pub(super) fn worker(&self, slot: usize) -> u32 {
        self.workers.iter().find(|(of, _)| *of == slot).map_or(0, |(_, worker)| worker.id())
    }

    /// Ends all workers.
    pub(super) fn end_workers(&mut self) {
        for (_, mut worker) in self.workers.drain(..) {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }

    /// Waits for workers that end by themselves, and forgets them.
    ///
    /// # Errors
    ///
    /// When one did not do what it was to.
    pub(super) fn collect(&mut self) -> Result<(), Failure> {
        let mut problems = Vec::new();
        self.workers.retain_mut(|(_, worker)| match worker.try_wait() {
            Ok(Some(status)) if status.success() => false,
            Ok(Some(status)) => {
                problems.push(format!("a worker ended with {status}"));
                false
            }
            _ => true,
        });
        Failure::of_all(problems)
    }

    /// Waits until every worker has ended by itself.
    ///
    /// # Errors
    ///
    /// When one does not, or not well.
    pub(super) fn wait_for_workers(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.workers.is_empty() {
            self.collect()?;
            ensure(start.elapsed() < PATIENCE, || "a worker does not end".into())?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The control: what the workers try succeeds where nothing governs it.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub(super) fn control(&mut self, kind: &str, acts: &[Act]) -> Result<(), Failure> {
        self.work(kind, None, Duration::ZERO, 16)?;
        self.wait_for_workers()?;
        for act in acts {
            let count = self.tally.all(*act);
            ensure(count.successes == count.tries && count.tries > 0, || {
                format!("the control fails: {act:?}, {count:?}")
            })?;
        }
        // Who connected does not wait until the server took the connection.
        let made = self.tally.all(Act::Connect).successes;
        let start = Instant::now();
        while self.accepted.load(Ordering::SeqCst) < made {
            ensure(start.elapsed() < PATIENCE, || "the server takes no connections".into())?;
            thread::sleep(Duration::from_millis(2));
        }
        self.accepted.store(0, Ordering::SeqCst);
        self.tally.clear();
        Ok(())
    }

    /// Fails if one of these succeeded or was never tried, if anything succeeded that is always
    /// forbidden, or if anything failed that is allowed.
    ///
    /// # Errors
    ///
    /// When it did.
    pub(super) fn judge(&self, tried: &[Act]) -> Result<(), Failure> {
        let mut problems = Vec::new();
        for act in Act::FORBIDDEN.iter().chain(tried).collect::<BTreeSet<_>>() {
            let count = self.tally.all(*act);
            if count.successes > 0 {
                problems.push(format!("{act:?} succeeded: {count:?}"));
            }
            if count.tries == 0 && tried.contains(act) {
                problems.push(format!("{act:?} was never tried"));
            }
        }
        let allowed = self.tally.all(Act::Allowed);
        if allowed.successes != allowed.tries {
            problems.push(format!("what is allowed was refused: {allowed:?}"));
        }
        let accepted = self.accepted.load(Ordering::SeqCst);
        if accepted > 0 {
            problems.push(format!("the server took {accepted} connections"));
        }
        Failure::of_all(problems)
    }

    /// Starts the agent.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let log = File::options().create(true).append(true).open(self.folder.join("agent.log"))?;
        let mut command = Command::new(PROGRAM);
        command.arg("agent").arg("--config").arg(self.folder.join("agent.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.agent = Some(command.spawn()?);
        Ok(())
    }

    /// The agent's process.
    pub(super) fn agent(&self) -> u32 {
        self.agent.as_ref().map_or(0, Child::id)
    }

    /// Waits until everything is in force and the agent answers.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let socket = self.folder.join("control.sock");
        while UnixStream::connect(&socket).is_err() {
            let agent = self.agent.as_mut().ok_or_else(|| Failure::new("there is no agent"))?;
            let ended = agent.try_wait()?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                return Err(
                    Failure::new(format!("the agent does not begin: {ended:?}")).with(self.said())
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// What the agents said.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    /// Whether something has ended the agent: by which signal.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(super) fn ended(&mut self) -> Result<Option<i32>, Failure> {
        let Some(agent) = &mut self.agent else { return Ok(None) };
        Ok(agent.try_wait()?.map(|status| status.signal().unwrap_or(0)))
    }

    /// Ends the agent as a service manager does.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        sys::kill(agent.id(), libc::SIGTERM)?;
        let status = agent.wait()?;
        ensure(status.success(), || format!("the agent ends with {status}: {}", self.said()))
    }

    /// Asks the agent to read its policy anew; who asks ends once it has.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub(super) fn begin_reload(&self) -> Result<Child, Failure> {
        Ok(self.asks_to_reload().stdout(Stdio::null()).spawn()?)
    }

    fn asks_to_reload(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("reload").arg("--control").arg(self.folder.join("control.sock"));
        command
    }

    /// Has the agent read its policy anew.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub(super) fn reload(&self) -> Result<Output, Failure> {
        Ok(self.asks_to_reload().output()?)
    }

    /// How many events the kernel has numbered, told or not.
    ///
    /// # Errors
    ///
    /// When that cannot be asked.
    pub(super) fn offered(&self) -> Result<u64, Failure> {
        let scope = self.status()?;
        let events = scope["events"].as_u64();
        events.ok_or_else(|| Failure::new("status tells of no events").with(scope.to_string()))
    }

    /// Whether a control group is known to be the scope's.
    ///
    /// # Errors
    ///
    /// When that cannot be asked.
    pub(super) fn governs(&self, group: &str) -> Result<bool, Failure> {
        let scope = self.status()?;
        Ok(scope["cgroups"].as_array().is_some_and(|all| all.iter().any(|one| one == group)))
    }

    fn status(&self) -> Result<Value, Failure> {
        let output = Command::new(PROGRAM).args(["status", "--format", "json"]).output()?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        let mut scopes = status["scopes"].as_array().into_iter().flatten();
        let found = scopes.find(|scope| scope["scope"] == SCOPE).cloned();
        found.ok_or_else(|| Failure::new("status does not tell of it").with(status.to_string()))
    }

    /// Waits until the agent has told everything that was offered, and reads the log. Nothing may
    /// be governed any more that does anything.
    ///
    /// # Errors
    ///
    /// When numbers are missing or there twice.
    pub(super) fn told(&self) -> Result<Told, Failure> {
        let (start, offered) = (Instant::now(), self.offered()?);
        loop {
            let told = log::read(&self.folder.join("log"), SCOPE);
            let is_whole = told.as_ref().is_ok_and(|told| told.events + told.lost == offered);
            if is_whole {
                return told;
            }
            if start.elapsed() > Duration::from_secs(60) {
                let told = told?;
                return Err(
                    Failure::new(format!("{offered} were offered, but {told:?}")).with(self.said())
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
