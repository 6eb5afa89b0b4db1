//! Who is governed: whatever came from the command, wherever it goes; and nobody else.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use libc::EACCES;

use crate::{
    act::Outcome,
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, Running, policy},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("a process that is moved to another cgroup from outside stays governed", moved),
    ("a process beside the scope is not governed and leaves no event", beside),
];

/// Every path but one, so that nothing but the scope keeps a process from leaving.
const POLICY: &str = r#"boundary: 1
files:
  - { path: "/**", allow: [read, write] }
  - { path: "{room}/**/out/**", deny: [read] }
"#;

const CGROUPS: &str = "/sys/fs/cgroup";

fn prepare(base: &Path) -> std::io::Result<()> {
    fs::create_dir_all(base.join("work"))?;
    fs::create_dir_all(base.join("out"))?;
    fs::write(base.join("out/secret"), "something")
}

/// A cgroup for the time of a test.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(path: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn take(&self, process: u32) -> Result<(), Failure> {
        let mut procs = fs::File::options().write(true).open(self.0.join("cgroup.procs"))?;
        let moved = procs.write_all(process.to_string().as_bytes());
        moved.map_err(|error| Failure::new(format!("moving process {process}: {error}")))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever is still in it is at its end.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Starts an act that says which process it is and waits until it is told to read.
fn start_waiting(context: &Context, base: &Path) -> Result<(Running, u32), Failure> {
    prepare(base)?;
    let text = POLICY.replace("{room}", &context.room.to_string_lossy());
    let file = policy(context, "policy.yaml", &text)?;
    let at = |name: &str| base.join(name).display().to_string();
    let act = format!("read-when-told {} {} {}", at("out/secret"), at("work/pid"), at("work/go"));
    let running = Run::acts(context, &[act], false).policy(&file).start()?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(120) {
        let said = fs::read_to_string(base.join("work/pid")).unwrap_or_default();
        if let Ok(process) = said.parse() {
            return Ok((running, process));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ended = running.end()?;
    Err(Failure::new("the governed act does not begin").with(ended.said()))
}

/// Tells the act to go on, and demands that it could not read.
fn must_be_refused(running: Running, base: &Path) -> Result<(), Failure> {
    fs::write(base.join("work/go"), "")?;
    let ended = running.end()?;
    let report = ended.reports(1)?.remove(0);
    ensure(report.outcome == Outcome::Errno(EACCES), || {
        format!("once moved, reading what is denied gives {}", report.outcome)
    })
}

fn moved(context: &mut Context) -> Result<(), Failure> {
    let other = Cgroup::make(format!("{CGROUPS}/rf-test-elsewhere").into())?;
    let base = context.room.join("moved");
    let (running, process) = start_waiting(context, &base)?;
    let base_below = context.room.join("below");
    let (below, process_below) = start_waiting(context, &base_below)?;
    if let Err(failure) = other.take(process) {
        fs::write(base.join("work/go"), "")?;
        return Err(failure.with(running.end()?.said()));
    }
    let cgroup = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    ensure(cgroup.contains("rf-test-elsewhere"), || "the process was not moved".into())?;
    let own = fs::read_to_string(format!("/proc/{process_below}/cgroup"))?;
    let own = own.trim().trim_start_matches("0::/").to_owned();
    let child = Cgroup::make(Path::new(CGROUPS).join(own).join("child"))?;
    child.take(process_below)?;
    must_be_refused(running, &base)?;
    must_be_refused(below, &base_below)
}

fn beside(context: &mut Context) -> Result<(), Failure> {
    let base = context.room.join("beside");
    let (running, _) = start_waiting(context, &base)?;
    let own = u64::from(std::process::id());
    let secret = fs::read_to_string(base.join("out/secret"))?;
    ensure(secret == "something", || "the test itself cannot read".into())?;
    fs::read_to_string("/etc/shadow")?;
    fs::write(base.join("go"), "")?;
    let sibling = std::process::Command::new("/bin/cat").arg(base.join("out/secret")).output()?;
    ensure(sibling.status.success(), || "a child of the test cannot read".into())?;
    fs::write(base.join("work/go"), "")?;
    let ended = running.end()?;
    let ours = |event: &&serde_json::Value| {
        event["subject"]["pid"] == own || event["subject"]["ppid"] == own
    };
    // The command is ringfence's child, and ringfence ours.
    match ended.events.iter().find(ours) {
        Some(event) => Err(Failure::new("an event is about the test").with(event.to_string())),
        None => Ok(()),
    }
}
