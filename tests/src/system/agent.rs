//! The long-running agent as a service, with the unit that users have, for as long as a test
//! needs it.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{
    container,
    unit::{Unit, journal, said, systemctl},
};
use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::PROGRAM,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[(
    "the agent as a service governs services and containers, and a reload changes what they may",
    governs,
)];

/// The unit that is installed, and where it finds its configuration.
const UNIT: &str = "/srv/deploy/systemd/ringfence.service";
const FOLDER: &str = "/etc/ringfence";

/// The agent. It is stopped, and what it left in force is detached, when it is dropped.
pub(crate) struct Agent {
    _unit: Unit,
}

impl Agent {
    /// Starts it with the files of its folder: `agent.yaml`, and policies beside it.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start(files: &[(&str, &str)]) -> Result<Self, Failure> {
        write(files)?;
        // The program of the tests is elsewhere than that of a package.
        let text = fs::read_to_string(UNIT)?.replace("/usr/bin/ringfence", PROGRAM);
        let agent = Self { _unit: Unit::write("ringfence.service", &text)? };
        agent.tell("start")?;
        Ok(agent)
    }

    /// Does what `systemctl VERB ringfence` does, as in `reload` or `restart`.
    ///
    /// # Errors
    ///
    /// When it does not come of it; the journal is in the details.
    pub(crate) fn tell(&self, verb: &str) -> Result<(), Failure> {
        let told = systemctl(&[verb, "ringfence.service"]).map(drop);
        told.map_err(|failure| failure.with(journal("ringfence.service").unwrap_or_default()))
    }

    /// Replaces files of its folder, and has it read them anew: once it has, this returns.
    ///
    /// # Errors
    ///
    /// When it does not take them.
    pub(crate) fn reload(&self, files: &[(&str, &str)]) -> Result<(), Failure> {
        write(files)?;
        said(Command::new(PROGRAM).arg("reload")).map(drop)
    }

    /// What `ringfence status --format json` says.
    ///
    /// # Errors
    ///
    /// When it says nothing.
    pub(crate) fn status(&self) -> Result<Value, Failure> {
        let text = said(Command::new(PROGRAM).args(["status", "--format", "json"]))?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = systemctl(&["stop", "ringfence.service"]);
        let _ = said(Command::new(PROGRAM).arg("detach"));
        let _ = fs::remove_dir_all(FOLDER);
    }
}

/// Writes files of the agent's folder.
///
/// # Errors
///
/// When one cannot be written.
pub(crate) fn write(files: &[(&str, &str)]) -> Result<(), Failure> {
    fs::create_dir_all(FOLDER)?;
    for (name, text) in files {
        fs::write(PathBuf::from(FOLDER).join(name), text)?;
    }
    Ok(())
}

/// Selects `coder-*.service` and every container of podman.
pub(crate) const CONFIGURATION: &str = r#"agent: 1
scopes:
  - name: coder
    policy: [coder.yaml]
    match:
      - unit: "coder-*.service"
      - cgroup: "/machine.slice/libpod-*.scope"
"#;
/// What it may: look at its own files.
pub(crate) const POLICY: &str = r#"boundary: 1
files: [{ path: "/{srv,opt}/coder/**", allow: [read] }]
"#;
const WIDER: &str = r#"boundary: 1
files: [{ path: "/{srv,opt}/coder/**", allow: [read] }, { path: "/{srv,opt}/other", allow: [read] }]
"#;

fn governs(_: &mut Context) -> Result<(), Failure> {
    fs::create_dir_all("/srv/coder")?;
    fs::write("/srv/coder/file", "own\n")?;
    fs::write("/srv/other", "other\n")?;
    let free = (reads_of_service()?, reads_of_container()?);
    ensure(free == ("own other ".into(), "own other ".into()), || format!("control: {free:?}"))?;

    let agent = Agent::start(&[("agent.yaml", CONFIGURATION), ("coder.yaml", POLICY)])?;
    let status = agent.status()?;
    let scopes = status["scopes"].as_array().into_iter().flatten();
    ensure(scopes.into_iter().any(|scope| scope["scope"] == "coder"), || status.to_string())?;
    let governed = (reads_of_service()?, reads_of_container()?);
    ensure(governed == ("own ".into(), "own ".into()), || format!("governed: {governed:?}"))?;

    agent.reload(&[("coder.yaml", WIDER)])?;
    let wider = (reads_of_service()?, reads_of_container()?);
    ensure(wider == free, || format!("after the reload: {wider:?}"))?;

    // What cannot be read changes nothing; `systemctl reload` asks by a signal.
    agent.reload(&[("coder.yaml", POLICY)])?;
    write(&[("coder.yaml", "boundary: 1\nfiles: [{ path: relative }]\n")])?;
    agent.tell("reload")?;
    let after = reads_of_service()?;
    ensure(after == "own ", || format!("after a reload that fails: {after:?}"))?;
    agent.tell("restart").err().map_or_else(
        || Err(Failure::new("it starts with a policy that is wrong")),
        |_| ensure(reads_of_service()? == "own ", || "it is let go while no agent runs".into()),
    )
}

const SCRIPT: &str = "for f in coder/file other; do cat $0/$f | tr '\\n' ' '; done";

/// Which of two files a service reads.
pub(crate) fn reads_of_service() -> Result<String, Failure> {
    let mut run = Command::new("systemd-run");
    run.args(["--wait", "--pipe", "--quiet", "--collect", "--unit=coder-x"]);
    said(run.args(["--expand-environment=no", "/bin/sh", "-c", SCRIPT, "/srv"]))
}

/// Which of the same files a container reads that sees them elsewhere.
fn reads_of_container() -> Result<String, Failure> {
    // The files are those of the machine, the paths those of the container.
    container::run(&["--volume=/srv:/opt:ro"], &["/bin/sh", "-c", SCRIPT, "/opt"])
}
