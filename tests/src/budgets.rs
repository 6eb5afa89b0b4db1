//! Budgets: each is enforced to the last unit, by many threads at once, whoever is there to see.

mod worker;

use std::{
    fs::{self, File},
    net::{TcpListener, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ringfence_tests::catalogue::Kernel;
use serde_json::Value;

use crate::{
    harness::{Context, Failure, Test, ensure},
    kill,
    ringfence::{ACTOR, Ended, PROGRAM, Run, policy},
    sys,
};

pub(crate) use worker::main as worker;
use worker::{CALLS, THREADS};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("connections are counted exactly, by however many threads", connections),
    ("a datagram to where a socket sent last is no new connection", destinations),
    ("bytes sent are counted exactly, by however many threads", sent_bytes),
    ("distinct files are counted exactly, and none of the baseline", files_touched),
    ("processes are counted exactly, and given back when they end", processes),
    ("a fork that fails costs nothing of the budget", failed_forks),
    ("bytes written are counted exactly, by however many threads", output_bytes),
    ("every call that writes to a file is counted", writing_calls),
    ("a scope ends when its time is over", wall_clock),
    ("time is over also when ringfence was killed", wall_clock_alone),
    ("a budget outlives kill -9 of ringfence", outlives),
    ("scopes do not share their budgets", apart),
    ("in observe mode a budget is counted and told of, and nothing is refused", observed),
    ("of several documents the smallest limit of each kind holds", smallest),
];

/// A run of the worker under a policy with these budgets.
fn run(context: &Context, more: &str, budgets: &str, words: &[&str]) -> Result<Run, Failure> {
    let text = format!("boundary: 1\n{more}budgets: {{ {budgets} }}\n");
    let number = fs::read_dir(&context.folder)?.count();
    let file = policy(context, &format!("budgets-{number}.yaml"), &text)?;
    Ok(Run::new(context, [&[ACTOR, "spend"], words].concat()).policy(&file))
}

/// What the worker counted.
fn counted(ended: &Ended) -> Result<u64, Failure> {
    let number = ended.stdout.trim().parse();
    number.map_err(|_| Failure::new("the worker said nothing").with(ended.said()))
}

fn expect(ended: &Ended, count: u64) -> Result<(), Failure> {
    let found = counted(ended)?;
    ensure(found == count, || format!("{found} and not {count}\n{}", ended.said()))
}

/// Checks that the budget told once that most of it is used, and once that all is, and that what
/// was refused was refused for it.
fn told(ended: &Ended, kind: &str, limit: u64, action: &str) -> Result<(), Failure> {
    let of_kind = |event: &&Value| event["object"]["budget"] == kind;
    let mut marks: Vec<&Value> = ended.with_verdict("allow").into_iter().filter(of_kind).collect();
    // Of acts at the same time the one that reaches the limit may be told first.
    marks.sort_by_key(|event| event["object"]["used"].as_u64());
    let is_mark = |event: &Value, from: u64| {
        event["action"] == "budget"
            && event["reason"] == "budget_exceeded"
            && event["object"]["limit"] == limit
            && event["object"]["used"].as_u64().is_some_and(|used| (from..=limit).contains(&used))
            && event["rule"].as_str().is_some_and(|rule| rule.contains("budgets-"))
    };
    let wrong = || format!("the marks of {kind}: {marks:?}\n{}", ended.said());
    let [most, all] = marks[..] else { return Err(Failure::new(wrong())) };
    ensure(is_mark(most, limit - limit / 5) && is_mark(all, limit), wrong)?;
    let refused: Vec<&Value> = ended.with_verdict("deny");
    let is_refusal =
        |event: &&Value| event["action"] == action && event["reason"] == "budget_exceeded";
    ensure(!refused.is_empty() && refused.iter().all(is_refusal), || ended.said())
}

/// Accepts connections for as long as the test runs, and says at which port.
fn listen() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(port)
}

/// Tries a budget: without it everything succeeds, with it as much as there is.
fn try_budget(
    context: &Context,
    (more, kind, limit): (&str, &str, u64),
    words: &[&str],
    (all, some): (u64, u64),
) -> Result<Ended, Failure> {
    let free = run(context, more, "", words)?.end()?;
    expect(&free, all)?;
    let ended = run(context, more, &format!("{kind}: {limit}"), words)?.end()?;
    expect(&ended, some)?;
    Ok(ended)
}

fn connections(context: &mut Context) -> Result<(), Failure> {
    let port = listen()?;
    let words = ["connect", &port, "50"];
    let ended = try_budget(context, ("", "connections", 37), &words, (200, 37))?;
    told(&ended, "connections", 37, "connect")
}

fn destinations(context: &mut Context) -> Result<(), Failure> {
    let words = ["destinations", "23000", "20"];
    let ended = try_budget(context, ("", "connections", 5), &words, (20, 10))?;
    told(&ended, "connections", 5, "send")
}

