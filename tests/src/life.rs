//! A run from its start to its end: what is refused, what is recorded, and what is left.

use std::{
    fs,
    os::unix::fs::symlink,
    thread,
    time::{Duration, Instant},
};

use libc::{SIGINT, SIGTERM};
use serde_json::Value;

use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{Ended, Run, Running, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("the example for Sec0 refuses what it does not list, and says by which line", sec0),
    ("a policy that denies nothing lets everything through and records it", sec0_observing),
    ("the command's exit code is ringfence's", exit_codes),
    ("a daemon that the command leaves behind is ended", daemon),
    ("SIGTERM to ringfence reaches the command, and SIGINT leaves it its answer", signals),
    ("two runs under different policies do not disturb each other", two_runs),
    ("a name that is in use is refused", same_name),
    ("events are numbered without gaps and name the policy", event_fields),
];

const SCRIPT: &str = "echo ok > /tmp/sec0-a; cat /tmp/sec0-a; cat /etc/shadow; echo $?";
/// A word in the guest's /etc/shadow.
const SECRET: &str = "ringfence-shadow-marker";

fn shell(context: &Context, script: &str) -> Run {
    Run::new(context, ["/bin/sh", "-c", script])
}

fn example(context: &Context, script: &str) -> Run {
    shell(context, script).policy("/examples/sec0-coder.yaml".as_ref())
}

fn sec0(context: &mut Context) -> Result<(), Failure> {
    let control = shell(context, SCRIPT).free().end()?;
    ensure(control.stdout.contains(SECRET), || "the control reads nothing".into())?;
    let ended = example(context, SCRIPT).end()?;
    let fail = |reason: &str| Err(Failure::new(reason).with(ended.said()));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    if lines.first() != Some(&"ok") {
        return fail("the workspace cannot be used");
    }
    if ended.stdout.contains(SECRET) || !ended.stderr.contains("Permission denied") {
        return fail("/etc/shadow is not refused");
    }
    if lines.last().is_none_or(|code| *code == "0") {
        return fail("cat does not fail");
    }
    let is_shadow = |event: &&Value| event["object"]["path"] == "/etc/shadow";
    let Some(event) = ended.events.iter().find(is_shadow) else {
        return fail("no event is about /etc/shadow");
    };
    let text = fs::read_to_string("/examples/sec0-coder.yaml")?;
    let line = text.lines().position(|line| line.contains("fs_allowlist:")).unwrap_or(0) + 1;
    let rule = event["rule"].as_str().unwrap_or_default();
    for (field, expected) in [
        ("action", "read"),
        ("verdict", "deny"),
        ("reason", "fs_violation"),
        ("errno", "EACCES"),
        ("mode", "enforce"),
    ] {
        if event[field] != expected {
            return fail(&format!("the event's {field} is {}", event[field]));
        }
    }
    match rule.ends_with(&format!("sec0-coder.yaml:{line}")) {
        true => Ok(()),
        false => fail(&format!("the event's rule is {rule}, and not that of line {line}")),
    }
}

fn sec0_observing(context: &mut Context) -> Result<(), Failure> {
    let observe = "/examples/sec0-observe.yaml".as_ref();
    let ended = shell(context, SCRIPT).policy(observe).end()?;
    let fail = |reason: &str| Err(Failure::new(reason).with(ended.said()));
    if !ended.stdout.contains(SECRET) || ended.stdout.lines().last() != Some("0") {
        return fail("/etc/shadow is refused");
    }
    let is_shadow = |event: &&Value| event["object"]["path"] == "/etc/shadow";
    match ended.events.iter().find(is_shadow) {
        Some(event) if event["verdict"] == "observe" && event["reason"] == "fs_violation" => Ok(()),
        Some(event) => fail(&format!("the event is {event}")),
        None => fail("no event is about /etc/shadow"),
    }
}

