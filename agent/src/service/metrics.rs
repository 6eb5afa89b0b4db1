//! What is in force and what was decided, for who collects metrics, and for probes.
//! `docs/metrics.md` describes every metric.
//!
//! What the agent has counted itself is read on its own thread, which is quick; the kernel, the
//! control groups and the text are seen to on another, for one who asks after the other.

mod exposition;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use prometheus::{Histogram, TEXT_FORMAT};
use ringfence_policy::configuration::Metrics;
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    governed::{Governed, View},
    hierarchy::Hierarchy,
    http::{Listener, Response},
};
use crate::kernel::{set::Set, survey};
pub(super) use exposition::{Fill, PodsKnown, Scope};

/// The least time between two looks at everything, and how many times as long as the one before
/// took: whoever asks all the time must not keep the machine from its work.
const PAUSE: Duration = Duration::from_millis(100);
const REST: u32 = 4;

/// What a reload came to for a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Another policy is in force.
    Ok,
    /// The policy before is in force, and should not be.
    Failed,
    /// The policy was in force already.
    Unchanged,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Unchanged];

    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What a reload came to, by the scope's name.
pub(super) type Outcomes = BTreeMap<String, Outcome>;

/// How often there was each of [`Outcome::ALL`].
type Reloads = [u64; 3];

/// What all metrics are made of.
pub(super) struct Board {
    set: Set,
    hierarchy: Hierarchy,
    durations: Histogram,
    scopes: RefCell<Vec<View>>,
    reloads: RefCell<BTreeMap<String, Reloads>>,
    /// What is known of pods, where any are governed.
    pods: Cell<Option<PodsKnown>>,
    /// When it may be looked at everything again.
    next: Arc<Mutex<Instant>>,
}

/// What is told to who asks.
struct Told {
    text: String,
    /// What is not in force.
    missing: Vec<String>,
}

impl Board {
    /// One without scopes.
    ///
    /// # Errors
    ///
    /// When the histogram cannot be made.
    pub(super) fn new(set: Set, hierarchy: Hierarchy) -> Result<Self> {
        Ok(Self {
            set,
            hierarchy,
            durations: exposition::durations()?,
            scopes: RefCell::default(),
            reloads: RefCell::default(),
            pods: Cell::default(),
            next: Arc::new(Mutex::new(Instant::now())),
        })
    }

    /// How long questions to resolvers take: each resolver tells it.
    pub(super) fn durations(&self) -> Histogram {
        self.durations.clone()
    }

    /// Tells of these scopes, and no others, from now on.
    pub(super) fn show(&self, scopes: &[Governed]) {
        *self.scopes.borrow_mut() = scopes.iter().map(Governed::view).collect();
    }

    /// Tells this of pods from now on.
    pub(super) fn show_pods(&self, pods: Option<PodsKnown>) {
        self.pods.set(pods);
    }

    /// Counts what a reload came to for the scopes that it was about. One that failed without any
    /// of them to blame has failed for all.
    pub(super) fn count_reload(&self, outcomes: Outcomes, failed: bool) {
        let shown = self.scopes.borrow();
        let names: Vec<&str> = shown.iter().map(|scope| scope.name.as_str()).collect();
        count(&mut self.reloads.borrow_mut(), outcomes, failed, &names);
    }

    /// The page at a path.
    pub(super) async fn page(&self, path: &str) -> Option<Response> {
        match path {
            "/metrics" => Some(match self.tell().await {
                Ok(told) => Response::page(TEXT_FORMAT, told.text),
                Err(error) => Response::unavailable(format!("{error:#}\n")),
            }),
            "/healthz" => Some(Response::ok()),
            "/readyz" => Some(match self.tell().await {
                Ok(told) if told.missing.is_empty() => Response::ok(),
                Ok(told) => {
                    Response::unavailable(format!("not in force: {}\n", told.missing.join(", ")))
                }
                Err(error) => Response::unavailable(format!("{error:#}\n")),
            }),
            _ => None,
        }
    }

    /// Looks at everything; one at a time, and not too often.
    async fn tell(&self) -> Result<Told> {
        let mut next = Arc::clone(&self.next).lock_owned().await;
        sleep_until(*next).await;
        let scopes = self.measure();
        let (durations, pods) = (self.durations.clone(), self.pods.get());
        let (set, hierarchy) = (self.set.clone(), self.hierarchy.clone());
        // Who waits may go: the next is not begun before this one has ended.
        let told = spawn_blocking(move || {
            let begun = Instant::now();
            let told = tell(scopes, pods, &durations, &set, &hierarchy);
            *next = Instant::now() + PAUSE.max(begun.elapsed() * REST);
            told
        });
        told.await?
    }

    /// What the agent knows itself.
    fn measure(&self) -> Vec<Scope> {
        let reloads = self.reloads.borrow();
        let reloads = |name: &str| reloads.get(name).copied().unwrap_or_default();
        let shown = self.scopes.borrow();
        shown.iter().map(|view| Scope { reloads: reloads(&view.name), ..view.measure() }).collect()
    }
}

/// Adds to the counts, and forgets scopes that are neither in force nor in the reload.
fn count(
    reloads: &mut BTreeMap<String, Reloads>,
    mut outcomes: Outcomes,
    failed: bool,
    shown: &[&str],
) {
    if failed && !outcomes.values().any(|outcome| *outcome == Outcome::Failed) {
        outcomes = shown.iter().map(|name| ((*name).to_owned(), Outcome::Failed)).collect();
    }
    for (name, outcome) in &outcomes {
        let counts = reloads.entry(name.clone()).or_default();
        if let Some(count) = counts.get_mut(*outcome as usize) {
            *count += 1;
        }
    }
    reloads.retain(|name, _| outcomes.contains_key(name) || shown.contains(&name.as_str()));
}

