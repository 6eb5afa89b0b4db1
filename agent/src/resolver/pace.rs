//! How much a scope may ask: questions at a time, and distinct names in a minute.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts what leaves.
pub(super) struct Pace {
    waiting: Arc<Semaphore>,
    names: Mutex<Names>,
    most: usize,
    hasher: RandomState,
}

/// The names of this minute. Only their hashes are kept, with a key that nobody outside knows.
struct Names {
    since: Instant,
    seen: HashSet<u64>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Pace {
    pub(super) fn new(outstanding: usize, names: usize) -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(outstanding.min(Semaphore::MAX_PERMITS))),
            names: Mutex::new(Names { since: Instant::now(), seen: HashSet::new() }),
            most: names,
            hasher: RandomState::new(),
        }
    }

    /// A place among the questions that wait, for as long as the permit is held; `None` when all
    /// are taken.
    pub(super) fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// Whether a name may be asked for at this moment. The same name again is always free.
    pub(super) fn admits(&self, name: &str, now: Instant) -> bool {
        let hash = self.hasher.hash_one(name);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(names.since) >= MINUTE {
            names.since = now;
            names.seen.clear();
        }
        names.seen.contains(&hash) || names.seen.len() < self.most && names.seen.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_new_names_and_any_number_of_known_ones() {
        let pace = Pace::new(1, 2);
        let start = Instant::now();
        assert!(pace.admits("a", start));
        assert!(pace.admits("b", start));
        assert!(!pace.admits("c", start));
        assert!(pace.admits("a", start));
        assert!(!pace.admits("c", start + MINUTE / 2));
        assert!(pace.admits("c", start + MINUTE * 2));
    }

    #[test]
    fn only_so_many_questions_wait_at_a_time() {
        let pace = Pace::new(1, 2);
        let first = pace.wait();
        assert!(first.is_some());
        assert!(pace.wait().is_none());
        drop(first);
        assert!(pace.wait().is_some());
    }
}
