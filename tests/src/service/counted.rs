//! Budgets of the agent's scopes: counted whoever is there to see, and by the policy in force.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    SELECTORS,
    agent::{Agent, Group},
    inside, must_be,
};
use crate::{
    harness::{Context, Failure, ensure},
    ringfence::{ACTOR, PROGRAM},
};

/// A policy that has these budgets and nothing else.
fn policy(budgets: &str) -> String {
    format!("boundary: 1\nbudgets: {{ {budgets} }}\n")
}

/// Puts another policy in force.
fn reload(agent: &Agent, policy: &str) -> Result<(), Failure> {
    agent.write_policy(policy)?;
    let reloaded = agent.reload()?;
    let said = || String::from_utf8_lossy(&reloaded.stdout).into_owned();
    ensure(reloaded.status.success(), said)
}

/// What `ringfence status` says is used of a budget.
fn used(budget: &str) -> Result<Option<u64>, Failure> {
    let status = Command::new(PROGRAM).args(["status", "--format", "json"]).output()?;
    let status: Value = serde_json::from_slice(&status.stdout)
        .map_err(|error| Failure::new(format!("status is no JSON: {error}")))?;
    let of = |list: &Value, key: &str, value: &str| {
        let all = list.as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one[key] == value).unwrap_or_default()
    };
    let scope = of(&status["scopes"], "scope", "tested");
    Ok(of(&scope["budgets"], "budget", budget)["used"].as_u64())
}

fn must_have_used(budget: &str, wanted: Option<u64>) -> Result<(), Failure> {
    let found = used(budget)?;
    ensure(found == wanted, || format!("{found:?} of {budget} is used, and not {wanted:?}"))
}

/// Whether what counts for budgets is in the kernel.
fn is_loaded(part: &str) -> bool {
    sets().iter().any(|set| set.join(part).exists())
}

/// Tries four connections, each by a thread of its own.
fn connect(group: &Group, port: u16) -> Result<String, Failure> {
    inside(group, &format!("{ACTOR} spend connect {port} 1"))
}

/// The budget is that of all groups together, and nobody who is killed takes it along.
pub(super) fn counted(context: &mut Context) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || listener.incoming().for_each(drop));
    let one = Group::make("/rf-service/one")?;
    let other = Group::make("/rf-service/other")?;
    must_be("ungoverned", &connect(&one, port)?, "4\n")?;
    let of = |limit: u32| policy(&format!("connections: {limit}"));
    let mut agent = Agent::prepare(context, SELECTORS, &of(7))?;
    agent.start()?;
    must_be("one group", &connect(&one, port)?, "4\n")?;
    agent.kill()?;
    must_be("another, without an agent", &connect(&other, port)?, "3\n")?;
    agent.start()?;
    must_be("the next agent", &connect(&one, port)?, "0\n")?;
    must_have_used("connections", Some(7))?;
    reload(&agent, &of(9))?;
    must_be("with a higher limit", &connect(&other, port)?, "2\n")?;
    reload(&agent, &of(5))?;
    must_be("with a lower limit", &connect(&one, port)?, "0\n")?;
    reload(&agent, &of(10))?;
    must_be("with one more", &connect(&one, port)?, "1\n")?;
    reload(&agent, &policy(""))?;
    must_be("without a budget", &connect(&one, port)?, "4\n")?;
    must_have_used("connections", None)?;
    reload(&agent, &of(3))?;
    must_be("with a new budget", &connect(&one, port)?, "3\n")?;
    let is_mark = |event: &Value, limit: u32| {
        event["action"] == "budget" && event["object"]["limit"] == limit
    };
    for limit in [7, 9, 10, 3] {
        let is_whole = |event: &Value| is_mark(event, limit) && event["object"]["used"] == limit;
        agent.wait_for(&format!("the limit of {limit}"), is_whole)?;
    }
    agent.stop()?;
    let before = sets();
    agent.write_policy(&format!("{}{}", of(6), many_rules()))?;
    agent.start()?;
    ensure(sets() != before, || "the policy needs no set of its own".into())?;
    must_be("in another set", &connect(&other, port)?, "3\n")?;
    must_have_used("connections", Some(6))?;
    agent.stop()?;
    agent.must_be_exact()
}

/// Rules that need a set with more room.
fn many_rules() -> String {
    // Of names that have little in common.
    let rule = |number: u64| {
        let (one, other) = (number * 104_729, number * 1_299_709);
        format!("  - {{ path: \"/{number}/{one}/{other}\", deny: [read] }}\n")
    };
    let many: String = (1..2000).map(rule).collect();
    format!("files:\n  - {{ path: \"/**\", allow: [read, write] }}\n{many}")
}

/// The sets that are loaded.
fn sets() -> Vec<PathBuf> {
    let entries = fs::read_dir("/sys/fs/bpf/ringfence").into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}

