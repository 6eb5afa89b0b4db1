//! Programs by content: executed only while they have it, and changed by nobody who is governed.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use libc::EACCES;
use sha2::{Digest as _, Sha256};

use crate::{
    act::Outcome,
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test},
    ringfence::{Run, policy},
};

/// Changes something in the folder of a case.
type Change = fn(&Path) -> Result<(), Failure>;

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("a program with a digest runs, and nobody who is governed changes it", governed),
    ("a program that is changed from outside runs no more", changed_outside),
    ("a changed program is let through and recorded in observe mode", observed),
    ("a run does not start with a program that is not the one named", not_started),
];

/// What every case has: a program and a script with digests, a second name of the program, and a
/// folder from which anything is executed.
fn prepare(base: &Path) -> std::io::Result<()> {
    for folder in ["pinned", "work"] {
        fs::create_dir_all(base.join(folder))?;
        fs::copy("/usr/bin/true", base.join(folder).join("tool"))?;
    }
    fs::hard_link(base.join("pinned/tool"), base.join("work/alias"))?;
    let script = base.join("pinned/script");
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
}

const SCRIPT: &str = "#!/bin/sh\nexit 0\n";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A policy that names the content of the programs in the folders of so many cases.
fn policy_of(cases: usize) -> Result<String, Failure> {
    let (tool, script) = (sha256(&fs::read("/usr/bin/true")?), sha256(SCRIPT.as_bytes()));
    let mut text = "boundary: 1\nbaseline: programs\nfiles:\n  \
                    - { path: \"{room}/**\", allow: [read, write] }\nexec:\n  \
                    - { path: \"{room}/*/work/**\", allow: true }\n"
        .to_owned();
    for number in 0..cases {
        for (name, digest) in [("tool", &tool), ("script", &script)] {
            text += &format!(
                "  - {{ path: \"{{room}}/case{number}/pinned/{name}\", allow: true, sha256: \
                 \"{digest}\" }}\n"
            );
        }
    }
    Ok(text)
}

fn changed(act: &str, action: &'static str) -> Case {
    refused(act, EACCES, action, "tool_code_changed", By::Any)
}

fn governed(context: &mut Context) -> Result<(), Failure> {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    let cases = [
        works("run {base}/pinned/tool"),
        works("run {base}/pinned/script"),
        works("run-descriptor {base}/pinned/tool"),
        works(format!("run {LOADER} {{base}}/pinned/tool")),
        works("map-executable {base}/pinned/tool"),
        works("make-executable {base}/pinned/tool"),
        works("run {work}/tool"),
        works("open-read {base}/pinned/tool"),
        // By another name it is another rule's, which names no content.
        works("run {work}/alias"),
        changed("open-write {base}/pinned/tool", "write"),
        changed("open-write {work}/alias", "write"),
        changed("truncate {work}/alias", "write"),
        changed("run-after-replacing {base}/pinned/tool {work}/tool", "exec"),
        changed("run-after-replacing {base}/pinned/script {work}/tool", "exec"),
        // To the one program the content of the other is as good as any.
        changed("run-after-replacing {base}/pinned/script {base}/pinned/tool", "exec"),
        refused(
            "rename {base}/pinned/tool {work}/other",
            EACCES,
            "rename",
            "rights_widened",
            By::Any,
        ),
    ];
    let text = policy_of(cases.len())?;
    Attack { policy: &text, prepare, observe: false }.run(context, &cases)
}

/// Prepares the folder of one case, and gives it with a policy for it.
fn one(context: &Context) -> Result<(PathBuf, PathBuf), Failure> {
    let base = context.room.join("case0");
    if base.exists() {
        fs::remove_dir_all(&base)?;
    }
    prepare(&base)?;
    let text = policy_of(1)?.replace("{room}", &context.room.to_string_lossy());
    Ok((base, policy(context, "content.yaml", &text)?))
}

/// Appends a byte, which no program minds.
fn append(path: &Path) -> Result<(), Failure> {
    Ok(File::options().append(true).open(path)?.write_all(b"\n")?)
}

