//! Runs the tests one after the other, each in a process of its own, and says what came of them.

mod keeper;
mod traces;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use keeper::Keeper;
use ringfence_tests::catalogue::Kernel;
use traces::Traces;

use crate::share;

/// A test: a sentence about behaviour, and what finds out whether it holds.
pub(crate) type Test = (&'static str, fn(&mut Context) -> Result<(), Failure>);

/// The tests of an environment.
pub(crate) struct Tests {
    /// Those that are about loading the kernel programs, and letting go of them.
    pub(crate) alone: Vec<Test>,
    /// Those beside which a scope keeps the programs loaded.
    pub(crate) others: Vec<Test>,
}

/// How long a test may take. Loading the kernel programs takes seconds in an emulator.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Where tests have their folders.
const ROOM: &str = "/tmp/rf";

/// What an environment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A kernel, and what it enforces.
    Kernel,
    /// Real programs.
    Programs,
    /// A Debian system: its init, containers, monitoring.
    System,
}

/// The environments that are for one thing only.
const SPECIAL: [(&str, Purpose); 2] =
    [("6.12-programs", Purpose::Programs), ("6.12-system", Purpose::System)];

/// What the program was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    kernel: Kernel,
    /// As `--environment` names it.
    environment: String,
    purpose: Purpose,
    /// What the sentences of the tests that run contain, one of these; all run without any.
    filters: Vec<String>,
    /// Set in the process that runs one test.
    only: Option<usize>,
    /// How long each storm lasts, in seconds.
    storm: Option<String>,
    /// Whether all tests run here, and try everything as often as is promised.
    full: bool,
}

