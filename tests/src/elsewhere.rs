//! A governed process that somebody moved to another cgroup, where the scope's end does not look
//! for it: it must not outlive its boundary.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Context, Failure, Test, ensure},
    kill::{Stage, counts, detach},
    life::process_called,
    ringfence::Run,
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    (
        "a daemon that was moved to another cgroup does not outlive the run ungoverned",
        after_the_end,
    ),
    ("a daemon that was moved to another cgroup is not set free by the next start", after_a_kill),
    ("a daemon that was moved to another cgroup is not set free by `detach`", after_detach),
];

const CGROUP: &str = "/sys/fs/cgroup/rf-test-elsewhere";
/// How long after a run's end a daemon that lives on is watched.
const PATIENCE: Duration = Duration::from_secs(8);
const HAMMER: &str = "\0hammer\0";

/// Runs a test with a cgroup, and ends what is left in it.
fn with_cgroup(
    context: &Context,
    test: impl FnOnce(&Stage, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stage = Stage::set(context)?;
    fs::create_dir_all(CGROUP)?;
    let act = format!("leave-hammer {} {}", stage.secret, stage.counts.display());
    let control = Run::acts(context, std::slice::from_ref(&act), false).free().end()?;
    control.reports(1)?;
    let result = wait_for(|| counts(&stage.counts).0 > 0)
        .map_err(|_| Failure::new("the control does not succeed"))
        .and_then(|()| end_hammer())
        .and_then(|()| Ok(fs::remove_file(&stage.counts)?))
        .and_then(|()| test(&stage, &act));
    end_hammer()?;
    fs::remove_dir(CGROUP)?;
    result
}

fn wait_for(mut holds: impl FnMut() -> bool) -> Result<(), Failure> {
    let start = Instant::now();
    while !holds() {
        ensure(start.elapsed() < Duration::from_secs(120), || "waited in vain".into())?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Ends the daemon, if it still runs.
fn end_hammer() -> Result<(), Failure> {
    if let Some(process) = process_called(HAMMER) {
        sys::kill(process, libc::SIGKILL)?;
    }
    wait_for(|| process_called(HAMMER).is_none())
}

/// The daemon must never have read, whether it is still there or not.
fn must_not_have_read(stage: &Stage) -> Result<(), Failure> {
    // Programs that are taken away are in force until the kernel has let go of them.
    let start = Instant::now();
    while start.elapsed() < PATIENCE && process_called(HAMMER).is_some() {
        thread::sleep(Duration::from_millis(20));
    }
    let (successes, refusals) = counts(&stage.counts);
    ensure(successes == 0, || {
        format!("the daemon read the secret {successes} times, after {refusals} refusals")
    })?;
    ensure(refusals > 0, || "the daemon was never refused: it did nothing".into())
}

fn after_the_end(context: &mut Context) -> Result<(), Failure> {
    with_cgroup(context, |stage, act| {
        let acts = [act.to_owned(), "run /bin/sleep 2".to_owned()];
        let run = Run::acts(context, &acts, false).policy(&stage.policy).start()?;
        move_daemon(stage)?;
        run.end()?.reports(2)?;
        must_not_have_read(stage)
    })
}

/// Moves the daemon to the other cgroup, once it has begun.
fn move_daemon(stage: &Stage) -> Result<(), Failure> {
    wait_for(|| counts(&stage.counts).1 > 0)?;
    let process = process_called(HAMMER).ok_or_else(|| Failure::new("there is no daemon"))?;
    Ok(fs::write(format!("{CGROUP}/cgroup.procs"), process.to_string())?)
}

/// Has a run killed and its cgroup emptied while the daemon goes on elsewhere.
fn kill_all_but_daemon(context: &Context, stage: &Stage, act: &str) -> Result<(), Failure> {
    let acts = [act.to_owned(), "run /bin/sleep 317".to_owned()];
    let run = Run::acts(context, &acts, false).policy(&stage.policy);
    let run = run.option("--name").option("left").start()?;
    move_daemon(stage)?;
    wait_for(|| process_called("sleep\x00317").is_some())?;
    sys::kill(run.process(), libc::SIGKILL)?;
    run.end()?;
    fs::write("/sys/fs/cgroup/ringfence/left/cgroup.kill", "1")?;
    wait_for(|| process_called("sleep\x00317").is_none())?;
    ensure(process_called(HAMMER).is_some(), || "the daemon is gone before its time".into())
}

fn after_a_kill(context: &mut Context) -> Result<(), Failure> {
    with_cgroup(context, |stage, act| {
        kill_all_but_daemon(context, stage, act)?;
        let ended = Run::new(context, ["/bin/true"]).policy(&stage.policy).end()?;
        ensure(ended.code() == 0, || ended.said())?;
        let result = must_not_have_read(stage);
        end_hammer()?;
        // What is left once the daemon is gone goes now at the latest.
        detach()?;
        result
    })
}

fn after_detach(context: &mut Context) -> Result<(), Failure> {
    with_cgroup(context, |stage, act| {
        kill_all_but_daemon(context, stage, act)?;
        detach()?;
        must_not_have_read(stage)
    })
}
