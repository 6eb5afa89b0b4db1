//! The control groups of this machine, as far as the agent looks at them.

use std::{
    collections::HashMap,
    fs,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{DirEntryExt as _, MetadataExt as _},
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::cgroup;

/// A control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its identifier.
    pub(super) id: u64,
    /// Its path from the root of the hierarchy, which begins with a slash.
    pub(super) path: PathBuf,
    /// Its depth below the root.
    pub(super) level: u32,
}

/// Where the hierarchy is.
#[derive(Clone, Debug)]
pub(super) struct Hierarchy {
    root: PathBuf,
}

impl Hierarchy {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// When it is mounted nowhere, or only a part of it is seen here.
    pub(super) fn find() -> Result<Self> {
        let root = cgroup::hierarchy()?;
        cgroup::check_root(&root)?;
        Ok(Self { root })
    }

    /// One for tests.
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Every control group but the root; and why some may be missing.
    pub(super) fn all(&self) -> (Vec<Found>, Result<()>) {
        let (mut found, mut whole) = (Vec::new(), Ok(()));
        visit(&self.root, Path::new("/"), 1, &mut |one| match one {
            Ok(one) => found.push(one),
            // One that goes away meanwhile has nothing in it.
            Err(error) if cgroup::is_gone(&error) => {}
            Err(error) => whole = Err(error),
        });
        (found, whole)
    }

    /// How many processes are in the control groups of each scope and below them. `scope_of` has
    /// the scope of a control group by its identifier.
    pub(super) fn processes_by_scope(&self, scope_of: &HashMap<u64, u32>) -> HashMap<u32, usize> {
        let mut counts = HashMap::new();
        count(&self.root, None, scope_of, &mut counts);
        counts
    }

    /// The control group of this process.
    ///
    /// # Errors
    ///
    /// When it cannot be found.
    pub(super) fn own(&self) -> Result<PathBuf> {
        let lines = fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup")?;
        let own = lines.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        if own != "/" && !own.starts_with("/..") {
            return Ok(own.into());
        }
        // In a namespace of control groups of its own, where each sees itself as the root.
        let process = std::process::id().to_string();
        let has_it = |found: &Found| {
            let folder = self.root.join(found.path.strip_prefix("/").unwrap_or(&found.path));
            let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            processes.lines().any(|line| line == process)
        };
        Ok(self.all().0.into_iter().find(has_it).map_or_else(|| own.into(), |found| found.path))
    }

    /// The processes in a control group and below.
    pub(super) fn processes(&self, path: &Path) -> Vec<u32> {
        cgroup::processes(&self.root.join(path.strip_prefix("/").unwrap_or(path)))
    }

    /// A control group by its identifier, with its folder.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub(super) fn by_id(&self, id: u64) -> Result<(Found, OwnedFd)> {
        let folder = cgroup::open_by_id(id)?;
        let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let full = fs::read_link(&link).context(link)?;
        let inside = full.strip_prefix(&self.root).context("the cgroup is elsewhere")?;
        let level = u32::try_from(inside.components().count()).unwrap_or(u32::MAX);
        Ok((Found { id, path: Path::new("/").join(inside), level }, folder))
    }

    /// Opens the folder of a control group that was found.
    ///
    /// # Errors
    ///
    /// When it is gone, or another has its name.
    pub(super) fn open(&self, found: &Found) -> Result<OwnedFd> {
        let path = self.root.join(found.path.strip_prefix("/").unwrap_or(&found.path));
        let folder = fs::File::open(&path).with_context(|| path.display().to_string())?;
        anyhow::ensure!(folder.metadata()?.ino() == found.id, "{} is another", path.display());
        Ok(folder.into())
    }
}

fn visit(folder: &Path, path: &Path, level: u32, each: &mut impl FnMut(Result<Found>)) {
    let unread = |error| Err(error).with_context(|| folder.display().to_string());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return each(unread(error)),
    };
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
            Ok((kind, entry)) if kind.is_dir() => {
                let path = path.join(entry.file_name());
                each(Ok(Found { id: entry.ino(), path: path.clone(), level }));
                visit(&entry.path(), &path, level + 1, each);
            }
            Ok(_) => {}
            Err(error) => each(unread(error)),
        }
    }
}

/// Counts the processes of a control group, whose parent is of a scope, and of those below.
fn count(
    folder: &Path,
    scope: Option<u32>,
    scope_of: &HashMap<u64, u32>,
    counts: &mut HashMap<u32, usize>,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let scope = scope_of.get(&entry.ino()).copied().or(scope);
        if let Some(scope) = scope {
            let processes = fs::read_to_string(entry.path().join("cgroup.procs"));
            *counts.entry(scope).or_default() += processes.map_or(0, |text| text.lines().count());
        }
        count(&entry.path(), scope, scope_of, counts);
    }
}

impl Found {
    /// The path as the table of selectors is asked.
    pub(super) fn bytes(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listed_is_told_and_what_can_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/below")).unwrap();
        // A link to itself: neither there nor gone, also for root.
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        let (found, whole) = Hierarchy::at(folder.path()).all();
        let paths: Vec<_> = found.iter().map(|found| (found.path.to_str(), found.level)).collect();
        assert_eq!(paths, [(Some("/a"), 1), (Some("/a/below"), 2)]);
        whole.unwrap();
        let (found, whole) = Hierarchy::at(&folder.path().join("loop")).all();
        assert!(found.is_empty() && whole.is_err());
        let (found, whole) = Hierarchy::at(&folder.path().join("none")).all();
        assert!(found.is_empty() && whole.is_ok());
    }

    #[test]
    fn a_process_counts_for_the_scope_of_the_nearest_control_group() {
        let folder = tempfile::tempdir().unwrap();
        let group = |path: &str, processes: &str| {
            let path = folder.path().join(path);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("cgroup.procs"), processes).unwrap();
            fs::metadata(&path).unwrap().ino()
        };
        fs::write(folder.path().join("cgroup.procs"), "1\n2\n").unwrap();
        let first = group("a", "10\n11\n");
        group("a/below", "12\n");
        let second = group("a/other", "13\n14\n15\n");
        group("a/other/below", "16\n");
        let third = group("b", "17\n");
        let empty = group("c", "");
        group("d", "18\n19\n");
        let scope_of = [(first, 1), (second, 2), (third, 1), (empty, 3)].into_iter().collect();
        let counts = Hierarchy::at(folder.path()).processes_by_scope(&scope_of);
        assert_eq!(counts, [(1, 4), (2, 4), (3, 0)].into_iter().collect());
    }
}
