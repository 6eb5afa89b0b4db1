//! Root of a privileged container against the agent: it sees the machine's processes, and has the
//! machine's root mounted, with the control groups and all that is pinned.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use serde_json::Value;

use super::{
    agent::{Agent, CONFIGURATION},
    container,
    unit::{said, systemctl},
};
use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::PROGRAM,
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("root of a privileged container can do nothing to the agent and its files", attacked)];

/// Tries each act, a line each. The machine's root is at `/host`.
const SCRIPT: &str = r#"
process=$1 group=$2 policy=$3 log=$4 program=$5 pin=$6 mount=$7
try() {
    name=$1
    shift
    if ("$@") >/dev/null 2>&1; then echo "done $name"; else echo "refused $name"; fi
}
write() { echo "$1" > "$2"; }
replace() { echo > "$1.new" && mv "$1.new" "$1"; }
try nice renice -n 5 -p $process
try memory sh -c ": < /proc/$process/mem"
try move write $process /host/sys/fs/cgroup/rf-elsewhere/cgroup.procs
try freeze write 1 $group/cgroup.freeze
try thaw write 0 $group/cgroup.freeze
try limit write 1 $group/pids.max
try policy sh -c "echo >> $policy"
try replace replace $policy
try log rm $log
try program replace $program
try unpin rm $pin
try unmount umount -l $mount
try mount mount -t tmpfs none /host/srv
try root chroot /host true
try device mknod /tmp/device b 7 0
try leave sh -c 'echo $$ > /host/sys/fs/cgroup/rf-elsewhere/cgroup.procs'
try stop kill -STOP $process
try kill kill -KILL $process
try end write 1 $group/cgroup.kill
"#;
/// How many there are.
const ACTS: usize = 19;
/// The policy allows every file and program, so that it is not what refuses.
const POLICY: &str = "boundary: 1\nfiles: [{ path: \"/**\", allow: [read, write] }]\n\
                      exec: [{ path: \"/**\", allow: true }]\n";
const EVENTS: &str = "/var/log/ringfence";
const DECOY: &str = "/srv/decoy";
const DECOYS: &str = "/sys/fs/cgroup/rf-decoy";
const ELSEWHERE: &str = "/sys/fs/cgroup/rf-elsewhere";

/// What is attacked: a process, its control group, and files and a mount by their paths.
struct Target {
    process: u32,
    group: PathBuf,
    policy: PathBuf,
    log: PathBuf,
    program: PathBuf,
    pin: PathBuf,
    mount: PathBuf,
}

impl Target {
    /// What comes of each act.
    fn attack(&self) -> Result<Vec<String>, Failure> {
        let words = ["--privileged", "--pid=host", "--cgroupns=host", "--volume=/:/host:rslave"];
        let process = self.process.to_string();
        let paths = [&self.group, &self.policy, &self.log, &self.program, &self.pin, &self.mount];
        let paths = paths.map(|path| format!("/host{}", path.display()));
        let mut command = vec!["/bin/sh", "-c", SCRIPT, "sh", &process];
        command.extend(paths.iter().map(String::as_str));
        let lines: Vec<String> =
            container::run(&words, &command)?.lines().map(str::to_owned).collect();
        ensure(lines.len() == ACTS, || format!("it did {lines:?}"))?;
        Ok(lines)
    }
}

/// What is not like the agent's but for who attacks it, for the time of the test.
struct Decoy {
    target: Target,
    child: Child,
}

impl Decoy {
    fn place() -> Result<Self, Failure> {
        let folder = Path::new(DECOY);
        let mount = folder.join("mount");
        fs::create_dir_all(&mount)?;
        said(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount))?;
        for name in ["policy", "log", "program", "mount/pin"] {
            fs::write(folder.join(name), "")?;
        }
        fs::create_dir_all(DECOYS)?;
        let child = Command::new("sleep").arg("1000").spawn()?;
        fs::write(Path::new(DECOYS).join("cgroup.procs"), child.id().to_string())?;
        let target = Target {
            process: child.id(),
            group: DECOYS.into(),
            policy: folder.join("policy"),
            log: folder.join("log"),
            program: folder.join("program"),
            pin: mount.join("pin"),
            mount,
        };
        Ok(Self { target, child })
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = said(Command::new("umount").args(["-l", "/srv/decoy/mount"]));
        let _ = fs::remove_dir_all(DECOY);
        let _ = fs::remove_dir(DECOYS);
        let _ = fs::remove_dir(ELSEWHERE);
    }
}

/// The first entry of a folder that is as wanted.
fn entry(folder: &str, is_wanted: impl Fn(&Path) -> bool) -> Result<PathBuf, Failure> {
    let mut entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    entries
        .find(|path| is_wanted(path))
        .ok_or_else(|| Failure::new(format!("nothing in {folder} is as wanted")))
}

fn attacked(_: &mut Context) -> Result<(), Failure> {
    fs::create_dir_all(ELSEWHERE)?;
    let decoy = Decoy::place()?;
    let free = decoy.target.attack()?;
    let refused: Vec<&String> = free.iter().filter(|line| !line.starts_with("done ")).collect();
    ensure(refused.is_empty(), || format!("not governed, these are refused too: {refused:?}"))?;

    let configuration = format!("{CONFIGURATION}events: {EVENTS}\n");
    let _agent = Agent::start(&[("agent.yaml", &configuration), ("coder.yaml", POLICY)])?;
    let process = systemctl(&["show", "--value", "--property", "MainPID", "ringfence.service"])?;
    let set = entry("/sys/fs/bpf/ringfence", |set| set.join("every_task").exists())?;
    let target = Target {
        process: process.trim().parse()?,
        group: "/sys/fs/cgroup/system.slice/ringfence.service".into(),
        policy: "/etc/ringfence/coder.yaml".into(),
        log: entry(EVENTS, Path::is_file)?,
        program: PROGRAM.into(),
        pin: set.join("every_task"),
        mount: "/sys/fs/bpf".into(),
    };
    let governed = target.attack()?;
    let done: Vec<&String> = governed.iter().filter(|line| line.starts_with("done ")).collect();
    ensure(done.is_empty(), || format!("a governed root did: {done:?}"))?;
    // It is there, works, and has told of each.
    said(Command::new(PROGRAM).arg("reload"))?;
    let log = fs::read_to_string(&target.log)?;
    let events: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let denied = events.iter().filter(|event| event["verdict"] == "deny");
    let denied: Vec<String> = denied.map(Value::to_string).collect();
    ensure(denied.len() >= ACTS, || {
        format!("{ACTS} acts, and {} events: {}", denied.len(), denied.join("\n"))
    })?;
    Ok(())
}