/// Runs, changes the program while it runs, and runs again; gives both outcomes and the reasons
/// of what is recorded.
fn while_running(
    context: &Context,
    is_free: bool,
    act: &str,
    change: Change,
) -> Result<(Vec<Outcome>, Vec<String>), Failure> {
    let (base, policy) = one(context)?;
    let path = |name: &str| base.join(name).display().to_string();
    let tool = path("pinned/tool");
    let (ready, go) = (path("work/ready"), path("work/go"));
    let lines = [format!("run {tool}"), format!("{act} {tool} {ready} {go}")];
    let run = Run::acts(context, &lines, false);
    let running = if is_free { run.free() } else { run.policy(&policy) }.start()?;
    for _ in 0..6000 {
        if Path::new(&ready).exists() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    change(&base)?;
    fs::write(&go, "")?;
    let ended = running.end()?;
    let outcomes = ended.reports(2)?.into_iter().map(|report| report.outcome).collect();
    let reason = |event: &serde_json::Value| event["reason"].as_str().unwrap_or("").to_owned();
    Ok((outcomes, ended.with_verdict("deny").into_iter().map(reason).collect()))
}

fn changed_outside(context: &mut Context) -> Result<(), Failure> {
    let changes: [(&str, Change); 4] = [
        ("written", |base| append(&base.join("pinned/tool"))),
        ("written by another name", |base| append(&base.join("work/alias"))),
        ("replaced", |base| Ok(fs::rename(base.join("work/tool"), base.join("pinned/tool"))?)),
        ("written and put back", |base| {
            let tool = base.join("pinned/tool");
            let content = fs::read(&tool)?;
            append(&tool)?;
            Ok(fs::write(&tool, content)?)
        }),
    ];
    let mut problems = Vec::new();
    for (name, change) in changes {
        let done = Outcome::Done(String::new());
        let (outcomes, _) = while_running(context, true, "run-when-told", change)?;
        if outcomes != [done.clone(), done.clone()] {
            problems.push(format!("{name}: proves nothing: without ringfence {outcomes:?}"));
        }
        let (outcomes, reasons) = while_running(context, false, "run-when-told", change)?;
        let expected = [done, Outcome::Errno(EACCES)];
        if outcomes != expected || reasons != ["tool_code_changed"] {
            problems.push(format!("{name}: {outcomes:?} {reasons:?}"));
        }
    }
    Failure::of_all(problems)
}

fn observed(context: &mut Context) -> Result<(), Failure> {
    let (base, policy) = one(context)?;
    let path = |name: &str| base.join(name).display().to_string();
    let tool = path("pinned/tool");
    let lines =
        [format!("open-write {tool}"), format!("run-after-replacing {tool} {}", path("work/tool"))];
    let ended = Run::acts(context, &lines, false).policy(&policy).observing().end()?;
    let is_done = ended.reports(2)?.iter().all(|report| matches!(report.outcome, Outcome::Done(_)));
    let seen = |action: &str| {
        let events = ended.with_verdict("observe");
        events
            .iter()
            .any(|event| event["action"] == action && event["reason"] == "tool_code_changed")
    };
    if is_done && seen("write") && seen("exec") {
        return Ok(());
    }
    Err(Failure::new("the change is not let through and recorded").with(ended.said()))
}

fn not_started(context: &mut Context) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let mut start =
        |name: &str, expected: &[&str], change: &dyn Fn(&Path) -> Result<Option<File>, Failure>| {
            let (base, policy) = one(context)?;
            let _open = change(&base)?;
            let ended = Run::new(context, ["/usr/bin/true"]).policy(&policy).end()?;
            let is_told = expected.iter().all(|text| ended.stderr.contains(text));
            if ended.code() != 125 || !is_told {
                problems.push(format!("{name}: {}", ended.said()));
            }
            Ok::<(), Failure>(())
        };
    let mut appended = fs::read("/usr/bin/true")?;
    let is = sha256(&appended);
    appended.push(b'\n');
    let found = sha256(&appended);
    start("changed", &["content.yaml:7", "pinned/tool", &found, &is], &|base| {
        append(&base.join("pinned/tool")).map(|()| None)
    })?;
    start("a symbolic link", &["is a symbolic link"], &|base| {
        fs::rename(base.join("pinned/tool"), base.join("work/real"))?;
        std::os::unix::fs::symlink("../work/real", base.join("pinned/tool"))?;
        Ok(None)
    })?;
    start("open for writing", &["is open for writing"], &|base| {
        Ok(Some(File::options().write(true).open(base.join("pinned/tool"))?))
    })?;
    Failure::of_all(problems)
}
