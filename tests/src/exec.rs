//! Programs, under policies of other languages: what of theirs is about executing.

use std::{fs, path::Path, process::Command};

use libc::EACCES;

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test},
    ways::programs as prepare,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("a policy without programs of its own executes what the baseline has", baseline),
    ("a file of an overlay is mapped by the name that its user sees", on_overlay),
    ("under a SecAI policy without shell and spawn no second program starts", after_start),
];

const UNLISTED: By = By::Default("exec:");

fn denied(act: &str, by: By) -> Case {
    refused(act, EACCES, "exec", "fs_violation", by)
}

fn baseline(context: &mut Context) -> Result<(), Failure> {
    let example = fs::read_to_string("/examples/sec0-coder.yaml")?;
    // With this test's folder in place of its own.
    let text = example.replace("/tmp/sec0-*", "{room}/*/work/*");
    let by = By::Rule("fs_allowlist:");
    Attack { policy: &text, prepare, observe: false }.run(
        context,
        &[
            works("run /usr/bin/true"),
            works("run {work}/program"),
            denied("run {base}/bin/program", by),
            denied("map-executable /etc/passwd", by).somehow(),
        ],
    )
}

/// Puts two folders together to a third, as containers do.
pub(crate) fn mount_overlay(base: &Path) -> std::io::Result<()> {
    for folder in ["lower/allowed", "lower/other", "empty", "merged"] {
        fs::create_dir_all(base.join(folder))?;
    }
    for folder in ["allowed", "other"] {
        fs::copy("/usr/bin/true", base.join("lower").join(folder).join("program"))?;
    }
    let layers = format!("lowerdir={0}/lower:{0}/empty", base.display());
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(base.join("merged"));
    match mount.status()?.success() {
        true => Ok(()),
        false => Err(std::io::Error::other("the overlay cannot be mounted")),
    }
}

/// Whether the kernel has overlays.
pub(crate) fn has_overlays() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("\toverlay\n"))
}

fn on_overlay(context: &mut Context) -> Result<(), Failure> {
    const POLICY: &str = "boundary: 1\nbaseline: programs\nfiles:\n  \
                          - { path: \"{room}/**\", allow: [read] }\nexec:\n  \
                          - { path: \"{room}/*/merged/allowed/**\", allow: true }\n";
    if !has_overlays() {
        context.skip("everything", "this kernel has no overlays");
        return Ok(());
    }
    let seen = |act| denied(act, UNLISTED).shows("/merged/other/program");
    Attack { policy: POLICY, prepare: mount_overlay, observe: false }.run(
        context,
        &[
            works("run {base}/merged/allowed/program"),
            works("map-executable {base}/merged/allowed/program"),
            works("make-executable {base}/merged/allowed/program"),
            seen("run {base}/merged/other/program"),
            seen("map-executable {base}/merged/other/program"),
            seen("make-executable {base}/merged/other/program"),
            denied("make-executable {base}/lower/allowed/program", UNLISTED),
        ],
    )
}

fn after_start(context: &mut Context) -> Result<(), Failure> {
    let example = fs::read_to_string("/examples/secai-policy.yaml")?;
    // With this test's folder in place of its own, and without a name that must be looked up.
    let text =
        example.replace("/srv/documents", "{room}").replace("enabled: true", "enabled: false");
    let by = By::Any;
    let late = |act: &str| refused(act, EACCES, "exec", "exec_after_start", by);
    Attack { policy: &text, prepare, observe: false }.run(
        context,
        &[
            works("open-read {work}/program"),
            late("run /usr/bin/true"),
            late("run /bin/sh -c true"),
            late("run-descriptor /usr/bin/true"),
            refused("open-write {work}/program", EACCES, "write", "fs_violation", by),
        ],
    )
}
