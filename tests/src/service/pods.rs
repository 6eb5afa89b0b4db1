//! The containers of Kubernetes pods, as runtimes make them: control groups with the names that the
//! kubelet gives, a runtime that sets them up, and what it writes of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    READ, REFUSED, RUNTIME,
    agent::{Agent, Group},
    must_be, policy, script,
};
use crate::{
    faults::Full,
    harness::{Context, Failure, ensure},
    ringfence::PROGRAM,
};

/// Containers in one pod.
const MAIN: u8 = 1;
const SIDE: u8 = 2;
const SANDBOX: u8 = 9;

/// What selects pods; the file of pods lies beside the configuration.
const SELECTORS: &str = "      - pod: { labels: { app: coder }, container: main }\n";

/// Python in the place of a runtime, for the time of a test.
struct Runtime;

impl Runtime {
    fn place() -> Result<Self, Failure> {
        fs::copy("/usr/bin/python3", RUNTIME)?;
        Ok(Self)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = fs::remove_file(RUNTIME);
    }
}

fn uid(pod: u8) -> String {
    format!("1b4e28ba-2fa1-11d2-883f-0000000000{pod:02x}")
}

/// The container's identifier.
fn id(pod: u8, container: u8) -> String {
    format!("{pod:032x}{container:032x}")
}

/// A container's control group, as the kubelet's driver for systemd names it.
fn group(pod: u8, container: u8) -> String {
    let uid = uid(pod).replace('-', "_");
    format!(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice/\
         cri-containerd-{}.scope",
        id(pod, container)
    )
}

/// A static pod's, as the driver `cgroupfs` names it.
fn group_of_static() -> String {
    format!("/kubepods/burstable/pod{}/{}", "0123456789abcdef".repeat(2), id(0, MAIN))
}

/// What containerd writes of a container, for the time of a test.
struct Bundle(PathBuf);

