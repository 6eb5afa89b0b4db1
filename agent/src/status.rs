//! What is in force on this machine, put together from the kernel, the control groups and the
//! locks. `docs/status.md` describes the JSON that is made of it.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use ringfence_common::{
    content::MAX_PINS,
    installed::MAX_SCOPE_ENTRIES,
    scope::{About, ENFORCES, OBSERVES, Resolver, Scope, kind},
};
use ringfence_policy::boundary::hexadecimal;
use serde::Serialize;

use crate::{
    about,
    budgets::{self, Budget},
    cgroup,
    clock::{Clock, since_boot},
    kernel::survey::{self, Place, Survey},
    scopes, service,
};

/// What is in force on this machine.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Status {
    /// What the long-running agent says of itself; `None` when none answers.
    pub(crate) agent: Option<serde_json::Value>,
    /// By name.
    pub(crate) scopes: Vec<ScopeStatus>,
    /// Cgroups among those of scopes that have processes, and are of no scope: nothing is known to
    /// govern these.
    pub(crate) strays: Vec<Stray>,
    /// The kernel programs that hold the scopes.
    pub(crate) sets: Vec<SetStatus>,
    /// Bytes of all maps, where the kernel counts them.
    pub(crate) memory_bytes: Option<u64>,
}

/// A scope.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScopeStatus {
    /// Its name.
    pub(crate) scope: String,
    /// Who keeps it.
    pub(crate) kind: Kind,
    /// Its cgroup, from the root of the hierarchy; `None` when that is gone, and for a scope of the
    /// long-running agent.
    pub(crate) cgroup: Option<String>,
    /// All of its cgroups.
    pub(crate) cgroups: Vec<String>,
    /// How far it is.
    pub(crate) state: State,
    /// Whether the process that brought it into force is gone.
    pub(crate) orphaned: bool,
    /// That process, by the number that it has to itself.
    pub(crate) pid: u32,
    /// What becomes of an act that the policy does not allow.
    pub(crate) mode: Mode,
    /// SHA-256 of the policy image, as in events.
    pub(crate) policy: String,
    /// Policies that it had before this one.
    pub(crate) generation: u32,
    /// The file of the policy's first document.
    pub(crate) policy_file: String,
    /// Documents of the policy.
    pub(crate) policy_files: u32,
    /// Since when it is in force, as events have times.
    pub(crate) since: Option<String>,
    /// The same in seconds before now.
    pub(crate) age_seconds: Option<u64>,
    /// Its processes.
    pub(crate) tasks: Tasks,
    /// Events so far: the number of the last one.
    pub(crate) events: u64,
    /// Events that the kernel had no room for.
    pub(crate) events_lost: u64,
    /// What its policy lets it use up, and what of that is used.
    pub(crate) budgets: Vec<Budget>,
    /// Decisions that were told since the agent began; `None` where that is not known.
    pub(crate) decisions: Option<serde_json::Value>,
    /// How full its tables are.
    pub(crate) tables: Tables,
    /// The ports of its resolver, in the network namespace of the agent.
    pub(crate) resolver: Option<Ports>,
    /// What its policy asks for and is not enforced.
    pub(crate) missing: Missing,
    /// The set that holds it, and its number there.
    pub(crate) set: String,
    pub(crate) number: u32,
    /// Bytes of the maps of its own, where the kernel counts them.
    pub(crate) memory_bytes: Option<u64>,
}

/// Who keeps a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A `ringfence run`, with whose command it ends.
    Run,
    /// The long-running agent. It stays when the agent ends.
    Service,
}

/// A cgroup with processes where a scope's should be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stray {
    /// Its path from the root of the hierarchy.
    pub(crate) cgroup: String,
    /// How many processes are in it and below.
    pub(crate) processes: usize,
}

/// How far a scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its command has not been started.
    Starting,
    /// Every act is judged.
    InForce,
    /// Every act is judged, no process may fork, and all are being ended.
    Ending,
}

/// What becomes of what a policy does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// It is refused.
    Enforce,
    /// It is only recorded.
    Observe,
    /// The one or the other, by the group that does not allow it.
    Mixed,
}

