//! Which scope the containers of Kubernetes pods belong to, and where the agent learns it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsStr,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::Result;
use ringfence_agent::pods::{Change, Health, Place, Role, role};
use ringfence_common::scope::{HELD, NOBODY};

use super::{
    Service, chosen::Rules, governed::Governed, hierarchy::Found, metrics::PodsKnown,
    plan::Planned, source::Source,
};
use crate::kernel::programs::Group;

/// The root of the machine, also where the agent is in a container that sees all processes.
const MACHINE: &str = "/proc/1/root";

/// Which scope a control group belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// To the one of this index.
    To(u32),
    /// To none.
    Nowhere,
    /// That cannot be told yet, and why.
    Unknown(String),
}

/// The containers of pods, for an agent that governs some.
pub(super) struct Containers {
    rules: Rules,
    source: Source,
    /// The control group of the agent itself, as a path of the hierarchy.
    own: PathBuf,
    /// Containers that belong nobody knows where, and why, by the identifiers of their groups.
    unknown: RefCell<BTreeMap<u64, String>>,
    /// What was told last of the source's troubles.
    trouble: RefCell<Option<String>>,
}

/// Other rules, and another source if that is another.
pub(super) struct Next {
    rules: Rules,
    source: Option<Source>,
    own: PathBuf,
}

impl Next {
    /// What takes the place of the one before.
    pub(super) fn after(self, before: Option<Containers>) -> Option<Containers> {
        let Self { rules, source, own } = self;
        let source = source.or_else(|| before.map(|before| before.source))?;
        let (unknown, trouble) = Default::default();
        Some(Containers { rules, source, own, unknown, trouble })
    }
}

impl Containers {
    /// What will take the place of the one before, if there is one; nothing has changed yet.
    ///
    /// # Errors
    ///
    /// When there is no access to the API server.
    pub(super) async fn next(planned: Planned, before: Option<&Self>) -> Result<Next> {
        let Planned { rules, source, pods, own } = planned;
        // The same API server is not asked anew.
        let is_kept = before.is_some_and(|before| before.source.is(&source));
        let source = if is_kept { None } else { Some(Source::open(&source, pods).await?) };
        Ok(Next { rules, source, own })
    }

    /// Waits until a pod may have changed.
    pub(super) async fn changed(&mut self) {
        for change in self.source.changes().await {
            if let Change::Refused(uid, why) = change {
                tell!("ringfence: the pod {uid} is not known: {why}");
            }
        }
    }

    /// Whether nothing may be started in a container that is not known.
    pub(super) const fn holds(&self) -> bool {
        self.rules.holds()
    }

    /// How well the source does.
    pub(super) fn health(&self) -> Health {
        self.source.pods().health()
    }

    /// The containers that belong nobody knows where, and why.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.unknown.borrow().values().cloned().collect()
    }

    /// What the container whose control group has this path belongs to; `None` where there is no
    /// container. `by_path` is the scope that selects the path by itself.
    fn of(&self, path: &str, by_path: Option<u32>) -> Option<Belongs> {
        let place = Place::of(path)?;
        // It would govern itself, and could not do its work.
        if self.own.starts_with(path) {
            return Some(Belongs::Nowhere);
        }
        let pod = self.source.pods().get(place.pod);
        let role = || {
            let known = pod.as_ref().and_then(|pod| pod.container(&place.container));
            let named = known.map(|name| Role::Named(name.to_owned()));
            named.or_else(|| role(Path::new(MACHINE), place.container))
        };
        Some(match self.rules.belongs(pod.as_deref(), role, by_path) {
            Belongs::Unknown(why) => Belongs::Unknown(format!(
                "container {} of pod {}: {why}",
                place.container, place.pod
            )),
            belongs => belongs,
        })
    }

    /// Notes that a container belongs nobody knows where, or that it is known; tells it once.
    fn note(&self, found: &Found, belongs: Option<&Belongs>) {
        let (id, is_static) = (found.id, is_static(found));
        let mut unknown = self.unknown.borrow_mut();
        let Some(Belongs::Unknown(why)) = belongs else {
            unknown.remove(&id);
            return;
        };
        if unknown.get(&id) != Some(why) {
            let what = match self.rules.holds() && !is_static {
                true => "nothing can be started in it until it is",
                false => "it is not governed until it is",
            };
            tell!("ringfence: {why}: {what}");
            unknown.insert(id, why.clone());
        }
    }
}

/// Whether a control group is a static pod's: the kubelet makes these, often before there is a server
/// to ask, so that they do not wait until they are known.
pub(super) fn is_static(found: &Found) -> bool {
    found.path.to_str().and_then(Place::of).is_some_and(|place| place.pod.is_static())
}

/// Whether a control group is that of a container: it stays in its scope when its pod's labels change.
pub(super) fn is_container(found: &Found) -> bool {
    found.path.to_str().and_then(Place::of).is_some()
}

impl Service {
    /// Which scope a control group belongs to; `None` for one that no selector has to do with.
    pub(super) fn belongs(&self, found: &Found) -> Option<Belongs> {
        let by_path = self.selectors.of_cgroup(found.bytes());
        let containers =
            self.containers.as_ref().filter(|_| self.selectors.is_of_a_pod(found.bytes()));
        let Some(containers) = containers else { return by_path.map(Belongs::To) };
        let belongs = found.path.to_str().and_then(|path| containers.of(path, by_path));
        containers.note(found, belongs.as_ref());
        Some(match belongs {
            Some(Belongs::Nowhere) => self.above(found).map_or(Belongs::Nowhere, Belongs::To),
            None => by_path.or_else(|| self.above(found)).map_or(Belongs::Nowhere, Belongs::To),
            Some(belongs) => belongs,
        })
    }

