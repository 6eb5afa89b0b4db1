//! The long-running agent: what comes under its scopes, when, and for how long.

mod agent;
mod attacked;
mod counted;
pub(crate) mod inside;
mod intruding;
mod pods;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use agent::{Agent, Group};
use serde_json::{Value, json};

use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::PROGRAM,
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("a process is governed however it comes into a control group of a scope", ways_in),
    ("a new control group is governed while no agent runs, and has no network", without_agent),
    ("what was open before is told, and a connection that is refused is ended", held),
    ("root of a scope can do nothing to the agent", attacked::attacked),
    ("in observe mode too nobody who is governed changes the agent's files", attacked::observed),
    ("an agent starts and reloads while a scope has every watch there is", attacked::starved),
    ("who sets a container up is governed from the program that it executes", set_up),
    ("names are looked up in containers that have networks of their own", inside::names),
    ("a network without a resolver has its questions refused, until it has one", inside::nowhere),
    ("names are looked up in a control group below another that is governed", inside::below),
    ("a program that selects a scope is governed from when it is executed", by_program),
    ("a policy that is replaced holds from one act to the next, a bad one changes nothing", reload),
    (
        "a container is governed by its pod's labels, its name, and what the pod chooses",
        pods::selected,
    ),
    ("a container whose pod is not known starts nothing until it is known", pods::held),
    ("a container that may start before its pod is known is governed once it is", pods::allowed),
    ("budgets of the agent's scopes are counted through kills and reloads", counted::counted),
    ("processes are counted from the reload that brings their budget", counted::processes),
    ("what a process was allowed is asked anew under another policy", counted::anew),
    ("a container that executes its runtime from its own root is governed", intruding::runtime),
    ("a program in another root selects no scope by its path", intruding::same_path),
    ("who executes something while coming under a scope is governed", intruding::executing),
    ("what no hook told of is governed from the next program that it executes", intruding::untold),
    ("a program that was replaced keeps no policy from coming into force", intruding::replaced),
    ("what the agent governed goes on when it ends, and is free after detach", end),
];

const SELECTORS: &str = "      - cgroup: \"/rf-service/*\"\n";

fn policy(context: &Context, more: &str) -> String {
    format!(
        "boundary: 1\nfiles:\n  - {{ path: \"/**\", allow: [read, write] }}\n  \
         - {{ path: \"{}/secret*\", deny: [read] }}\n{more}",
        context.room.display()
    )
}

/// A script that says whether the secret can be read, and that something else can.
fn script(context: &Context) -> Result<String, Failure> {
    let room = context.room.display();
    fs::write(context.room.join("secret"), "something\n")?;
    fs::write(context.room.join("open"), "fine\n")?;
    Ok(format!("cat {room}/secret >/dev/null 2>&1 && echo read || echo refused; cat {room}/open"))
}

const REFUSED: &str = "refused\nfine\n";
const READ: &str = "read\nfine\n";

