//! Whether this machine can be used at all.

use std::fs;

use anyhow::{Result, bail};

use crate::{kernel::probe::KERNEL_BTF, scopes};

/// Says the one thing to do when this machine cannot be used at all.
///
/// # Errors
///
/// With that.
pub(crate) fn check(command: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("attaching programs to the kernel needs root: try `sudo {command}`");
    }
    if !fs::exists(KERNEL_BTF).unwrap_or(false) {
        bail!("the kernel does not describe its types: one built with CONFIG_DEBUG_INFO_BTF does");
    }
    if let Ok(modules) = fs::read_to_string("/sys/kernel/security/lsm")
        && !modules.split(',').any(|module| module.trim() == "bpf")
    {
        bail!(
            "the kernel does not call BPF security programs: boot with `lsm={},bpf`",
            modules.trim()
        );
    }
    scopes::check_bpffs()
}
