//! Root of a scope, and a user without rights, against the agent: every act is refused, and works on
//! the same kernel for root that is not governed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    agent::{Agent, Group},
    policy,
};
use crate::{
    harness::{Context, Failure, ensure},
    ringfence::PROGRAM,
};

/// Tries each act on what it is given, a line each: `done`, or the number of the error.
const ACTS: &str = r#"
import ctypes, os, resource, socket, sys
user, pid, policy, log, control, program, pin, mount, entrance = sys.argv[1:]
pid = int(pid)
os.setuid(int(user))
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
def replace(file):
    new = os.path.join(os.path.dirname(file), "new")
    open(new, "w").close()
    os.rename(new, file)
def connect():
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(control)
def write(file, text):
    with open(file, "w") as opened:
        opened.write(text)
def get():
    path = ctypes.create_string_buffer(pin.encode())
    attributes = (ctypes.c_uint64 * 2)(ctypes.addressof(path), 0)
    check(libc.syscall(321, 7, attributes, 16)) # bpf(BPF_OBJ_GET)
acts = [
    ("limit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))),
    ("nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 5)),
    ("processors", lambda: os.sched_setaffinity(pid, {0})),
    ("schedule", lambda: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))),
    ("input priority", lambda: check(libc.syscall(251, 1, pid, 3 << 13))), # ioprio_set
    ("memory", lambda: open(f"/proc/{pid}/mem", "rb").close()),
    ("trace", lambda: check(libc.ptrace(0x4206, pid, None, None))),
    ("move", lambda: write(entrance, str(pid))),
    ("change the policy", lambda: open(policy, "a").close()),
    ("connect", connect),
    ("replace the policy", lambda: replace(policy)),
    ("change the log", lambda: open(log, "r+").close()),
    ("remove the log", lambda: os.unlink(log)),
    ("remove the socket", lambda: os.unlink(control)),
    ("replace the program", lambda: replace(program)),
    ("unmount", lambda: check(libc.umount2(mount.encode(), 2))),
    ("get", get),
    ("unpin", lambda: os.unlink(pin)),
    ("stop", lambda: os.kill(pid, 19)),
    ("kill", lambda: os.kill(pid, 9)),
]
for name, act in acts:
    try:
        act()
        print(name, "done")
    except OSError as error:
        print(name, error.errno)
"#;

/// Who attacks: root, and who may do nothing.
const ROOT: u32 = 0;
const NOBODY: u32 = 65534;

/// What is attacked.
struct Target {
    process: u32,
    policy: PathBuf,
    log: PathBuf,
    control: PathBuf,
    program: PathBuf,
    pin: PathBuf,
    mount: PathBuf,
}

impl Target {
    /// What comes of each act, by whoever is in the group.
    fn attack(
        &self,
        user: u32,
        group: Option<&Group>,
        elsewhere: &Group,
    ) -> Result<Vec<String>, Failure> {
        let mut command = Command::new("/bin/sh");
        let enter = group.map_or_else(
            || ":".to_owned(),
            |group| format!("echo $$ > {}", group.entrance().display()),
        );
        let line = format!("{enter}; exec python3 -c \"$ACTS\" \"$@\"");
        command.args(["-c", &line, "sh"]).env("ACTS", ACTS);
        command.arg(user.to_string()).arg(self.process.to_string());
        let paths = [&self.policy, &self.log, &self.control, &self.program, &self.pin, &self.mount];
        let output = command.args(paths).arg(elsewhere.entrance()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        ensure(lines.len() == 20, || {
            format!("{said}\n{}", String::from_utf8_lossy(&output.stderr))
        })?;
        Ok(lines)
    }
}

/// A process, files, a socket and a mount like those of the agent, for who is not governed.
fn decoy(room: &Path, pin: PathBuf) -> Result<(Target, Child), Failure> {
    let folder = room.join("decoy");
    let mount = folder.join("mount");
    fs::create_dir_all(&mount)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount).status()?;
    ensure(mounted.success(), || "nothing can be mounted".into())?;
    for name in ["policy", "log"] {
        fs::write(folder.join(name), "")?;
    }
    fs::copy(PROGRAM, folder.join("program"))?;
    let control = folder.join("control");
    // Listens as long as the test lives.
    std::mem::forget(std::os::unix::net::UnixListener::bind(&control)?);
    let child = Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn()?;
    let target = Target {
        process: child.id(),
        policy: folder.join("policy"),
        log: folder.join("log"),
        control,
        program: folder.join("program"),
        pin,
        mount,
    };
    Ok((target, child))
}

/// The pin of a program of the agent's set.
fn pin() -> Result<PathBuf, Failure> {
    let sets = fs::read_dir("/sys/fs/bpf/ringfence")?.flatten();
    let pins = sets.map(|set| set.path().join("every_task"));
    pins.into_iter().find(|pin| pin.exists()).ok_or_else(|| Failure::new("there is no pin"))
}