/// Adds what the kernel has, and makes the text.
fn tell(
    mut scopes: Vec<Scope>,
    pods: Option<PodsKnown>,
    durations: &Histogram,
    set: &Set,
    hierarchy: &Hierarchy,
) -> Result<Told> {
    // Without its maps no scope is in force, and how many tasks it would have is not known.
    for scope in &mut scopes {
        (scope.is_in_force, scope.tasks) = (false, None);
        scope.budgets.clear();
    }
    if let Ok(glance) = survey::glance(set) {
        let processes = hierarchy.processes_by_scope(&glance.groups);
        let mut groups: HashMap<u32, usize> = HashMap::new();
        for scope in glance.groups.values() {
            *groups.entry(*scope).or_default() += 1;
        }
        for scope in &mut scopes {
            let place = (scope.number, scope.name.clone());
            scope.is_in_force = glance.is_loaded && glance.scopes.contains(&place);
            let of = |counts: &HashMap<u32, usize>| counts.get(&scope.number).copied().unwrap_or(0);
            scope.tasks = Some(of(&processes));
            scope.budgets = glance.budgets.get(&scope.number).cloned().unwrap_or_default();
            let fill = Fill::new("cgroups", of(&groups), ringfence_common::scope::MAX_MEMBERS);
            scope.tables.push(fill);
        }
    }
    let missing = scopes.iter().filter(|scope| !scope.is_in_force);
    let mut missing: Vec<String> = missing.map(|scope| scope.name.clone()).collect();
    if pods.is_some_and(|pods| !pods.is_ready) {
        missing.push("what is selected by pods, which are not known yet".to_owned());
    }
    Ok(Told { text: exposition::text(&scopes, pods, durations)?, missing })
}

/// Binds the socket that a configuration names, if any.
///
/// # Errors
///
/// When it cannot be bound.
pub(super) fn bind(metrics: Option<&Metrics>) -> Result<Option<Listener>> {
    metrics.map(Listener::bind).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_are_counted_by_what_they_came_to_and_forgotten_with_their_scope() {
        let mut reloads = BTreeMap::new();
        let mut reload = |outcomes: &[(&str, Outcome)], shown: &[&str], failed| {
            let outcomes: Outcomes =
                outcomes.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect();
            count(&mut reloads, outcomes, failed, shown);
            reloads.clone().into_iter().collect::<Vec<_>>()
        };
        let of = |name: &str, counts: Reloads| (name.to_owned(), counts);
        let (ok, failed, unchanged) = (Outcome::Ok, Outcome::Failed, Outcome::Unchanged);
        assert_eq!(
            reload(&[("a", ok), ("b", unchanged)], &["a", "b"], false),
            [of("a", [1, 0, 0]), of("b", [0, 0, 1])]
        );
        // What has nothing to do with it keeps its counts; a new scope that failed has some.
        assert_eq!(
            reload(&[("b", failed), ("new", failed)], &["a", "b"], true),
            [of("a", [1, 0, 0]), of("b", [0, 1, 1]), of("new", [0, 1, 0])]
        );
        // Where no scope is to blame, the reload has failed for all that there are.
        assert_eq!(
            reload(&[("a", unchanged)], &["a", "b"], true),
            [of("a", [1, 1, 0]), of("b", [0, 2, 1])]
        );
        assert_eq!(reload(&[("b", ok)], &["b"], false), [of("b", [1, 2, 1])]);
    }

    /// A board without scopes, over a set that nobody has loaded, and what the set and the
    /// hierarchy are.
    fn board(folder: &std::path::Path) -> (Board, Set, Hierarchy) {
        let (set, hierarchy) = (Set::for_trial(folder.join("set")), Hierarchy::at(folder));
        (Board::new(set.clone(), hierarchy.clone()).unwrap(), set, hierarchy)
    }

    #[test]
    fn there_are_three_pages_and_each_can_be_asked_for_by_several_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (board, ..) = board(folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (first, second, ready, healthy, other) = tokio::join!(
                board.page("/metrics"),
                board.page("/metrics"),
                board.page("/readyz"),
                board.page("/healthz"),
                board.page("/"),
            );
            let text = exposition::text(&[], None, &board.durations()).unwrap();
            assert_eq!(first, Some(Response::page(TEXT_FORMAT, text)));
            assert_eq!(first, second);
            assert_eq!((ready, healthy, other), (Some(Response::ok()), Some(Response::ok()), None));
        });
    }

    #[test]
    fn a_scope_whose_programs_were_taken_out_is_not_ready_and_not_enforced() {
        let folder = tempfile::tempdir().unwrap();
        let (board, set, hierarchy) = board(folder.path());
        let scopes = ["a", "b"].map(exposition::tests::scope).to_vec();
        let told = tell(scopes, None, &board.durations(), &set, &hierarchy).unwrap();
        assert_eq!(told.missing, ["a", "b"]);
        for line in ["ringfence_enforcing{scope=\"a\"} 0", "ringfence_enforcing{scope=\"b\"} 0"] {
            assert!(told.text.lines().any(|one| one == line), "{}", told.text);
        }
    }

    #[test]
    fn the_places_of_counts_are_those_of_outcomes() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }
}
