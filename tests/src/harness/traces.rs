//! What a test leaves behind: processes, cgroups, pins, programs in the kernel.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::sys;

/// How long what a test ended may take to be gone: the kernel frees programs in its own time.
const SETTLING: Duration = Duration::from_secs(60);

/// What ringfence or a test might leave in the kernel.
pub(super) struct Traces {
    programs: BTreeSet<u32>,
}

impl Traces {
    /// What is there now.
    pub(super) fn now() -> Self {
        Self { programs: sys::bpf_programs().unwrap_or_default().into_iter().collect() }
    }

    /// What is left now that was not there before, once the kernel has had time; it is removed,
    /// so that the next test is not blamed for it.
    pub(super) fn leaks(&self) -> Vec<String> {
        let start = Instant::now();
        loop {
            let found = self.look();
            if found.is_empty() || start.elapsed() > SETTLING {
                if !found.is_empty() {
                    clean();
                }
                return found;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn look(&self) -> Vec<String> {
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
        let programs = sys::bpf_programs().unwrap_or_default();
        let more = programs.iter().filter(|program| !self.programs.contains(program)).count();
        if more > 0 {
            found.push(format!("it left {more} BPF programs behind"));
        }
        found
    }
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
