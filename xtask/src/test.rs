//! `cargo xtask test`: everything that is checked, on this host and on each kernel.

use std::{
    io::{BufRead as _, BufReader},
    process::{ExitCode, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use lexopt::{Arg::Long, ValueExt as _};

use crate::{
    guest::Programs,
    lint::lint,
    machine::Machine,
    package,
    products::Products,
    report::{self, Suite},
    run, setup,
};

const USAGE: &str = "\
cargo xtask test [OPTION]…

  --kernel NAME     only on this kernel: 6.1, 6.12, 7, 6.12-lockdown, 6.12-programs, or
                    6.12-system
  --host-only       no virtual machines
  --filter TEXT     only tests whose name contains TEXT
  --no-lint         no cargo fmt, clippy, cargo-deny
  --full            on each kernel also the tests of minutes that one has for all in a usual run,
                    and each as often as is promised: hours

The last line is `ringfence: N passed, N failed, N skipped`. The exit code is 0 only when nothing
failed and each virtual machine ran to its verdict.
";

/// A kernel in a certain mode, as tests know it.
#[derive(Debug, Clone, Copy)]
struct Environment {
    name: &'static str,
    series: &'static str,
    lockdown: Option<&'static str>,
    /// Two are for tests of one kind, which do not depend on the kernel: with every program that
    /// the baseline is measured with, in a machine that takes three times the memory; and with a
    /// Debian system.
    programs: Programs,
}

impl Environment {
    const fn new(name: &'static str, series: &'static str) -> Self {
        Self { name, series, lockdown: None, programs: Programs::Basic }
    }
}

const ENVIRONMENTS: &[Environment] = &[
    // Those that take longest come first.
    Environment::new("6.1", "6.1"),
    Environment::new("7", "7"),
    // The strictest kernel: it lets no program read its memory, not even root's.
    Environment { lockdown: Some("confidentiality"), ..Environment::new("6.12-lockdown", "6.12") },
    Environment::new("6.12", "6.12"),
    Environment { programs: Programs::Full, ..Environment::new("6.12-programs", "6.12") },
    Environment { programs: Programs::System, ..Environment::new("6.12-system", "6.12") },
];

/// How many virtual machines run at a time. With fewer the host's two processors are idle while
/// kernels wait for themselves to let go of programs; with more each is so slow that nobody can tell
/// it from one that hangs.
const AT_A_TIME: usize = 3;

/// How long the tests of one environment may take.
const LIMIT: Duration = Duration::from_secs(70 * 60);

/// What to run.
#[derive(Debug)]
struct Selection {
    environments: Vec<Environment>,
    filter: Option<String>,
    lint: bool,
    full: bool,
}

/// `cargo xtask test`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut selection =
        Selection { environments: ENVIRONMENTS.to_vec(), filter: None, lint: true, full: false };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("kernel") => {
                let name = arguments.value()?.string()?;
                selection.environments.retain(|one| one.name == name);
                if selection.environments.is_empty() {
                    let known: Vec<_> = ENVIRONMENTS.iter().map(|one| one.name).collect();
                    bail!("`--kernel {name}`: it is one of {}", known.join(", "));
                }
            }
            Long("host-only") => selection.environments.clear(),
            Long("filter") => selection.filter = Some(arguments.value()?.string()?),
            Long("no-lint") => selection.lint = false,
            Long("full") => selection.full = true,
            Long("help") => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }

    let start = Instant::now();
    let suites = run_all(&selection);
    println!("\ntest: {} s in all", start.elapsed().as_secs());
    Ok(report::conclude(&suites))
}

/// Runs each suite; what keeps one from running is its failure, and the others still run.
fn run_all(selection: &Selection) -> Vec<Suite> {
    let mut suites = Vec::new();
    if let Err(error) = setup::prepare() {
        return vec![broken("setup", &error)];
    }
    if selection.lint {
        suites.push(lint());
    }
    suites.push(on_host(selection).unwrap_or_else(|error| broken("host", &error)));
    if !selection.environments.is_empty() {
        match Products::build() {
            Ok(products) => suites.extend(in_machines(selection, &products)),
            Err(error) => {
                let all = selection.environments.iter();
                suites.extend(all.map(|environment| broken(environment.name, &error)));
            }
        }
    }
    suites
}

fn broken(name: &str, error: &anyhow::Error) -> Suite {
    println!("{name}: {error:#}");
    let mut suite = Suite::new(name);
    suite.broke(format!("{error:#}"));
    suite
}