fn exit_codes(context: &mut Context) -> Result<(), Failure> {
    let work = "/tmp/sec0-life";
    fs::create_dir_all(work)?;
    fs::write(format!("{work}/not-executable"), "text")?;
    symlink("/etc/no-such-program", format!("{work}/dangling"))?;
    let command = |words: &[&str]| {
        Run::new(context, words.iter().copied()).policy("/examples/sec0-coder.yaml".as_ref())
    };
    let expected = [
        (vec!["/tmp/elsewhere/true"], 126),
        (vec!["/bin/sh", "-c", "cat; exit 7"], 7),
        (vec!["/bin/sh", "-c", "kill -TERM $$"], 128 + SIGTERM),
        (vec!["/tmp/sec0-life/not-executable"], 126),
        (vec!["/sbin/no-such-program"], 127),
    ];
    // One that the policy does not let be executed.
    fs::create_dir_all("/tmp/elsewhere")?;
    fs::copy("/bin/true", "/tmp/elsewhere/true")?;
    // All at a time: a run spends much of its time waiting for the kernel.
    let mut runs = Vec::new();
    for (words, code) in &expected {
        runs.push((words, code, command(words).input("through\n").start()?));
    }
    let mut problems = Vec::new();
    for (words, code, run) in runs {
        let ended = run.end()?;
        let said = if *code == 7 { "through\n" } else { "" };
        if ended.code() != *code || ended.stdout != said {
            problems.push(format!("{words:?} should give {code}: {}", ended.said()));
        }
    }
    for folder in [work, "/tmp/elsewhere"] {
        fs::remove_dir_all(folder)?;
    }
    Failure::of_all(problems)
}

fn daemon(context: &mut Context) -> Result<(), Failure> {
    let script = "setsid sleep 311 </dev/null >/dev/null 2>&1 & \
                  (setsid sh -c 'sleep 311 & sleep 311' >/dev/null 2>&1 &) ; echo started";
    let ended = example(context, script).end()?;
    ensure(ended.stdout == "started\n", || ended.said())?;
    let running = process_called("sleep\x00311");
    ensure(running.is_none(), || "the daemon lives on".into())
}

/// A process whose command line has this text in it.
pub(crate) fn process_called(text: &str) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process = entry.file_name().to_string_lossy().parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(text).then_some(process)
    })
}

