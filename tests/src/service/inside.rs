//! Processes with a network of their own, as containers have one: names are looked up there as they
//! are in the machine's own network.

use std::{
    fs,
    net::UdpSocket,
    process::{Child, Command, Stdio},
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    RUNTIME, SELECTORS,
    agent::{Agent, Group},
};
use crate::{
    act::{Outcome, Report},
    harness::{Context, Failure, ensure},
    names::network::{Client, Network, ip},
    ringfence::PROGRAM,
    sys,
};

/// What the containers may.
const POLICY: &str = "boundary: 1\negress:\n  - { host: \"*.example.net\", ports: [8080] }\n";
/// The same for one name alone.
const NARROW: &str = "boundary: 1\negress:\n  - { host: v4.example.net, ports: [8080] }\n";
/// The name that both allow, one that the first allows, and one that none does.
const ALLOWED: &str = "reach tcp v4.example.net 8080 4";
const OTHER: &str = "reach tcp www.example.net 8080 4";
const FORBIDDEN: &str = "reach tcp www.example.com 8080 4";
/// What the servers say that are reached.
const AT_ALLOWED: &str = "93.184.216.20";
const AT_OTHER: &str = "93.184.216.10";
const AT_FORBIDDEN: &str = "93.184.216.66";
/// The program that does acts.
const ACTOR: &str = "/usr/local/bin/ringfence-vm-tests";

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a cable to the machine, and a thread that is in it.
pub(crate) struct Apart {
    cable: String,
    jobs: Sender<Job>,
    /// The file that stands for it.
    pub(crate) file: String,
}

impl Apart {
    /// Makes it, with loopback or without.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn make(number: u8, has_loopback: bool) -> Result<Self, Failure> {
        let (jobs, work) = channel::<Job>();
        thread::spawn(move || work.into_iter().for_each(|job| job()));
        let cable = format!("rf-c{number}");
        let mut this = Self { cable, jobs, file: String::new() };
        let thread = this.run(|| {
            // SAFETY: no memory is involved; the thread's network becomes a new one.
            sys::check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            // SAFETY: no memory is involved.
            Ok::<_, std::io::Error>(unsafe { libc::gettid() })
        })??;
        this.file = format!("/proc/{}/task/{thread}/ns/net", std::process::id());
        let cable = &this.cable;
        ip(&format!(
            "link add {cable} type veth peer name rf-inside netns {thread}\n\
             addr add 10.89.{number}.1/24 dev {cable}\nlink set {cable} up"
        ))?;
        this.run(move || {
            ip(&format!(
                "addr add 10.89.{number}.2/24 dev rf-inside\nlink set rf-inside up\n\
                 route add default via 10.89.{number}.1"
            ))
        })??;
        if has_loopback {
            this.bring_loopback_up()?;
        }
        Ok(this)
    }

    fn bring_loopback_up(&self) -> Result<(), Failure> {
        self.run(|| ip("link set lo up"))?
    }

    /// Has the thread do something.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = channel();
        self.jobs.send(Box::new(move || drop(tell.send(job()))))?;
        Ok(told.recv()?)
    }

    /// Starts a program in it.
    fn start(&self, mut command: Command) -> Result<Child, Failure> {
        Ok(self.run(move || command.spawn())??)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What does not go shows in the tests that follow.
        let _ = ip(&format!("link delete {}", self.cable));
    }
}

/// A container: a network of its own, and a control group that is governed once an agent is there.
struct Container {
    apart: Apart,
    group: Group,
}

impl Container {
    fn make(number: u8, has_loopback: bool) -> Result<Self, Failure> {
        let apart = Apart::make(number, has_loopback)?;
        Ok(Self { apart, group: Group::make(&format!("/rf-service/container-{number}"))? })
    }

    /// Starts what a runtime would: a shell that has its place, does `line`, and has its output
    /// read.
    fn start(&self, line: &str) -> Result<Child, Failure> {
        let line = format!("echo $$ > {}; {line}", self.group.entrance().display());
        let mut command = Command::new(RUNTIME);
        command.args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped());
        self.apart.start(command)
    }

    /// Does an act in it.
    fn act(&self, act: &str) -> Result<Outcome, Failure> {
        outcome(self.start(&acting(act))?)
    }

    /// Does it again until it comes to this: a new network takes a moment to be known.
    fn until(&self, act: &str, wanted: &str) -> Result<(), Failure> {
        let mut last = None;
        for _ in 0..60 {
            let outcome = self.act(act)?;
            if outcome == Outcome::Done(wanted.into()) {
                return Ok(());
            }
            last = Some(outcome);
            thread::sleep(Duration::from_millis(200));
        }
        Err(Failure::new(format!("{act}: {last:?}, not {wanted}")))
    }

    fn must(&self, act: &str, wanted: &str) -> Result<(), Failure> {
        let outcome = self.act(act)?;
        ensure(outcome == Outcome::Done(wanted.into()), || {
            format!("{act}: {outcome:?}, not {wanted}")
        })
    }

    fn must_fail(&self, act: &str) -> Result<(), Failure> {
        let outcome = self.act(act)?;
        ensure(!matches!(outcome, Outcome::Done(_)), || format!("{act}: {outcome:?}"))
    }
}

