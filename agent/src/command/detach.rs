//! `ringfence detach`: removes what no process owns any more.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{cgroup, scopes};

/// Ends and removes every scope whose `ringfence run` was killed.
///
/// # Errors
///
/// When it is not root that asks, or something cannot be removed.
pub(crate) fn run() -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("detaching programs from the kernel needs root: try `sudo ringfence detach`");
    }
    let orphans = scopes::orphans()?;
    if orphans.is_empty() {
        say!("nothing was left behind");
    }
    for orphan in orphans {
        let name = orphan.name.clone();
        let was_running = orphan.is_running()?;
        orphan.remove()?;
        if was_running {
            say!("{name}: its command still ran, and was ended; removed");
        } else {
            say!("{name}: removed");
        }
    }
    scopes::remove_unused_sets()?;
    cgroup::remove_empty_parent();
    Ok(ExitCode::SUCCESS)
}