/// The processes of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tasks {
    /// How many are governed.
    pub(crate) processes: usize,
    /// How many of these are in no cgroup of the scope's.
    pub(crate) outside: usize,
}

/// The tables that a scope has entries in.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Tables {
    /// Addresses that were opened for names.
    pub(crate) addresses: Fill,
    /// Programs whose content the policy names.
    pub(crate) programs: Fill,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Fill {
    /// The scope's entries.
    pub(crate) entries: usize,
    /// How many it may have at the most.
    pub(crate) capacity: u32,
}

/// The ports of a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ports {
    /// At 127.0.0.1.
    pub(crate) v4: u32,
    /// At ::1; `None` where there is none.
    pub(crate) v6: Option<u32>,
}

/// What is not enforced.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Missing {
    /// How many things.
    pub(crate) count: u32,
    /// What, as far as there was room for it.
    pub(crate) pieces: Vec<String>,
}

/// A set of kernel programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SetStatus {
    /// The name of its folder.
    pub(crate) set: String,
    /// The build that loaded it.
    pub(crate) build: Option<String>,
    /// Whether that is this build.
    pub(crate) this_build: bool,
    /// Bytes that there are for each policy image.
    pub(crate) image_bytes: Option<u64>,
    /// The parts that are loaded.
    pub(crate) parts: Vec<&'static str>,
    /// How many scopes it holds; `None` when that cannot be read.
    pub(crate) scopes: Option<usize>,
    /// Why it cannot.
    pub(crate) problem: Option<String>,
    /// Bytes of the maps that its scopes share, where the kernel counts them.
    pub(crate) memory_bytes: Option<u64>,
}

/// Looks at what is in force now.
///
/// # Errors
///
/// When a scope's lock cannot be read.
pub(crate) fn gather(control: &Path) -> Result<Status> {
    let is_agent_there = scopes::is_agent_there()?;
    let cgroups = cgroup::existing().into_iter().filter_map(|(_, path)| {
        let id = fs::metadata(&path).ok()?.ino();
        Some((id, path))
    });
    let around = Around { cgroups: cgroups.collect(), clock: Clock::now(), now: since_boot() };
    let mut strays = around.cgroups.clone();
    let mut status = Status::default();
    for survey in survey::all(&scopes::sets()) {
        status.sets.push(set(&survey));
        for place in survey.places.iter().flatten() {
            for id in &place.groups {
                strays.remove(id);
            }
            strays.remove(&place.scope.cgroup);
            let is_owned = match place.scope.kind {
                kind::SERVICE => is_agent_there,
                _ => scopes::is_owned(place.scope.name())?,
            };
            status.scopes.push(scope(place, is_owned, &survey.name, &around));
        }
    }
    if is_agent_there {
        ask_agent(control, &mut status);
    }
    for folder in strays.values() {
        status.strays.extend(stray(folder)?);
    }
    status.strays.sort_by(|one, other| one.cgroup.cmp(&other.cgroup));
    status.scopes.sort_by(|one, other| one.scope.cmp(&other.scope));
    let own = status.scopes.iter().map(|scope| scope.memory_bytes);
    let shared = status.sets.iter().map(|set| set.memory_bytes);
    // Unknown altogether as soon as a part is.
    status.memory_bytes = own.chain(shared).sum();
    Ok(status)
}

/// Asks the agent for what only it knows. One that does not answer is one that does not say.
fn ask_agent(control: &Path, status: &mut Status) {
    let answer = service::ask(control, service::Command::Status);
    let Some(mut agent) = answer.ok().and_then(|answer| answer.status) else { return };
    let Some(serde_json::Value::Object(mut decisions)) =
        agent.get_mut("decisions").map(serde_json::Value::take)
    else {
        return;
    };
    if let Some(agent) = agent.as_object_mut() {
        agent.remove("decisions");
    }
    for scope in status.scopes.iter_mut().filter(|scope| scope.kind == Kind::Service) {
        scope.decisions = decisions.remove(&scope.scope);
    }
    status.agent = Some(agent);
}

/// What a scope is seen by.
struct Around {
    /// Folders of scopes, by the identifier of the cgroup.
    cgroups: HashMap<u64, PathBuf>,
    clock: Clock,
    /// On the kernel's clock.
    now: u64,
}