/// The words of a shell that becomes what does an act.
fn acting(act: &str) -> String {
    format!("exec /bin/sh -c 'echo {act} | {ACTOR} act'")
}

fn outcome(child: Child) -> Result<Outcome, Failure> {
    let said = String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned();
    let report: Report = said.trim_end().parse().map_err(|error: String| Failure::new(error))?;
    Ok(report.outcome)
}

/// A network in which containers get to the outside through the machine.
pub(crate) struct Stage {
    pub(crate) network: Network,
    forwarding: String,
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

impl Stage {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn make() -> Result<Self, Failure> {
        let network = Network::make(Client::Machine)?;
        let forwarding = fs::read_to_string(FORWARDING)?;
        fs::write(FORWARDING, "1")?;
        let stage = Self { network, forwarding };
        let mut route = Command::new("ip");
        route.args(["route", "add", "10.89.0.0/16", "via", "10.88.0.1"]);
        let routed = stage.network.start_outside(route)?.wait()?;
        ensure(routed.success(), || "there is no way back from outside".into())?;
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::write(FORWARDING, &self.forwarding);
    }
}

/// A shell in the place of a runtime: what it does by itself is the set-up.
struct Runtime;

impl Runtime {
    fn put() -> Result<Self, Failure> {
        fs::copy("/bin/bash", RUNTIME)?;
        Ok(Self)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = fs::remove_file(RUNTIME);
    }
}

/// Names in two containers at once, through a change of policy, a restart, and a kill.
pub(super) fn names(context: &mut Context) -> Result<(), Failure> {
    let stage = Stage::make()?;
    let _runtime = Runtime::put()?;
    let both = [Container::make(1, true)?, Container::make(2, true)?];
    for container in &both {
        container.must(ALLOWED, AT_ALLOWED)?;
        container.must(OTHER, AT_OTHER)?;
        container.must(FORBIDDEN, AT_FORBIDDEN)?;
    }
    ensure(stage.network.capture.gets("\x07example\x03com"), || "nobody asked".into())?;
    stage.network.capture.clear();
    let mut agent = Agent::prepare(context, SELECTORS, POLICY)?;
    agent.start()?;
    // One that stays in each, and asks when it is told to.
    let waiting = |container: &Container, act: &str| {
        container.start(&format!("exec /bin/sh -c 'read go; echo {act} | {ACTOR} act'"))
    };
    let staying = [waiting(&both[0], ALLOWED)?, waiting(&both[1], ALLOWED)?];
    for container in &both {
        container.until(ALLOWED, AT_ALLOWED)?;
        container.must(OTHER, AT_OTHER)?;
        container.must_fail(FORBIDDEN)?;
    }
    // At the same time, each from its own.
    let [first, second] = [both[0].start(&acting(OTHER))?, both[1].start(&acting(OTHER))?];
    for child in [first, second] {
        let outcome = outcome(child)?;
        ensure(outcome == Outcome::Done(AT_OTHER.into()), || format!("at once: {outcome:?}"))?;
    }
    agent.wait_for("the refused name", |event| {
        event["reason"] == "unlisted_name"
            && event.pointer("/object/host").is_some_and(|host| host == "www.example.com")
    })?;

    agent.write_policy(NARROW)?;
    let reloaded = agent.reload()?;
    ensure(reloaded.status.success(), || String::from_utf8_lossy(&reloaded.stdout).into_owned())?;
    for container in &both {
        container.must(ALLOWED, AT_ALLOWED)?;
        container.must_fail(OTHER)?;
    }
    agent.stop()?;
    agent.start()?;
    for container in &both {
        container.until(ALLOWED, AT_ALLOWED)?;
        container.must_fail(OTHER)?;
    }
    agent.kill()?;
    agent.start()?;
    // Nothing is started there that would tell of its network.
    thread::sleep(Duration::from_secs(3));
    for mut child in staying {
        drop(child.stdin.take());
        let outcome = outcome(child)?;
        ensure(outcome == Outcome::Done(AT_ALLOWED.into()), || format!("stayed: {outcome:?}"))?;
    }
    ensure(!stage.network.capture.gets("\x07example\x03com"), || {
        "a name that is refused was asked for".into()
    })?;
    agent.stop()?;
    agent.must_be_exact()
}

/// The port that the agent's resolver has in the machine's own network.
fn port() -> Result<u16, Failure> {
    let output = Command::new(PROGRAM).args(["status", "--format", "json"]).output()?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    let port = status.pointer("/scopes/0/resolver/v4").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok());
    port.ok_or_else(|| Failure::new("the scope has no resolver").with(status.to_string()))
}

