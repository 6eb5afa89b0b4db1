//! What `ringfence status` tells of the machine.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use libc::{SIGKILL, SIGTERM};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{Context, Failure, Test, ensure},
    kill::detach,
    ringfence::{PROGRAM, Run, Running, policy},
    sys,
};

/// Those beside others.
pub(crate) const TESTS: &[Test] = &[
    ("status tells of every scope in force, by whomever it was started", every_scope),
    ("status tells of processes where a scope's should be, without a scope", strays),
    ("status tells of programs of another version, and does not fail of them", other_version),
    ("status asks for root", not_root),
];

const ENFORCING: &str = "boundary: 1
files: [{ path: \"/**\", allow: [read, write] }, { path: \"/etc/shadow\", deny: [read] }]
exec: [{ path: \"/usr/**\", allow: true }, { path: {tool}, allow: true, sha256: {digest} }]
egress: []
";
const SPENDING: &str = "boundary: 1
files: [{ path: \"/**\", allow: [read, write] }, { path: \"/etc/shadow\", deny: [read] }]
budgets: { connections: 3 }
";
/// How long a command may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);

fn ask(options: &[&str]) -> Result<Output, Failure> {
    Ok(Command::new(PROGRAM).arg("status").args(options).output()?)
}

/// What is printed, if the exit code is 0.
fn told(options: &[&str]) -> Result<String, Failure> {
    let Output { status, stdout, stderr } = ask(options)?;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    match status.code() {
        Some(0) => Ok(text),
        code => {
            let said = String::from_utf8_lossy(&stderr).into_owned();
            Err(Failure::new(format!("the exit code of status is {code:?}")).with(said).with(text))
        }
    }
}

fn told_in_json() -> Result<Value, Failure> {
    let text = told(&["--format", "json"])?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("status is no JSON: {error}")).with(text))
}

/// Fails unless fields, each with its place, have these values.
fn expect(status: &Value, fields: &[(&str, Value)]) -> Result<(), Failure> {
    let wrong = fields.iter().filter_map(|(place, expected)| {
        let found = status.pointer(place).unwrap_or(&Value::Null);
        (found != expected).then(|| format!("{place} is {found}, and not {expected}"))
    });
    Failure::of_all(wrong.collect()).map_err(|failure| failure.with(status.to_string()))
}

pub(crate) fn without_scopes(_: &mut Context) -> Result<(), Failure> {
    expect(
        &told_in_json()?,
        &[("/scopes", json!([])), ("/strays", json!([])), ("/sets", json!([]))],
    )?;
    let text = told(&[])?;
    ensure(text == "No scopes are in force on this machine.\n", || text)
}

/// A scope whose command reads what it may not, and goes on until it is ended.
struct Held {
    run: Running,
    /// The command's process.
    command: u32,
}

impl Held {
    fn start(context: &Context, name: &str, text: &str, options: &[&str]) -> Result<Self, Failure> {
        let file = policy(context, &format!("{name}.yaml"), text)?;
        let begun = context.room.join(format!("{name}.pid"));
        let lines = ["read /etc/shadow".to_owned(), format!("hold-on {}", begun.display())];
        let run = Run::acts(context, &lines, true).policy(&file).option("--name").option(name);
        let run = options.iter().fold(run, |run, option| run.option(*option)).start()?;
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(&begun).unwrap_or_default();
            if let Some(command) = text.strip_suffix('\n').and_then(|text| text.parse().ok()) {
                return Ok(Self { run, command });
            }
            if start.elapsed() > PATIENCE {
                sys::kill(run.process(), SIGKILL)?;
                let said = run.end().map(|ended| ended.said()).unwrap_or_default();
                return Err(Failure::new(format!("{name} does not begin")).with(said));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The one of that name.
fn scope_called(status: &Value, name: &str) -> Result<Value, Failure> {
    let mut scopes = status["scopes"].as_array().into_iter().flatten();
    let found = scopes.find(|scope| scope["scope"] == name).cloned();
    found.ok_or_else(|| Failure::new(format!("{name} is not told")).with(status.to_string()))
}

fn every_scope(context: &mut Context) -> Result<(), Failure> {
    let tool = context.room.join("tool");
    fs::write(&tool, "a tool")?;
    let digest: String =
        Sha256::digest("a tool").iter().map(|byte| format!("{byte:02x}")).collect();
    let enforcing =
        ENFORCING.replace("{tool}", &tool.to_string_lossy()).replace("{digest}", &digest);
    let owned = Held::start(context, "told-owned", &enforcing, &[])?;
    let options = ["--mode", "observe"];
    let orphan = Held::start(context, "told-orphan", SPENDING, &options)?;
    sys::kill(orphan.run.process(), SIGKILL)?;
    let (owner, killed) = (owned.run.process(), orphan.run.process());
    orphan.run.end()?;
    // Moved out of its cgroup, it is governed as before.
    let root = "/sys/fs/cgroup/cgroup.procs";
    fs::write(root, orphan.command.to_string())?;

    let status = told_in_json()?;
    let text = told(&[])?;

    // Nothing that went wrong is to be left.
    sys::kill(owner, SIGTERM)?;
    let owned = owned.run.end()?;
    detach()?;

    let told_owned = scope_called(&status, "told-owned")?;
    let common = |name: &str| {
        let file = context.folder.join(format!("{name}.yaml")).display().to_string();
        [
            ("/cgroup", json!(format!("/ringfence/{name}"))),
            ("/policy_file", json!(file)),
            ("/policy_files", json!(1)),
            ("/state", json!("in_force")),
            ("/events_lost", json!(0)),
            ("/tables/addresses", json!({ "entries": 0, "capacity": 65_536 })),
            ("/tasks/processes", json!(1)),
        ]
    };
    expect(&told_owned, &common("told-owned"))?;
    expect(
        &told_owned,
        &[
            ("/mode", json!("enforce")),
            ("/policy", owned.events.first().map_or(json!(""), |event| event["policy"].clone())),
            ("/orphaned", json!(false)),
            ("/pid", json!(owner)),
            ("/tasks/outside", json!(0)),
            // One for the rule, and one for whoever asks for any.
            ("/tables/programs", json!({ "entries": 2, "capacity": 65_536 })),
            ("/missing", json!({ "count": 0, "pieces": [] })),
        ],
    )?;
    let has_ports = ["v4", "v6"].iter().all(|name| {
        told_owned["resolver"][*name].as_u64().is_some_and(|port| (1..1 << 16).contains(&port))
    });
    ensure(has_ports, || format!("its resolver is at {}", told_owned["resolver"]))?;
    let told_orphan = scope_called(&status, "told-orphan")?;
    expect(&told_orphan, &common("told-orphan"))?;
    expect(
        &told_orphan,
        &[
            ("/mode", json!("observe")),
            ("/orphaned", json!(true)),
            ("/pid", json!(killed)),
            ("/tasks/outside", json!(1)),
            ("/tables/programs", json!({ "entries": 0, "capacity": 65_536 })),
            ("/missing/count", json!(0)),
            (
                "/budgets",
                json!([{ "budget": "connections", "used": 0, "limit": 3, "used_ratio": 0.0 }]),
            ),
            ("/resolver", Value::Null),
        ],
    )?;
    let is_other = told_owned["policy"] != told_orphan["policy"];
    ensure(is_other, || "different policies have the same hash".into())?;
    for scope in [&told_owned, &told_orphan] {
        let since = scope["since"].as_str().unwrap_or_default();
        let is_time = since.len() == 30 && since.ends_with('Z') && scope["age_seconds"].is_u64();
        ensure(is_time, || scope.to_string())?;
    }
    check_set(&status)?;
    let line_of = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let is_told = line_of("told-owned").contains("enforce  in force")
        && line_of("told-orphan").contains("observe  orphaned")
        && line_of("keeper").contains("in force")
        && text.contains("told-orphan: its ringfence is gone.");
    ensure(is_told, || text)?;

    let after = told_in_json()?;
    let names = after["scopes"].as_array().into_iter().flatten().map(|scope| &scope["scope"]);
    let is_keeper_alone = names.eq([&json!("keeper")]);
    ensure(is_keeper_alone, || format!("after the end there is more: {after}"))
}

/// The set that the harness keeps loaded holds all three.
fn check_set(status: &Value) -> Result<(), Failure> {
    expect(
        status,
        &[
            ("/sets/0/this_build", json!(true)),
            ("/sets/0/image_bytes", json!(1 << 18)),
            ("/sets/0/parts", json!(["machine", "network"])),
            ("/sets/0/scopes", json!(3)),
            ("/sets/0/problem", Value::Null),
            ("/sets/1", Value::Null),
        ],
    )?;
    // Older kernels do not count it.
    let is_old = fs::read_to_string("/proc/sys/kernel/osrelease")?.starts_with("6.1.");
    let bytes = &status["memory_bytes"];
    let is_told = match bytes.as_u64() {
        // Three policies and three rings at the least.
        Some(bytes) => !is_old && bytes > 3 * ((1 << 18) + (1 << 20)),
        None => is_old && bytes.is_null(),
    };
    ensure(is_told, || format!("the maps take {bytes} bytes"))
}

fn strays(_: &mut Context) -> Result<(), Failure> {
    let folder = Path::new("/sys/fs/cgroup/ringfence/told-stray");
    fs::create_dir(folder)?;
    // Empty, it is only a folder.
    let empty = told_in_json();
    let mut process = Command::new("/bin/sleep").arg("600").spawn()?;
    let moved = fs::write(folder.join("cgroup.procs"), process.id().to_string());
    let (status, text) = (told_in_json(), told(&[]));
    process.kill()?;
    process.wait()?;
    fs::remove_dir(folder)?;
    moved?;
    expect(&empty?, &[("/strays", json!([]))])?;
    let stray = json!([{ "cgroup": "/ringfence/told-stray", "processes": 1 }]);
    expect(&status?, &[("/strays", stray)])?;
    let text = text?;
    ensure(text.contains("/ringfence/told-stray: NOT GOVERNED"), || text)
}

fn other_version(_: &mut Context) -> Result<(), Failure> {
    let folder = Path::new("/sys/fs/bpf/ringfence/0badc0de-1024k");
    fs::create_dir_all(folder.join("machine"))?;
    let status = told_in_json();
    let text = told(&[]);
    fs::remove_dir_all(folder)?;
    let status = status?;
    let is_it = |set: &&Value| set["set"] == "0badc0de-1024k";
    let set = status["sets"].as_array().into_iter().flatten().find(is_it);
    let set = set.ok_or_else(|| Failure::new("it is not told").with(status.to_string()))?;
    expect(
        set,
        &[
            ("/build", json!("0badc0de")),
            ("/this_build", json!(false)),
            ("/image_bytes", json!(1 << 20)),
            ("/parts", json!(["machine"])),
            ("/scopes", Value::Null),
        ],
    )?;
    ensure(set["problem"].is_string(), || set.to_string())?;
    // The others are told all the same.
    scope_called(&status, "keeper")?;
    let text = text?;
    ensure(text.contains("0badc0de-1024k: its scopes cannot be told"), || text)
}

fn not_root(_: &mut Context) -> Result<(), Failure> {
    let output = Command::new(PROGRAM).arg("status").uid(1000).gid(1000).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_sentence = said.lines().count() == 1 && said.contains("try `sudo ringfence status`");
    ensure(output.status.code() == Some(1) && is_sentence, || said)
}
