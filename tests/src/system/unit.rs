//! Units of systemd, for as long as a test needs them.

use std::{fs, path::PathBuf, process::Command, thread, time::Instant};

use crate::{
    harness::{Failure, ensure},
    system::PATIENCE,
};

/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";

/// A unit that a test wrote. It is stopped, and its file removed, when it is dropped.
pub(crate) struct Unit {
    name: String,
    file: PathBuf,
}

impl Unit {
    /// Writes the unit `name`, as in `x.service`, in the words of its file. It is not started.
    ///
    /// # Errors
    ///
    /// When systemd does not take it.
    pub(crate) fn write(name: &str, text: &str) -> Result<Self, Failure> {
        let unit = Self { name: name.into(), file: PathBuf::from(UNITS).join(name) };
        fs::write(&unit.file, text)?;
        systemctl(&["daemon-reload"])?;
        Ok(unit)
    }

    /// Starts it, and waits until systemd says that it is started.
    ///
    /// # Errors
    ///
    /// When it does not start; the journal is in the details.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        self.tell("start")
    }

    /// Stops it, and waits.
    ///
    /// # Errors
    ///
    /// When it does not stop.
    pub(crate) fn stop(&self) -> Result<(), Failure> {
        self.tell("stop")
    }

    fn tell(&self, verb: &str) -> Result<(), Failure> {
        systemctl(&[verb, &self.name])
            .map(drop)
            .map_err(|failure| failure.with(journal(&self.name).unwrap_or_default()))
    }

    /// What `systemctl show` says of it, as in `ActiveState`.
    ///
    /// # Errors
    ///
    /// When systemd does not answer.
    pub(crate) fn property(&self, name: &str) -> Result<String, Failure> {
        let text = systemctl(&["show", "--value", "--property", name, &self.name])?;
        Ok(text.trim_end().to_owned())
    }

    /// Waits until it has ended by itself, and gives its exit code.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub(crate) fn end(&self) -> Result<i32, Failure> {
        let start = Instant::now();
        while !matches!(self.property("ActiveState")?.as_str(), "inactive" | "failed") {
            ensure(start.elapsed() < PATIENCE, || format!("{} does not end", self.name))?;
            thread::sleep(super::PACE);
        }
        Ok(self.property("ExecMainStatus")?.parse()?)
    }

    /// What it printed, and what systemd said of it.
    ///
    /// # Errors
    ///
    /// When there is no journal.
    pub(crate) fn journal(&self) -> Result<String, Failure> {
        journal(&self.name)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = systemctl(&["stop", &self.name]);
        let _ = fs::remove_file(&self.file);
        let _ = systemctl(&["daemon-reload"]);
        // Else it is remembered as failed.
        let _ = systemctl(&["reset-failed"]);
    }
}

/// The messages of a unit, without time and name.
///
/// # Errors
///
/// When there is no journal.
pub(crate) fn journal(unit: &str) -> Result<String, Failure> {
    // What is on its way to the journal is waited for.
    said(Command::new("journalctl").arg("--sync"))?;
    said(Command::new("journalctl").args(["--no-pager", "-o", "cat", "-u", unit]))
}

/// Asks something of systemd, and gives what `systemctl` printed.
///
/// # Errors
///
/// When it says no.
pub(crate) fn systemctl(words: &[&str]) -> Result<String, Failure> {
    said(Command::new("systemctl").arg("--no-pager").args(words))
}

/// What a command prints that is to succeed.
///
/// # Errors
///
/// When it does not; what it said is in the details.
pub(crate) fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let failure = Failure::new(format!("{command:?}: {}", output.status));
    Err(failure.with(text).with(String::from_utf8_lossy(&output.stderr)))
}
