//! The files that the agent was started with: tells when one of them may have changed.
//!
//! Folders are watched and not files, since files are replaced: by editors, by package managers,
//! and by Kubernetes, which turns the link `..data` beside them.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// How long nothing must have happened: whoever replaces several files is not done with the first.
const QUIET: Duration = Duration::from_millis(200);

/// The watched folders.
pub(super) struct Watcher {
    events: AsyncFd<std::os::fd::OwnedFd>,
    folders: BTreeSet<PathBuf>,
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
        let mut this = Self { events, folders: BTreeSet::new() };
        this.watch(configuration, policies);
        Ok(this)
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

    /// Waits until something has happened in one of the folders, and no more does.
    pub(super) async fn changed(&mut self) {
        self.wait().await;
        while tokio::time::timeout(QUIET, self.wait()).await.is_ok() {}
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
                return;
            }
        }
    }
}