pub(super) fn attacked(context: &mut Context) -> Result<(), Failure> {
    let selectors = "      - cgroup: \"/rf-service/*\"\n";
    let mut agent = Agent::prepare(context, selectors, &policy(context, ""))?;
    agent.start()?;
    let group = Group::make("/rf-service/attacker")?;
    let elsewhere = Group::make("/rf-elsewhere")?;
    let target = Target {
        process: agent.process(),
        policy: agent.policy(),
        log: agent.log()?,
        control: "/run/ringfence/control.sock".into(),
        program: PROGRAM.into(),
        pin: pin()?,
        mount: "/sys/fs/bpf".into(),
    };
    for user in [NOBODY, ROOT] {
        let governed = target.attack(user, Some(&group), &elsewhere)?;
        let mut done = governed.iter().filter(|line| line.ends_with(" done")).peekable();
        ensure(done.peek().is_none(), || {
            format!("the user {user} did, governed: {:?}", done.collect::<Vec<_>>())
        })?;
    }
    // It is there, works, and has told of it.
    let reloaded = agent.reload()?;
    ensure(reloaded.status.success(), || "the agent does not answer any more".into())?;
    agent
        .wait_for("a signal", |event| event["action"] == "signal" && event["verdict"] == "deny")?;
    let asked = format!("echo $$ > {}; {PROGRAM} reload", group.entrance().display());
    let asked = Command::new("/bin/sh").args(["-c", &asked]).output()?;
    ensure(!asked.status.success(), || "a governed root has given the agent orders".into())?;
    // The same acts on the same kernel by who is not governed.
    let (target, mut child) = decoy(&context.room, pin()?)?;
    let free = target.attack(ROOT, None, &elsewhere)?;
    child.wait()?;
    let refused: Vec<&String> = free.iter().filter(|line| !line.ends_with(" done")).collect();
    ensure(refused.is_empty(), || format!("not governed, these are refused too: {refused:?}"))?;
    agent.stop()
}

/// What is observed goes on, but not against the agent's files.
pub(super) fn observed(context: &mut Context) -> Result<(), Failure> {
    let selectors = "      - cgroup: \"/rf-service/*\"\n";
    let text = policy(context, "mode: observe\n");
    let mut agent = Agent::prepare(context, selectors, &text)?;
    // As Kubernetes mounts a `ConfigMap`.
    let file = agent.policy();
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    fs::create_dir(folder.join("..one"))?;
    fs::rename(&file, folder.join("..one/policy.yaml"))?;
    symlink("..one", folder.join("..data"))?;
    symlink("..data/policy.yaml", &file)?;
    agent.start()?;
    let group = Group::make("/rf-service/observed")?;
    let script = super::script(context)?;
    super::must_be("observed", &super::inside(&group, &script)?, super::READ)?;
    let script = format!("echo >> {} && echo done || echo refused", file.display());
    super::must_be("its policy", &super::inside(&group, &script)?, "refused\n")?;
    let script = format!(
        "cd {}; ln -s ..one new; mv -T new ..data && echo done || echo refused; rm -f new",
        folder.display()
    );
    super::must_be("the way to it", &super::inside(&group, &script)?, "refused\n")?;
    let free = Command::new("/bin/sh").args(["-c", &script]).output()?;
    super::must_be("ungoverned", &String::from_utf8_lossy(&free.stdout), "done\n")?;
    ensure(fs::read_to_string(&file)? == text, || "the policy is another".into())?;
    agent.wait_for("the refusal", |event| {
        event["verdict"] == "deny" && event["reason"] == "self_protection"
    })?;
    agent.stop()
}

/// Takes every watch that the system gives to a user, and keeps them until it is told to end.
const WATCHES: &str = r#"
import ctypes, sys
libc, count = ctypes.CDLL(None, use_errno=True), 0
while libc.inotify_init() != -1:
    count += 1
print(count, ctypes.get_errno(), flush=True)
sys.stdin.read()
"#;

/// Root of a scope has every watch, and the agent gets none.
pub(super) fn starved(context: &mut Context) -> Result<(), Failure> {
    let selectors = "      - cgroup: \"/rf-service/*\"\n";
    let text = policy(context, "");
    let mut agent = Agent::prepare(context, selectors, &text)?;
    agent.start()?;
    let group = Group::make("/rf-service/greedy")?;
    let line = format!("echo $$ > {}; exec python3 -c \"$WATCHES\"", group.entrance().display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).env("WATCHES", WATCHES);
    let mut greedy = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    greedy.stdout.take().map(|out| BufReader::new(out).read_line(&mut said)).transpose()?;
    ensure(said.ends_with(&format!(" {}\n", libc::EMFILE)), || format!("it says {said:?}"))?;
    let free = Command::new("python3").args(["-c", WATCHES]).stdin(Stdio::null()).output()?;
    let free = String::from_utf8_lossy(&free.stdout).into_owned();
    super::must_be("ungoverned", &free, &format!("0 {}\n", libc::EMFILE))?;
    agent.stop()?;
    agent.start()?;
    let script = super::script(context)?;
    super::must_be("governed", &super::inside(&group, &script)?, super::REFUSED)?;
    // What is changed is seen all the same.
    agent.write_policy(&text.replace("secret*", "open"))?;
    let start = Instant::now();
    while super::inside(&group, &script)? == super::REFUSED {
        ensure(start.elapsed() < Duration::from_secs(60), || agent.said())?;
        thread::sleep(Duration::from_millis(100));
    }
    ensure(agent.reload()?.status.success(), || agent.said())?;
    drop(greedy.stdin.take());
    greedy.wait()?;
    agent.stop()
}
