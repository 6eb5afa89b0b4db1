//! `ringfence run` where systemd starts it: as a service, and in the session of a user.

use std::{fs, path::Path, process::Command, thread, time::Instant};

use super::{
    PACE, PATIENCE,
    unit::{Unit, said, systemctl},
};
use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{PROGRAM, policy},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("a service of systemd runs a command within a boundary", as_service),
    ("a service that is stopped takes its scope with it", stopped),
    ("a session of a user runs a command within a boundary", in_session),
];

/// What every command here may do.
const POLICY: &str = "boundary: 1\nfiles: [{ path: \"/srv/allowed\", allow: [read] }]\n";
/// Reads what is allowed, and what is not.
const SCRIPT: &str = "cat /srv/allowed; cat /etc/shadow; echo code $?";
/// What it prints when nothing governs it, and when ringfence does.
const FREE: &str = "allowed\nroot:ringfence-shadow-marker:19000:0:99999:7:::\ncode 0\n";
const GOVERNED: &str = "allowed\ncode 1\n";

/// What comes before a command that is to be governed.
fn boundary(context: &Context, name: &str) -> Result<Vec<String>, Failure> {
    fs::write("/srv/allowed", "allowed\n")?;
    let policy = policy(context, "policy.yaml", POLICY)?.to_string_lossy().into_owned();
    let words = [PROGRAM, "run", "--name", name, "--policy", &policy, "--"];
    Ok(words.map(str::to_owned).to_vec())
}

/// A service that runs a script in a shell, after the words of `boundary`, and writes what it
/// prints to `to`.
fn service(boundary: &[String], script: &str, to: &Path) -> Result<Unit, Failure> {
    // A `$` of the script is for the shell that runs it.
    let script = script.replace('$', "$$");
    let text = format!(
        "[Service]\nExecStart={} /bin/sh -c \"{script}\"\n\
         StandardOutput=truncate:{}\nStandardError=journal\n",
        boundary.join(" "),
        to.display()
    );
    Unit::write("ringfence-test.service", &text)
}

fn as_service(context: &mut Context) -> Result<(), Failure> {
    let printed = context.folder.join("printed");
    for (boundary, expected) in [(Vec::new(), FREE), (boundary(context, "in-service")?, GOVERNED)] {
        let unit = service(&boundary, SCRIPT, &printed)?;
        unit.start()?;
        let code = unit.end()?;
        let text = fs::read_to_string(&printed)?;
        if code != 0 || text != expected {
            let failure = Failure::new(format!("{boundary:?}: {code}, {text:?}"));
            return Err(failure.with(unit.journal()?));
        }
    }
    Ok(())
}

fn stopped(context: &mut Context) -> Result<(), Failure> {
    let printed = context.folder.join("printed");
    let boundary = boundary(context, "stopped")?;
    let unit = service(&boundary, "echo started; sleep 100000", &printed)?;
    unit.start()?;
    let processes = Path::new("/sys/fs/cgroup/ringfence/stopped/cgroup.procs");
    let start = Instant::now();
    while fs::read_to_string(&printed).unwrap_or_default() != "started\n" {
        if start.elapsed() > PATIENCE {
            return Err(Failure::new("it does not start").with(unit.journal()?));
        }
        thread::sleep(PACE);
    }
    let inside = fs::read_to_string(processes)?;
    ensure(!inside.is_empty(), || "the scope has no processes".into())?;
    unit.stop()?;
    for process in inside.split_whitespace() {
        let is_there = Path::new("/proc").join(process).exists();
        ensure(!is_there, || format!("{process} is there still"))?;
    }
    ensure(!processes.exists(), || "the scope is there still".into())
}

fn in_session(context: &mut Context) -> Result<(), Failure> {
    systemctl(&["start", "user@0.service"])?;
    let governed = boundary(context, "in-session")?;
    let result =
        [(Vec::new(), FREE), (governed, GOVERNED)].iter().try_for_each(|(boundary, expected)| {
            let text = by_user_manager(boundary)?;
            ensure(text == *expected, || format!("{boundary:?}: {text:?}"))
        });
    systemctl(&["stop", "user@0.service"])?;
    result
}

/// Runs the script as the manager of root's session does, and gives what it printed.
fn by_user_manager(boundary: &[String]) -> Result<String, Failure> {
    let mut run = Command::new("systemd-run");
    run.env("XDG_RUNTIME_DIR", "/run/user/0");
    run.args(["--user", "--wait", "--pipe", "--quiet", "--expand-environment=no"]);
    said(run.args(boundary).args(["/bin/sh", "-c", SCRIPT]))
}
