//! What is around the agent: its folder, things that are none of its business, and services.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use serde_json::Value;

use crate::{
    Problem,
    acts::{ACTS, LISTED, ROOM, UNLISTED},
};

/// How the agent is run.
#[derive(Debug)]
pub(crate) enum Agent {
    /// Without ringfence.
    Free,
    /// Within the boundary.
    Governed,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For each act whether it worked; `None` when it was not tried.
    pub(crate) worked: Vec<Option<bool>>,
    /// What ringfence recorded.
    pub(crate) events: Vec<Value>,
    /// What was printed on standard error.
    pub(crate) complaints: String,
}

/// The stage, set.
#[derive(Debug)]
pub(crate) struct Stage {
    ringfence: PathBuf,
    policy: PathBuf,
    /// This program, at a place from where the agent may execute it.
    client: PathBuf,
    /// Whether the client is a copy that has to be removed.
    is_copy: bool,
}

/// Where the agent may execute a program from, whatever the place of this one.
const CLIENT: &str = "/usr/local/bin/ringfence-demo-client";

impl Stage {
    /// Sets it.
    ///
    /// # Errors
    ///
    /// When we are not root, or a port is in use.
    pub(crate) fn set(ringfence: &Path, policy: &Path) -> Result<Self, Problem> {
        // Reading it is one of the agent's acts, and must work without a boundary.
        File::open("/etc/shadow").map_err(|error| format!("/etc/shadow: {error}; be root"))?;
        let own = std::env::current_exe()?;
        let is_copy = !own.starts_with("/usr/local/bin");
        let client = if is_copy { PathBuf::from(CLIENT) } else { own.clone() };
        if is_copy {
            fs::copy(&own, &client).map_err(|error| format!("{CLIENT}: {error}"))?;
        }
        let stage =
            Self { ringfence: ringfence.to_owned(), policy: policy.to_owned(), client, is_copy };
        for port in [LISTED, UNLISTED] {
            serve((Ipv4Addr::LOCALHOST, port))?;
            serve((Ipv6Addr::LOCALHOST, port))?;
            serve_datagrams(port)?;
        }
        Ok(stage)
    }

    /// Removes all of it.
    pub(crate) fn clear(&self) {
        // What is not there need not go.
        let _ = fs::remove_dir_all(ROOM);
        if self.is_copy {
            let _ = fs::remove_file(&self.client);
        }
    }

    /// Makes the folders anew: an agent that runs freely leaves them in disorder.
    fn make_folders() -> Result<(), Problem> {
        let room = Path::new(ROOM);
        if room.exists() {
            fs::remove_dir_all(room)?;
        }
        for folder in ["work", "outside", "home/.ssh"] {
            fs::create_dir_all(room.join(folder))?;
        }
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nnot a real one\n";
        fs::write(room.join("home/.ssh/id_ed25519"), key)?;
        fs::write(room.join("outside/notes"), "somebody else's\n")?;
        let downloaded = room.join("work/downloaded");
        fs::copy("/bin/true", &downloaded)?;
        fs::set_permissions(downloaded, PermissionsExt::from_mode(0o755))?;
        Ok(())
    }

    /// Has the agent do all its acts.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn run(&self, agent: &Agent) -> Result<Outcome, Problem> {
        Self::make_folders()?;
        let script = self.script();
        let work = format!("{ROOM}/work");
        // Not in /tmp, where others could have put something of this name.
        let events = Path::new("/run/ringfence-demo-events");
        let _ = fs::remove_file(events);
        let mut command = match agent {
            Agent::Free => Command::new("/bin/sh"),
            Agent::Governed => {
                let mut command = Command::new(&self.ringfence);
                command.arg("run").arg("--policy").arg(&self.policy);
                command.arg("--events").arg(events).args(["--", "/bin/sh"]);
                command
            }
        };
        let output = command.arg("-c").arg(script).current_dir(work).output()?;
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("the agent could not be run: {complaints}").into());
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let worked = (0..ACTS.len()).map(|number| {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("#{number}=")));
            line.filter(|code| *code != "skipped").map(|code| code == "0")
        });
        let text = fs::read_to_string(events).unwrap_or_default();
        let _ = fs::remove_file(events);
        let events = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Outcome { worked: worked.collect(), events, complaints })
    }

    /// All acts in one shell, each in a subshell, with a line for the exit code of each.
    fn script(&self) -> String {
        let client = format!("{} client", self.client.display());
        let lines = ACTS.iter().enumerate().map(|(number, act)| {
            let command = act.command.replace("CLIENT", &client);
            let done = format!("( {command} ) >/dev/null; echo \"#{number}=$?\"");
            match act.needs {
                None => done,
                Some(program) => format!(
                    "if command -v {program} >/dev/null; then {done}; else echo \"#{number}=skipped\"; fi"
                ),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Answers each connection with three bytes.
fn serve(to: impl ToSocketAddrs) -> Result<(), Problem> {
    let listener = TcpListener::bind(to).map_err(|error| format!("a port of the demo: {error}"))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 16];
            // A client that went away is told of by the client's own failure.
            let _ = stream.read(&mut request).and_then(|_| stream.write_all(b"ok\n"));
        }
    });
    Ok(())
}

/// Answers each datagram.
fn serve_datagrams(port: u16) -> Result<(), Problem> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    thread::spawn(move || {
        let mut text = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut text) {
            let _ = socket.send_to(b"ok\n", from);
        }
    });
    Ok(())
}
