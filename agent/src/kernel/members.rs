//! Ends the governed processes of a scope, wherever they have got to, before it goes out of force.

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::sys;

/// The map of labels.
pub(crate) const TASKS: &str = "TASKS";
/// The map that stops forks.
pub(crate) const CLOSING: &str = "CLOSING";

/// Lists of processes that are read before it is given up.
const MAX_ROUNDS: usize = 500;
/// Lists without any that must follow on one another: a fork may have been under way when forks
/// were stopped, and its child not be listed yet.
const EMPTY_ROUNDS: usize = 3;
const PAUSE: Duration = Duration::from_millis(4);

/// The governed processes of a scope.
pub(crate) struct Members<'a> {
    pub(super) tasks: Option<&'a MapData>,
    pub(super) closing: Option<&'a MapData>,
}

impl Members<'_> {
    /// Ends them all: those in the cgroup by `end_cgroup`, and those that left it one by one.
    /// From here on none of them can fork.
    ///
    /// # Errors
    ///
    /// When that cannot be told for certain. Then the programs must stay.
    pub(crate) fn end(&self, end_cgroup: impl FnOnce() -> Result<()>) -> Result<()> {
        let (Some(tasks), Some(closing)) = (self.tasks, self.closing) else {
            bail!("the scope's maps are missing");
        };
        sys::set_only_element(closing.fd(), &1_u32.to_ne_bytes()).context("stopping forks")?;
        end_cgroup()?;
        let size = tasks.info().context("the map of labels")?.value_size() as usize;
        let mut value = vec![0; size];
        let mut empty = 0;
        for _ in 0..MAX_ROUNDS {
            let mut found = false;
            for process in processes()? {
                let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { continue };
                if sys::has_task(tasks.fd(), &handle, &mut value) && !is_dead(process) {
                    found = true;
                    // A process that ends by itself meanwhile is as good.
                    let _ = pidfd_send_signal(&handle, Signal::KILL);
                }
            }
            empty = if found { 0 } else { empty + 1 };
            if empty == EMPTY_ROUNDS {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("processes that left the scope's cgroup do not end")
    }
}

/// As [`Members::end`], for a scope whose owner is gone, by what it pinned. A scope that pinned
/// nothing started nothing.
///
/// # Errors
///
/// As [`Members::end`].
pub(crate) fn end_pinned(pins: &Path, end_cgroup: impl FnOnce() -> Result<()>) -> Result<()> {
    let open = |name: &str| match MapData::from_pin(pins.join(name)) {
        Ok(map) => Ok(Some(map)),
        Err(_) if !pins.join(name).exists() => Ok(None),
        Err(error) => Err(error).with_context(|| pins.join(name).display().to_string()),
    };
    match (open(TASKS)?, open(CLOSING)?) {
        (Some(tasks), Some(closing)) => {
            Members { tasks: Some(&tasks), closing: Some(&closing) }.end(end_cgroup)
        }
        _ => end_cgroup(),
    }
}

/// Whether any process that is governed by what is pinned here still runs, in its cgroup or not.
/// What cannot be told counts as running.
pub(crate) fn any_pinned(pins: &Path) -> bool {
    let Ok(tasks) = MapData::from_pin(pins.join(TASKS)) else {
        return pins.join(TASKS).exists();
    };
    let (Ok(info), Ok(mut processes)) = (tasks.info(), processes()) else { return true };
    let mut value = vec![0; info.value_size() as usize];
    processes.any(|process| {
        pidfd_open(process, PidfdFlags::empty())
            .is_ok_and(|handle| sys::has_task(tasks.fd(), &handle, &mut value))
            && !is_dead(process)
    })
}

/// Every process that this one sees.
fn processes() -> Result<impl Iterator<Item = Pid>> {
    let entries: Vec<_> =
        fs::read_dir("/proc").context("/proc")?.collect::<io::Result<_>>().context("/proc")?;
    let processes: Vec<Pid> = entries
        .iter()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    if processes.is_empty() {
        bail!("/proc lists no processes");
    }
    Ok(processes.into_iter())
}

/// Whether a process has ended and only its parent has not asked how.
fn is_dead(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| is_dead_by(&stat))
}

/// The same, by what proc(5) says of it. A process whose first thread has ended looks like a
/// zombie while its other threads go on: the number of threads tells.
fn is_dead_by(stat: &str) -> bool {
    // The state follows the name, which may hold anything but ends with the last parenthesis.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split(' ');
    let is_zombie = matches!(fields.next(), Some("Z" | "X"));
    let threads = fields.nth(16).and_then(|threads| threads.parse::<u32>().ok());
    is_zombie && threads.is_some_and(|threads| threads <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_dead_only_when_its_last_thread_is() {
        let stat = |state: &str, threads: u32| {
            format!("7 (a) Z b) {state} 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 99 0")
        };
        assert!(is_dead_by(&stat("Z", 1)));
        assert!(!is_dead_by(&stat("Z", 2)), "the first thread has ended, another goes on");
        assert!(!is_dead_by(&stat("S", 1)));
        assert!(!is_dead_by("7 (cut) Z 1"), "what cannot be told counts as alive");
    }
}