fn on_host(selection: &Selection) -> Result<Suite> {
    let mut cargo = run::cargo();
    // The package `ringfence-tests` is for virtual machines.
    cargo.args(["test", "--workspace", "--exclude", "ringfence-tests", "--no-fail-fast"]);
    if let Some(filter) = &selection.filter {
        cargo.args(["--", filter]);
    }
    println!("host: {}", run::line(&cargo));
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `cargo test`")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    let mut output = String::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        output.push_str(&line);
        output.push('\n');
    }
    let ended_well = child.wait()?.success();
    let mut suite = report::of_libtest("host", &output, ended_well);
    if suite.passed == 0 && selection.filter.is_none() && suite.failed.is_empty() {
        suite.broke("no test ran");
    }
    Ok(suite)
}

/// Runs the environments, some at a time, and gives their outcomes in the usual order.
fn in_machines(selection: &Selection, products: &Products) -> Vec<Suite> {
    let environments = &selection.environments;
    let outcomes: Vec<_> = environments.iter().map(|_| Mutex::new(Suite::default())).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(environments.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(environment) = environments.get(index) else { break };
                    let suite = in_machine(*environment, selection, products)
                        .unwrap_or_else(|error| broken(environment.name, &error));
                    if let Ok(mut outcome) = outcomes[index].lock() {
                        *outcome = suite;
                    }
                }
            });
        }
    });
    let outcome = |(mutex, environment): (Mutex<Suite>, &Environment)| {
        mutex.into_inner().unwrap_or_else(|_| {
            broken(environment.name, &anyhow::anyhow!("xtask itself panicked: see above"))
        })
    };
    outcomes.into_iter().zip(environments).map(outcome).collect()
}

fn in_machine(
    environment: Environment,
    selection: &Selection,
    products: &Products,
) -> Result<Suite> {
    let name = environment.name;
    let mut command = vec!["/usr/local/bin/ringfence-vm-tests", "--environment", name];
    if let Some(filter) = &selection.filter {
        command.extend(["--filter", filter]);
    }
    if selection.full {
        command.push("--full");
    }
    let command = command.into_iter().map(Into::into).collect();
    let mut machine = Machine::new(environment.series, command);
    machine.lockdown = environment.lockdown;
    machine.programs = environment.programs;
    if environment.programs == Programs::Full {
        machine.memory = "3G".into();
    }
    machine.limit = if selection.full { 6 * LIMIT } else { LIMIT };
    // Some tests kill what they try again and again, on a processor that is an emulated one.
    machine.silence = if selection.full { machine.limit } else { Duration::from_secs(900) };
    machine.additions = products.additions();
    if environment.programs == Programs::System {
        machine.additions.push((package::deb(&products.ringfence)?, "/srv/ringfence.deb".into()));
        machine.additions.push((run::root().join("deploy"), "/srv/deploy".into()));
    }
    machine.modules = MODULES.iter().map(|&module| module.to_owned()).collect();

    println!("{name}: booting");
    let start = Instant::now();
    let mut output = Lines { prefix: name, text: Vec::new(), shown: 0 };
    let ended = machine.boot(&mut |bytes| output.add(bytes));
    let output = output.finish();
    println!("{name}: ended after {} s", start.elapsed().as_secs());

    let mut suite = match ended {
        Ok(code) => report::of_vm_tests(name, &output, Some(code)),
        Err(error) => {
            // What passed before the machine failed is worth showing.
            let mut suite = report::of_vm_tests(name, &output, None);
            println!("{name}: {error:#}");
            suite.broke(format!("{error:#}"));
            suite
        }
    };
    if suite.passed == 0 && selection.filter.is_none() && suite.failed.is_empty() {
        suite.broke("no test ran");
    }
    Ok(suite)
}

/// Kernel modules that tests build their networks and mounts with, and kinds of socket that not
/// every kernel has: where one is missing, the test says that it skips it.
const MODULES: &[&str] = &[
    "veth",
    "tcp_diag",
    "dummy",
    "bridge",
    "overlay",
    "loop",
    "binfmt_misc",
    "vfat",
    "nls_cp437?",
    "nls_ascii?",
    "af_alg?",
    "vsock?",
    "sctp?",
    "nfnetlink?",
];

/// Prints lines as they become whole, with the name of their machine: several print at a time.
struct Lines<'a> {
    prefix: &'a str,
    text: Vec<u8>,
    /// How many bytes of the text have been printed.
    shown: usize,
}

impl Lines<'_> {
    fn add(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        while let Some(length) = self.text[self.shown..].iter().position(|&byte| byte == b'\n') {
            let line = &self.text[self.shown..self.shown + length];
            println!("{}: {}", self.prefix, String::from_utf8_lossy(line).trim_end());
            self.shown += length + 1;
        }
    }

    fn finish(mut self) -> String {
        if self.shown < self.text.len() {
            self.add(b"\n");
        }
        String::from_utf8_lossy(&self.text).into_owned()
    }
}
