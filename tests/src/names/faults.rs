//! What goes wrong with lookups: the resolver is killed, its table is full, and a process asks for
//! more names than it may. Nothing opens by it that was not open, and what was open stays so.

use std::{
    fs,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use libc::EPERM;
use ringfence_common::installed::MAX_SCOPE_ENTRIES;

use super::{
    POLICY,
    dns::{A, Question},
    network::{Client, Network, TRUSTED, public},
    parts::Parts,
    trial::{Case, Comes, Told, but, closed, enforce, expect, same, says, unlisted},
    zone::{RELEASE, filling},
};
use crate::{
    act::Outcome,
    harness::{Context, Failure, Test, ensure, note},
    kill::detach,
    ringfence::policy,
};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("when ringfence is killed while a name is looked up, nothing opens by it", killed),
    ("when its table is full, a name opens nothing more, and what is open stays open", full),
    ("of ten thousand names in a minute most are refused, and others go on", flood),
];

/// How long a question may take to come to a name server.
const PATIENCE: Duration = Duration::from_secs(120);
/// Addresses that one answer may open.
const MOST: u32 = 128;
/// Bytes that a flood of questions may take in the memory of `ringfence run`.
const GROWTH: u64 = 16 << 20;

/// Waits until the name server that everybody trusts has got a question for a name.
fn wait_for_question(network: &Network, label: &str) -> Result<(), Failure> {
    let start = Instant::now();
    let is_it = |bytes: &[u8]| {
        let bytes = bytes.to_ascii_lowercase();
        bytes.windows(label.len()).any(|part| part == label.as_bytes())
    };
    while start.elapsed() < PATIENCE {
        if network.notes.take().iter().any(|one| one.to.port() == 53 && is_it(&one.bytes)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(Failure::new(format!("{label} is not asked for")))
}

/// Lets the answers go that the name server holds; it has got what was sent to it before.
fn release() -> Result<(), Failure> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(&Question::new(1, RELEASE, A).bytes(), (public(TRUSTED), 53))?;
    socket.recv_from(&mut [0; 512])?;
    Ok(())
}

fn killed(context: &mut Context) -> Result<(), Failure> {
    let first: [String; 2] = [
        "reach tcp www.example.net 8080 4".into(),
        "ask udp 93.184.216.53 late.example.net A".into(),
    ];
    // What it tries then, what comes of it without a boundary, and what within one whose resolver
    // was killed.
    let done = |text: &str| Some(Outcome::Done(text.to_owned()));
    let refused = Some(Outcome::Errno(EPERM));
    let then = [
        ("reach tcp 93.184.216.22 8080", done("93.184.216.22"), refused.clone()),
        ("reach tcp late.example.net 8080 4", done("93.184.216.22"), None),
        ("reach tcp api.example.net 8080 4", done("93.184.216.11"), None),
        ("reach tcp 93.184.216.11 8080", done("93.184.216.11"), refused.clone()),
        ("reach tcp 93.184.216.66 8080", done("93.184.216.66"), refused.clone()),
        ("reach udp 93.184.216.66 5300", done("93.184.216.66"), refused),
        ("send-raw udp 93.184.216.53 53 what-is-no-question", done(""), done("")),
        // It was open before, for its time.
        ("reach tcp 93.184.216.10 8080", done("93.184.216.10"), done("93.184.216.10")),
    ];
    let acts: Vec<String> = then.iter().map(|(act, ..)| (*act).to_owned()).collect();
    let file = policy(context, "policy.yaml", POLICY)?;
    let mut problems = Vec::new();
    for is_governed in [false, true] {
        let network = Network::make(Client::Machine)?;
        let name = if is_governed { "governed" } else { "free" };
        let mut parts = Parts::start(context, name, &[&first, &acts], |run| {
            if is_governed { run.policy(&file) } else { run.free() }
        })?;
        parts.begin(0)?;
        wait_for_question(&network, "\x04late\x07example\x03net")?;
        if is_governed {
            parts.kill()?;
        }
        release()?;
        network.notes.take();
        let asked = parts.finish(0)?;
        let is_answered = matches!(asked[1], Outcome::Done(_));
        if asked[0] != Outcome::Done("93.184.216.10".to_owned()) || is_answered == is_governed {
            problems.push(format!("{name}, before: {asked:?}"));
        }
        let outcomes = parts.finish(1)?;
        for ((act, free, governed), outcome) in then.iter().zip(&outcomes) {
            let is_right = match if is_governed { governed } else { free } {
                Some(expected) => outcome == expected,
                None => !matches!(outcome, Outcome::Done(_)),
            };
            if !is_right {
                problems.push(format!("{name}: {act}: {outcome}"));
            }
        }
        let is_heard = network.notes.take().iter().any(|one| one.to.port() == 53);
        if is_heard == is_governed {
            problems.push(format!("{name}: that a name server was asked is {is_heard}"));
        }
        if is_governed {
            detach()?;
        } else {
            parts.end()?;
        }
    }
    Failure::of_all(problems)
}

fn full(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let policy = POLICY.replace("8080, 5300", "8080");
    let from = "from 93.184.216.53:53";
    // With one name that has one address, and another that has what is left.
    let whole = (MAX_SCOPE_ENTRIES - 1) / MOST;
    let left = MAX_SCOPE_ENTRIES - 1 - whole * MOST;
    let one = filling(60_000, 0);
    let beyond = filling(60_002, 0);
    let asked = |name: &str| format!("ask tcp 93.184.216.53 {name}.example.net A");
    let told = Told { action: "resolve", reason: "table_full", shows: "fill60002-1" };
    let servfail = || says(format!("servfail {from}"));
    let reach = |name: &str| format!("reach tcp {name}.example.net 8080 4");
    let stays = || same(reach("fill60000-1"), one.to_string());
    let cases: Vec<Case> = vec![
        stays(),
        same(format!("ask-many tcp 93.184.216.53 {whole} {MOST}"), format!("{whole} noerror")),
        but(asked(&format!("fill60001-{left}")), Comes::Off, Comes::Off),
        but(asked("fill60002-1"), Comes::Off, servfail()).told(told),
        closed(reach("fill60002-1"), Comes::ToNothing, told),
        closed(
            format!("reach tcp {beyond} 8080"),
            Comes::Errno(EPERM),
            unlisted("connect", "20.234.98.0"),
        ),
        // What is open, to whom goes there and to whom asks again.
        same(format!("reach tcp {} 8080", filling(0, 0)), filling(0, 0).to_string()),
        same(format!("reach tcp {} 8080", filling(1, 127)), filling(1, 127).to_string()),
        stays(),
        // What no name opens.
        closed(
            "reach tcp 93.184.216.66 8080",
            Comes::Errno(EPERM),
            unlisted("connect", "93.184.216.66"),
        ),
    ];
    let start = Instant::now();
    enforce(context, &policy, &cases)?;
    note(&format!("{MAX_SCOPE_ENTRIES} addresses: {:.0} s", start.elapsed().as_secs_f32()));
    drop(network);
    Ok(())
}

/// The most memory that a process had, in bytes.
fn peak(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|number| number << 10)
}

