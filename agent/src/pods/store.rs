//! The pods that are known, for whoever asks who a container is.

#[cfg(any(test, feature = "kubernetes"))]
use std::collections::BTreeSet;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use super::{ContainerId, Pod, PodUid};

/// How long a pod stays known after it was deleted, unless its containers are gone before. Who
/// deletes a pod by force does not wait for its containers.
pub const GRACE: Duration = Duration::from_secs(60);
/// Pods that are known at once. Nodes run some hundreds at most.
const MAX_PODS: usize = 2048;
/// Bytes of text that a pod may have, so that all have some 32 MiB at most.
const MAX_TEXT: usize = 16 << 10;

/// The pods of this machine that are known. Each question is answered at once, from memory.
#[derive(Debug, Default)]
pub struct Pods(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    /// By the uid of the object that tells of the pod: for a static one, it is another than the
    /// pod's.
    entries: BTreeMap<PodUid, Entry>,
    health: Health,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    deleted: Option<Instant>,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is known now, or something of it has changed.
    Known(Arc<Pod>),
    /// It is not known any more.
    Gone(PodUid),
    /// It is not known, or not any more, since it does not fit.
    Refused(PodUid, Refused),
    /// All pods of the source are known now. It comes again when the source was listed again.
    Ready,
}

/// Why a pod does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are too many.
    #[error("more than {MAX_PODS} pods")]
    TooMany,
    /// It has too much text.
    #[error("names, labels and annotations have more than {MAX_TEXT} bytes together")]
    TooLarge,
}

/// How well the source of pods does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether all pods of the source have been known once.
    pub is_ready: bool,
    /// When the source was last known to be up to date; `None` before, and for a source that cannot
    /// be out of date.
    pub heard: Option<Instant>,
    /// Why the source cannot be asked at the moment.
    pub error: Option<String>,
    /// Times that it could not be asked.
    pub failures: u64,
    /// Times that a pod was refused, or could not be read.
    pub refused: u64,
    /// How many pods are known.
    pub pods: usize,
}

impl Health {
    /// For how long nothing has been heard from the source. Up to some minutes is usual where
    /// nothing happens.
    pub fn staleness(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }
}

impl Pods {
    /// The pods of a source that is complete and does not change.
    ///
    /// # Errors
    ///
    /// The uid of the first pod that does not fit, and why.
    pub fn fixed(pods: impl IntoIterator<Item = Pod>) -> Result<Self, (PodUid, Refused)> {
        let store = Self::default();
        for pod in pods {
            if let Some(Change::Refused(uid, why)) = store.apply(pod.uid, pod) {
                return Err((uid, why));
            }
        }
        store.write().health.is_ready = true;
        Ok(store)
    }

    /// The pod with this uid; `None` as well when two claim it.
    pub fn get(&self, uid: PodUid) -> Option<Arc<Pod>> {
        let state = self.read();
        state.only(|pod| pod.uid == uid).map(Arc::clone)
    }

    /// The pod that has this container, and the container's name; `None` as well when two claim it.
    /// The container's cgroup says more certainly which pod it belongs to.
    pub fn by_container(&self, id: ContainerId) -> Option<(Arc<Pod>, String)> {
        let state = self.read();
        let pod = state.only(|pod| pod.containers.values().any(|known| *known == Some(id)))?;
        Some((Arc::clone(pod), pod.container(&id)?.to_owned()))
    }

    /// How well the source does.
    pub fn health(&self) -> Health {
        let state = self.read();
        Health { pods: state.entries.len(), ..state.health.clone() }
    }

    /// To be told when the last cgroup of a pod's containers is gone: if the pod was deleted, it
    /// need not stay known. Says whether it has left.
    pub fn no_containers(&self, uid: PodUid) -> bool {
        let mut state = self.write();
        let before = state.entries.len();
        state.entries.retain(|_, entry| entry.pod.uid != uid || entry.deleted.is_none());
        state.entries.len() < before
    }

