//! The files that the agent was started with: tells when one of them may have changed.
//!
//! Folders are watched and not files, since files are replaced: by editors, by package managers,
//! and by Kubernetes, which turns the link `..data` beside them. Besides, all of them are looked at
//! again and again: a system has only so many watches to give to a user (`inotify(7)`), which root in
//! any container may have taken, and file systems of other machines tell of nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until, timeout_at},
};

use super::ROUND;

/// How long nothing must have happened: whoever replaces several files is not done with the first.
const QUIET: Duration = Duration::from_millis(200);
/// The longest that a change waits for quiet: whoever may make files beside the policies must not
/// keep a new policy from coming into force.
const LATEST: Duration = Duration::from_secs(2);
/// How far the times of files may lie behind the clock.
const GRAIN: Duration = Duration::from_millis(10);

/// What tells a file or folder from what was there before: device, inode, and when that was changed.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The watched folders.
pub(super) struct Watcher {
    /// Not where the system has no watch to give.
    events: Option<AsyncFd<std::os::fd::OwnedFd>>,
    /// The files and their folders, as they were when a change was seen last.
    known: BTreeMap<PathBuf, Stamp>,
    /// When they are looked at next.
    next: Instant,
    /// What has happened and was not told yet. Kept here, since who waits for it may turn to
    /// something else meanwhile, and come back.
    pending: Option<Pending>,
}

/// Something that has happened.
#[derive(Clone, Copy)]
struct Pending {
    /// When it is told, if nothing more happens.
    due: Instant,
    /// When it is told in any case.
    latest: Instant,
}

impl Watcher {
    /// Watches the configuration and the policies. Where the system has no watch to give, changes
    /// are seen a little later.
    pub(super) fn new(configuration: &Path, policies: &[PathBuf]) -> Self {
        let events = instance().inspect_err(|error| {
            tell!(
                "ringfence: policies cannot be watched, so they are looked at each second: {error}"
            );
        });
        let (events, next) = (events.ok(), Instant::now() + ROUND);
        let mut this = Self { events, known: BTreeMap::new(), next, pending: None };
        this.watch(configuration, policies);
        this
    }

    /// Has a change told, if one of these files was replaced since then: before its folder was
    /// watched, and after it was read.
    pub(super) fn look_back(&mut self, since: SystemTime, files: &[PathBuf]) {
        let since = since.checked_sub(GRAIN).unwrap_or(since);
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_newer = |file: &PathBuf| {
            std::fs::metadata(file).is_ok_and(|found| {
                let changed = (found.ctime(), found.ctime_nsec());
                changed >= (since.as_secs() as i64, i64::from(since.subsec_nanos()))
            })
        };
        if files.iter().any(is_newer) {
            let due = Instant::now() + QUIET;
            self.pending.get_or_insert(Pending { due, latest: due });
        }
    }

    /// Watches these files, and the folders that they are in: where they are named, and where links
    /// lead.
    pub(super) fn watch(&mut self, configuration: &Path, policies: &[PathBuf]) {
        let files = policies.iter().map(PathBuf::as_path).chain([configuration]);
        let real = |file: &Path| file.canonicalize().ok();
        let files: BTreeSet<_> =
            files.flat_map(|file| [Some(file.to_owned()), real(file)]).flatten().collect();
        let folders: BTreeSet<_> =
            files.iter().filter_map(|file| Some(file.parent()?.to_owned())).collect();
        // What was known stays so: it may have changed since, and that was not seen yet.
        let known = |path: &PathBuf| self.known.get(path).copied().unwrap_or_else(|| stamp(path));
        let all = files.iter().chain(&folders).map(|path| (path.clone(), known(path)));
        self.known = all.collect();
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE;
        for folder in folders {
            // What cannot be watched is looked at all the same.
            let watched = self.events.as_ref();
            let _ = watched.map(|events| inotify::add_watch(events.get_ref(), &folder, flags));
        }
    }

    /// Waits until something has happened in one of the folders, and no more does. Nothing is missed
    /// when the wait is given up.
    pub(super) async fn changed(&mut self) {
        loop {
            match self.pending {
                None => self.wait().await,
                Some(pending) => {
                    if timeout_at(pending.due, self.wait()).await.is_err() {
                        self.pending = None;
                        return;
                    }
                }
            }
        }
    }

