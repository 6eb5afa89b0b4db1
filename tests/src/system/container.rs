//! Containers of podman, without a registry: their root is the folder that each guest has, with
//! busybox under each of its names, and what is written there is thrown away.

use std::process::Command;

use super::unit::said;
use crate::harness::{Context, Failure, Test, ensure};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("a container of podman runs, and is in a control group of its own that has its name", runs)];

/// The root of every container.
const ROOT: &str = "/srv/container:O";
const CGROUPS: &str = "/sys/fs/cgroup";

/// A container that runs. It is ended and removed when it is dropped.
pub(crate) struct Container {
    name: String,
    /// Its 64 digits.
    pub(crate) id: String,
}

impl Container {
    /// Starts a container that runs `command` until it is dropped, with more words for
    /// `podman run` (`--volume`, `--network`; without, it has none).
    ///
    /// # Errors
    ///
    /// When podman does not start it.
    pub(crate) fn start(name: &str, words: &[&str], command: &[&str]) -> Result<Self, Failure> {
        let mut run = podman_run(words);
        let id = said(run.args(["--detach", "--name", name, "--rootfs", ROOT]).args(command))?;
        Ok(Self { name: name.into(), id: id.trim().into() })
    }

    /// Runs one more command in it, to its end.
    ///
    /// # Errors
    ///
    /// When the command does not exit with 0.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<String, Failure> {
        said(Command::new("podman").args(["exec", &self.name]).args(command))
    }

    /// The path of its control group in the hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("/machine.slice/libpod-{}.scope", self.id)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = Command::new("podman");
        let _ = said(remove.args(["rm", "--force", "--time", "0", &self.name]));
    }
}

/// Runs a container to its end, and gives what its command printed.
///
/// # Errors
///
/// When the command does not exit with 0.
pub(crate) fn run(words: &[&str], command: &[&str]) -> Result<String, Failure> {
    said(podman_run(words).args(["--rm", "--rootfs", ROOT]).args(command))
}

fn podman_run(words: &[&str]) -> Command {
    let mut podman = Command::new("podman");
    podman.arg("run").args(words);
    if !words.iter().any(|word| word.starts_with("--network")) {
        podman.arg("--network=none");
    }
    podman
}

fn runs(_: &mut Context) -> Result<(), Failure> {
    let printed = run(&[], &["/bin/sh", "-c", "echo $((6*7)) >/tmp/x; cat /tmp/x"])?;
    ensure(printed == "42\n", || format!("it printed {printed:?}"))?;

    let container = Container::start("there", &[], &["/bin/sleep", "1000"])?;
    let command = container.exec(&["cat", "/proc/1/cmdline"])?;
    ensure(command == "/bin/sleep\u{0}1000\u{0}", || format!("PID 1 is {command:?}"))?;
    let processes = format!("{CGROUPS}{}", container.cgroup());
    let processes = said(Command::new("find").args([&processes, "-name", "cgroup.procs"]))?;
    ensure(!processes.is_empty(), || format!("there is no {}", container.cgroup()))
}
