//! The cgroup of a scope: where it is, what is in it, and its end.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// The folder that all scopes of ringfence are in.
const PARENT: &str = "ringfence";
/// How long the kernel may take to end what was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the cgroup v2 hierarchy is mounted, read from the mount table since it is not the same
/// everywhere.
///
/// # Errors
///
/// When it is mounted nowhere.
pub(crate) fn hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    find_hierarchy(&mounts).context(
        "no cgroup v2 hierarchy is mounted: `mount -t cgroup2 none /sys/fs/cgroup` mounts it",
    )
}

/// `mountinfo` has the mount point as its fifth field and the type after a lone `-` (proc(5)).
fn find_hierarchy(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let point = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != "-").nth(1)?;
        (kind == "cgroup2").then(|| PathBuf::from(point.replace("\\040", " ")))
    })
}

/// The cgroup of one scope.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    /// Path from the root of the hierarchy, as events name it.
    pub(crate) name: String,
    /// Its identifier to the kernel.
    pub(crate) id: u64,
    /// The identifier of the cgroup that all scopes are in.
    pub(crate) parent: u64,
}

impl Cgroup {
    /// Makes the cgroup of a new scope.
    ///
    /// # Errors
    ///
    /// When there is one of this name already, or the kernel refuses.
    pub(crate) fn create(scope: &str) -> Result<Self> {
        let root = hierarchy()?;
        check_root(&root)?;
        let parent = root.join(PARENT);
        let path = parent.join(scope);
        // Whoever removes the last scope removes the parent as well, perhaps just now.
        let mut made = Err(io::ErrorKind::NotFound.into());
        for _ in 0..16 {
            fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
            made = fs::create_dir(&path);
            if !made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        made.with_context(|| path.display().to_string())?;
        // The inode of a cgroup's folder is its identifier (kernfs_node_id).
        let id = fs::metadata(&path)?.ino();
        let parent = fs::metadata(&parent)?.ino();
        Ok(Self { name: format!("/{PARENT}/{scope}"), path, id, parent })
    }

    /// The cgroup of that name, made unless it is there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn ensure(scope: &str) -> Result<Self> {
        let root = hierarchy()?;
        let parent = root.join(PARENT);
        let path = parent.join(scope);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        let id = fs::metadata(&path)?.ino();
        let parent = fs::metadata(&parent)?.ino();
        Ok(Self { name: format!("/{PARENT}/{scope}"), path, id, parent })
    }

    /// Moves a process into it.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn take_in(&self, process: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), process.to_string())
    }

    /// Opens the folder, for attaching programs.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        Ok(File::open(&self.path)?.into())
    }

    /// Opens the file to which a process writes to move itself in.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn entrance(&self) -> io::Result<File> {
        File::options().write(true).open(self.path.join("cgroup.procs"))
    }

    /// Has no process in it or below run any more. It can still be ended.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.freeze"), "1")
    }

    /// Ends every process in it and in the cgroups below.
    ///
    /// # Errors
    ///
    /// When processes remain after some seconds.
    pub(crate) fn end(&self) -> Result<()> {
        end_processes(&self.path)
    }

    /// Ends every process in it and removes it, with all cgroups below.
    ///
    /// # Errors
    ///
    /// When processes remain after some seconds.
    pub(crate) fn remove(&self) -> Result<()> {
        end(&self.path)
    }
}

/// Opens the folder of a cgroup by its identifier.
///
/// # Errors
///
/// When it is gone.
pub(crate) fn open_by_id(id: u64) -> Result<OwnedFd> {
    /// `struct file_handle` (`linux/fs.h`) with room for a cgroup's.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    /// `FILEID_KERNFS` (`linux/exportfs.h`).
    const KERNFS: i32 = 0xfe;
    let root = File::open(hierarchy()?)?;
    let mut handle = Handle { bytes: 8, kind: KERNFS, id: id.to_ne_bytes() };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the handle is a live structure of the form that the call reads, with as many bytes
    // as it says.
    let folder =
        unsafe { libc::open_by_handle_at(root.as_raw_fd(), (&raw mut handle).cast(), flags) };
    if folder < 0 {
        return Err(io::Error::last_os_error()).context("opening a cgroup by its identifier");
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(folder) })
}