/// Waits until so many processes are counted: one that has ended gives its place back a little
/// later than its parent learns of it.
fn until_processes(count: u64) -> Result<(), Failure> {
    let start = Instant::now();
    while used("processes")? != Some(count) && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(50));
    }
    must_have_used("processes", Some(count))
}

fn sleeper(group: &Group) -> Result<Child, Failure> {
    let child = Command::new("/bin/sleep").arg("1000").spawn()?;
    group.take(child.id())?;
    Ok(child)
}

/// Processes that were there before their budget count, and what counts them goes with it.
pub(super) fn processes(context: &mut Context) -> Result<(), Failure> {
    let group = Group::make("/rf-service/many")?;
    // One process with four threads, and its children.
    let fork = format!("exec {ACTOR} spend fork 10");
    must_be("ungoverned", &inside(&group, &fork)?, "40\n")?;
    let mut early = sleeper(&group)?;
    let mut agent = Agent::prepare(context, SELECTORS, &policy(""))?;
    agent.start()?;
    let mut late = sleeper(&group)?;
    must_be("without a budget", &inside(&group, &fork)?, "40\n")?;
    ensure(!is_loaded("processes"), || "what counts is loaded without a budget".into())?;
    reload(&agent, &policy("processes: 20"))?;
    ensure(is_loaded("processes"), || "what counts is not loaded".into())?;
    until_processes(2)?;
    must_be("with a budget", &inside(&group, &fork)?, "13\n")?;
    until_processes(2)?;
    agent.kill()?;
    must_be("without an agent", &inside(&group, &fork)?, "13\n")?;
    early.kill()?;
    early.wait()?;
    agent.start()?;
    until_processes(1)?;
    must_be("the next agent", &inside(&group, &fork)?, "14\n")?;
    until_processes(1)?;
    reload(&agent, &policy("processes: 30"))?;
    must_be("with a higher limit", &inside(&group, &fork)?, "24\n")?;
    reload(&agent, &policy(""))?;
    ensure(!is_loaded("processes"), || "what counts is still loaded".into())?;
    let mut uncounted = sleeper(&group)?;
    reload(&agent, &policy("processes: 20"))?;
    until_processes(2)?;
    late.kill()?;
    late.wait()?;
    uncounted.kill()?;
    uncounted.wait()?;
    until_processes(0)?;
    must_be("with a new budget", &inside(&group, &fork)?, "15\n")?;
    agent.stop()?;
    agent.must_be_exact()
}

/// A shell in a group that opens files by itself, one for each line.
struct Reader(Child, ChildStdin, BufReader<ChildStdout>);

impl Reader {
    fn start(group: &Group) -> Result<Self, Failure> {
        let script = "while read file; do
            if { read line < $file; } 2>/dev/null; then echo read; else echo refused; fi
        done";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        group.take(child.id())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).ok_or_else(|| Failure::new("no pipes"))?;
        Ok(Self(child, stdin, BufReader::new(stdout)))
    }

    fn read(&mut self, file: &Path) -> Result<String, Failure> {
        writeln!(self.1, "{}", file.display())?;
        let mut line = String::new();
        self.2.read_line(&mut line)?;
        Ok(line)
    }
}

/// What a process was allowed before, it is asked about anew, and counts.
pub(super) fn anew(context: &mut Context) -> Result<(), Failure> {
    for name in ["first", "second", "third"] {
        fs::write(context.room.join(name), "something\n")?;
    }
    let room = context.room.clone();
    let free = "boundary: 1\nfiles:\n  - { path: \"/**\", allow: [read, write] }\n";
    let mut agent = Agent::prepare(context, SELECTORS, free)?;
    agent.start()?;
    let group = Group::make("/rf-service/reading")?;
    let mut reader = Reader::start(&group)?;
    let mut tries = |what: &str, wanted: [&str; 3]| {
        for (name, wanted) in ["first", "second", "third"].into_iter().zip(wanted) {
            // Twice, so that what is remembered is asked for.
            for _ in 0..2 {
                let said = reader.read(&room.join(name))?;
                must_be(&format!("{what}, {name}"), &said, &format!("{wanted}\n"))?;
            }
        }
        Ok::<_, Failure>(())
    };
    tries("at first", ["read", "read", "read"])?;
    let second = room.join("second").display().to_string();
    reload(&agent, &format!("{free}  - {{ path: \"{second}\", deny: [read] }}\n"))?;
    tries("refused", ["read", "refused", "read"])?;
    reload(&agent, free)?;
    tries("free again", ["read", "read", "read"])?;
    reload(&agent, &format!("{free}budgets: {{ files_touched: 2 }}\n"))?;
    tries("with a budget", ["read", "read", "refused"])?;
    must_have_used("files_touched", Some(2))?;
    reload(&agent, free)?;
    reload(&agent, &format!("{free}budgets: {{ files_touched: 1 }}\n"))?;
    tries("with a new budget", ["read", "refused", "refused"])?;
    let Reader(mut child, stdin, _) = reader;
    drop(stdin);
    child.wait()?;
    agent.stop()?;
    agent.must_be_exact()
}
