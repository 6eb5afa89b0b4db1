//! Every case of the benchmark, one after the other, some times over.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ringfence_tests::loaded;

use crate::{DEPTHS, file};

pub(crate) const RINGFENCE: &str = "/usr/local/bin/ringfence";
pub(crate) const BENCH: &str = "/usr/local/bin/ringfence-bench";
/// Where everything runs that is not in a scope: as deep as a scope is, since the kernel accounts
/// for what is used in a cgroup.
pub(crate) const CGROUP: &str = "/sys/fs/cgroup/bench/case";
/// Numbers of rules.
const RULES: [usize; 2] = [10, 10_000];

/// Runs the cases as often as is said; prints the case's name, the depth, and the instructions:
/// middle, smallest, largest.
///
/// # Errors
///
/// When a case cannot be run, or comes out otherwise than it should.
pub(crate) fn run(rounds: &str, profile: Option<&Path>) -> io::Result<()> {
    fs::create_dir_all(CGROUP)?;
    make_tree()?;
    if let Some(profile) = profile {
        fs::write("/sys/kernel/security/apparmor/.load", fs::read(profile)?)?;
    }
    let policies = Policies::write()?;
    // What making the files left the kernel to do is done before anything counts.
    thread::sleep(Duration::from_secs(5));
    in_cgroup(&["fs", "open"], false)?;
    for _ in 0..rounds.parse().map_err(io::Error::other)? {
        match profile {
            Some(_) => tell("AppArmor, 10 rules", in_cgroup(&["fs", "open"], true)?),
            None => round(&policies)?,
        }
    }
    Ok(())
}

fn round(policies: &Policies) -> io::Result<()> {
    tell("nothing", in_cgroup(&["fs", "open"], false)?);
    for rules in RULES {
        let word = rules.to_string();
        tell(&format!("Landlock, {rules} rules"), in_cgroup(&["landlock", &word, "open"], false)?);
        tell(
            &format!("Landlock, {rules} rules, refused"),
            in_cgroup(&["landlock", &word, "refused"], false)?,
        );
    }
    for rules in RULES {
        tell(
            &format!("ringfence, {rules} rules"),
            governed(&policies.path(rules, true), &["fs", "open"])?,
        );
        tell(
            &format!("ringfence, {rules} rules, refused"),
            governed(&policies.path(rules, false), &["fs", "refused"])?,
        );
    }
    let beside = Beside::start(&policies.path(RULES[0], true))?;
    let measured = in_cgroup(&["fs", "open"], false);
    beside.end()?;
    tell("ringfence, not governed", measured?);
    Ok(())
}

fn tell(case: &str, lines: String) {
    for line in lines.lines() {
        println!("{case}: {line}");
    }
}

/// The folder of a rule that has nothing to do with the files.
pub(crate) fn project(number: usize) -> PathBuf {
    PathBuf::from(format!("/srv/project-{number}"))
}

fn make_tree() -> io::Result<()> {
    for depth in DEPTHS {
        let file = file(depth);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
        fs::write(file, "something")?;
    }
    (0..RULES[1]).try_for_each(|number| fs::create_dir_all(project(number)))
}

/// Boundary documents with numbers of rules, which allow the files, or do not.
struct Policies;

impl Policies {
    fn write() -> io::Result<Self> {
        let this = Self;
        for rules in RULES {
            for allows in [true, false] {
                let mut text = String::from("boundary: 1\nfiles:\n");
                if allows {
                    text += "  - { path: /content.txt, allow: [read] }\n";
                    text += "  - { path: /folder01/**, allow: [read] }\n";
                }
                for number in 2..rules {
                    let folder = project(number);
                    text +=
                        &format!("  - {{ path: {}/**, allow: [read, write] }}\n", folder.display());
                }
                fs::write(this.path(rules, allows), text)?;
            }
        }
        Ok(this)
    }

    fn path(&self, rules: usize, allows: bool) -> PathBuf {
        PathBuf::from(format!("/policy-{rules}-{}.yaml", if allows { "open" } else { "refused" }))
    }
}

fn in_cgroup(words: &[&str], is_confined: bool) -> io::Result<String> {
    let mut command = Command::new(BENCH);
    command.args(words);
    // SAFETY: the closure runs between fork and exec of a process with one thread.
    unsafe {
        command.pre_exec(move || {
            fs::write(format!("{CGROUP}/cgroup.procs"), "0")?;
            if is_confined {
                fs::write("/proc/self/attr/exec", "exec bench")?;
            }
            Ok(())
        });
    }
    output(&mut command)
}

fn governed(policy: &Path, words: &[&str]) -> io::Result<String> {
    let mut command = Command::new(RINGFENCE);
    let output =
        output(command.args(["run", "--policy"]).arg(policy).arg("--").arg(BENCH).args(words))?;
    wait_until_detached()?;
    Ok(output)
}

/// Waits until the kernel has detached the programs of what has ended, and freed them.
pub(crate) fn wait_until_detached() -> io::Result<()> {
    while !loaded::programs()?.is_empty() {
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {}: {said}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// A scope in which nothing happens.
pub(crate) struct Beside(Child);

impl Beside {
    pub(crate) fn start(policy: &Path) -> io::Result<Self> {
        let mut command = Command::new(RINGFENCE);
        command.args(["run", "--policy"]).arg(policy).args(["--", "sleep", "1000"]);
        let child = command.spawn()?;
        // The command is there once its program runs.
        while !fs::read_dir("/sys/fs/cgroup/ringfence").is_ok_and(|mut entries| {
            entries.any(|entry| {
                let procs = entry.map(|entry| entry.path().join("cgroup.procs"));
                procs.is_ok_and(|path| fs::read_to_string(path).is_ok_and(|text| !text.is_empty()))
            })
        }) {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_secs(1));
        Ok(Self(child))
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        let process = libc::pid_t::try_from(self.0.id()).map_err(io::Error::other)?;
        // SAFETY: no memory is involved; the process is our child.
        unsafe { libc::kill(process, libc::SIGTERM) };
        self.0.wait()?;
        wait_until_detached()
    }
}
