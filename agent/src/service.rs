//! The long-running agent: keeps the scopes of its configuration in force, whatever control groups
//! come and go, and leaves them in force when it ends.

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
mod sink;
mod socket;
mod starters;
mod watcher;

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ringfence_policy::{
    configuration::{self, Configuration, Events, Metrics, Subject, selectors},
    diagnostic::Diagnostic,
};
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
use control::Control;
use elsewhere::{Elsewhere, whole};
use governed::{Governed, Left, Prepared};
use hierarchy::Hierarchy;
use http::{Endpoint, Listener};
use log::Log;
use metrics::{Board, Outcome, Outcomes};
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
    /// Notices that the kernel had no room for, as far as they were made good.
    missed: u64,
    /// Reloads that have put something in force, and that have not.
    reloads: (u64, u64),
    /// Why the last reload has not.
    problem: Option<String>,
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

/// What is ready to be put in force.
struct Plan {
    configuration: Configuration,
    selectors: selectors::Tables,
    scopes: Vec<Prepared>,
}

/// Runs the agent until it is told to end.
///
/// # Errors
///
/// When it cannot start: then whatever was in force before is in force still.
pub(crate) fn run(file: &Path) -> Result<ExitCode> {
    machine::check("ringfence agent --config FILE")?;
    let mut tell = |line: String| tell!("{line}");
    let plan = Plan::read(file, &mut tell, &mut |_| {})?;
    let Some(_agent) = Ownership::of_agent()? else {
        bail!("another `ringfence agent` is running on this machine");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        // First, so that nothing has changed where it cannot be bound.
        let listener = metrics::bind(plan.configuration.metrics.as_ref())?;
        let (mut service, notices) = Service::start(file, plan)?;
        service.serve_metrics(listener);
        let mut notices = Ring::new(notices)?;
        // Before anybody can see that it is there.
        let mut signals = Signals::new()?;
        let mut control = Control::listen(&service.configuration.control, is_governed)?;
        let served = service.serve(&mut notices, &mut control, &mut signals).await;
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

impl Plan {
    /// Reads the configuration, and all policies that it names. Findings are told, and the names of
    /// scopes whose policies cannot be put in force.
    ///
    /// # Errors
    ///
    /// When any of it cannot be put in force.
    fn read(
        file: &Path,
        tell: &mut dyn FnMut(String),
        blame: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let file = std::path::absolute(file).with_context(|| file.display().to_string())?;
        let parsed = configuration::of_file(&file);
        for finding in &parsed.diagnostics {
            tell(finding.to_string());
        }
        let Some(configuration) = parsed.configuration else {
            bail!("the configuration has errors: correct it first");
        };
        refuse_pods(&configuration)?;
        let selectors =
            selectors::compile(&configuration).map_err(|finding: Box<Diagnostic>| {
                tell(finding.to_string());
                anyhow::anyhow!("the selectors cannot be compiled for the kernel")
            })?;
        let protected = own_files(&file, &configuration);
        let mut scopes = Vec::new();
        let mut failure = None;
        for rule in &configuration.scopes {
            match Prepared::read(rule, &protected, tell) {
                Ok(prepared) => scopes.push(prepared),
                // All are read, so that everything that is wrong is told at once.
                Err(error) => {
                    blame(&rule.name);
                    failure.get_or_insert(error);
                }
            }
        }
        Service::check_self(&selectors)?;
        match failure {
            Some(error) => Err(error),
            None => Ok(Self { configuration, selectors, scopes }),
        }
    }

    /// Bytes of the largest image.
    fn image_bytes(&self) -> usize {
        let images = self.scopes.iter().map(Prepared::image_bytes);
        images.chain([self.selectors.image.len()]).max().unwrap_or(0)
    }

    /// Every file that it was read from, but the configuration.
    fn files(&self) -> Vec<PathBuf> {
        self.scopes.iter().flat_map(Prepared::files).cloned().collect()
    }
}

/// Nothing is half enforced: a selector that nothing acts on stops the start.
fn refuse_pods(configuration: &Configuration) -> Result<()> {
    let mut selectors = configuration.scopes.iter().flat_map(|scope| &scope.selectors);
    match selectors.find(|one| matches!(one.subject, Subject::Pod(_))) {
        Some(selector) => bail!(
            "{}: this version does not govern pods yet: select their control groups by `cgroup`",
            selector.place
        ),
        None => Ok(()),
    }
}

/// The files of the agent that no governed process may change: by the names that they have for the
/// agent, and where links lead.
fn own_files(file: &Path, configuration: &Configuration) -> Vec<PathBuf> {
    let mut all = vec![file.to_owned(), configuration.control.clone()];
    all.extend(configuration.scopes.iter().flat_map(|scope| scope.policies.clone()));
    if let Some(Events::Folder(folder)) = &configuration.events {
        all.push(folder.clone());
    }
    if let Some(Metrics::Socket(socket)) = &configuration.metrics {
        all.push(socket.clone());
    }
    all.extend(std::env::current_exe());
    let real: Vec<_> = all.iter().filter_map(|file| file.canonicalize().ok()).collect();
    all.extend(real);
    all.sort();
    all.dedup();
    all
}

/// Whether a process is governed, by whatever set. What cannot be told counts as governed.
fn is_governed(process: BorrowedFd<'_>) -> bool {
    Set::all(&scopes::sets()).iter().any(|set| set.governs(process).unwrap_or(true))
}

impl Service {
    /// Puts a plan in force, with the scopes that an agent before has left.
    fn start(file: &Path, plan: Plan) -> Result<(Self, aya::maps::RingBuf<aya::maps::MapData>)> {
        let hierarchy = Hierarchy::find()?;
        let sink = plan.configuration.events.as_ref().map(sink::open).transpose()?;
        let _machine = Ownership::of_machine()?;
        let set = Set::of_this_build(&scopes::sets(), plan.image_bytes())?;
        set.load(&Part::OF_AGENT)?;
        let board = Board::new(set.clone(), hierarchy.clone())?;
        let mut before = whole(Programs::of_service(&set)?)?;
        let elsewhere = Elsewhere::beside(&set)?;
        let log = Log::of(plan.configuration.events.as_ref());
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
                    Some(programs) => Left::Elsewhere(programs, log.told(name, programs)?),
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
            missed: 0,
            reloads: (0, 0),
            problem: None,
            board: Rc::new(board),
            endpoint: None,
        };
        this.board.show(&this.scopes);
        this.select()?;
        for (name, mut programs) in before {
            this.selection.forget(programs.number())?;
            programs.vacate().with_context(|| format!("removing `{name}`"))?;
        }
        elsewhere.end(&this.scopes, &log)?;
        // Counts those that have their labels from another set.
        this.selection.label_tasks()?;
        Programs::unload_idle(&this.set)?;
        Ok((this, notices))
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
    ) -> Result<()> {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watcher = Watcher::new(&self.file, &self.files())?;
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
            "decisions": decisions,
        })
    }

    /// Every file of a policy that is in force.
    fn files(&self) -> Vec<PathBuf> {
        self.scopes.iter().flat_map(|scope| scope.rule.policies.clone()).collect()
    }

    /// Reloads without anybody who waits for the answer.
    async fn reload_by_itself(&mut self, watcher: &mut Watcher) {
        match self.reload(watcher).await {
            Ok(report) => tell!("ringfence: {report}"),
            Err(lines) => lines.iter().for_each(|line| tell!("{line}")),
        }
    }

    /// Reads everything anew and puts it in force. Where anything is wrong, nothing changes.
    async fn reload(&mut self, watcher: &mut Watcher) -> Result<String, Vec<String>> {
        notify::reloading();
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (mut lines, mut outcomes) = (Vec::new(), Outcomes::new());
            let plan = Plan::read(&file, &mut |line| lines.push(line), &mut |name| {
                outcomes.insert(name.to_owned(), Outcome::Failed);
            });
            (plan, lines, outcomes)
        });
        let (plan, mut lines, mut outcomes) = match read.await {
            Ok(read) => read,
            Err(error) => (Err(error.into()), Vec::new(), Outcomes::new()),
        };
        let files = plan.as_ref().map(Plan::files).unwrap_or_default();
        let result = plan.and_then(|plan| self.apply(plan, &mut outcomes));
        self.board.show(&self.scopes);
        self.board.count_reload(outcomes, result.is_err());
        watcher.watch(&self.file, &[files, self.files()].concat());
        notify::ready();
        match result {
            Ok(changed) => {
                self.reloads.0 += 1;
                self.problem = None;
                lines.push(format!("reloaded: {changed}"));
                Ok(lines.join("\n"))
            }
            Err(error) => {
                self.reloads.1 += 1;
                let problem = format!("{error:#}");
                lines.push(format!("ringfence: not reloaded, what was in force is: {problem}"));
                self.problem = Some(problem);
                Err(lines)
            }
        }
    }

    /// Puts a plan in force in place of the one before; says what changed.
    fn apply(&mut self, plan: Plan, outcomes: &mut Outcomes) -> Result<String> {
        let Plan { configuration, selectors, scopes } = plan;
        for prepared in &scopes {
            let room = self.set.image_bytes() as usize;
            if prepared.image_bytes() > room || selectors.image.len() > room {
                if prepared.image_bytes() > room {
                    outcomes.insert(prepared.rule.name.clone(), Outcome::Failed);
                }
                bail!(
                    "scope `{}` needs more room than the {room} bytes that were set aside: \
                     restart the agent, nothing is ungoverned meanwhile",
                    prepared.rule.name
                );
            }
        }
        let is_elsewhere = configuration.metrics != self.configuration.metrics;
        let listener = is_elsewhere.then(|| metrics::bind(configuration.metrics.as_ref()));
        let listener = listener.transpose()?;
        let _machine = Ownership::of_machine()?;
        let mut old = std::mem::take(&mut self.scopes);
        let (mut changed, mut failure) = (Vec::new(), None);
        for prepared in scopes {
            let name = prepared.rule.name.clone();
            let at = old.iter().position(|scope| scope.name == name);
            let outcome = match at.map(|at| old.remove(at)) {
                Some(mut scope) => {
                    let replaced = scope.replace(prepared);
                    self.scopes.push(scope);
                    replaced.map(|is_new| is_new.then_some("has a new policy"))
                }
                None => {
                    let (sink, durations) = (self.sink.clone(), self.board.durations());
                    let left = Left::Nothing;
                    let begun = Governed::begin(&self.set, prepared, left, sink, durations);
                    begun.map(|scope| {
                        self.scopes.push(scope);
                        Some("is new")
                    })
                }
            };
            let outcome = match outcome {
                Ok(Some(what)) => {
                    changed.push(format!("`{name}` {what}"));
                    Outcome::Ok
                }
                Ok(None) => Outcome::Unchanged,
                Err(error) => {
                    failure.get_or_insert(error);
                    Outcome::Failed
                }
            };
            outcomes.insert(name, outcome);
        }
        if let Some(error) = failure {
            // What is not named any more stays until all else is well.
            self.scopes.extend(old);
            // What has new budgets counts the tasks that are there.
            self.selection.ask();
            return Err(error);
        }
        (self.configuration, self.selectors) = (configuration, selectors);
        if let Some(listener) = listener {
            self.serve_metrics(listener);
        }
        self.select()?;
        for scope in old {
            changed.push(format!("`{}` is no more", scope.name));
            self.selection.forget(scope.number())?;
            scope.end()?;
        }
        // Once every task that was counted has been seen to.
        Programs::unload_idle(&self.set)?;
        Ok(if changed.is_empty() { "nothing has changed".to_owned() } else { changed.join(", ") })
    }

    /// Ends, and leaves everything in force.
    fn leave(&self) {
        notify::stopping();
        for scope in &self.scopes {
            scope.leave();
        }
    }
}
