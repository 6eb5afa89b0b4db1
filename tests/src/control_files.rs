//! The kernel's own control files: out of reach, even under a rule that allows every path.

use std::{path::Path, process::Command};

use libc::EACCES;

use crate::{
    attack::{Attack, By, Case, refused, works},
    files,
    harness::{Context, Failure, Test},
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("the kernel's control files are not written, whatever the rules allow", control_files)];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "/**", allow: [read, write] }
"#;

fn nothing(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn control(act: &str, action: &'static str) -> Case {
    refused(act, EACCES, action, "kernel_control", By::Any)
}

fn control_files(context: &mut Context) -> Result<(), Failure> {
    let victim = Command::new("/bin/sleep").arg("300").spawn()?;
    let other = format!("/proc/{}", victim.id());
    let ptrace = |act: String, errno| refused(act, errno, "ptrace", "self_protection", By::Any);
    let mut cases = vec![
        works("open-read /etc/shadow"),
        works("open-read /sys/fs/cgroup/cgroup.controllers"),
        works("open-read /proc/sys/kernel/core_pattern"),
        works("open-write /proc/self/comm"),
        works("open-write /dev/null"),
        control("open-write /sys/fs/cgroup/cgroup.procs", "write"),
        control("open-append /sys/fs/cgroup/cgroup.subtree_control", "write"),
        control("mkdir-briefly /sys/fs/cgroup/rf-test-made", "create"),
        control("open-write /proc/sys/kernel/core_pattern", "write"),
        control("open-write /proc/sys/kernel/hostname", "write"),
        control("open-write /proc/sys/vm/nr_hugepages", "write"),
        control("open-write /proc/sysrq-trigger", "write"),
        // Where ringfence's own pins are.
        refused(
            "mkdir-briefly /sys/fs/bpf/rf-test-made",
            EACCES,
            "create",
            "self_protection",
            By::Any,
        ),
        control("open-write /sys/kernel/mm/transparent_hugepage/enabled", "write"),
        control(&format!("open-write {other}/oom_score_adj"), "write"),
        control(&format!("open-write {other}/comm"), "write"),
        ptrace(format!("read {other}/environ"), EACCES),
        ptrace(format!("open-read {other}/mem"), EACCES),
        ptrace(format!("open-read {other}/root/etc/hostname"), EACCES),
        ptrace(format!("list {other}/cwd"), EACCES),
        ptrace(format!("open-read {other}/fd/0"), EACCES),
        ptrace(format!("read {other}/maps"), EACCES),
    ];
    if !context.is_locked_down {
        cases.push(control("open-write /sys/kernel/tracing/tracing_on", "write"));
    }
    let result = Attack { policy: POLICY, prepare: nothing, observe: false }.run(context, &cases);
    files::end(victim);
    result
}
