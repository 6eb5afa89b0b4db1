//! `ringfence run`: governs one command and everything that it starts.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use aya::maps::{MapData, RingBuf};
use clap::{Args, ValueEnum};
use ringfence_policy::Mode;
use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::{
    audit::{self, Audit},
    budgets::WallClock,
    contents::{self, Mismatch},
    kernel::{programs::Loaded, ring::Ring, set},
    launch::{self, LaunchError},
    machine,
    names::{self, Counts, Lookup, Ports, Rules, Service, Sockets},
    policies::{self, Terms},
    scope::Scope,
    scopes,
    user::{self, User},
};

/// Exit code when ringfence itself failed; the command was not started.
pub(crate) const FAILED: u8 = 125;
/// Exit code for a command that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// Exit code for a command that is not found.
const NOT_FOUND: u8 = 127;

/// More helpings than the ring has room for: what is left at the end is taken, and no more.
const RING_HELPINGS: usize = 8;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// A policy; several hold together. Without one, the command may use the folder that it is
    /// started in and the system's programs, and no network.
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// Name of the scope, in events and of its cgroup.
    #[arg(long)]
    name: Option<String>,
    /// Refuse what the policy does not allow, or only record it; the policy's own word otherwise.
    #[arg(long, value_enum)]
    mode: Option<ModeArgument>,
    /// Append decision events to this file, `-` for the standard output.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Run the command as this user.
    #[arg(long)]
    user: Option<String>,
    /// How a name server's answer looks for a name that may not be looked up.
    #[arg(long, value_enum, default_value = "refused")]
    unlisted_names: Refusal,
    /// Start although the policy asks for what cannot be enforced; what that is, is told.
    #[arg(long)]
    allow_degraded: bool,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArgument {
    Enforce,
    Observe,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Refusal {
    /// The server refuses to say.
    Refused,
    /// There is no such name: some programs give up sooner.
    Nxdomain,
}

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// When the command was not started.
pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let mode = arguments.mode.map(|mode| match mode {
        ModeArgument::Enforce => Mode::Enforce,
        ModeArgument::Observe => Mode::Observe,
    });
    // Where it cannot be told, the machine's own check says why.
    let lacking = set::lacking().unwrap_or_default();
    let terms = Terms { allow_degraded: arguments.allow_degraded, lacking: &lacking };
    let policy = policies::load(&arguments.policies, mode, terms, None, &mut |line| {
        tell!("{line}");
    })?;
    let policy = Arc::new(policy);
    let user = arguments.user.as_deref().map(user::find).transpose()?;
    machine::check("ringfence run …")?;
    let contents =
        contents::measure(&policy.tables, Mismatch::Refused, &mut |line| tell!("{line}"))?;
    let sink = arguments.events.as_deref().map(audit::open_sink).transpose()?;
    clean_up_orphans()?;

    let name = match &arguments.name {
        Some(name) if scopes::is_name(name) => name.clone(),
        Some(name) => bail!(
            "`{name}` cannot be a scope's name: letters, digits, `-`, `_` and `.`, at most 64"
        ),
        None => format!("run-{}", std::process::id()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sockets = names::is_needed(&policy.tables).then(Sockets::bind).transpose()?;
    let loaded = Loaded {
        image: &policy.tables.image,
        contents: &contents,
        resolver: sockets.as_ref().map_or_else(Ports::default, Sockets::ports),
        about: policy.about,
    };
    let (scope, channels) = Scope::create(&name, loaded)?;
    let cgroup = (scope.cgroup.id, scope.cgroup.name.clone());
    let of_policy = (0, Arc::clone(&policy));
    let mut audit = Audit::new(name, Some(cgroup), of_policy, sink, channels.sequence, (0, 0));
    let resolver = sockets
        .map(|sockets| {
            let as_nonexistent = matches!(arguments.unlisted_names, Refusal::Nxdomain);
            let rules = Arc::new(Rules::new(policy, 0));
            Service::start(sockets, channels.names, rules, as_nonexistent, Counts::new(None))
        })
        .transpose();
    let outcome = resolver.and_then(|resolver| {
        let sources = Sources { events: channels.events, resolver };
        runtime.block_on(govern(&scope, &arguments.command, user, sources, &mut audit))
    });
    if let Err(error) = scope.remove() {
        tell!("ringfence: {error:#}; what is left stays governed: see `ringfence detach`");
    }
    summarise(&audit);
    outcome
}

/// Removes what runs that were killed left behind. What still runs is left governed.
fn clean_up_orphans() -> Result<()> {
    for orphan in scopes::orphans()? {
        // What cannot be told counts as running.
        if !orphan.is_running().unwrap_or(true) {
            orphan.remove()?;
        }
    }
    scopes::remove_unused_sets()
}

/// What tells of decisions.
struct Sources {
    events: RingBuf<MapData>,
    resolver: Option<Service>,
}

/// Runs the command to its end, takes its events, and ends what it left running; returns its
/// exit code.
async fn govern(
    scope: &Scope,
    words: &[OsString],
    user: Option<User>,
    Sources { events, mut resolver }: Sources,
    audit: &mut Audit,
) -> Result<ExitCode> {
    let mut ring = Ring::new(events)?;
    let entrance = scope.cgroup.entrance().context("opening the scope's cgroup")?;
    let command = launch::command(words, entrance, user).context("no command")?;
    let code = match Command::from(command).spawn() {
        Ok(child) => attend(scope, child, &mut ring, resolver.as_mut(), audit).await,
        Err(error) => not_started(launch::explain(words, error)),
    };
    // What is left of the command ends before the programs do, and nothing of it is ever
    // ungoverned; what it did on the way is told.
    let ended = scope.end();
    for _ in 0..RING_HELPINGS {
        if !ring.take(|record| audit.take(record)) {
            break;
        }
    }
    if let Some(resolver) = &mut resolver {
        resolver.take_waiting(|lookup| audit.take_lookup(&lookup));
    }
    audit.finish(scope.lost(), resolver.as_ref().map_or(0, Service::lost));
    audit.flush();
    ended.and(code)
}

async fn attend(
    scope: &Scope,
    mut child: Child,
    ring: &mut Ring,
    mut resolver: Option<&mut Service>,
    audit: &mut Audit,
) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // The terminal sends these to the command as well, whose answer is what counts.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut time = scope.wall_clock().map(|clock| (clock, clock.most()));
    loop {
        tokio::select! {
            // In this order: whoever floods the ring must not outrun the command's end.
            biased;
            status = child.wait() => return Ok(exit_code(status?)),
            _ = terminate.recv() => forward(&child, Signal::TERM),
            _ = hang_up.recv() => forward(&child, Signal::HUP),
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            (clock, used) = spent(time) => {
                audit.take_time(clock, used);
                time = (used < clock.limit).then_some((clock, clock.limit));
                if time.is_none() {
                    tell!("ringfence: the {} ms of its `wall_clock` are over", clock.limit);
                    if clock.is_enforced {
                        scope.end_in_time()?;
                    }
                }
            }
            taken = ring.wait(|record| audit.take(record)) => {
                taken?;
                if let Some(resolver) = &mut resolver {
                    resolver.take_waiting(|lookup| audit.take_lookup(&lookup));
                }
                audit.settle(scope.lost(), resolver.as_deref().map_or(0, Service::lost));
                audit.flush();
            }
            lookup = next(resolver.as_deref_mut()) => {
                audit.take_lookup(&lookup);
                audit.settle(scope.lost(), resolver.as_deref().map_or(0, Service::lost));
                audit.flush();
            }
        }
    }
}

/// Waits until that much of the scope's time is over, if it has any budget of it.
async fn spent(time: Option<(WallClock, u64)>) -> (WallClock, u64) {
    let Some((clock, used)) = time else { return std::future::pending().await };
    clock.wait(used).await;
    (clock, used)
}

/// The next lookup to tell of, if there is a resolver at all.
async fn next(resolver: Option<&mut Service>) -> Lookup {
    let lookup = match resolver {
        Some(resolver) => resolver.next().await,
        None => None,
    };
    match lookup {
        Some(lookup) => lookup,
        None => std::future::pending().await,
    }
}

fn forward(child: &Child, signal: Signal) {
    let process = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(process) = process {
        // It may have ended just now, which the loop is about to see.
        let _ = rustix::process::kill_process(process, signal);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The exit code of a command that did not start.
///
/// # Errors
///
/// When it was ringfence that failed.
fn not_started(error: LaunchError) -> Result<ExitCode> {
    let LaunchError::Refused { error: cause, .. } = &error else { bail!(error) };
    let code = match cause.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    tell!("ringfence: {error}");
    Ok(ExitCode::from(code))
}

/// Says on the standard error what was refused, if anything: a program's own message seldom tells
/// why it failed.
fn summarise(audit: &Audit) {
    if audit.observed > 0 {
        tell!("ringfence: {} acts would have been refused", audit.observed);
    }
    if audit.denied > 0 {
        tell!("ringfence: {} acts were refused, among them:", audit.denied);
        for example in &audit.examples {
            tell!("  {example}");
        }
    }
}
