//! Governed processes that try to get out by what the agent lets pass: the set-up of containers,
//! programs that select scopes, moments at which a label is not there yet.

use std::{
    fs,
    os::fd::AsRawFd as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    READ, REFUSED, RUNTIME, SELECTORS,
    agent::{Agent, Group},
    must_be, policy, script,
};
use crate::{
    harness::{Context, Failure, ensure},
    sys,
};

/// What a runtime does: into the control group, a root of its own, and there what comes last.
const RUNTIME_SCRIPT: &str = r#"
import ctypes, os, sys
entrance, root, last = sys.argv[1:4]
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result != 0: sys.exit(os.strerror(ctypes.get_errno()))
if entrance: open(entrance, "w").write(str(os.getpid()))
call(libc.unshare(0x20000))
call(libc.mount(b"none", b"/", None, 0x44000, None))
os.makedirs(root, exist_ok=True)
for name in os.listdir("/"):
    here, there = "/" + name, root + "/" + name
    if os.path.islink(here):
        if not os.path.lexists(there): os.symlink(os.readlink(here), there)
    elif os.path.isdir(here):
        os.makedirs(there, exist_ok=True)
        call(libc.mount(here.encode(), there.encode(), None, 0x1000, None))
os.chroot(root)
os.chdir("/")
exec(last)
"#;

/// Has a container with a root of its own end with a line of Python. `group` is where it goes.
fn contained(
    program: &str,
    group: Option<&Group>,
    room: &Path,
    last: &str,
) -> std::io::Result<String> {
    let entrance = group.map(|group| group.entrance().display().to_string()).unwrap_or_default();
    let root = room.join("root").display().to_string();
    let words = ["-c", RUNTIME_SCRIPT, &entrance, &root, last];
    let output = Command::new(program).args(words).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The runtime's own program, executed by a container in its own root.
pub(super) fn runtime(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    fs::copy("/usr/bin/python3", RUNTIME)?;
    let tried = runtime_by(context, &script);
    fs::remove_file(RUNTIME)?;
    tried
}

fn runtime_by(context: &Context, script: &str) -> Result<(), Failure> {
    // By itself, without executing anything else.
    let reads = format!(
        "import os\ntry:\n    open('{room}/secret').read()\n    print('read')\nexcept OSError:\n    \
         print('refused')\nprint(open('{room}/open').read(), end='')",
        room = context.room.display()
    );
    let as_itself = format!("os.execv('/proc/self/exe', ['{RUNTIME}', '-c', {reads:?}])");
    let as_usual = format!("os.execv('/bin/sh', ['/bin/sh', '-c', {script:?}])");
    let control = Group::make("/rf-elsewhere/container")?;
    let room = &context.room;
    must_be("ungoverned", &contained(RUNTIME, Some(&control), room, &as_itself)?, READ)?;
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    agent.start()?;
    let group = Group::make("/rf-service/container")?;
    must_be("a container", &contained(RUNTIME, Some(&group), room, &as_usual)?, REFUSED)?;
    must_be("its runtime", &contained(RUNTIME, Some(&group), room, &as_itself)?, REFUSED)?;
    agent.stop()
}

/// A program of a container's own that has the path of one that selects a scope.
pub(super) fn same_path(context: &mut Context) -> Result<(), Failure> {
    let program = context.room.join("selected");
    fs::copy("/bin/bash", &program)?;
    let selectors = format!("      - exe: \"{}\"\n", program.display());
    let mut agent = Agent::prepare(context, &selectors, &policy(context, ""))?;
    agent.start()?;
    let where_it_is = "sleep 2; cat /proc/self/cgroup";
    let of_machine = Command::new(&program).args(["-c", where_it_is]).output()?;
    let of_machine = String::from_utf8_lossy(&of_machine.stdout).into_owned();
    ensure(of_machine.contains("/ringfence/tested"), || format!("the machine's: {of_machine}"))?;
    let last = format!("os.execv({program:?}, [{program:?}, '-c', {where_it_is:?}])");
    let limited = Group::make("/rf-elsewhere/limited")?;
    let said = contained("/usr/bin/python3", Some(&limited), &context.room, &last)?;
    ensure(said.contains("/rf-elsewhere/limited"), || format!("it has left its group: {said}"))?;
    agent.stop()
}

/// Shells that execute themselves without end, until a file is there: then they try the secret.
struct Spinning(Vec<Child>);

impl Spinning {
    fn start(context: &Context, group: &Group, script: &str) -> Result<Self, Failure> {
        let room = context.room.display();
        let file = context.room.join("spin");
        fs::write(
            &file,
            format!(
                "[ -e {room}/stop ] && {{ {script}; exit; }}\nexec /bin/sh {}\n",
                file.display()
            ),
        )?;
        let line =
            format!("echo $$ > {}; exec /bin/sh {}", group.entrance().display(), file.display());
        let spin = |_| Command::new("/bin/sh").args(["-c", &line]).stdout(Stdio::piped()).spawn();
        Ok(Self((0..24).map(spin).collect::<Result<_, _>>()?))
    }

    fn end(self, context: &Context) -> Result<Vec<String>, Failure> {
        fs::write(context.room.join("stop"), "")?;
        let said = |child: Child| -> Result<String, Failure> {
            Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned())
        };
        let said = self.0.into_iter().map(said).collect();
        fs::remove_file(context.room.join("stop"))?;
        said
    }
}

