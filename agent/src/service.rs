//! The long-running agent: keeps the scopes of its configuration in force, whatever control groups
//! come and go, and leaves them in force when it ends.

mod chosen;
mod containers;
mod control;
mod elsewhere;
mod governed;
mod groups;
mod held;
mod hierarchy;
mod http;
mod log;
mod metrics;
mod notify;
mod own_files;
mod plan;
mod reload;
mod sink;
mod socket;
mod source;
mod starters;
mod watcher;

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use ringfence_policy::configuration::{Configuration, selectors};
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::LocalSet,
    time::MissedTickBehavior,
};

use crate::{
    audit::Sink,
    kernel::{
        programs::Programs,
        ring::Ring,
        selection::Selection,
        set::{Part, Set},
    },
    machine,
    scopes::{self, Ownership},
};
use containers::Containers;
use control::Control;
use elsewhere::{Elsewhere, whole};
use governed::{Governed, Left};
use hierarchy::Hierarchy;
use http::{Endpoint, Listener};
use log::Log;
use metrics::Board;
use plan::Plan;
use watcher::Watcher;

pub(crate) use control::{Answer, Command, ask};
pub(crate) use held::Held;

/// How often the agent looks for what no notice told of.
const ROUND: Duration = Duration::from_secs(1);

/// The agent.
struct Service {
    /// The configuration's file.
    file: PathBuf,
    configuration: Configuration,
    set: Set,
    selection: Selection,
    selectors: selectors::Tables,
    hierarchy: Hierarchy,
    scopes: Vec<Governed>,
    sink: Option<Sink>,
    /// Reloads that have put something in force, and that have not.
    reloads: (u64, u64),
    /// Why the last reload has not.
    problem: Option<String>,
    /// The containers of pods, where any are governed.
    containers: Option<Containers>,
    /// What the metrics are made of, and where they are served.
    board: Rc<Board>,
    endpoint: Option<Endpoint>,
}

/// Signals that the agent answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Runs the agent until it is told to end.
///
/// # Errors
///
/// When it cannot start: then whatever was in force before is in force still.
pub(crate) fn run(file: &Path) -> Result<ExitCode> {
    machine::check("ringfence agent --config FILE")?;
    let mut tell = |line: String| tell!("{line}");
    let begun = SystemTime::now();
    let plan = Plan::read(file, &mut tell, &mut |_| {})?;
    let Some(_agent) = Ownership::of_agent()? else {
        bail!("another `ringfence agent` is running on this machine");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        // First, so that nothing has changed where it cannot be bound.
        let listener = metrics::bind(plan.configuration.metrics.as_ref())?;
        let hierarchy = Hierarchy::find()?;
        let mut plan = plan;
        let containers = match plan.containers.take() {
            Some(planned) => Containers::next(planned, None).await?.after(None),
            None => None,
        };
        let (mut service, notices) = Service::start(file, plan, hierarchy, containers)?;
        service.board.show_pods(service.pods_known());
        service.serve_metrics(listener);
        let mut notices = Ring::new(notices)?;
        // Before anybody can see that it is there.
        let mut signals = Signals::new()?;
        let mut control = Control::listen(&service.configuration.control, is_governed)?;
        // Its sockets are there now.
        service.keep_own()?;
        service.selection.keep_no_others()?;
        let served = service.serve(&mut notices, &mut control, &mut signals, begun).await;
        service.leave();
        served.map(|()| ExitCode::SUCCESS)
    })
}

