//! `kill -9` of `ringfence run`: the command is never ungoverned, and what is left goes away.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use crate::{
    faults::times,
    harness::{Context, Failure, Test, ensure},
    life::process_called,
    ringfence::{ACTOR, PROGRAM, Run, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("kill -9 of ringfence at any moment never leaves the command ungoverned", at_any_moment),
    ("the next start removes what a killed one left, once its command is gone", next_start),
];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/work/**", allow: [read, write] }
"#;

/// Opens a file again and again, and keeps count in another: of successes, of refusals.
///
/// The counts are written at once, so that they outlive whatever ends this process.
pub(crate) fn hammer(arguments: &[Vec<u8>]) -> ExitCode {
    let [secret, counts] = arguments else { return ExitCode::from(2) };
    let Ok(file) = sys::open(counts, libc::O_RDWR | libc::O_CREAT, 0o644).map(File::from) else {
        return ExitCode::from(2);
    };
    let mut numbers = [0_u64; 2];
    loop {
        let refused = sys::open(secret, libc::O_RDONLY, 0).is_err();
        numbers[usize::from(refused)] += 1;
        let bytes = numbers.map(u64::to_ne_bytes).concat();
        if file.write_all_at(&bytes, 0).is_err() {
            return ExitCode::from(2);
        }
    }
}

/// Successes and refusals.
pub(crate) fn counts(file: &Path) -> (u64, u64) {
    let bytes = fs::read(file).unwrap_or_default();
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    (number(0), number(8))
}

/// What the tests here have in common.
pub(crate) struct Stage {
    /// What the policy does not allow to be read.
    pub(crate) secret: String,
    /// Where the command keeps count.
    pub(crate) counts: std::path::PathBuf,
    /// The policy.
    pub(crate) policy: std::path::PathBuf,
}

impl Stage {
    /// Makes the files.
    ///
    /// # Errors
    ///
    /// When they cannot be made.
    pub(crate) fn set(context: &Context) -> Result<Self, Failure> {
        let (work, out) = (context.room.join("work"), context.room.join("out"));
        fs::create_dir_all(&work)?;
        fs::create_dir_all(&out)?;
        fs::write(out.join("secret"), "something")?;
        let text = POLICY.replace("{room}", &context.room.to_string_lossy());
        Ok(Self {
            secret: out.join("secret").display().to_string(),
            counts: work.join("counts"),
            policy: policy(context, "policy.yaml", &text)?,
        })
    }

    fn run(&self, context: &Context) -> Run {
        let counts = self.counts.display().to_string();
        let words = [ACTOR.to_owned(), "hammer".to_owned(), self.secret.clone(), counts];
        Run::new(context, words).policy(&self.policy).unrecorded()
    }

    /// Waits until the command has been refused some more times, or is gone.
    fn goes_on(&self) -> bool {
        let (_, before) = counts(&self.counts);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(240) {
            if counts(&self.counts).1 > before + 20 {
                return true;
            }
            if process_called("\0hammer\0").is_none() {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// Has ringfence remove what killed runs left.
///
/// # Errors
///
/// When it cannot.
pub(crate) fn detach() -> Result<(), Failure> {
    let output = Command::new(PROGRAM).arg("detach").output()?;
    ensure(output.status.success(), || {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("`ringfence detach` fails: {said}")
    })
}

fn at_any_moment(context: &mut Context) -> Result<(), Failure> {
    let stage = Stage::set(context)?;
    // The control: without a boundary the same command succeeds.
    let control = stage.run(context).free().start()?;
    let begin = Instant::now();
    while counts(&stage.counts).0 == 0 && begin.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(5));
    }
    sys::kill(control.process(), libc::SIGKILL)?;
    control.end()?;
    ensure(counts(&stage.counts).0 > 0, || "the control does not succeed".into())?;

    // How long a start takes, from the beginning to the command's first refusal.
    fs::remove_file(&stage.counts)?;
    let begin = Instant::now();
    let first = stage.run(context).start()?;
    while counts(&stage.counts).1 == 0 && begin.elapsed() < Duration::from_secs(240) {
        thread::sleep(Duration::from_millis(2));
    }
    let whole = begin.elapsed();
    let mut was_running = 0;
    let mut problems = Vec::new();
    let mut running = Some(first);
    // All programs are loaded anew before each, which takes an emulated processor half a minute.
    let kills = times(10, 2);
    for round in 0..=kills {
        let moment = whole * round * 12 / (kills * 10);
        let process = match running.take() {
            Some(first) => first,
            None => {
                // Left over from the round before.
                let _ = fs::remove_file(&stage.counts);
                let process = stage.run(context).start()?;
                thread::sleep(moment);
                process
            }
        };
        sys::kill(process.process(), libc::SIGKILL)?;
        process.end()?;
        if process_called("\0hammer\0").is_some() {
            was_running += 1;
            if !stage.goes_on() && process_called("\0hammer\0").is_some() {
                problems.push(format!("killed after {moment:?}, the command hangs"));
            }
        }
        detach()?;
        if let Some(left) = process_called("\0hammer\0") {
            problems.push(format!("killed after {moment:?}: `detach` left process {left} alone"));
            sys::kill(left, libc::SIGKILL)?;
        }
        let (successes, refusals) = counts(&stage.counts);
        if successes > 0 {
            problems.push(format!(
                "killed after {moment:?}, the command read the secret {successes} times, and was \
                 refused {refusals} times"
            ));
        }
    }
    if was_running == 0 {
        problems.push("no command had begun when ringfence was killed".into());
    }
    Failure::of_all(problems)
}

fn next_start(context: &mut Context) -> Result<(), Failure> {
    let stage = Stage::set(context)?;
    let running = stage.run(context).start()?;
    let start = Instant::now();
    while counts(&stage.counts).1 == 0 && start.elapsed() < Duration::from_secs(240) {
        thread::sleep(Duration::from_millis(2));
    }
    sys::kill(running.process(), libc::SIGKILL)?;
    running.end()?;
    ensure(stage.goes_on(), || "the command does not go on under its boundary".into())?;
    let orphan = process_called("\0hammer\0").ok_or_else(|| Failure::new("no command is left"))?;

    // While the command lives, another run leaves it governed.
    let ended = Run::new(context, ["/bin/true"]).policy(&stage.policy).end()?;
    ensure(ended.code() == 0, || ended.said())?;
    ensure(stage.goes_on(), || "another run disturbs the command".into())?;
    ensure(counts(&stage.counts).0 == 0, || "the command has read the secret".into())?;

    sys::kill(orphan, libc::SIGKILL)?;
    while process_called("\0hammer\0").is_some() {
        thread::sleep(Duration::from_millis(5));
    }
    let ended = Run::new(context, ["/bin/true"]).policy(&stage.policy).end()?;
    // That nothing is left is what the harness looks at after each test.
    ensure(ended.code() == 0, || ended.said())
}
