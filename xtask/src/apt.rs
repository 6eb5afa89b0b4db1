//! Debian packages of releases that this machine does not follow, without changing the machine.
//!
//! apt runs with its sources, lists and caches in a directory of ours. The mirror is the one that
//! the machine itself is configured for: it is known to be reachable from here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    run,
    sources::{Mirrors, mirrors_of_this_machine},
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt that lives in a directory of its own.
pub(crate) struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// An apt in `directory` that knows `suites`, with fresh lists.
    ///
    /// # Errors
    /// When the machine has no Debian mirror configured, or the mirror cannot be reached.
    pub(crate) fn open(directory: &Path, suites: &[&str]) -> Result<Self> {
        let mirrors = mirrors_of_this_machine()?;
        let apt = Self { directory: directory.to_owned() };
        for part in ["lists/partial", "cache/archives/partial", "state"] {
            fs::create_dir_all(directory.join(part))?;
        }
        // An empty list of installed packages: what is installed here must not sway the choice.
        fs::write(directory.join("state/status"), "")?;
        fs::write(directory.join("sources.list"), sources_list(&mirrors, suites))?;
        // apt tells a file that is missing from a warning only in words, unless asked.
        let mut update = apt.command("apt-get");
        run::run(update.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"])).context(
            "cannot fetch the package lists of the Debian mirror in /etc/apt; \
             is the network reachable?",
        )?;
        Ok(apt)
    }

    /// The names of all packages that start with `prefix`.
    pub(crate) fn package_names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = run::capture(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads `packages` into `into`, checked against the signed lists.
    pub(crate) fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        run::run(command.args(["-q", "download"]).args(packages).current_dir(into))
    }

    /// Downloads `packages` and everything that they depend on, checked against the signed lists,
    /// and gives their files.
    pub(crate) fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let archives = self.directory.join("cache/archives");
        let mut command = self.command("apt-get");
        // What an earlier selection needed must not be taken for a part of this one.
        run::run(command.args(["-q", "clean"]))?;
        let mut command = self.command("apt-get");
        command.args(["-qq", "install", "--no-install-recommends", "--download-only", "-y"]);
        run::run(command.args(packages))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(archives)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |path: &str| self.directory.join(path).display().to_string();
        for (option, value) in [
            ("Dir::Etc::SourceList", at("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::State", at("state")),
            ("Dir::State::Lists", at("lists")),
            ("Dir::State::status", at("state/status")),
            ("Dir::Cache", at("cache")),
            ("APT::Architecture", "amd64".into()),
            // As root, apt would download as the user `_apt`, who may not write here.
            ("APT::Sandbox::User", "root".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::Retries", "3".into()),
            // Some machines fetch metadata for software centres too: five times the bytes.
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }
}

fn sources_list(mirrors: &Mirrors, suites: &[&str]) -> String {
    let line = |suite: &&str| {
        let mirror =
            if suite.ends_with("-security") { mirrors.security.as_ref()? } else { &mirrors.main };
        Some(format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n"))
    };
    suites.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suite_comes_from_its_mirror_and_one_without_a_mirror_is_left_out() {
        let mut mirrors = Mirrors { main: "http://d.test/debian".into(), security: None };
        let suites = ["trixie", "bookworm-security"];
        let main =
            format!("deb [arch=amd64 signed-by={KEYRING}] http://d.test/debian trixie main\n");
        assert_eq!(sources_list(&mirrors, &suites), main);
        mirrors.security = Some("http://d.test/security".into());
        let security = format!(
            "deb [arch=amd64 signed-by={KEYRING}] http://d.test/security bookworm-security main\n"
        );
        assert_eq!(sources_list(&mirrors, &suites), main + &security);
    }
}