/// A network that has no resolver yet: questions are refused, and go to nobody who listens where it
/// would be.
pub(super) fn nowhere(context: &mut Context) -> Result<(), Failure> {
    const ASK: &str = "ask udp 93.184.216.53 v4.example.net A";
    const ASK_CONNECTED: &str = "ask udp-connected 93.184.216.53 v4.example.net A";
    const ANSWER: &str = "noerror 93.184.216.20 from 93.184.216.53:53";
    let stage = Stage::make()?;
    let _runtime = Runtime::put()?;
    let late = Container::make(1, false)?;
    let other = Container::make(2, true)?;
    for ask in [ASK, ASK_CONNECTED] {
        other.must(ask, ANSWER)?;
        late.must(ask, ANSWER)?;
    }
    let mut agent = Agent::prepare(context, SELECTORS, POLICY)?;
    agent.start()?;
    let port = port()?;
    // Without loopback there is no place for a resolver.
    let mut staying = late.start("exec /bin/sh -c 'read go'")?;
    let is_told = || agent.said().contains("names cannot be looked up yet");
    for _ in 0..200 {
        if is_told() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    ensure(is_told(), || format!("it is not told: {}", agent.said()))?;
    late.must_fail(ASK)?;
    late.apart.bring_loopback_up()?;
    late.until(ASK, ANSWER)?;
    late.must(ASK_CONNECTED, ANSWER)?;
    let times = agent.said().matches("names cannot be looked up yet").count();
    ensure(times == 1, || format!("it is told {times} times: {}", agent.said()))?;

    // Who has the resolver's port where the resolver is not.
    let listener = other.apart.run(move || UdpSocket::bind(("127.0.0.1", port)))??;
    listener.set_nonblocking(true)?;
    agent.kill()?;
    stage.network.capture.clear();
    for ask in [ASK, ASK_CONNECTED] {
        other.must_fail(ask)?;
    }
    let heard = listener.recv(&mut [0; 512]);
    ensure(heard.is_err(), || format!("the listener has got {heard:?}"))?;
    ensure(stage.network.count("93.184.216.53".parse()?, Some(53))? == 0, || {
        "a question has got to a name server".into()
    })?;
    agent.start()?;
    other.until(ASK, ANSWER)?;
    agent.wait_for("no resolver", |event| event["reason"] == "no_resolver")?;
    drop(staying.stdin.take());
    staying.wait()?;
    agent.stop()?;
    agent.must_be_exact()
}

/// A group that is selected below one that is selected too, each with hooks of its own.
pub(super) fn below(context: &mut Context) -> Result<(), Failure> {
    const WAYS: [&str; 3] = ["udp", "udp-connected", "tcp"];
    let stage = Stage::make()?;
    let outer = Group::make("/rf-service/outer")?;
    let inner = Group::make("/rf-service/outer/inner")?;
    let act = |group: &Group, act: &str| {
        let line = format!("echo $$ > {}; {}", group.entrance().display(), acting(act));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).stdout(Stdio::piped());
        outcome(command.spawn()?)
    };
    let all = |governed: bool| -> Result<(), Failure> {
        for group in [&inner, &outer] {
            for way in WAYS {
                let ask = format!("ask {way} 93.184.216.53 v4.example.net A");
                let outcome = act(group, &ask)?;
                let wanted = "noerror 93.184.216.20 from 93.184.216.53:53";
                ensure(outcome == Outcome::Done(wanted.into()), || {
                    format!("{ask}, governed: {governed}: {outcome:?}")
                })?;
            }
            let outcome = act(group, ALLOWED)?;
            ensure(outcome == Outcome::Done(AT_ALLOWED.into()), || format!("{outcome:?}"))?;
            let outcome = act(group, FORBIDDEN)?;
            ensure(matches!(outcome, Outcome::Done(_)) != governed, || format!("{outcome:?}"))?;
        }
        Ok(())
    };
    all(false)?;
    let selectors = "      - cgroup: \"/rf-service/**\"\n";
    let mut agent = Agent::prepare(context, selectors, POLICY)?;
    agent.start()?;
    all(true)?;
    drop((inner, outer, stage));
    agent.stop()
}
