//! Scopes that share one set of kernel programs: closed to each other, and loaded for the first,
//! gone with the last.

use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

use libc::{EPERM, SIGTERM};
use ringfence_tests::loaded;

use crate::{
    attack::{Attack, By, refused, works},
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, Running, policy},
    status, sys,
};

/// Those that need that nothing else is in force.
pub(crate) const ALONE: &[Test] = &[
    ("the first scope loads the programs, others share them, and none stay", first_and_last),
    ("status without scopes says that there are none", status::without_scopes),
];

/// Those beside others.
pub(crate) const TESTS: &[Test] = &[
    ("scopes that share their programs are closed to each other", neighbours),
    ("a large policy and a small one hold beside each other", sizes),
];

const POLICY: &str = "boundary: 1
files: [{ path: \"/**\", allow: [read, write] }, { path: \"/etc/shadow\", deny: [read] }]
egress: []
listen: [{ port: 20700 }]
";

/// A scope that holds until it is told to end, and where its process has written its number.
struct Neighbour(Running);

impl Neighbour {
    /// Starts one, and waits until its command runs.
    fn start(context: &Context, name: &str, act: &str) -> Result<(Self, String), Failure> {
        let told = context.room.join(format!("{name}.pid"));
        let file = policy(context, &format!("{name}.yaml"), POLICY)?;
        let line = format!("{act} {}", told.display());
        let run = Run::acts(context, &[line], true).policy(&file);
        let running = Self(run.option("--name").option(name).start()?);
        for _ in 0..24_000 {
            let text = fs::read_to_string(&told).unwrap_or_default();
            if text.ends_with('\n') {
                return Ok((running, text.trim().to_owned()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let said = running.0.end().map(|ended| ended.said()).unwrap_or_default();
        Err(Failure::new(format!("{name} does not begin")).with(said))
    }

    fn end(self) -> Result<(), Failure> {
        sys::kill(self.0.process(), SIGTERM)?;
        self.0.end().map(drop)
    }
}

fn nothing(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn neighbours(context: &mut Context) -> Result<(), Failure> {
    let (neighbour, process) = Neighbour::start(context, "neighbour", "be-neighbour")?;
    let unlisted = By::Default("egress:");
    let guarded = |act: String, action| refused(act, EPERM, action, "self_protection", By::Nothing);
    let cases = [
        guarded(format!("signal {process} 0"), "signal"),
        guarded(format!("seize {process}"), "ptrace"),
        refused("tcp 127.0.0.1 20700", EPERM, "connect", "egress_violation", unlisted),
        refused(
            "unix-connect @rf-neighbour",
            EPERM,
            "connect",
            "egress_violation",
            By::Default("files:"),
        ),
        // Its own are open to it as before.
        works("serve-self 127.0.0.1 127.0.0.1"),
        works("unix-own @rf-test-own{base}"),
    ];
    let tried = Attack { policy: POLICY, prepare: nothing, observe: true }.run(context, &cases);
    neighbour.end()?;
    tried
}

fn sizes(context: &mut Context) -> Result<(), Failure> {
    let room = context.room.display().to_string();
    for word in ["small", "large"] {
        fs::write(context.room.join(word), format!("{word}\n"))?;
    }
    let rule = |name: &str| format!("  - {{ path: \"{room}/{name}\", allow: [read] }}\n");
    // So many different names that their table is larger than most policies need together.
    let many: String = (0..1000).map(|number| rule(&format!("project-{number}/**"))).collect();
    let mut runs = Vec::new();
    for (word, more) in [("small", String::new()), ("large", many)] {
        let text = format!("boundary: 1\nfiles:\n{}{more}", rule(word));
        let file = policy(context, &format!("{word}.yaml"), &text)?;
        let script = format!("sleep 1; cat {room}/small {room}/large; sleep 1");
        runs.push(Run::new(context, ["/bin/sh", "-c", &script]).policy(&file).start()?);
    }
    let ended = runs.into_iter().map(Running::end).collect::<Result<Vec<_>, _>>()?;
    let said = || format!("{}\n{}", ended[0].said(), ended[1].said());
    ensure(ended[0].stdout == "small\n" && ended[1].stdout == "large\n", said)?;
    Ok(())
}

fn programs() -> Result<BTreeSet<u32>, Failure> {
    Ok(loaded::programs()?)
}

fn first_and_last(context: &mut Context) -> Result<(), Failure> {
    let before = programs()?;
    let (first, _) = Neighbour::start(context, "first", "hold-on")?;
    let loaded = programs()?;
    let new = loaded.difference(&before).count();
    ensure(new > 40, || format!("{new} programs were loaded"))?;
    let (second, _) = Neighbour::start(context, "second", "hold-on")?;
    let more = programs()?.difference(&loaded).count();
    ensure(more == 0, || format!("the second scope loaded {more} programs"))?;
    first.end()?;
    let reads = |context: &Context| -> Result<(), Failure> {
        let file = policy(context, "third.yaml", POLICY)?;
        let ended = Run::new(context, ["/bin/cat", "/etc/shadow"]).policy(&file).end()?;
        let is_refused = ended.code() != 0 && !ended.with_verdict("deny").is_empty();
        ensure(is_refused, || ended.said())
    };
    // What the first has loaded holds for a third.
    reads(context)?;
    let more = programs()?.difference(&loaded).count();
    ensure(more == 0, || format!("the third scope loaded {more} programs"))?;
    second.end()?;
    let left = fs::read_dir("/sys/fs/bpf/ringfence").map_or(0, Iterator::count);
    ensure(left == 0, || format!("{left} sets of programs are left"))
}