fn scope(place: &Place, is_owned: bool, set: &str, around: &Around) -> ScopeStatus {
    let Scope { cgroup, resolver, about, .. } = place.scope;
    let folder = around.cgroups.get(&cgroup);
    let folders: Vec<PathBuf> =
        place.groups.iter().filter_map(|id| cgroup::folder_by_id(*id).ok()).collect();
    let is_begun = about.since != 0;
    let pieces = about::text(&about.pieces);
    ScopeStatus {
        scope: place.scope.name().to_owned(),
        kind: if place.scope.kind == kind::SERVICE { Kind::Service } else { Kind::Run },
        cgroup: folder.and_then(|folder| cgroup::name(folder)),
        cgroups: folders.iter().filter_map(|folder| cgroup::path_of(folder)).collect(),
        state: match (is_begun, place.scope.closing) {
            (false, _) => State::Starting,
            (true, 0) => State::InForce,
            (true, _) => State::Ending,
        },
        orphaned: !is_owned,
        pid: about.process,
        mode: mode(&about),
        policy: format!("sha256:{}", hexadecimal(&about.policy)),
        generation: place.generation,
        policy_file: about::text(&about.document),
        policy_files: about.documents,
        since: is_begun.then(|| around.clock.wall(about.since)),
        age_seconds: is_begun.then(|| around.now.saturating_sub(about.since) / 1_000_000_000),
        tasks: tasks(place, &folders),
        events: place.events,
        events_lost: place.lost,
        budgets: place
            .budgets
            .as_ref()
            .filter(|_| is_begun)
            .map_or_else(Vec::new, |(limits, used)| {
                budgets::listed(limits, used, around.now.saturating_sub(about.since))
            }),
        decisions: None,
        tables: Tables {
            addresses: Fill { entries: place.addresses, capacity: MAX_SCOPE_ENTRIES },
            programs: Fill { entries: place.contents, capacity: MAX_PINS },
        },
        resolver: ports(resolver),
        missing: Missing {
            count: about.missing,
            pieces: pieces.lines().map(str::to_owned).collect(),
        },
        set: set.to_owned(),
        number: place.number,
        memory_bytes: place.memory,
    }
}

/// A cgroup that is of no scope, if it has processes and no owner that has yet to make the scope.
fn stray(folder: &Path) -> Result<Option<Stray>> {
    let scope = folder.file_name().unwrap_or_default().to_string_lossy();
    let processes = cgroup::processes(folder).len();
    if processes == 0 || scopes::is_owned(&scope)? {
        return Ok(None);
    }
    Ok(cgroup::name(folder).map(|cgroup| Stray { cgroup, processes }))
}

fn mode(about: &About) -> Mode {
    match (about.modes & ENFORCES != 0, about.modes & OBSERVES != 0) {
        (true, true) => Mode::Mixed,
        (false, true) => Mode::Observe,
        (_, false) => Mode::Enforce,
    }
}

fn ports(resolver: Resolver) -> Option<Ports> {
    (resolver.v4 != 0)
        .then(|| Ports { v4: resolver.v4, v6: (resolver.v6 != 0).then_some(resolver.v6) })
}

/// Those in the cgroup, labelled or not yet, and those with the label elsewhere.
fn tasks(place: &Place, folders: &[PathBuf]) -> Tasks {
    let inside: Vec<u32> = folders.iter().flat_map(|folder| cgroup::processes(folder)).collect();
    let is_outside = |process: u32| !inside.contains(&process);
    let labelled = place.labelled.iter().map(|process| process.as_raw_nonzero().get());
    let outside = labelled.filter(|process| is_outside(process.cast_unsigned())).count();
    Tasks { processes: inside.len() + outside, outside }
}

fn set(survey: &Survey) -> SetStatus {
    SetStatus {
        set: survey.name.clone(),
        build: survey.build.clone(),
        this_build: survey.is_of_this_build,
        image_bytes: survey.image_bytes,
        parts: survey.parts.clone(),
        scopes: survey.places.as_ref().ok().map(Vec::len),
        problem: survey.places.as_ref().err().map(|error| format!("{error:#}")),
        memory_bytes: survey.memory,
    }
}