fn sent_bytes(context: &mut Context) -> Result<(), Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port().to_string();
    let words = ["datagrams", &port, "20"];
    // A packet has 128 bytes: its 100 and two headers.
    let ended = try_budget(context, ("", "sent_bytes", 128 * 30), &words, (80, 30))?;
    told(&ended, "sent_bytes", 128 * 30, "send")
}

fn files_touched(context: &mut Context) -> Result<(), Failure> {
    let room = context.room.display().to_string();
    let folder = context.room.join("many");
    fs::create_dir_all(&folder)?;
    for number in 0..60 {
        fs::write(folder.join(number.to_string()), "x")?;
    }
    let more = format!("files: [{{ path: \"{room}/**\", allow: [read, write] }}]\n");
    let words = ["open", &folder.display().to_string(), "60"];
    let ended = try_budget(context, (&more, "files_touched", 23), &words, (60, 23))?;
    told(&ended, "files_touched", 23, "read")?;
    // The same file under two names is one, and another file under the same name is another.
    let script = "cd \"$1\" && : > a && ln a b && cat a b a && rm a && : > a && : > c && cat b";
    let words = ["/bin/sh", "-c", script, "sh", &room];
    let text = format!("boundary: 1\n{more}budgets: {{ files_touched: 2 }}\n");
    let file = policy(context, "names.yaml", &text)?;
    let ended = Run::new(context, words).policy(&file).end()?;
    let refused = ended.with_verdict("deny");
    let path = format!("{room}/c");
    ensure(refused.len() == 1 && refused[0]["object"]["path"] == path.as_str(), || ended.said())
}

fn processes(context: &mut Context) -> Result<(), Failure> {
    // Itself and its threads count too.
    let own = THREADS as u64 + 1;
    let limit = 30;
    let words = ["fork", "20"];
    let all = 20 * THREADS as u64;
    let ended = try_budget(context, ("", "processes", limit), &words, (all, limit - own))?;
    told(&ended, "processes", limit, "budget")?;
    // On 7 an end may go unnoticed until the kernel frees the task.
    let tries = if context.kernel == Kernel::Linux7 { "200" } else { "1" };
    let words = ["fork-again", "20", "10", tries];
    try_budget(context, ("", "processes", limit), &words, (all, limit - own)).map(drop)
}

fn failed_forks(context: &mut Context) -> Result<(), Failure> {
    let (own, limit) = (THREADS as u64 + 1, 30);
    let all = 20 * THREADS as u64;
    let words = ["fail-forks", "20"];
    try_budget(context, ("", "processes", limit), &words, (all, limit - own)).map(drop)
}

fn output_bytes(context: &mut Context) -> Result<(), Failure> {
    let folder = context.room.join("written");
    fs::create_dir_all(&folder)?;
    let empty = || (0..THREADS).try_for_each(|file| fs::write(folder.join(file.to_string()), ""));
    let length = || -> Result<u64, Failure> {
        let each = (0..THREADS).map(|file| fs::metadata(folder.join(file.to_string())));
        Ok(each.collect::<Result<Vec<_>, _>>()?.iter().map(fs::Metadata::len).sum())
    };
    let words = ["write", &folder.display().to_string(), "300"];
    empty()?;
    run(context, "", "", &words)?.end()?;
    let all = length()?;
    ensure(all == 300 * THREADS as u64, || format!("{all} bytes were written without a budget"))?;
    empty()?;
    let ended = run(context, "", "output_bytes: 777", &words)?.end()?;
    let written = length()?;
    ensure(written == 777, || format!("{written} bytes were written\n{}", ended.said()))?;
    told(&ended, "output_bytes", 777, "write")
}

fn writing_calls(context: &mut Context) -> Result<(), Failure> {
    let room = context.room.clone();
    fs::write(room.join("source"), [b'x'; 4096])?;
    let words = ["write-by-each", &room.display().to_string()];
    for (budget, expected) in [("", 4096), ("output_bytes: 4095", 0)] {
        for call in CALLS {
            File::create(room.join(call))?;
        }
        let ended = run(context, "io_uring: allow\n", budget, &words)?.end()?;
        for call in CALLS {
            let length = fs::metadata(room.join(call))?.len();
            ensure(length == expected, || format!("{call}: {length} bytes\n{}", ended.said()))?;
        }
        let refused = ended.with_verdict("deny");
        let is_right =
            |event: &&Value| event["action"] == "write" && event["reason"] == "budget_exceeded";
        let count = if expected == 0 { CALLS.len() } else { 0 };
        ensure(refused.len() == count && refused.iter().all(is_right), || ended.said())?;
    }
    Ok(())
}