/// Set where everything is tried as often as is promised.
pub(crate) const FULL: &str = "RINGFENCE_TESTS_FULL";

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong.
    pub(crate) fn parse(arguments: Vec<String>) -> Result<Self, String> {
        let mut kernel = None;
        let mut options = Self {
            kernel: Kernel::Linux6_12,
            environment: String::new(),
            purpose: Purpose::Kernel,
            filters: Vec::new(),
            only: None,
            storm: None,
            full: std::env::var_os(FULL).is_some(),
        };
        let mut words = arguments.into_iter();
        while let Some(word) = words.next() {
            if word == "--full" {
                options.full = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` has no value"))?;
            match word.as_str() {
                "--environment" => {
                    let special = SPECIAL.iter().find(|special| special.0 == value);
                    (kernel, options.purpose) = match special {
                        Some(special) => (Some(Kernel::Linux6_12), special.1),
                        None => {
                            let known = Kernel::ALL.into_iter().find(|one| one.name() == value);
                            (known, Purpose::Kernel)
                        }
                    };
                    options.environment = value;
                }
                "--filter" => options.filters.push(value),
                // Of this process, and of those that run the tests.
                "--storm-seconds" => options.storm = Some(value),
                "--only" => options.only = value.parse().ok(),
                _ => return Err(format!("`{word}` is not known")),
            }
        }
        let known = || {
            let names = Kernel::ALL.map(Kernel::name).into_iter().chain(SPECIAL.map(|one| one.0));
            format!("`--environment` is one of {}", names.collect::<Vec<_>>().join(", "))
        };
        options.kernel = kernel.ok_or_else(known)?;
        Ok(options)
    }
}

impl Options {
    /// How long a test may take.
    fn patience(&self) -> Duration {
        let storm: u64 = self.storm.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0);
        let full = if self.full { 6 * PATIENCE } else { PATIENCE };
        full + Duration::from_secs(storm.saturating_mul(10))
    }

    /// Which tests are to run.
    pub(crate) const fn purpose(&self) -> Purpose {
        self.purpose
    }
}

/// Why a test failed.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: String,
    details: Vec<String>,
}

impl Failure {
    /// A failure in one sentence.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), details: Vec::new() }
    }

    /// The same with more to read.
    pub(crate) fn with(mut self, detail: impl Into<String>) -> Self {
        self.details.extend(detail.into().lines().map(str::to_owned));
        self
    }

    /// A failure of several things, if there is any.
    ///
    /// # Errors
    ///
    /// When there is.
    pub(crate) fn of_all(mut problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        let count = problems.len();
        let mut reason = problems.remove(0);
        if count > 1 {
            reason = format!("{count} things are wrong; the first: {reason}");
        }
        Err(Self { reason, details: problems })
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// Fails with a sentence unless something holds.
///
/// # Errors
///
/// When it does not.
pub(crate) fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(reason())) }
}

/// What a test has.
#[derive(Debug)]
pub(crate) struct Context {
    /// A folder of its own, for what no boundary is about: policies, events.
    pub(crate) folder: PathBuf,
    /// A folder that boundaries are about.
    pub(crate) room: PathBuf,
    /// What it runs on.
    pub(crate) kernel: Kernel,
    /// What came of each row of the catalogue.
    rows: Vec<String>,
    /// Parts that this kernel cannot have, and why.
    skipped: Vec<(String, String)>,
}

impl Context {
    /// Notes what came of a row of the catalogue.
    pub(crate) fn row(&mut self, result: String) {
        self.rows.push(result);
    }

    /// Notes that a part of the test needs what this kernel does not have.
    pub(crate) fn skip(&mut self, part: &str, reason: impl Into<String>) {
        self.skipped.push((part.to_owned(), reason.into()));
    }
}

/// Says something that is worth knowing of a test that passes: how much it tried.
pub(crate) fn note(text: &str) {
    say(&format!("noted {text}"));
}

/// Runs the tests, or in a process of its own the one that was asked for.
pub(crate) fn main(options: &Options, tests: &Tests) -> ExitCode {
    let all = || tests.alone.iter().chain(&tests.others);
    if let Some(test) = options.only.and_then(|index| all().nth(index)) {
        return run_here(options, test);
    }
    // What a test leaves behind becomes our child, and is found.
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let mut counts = [0_usize; 3];
    let mut ended = BTreeMap::new();
    let mut keeper = None;
    for (index, (name, _)) in all().enumerate() {
        let is_meant = |filter: &String| name.contains(filter);
        if !options.filters.is_empty() && !options.filters.iter().any(is_meant) {
            continue;
        }
        let is_shared = !options.full && options.purpose == Purpose::Kernel;
        if let Some(kernel) = share::of_another(name, options.kernel).filter(|_| is_shared) {
            say(&format!("skipped {name}: of the usual run on {kernel}; `--full` has it on each"));
            counts[2] += 1;
            continue;
        }
        let start = Instant::now();
        if index >= tests.alone.len() && keeper.is_none() {
            match Keeper::start() {
                Ok(started) => keeper = Some(started),
                Err(error) => {
                    say(&format!("FAILED {KEPT}: {error}"));
                    return ExitCode::from(1);
                }
            }
        }
        let before = Traces::now(keeper.as_ref().map(Keeper::process));
        let (problem, skipped, notes) = run_apart(options, index, &before);
        ended.extend(before.programs().into_iter().map(|program| (program, *name)));
        let seconds = start.elapsed().as_secs_f32();
        match &problem {
            None => say(&format!("ok {name}\n  {seconds:.1} s")),
            Some(problem) => {
                let mut lines = problem.lines();
                say(&format!("FAILED {name}: {}", lines.next().unwrap_or("no reason given")));
                lines.for_each(|line| say(&format!("    {line}")));
            }
        }
        notes.iter().for_each(|line| say(&format!("  {line}")));
        skipped.iter().for_each(|line| say(&format!("skipped {name}, {line}")));
        counts[usize::from(problem.is_some())] += 1;
        counts[2] += skipped.len();
    }
    if keeper.as_mut().is_some_and(|keeper| !keeper.is_running()) {
        say(&format!("FAILED {KEPT}: it has ended"));
        counts[1] += 1;
    }
    drop(keeper);
    let problem = not_freed(&ended);
    match &problem {
        None => say(&format!("ok {FREED}")),
        Some(problem) => say(&format!("FAILED {FREED}: {problem}")),
    }
    counts[usize::from(problem.is_some())] += 1;
    let [passed, failed, skipped] = counts;
    say(&format!("vm-tests: {passed} passed, {failed} failed, {skipped} skipped"));
    ExitCode::from(u8::from(failed > 0))
}

/// What holds while tests run.
const KEPT: &str = "a scope stays in force beside all others";
/// What holds after all tests.
const FREED: &str = "every program that was loaded for a test is freed again";

/// Which of the programs that tests have loaded and ended are there still.
fn not_freed(ended: &BTreeMap<u32, &str>) -> Option<String> {
    let left = traces::not_freed(&ended.keys().copied().collect());
    let tests: BTreeSet<&str> = left.iter().filter_map(|id| ended.get(id).copied()).collect();
    let tests: Vec<&str> = tests.into_iter().collect();
    (!left.is_empty()).then(|| format!("{} are left, of: {}", left.len(), tests.join("; ")))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to be told when the reader is gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs one test in this process: what is wrong goes to standard output, and `skipped` lines.
fn run_here(options: &Options, (_, test): &Test) -> ExitCode {
    let mut context = Context {
        folder: Path::new(ROOM).join("harness"),
        room: Path::new(ROOM).join("room"),
        kernel: options.kernel,
        rows: Vec::new(),
        skipped: Vec::new(),
    };
    let made = [&context.folder, &context.room].map(fs::create_dir_all);
    let result = made.into_iter().collect::<Result<(), _>>().map_err(Failure::from);
    let result = result.and_then(|()| test(&mut context));
    for row in &context.rows {
        say(&format!("{ROW}{row}"));
    }
    for (part, reason) in &context.skipped {
        say(&format!("skipped {part}: {reason}"));
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { reason, details }) => {
            say(&reason.replace('\n', " / "));
            details.iter().for_each(|line| say(line));
            ExitCode::from(1)
        }
    }
}

/// Begins a line about a row of the catalogue.
const ROW: &str = "row: ";

/// Runs a test in a process of its own and looks at what it leaves behind. Gives what is wrong,
/// if anything, what was skipped, and what was noted.
fn run_apart(
    options: &Options,
    index: usize,
    before: &Traces,
) -> (Option<String>, Vec<String>, Vec<String>) {
    let (ended_well, output) = match run_process(options, index) {
        Ok(ended) => ended,
        Err(error) => (false, format!("the test could not be run: {error}")),
    };
    let beginning = |word: &str| -> Vec<String> {
        output.lines().filter_map(|line| Some(line.strip_prefix(word)?.to_owned())).collect()
    };
    let (skipped, mut notes) = (beginning("skipped "), beginning("noted "));
    notes.extend(output.lines().filter(|line| line.starts_with(ROW)).map(str::to_owned));
    let is_other =
        |line: &&str| !["skipped ", "noted ", ROW].iter().any(|word| line.starts_with(word));
    let mut lines: Vec<&str> = output.lines().filter(is_other).collect();
    let leaks = before.leaks();
    if !ended_well && lines.is_empty() {
        lines.push("it ended without a word");
    }
    if ended_well {
        lines.clear();
    }
    lines.extend(leaks.iter().map(String::as_str));
    ((!lines.is_empty()).then(|| lines.join("\n")), skipped, notes)
}

fn run_process(options: &Options, index: usize) -> std::io::Result<(bool, String)> {
    clear_room();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--environment", &options.environment, "--only", &index.to_string()]);
    if let Some(seconds) = &options.storm {
        command.env(crate::storm::SECONDS, seconds);
    }
    if options.full {
        command.env(FULL, "1");
    }
    let output = Path::new("/run/ringfence-test-output");
    let file = fs::File::create(output)?;
    let mut test = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = test.try_wait()? {
            break status;
        }
        if start.elapsed() > options.patience() {
            test.kill()?;
            test.wait()?;
            return Ok((false, format!("it took more than {} s", options.patience().as_secs())));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut text = Vec::new();
    fs::File::open(output)?.read_to_end(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if status.code().is_none() {
        text.push_str(&format!("the test itself ended badly: {status}\n"));
    }
    Ok((status.success(), text))
}

/// Removes the tests' folders; trees in them may be deeper than a path can be long.
fn clear_room() {
    let _ = Command::new("rm").args(["-rf", ROOM]).stderr(Stdio::null()).status();
}
