//! Programs that people use, each with names under a policy that allows them by a wildcard: all
//! works as without, and nothing is refused. They need an environment with real programs.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::network::{Client, Network, public};
use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, policy},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("curl reaches a server by a name that a wildcard allows", |c| works(c, "curl", CURL)),
    ("git clones over HTTP from a name that a wildcard allows", |c| works(c, "git", GIT)),
    ("python3 reaches a server by a name that a wildcard allows", |c| works(c, "python3", PYTHON)),
    ("node reaches a server by a name that a wildcard allows", |c| works(c, "node", NODE)),
    ("getent finds the addresses of a name that a wildcard allows", |c| works(c, "getent", GETENT)),
    ("nslookup and wget of busybox do what they should with such a name", |c| {
        works(c, "busybox", BUSYBOX)
    }),
    ("dig has its answer from the server that it names", |c| works(c, "dig", DIG)),
];

/// Some look names up without saying for which port.
const POLICY: &str = r#"boundary: 1
egress:
  - { host: "*.example.net" }
"#;

const CURL: &str = r#"
test "$(curl -sS http://web.example.net/file)" = served
test "$(curl -4 -sS http://web.example.net/file)" = served
test "$(curl -6 -sS http://web.example.net/file)" = served
"#;

const GIT: &str = r#"
git clone -q http://git.example.net/repository.git one
test "$(cat one/file)" = committed
git -C one fetch -q
test "$(git ls-remote http://git.example.net/repository.git HEAD | wc -l)" -eq 1
"#;

const PYTHON: &str = r#"
python3 - <<END
import socket, urllib.request
assert urllib.request.urlopen("http://web.example.net/file").read() == b"served\n"
found = {entry[4][0] for entry in socket.getaddrinfo("web.example.net", 80)}
assert found == {"93.184.216.30", "2606:2800:220:1::1e"}, found
assert socket.gethostbyname("web.example.net") == "93.184.216.30"
END
"#;

const NODE: &str = r#"
cat > script.js <<END
const assert = require("node:assert");
const dns = require("node:dns/promises");
async function main() {
  const reply = await fetch("http://web.example.net/file");
  assert.equal(await reply.text(), "served\n");
  // By the C library, and by node's own resolver.
  const found = await dns.lookup("web.example.net", { family: 4 });
  assert.equal(found.address, "93.184.216.30");
  assert.deepEqual(await dns.resolve4("web.example.net"), ["93.184.216.30"]);
  assert.deepEqual(await dns.resolve6("web.example.net"), ["2606:2800:220:1::1e"]);
}
main();
END
node script.js
"#;

const GETENT: &str = r#"
getent hosts web.example.net | grep -q '^2606:2800:220:1::1e '
getent ahostsv4 web.example.net | grep -q '^93.184.216.30 '
getent ahosts web.example.net | grep -q '^93.184.216.30 '
"#;

const BUSYBOX: &str = r#"
busybox nslookup web.example.net 93.184.216.53 | grep -q '93\.184\.216\.30'
test "$(busybox wget -q -O - http://web.example.net/file)" = served
"#;

const DIG: &str = r#"
test "$(dig +short @93.184.216.53 web.example.net A)" = 93.184.216.30
test "$(dig +short +tcp @93.184.216.53 web.example.net AAAA)" = 2606:2800:220:1::1e
dig @93.184.216.53 web.example.net | grep -q 'SERVER: 93.184.216.53#53'
"#;

/// A server outside of the boundary.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It fails when the server has ended: nothing to do then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the folder over HTTP, outside.
fn serve(network: &Network, folder: &Path) -> Result<Server, Failure> {
    fs::write(folder.join("file"), "served\n")?;
    if installed("git") {
        let script = "set -e; git init -q -b main made; cd made; echo committed > file; \
             git add file; git -c user.name=x -c user.email=x@example.org commit -q -m x; \
             cd ..; git clone -q --bare made repository.git; \
             git -C repository.git update-server-info";
        let made = Command::new("/bin/sh").args(["-c", script]).current_dir(folder).output()?;
        ensure(made.status.success(), || String::from_utf8_lossy(&made.stderr).into_owned())?;
    }
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-m", "http.server", "--bind", "::", "80"]).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server(network.start_outside(command)?);
    let start = Instant::now();
    let at = SocketAddr::new(public(30), 80);
    while TcpStream::connect_timeout(&at, Duration::from_secs(2)).is_err() {
        ensure(server.0.try_wait()?.is_none(), || "the server does not start".into())?;
        ensure(start.elapsed() < Duration::from_secs(240), || "the server hangs".into())?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn installed(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|place| Path::new(place).join(program).exists())
}

/// Runs a script without a boundary and within: it must end well both times, and nothing be
/// refused.
fn works(context: &mut Context, program: &str, script: &str) -> Result<(), Failure> {
    if !installed(program) {
        context.skip(program, "it is not here");
        return Ok(());
    }
    let network = Network::make(Client::Machine)?;
    let folder = context.folder.join("served");
    fs::create_dir_all(&folder)?;
    let _server = serve(&network, &folder)?;
    let file = policy(context, "policy.yaml", POLICY)?;
    for governed in [false, true] {
        let work = context.room.join(format!("work-{governed}"));
        fs::create_dir_all(&work)?;
        // A line that fails is printed.
        let text = format!("set -e; cd {0}; export HOME={0}; set -x; {script}", work.display());
        let run = Run::new(context, ["/usr/bin/bash", "-c", &text]);
        let run = if governed { run.policy(&file) } else { run.free() };
        let ended = run.end()?;
        let mode = if governed { "within" } else { "without a boundary" };
        let fail = |reason: &str| Err(Failure::new(format!("{mode}: {reason}")).with(ended.said()));
        if ended.code() != 0 {
            return fail("it does not end well");
        }
        if ended.events.iter().any(|event| event["verdict"] == "deny") {
            return fail("something was refused");
        }
        if !network.capture.gets("\x07example\x03net") {
            return fail("no name server was asked");
        }
        network.capture.clear();
    }
    Ok(())
}
