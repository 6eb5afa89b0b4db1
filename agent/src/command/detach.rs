//! `ringfence detach`: removes what no process owns any more.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{cgroup, scopes, service};

/// Removes every scope of the long-running agent, and ends and removes every one whose
/// `ringfence run` was killed.
///
/// # Errors
///
/// When it is not root that asks, or something cannot be removed.
pub(crate) fn run() -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("detaching programs from the kernel needs root: try `sudo ringfence detach`");
    }
    if scopes::is_agent_there()? {
        bail!(
            "the agent is running, and would put everything in force again: stop it first, as \
             with `systemctl stop ringfence`"
        );
    }
    let kept = service::detach()?;
    for name in &kept {
        say!("{name}: removed; what runs in it goes on, and is not governed any more");
    }
    let orphans = scopes::orphans()?;
    if orphans.is_empty() && kept.is_empty() {
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
