//! `cargo xtask bench fs`: what opening a file costs.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{
    figures::{Figures, take},
    machine,
};
use crate::{products::Products, run};

/// The subject's figures are of files at so many components.
pub(super) const COLUMNS: [&str; 5] = ["1", "2", "4", "12", "32"];

pub(super) const INTRODUCTION: &str = "\
# What opening a file costs

Written by `cargo xtask bench fs`. One act is `open(2)` for reading and `close(2)` of a file that
exists, by a path of so many components. The figures are instructions of the guest, user and
kernel, counted by QEMU's clock (`-icount`), and ratios to the same kernel with nothing attached.
Each case runs in a cgroup of the same depth, since the kernel accounts for files by cgroup.

A governed process opens each file many times, so that its verdict is remembered after the first:
what does not change between two opens of a name in a folder is judged once.
";

/// Measures with a kernel.
///
/// # Errors
///
/// When a case cannot be run, or comes out otherwise than it should.
pub(super) fn measure(products: &Products, series: &'static str, rounds: u32) -> Result<Figures> {
    let profile = apparmor_profile()?;
    let suite = |words: &[&str]| {
        let mut machine = machine(products, series, words);
        machine.additions.push((profile.clone(), "/apparmor.bin".into()));
        machine
    };
    let rounds = rounds.to_string();
    let plain = suite(&["suite", &rounds]);
    let mut confined = suite(&["suite", &rounds, "/apparmor.bin"]);
    confined.security_modules = "lockdown,capability,yama,apparmor";
    let mut figures = Figures::new();
    take(&plain, &mut figures)?;
    take(&confined, &mut figures)?;
    Ok(figures)
}

/// An AppArmor profile of ten rules, compiled as its kernel module reads it, by the parser of
/// Debian's package, which is unpacked beside the kernels and not installed.
fn apparmor_profile() -> Result<PathBuf> {
    let store = run::store("bench");
    fs::create_dir_all(&store)?;
    let parser = store.join("apparmor/sbin/apparmor_parser");
    if !parser.is_file() {
        println!("bench: fetching the AppArmor parser");
        run::run(Command::new("apt-get").args(["-q", "download", "apparmor"]).current_dir(&store))?;
        let packages = fs::read_dir(&store)?.filter_map(Result::ok).map(|entry| entry.path());
        let package = packages
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .last()
            .context("apt-get downloaded no package")?;
        run::run(Command::new("dpkg").arg("-x").arg(package).arg(store.join("apparmor")))?;
    }
    let (text, binary) = (store.join("profile.txt"), store.join("profile.bin"));
    fs::write(&text, PROFILE)?;
    run::run(Command::new(parser).args(["-Q", "-K", "-q", "-o"]).arg(&binary).arg(&text))?;
    Ok(binary)
}

const PROFILE: &str = "\
profile bench {
  /usr/** mrix,
  /content.txt r,
  /folder01/** r,
  /srv/project-2/** rw,
  /srv/project-3/** rw,
  /srv/project-4/** rw,
  /srv/project-5/** rw,
  /srv/project-6/** rw,
  /srv/project-7/** rw,
  /srv/project-8/** rw,
}
";