/// Whether there is no such cgroup any more, by the error of [`open_by_id`] or of what was done with
/// the folder. That this machine does not let it be opened is another matter.
pub(crate) fn is_gone(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle))
}

/// Checks that this is the root of the kernel's hierarchy, by depth below which the programs find
/// a scope's cgroup: a container may see only a part of it.
pub(crate) fn check_root(root: &Path) -> Result<()> {
    // The true root has no cgroup.type file.
    if root.join("cgroup.type").exists() {
        bail!(
            "{} is not the root of the cgroup hierarchy: ringfence needs the host's (in a \
             container, cgroupns=host)",
            root.display()
        );
    }
    Ok(())
}

/// Cgroups left over from scopes whose process is gone.
pub(crate) fn existing() -> Vec<(String, PathBuf)> {
    let Ok(root) = hierarchy() else { return vec![] };
    let Ok(entries) = fs::read_dir(root.join(PARENT)) else { return vec![] };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect()
}

/// The path of a scope's cgroup from the root of the hierarchy, as events name it.
pub(crate) fn name(path: &Path) -> Option<String> {
    let scope = path.file_name()?.to_string_lossy();
    Some(format!("/{PARENT}/{scope}"))
}

/// The folder of a cgroup by its identifier.
///
/// # Errors
///
/// When it is gone.
pub(crate) fn folder_by_id(id: u64) -> Result<PathBuf> {
    let folder = open_by_id(id)?;
    Ok(fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?)
}

/// The path of a cgroup from the root of the hierarchy, by its folder.
pub(crate) fn path_of(folder: &Path) -> Option<String> {
    let inside = folder.strip_prefix(hierarchy().ok()?).ok()?;
    Some(format!("/{}", inside.display()))
}

/// Removes the folder of all scopes if there are none: one that was killed while it was made
/// leaves it.
pub(crate) fn remove_empty_parent() {
    if let Ok(root) = hierarchy() {
        let _ = fs::remove_dir(root.join(PARENT));
    }
}

/// Whether any process is in the cgroup or below it.
pub(crate) fn is_populated(path: &Path) -> bool {
    // A file that cannot be read says nothing: taken as populated, so that nothing is lost.
    fs::read_to_string(path.join("cgroup.events"))
        .map_or(path.exists(), |events| events.lines().any(|line| line == "populated 1"))
}

/// The processes in a cgroup and below it, by number; 0 stands for each that is outside of this
/// process's own namespace.
pub(crate) fn processes(path: &Path) -> Vec<u32> {
    let own = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(processes(&entry.path()));
        }
    }
    all
}

/// Ends every process in a cgroup and removes it.
///
/// # Errors
///
/// When processes remain after some seconds, or the kernel refuses.
pub(crate) fn end(path: &Path) -> Result<()> {
    end_processes(path)?;
    remove_tree(path).with_context(|| format!("removing {}", path.display()))?;
    // The folder of all scopes stays while others are in it.
    if let Some(parent) = path.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

/// Ends every process in a cgroup and below.
///
/// # Errors
///
/// When processes remain after some seconds.
pub(crate) fn end_processes(path: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    while is_populated(path) {
        fs::write(path.join("cgroup.kill"), "1")
            .with_context(|| format!("ending the processes in {}", path.display()))?;
        if Instant::now() > deadline {
            bail!("processes in {} do not end", path.display());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_wherever_it_is_mounted() {
        let pure = "25 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        let hybrid = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let legacy = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(find_hierarchy(pure), Some("/sys/fs/cgroup".into()));
        assert_eq!(find_hierarchy(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find_hierarchy(legacy), None);
    }
}
