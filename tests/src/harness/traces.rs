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
}

impl Traces {
    /// What is there now.
    pub(super) fn now() -> Self {
        Self { programs: programs() }
    }

    /// What is left now that was not there before; it is removed, so that the next test is not
    /// blamed for it.
    pub(super) fn leaks() -> Vec<String> {
        let found = settled(look);
        if !found.is_empty() {
            clean();
        }
        found
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

fn programs() -> BTreeSet<u32> {
    loaded::programs().unwrap_or_default()
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

fn look() -> Vec<String> {
    let mut found = Vec::new();
    found.extend(children().map(|process| format!("it left the process {process} behind")));
    for folder in ["/sys/fs/cgroup/ringfence", "/sys/fs/bpf/ringfence"] {
        if Path::new(folder).exists() {
            let below = Command::new("find").arg(folder).args(["-type", "d"]).output();
            let below = below.map(|output| output.stdout).unwrap_or_default();
            let below = String::from_utf8_lossy(&below).trim_end().replace('\n', ", ");
            found.push(format!("it left {below} behind"));
        }
    }
    found
}

/// A process that was left to us. Those that have ended are forgotten.
fn children() -> Option<String> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to our own variable.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            0 => break,
            -1 => return None,
            _ => {}
        }
    }
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    let first = list.split_whitespace().next()?;
    let command = fs::read_to_string(format!("/proc/{first}/cmdline")).unwrap_or_default();
    Some(format!("{first} ({})", command.replace('\0', " ").trim_end()))
}

/// Ends what was left behind.
fn clean() {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    for child in list.split_whitespace().filter_map(|child| child.parse().ok()) {
        let _ = sys::kill(child, libc::SIGKILL);
        let _ = sys::wait(child as libc::pid_t);
    }
    let mut detach = Command::new(crate::ringfence::PROGRAM);
    let _ = detach.arg("detach").stdout(Stdio::null()).stderr(Stdio::null()).status();
}