fn wall_clock(context: &mut Context) -> Result<(), Failure> {
    let text = "boundary: 1\nbudgets: { wall_clock: 1500ms }\n";
    let file = policy(context, "time.yaml", text)?;
    let script = "(setsid sh -c 'while :; do :; done' &) ; while :; do :; done";
    let ended = Run::new(context, ["/bin/sh", "-c", script]).policy(&file).end()?;
    ensure(ended.code() == 137, || ended.said())?;
    ensure(ended.stderr.contains("wall_clock"), || ended.said())?;
    let of_kind = |event: &&Value| event["object"]["budget"] == "wall_clock";
    let marks: Vec<&Value> = ended.events.iter().filter(of_kind).collect();
    let used: Vec<_> = marks.iter().map(|event| event["object"]["used"].as_u64()).collect();
    ensure(used == [Some(1200), Some(1500)], || ended.said())?;
    ensure(marks[1]["verdict"] == "deny", || ended.said())
}

fn wall_clock_alone(context: &mut Context) -> Result<(), Failure> {
    let allowed = context.room.join("allowed");
    let counts = context.room.join("counts");
    fs::write(&allowed, "x")?;
    let text = "boundary: 1\nbudgets: { wall_clock: 4s }\n";
    let file = policy(context, "time-alone.yaml", text)?;
    let words = [ACTOR, "hammer", &allowed.display().to_string(), &counts.display().to_string()];
    let running = Run::new(context, words).policy(&file).unrecorded().start()?;
    let wait = |done: &dyn Fn((u64, u64)) -> bool| {
        let start = Instant::now();
        while !done(kill::counts(&counts)) {
            ensure(start.elapsed() < Duration::from_secs(240), || "nothing happens".to_owned())?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok::<(), Failure>(())
    };
    wait(&|(opened, _)| opened > 0)?;
    sys::kill(running.process(), libc::SIGKILL)?;
    let refused = wait(&|(_, refused)| refused > 20);
    kill::detach()?;
    running.end()?;
    refused
}

fn outlives(context: &mut Context) -> Result<(), Failure> {
    let port = listen()?;
    let room = context.room.clone();
    let name = "outliving";
    let words = ["in-two-steps", &port, &room.display().to_string(), "3", "10"];
    let running =
        run(context, "", "connections: 5", &words)?.option("--name").option(name).start()?;
    let wait = |file: &str| {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(room.join(file)).unwrap_or_default();
            if text.ends_with('\n') {
                return Ok::<String, Failure>(text.trim().to_owned());
            }
            ensure(start.elapsed() < Duration::from_secs(240), || format!("no {file}"))?;
            thread::sleep(Duration::from_millis(5));
        }
    };
    let first = wait("first")?;
    sys::kill(running.process(), libc::SIGKILL)?;
    running.end()?;
    let status = Command::new(PROGRAM).args(["status", "--format", "json"]).output()?;
    let status: Value = serde_json::from_slice(&status.stdout)
        .map_err(|error| Failure::new(format!("status is no JSON: {error}")))?;
    let scopes = status["scopes"].as_array().cloned().unwrap_or_default();
    let own = scopes.iter().find(|scope| scope["scope"] == name).cloned().unwrap_or_default();
    let budget = own["budgets"][0].clone();
    fs::write(room.join("go-on"), "")?;
    let second = wait("second");
    kill::detach()?;
    let second = second?;
    ensure((first.as_str(), second.as_str()) == ("3", "2"), || format!("{first}, {second}"))?;
    let expected = serde_json::json!({
        "budget": "connections", "used": 3, "limit": 5, "used_ratio": 0.6,
    });
    ensure(budget == expected, || format!("status says {own}"))
}

fn apart(context: &mut Context) -> Result<(), Failure> {
    let port = listen()?;
    let words = ["connect", &port, "20"];
    let runs = [7, 9].map(|limit| {
        let run = run(context, "", &format!("connections: {limit}"), &words)?;
        Ok::<_, Failure>((limit, run.start()?))
    });
    for run in runs {
        let (limit, running) = run?;
        expect(&running.end()?, limit)?;
    }
    Ok(())
}

fn observed(context: &mut Context) -> Result<(), Failure> {
    let port = listen()?;
    let words = ["connect", &port, "10"];
    let ended = run(context, "", "connections: 8", &words)?.observing().end()?;
    expect(&ended, 40)?;
    let marks = ended.with_verdict("allow").len();
    let observed = ended.with_verdict("observe");
    let is_right =
        |event: &&&Value| event["action"] == "connect" && event["reason"] == "budget_exceeded";
    let count = observed.iter().filter(is_right).count();
    ensure(marks == 2 && count == 32 && observed.len() == 32, || ended.said())?;
    ensure(ended.with_verdict("deny").is_empty(), || ended.said())
}

fn smallest(context: &mut Context) -> Result<(), Failure> {
    let port = listen()?;
    let other = "boundary: 1\nbudgets: { connections: 4, processes: 100 }\n";
    let other = policy(context, "other.yaml", other)?;
    let words = ["connect", &port, "10"];
    let ended = run(context, "", "connections: 6", &words)?.policy(&other).end()?;
    expect(&ended, 4)
}