/// Processes that are just executing something when their group comes under a scope.
pub(super) fn executing(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let group = Group::make("/rf-service/spinning")?;
    for said in Spinning::start(context, &group, &script)?.end(context)? {
        must_be("ungoverned", &said, READ)?;
    }
    // A scope that is selected by a program has every program that is executed looked at.
    let selectors = format!("{SELECTORS}      - exe: /usr/bin/no-such-program\n");
    let mut agent = Agent::prepare(context, &selectors, &policy(context, ""))?;
    let spinning = Spinning::start(context, &group, &script)?;
    thread::sleep(Duration::from_millis(500));
    agent.start()?;
    for said in spinning.end(context)? {
        must_be("just executing", &said, REFUSED)?;
    }
    agent.stop()
}

/// A program whose content a policy names, and that a governed process replaces.
pub(super) fn replaced(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let tool = context.room.join("tool");
    fs::copy("/bin/true", &tool)?;
    let digest = Command::new("sha256sum").arg(&tool).output()?.stdout;
    let digest =
        String::from_utf8_lossy(&digest).split_whitespace().next().unwrap_or_default().to_owned();
    let exec = format!(
        "exec:\n  - {{ path: \"/**\", allow: true }}\n  - {{ path: \"{}\", allow: true, sha256: {digest} }}\n",
        tool.display()
    );
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, &exec))?;
    // What was written in this moment cannot be told from what is written now.
    thread::sleep(Duration::from_secs(3));
    agent.start()?;
    let group = Group::make("/rf-service/group")?;
    let run = format!("{} && echo ran || echo not run", tool.display());
    must_be("the tool", &super::inside(&group, &run)?, "ran\n")?;
    let replace =
        format!("cp /bin/true {0}.new; echo >> {0}.new; mv {0}.new {0}; {run}", tool.display());
    must_be("another in its place", &super::inside(&group, &replace)?, "not run\n")?;
    let stricter = policy(context, &exec).replace("secret*", "open");
    agent.write_policy(&stricter)?;
    let reloaded = agent.reload()?;
    ensure(reloaded.status.success(), || String::from_utf8_lossy(&reloaded.stdout).into_owned())?;
    must_be("the policy after", &super::inside(&group, &script)?, "read\n")?;
    must_be("still", &super::inside(&group, &run)?, "not run\n")?;
    agent.stop()?;
    agent.start()?;
    must_be("after a restart", &super::inside(&group, &run)?, "not run\n")?;
    agent.stop()
}

/// What tells of a birth and of a move is gone, as where the kernel leaves it out because it
/// interrupts itself.
pub(super) fn untold(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let group = Group::make("/rf-service/untold")?;
    let out = context.folder.join("born");
    let line = format!("({script}) > {}", out.display());
    let born = || -> Result<String, Failure> {
        let folder = fs::File::open(&group.0)?;
        sys::born_into(folder.as_raw_fd(), &["/bin/sh", "-c", &line])?;
        Ok(fs::read_to_string(&out)?)
    };
    must_be("ungoverned", &born()?, READ)?;
    let mut agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    agent.start()?;
    agent.kill()?;
    for set in fs::read_dir("/sys/fs/bpf/ringfence")?.flatten() {
        for pin in ["task_newtask", "cgroup_attach_task"] {
            fs::remove_file(set.path().join(pin))?;
        }
    }
    // The control: by what the shell does itself the move goes unnoticed.
    let secret = context.room.join("secret");
    let own = format!("{{ read line < {}; }} && echo unnoticed; {script}", secret.display());
    must_be("born there", &born()?, REFUSED)?;
    let moved = super::Waiting::start(&own)?;
    group.take(moved.0.id())?;
    must_be("moved there", &moved.go()?, &format!("unnoticed\n{REFUSED}"))?;
    agent.start()?;
    must_be("by the next agent", &born()?, REFUSED)?;
    agent.stop()
}