    /// Notes that a container has its scope already, whatever its pod says by now.
    pub(super) fn settle(&self, found: &Found) {
        if let Some(containers) = &self.containers {
            containers.note(found, None);
        }
    }

    /// The scope of the next control group above that is selected.
    fn above(&self, found: &Found) -> Option<u32> {
        let mut above =
            found.path.ancestors().skip(1).map(Path::as_os_str).map(OsStr::as_encoded_bytes);
        above.find_map(|path| self.selectors.of_cgroup(path))
    }

    /// Finds the scope of a container whose control group was just made.
    pub(super) fn begin_container(&self, found: &Found, folder: &OwnedFd) -> Result<()> {
        match self.belongs(found) {
            Some(Belongs::Unknown(_)) if !is_static(found) => Ok(()),
            Some(Belongs::To(scope)) => {
                let Some(scope) = self.scopes.get(scope as usize) else { return Ok(()) };
                // Those that are in it may have no label.
                self.selection.ask();
                let group = Group { id: found.id, level: found.level, folder: folder.as_fd() };
                scope.admit(group)?;
                self.selection.label_tasks()?;
                if !self.containers.as_ref().is_some_and(Containers::holds) {
                    scope.look_through(&self.hierarchy.processes(&found.path));
                }
                Ok(())
            }
            Some(Belongs::Nowhere | Belongs::Unknown(_)) | None => {
                self.selection.set_member(found.id, NOBODY, found.level)?;
                self.selection.label_tasks()
            }
        }
    }

    /// Has nothing started in a control group whose scope is not known, where nothing runs yet.
    pub(super) fn hold(&self, found: &Found) -> Result<()> {
        let holds = self.containers.as_ref().is_some_and(Containers::holds) && !is_static(found);
        if holds && self.hierarchy.processes(&found.path).is_empty() {
            self.selection.set_member(found.id, HELD, found.level)?;
        }
        Ok(())
    }

    /// Waits until a pod may have changed; without end where none is governed.
    pub(super) async fn pods_changed(containers: &mut Option<Containers>) {
        match containers {
            Some(containers) => containers.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Brings containers under the scopes that they belong to by now.
    pub(super) fn look_at_pods(&mut self) -> Result<()> {
        let members: BTreeMap<u64, u32> =
            self.selection.members()?.iter().map(|(id, member)| (*id, member.scope)).collect();
        let (all, whole) = self.hierarchy.all();
        if let Some(containers) = self.containers.as_ref().filter(|_| whole.is_ok()) {
            let is_there = |id: &u64, _: &mut String| all.iter().any(|found| found.id == *id);
            containers.unknown.borrow_mut().retain(is_there);
        }
        let pods = all.iter().filter(|found| self.selectors.is_of_a_pod(found.bytes()));
        let numbers = self.numbers();
        let has_moved = |found: &Found| {
            let present = members.get(&found.id).copied().unwrap_or(NOBODY);
            if is_container(found) && numbers.contains(&present) {
                self.settle(found);
                return false;
            }
            match self.belongs(found) {
                None | Some(Belongs::Unknown(_)) => false,
                Some(Belongs::Nowhere) => present != NOBODY,
                Some(Belongs::To(scope)) => {
                    self.scopes.get(scope as usize).map(Governed::number) != Some(present)
                }
            }
        };
        // All are looked at, so that whoever waits is told why.
        if pods.filter(|found| has_moved(found)).count() > 0 { self.arrange(false) } else { Ok(()) }
    }

    /// Tells of the source's troubles, and looks again at what is not known.
    pub(super) fn look_after_pods(&mut self) -> Result<()> {
        let Some(containers) = &self.containers else {
            self.board.show_pods(None);
            return Ok(());
        };
        let error = containers.health().error;
        let before = containers.trouble.replace(error.clone());
        match &error {
            Some(error) if before.as_ref() != Some(error) => {
                tell!("ringfence: pods cannot be learnt of: {error}");
            }
            None if before.is_some() => tell!("ringfence: pods can be learnt of again"),
            _ => {}
        }
        self.board.show_pods(self.pods_known());
        let waits = !containers.unknown.borrow().is_empty();
        if waits { self.look_at_pods() } else { Ok(()) }
    }

    /// What is known of pods, for the metrics.
    pub(super) fn pods_known(&self) -> Option<PodsKnown> {
        let containers = self.containers.as_ref()?;
        let Health { pods, is_ready, .. } = containers.health();
        let unidentified = containers.unknown.borrow().len();
        Some(PodsKnown { count: pods, is_ready, unidentified })
    }

    /// What is known of pods, for the status.
    pub(super) fn pods_status(&self) -> Option<serde_json::Value> {
        let containers = self.containers.as_ref()?;
        let health = containers.health();
        Some(serde_json::json!({
            "known": health.pods,
            "ready": health.is_ready,
            "refused": health.refused,
            "problem": health.error,
            "unidentified": containers.unknown(),
        }))
    }
}
