//! Births and moves that the kernel told nobody of.
//!
//! It leaves the program of a tracepoint out where that would interrupt itself on a CPU
//! (`__bpf_prog_enter_recur`), which from 7.0 on can be, since tracepoints can be preempted there. It
//! counts how often.

use std::{
    cell::Cell,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::programs::{
    ProgramFd,
    links::{FdLink, PinnedLink},
    loaded_programs,
};

/// The programs that give a task its label when it is born into a control group, or moved.
const TOLD: [&str; 2] = ["task_newtask", "cgroup_attach_task"];

/// How often they were left out.
pub(super) struct Misses {
    programs: Vec<ProgramFd>,
    /// All that was acted upon.
    seen: Cell<u64>,
}

impl Misses {
    /// Opens the programs whose links are pinned in a folder. What was left out before counts as
    /// not seen yet.
    ///
    /// # Errors
    ///
    /// When one is not there.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let programs = TOLD
            .iter()
            .map(|name| program(&folder.join(name)).with_context(|| (*name).to_owned()))
            .collect::<Result<_>>()?;
        Ok(Self { programs, seen: Cell::new(0) })
    }

    /// Whether one was left out since this was asked last.
    ///
    /// # Errors
    ///
    /// When `/proc` does not tell.
    pub(super) fn are_new(&self) -> Result<bool> {
        let counts: Vec<u64> = self.programs.iter().map(count).collect::<Result<_>>()?;
        let all = counts.iter().sum();
        Ok(self.seen.replace(all) != all)
    }
}

/// The program of a pinned link.
fn program(pin: &Path) -> Result<ProgramFd> {
    let link = FdLink::from(PinnedLink::from_pin(pin)?);
    let id = link.info()?.program_id();
    // Another may be unloaded while they are listed.
    let mut programs = loaded_programs().filter_map(Result::ok);
    Ok(programs.find(|program| program.id() == id).context("its program is gone")?.fd()?)
}

/// How often the kernel left a program out, as `bpf_prog_show_fdinfo` tells.
fn count(program: &ProgramFd) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    misses(&text).with_context(|| format!("{path} has no `recursion_misses`"))
}

fn misses(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::misses;

    #[test]
    fn the_count_is_read_from_what_the_kernel_tells_of_a_program() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_jited:\t1\n\
                    recursion_misses:\t17\nverified_insns:\t9\n";
        assert_eq!(misses(text), Some(17));
        assert_eq!(misses("prog_type:\t26\n"), None);
        assert_eq!(misses("recursion_misses:\tmany\n"), None);
    }
}