    /// Waits until something has happened, or a file is another.
    async fn wait(&mut self) {
        loop {
            let has_changed = tokio::select! {
                any = told(self.events.as_ref()) => any,
                () = sleep_until(self.next) => {
                    self.next = Instant::now() + ROUND;
                    self.known.iter().any(|(path, known)| stamp(path) != *known)
                }
            };
            if has_changed {
                let now = Instant::now();
                let latest = self.pending.map_or(now + LATEST, |pending| pending.latest);
                self.pending = Some(Pending { due: latest.min(now + QUIET), latest });
                self.known.iter_mut().for_each(|(path, known)| *known = stamp(path));
                return;
            }
        }
    }
}

/// Asks the system for something to watch with.
fn instance() -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    // SAFETY: the descriptor is the one that the value owns, and no other.
    let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) };
    Ok(events?)
}

/// Waits until the system tells of something; whether it was anything.
async fn told(events: Option<&AsyncFd<std::os::fd::OwnedFd>>) -> bool {
    let Some(events) = events else { return std::future::pending().await };
    let Ok(mut ready) = events.readable().await else { return std::future::pending().await };
    let mut room = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events.get_ref(), &mut room);
    let mut any = false;
    while reader.next().is_ok() {
        any = true;
    }
    ready.clear_ready();
    any
}

fn stamp(file: &Path) -> Stamp {
    let found = std::fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn a_change_is_told_though_the_wait_for_it_is_given_up_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        fs::write(&file, "first").unwrap();
        let mut watcher = Watcher::new(&file, &[]);
        assert!(timeout(QUIET * 2, watcher.changed()).await.is_err(), "nothing has changed");
        fs::write(&file, "second").unwrap();
        let mut is_told = false;
        for _ in 0..100 {
            is_told |= timeout(QUIET / 4, watcher.changed()).await.is_ok();
        }
        assert!(is_told);
        assert!(timeout(QUIET * 2, watcher.changed()).await.is_err(), "it is told once");
    }

    #[tokio::test]
    async fn a_change_is_told_where_the_system_has_no_watch_to_give() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("agent.yaml"), folder.path().join("link"));
        fs::write(&file, "first").unwrap();
        std::os::unix::fs::symlink("agent.yaml", &link).unwrap();
        let mut watcher = Watcher::new(&link, &[folder.path().join("none")]);
        watcher.events = None;
        assert!(timeout(ROUND * 2, watcher.changed()).await.is_err(), "nothing has changed");
        fs::write(folder.path().join("new"), "second").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(timeout(ROUND * 2, watcher.changed()).await.is_ok());
        assert!(timeout(ROUND * 2, watcher.changed()).await.is_err(), "it is told once");
        fs::write(folder.path().join("none"), "there").unwrap();
        assert!(timeout(ROUND * 2, watcher.changed()).await.is_ok());
        // A policy that is new is seen by its folder, and what changed before a reload after it.
        fs::write(folder.path().join("beside"), "there").unwrap();
        watcher.watch(&link, &[folder.path().join("none")]);
        assert!(timeout(ROUND * 2, watcher.changed()).await.is_ok());
        assert!(timeout(ROUND * 2, watcher.changed()).await.is_err(), "it is told once");
    }

    #[tokio::test]
    async fn a_change_from_before_the_watch_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        fs::write(&file, "first").unwrap();
        sleep(GRAIN * 3).await;
        let read = SystemTime::now();
        let mut watcher = Watcher::new(&file, &[]);
        watcher.look_back(read, std::slice::from_ref(&file));
        assert!(timeout(QUIET * 2, watcher.changed()).await.is_err(), "nothing has changed");
        fs::write(&file, "second").unwrap();
        let mut watcher = Watcher::new(&file, &[]);
        watcher.look_back(read, &[folder.path().join("none"), file.clone()]);
        assert!(timeout(QUIET * 2, watcher.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn a_change_is_told_though_others_follow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        let mut watcher = Watcher::new(&file, &[]);
        let noise = async {
            loop {
                fs::write(folder.path().join("noise"), "more").unwrap();
                sleep(QUIET / 8).await;
            }
        };
        tokio::select! {
            () = noise => unreachable!(),
            told = timeout(LATEST * 4, watcher.changed()) => assert!(told.is_ok()),
        }
    }
}
