//! The scopes on this machine: who owns which, and what those leave behind whose owner was killed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use ringfence_common::scope::kind;
use rustix::fs::{FlockOperation, flock};

use crate::{
    cgroup,
    kernel::{programs::Programs, set::Set},
};

/// Where links are pinned; a bpffs is mounted there on every machine with systemd.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (`linux/magic.h`).
const BPFFS_MAGIC: u64 = 0xcafe_4a11;
const LOCKS: &str = "/run/ringfence";
/// The name of the machine's lock, which no scope can have.
const MACHINE: &str = ".machine";
/// The name of the agent's lock: there is one agent on a machine.
const AGENT: &str = ".agent";
/// How long a name is waited for that another process has.
const PATIENCE: Duration = Duration::from_secs(3);

/// The folder that sets of programs are pinned in.
pub(crate) fn sets() -> PathBuf {
    Path::new(BPFFS).join("ringfence")
}

/// Checks that links can be pinned.
///
/// # Errors
///
/// With what to do.
pub(crate) fn check_bpffs() -> Result<()> {
    let magic = rustix::fs::statfs(BPFFS).map(|stat| stat.f_type as u64);
    if magic != Ok(BPFFS_MAGIC) {
        bail!("no bpffs is mounted: `mount -t bpf bpf {BPFFS}` mounts it");
    }
    Ok(())
}

/// Whether this can be a scope's name: it becomes the name of folders.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_word)
}

/// A scope that this process owns. The kernel gives the lock back when the process ends, however
/// it ends.
#[derive(Debug)]
pub(crate) struct Ownership {
    _lock: File,
    path: PathBuf,
}

impl Ownership {
    /// Takes a scope's name, or `None` when another process has it.
    ///
    /// # Errors
    ///
    /// When the lock cannot be made.
    pub(crate) fn take(scope: &str) -> Result<Option<Self>> {
        let path = Path::new(LOCKS).join(format!("{scope}.lock"));
        loop {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(LOCKS).context(LOCKS)?;
            let mut options = File::options();
            options.create(true).truncate(false).write(true).mode(0o600);
            let lock = match options.open(&path) {
                // Whoever gives the last name back takes the folder away, perhaps just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.with_context(|| path.display().to_string())?,
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error).context("locking the scope"),
            }
            // The owner before may have removed the file between the opening and the lock.
            let is_current = fs::metadata(&path)
                .is_ok_and(|now| lock.metadata().is_ok_and(|own| own.ino() == now.ino()));
            if is_current {
                return Ok(Some(Self { _lock: lock, path }));
            }
        }
    }

    /// Takes the machine's lock, which whoever changes a set of programs holds, and waits for it as
    /// long as others do.
    ///
    /// # Errors
    ///
    /// When the lock cannot be made.
    pub(crate) fn of_machine() -> Result<Self> {
        let start = Instant::now();
        let mut is_told = false;
        loop {
            if let Some(taken) = Self::take(MACHINE)? {
                return Ok(taken);
            }
            if !is_told && start.elapsed() > PATIENCE {
                tell!("ringfence: waiting for another ringfence that starts or ends a scope");
                is_told = true;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes the agent's place on this machine, or `None` when another has it.
    ///
    /// # Errors
    ///
    /// When the lock cannot be made.
    pub(crate) fn of_agent() -> Result<Option<Self>> {
        Self::take_in_time(AGENT)
    }

    /// Takes a scope's name as [`Self::take`] does, and waits a little where another process has
    /// it: one that starts looks for what others left, and holds each name that it finds for a
    /// moment, the name of one that starts beside it too.
    ///
    /// # Errors
    ///
    /// When the lock cannot be made.
    pub(crate) fn take_in_time(scope: &str) -> Result<Option<Self>> {
        let start = Instant::now();
        loop {
            match Self::take(scope)? {
                None if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
                taken => return Ok(taken),
            }
        }
    }
}

impl Drop for Ownership {
    /// Gives the name back and leaves nothing. The file goes while the lock is held.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(LOCKS);
    }
}

/// Whether a process owns the scope of that name. Who asks does not keep others from owning it
/// unless nobody does, and then for no longer than it takes to ask.
///
/// # Errors
///
/// When the lock cannot be read.
pub(crate) fn is_owned(scope: &str) -> Result<bool> {
    let path = Path::new(LOCKS).join(format!("{scope}.lock"));
    let lock = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        lock => lock.with_context(|| path.display().to_string())?,
    };
    // Shared, so that two who ask do not take each other for the owner.
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Whether an agent runs on this machine.
///
/// # Errors
///
/// When its lock cannot be read.
pub(crate) fn is_agent_there() -> Result<bool> {
    is_owned(AGENT)
}

/// A scope whose owner is gone.
#[derive(Debug)]
pub(crate) struct Orphan {
    /// Its name.
    pub(crate) name: String,
    /// Given back last.
    _ownership: Ownership,
}

impl Orphan {
    fn cgroup(&self) -> Option<PathBuf> {
        cgroup::existing().into_iter().find(|(name, _)| *name == self.name).map(|(_, path)| path)
    }

    /// Whether its command, or what that started, still runs.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    pub(crate) fn is_running(&self) -> Result<bool> {
        let places = Programs::of(&sets(), &self.name)?;
        Ok(self.cgroup().is_some_and(|path| cgroup::is_populated(&path))
            || places.iter().any(|place| place.members().any()))
    }

    /// Ends what runs in it, and removes it.
    ///
    /// # Errors
    ///
    /// When processes do not end: then they stay governed.
    pub(crate) fn remove(self) -> Result<()> {
        let _machine = Ownership::of_machine()?;
        let end = || self.cgroup().map_or(Ok(()), |path| cgroup::end_processes(&path));
        for place in Programs::of(&sets(), &self.name)? {
            place.members().end(end)?;
            place.release().with_context(|| format!("removing {}", self.name))?;
        }
        // One that was killed before it had a place.
        self.cgroup().map_or(Ok(()), |path| cgroup::end(&path))?;
        Ok(())
    }
}

