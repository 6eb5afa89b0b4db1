//! What a test leaves behind: processes, cgroups, pins, programs in the kernel.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ringfence_tests::loaded;

use crate::sys;

/// How long what a test ended may take to be gone.
const SETTLING: Duration = Duration::from_secs(60);

/// What ringfence or a test might leave in the kernel.
pub(super) struct Traces {
    programs: BTreeSet<u32>,
    folders: BTreeSet<String>,
    /// A process of the harness's own.
    kept: Option<u32>,
}

impl Traces {
    /// What is there now, and a process that may stay.
    pub(super) fn now(kept: Option<u32>) -> Self {
        Self { programs: programs(), folders: folders(), kept }
    }

    /// What is left now that was not there before; it is removed, so that the next test is not
    /// blamed for it.
    pub(super) fn leaks(&self) -> Vec<String> {
        let found = settled(|| self.look());
        if !found.is_empty() {
            self.clean();
        }
        found
    }

    fn look(&self) -> Vec<String> {
        let processes = self.children().into_iter();
        let mut found: Vec<String> = processes
            .map(|child| child.to_string())
            .map(|child| {
                let command =
                    fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
                let command = command.replace('\0', " ");
                format!("it left the process {child} ({}) behind", command.trim_end())
            })
            .collect();
        let new = folders().difference(&self.folders).cloned().collect::<Vec<_>>();
        found.extend(new.iter().map(|folder| format!("it left {folder} behind")));
        found
    }

    /// Processes that were left to us. Those that have ended are forgotten.
    fn children(&self) -> Vec<u32> {
        let own = std::process::id();
        let list = fs::read_to_string(format!("/proc/self/task/{own}/children"));
        let list = list.unwrap_or_default();
        let children = list.split_whitespace().filter_map(|child| child.parse().ok());
        children
            .filter(|child| Some(*child) != self.kept)
            .filter(|child| {
                let mut status = 0;
                // SAFETY: the pointer is to our own variable.
                let ended =
                    unsafe { libc::waitpid(*child as libc::pid_t, &raw mut status, libc::WNOHANG) };
                ended == 0
            })
            .collect()
    }

    /// Ends what was left behind.
    fn clean(&self) {
        for child in self.children() {
            let _ = sys::kill(child, libc::SIGKILL);
            let _ = sys::wait(child as libc::pid_t);
        }
        let mut detach = Command::new(crate::ringfence::PROGRAM);
        let _ = detach.arg("detach").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// BPF programs that were not there before. The kernel takes its time to free them.
    pub(super) fn programs(&self) -> BTreeSet<u32> {
        programs().difference(&self.programs).copied().collect()
    }
}

/// Those BPF programs that are still there once the kernel has had time to free them.
pub(super) fn not_freed(ended: &BTreeSet<u32>) -> Vec<u32> {
    settled(|| programs().intersection(ended).copied().collect())
}

/// All programs but those of the system's init, which comes and goes with its services.
fn programs() -> BTreeSet<u32> {
    let mut programs = loaded::programs().unwrap_or_default();
    let is_of_init = |&id: &u32| loaded::runs(id).is_ok_and(|(name, _)| name.starts_with("sd_"));
    programs.retain(|id| !is_of_init(id));
    programs
}

/// What is still found after some time; nothing, as soon as nothing is.
fn settled<T>(look: impl Fn() -> Vec<T>) -> Vec<T> {
    let start = Instant::now();
    loop {
        let found = look();
        if found.is_empty() || start.elapsed() > SETTLING {
            return found;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Every folder of scopes, of their programs and of their locks.
fn folders() -> BTreeSet<String> {
    let roots = ["/sys/fs/cgroup/ringfence", "/sys/fs/bpf/ringfence", "/run/ringfence"];
    let roots = roots.into_iter().filter(|root| Path::new(root).exists());
    roots
        .flat_map(|root| {
            let below = Command::new("find").arg(root).args(["-type", "d"]).output();
            let below = below.map(|output| output.stdout).unwrap_or_default();
            let below = String::from_utf8_lossy(&below).into_owned();
            // A mark: a part of the programs stays loaded, once an agent needs it, as long as the
            // set that it is loaded into.
            let is_part = |folder: &&str| folder.ends_with("/membership");
            below.lines().filter(|folder| !is_part(folder)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}