impl Bundle {
    fn write(pod: u8, container: u8) -> Result<Self, Failure> {
        let folder = Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io");
        let folder = folder.join(id(pod, container));
        fs::create_dir_all(&folder)?;
        let said = match container {
            SANDBOX => json!({ "io.kubernetes.cri.container-type": "sandbox" }),
            _ => json!({
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": if container == MAIN { "main" } else { "side" },
            }),
        };
        fs::write(folder.join("config.json"), json!({ "annotations": said }).to_string())?;
        Ok(Self(folder))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Who a container's first program runs as.
#[derive(Clone, Copy)]
enum As {
    /// Root with all capabilities, as in a privileged container.
    Root,
    /// Nobody.
    Nobody,
}

/// What is said by a script that a runtime starts in a new container.
fn begin(group: &str, user: As, script: &str) -> Result<(Group, String), Failure> {
    let made = Group::make(group)?;
    // A runtime does more between these two.
    thread::sleep(Duration::from_millis(300));
    let user = if let As::Root = user { "" } else { "os.setuid(65534)" };
    let line = format!(
        "import os\nopen('{}', 'w').write(str(os.getpid()))\n{user}\n\
         os.execv('/bin/sh', ['/bin/sh', '-c', {script:?}])",
        made.entrance().display()
    );
    let output = Command::new(RUNTIME).args(["-c", &line]).output()?;
    Ok((made, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// What is said in a new container that may start. One that could not is made again, as a kubelet
/// does: the agent may not have got to it in time.
fn begin_known(group: &str, script: &str) -> Result<(Group, String), Failure> {
    for _ in 0..20 {
        let begun = begin(group, As::Nobody, script)?;
        if !begun.1.is_empty() {
            return Ok(begun);
        }
    }
    Err(Failure::new(format!("nothing starts in {group}")))
}

/// What is said in a new container that may start.
fn start(group: &str, script: &str) -> Result<String, Failure> {
    begin_known(group, script).map(|(_, said)| said)
}

/// An agent with these pods in its file.
fn prepare(context: &Context, pods: &str, more: &str) -> Result<Agent, Failure> {
    let agent = Agent::prepare(context, SELECTORS, &policy(context, ""))?;
    let folder = agent.policy().parent().map(Path::to_owned).unwrap_or_default();
    fs::create_dir_all(folder.join("pods.d"))?;
    fs::write(folder.join("pods.d/chosen.yaml"), policy(context, ""))?;
    let file = folder.join("agent.yaml");
    let text = fs::read_to_string(&file)?;
    let pods_key = "pods: { source: { file: pods.yaml }, policies: pods.d";
    fs::write(file, format!("{text}{pods_key}{more} }}\n"))?;
    write_pods(&agent, pods)?;
    Ok(agent)
}

fn write_pods(agent: &Agent, pods: &str) -> Result<(), Failure> {
    let file = agent.policy().with_file_name("pods.yaml");
    fs::write(file.with_extension("new"), format!("pods:{pods}\n"))?;
    Ok(fs::rename(file.with_extension("new"), file)?)
}

/// A line of the file of pods.
fn pod(number: u8, rest: &str) -> String {
    format!("\n  - {{ uid: {}, namespace: agents, name: pod-{number}, {rest} }}", uid(number))
}

const CODER: &str = "labels: { app: coder }";
const CHOOSES: &str = "annotations: { ringfence.dev/policy: chosen }";

/// Containers are governed by what their pods are.
pub(super) fn selected(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let _runtime = Runtime::place()?;
    let all = [(1, MAIN), (1, SIDE), (1, SANDBOX), (2, MAIN), (2, SANDBOX), (3, MAIN)];
    let _bundles: Vec<Bundle> =
        all.iter().map(|(pod, one)| Bundle::write(*pod, *one)).collect::<Result<_, _>>()?;
    for (pod, container) in all {
        must_be("ungoverned", &start(&group(pod, container), &script)?, READ)?;
    }
    let pods = [pod(1, CODER), pod(2, CHOOSES), pod(3, "labels: { app: other }")].concat();
    let mut agent = prepare(context, &pods, "")?;
    agent.start()?;
    must_be("by labels and name", &start(&group(1, MAIN), &script)?, REFUSED)?;
    must_be("another name", &start(&group(1, SIDE), &script)?, READ)?;
    must_be("a sandbox", &start(&group(1, SANDBOX), &script)?, READ)?;
    must_be("by annotation", &start(&group(2, MAIN), &script)?, REFUSED)?;
    must_be("a sandbox that chooses", &start(&group(2, SANDBOX), &script)?, READ)?;
    must_be("other labels", &start(&group(3, MAIN), &script)?, READ)?;
    must_be("a static pod", &start(&group_of_static(), &script)?, READ)?;
    // What comes into it later, and while no agent runs.
    let (container, said) = begin_known(&group(1, MAIN), &script)?;
    must_be("again", &said, REFUSED)?;
    agent.kill()?;
    must_be("moved into it", &super::inside(&container, &script)?, REFUSED)?;
    agent.start()?;
    must_be("after a restart", &super::inside(&container, &script)?, REFUSED)?;
    agent.wait_for("the pod's scope", |event| event["scope"] == "tested")?;
    agent.wait_for("the scope that a pod chooses", |event| event["scope"] == "pod-chosen")?;
    agent.stop()
}

/// What is not known is held, and let go when it is known; what is privileged is not.
pub(super) fn held(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let _runtime = Runtime::place()?;
    let _bundles = [Bundle::write(1, MAIN)?, Bundle::write(2, MAIN)?, Bundle::write(3, MAIN)?];
    let start = |pod| begin(&group(pod, MAIN), As::Nobody, &script);
    must_be("ungoverned", &start(1)?.1, READ)?;
    let mut agent = prepare(context, &pod(3, ""), "")?;
    agent.start()?;
    must_be("of no pod that is known", &start(1)?.1, "")?;
    must_be("of a pod that is known", &begin_known(&group(3, MAIN), &script)?.1, READ)?;
    ensure(agent.said().contains("its pod is not known"), || agent.said())?;
    // Nor where there was no room to note it; and that is no reason to hold others for good.
    let full = Full::make()?;
    must_be("without room", &start(1)?.1, "")?;
    drop(full);
    let (first, _) = start(1)?;
    let (second, _) = start(2)?;
    // Without an agent nothing starts that is not known; but what a cluster needs to start one.
    agent.kill()?;
    must_be("without an agent", &start(3)?.1, "")?;
    let privileged = begin(&group(3, SANDBOX), As::Root, &script)?;
    must_be("privileged", &privileged.1, READ)?;
    agent.start()?;
    let pods = [pod(1, CODER), pod(2, ""), pod(3, "")].concat();
    write_pods(&agent, &pods)?;
    until("of a pod that is governed", &first, &script, REFUSED)?;
    until("of a pod that is not", &second, &script, READ)?;
    must_be("a new one", &begin_known(&group(1, MAIN), &script)?.1, REFUSED)?;
    let status = Command::new(PROGRAM).args(["status", "--format", "json"]).output()?;
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure(said.contains("\"pods\""), || format!("the status says nothing of pods: {said}"))?;
    agent.stop()
}

/// Containers that are not known start, and are governed as soon as they are.
pub(super) fn allowed(context: &mut Context) -> Result<(), Failure> {
    let script = script(context)?;
    let _runtime = Runtime::place()?;
    let _bundle = Bundle::write(1, MAIN)?;
    let mut agent = prepare(context, &pod(3, ""), ", unidentified: allow")?;
    agent.start()?;
    let (container, said) = begin(&group(1, MAIN), As::Nobody, &script)?;
    must_be("of no pod that is known", &said, READ)?;
    let waiting = super::Waiting::start(&script)?;
    container.take(waiting.0.id())?;
    write_pods(&agent, &pod(1, CODER))?;
    until("what starts after", &container, &script, REFUSED)?;
    must_be("what ran before", &waiting.go()?, REFUSED)?;
    agent.stop()
}

/// Waits until a shell in a control group says this.
fn until(what: &str, group: &Group, script: &str, wanted: &str) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let said = super::inside(group, script)?;
        if said == wanted {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(20) {
            return must_be(what, &said, wanted);
        }
        thread::sleep(Duration::from_millis(50));
    }
}
