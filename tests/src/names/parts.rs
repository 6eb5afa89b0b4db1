//! A command of several parts, each of which begins when the test says so: what a scope may do can
//! be tried before and after something that happens outside of it.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    act::{Outcome, Report},
    harness::{Context, Failure, ensure},
    ringfence::{ACTOR, Ended, Run, Running},
    sys,
};

/// How long a part may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// The command.
pub(super) struct Parts {
    /// `None` when it was killed.
    running: Option<Running>,
    room: PathBuf,
    name: String,
    parts: Vec<usize>,
}

impl Parts {
    /// Starts it: in its scope, or free. Each part has acts. Nothing is done yet.
    pub(super) fn start(
        context: &Context,
        name: &str,
        parts: &[&[String]],
        run: impl FnOnce(Run) -> Run,
    ) -> Result<Self, Failure> {
        let room = context.room.clone();
        let mut script = String::new();
        for (index, acts) in parts.iter().enumerate() {
            let part = room.join(format!("{name}-{index}")).display().to_string();
            fs::write(format!("{part}-acts"), acts.join("\n"))?;
            script += &format!(
                "while [ ! -e {part}-go ]; do sleep 0.05; done\n\
                 {ACTOR} act < {part}-acts > {part}-reports\n\
                 touch {part}-done\n"
            );
        }
        let command = Run::new(context, ["/bin/sh", "-c", &script]);
        let running = run(command.option("--name").option(name)).start()?;
        let parts = parts.iter().map(|acts| acts.len()).collect();
        Ok(Self { running: Some(running), room, name: name.to_owned(), parts })
    }

    /// Has a part begin.
    pub(super) fn begin(&self, part: usize) -> Result<(), Failure> {
        Ok(fs::write(self.file(part, "go"), "")?)
    }

    /// Has a part begin, if it has not, and waits for its end; gives what came of each act.
    pub(super) fn finish(&self, part: usize) -> Result<Vec<Outcome>, Failure> {
        self.begin(part)?;
        let start = Instant::now();
        while fs::symlink_metadata(self.file(part, "done")).is_err() {
            let holds = start.elapsed() < PATIENCE;
            ensure(holds, || format!("part {part} of {} does not end", self.name))?;
            thread::sleep(Duration::from_millis(5));
        }
        let text = fs::read_to_string(self.file(part, "reports"))?;
        let reports: Result<Vec<Report>, String> = text.lines().map(str::parse).collect();
        let reports = reports.map_err(Failure::new)?;
        let is_whole = reports.len() == self.parts[part];
        ensure(is_whole, || format!("part {part} of {} reports: {text}", self.name))?;
        Ok(reports.into_iter().map(|report| report.outcome).collect())
    }

    /// Kills `ringfence run`: the command goes on without it.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        let Some(running) = self.running.take() else { return Ok(()) };
        sys::kill(running.process(), libc::SIGKILL)?;
        running.end().map(drop)
    }

    /// Waits until nothing is left of a command that was killed and whose parts are over.
    pub(super) fn vanish(&self) -> Result<(), Failure> {
        let processes = format!("/sys/fs/cgroup/ringfence/{}/cgroup.procs", self.name);
        let start = Instant::now();
        while fs::read_to_string(&processes).is_ok_and(|list| !list.is_empty()) {
            let holds = start.elapsed() < PATIENCE;
            ensure(holds, || format!("{} does not end", self.name))?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for the end, when every part has begun.
    pub(super) fn end(mut self) -> Result<Ended, Failure> {
        let running = self.running.take();
        running.ok_or_else(|| Failure::new(format!("{} was killed", self.name)))?.end()
    }

    fn file(&self, part: usize, what: &str) -> PathBuf {
        self.room.join(format!("{}-{part}-{what}", self.name))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // What a test that failed has not told to begin would wait for ever.
        for part in 0..self.parts.len() {
            let _ = self.begin(part);
        }
    }
}