/// Starts a script that makes a file as its last act before it waits, and waits for the file.
fn start_until(context: &Context, script: &str, file: &str) -> Result<Running, Failure> {
    // Left over by a test before.
    let _ = fs::remove_file(file);
    let running = example(context, script).start()?;
    let start = Instant::now();
    while fs::symlink_metadata(file).is_err() {
        if start.elapsed() > Duration::from_secs(120) {
            sys::kill(running.process(), libc::SIGKILL)?;
            let ended = running.end()?;
            return Err(Failure::new("the script does not begin").with(ended.said()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    fs::remove_file(file)?;
    Ok(running)
}

fn signals(context: &mut Context) -> Result<(), Failure> {
    let script = "trap 'echo caught; exit 3' TERM; touch /tmp/sec0-up; \
                  while :; do sleep 0.05; done";
    let terminated = start_until(context, script, "/tmp/sec0-up")?;
    // From a terminal both get it. The command decides whether it ends.
    let script = "touch /tmp/sec0-up; i=0; while [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; \
                  exit 5";
    let interrupted = start_until(context, script, "/tmp/sec0-up")?;
    sys::kill(terminated.process(), SIGTERM)?;
    sys::kill(interrupted.process(), SIGINT)?;
    let (terminated, interrupted) = (terminated.end()?, interrupted.end()?);
    let was_caught = terminated.code() == 3 && terminated.stdout == "caught\n";
    ensure(was_caught, || terminated.said())?;
    ensure(interrupted.code() == 5, || interrupted.said())
}

fn reads(ended: &Ended) -> (bool, bool) {
    (ended.stdout.contains("one"), ended.stdout.contains("two"))
}

fn two_runs(context: &mut Context) -> Result<(), Failure> {
    let room = context.room.display().to_string();
    let mut runs = Vec::new();
    for word in ["one", "two"] {
        fs::write(context.room.join(word), format!("{word}\n"))?;
        let text = format!("boundary: 1\nfiles:\n  - {{ path: {room}/{word}, allow: [read] }}\n");
        let file = policy(context, &format!("{word}.yaml"), &text)?;
        let script =
            format!("sleep 0.5; cat {room}/one {room}/two; sleep 0.5; cat {room}/one {room}/two");
        let run = shell(context, &script).policy(&file);
        runs.push(run.option("--name").option(word).start()?);
    }
    let ended = runs.into_iter().map(Running::end).collect::<Result<Vec<_>, _>>()?;
    let said = || format!("{}\n{}", ended[0].said(), ended[1].said());
    ensure(reads(&ended[0]) == (true, false) && reads(&ended[1]) == (false, true), said)?;
    for (ended, other) in ended.iter().zip(["two", "one"]) {
        let path = format!("{room}/{other}");
        let all = ended.with_verdict("deny").iter().all(|event| event["object"]["path"] == *path);
        ensure(all && ended.with_verdict("deny").len() == 2, said)?;
    }
    Ok(())
}

fn same_name(context: &mut Context) -> Result<(), Failure> {
    let script = "touch /tmp/sec0-up; while [ ! -e /tmp/sec0-go ]; do sleep 0.05; done";
    let _ = fs::remove_file("/tmp/sec0-up");
    let named = |script: &str| example(context, script).option("--name").option("taken");
    let first = named(script).start()?;
    let start = Instant::now();
    while fs::symlink_metadata("/tmp/sec0-up").is_err() {
        ensure(start.elapsed() < Duration::from_secs(120), || "the first does not begin".into())?;
        thread::sleep(Duration::from_millis(5));
    }
    let second = named("echo started").end();
    fs::write("/tmp/sec0-go", "")?;
    let first = first.end()?;
    for file in ["/tmp/sec0-up", "/tmp/sec0-go"] {
        fs::remove_file(file)?;
    }
    let second = second?;
    ensure(first.code() == 0, || first.said())?;
    ensure(second.code() == 125 && second.stdout.is_empty(), || second.said())
}

fn event_fields(context: &mut Context) -> Result<(), Failure> {
    let script =
        "i=0; while [ $i -lt 200 ]; do : < /etc/shadow; i=$((i+1)); done 2>/dev/null; true";
    // A redirection that fails ends a POSIX shell; a brace group in a subshell does not.
    let script = script.replace(": < /etc/shadow", "( : < /etc/shadow )");
    let run = example(context, &script).option("--name").option("counted");
    let ended = run.end()?;
    let fail = |reason: String| Err(Failure::new(reason).with(ended.said()));
    if ended.events.len() != 200 {
        return fail(format!("there are {} events, and not 200", ended.events.len()));
    }
    let first = ended.events[0]["seq"].as_u64().unwrap_or(u64::MAX);
    for (expected, event) in (first..).zip(&ended.events) {
        if event["seq"] != expected {
            return fail(format!("after {} comes {}", expected - 1, event["seq"]));
        }
        let subject = &event["subject"];
        let has_subject = ["pid", "ppid", "uid"].iter().all(|name| subject[*name].is_u64());
        let is_named = event["scope"] == "counted" && subject["cgroup"] == "/ringfence/counted";
        let hash = event["policy"].as_str().is_some_and(|hash| hash.starts_with("sha256:"));
        let time = event["ts"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 30);
        let program = subject["exe"].as_str().is_some_and(|exe| exe.starts_with("/usr/bin/"));
        if !(has_subject && is_named && hash && time && program) {
            return fail(format!("the event is {event}"));
        }
    }
    Ok(())
}
