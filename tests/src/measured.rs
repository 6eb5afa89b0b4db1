//! What the baseline is measured with: programs that people use, each with its workspace, its home
//! and a folder for temporary files. All works, and not one act is refused.
//!
//! What is run is in `measured/`, a file a program. To see what a program touches, run it with
//! `ringfence run --mode observe`: a test that meets a refusal does so and lists it.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use ringfence_policy::baseline::MEASURED_WITH;

use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{Ended, Run, policy},
};

/// All of them, in the order of [`MEASURED_WITH`].
pub(crate) const TESTS: &[Test] = &[
    ("the programs that the baseline is said to be measured with are those here", list),
    ("git does its work without a refusal", |c| shell(c, GIT)),
    ("python3 does its work without a refusal", |c| python(c, PYTHON)),
    ("venv and pip do their work without a refusal", pip),
    ("curl does its work without a refusal", curl),
    ("gcc and make do their work without a refusal", |c| shell(c, GCC)),
    ("node does its work without a refusal", node),
    ("tar, gzip, xz and bzip2 do their work without a refusal", |c| shell(c, ARCHIVES)),
    ("rsync does its work without a refusal", |c| shell(c, RSYNC)),
    ("ssh-keygen does its work without a refusal", |c| shell(c, SSH_KEYGEN)),
    ("a shell and its pipelines do their work without a refusal", |c| shell(c, SHELL)),
    ("Python's multiprocessing works when /dev/shm is allowed, and not else", multiprocessing),
];

/// A sensible policy: what is the program's own, and nothing of the system besides the baseline.
const POLICY: &str = r#"boundary: 1
baseline: system
files:
  # The workspace, a home and a folder for temporary files (HOME, TMPDIR) are the program's own:
  # where they are, only a policy knows, and what /tmp holds belongs to others too.
  - { path: "{room}/{work,home,tmp}", allow: [read] }
  - { path: "{room}/{work,home,tmp}/**", allow: [read, write] }
exec:
  - { path: "/usr/{bin,sbin,libexec}/**", allow: true }
  # What is compiled or installed in the workspace is run there.
  - { path: "{room}/work/**", allow: true }
egress:
  # The server that curl is to reach.
  - { cidr: "127.0.0.1/32", ports: [8080, 8443], protocol: tcp }
  # getaddrinfo(3) connects a UDP socket to each address of a name, to put them in order, and
  # sends nothing. Here the name is localhost.
  - { cidr: "127.0.0.1/32", protocol: udp }
  - { cidr: "::1/128", protocol: udp }
"#;

/// pip lists the folder to find out what system it is on. It does without: the names there tell what
/// else is installed, and are not needed by every program.
const LIST_ETC: &str = r#"
  - { path: "/etc", allow: [read] }
exec:
"#;

/// Shared memory has one folder for all programs of the machine, so that it is no baseline's.
const SHARED_MEMORY: &str = r#"
  - { path: "/dev/shm", allow: [read] }
  - { path: "/dev/shm/**", allow: [read, write] }
exec:
"#;

const GIT: &str = include_str!("measured/git.sh");
const PYTHON: &str = include_str!("measured/python.py");
const VENV: &str = include_str!("measured/venv.sh");
const CURL: &str = include_str!("measured/curl.sh");
const GCC: &str = include_str!("measured/gcc.sh");
const NODE: &str = include_str!("measured/node.js");
const ARCHIVES: &str = include_str!("measured/archives.sh");
const RSYNC: &str = include_str!("measured/rsync.sh");
const SSH_KEYGEN: &str = include_str!("measured/ssh-keygen.sh");
const SHELL: &str = include_str!("measured/shell.sh");
const SCRIPTS: &[&str] = &[GIT, PYTHON, VENV, CURL, GCC, NODE, ARCHIVES, RSYNC, SSH_KEYGEN, SHELL];

/// The first line of each script names what it is for.
fn list(_: &mut Context) -> Result<(), Failure> {
    // These run their scripts.
    const INTERPRETERS: [&str; 3] = ["bash", "python3", "node"];
    let mut ran = BTreeSet::new();
    for script in SCRIPTS {
        let (first, rest) = script.split_once('\n').unwrap_or_default();
        let (_, programs) = first.split_once(" Measured: ").unwrap_or_default();
        for program in programs.split(' ') {
            ensure(rest.contains(program) || INTERPRETERS.contains(&program), || {
                format!("a script for {program:?} does not run it")
            })?;
            ran.insert(program);
        }
    }
    let said: BTreeSet<&str> = MEASURED_WITH.iter().copied().collect();
    ensure(ran == said, || format!("{said:?} are said to be measured, and {ran:?} are"))
}