/// What a shell says that moves itself into a group first.
fn inside(group: &Group, script: &str) -> Result<String, Failure> {
    let line = format!("echo $$ > {}; {script}", group.entrance().display());
    let output = Command::new("/bin/sh").args(["-c", &line]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn must_be(what: &str, said: &str, wanted: &str) -> Result<(), Failure> {
    ensure(said == wanted, || format!("{what}: {said:?}, and not {wanted:?}"))
}

/// A shell that waits for a line, says what `script` does, and ends.
struct Waiting(std::process::Child);

impl Waiting {
    fn start(script: &str) -> Result<Self, Failure> {
        let line = format!("read go; {script}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    fn go(mut self) -> Result<String, Failure> {
        if let Some(mut stdin) = self.0.stdin.take() {
            stdin.write_all(b"go\n")?;
        }
        Ok(String::from_utf8_lossy(&self.0.wait_with_output()?.stdout).into_owned())
    }
}

/// Several threads, of which the last reads the secret when it is told to.
const THREADS: &str = "import sys, threading
told = threading.Event()
def read():
    told.wait()
    try:
        open(sys.argv[1]).read()
        print('read')
    except PermissionError:
        print('refused')
threads = [threading.Thread(target=read) for _ in range(4)]
for one in threads: one.start()
sys.stdin.readline()
told.set()
for one in threads: one.join()
";

fn start_threads(context: &Context) -> Result<Waiting, Failure> {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", THREADS]).arg(context.room.join("secret"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // Until all of its threads are there.
    for _ in 0..400 {
        let tasks = fs::read_dir(format!("/proc/{}/task", child.id()))?.count();
        if tasks == 5 {
            break;
        }
        thread::sleep(Duration::from_millis(25));
    }
    Ok(Waiting(child))
}

fn ways_in(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let before = Group::make("/rf-service/before")?;
    let below = Group::make("/rf-service/before/below")?;
    must_be("ungoverned", &inside(&before, &script)?, READ)?;
    let running = Waiting::start(&script)?;
    before.take(running.0.id())?;
    let running_below = Waiting::start(&script)?;
    below.take(running_below.0.id())?;
    let threads_before = start_threads(context)?;
    before.take(threads_before.0.id())?;
    let elsewhere = Waiting::start(&script)?;

    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    agent.start()?;
    must_be("running before", &running.go()?, REFUSED)?;
    must_be("running before in a group below", &running_below.go()?, REFUSED)?;
    must_be("threads that ran before", &threads_before.go()?, &"refused\n".repeat(4))?;
    must_be("moves itself", &inside(&before, &script)?, REFUSED)?;
    let new = Group::make("/rf-service/new")?;
    must_be("moves itself into a new group", &inside(&new, &script)?, REFUSED)?;
    let new_below = Group::make("/rf-service/new/below/deep")?;
    must_be("moves itself into a group below", &inside(&new_below, &script)?, REFUSED)?;
    let moved = Waiting::start(&script)?;
    new.take(moved.0.id())?;
    must_be("is moved", &moved.go()?, REFUSED)?;
    let threads = start_threads(context)?;
    new.take(threads.0.id())?;
    must_be("is moved with threads", &threads.go()?, &"refused\n".repeat(4))?;
    let folder = fs::File::open(&new.0)?;
    let out = context.folder.join("born");
    let line = format!("({script}) > {}", out.display());
    sys::born_into(folder.as_raw_fd(), &["/bin/sh", "-c", &line])?;
    must_be("is born into it", &fs::read_to_string(&out)?, REFUSED)?;
    must_be("is elsewhere", &elsewhere.go()?, READ)?;
    must_be(
        "is in no group",
        &{
            let output = Command::new("/bin/sh").args(["-c", &script]).output()?;
            String::from_utf8_lossy(&output.stdout).into_owned()
        },
        READ,
    )?;
    agent.stop()?;
    agent.must_be_exact()
}

fn without_agent(context: &mut Context) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let rule = format!("egress:\n  - {{ cidr: 127.0.0.1/32, ports: [{port}] }}\n");
    let script = script(context)?;
    let connect = format!(
        "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)' \
         2>/dev/null && echo connected || echo closed; {script}"
    );
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, &rule))?;
    agent.start()?;
    let early = Group::make("/rf-service/early")?;
    until_connected(&early, &connect)?;
    agent.kill()?;
    must_be("killed", &inside(&early, &connect)?, &format!("connected\n{REFUSED}"))?;
    let late = Group::make("/rf-service/late")?;
    must_be("a new group", &inside(&late, &connect)?, &format!("closed\n{REFUSED}"))?;
    agent.start()?;
    until_connected(&late, &connect)?;
    agent.wait_for("what was not attached", |event| event["reason"] == "not_attached")?;
    agent.stop()?;
    agent.must_be_exact()
}

/// Waits until the agent has attached what judges packets, which takes a moment in a new group.
fn until_connected(group: &Group, connect: &str) -> Result<(), Failure> {
    let wanted = format!("connected\n{REFUSED}");
    let mut said = String::new();
    for _ in 0..100 {
        said = inside(group, connect)?;
        if said == wanted {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    must_be("with an agent", &said, &wanted)
}

/// Holds a file open, and a connection of which it says how it ends.
const HOLDING: &str = "import socket, sys
secret = open(sys.argv[1])
connection = socket.create_connection(('10.77.0.1', int(sys.argv[2])), 5)
connection.settimeout(600)
print('connected', flush=True)
try:
    print('more' if connection.recv(1) else 'end', flush=True)
except OSError as error:
    print(error.errno, flush=True)
sys.stdin.readline()
";

fn held(context: &mut Context) -> Result<(), Failure> {
    script(context)?;
    let address = ["addr", "add", "10.77.0.1/32", "dev", "lo"];
    let added = Command::new("ip").args(address).status()?;
    ensure(added.success(), || "no address".into())?;
    let listener = TcpListener::bind("10.77.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", HOLDING]).arg(context.room.join("secret")).arg(&port);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (connection, _) = listener.accept()?;
    let group = Group::make("/rf-service/holding")?;
    group.take(holder.id())?;
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, "egress: []\n"))?;
    agent.start()?;
    let is_told = |event: &Value, object: &str, value: &Value| {
        event["reason"] == "open_before" && event.pointer(object) == Some(value)
    };
    let secret = json!(context.room.join("secret"));
    agent.wait_for("the open file", |event| is_told(event, "/object/path", &secret))?;
    agent.wait_for("the connection", |event| {
        is_told(event, "/object/address", &json!("10.77.0.1")) && event["verdict"] == "deny"
    })?;
    drop(holder.stdin.take());
    let said = String::from_utf8_lossy(&holder.wait_with_output()?.stdout).into_owned();
    drop(connection);
    Command::new("ip").args(["addr", "del", "10.77.0.1/32", "dev", "lo"]).status()?;
    must_be("the connection", &said, &format!("connected\n{}\n", libc::ECONNABORTED))?;
    agent.stop()
}