fn flood(context: &mut Context) -> Result<(), Failure> {
    const NAMES: usize = 10_000;
    let network = Network::make(Client::Machine)?;
    let text = "answered: open, refused: EPERM; another name: answered";
    let told = Told { action: "resolve", reason: "too_many_names", shows: "example.net" };
    let cases =
        [but(format!("flood udp 93.184.216.53 {NAMES}"), says("all"), says(text)).told(told)];
    super::trial::control(context, &cases)?;
    network.notes.take();
    let file = policy(context, "policy.yaml", POLICY)?;
    let start = Instant::now();
    let running = super::trial::begin(context, &cases, &file)?;
    let process = running.process();
    wait_for_question(&network, "\x07fill0-1")?;
    let before = peak(process).unwrap_or_default();
    let watch = thread::spawn(move || {
        let mut most = 0;
        while let Some(peak) = peak(process) {
            most = peak;
            thread::sleep(Duration::from_millis(50));
        }
        most
    });
    let ended = running.end()?;
    super::trial::judge_enforced(&cases, &ended)?;
    let minutes = start.elapsed().as_secs() / 60 + 1;
    let heard =
        network.notes.take().iter().filter(|one| one.to.port() == 53 && !one.is_tcp).count();
    // Up to a thousand in each minute that has begun, and each perhaps twice.
    let most = 2 * 1000 * (minutes as usize + 1);
    expect(&ended, heard < most.min(NAMES), &format!("the name server got {heard} questions"))?;
    let after = watch.join().unwrap_or(u64::MAX);
    let grown = after.saturating_sub(before);
    note(&format!("{heard} of {NAMES} questions left; memory: {before}, at most {after} bytes"));
    ensure(before > 0 && grown < GROWTH, || format!("the memory grew by {grown} bytes"))
}
