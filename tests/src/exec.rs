//! Programs: which may be executed, by whatever way.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use libc::EACCES;

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("only listed programs are executed, however they are started", listed),
    ("a policy without programs of its own executes what the baseline has", baseline),
    ("a file of an overlay is mapped by the name that its user sees", on_overlay),
    ("under a SecAI policy without shell and spawn no second program starts", after_start),
];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/*/bin/**", allow: [read, write] }
exec:
  - { path: "/usr/bin/**", allow: true }
  - { path: "/usr/local/bin/**", allow: true }
  - { path: "{room}/*/bin/**", allow: true }
  - { path: "/usr/bin/id", allow: false }
"#;

const UNLISTED: By = By::Default("exec:");

fn prepare(base: &Path) -> std::io::Result<()> {
    for folder in ["work", "bin"] {
        let folder = base.join(folder);
        fs::create_dir_all(&folder)?;
        // Debian's `true` is linked to libraries: the loader maps it.
        fs::copy("/usr/bin/true", folder.join("program"))?;
        let own = folder.join("program");
        for (name, interpreter) in [("script", "/bin/sh"), ("script-own", &*own.to_string_lossy())]
        {
            let script = folder.join(name);
            fs::write(&script, format!("#!{interpreter}\nexit 0\n"))?;
            fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
        }
    }
    symlink("../work/script-own", base.join("bin/link"))?;
    let script = base.join("bin/script-to-work");
    fs::write(&script, format!("#!{}/work/program\n", base.display()))?;
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
}

fn denied(act: &str, by: By) -> Case {
    refused(act, EACCES, "exec", "fs_violation", by)
}

fn listed(context: &mut Context) -> Result<(), Failure> {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    let unnamed = |act: &str| refused(act, EACCES, "exec", "unnamed_program", By::Nothing);
    Attack { policy: POLICY, prepare, observe: false }.run(
        context,
        &[
            works("run /usr/bin/true"),
            works("run /bin/sh -c true"),
            works("run {base}/bin/program"),
            works("run {base}/bin/script"),
            works(format!("run {LOADER} /usr/bin/true")),
            works("run-descriptor /usr/bin/true"),
            works("map-executable /usr/bin/true"),
            works("run /bin/sh {work}/script"),
            denied("run {work}/program", UNLISTED),
            denied("run {work}/script", UNLISTED),
            denied("run {work}/script-own", UNLISTED),
            denied("run {base}/bin/link", UNLISTED),
            denied("run {base}/bin/script-to-work", UNLISTED),
            denied("run-descriptor {work}/program", UNLISTED),
            denied(&format!("run {LOADER} {{work}}/program"), UNLISTED).somehow(),
            denied("run /bin/sh -c {work}/program", UNLISTED).somehow(),
            denied("map-executable {work}/program", UNLISTED),
            denied("make-executable {work}/program", UNLISTED),
            denied("run /usr/bin/id", By::Rule("/usr/bin/id")),
            unnamed("run-memfd /usr/bin/true"),
            unnamed("run-unlinked {base}/bin/program"),
        ],
    )
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