fn shell(context: &mut Context, script: &str) -> Result<(), Failure> {
    must_work(context, POLICY, "script.sh", script, &["/usr/bin/bash", "script.sh"])
}

fn pip(context: &mut Context) -> Result<(), Failure> {
    let text = POLICY.replace("\nexec:\n", LIST_ETC);
    must_work(context, &text, "script.sh", VENV, &["/usr/bin/bash", "script.sh"])
}

fn python(context: &mut Context, script: &str) -> Result<(), Failure> {
    must_work(context, POLICY, "script.py", script, &["/usr/bin/python3", "script.py"])
}

fn node(context: &mut Context) -> Result<(), Failure> {
    must_work(context, POLICY, "script.js", NODE, &["/usr/bin/node", "script.js"])
}

/// Works in the workspace; must end well, and meet no refusal.
fn must_work(
    context: &Context,
    text: &str,
    name: &str,
    script: &str,
    command: &[&str],
) -> Result<(), Failure> {
    let ended = run(context, text, name, script, command, false)?;
    let refused = paths(&ended, "deny");
    if ended.code() == 0 && refused.is_empty() {
        return Ok(());
    }
    let said = format!("exit code {}\n{}{}", ended.code(), ended.stdout, ended.stderr);
    let mut failure = Failure::new("it does not end well, or something was refused").with(said);
    // What else it would be refused, were it let through.
    let observed = run(context, text, name, script, command, true)?;
    failure = failure.with(format!("exit code when observed: {}", observed.code()));
    failure = failure.with(observed.stderr.clone());
    for verdict in ["deny", "observe"] {
        for line in paths(&observed, verdict).union(&paths(&ended, verdict)) {
            failure = failure.with(format!("{verdict}: {line}"));
        }
    }
    Err(failure)
}

/// Runs it in folders that are made anew.
fn run(
    context: &Context,
    text: &str,
    name: &str,
    script: &str,
    command: &[&str],
    observed: bool,
) -> Result<Ended, Failure> {
    let text = text.replace("{room}", &context.room.to_string_lossy());
    let file = policy(context, "policy.yaml", &text)?;
    for folder in ["work", "home", "tmp"].map(|folder| context.room.join(folder)) {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
    }
    let work = context.room.join("work");
    let script = match name.strip_suffix(".sh") {
        Some(_) => format!("set -eE; trap 'echo \"line $LINENO fails\" >&2' ERR\n{script}"),
        None => script.to_owned(),
    };
    fs::write(work.join(name), script)?;
    let started = format!(
        "cd {0}/work && export HOME={0}/home TMPDIR={0}/tmp && exec \"$@\"",
        context.room.display()
    );
    let words = [&["/usr/bin/bash", "-c", &started, "bash"], command].concat();
    let run = Run::new(context, words).policy(&file);
    if observed { run.observing().end() } else { run.end() }
}

/// What was refused, each once.
fn paths(ended: &Ended, verdict: &str) -> BTreeSet<String> {
    let line = |event: &&serde_json::Value| {
        format!("{} {} {}", event["action"], event["object"], event["reason"])
    };
    ended.with_verdict(verdict).iter().map(line).collect()
}

/// A server outside of the boundary.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It fails when the server has ended: nothing to do then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn curl(context: &mut Context) -> Result<(), Failure> {
    let folder = context.folder.join("served");
    fs::create_dir(&folder)?;
    fs::write(folder.join("file"), "served")?;
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(&folder)
        .output()?;
    ensure(made.status.success(), || String::from_utf8_lossy(&made.stderr).into_owned())?;
    let mut server = Command::new("/usr/bin/python3");
    server.args(["-c", include_str!("measured/server.py")]).current_dir(&folder);
    let mut server = Server(server.spawn()?);
    let start = Instant::now();
    while !folder.join("serving").exists() && start.elapsed() < Duration::from_secs(240) {
        ensure(server.0.try_wait()?.is_none(), || "the server does not start".into())?;
        thread::sleep(Duration::from_millis(20));
    }
    let certificate = fs::read_to_string(folder.join("certificate.pem"))?;
    let script = format!("cat > certificate.pem <<END\n{certificate}END\n{CURL}");
    shell(context, &script)
}

fn multiprocessing(context: &mut Context) -> Result<(), Failure> {
    let script = include_str!("measured/processes.py");
    let (name, command) = ("script.py", ["/usr/bin/python3", "script.py"]);
    let shared = POLICY.replace("\nexec:\n", SHARED_MEMORY);
    must_work(context, &shared, name, script, &command)?;
    let ended = run(context, POLICY, name, script, &command, false)?;
    let refused = paths(&ended, "deny");
    ensure(ended.code() != 0 && refused.iter().any(|line| line.contains("/dev/shm")), || {
        format!("without /dev/shm it ends with {}, refused: {refused:?}", ended.code())
    })
}
