//! The Debian package, from its installation to its purge.

use std::{fs, path::Path, process::Command, thread, time::Instant};

use super::{
    PACE, PATIENCE,
    agent::{CONFIGURATION, POLICY, reads_of_service, write},
    unit::{Unit, said, systemctl},
};
use crate::harness::{Context, Failure, Test, ensure};

/// Those that need the machine without any other ringfence.
pub(crate) const ALONE: &[Test] = &[(
    "the package governs until it is purged, upgrades without a gap, and leaves nothing",
    package,
)];

/// The package that is under test.
const PACKAGE: &str = "/srv/ringfence.deb";
/// What a purged package must not leave.
const PLACES: &[&str] = &[
    "/etc/ringfence",
    "/etc/systemd/system/multi-user.target.wants/ringfence.service",
    "/run/ringfence",
    "/sys/fs/bpf/ringfence",
    "/sys/fs/cgroup/ringfence",
    "/usr/bin/ringfence",
    "/usr/lib/systemd/system/ringfence.service",
    "/usr/share/doc/ringfence",
    "/var/log/ringfence",
];
/// The most that `systemd-analyze security` may find, in tenths.
const EXPOSURE: &str = "--threshold=45";

fn package(context: &mut Context) -> Result<(), Failure> {
    fs::create_dir_all("/srv/coder")?;
    fs::write("/srv/coder/file", "own\n")?;
    fs::write("/srv/other", "other\n")?;
    let free = reads_of_service()?;
    ensure(free == "own other ", || format!("control: {free}"))?;

    let result = installed(context);
    said(Command::new("dpkg").args(["--purge", "ringfence"]))?;
    result?;
    let left: Vec<_> = PLACES.iter().filter(|place| Path::new(place).exists()).collect();
    ensure(left.is_empty(), || format!("it left {left:?}"))?;
    let free = reads_of_service()?;
    ensure(free == "own other ", || format!("after the purge: {free}"))
}

fn installed(context: &Context) -> Result<(), Failure> {
    said(Command::new("dpkg").args(["--install", PACKAGE]))?;
    let is_enabled = systemctl(&["is-enabled", "ringfence"])?;
    ensure(is_enabled == "enabled\n", || format!("it is {is_enabled}"))?;
    // Without a configuration it does not start, which is no failure.
    let state = systemctl(&["show", "--value", "-p", "ActiveState", "ringfence"])?;
    ensure(state == "inactive\n", || format!("it is {state}"))?;
    units_are_right()?;

    write(&[("agent.yaml", CONFIGURATION), ("coder.yaml", POLICY)])?;
    systemctl(&["start", "ringfence"])?;
    let governed = reads_of_service()?;
    ensure(governed == "own ", || format!("governed: {governed}"))?;

    // Reads, over and over, what it may not, while the agent is replaced.
    let (read, tries) = (context.folder.join("read"), context.folder.join("tries"));
    let looping = Unit::write(
        "coder-loop.service",
        &format!(
            "[Service]\nExecStart=/bin/sh -c \"while :; do cat /srv/other; echo >&2; sleep 0.2; done\"\n\
             StandardOutput=truncate:{}\nStandardError=truncate:{}\n",
            read.display(),
            tries.display()
        ),
    )?;
    looping.start()?;
    let tried = || fs::metadata(&tries).map_or(0, |file| file.len());
    let once_more = || {
        let (before, start) = (tried(), Instant::now());
        while tried() <= before && start.elapsed() < PATIENCE {
            thread::sleep(PACE);
        }
        ensure(tried() > before, || "the loop does not go round".into())
    };
    once_more()?;
    let before = process()?;
    said(Command::new("dpkg").args(["--install", PACKAGE]))?;
    ensure(process()? != before, || "the upgrade did not replace the agent".into())?;
    once_more()?;
    let read = fs::read_to_string(read)?;
    ensure(read.is_empty(), || format!("while it was upgraded it read {read:?}"))
}

/// The agent's process.
fn process() -> Result<String, Failure> {
    systemctl(&["show", "--value", "-p", "MainPID", "ringfence"])
}

/// What systemd says of both units.
fn units_are_right() -> Result<(), Failure> {
    for name in ["ringfence.service", "secure-ai-ringfence.service"] {
        let unit = format!("/srv/deploy/systemd/{name}");
        said(Command::new("systemd-analyze").args(["verify", &unit]))?;
        let mut security = Command::new("systemd-analyze");
        said(security.args(["security", "--offline=yes", EXPOSURE, &unit]))?;
    }
    Ok(())
}