/// Where a container runtime would be.
const RUNTIME: &str = "/usr/local/bin/crun";

fn set_up(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let room = context.room.display().to_string();
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    // A shell in the place of a runtime: what it does by itself is the set-up.
    fs::copy("/bin/bash", RUNTIME)?;
    agent.start()?;
    let group = Group::make("/rf-service/container")?;
    let entrance = group.entrance();
    let line = format!(
        "echo $$ > {}; read line < {room}/secret && echo set up; exec /bin/sh -c '{script}'",
        entrance.display()
    );
    let output = Command::new(RUNTIME).args(["-c", &line]).output()?;
    fs::remove_file(RUNTIME)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    must_be("the set-up and what it starts", &said, &format!("set up\n{REFUSED}"))?;
    // Another program that does the same is governed at once.
    let other = Command::new("/bin/sh").args(["-c", &line]).output()?;
    must_be("no runtime", &String::from_utf8_lossy(&other.stdout), REFUSED)?;
    agent.stop()
}

fn by_program(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let program = context.room.join("selected");
    fs::copy("/bin/bash", &program)?;
    let selectors = format!("      - exe: \"{}\"\n", program.display());
    let run = |shell: &std::path::Path, script: &str| -> Result<String, Failure> {
        let output = Command::new(shell).args(["-c", script]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    must_be("without an agent", &run(&program, &script)?, READ)?;
    let mut agent = Agent::prepare(context, &selectors, &policy(context, ""))?;
    agent.start()?;
    must_be("selected", &run(&program, &script)?, REFUSED)?;
    must_be("another", &run("/bin/sh".as_ref(), &script)?, READ)?;
    let where_it_is = run(&program, "sleep 2; cat /proc/self/cgroup")?;
    ensure(where_it_is.contains("/ringfence/tested"), || {
        format!("it was not moved to where its packets are judged: {where_it_is}")
    })?;
    agent.stop()
}

fn reload(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    agent.start()?;
    let group = Group::make("/rf-service/group")?;
    must_be("the first policy", &inside(&group, &script)?, REFUSED)?;
    let free = "boundary: 1\nfiles: [{ path: \"/**\", allow: [read, write] }]\n";
    agent.write_policy(free)?;
    let reloaded = agent.reload()?;
    ensure(reloaded.status.success(), || String::from_utf8_lossy(&reloaded.stdout).into_owned())?;
    must_be("the second policy", &inside(&group, &script)?, READ)?;
    let configuration = agent.policy().with_file_name("agent.yaml");
    let before = fs::read_to_string(&configuration)?;
    let log = configuration.with_file_name("events").display().to_string();
    fs::write(&configuration, before.replace(&log, "/var/log/elsewhere"))?;
    let refused = agent.reload()?;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    let is_told = said.contains("`events` is another place") && refused.status.code() == Some(1);
    ensure(is_told, || format!("another log: {:?}: {said}", refused.status))?;
    fs::write(&configuration, before)?;
    agent.write_policy(&format!("{free}fils: []\n"))?;
    let refused = agent.reload()?;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    let is_told = said.contains("unknown key `fils`") && refused.status.code() == Some(1);
    ensure(is_told, || format!("a bad policy: {:?}: {said}", refused.status))?;
    must_be("after a bad one", &inside(&group, &script)?, READ)?;
    // Noticed without being told.
    agent.write_policy(&policy(context, ""))?;
    for _ in 0..200 {
        if inside(&group, &script)? == REFUSED {
            agent.stop()?;
            return agent.must_be_exact();
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(Failure::new("a policy that was replaced is not noticed").with(agent.said()))
}

fn end(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    agent.start()?;
    let group = Group::make("/rf-service/group")?;
    let first = Waiting::start(&script)?;
    group.take(first.0.id())?;
    let second = Waiting::start(&script)?;
    group.take(second.0.id())?;
    let detach = || Command::new(PROGRAM).arg("detach").output();
    ensure(!detach()?.status.success(), || "detach takes a running agent's scopes".into())?;
    agent.stop()?;
    must_be("after the agent", &first.go()?, REFUSED)?;
    let detached = detach()?;
    ensure(detached.status.success(), || String::from_utf8_lossy(&detached.stderr).into_owned())?;
    must_be("after detach", &second.go()?, READ)?;
    must_be("after detach, new", &inside(&group, &script)?, READ)
}