/// Removes sets that hold no scope: whoever loaded them was killed.
///
/// # Errors
///
/// When a set cannot be removed.
pub(crate) fn remove_unused_sets() -> Result<()> {
    if !sets().exists() {
        return Ok(());
    }
    let _machine = Ownership::of_machine()?;
    for set in Set::all(&sets()) {
        // That of another version is for that version to remove.
        if set.is_unused().unwrap_or(false) {
            set.remove()?;
        }
    }
    Ok(())
}

/// Every scope on this machine that no process owns, told by its place, cgroup or lock.
///
/// # Errors
///
/// When a lock cannot be made.
pub(crate) fn orphans() -> Result<Vec<Orphan>> {
    let listed = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let mut names: Vec<String> = cgroup::existing().into_iter().map(|(name, _)| name).collect();
    // Those of the long-running agent stay in force without it.
    let mut kept = Vec::new();
    for set in Set::all(&sets()) {
        // One that is being removed just now has none.
        let scopes = set.open().and_then(|maps| maps.scopes()).unwrap_or_default();
        for (_, scope) in &scopes {
            let list = if scope.kind == kind::SERVICE { &mut kept } else { &mut names };
            list.push(scope.name().to_owned());
        }
    }
    names.extend(
        listed(Path::new(LOCKS))
            .into_iter()
            .filter_map(|file| file.strip_suffix(".lock").map(str::to_owned)),
    );
    names.retain(|name| is_name(name) && !kept.contains(name));
    names.sort();
    names.dedup();
    let mut orphans = vec![];
    for name in names {
        if let Some(ownership) = Ownership::take(&name)? {
            orphans.push(Orphan { name, _ownership: ownership });
        }
    }
    Ok(orphans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_no_names() {
        for name in ["coder", "a-b_c.1", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "ä", ".hidden", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
