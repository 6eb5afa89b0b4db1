//! Containers of podman that have networks of their own.

use super::{agent::Agent, container};
use crate::{
    harness::{Context, Failure, Test, ensure},
    service::inside::{Apart, Stage},
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("a container of podman with a network of its own looks up the names that it may", names)];

const CONFIGURATION: &str = r#"agent: 1
scopes:
  - name: coder
    policy: [coder.yaml]
    match:
      - cgroup: "/machine.slice/libpod-*.scope"
"#;
const POLICY: &str = r#"boundary: 1
egress: [{ host: "*.example.net", ports: [8080] }]
"#;

/// Asks for a name until there is an answer, and says who is reached at its address.
const SCRIPT: &str = r#"
for n in 1 2 3 4 5 6 7 8 9 10; do
  nslookup "$1" 93.184.216.53 | grep -q "$2" && break
  sleep 1
done
nc -w 5 "$2" 8080 </dev/null
"#;

fn reaches(apart: &Apart, name: &str, address: &str) -> Result<String, Failure> {
    let network = format!("--network=ns:{}", apart.file);
    let script = format!("({SCRIPT}) 2>&1; true");
    let said = container::run(&[&network], &["/bin/sh", "-c", &script, "sh", name, address])?;
    Ok(said.trim().into())
}

fn names(_: &mut Context) -> Result<(), Failure> {
    let _stage = Stage::make()?;
    let apart = Apart::make(1, true)?;
    let allowed = || reaches(&apart, "v4.example.net", "93.184.216.20");
    let forbidden = || reaches(&apart, "www.example.com", "93.184.216.66");
    let free = (allowed()?, forbidden()?);
    ensure(free == ("93.184.216.20".into(), "93.184.216.66".into()), || {
        format!("control: {free:?}")
    })?;
    let _agent = Agent::start(&[("agent.yaml", CONFIGURATION), ("coder.yaml", POLICY)])?;
    let governed = (allowed()?, forbidden()?);
    ensure(governed.0 == free.0 && governed.1.ends_with("Operation not permitted"), || {
        format!("governed: {governed:?}")
    })
}
