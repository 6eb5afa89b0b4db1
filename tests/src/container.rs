//! A process with a root and mounts of its own, which a scope takes in from outside as it does a
//! container's.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use libc::EACCES;

use crate::{
    act::Outcome,
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, Running, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("a container's process is judged by the paths of its own root", own_root)];

/// Of the container's own root; the same files by their path outside give nothing.
const POLICY: &str = r#"boundary: 1
files:
  - { path: "/work/**", allow: [read] }
  - { path: "{room}/**", allow: [read] }
"#;

const SCOPE: &str = "/sys/fs/cgroup/ringfence/container/cgroup.procs";
const PATIENCE: Duration = Duration::from_secs(120);

/// What comes of reading a file within a container, in the scope or free.
fn read(context: &Context, file: &str, is_governed: bool) -> Result<(u32, Outcome), Failure> {
    let told = context.folder.join("container-is-there");
    let act = format!(
        "read-in-container {} {} {file}",
        context.room.join("container").display(),
        told.display()
    );
    let running = Run::acts(context, &[act], false).free().start()?;
    let process: u32 = wait_for(|| fs::read_to_string(&told).ok()?.parse().ok())?;
    if is_governed {
        fs::write(SCOPE, process.to_string())?;
    }
    sys::kill(process, libc::SIGUSR1)?;
    let outcome = running.end()?.reports(1)?.remove(0).outcome;
    fs::remove_file(told)?;
    Ok((process, outcome))
}

fn wait_for<T>(find: impl Fn() -> Option<T>) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return Ok(found);
        }
        ensure(start.elapsed() < PATIENCE, || "waited in vain".into())?;
        thread::sleep(Duration::from_millis(5));
    }
}

fn start(context: &Context) -> Result<Running, Failure> {
    let text = POLICY.replace("{room}", &context.room.to_string_lossy());
    let file = policy(context, "policy.yaml", &text)?;
    let scope = Run::new(context, ["/bin/sleep", "600"]).policy(&file);
    let scope = scope.option("--name").option("container").start()?;
    wait_for(|| fs::read_to_string(SCOPE).ok().filter(|text| !text.is_empty()))?;
    Ok(scope)
}

fn own_root(context: &mut Context) -> Result<(), Failure> {
    let files = [("/work/file", "file"), ("/out/secret", "secret")];
    for (file, content) in files {
        let (_, outcome) = read(context, file, false)?;
        ensure(outcome == Outcome::Done(content.into()), || format!("control: {outcome}"))?;
    }
    let scope = start(context)?;
    let (_, allowed) = read(context, files[0].0, true)?;
    let (process, refused) = read(context, files[1].0, true)?;
    sys::kill(scope.process(), libc::SIGTERM)?;
    let ended = scope.end()?;
    ensure(allowed == Outcome::Done(files[0].1.into()), || format!("{allowed}: {}", ended.said()))?;
    ensure(refused == Outcome::Errno(EACCES), || format!("{refused}: {}", ended.said()))?;
    let is_told = ended.with_verdict("deny").iter().any(|event| {
        event["subject"]["pid"] == process
            && event["object"]["path"] == files[1].0
            && event["reason"] == "fs_violation"
    });
    ensure(is_told, || ended.said())
}
