//! What the running kernel is like, as far as enforcement depends on it.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::btf::Btf;

/// Where the kernel describes its types.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Reads the kernel's description of its types.
///
/// # Errors
///
/// When it has none, or it cannot be understood.
pub(crate) fn kernel_btf() -> Result<Btf> {
    let bytes = fs::read(KERNEL_BTF).with_context(|| KERNEL_BTF.to_owned())?;
    Ok(Btf::parse(bytes)?)
}

/// How the programs read the kernel's memory here, in words.
///
/// # Errors
///
/// When they cannot.
pub(crate) fn reading_method() -> Result<String> {
    if kernel_btf()?.function("bpf_rdonly_cast").is_some() {
        return Ok("typed loads, which no lockdown refuses".into());
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        bail!("lockdown=confidentiality refuses reads, and the kernel has no bpf_rdonly_cast");
    }
    Ok("bpf_probe_read_kernel".into())
}

/// Checks that a task's label is never missed.
///
/// Before Linux 6.2, `bpf_task_storage_get` finds nothing while another task on the same CPU was
/// preempted inside it (`bpf_task_storage_trylock`). Where the kernel preempts itself only when it
/// says so, this cannot be; with `preempt=full` it can, and a governed task that has left its
/// cgroup could pass for ungoverned.
///
/// # Errors
///
/// When that can be.
pub(crate) fn check_preemption(btf: &Btf) -> Result<()> {
    let gives_up_when_busy = btf.has_variable("bpf_task_storage_busy")
        && btf.function("bpf_task_storage_get_recur").is_none();
    if gives_up_when_busy && is_fully_preemptible() {
        bail!(
            "this kernel, with preempt=full, can overlook that a process is governed: boot it \
             with preempt=voluntary, or use Linux 6.2 or later"
        );
    }
    Ok(())
}

/// What the scheduler says, or else what the kernel was told at boot.
fn is_fully_preemptible() -> bool {
    match fs::read_to_string("/sys/kernel/debug/sched/preempt") {
        Ok(modes) => modes.contains("(full)") || modes.contains("(lazy)"),
        Err(_) => {
            let version = rustix::system::uname();
            let version = version.version().to_string_lossy();
            let built_so = version.contains("PREEMPT") && !version.contains("PREEMPT_DYNAMIC");
            let told_so = fs::read_to_string("/proc/cmdline")
                .map_or(true, |words| words.split_whitespace().any(|word| word == "preempt=full"));
            built_so || told_so
        }
    }
}
