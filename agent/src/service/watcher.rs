//! The files that the agent was started with: tells when one of them may have changed.
//!
//! Folders are watched and not files, since files are replaced: by editors, by package managers,
//! and by Kubernetes, which turns the link `..data` beside them.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, timeout_at},
};

/// How long nothing must have happened: whoever replaces several files is not done with the first.
const QUIET: Duration = Duration::from_millis(200);
/// The longest that a change waits for quiet: whoever may make files beside the policies must not
/// keep a new policy from coming into force.
const LATEST: Duration = Duration::from_secs(2);
/// How far the times of files may lie behind the clock.
const GRAIN: Duration = Duration::from_millis(10);

/// The watched folders.
pub(super) struct Watcher {
    events: AsyncFd<std::os::fd::OwnedFd>,
    folders: BTreeSet<PathBuf>,
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
    /// Watches the configuration and the policies.
    ///
    /// # Errors
    ///
    /// When the system has no watch to give.
    pub(super) fn new(configuration: &Path, policies: &[PathBuf]) -> Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .context("watching the policies' folders")?;
        // SAFETY: the descriptor is the one that the value owns, and no other.
        let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) };
        let events = events.map_err(io::Error::from)?;
        let mut this = Self { events, folders: BTreeSet::new(), pending: None };
        this.watch(configuration, policies);
        Ok(this)
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

    /// Watches the folders of these files too: where they are named, and where links lead.
    pub(super) fn watch(&mut self, configuration: &Path, policies: &[PathBuf]) {
        let files = policies.iter().map(PathBuf::as_path).chain([configuration]);
        let real = |file: &Path| file.canonicalize().ok();
        let both = files.flat_map(|file| [Some(file.to_owned()), real(file)]).flatten();
        let folders: BTreeSet<_> =
            both.filter_map(|file| Some(file.parent()?.to_owned())).collect();
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE;
        for folder in folders {
            // A folder that is not there yet is looked at with the next reload.
            if inotify::add_watch(self.events.get_ref(), &folder, flags).is_ok() {
                self.folders.insert(folder);
            }
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

    async fn wait(&mut self) {
        loop {
            let Ok(mut ready) = self.events.readable().await else {
                return std::future::pending().await;
            };
            let mut room = [std::mem::MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(self.events.get_ref(), &mut room);
            let mut any = false;
            while reader.next().is_ok() {
                any = true;
            }
            ready.clear_ready();
            if any {
                let now = Instant::now();
                let latest = self.pending.map_or(now + LATEST, |pending| pending.latest);
                self.pending = Some(Pending { due: latest.min(now + QUIET), latest });
                return;
            }
        }
    }
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
        let mut watcher = Watcher::new(&file, &[]).unwrap();
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
    async fn a_change_from_before_the_watch_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        fs::write(&file, "first").unwrap();
        sleep(GRAIN * 3).await;
        let read = SystemTime::now();
        let mut watcher = Watcher::new(&file, &[]).unwrap();
        watcher.look_back(read, std::slice::from_ref(&file));
        assert!(timeout(QUIET * 2, watcher.changed()).await.is_err(), "nothing has changed");
        fs::write(&file, "second").unwrap();
        let mut watcher = Watcher::new(&file, &[]).unwrap();
        watcher.look_back(read, &[folder.path().join("none"), file.clone()]);
        assert!(timeout(QUIET * 2, watcher.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn a_change_is_told_though_others_follow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        let mut watcher = Watcher::new(&file, &[]).unwrap();
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