/// Takes every scope of the agent out of force, whatever build it was; yields their names.
///
/// # Errors
///
/// When something cannot be removed.
pub(crate) fn detach() -> Result<Vec<String>> {
    let mut names = Vec::new();
    let _machine = Ownership::of_machine()?;
    for set in Set::all(&scopes::sets()) {
        let kept = Programs::of_service(&set)?;
        if kept.is_empty() {
            continue;
        }
        if set.is_of_this_build() {
            // Somebody may have taken away what walks all tasks.
            set.load(&[Part::Membership])?;
        }
        let mut selection = Selection::open(&set)?;
        // First, so that nothing comes under a scope any more.
        selection.stop()?;
        for (name, mut programs) in kept {
            // Once before, so that what goes on is never refused everything, and once after, for what
            // came under the scope meanwhile.
            selection.forget(programs.number())?;
            programs.vacate().with_context(|| format!("removing `{name}`"))?;
            selection.forget(programs.number())?;
            names.push(name);
        }
        // Runs have no use for it.
        set.unload(Part::Membership)?;
        if set.is_unused()? {
            set.remove()?;
        } else {
            Programs::unload_idle(&set)?;
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Whether a process is governed, by whatever set. What cannot be told counts as governed.
fn is_governed(process: BorrowedFd<'_>) -> bool {
    Set::all(&scopes::sets()).iter().any(|set| set.governs(process).unwrap_or(true))
}

impl Service {
    /// Puts a plan in force, with the scopes that an agent before has left.
    fn start(
        file: &Path,
        plan: Plan,
        hierarchy: Hierarchy,
        containers: Option<Containers>,
    ) -> Result<(Self, aya::maps::RingBuf<aya::maps::MapData>)> {
        // Before the file of today is there: the last that was written may be in yesterday's.
        let log = Log::of(plan.configuration.events.as_ref());
        let sink = plan.configuration.events.as_ref().map(sink::open).transpose()?;
        let _machine = Ownership::of_machine()?;
        let set = Set::of_this_build(&scopes::sets(), plan.image_bytes())?;
        set.load(&Part::OF_AGENT)?;
        let board = Board::new(set.clone(), hierarchy.clone())?;
        let mut before = whole(Programs::of_service(&set)?)?;
        let elsewhere = Elsewhere::beside(&set, &log)?;
        let mut begun = Vec::new();
        for prepared in plan.scopes {
            let name = &prepared.rule.name;
            let left = match before.iter().position(|(other, _)| other == name) {
                Some(at) => {
                    let programs = before.swap_remove(at).1;
                    let told = log.told(name, &programs)?;
                    Left::Here(Box::new(programs), told)
                }
                None => match elsewhere.find(name) {
                    Some((programs, told)) => Left::Elsewhere(programs, told),
                    None => Left::Nothing,
                },
            };
            let durations = board.durations();
            begun.push(Governed::begin(&set, prepared, left, sink.clone(), durations)?);
        }
        let selection = Selection::open(&set)?;
        let notices = selection.notices()?;
        let mut this = Self {
            file: std::path::absolute(file)?,
            configuration: plan.configuration,
            set,
            selection,
            selectors: plan.selectors,
            hierarchy,
            scopes: begun,
            sink,
            reloads: (0, 0),
            problem: None,
            containers,
            board: Rc::new(board),
            endpoint: None,
        };
        this.board.show(&this.scopes);
        this.keep_own()?;
        this.select()?;
        for (name, mut programs) in before {
            this.selection.forget(programs.number())?;
            programs.vacate().with_context(|| format!("removing `{name}`"))?;
        }
        elsewhere.end(&this.scopes)?;
        // Counts those that have their labels from another set.
        this.selection.label_tasks()?;
        Programs::unload_idle(&this.set)?;
        Ok((this, notices))
    }

    /// Keeps the agent's files from whoever is governed.
    fn keep_own(&self) -> Result<()> {
        self.selection.keep_own(&own_files::of(&self.file, &self.configuration))
    }

    /// Serves metrics there from now on, and nowhere else.
    fn serve_metrics(&mut self, listener: Option<Listener>) {
        self.endpoint = listener.map(|listener| {
            let board = Rc::clone(&self.board);
            listener.serve(async move |path: &str| board.page(path).await)
        });
    }

    /// Keeps everything in force until a signal to end.
    async fn serve(
        &mut self,
        notices: &mut Ring,
        control: &mut Control,
        signals: &mut Signals,
        read: SystemTime,
    ) -> Result<()> {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watcher = Watcher::new(&self.file, &self.files());
        watcher.look_back(read, &[self.files(), vec![self.file.clone()]].concat());
        notify::ready();
        let mut taken = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hang_up.recv() => self.reload_by_itself(&mut watcher).await,
                request = control.next() => {
                    let answer = self.answer(request.command(), &mut watcher).await;
                    request.answer(answer);
                }
                read = notices.wait(|bytes| taken.extend(groups::notice(bytes))) => {
                    read.context("the ring of notices")?;
                    for notice in taken.drain(..) {
                        self.attend(notice);
                    }
                }
                () = watcher.changed() => self.reload_by_itself(&mut watcher).await,
                () = Self::pods_changed(&mut self.containers) => {
                    if let Err(error) = self.look_at_pods() {
                        tell!("ringfence: {error:#}");
                    }
                }
                _ = rounds.tick() => {
                    self.look_around();
                    notify::alive();
                }
            }
        }
    }

    async fn answer(&mut self, command: Command, watcher: &mut Watcher) -> Answer {
        match command {
            Command::Reload => match self.reload(watcher).await {
                Ok(report) => {
                    tell!("ringfence: {report}");
                    Answer { ok: true, lines: vec![report], status: None }
                }
                Err(lines) => {
                    lines.iter().for_each(|line| tell!("{line}"));
                    Answer { ok: false, lines, status: None }
                }
            },
            Command::Status => Answer { ok: true, lines: Vec::new(), status: Some(self.status()) },
        }
    }

    /// What only the agent knows.
    fn status(&self) -> serde_json::Value {
        let decisions: serde_json::Map<String, serde_json::Value> = self
            .scopes
            .iter()
            .map(|scope| {
                let counts = scope.decisions().into_iter().map(|((action, verdict, reason), count)| {
                    json!({ "action": action, "verdict": verdict, "reason": reason, "count": count })
                });
                (scope.name.clone(), counts.collect())
            })
            .collect();
        json!({
            "pid": std::process::id(),
            "configuration": self.file,
            "reloads": { "ok": self.reloads.0, "failed": self.reloads.1 },
            "problem": self.problem,
            "pods": self.pods_status(),
            "decisions": decisions,
        })
    }

    /// Every file that what is in force was read from, but the configuration.
    fn files(&self) -> Vec<PathBuf> {
        let policies = self.scopes.iter().flat_map(|scope| scope.rule.policies.clone());
        policies.chain(plan::files_of_pods(&self.configuration)).collect()
    }

    /// Ends, and leaves everything in force.
    fn leave(&self) {
        notify::stopping();
        for scope in &self.scopes {
            scope.leave();
        }
    }
}
