//! The governed processes of a scope, wherever they have got to: counts them, and ends them before
//! the scope goes out of force.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{maps::Maps, programs::Programs, set::Set, sys};

/// Lists of processes that are read before it is given up.
const MAX_ROUNDS: usize = 500;
/// Lists without any that must follow on one another: a fork may have been under way when forks
/// were stopped, and its child not be listed yet.
const EMPTY_ROUNDS: usize = 3;
const PAUSE: Duration = Duration::from_millis(4);

/// The governed processes of a scope.
pub(crate) struct Members<'a> {
    pub(super) maps: &'a Maps,
    /// The scope's number.
    pub(super) number: u32,
}

impl Members<'_> {
    /// Ends them all: those in the cgroup by `end_cgroup`, and those that left it one by one.
    /// From here on none of them can fork.
    ///
    /// # Errors
    ///
    /// When that cannot be told for certain. Then the programs must stay.
    pub(crate) fn end(&self, end_cgroup: impl FnOnce() -> Result<()>) -> Result<()> {
        self.maps.close(self.number).context("stopping forks")?;
        end_cgroup()?;
        let mut label = self.room()?;
        let mut empty = 0;
        for _ in 0..MAX_ROUNDS {
            let mut found = false;
            for process in processes()? {
                let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { continue };
                if self.is_member(&handle, &mut label) && !is_dead(process) {
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

    /// Whether any of them still runs, in the cgroup or not. What cannot be told counts as running.
    pub(crate) fn any(&self) -> bool {
        let (Ok(mut label), Ok(mut processes)) = (self.room(), processes()) else { return true };
        processes.any(|process| {
            pidfd_open(process, PidfdFlags::empty())
                .is_ok_and(|handle| self.is_member(&handle, &mut label))
                && !is_dead(process)
        })
    }

    /// Room for a label.
    fn room(&self) -> Result<Vec<u8>> {
        room(self.maps)
    }

    /// Whether a process is governed by the scope.
    fn is_member(&self, process: impl AsFd, label: &mut [u8]) -> bool {
        scope_of(self.maps, process, label) == Some(self.number)
    }
}

/// Every process that has a label of this set, with the number of its scope. A process counts as
/// its first thread does.
///
/// # Errors
///
/// When the map or `/proc` cannot be read.
pub(super) fn labelled(maps: &Maps) -> Result<Vec<(Pid, u32)>> {
    let mut label = room(maps)?;
    let mut found = Vec::new();
    for process in processes()? {
        let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { continue };
        if let Some(number) = scope_of(maps, &handle, &mut label)
            && !is_dead(process)
        {
            found.push((process, number));
        }
    }
    Ok(found)
}

impl Programs {
    /// Whether a process is in the scope since its program selected it, and not yet in a control
    /// group of the scope's.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub(crate) fn waits(&self, process: impl AsFd) -> Result<bool> {
        let mut label = room(&self.maps)?;
        let is_member = scope_of(&self.maps, process, &mut label) == Some(self.number);
        // `Task` begins with the scope's number, flags and the control group's identifier.
        Ok(is_member && label.get(8..16).is_some_and(|group| group.iter().all(|byte| *byte == 0)))
    }

    /// Every process of which that is true.
    ///
    /// # Errors
    ///
    /// When the map or `/proc` cannot be read.
    pub(crate) fn waiting(&self) -> Result<Vec<Pid>> {
        let of_scope =
            labelled(&self.maps)?.into_iter().filter(|(_, number)| *number == self.number);
        let waits = |process: &Pid| {
            let handle = pidfd_open(*process, PidfdFlags::empty());
            handle.is_ok_and(|handle| self.waits(&handle).unwrap_or(false))
        };
        Ok(of_scope.map(|(process, _)| process).filter(waits).collect())
    }
}

impl Set {
    /// Whether a process is governed by a scope of the set.
    ///
    /// # Errors
    ///
    /// When the set cannot be read.
    pub(crate) fn governs(&self, process: BorrowedFd<'_>) -> Result<bool> {
        if !self.is_begun() {
            return Ok(false);
        }
        let tasks = self.pinned("TASKS")?;
        let size = tasks.info().context("the map of labels")?.value_size();
        let mut label = vec![0; size as usize];
        let process = process.as_raw_fd().to_ne_bytes();
        Ok(sys::get(tasks.fd(), &process, &mut label)?)
    }
}

/// Room for a label.
pub(super) fn room(maps: &Maps) -> Result<Vec<u8>> {
    let size = maps.tasks.info().context("the map of labels")?.value_size();
    Ok(vec![0; size as usize])
}

/// The number of the scope that governs a process: it begins the label.
fn scope_of(maps: &Maps, process: impl AsFd, label: &mut [u8]) -> Option<u32> {
    let process = process.as_fd().as_raw_fd().to_ne_bytes();
    let is_there = sys::get(maps.tasks.fd(), &process, label).unwrap_or(false);
    let number = u32::from_ne_bytes(*label.first_chunk().filter(|_| is_there)?);
    // Nobody's: the label is just being made.
    (number != 0).then_some(number)
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