    /// Takes in a pod as the object `key` tells of it. Says what changed, if anything did.
    pub(crate) fn apply(&self, key: PodUid, pod: Pod) -> Option<Change> {
        let mut state = self.write();
        let is_known = state.entries.contains_key(&key);
        let refused = if text(&pod) > MAX_TEXT {
            Some(Refused::TooLarge)
        } else {
            (!is_known && state.entries.len() >= MAX_PODS).then_some(Refused::TooMany)
        };
        if let Some(why) = refused {
            state.health.refused += 1;
            // What is known of it is not true any more.
            state.entries.remove(&key);
            return Some(Change::Refused(pod.uid, why));
        }
        let deleted = None;
        match state.entries.get_mut(&key) {
            Some(entry) if *entry.pod == pod && entry.deleted.is_none() => None,
            _ => {
                let pod = Arc::new(pod);
                state.entries.insert(key, Entry { pod: Arc::clone(&pod), deleted });
                Some(Change::Known(pod))
            }
        }
    }

    // Nothing here panics half way through a change, so what a panic elsewhere left is whole.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a source does that changes.
#[cfg(any(test, feature = "kubernetes"))]
impl Pods {
    /// The object was deleted: the pod leaves after [`GRACE`].
    pub(crate) fn delete(&self, key: PodUid, now: Instant) {
        if let Some(entry) = self.write().entries.get_mut(&key) {
            entry.deleted.get_or_insert(now);
        }
    }

    /// All objects that the source has were listed; the others were deleted at some time.
    pub(crate) fn listed(&self, keys: &BTreeSet<PodUid>, now: Instant) {
        let mut state = self.write();
        for (_, entry) in state.entries.iter_mut().filter(|(key, _)| !keys.contains(key)) {
            entry.deleted.get_or_insert(now);
        }
        state.health.is_ready = true;
    }

    /// Takes out the pods that were deleted long enough ago.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<Change> {
        let is_over = |entry: &Entry| {
            entry.deleted.is_some_and(|deleted| now.saturating_duration_since(deleted) >= GRACE)
        };
        let mut gone = Vec::new();
        self.write().entries.retain(|_, entry| {
            let is_over = is_over(entry);
            if is_over {
                gone.push(Change::Gone(entry.pod.uid));
            }
            !is_over
        });
        gone
    }

    /// The source is up to date.
    pub(crate) fn heard(&self, now: Instant) {
        let health = &mut self.write().health;
        (health.heard, health.error) = (Some(now), None);
    }

    /// The source cannot be asked.
    pub(crate) fn failed(&self, error: String) {
        let health = &mut self.write().health;
        health.failures += 1;
        health.error = Some(error);
    }

    /// An object could not be read.
    pub(crate) fn refused(&self) {
        self.write().health.refused += 1;
    }
}

impl State {
    /// The one pod that fits. Of one that was deleted and one that was not, the latter: the object
    /// that tells of a static pod may be made anew.
    fn only(&self, is_fit: impl Fn(&Pod) -> bool) -> Option<&Arc<Pod>> {
        let mut found = (None, false);
        for entry in self.entries.values().filter(|entry| is_fit(&entry.pod)) {
            found = match found {
                (None, _) => (Some(entry), false),
                (Some(other), is_many) => match (&other.deleted, &entry.deleted) {
                    (Some(_), None) => (Some(entry), false),
                    (None, Some(_)) => (Some(other), is_many),
                    _ => (Some(other), true),
                },
            };
        }
        found.0.filter(|_| !found.1).map(|entry| &entry.pod)
    }
}

/// Bytes of text in a pod, identifiers included.
fn text(pod: &Pod) -> usize {
    let pairs = pod.labels.iter().chain(&pod.annotations);
    let pairs: usize = pairs.map(|(key, value)| key.len() + value.len()).sum();
    let containers: usize =
        pod.containers.keys().map(|name| name.len() + size_of::<ContainerId>()).sum();
    pod.namespace.len() + pod.name.len() + pairs + containers
}

#[cfg(test)]
mod tests;
