//! A scope that is in force while tests run, so that the kernel programs are loaded once and not
//! for each of them.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::ringfence::PROGRAM;

/// Of every kind of program a part, so that all are loaded.
const POLICY: &str = "boundary: 1\nfiles: [{ path: \"/**\", allow: [read] }]\negress: []\n";
const FILE: &str = "/run/ringfence-test-keeper.yaml";
/// Has the scope's processes once it is in force.
const PROCESSES: &str = "/sys/fs/cgroup/ringfence/keeper/cgroup.procs";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(300);

/// The scope. Ends when it is dropped.
pub(super) struct Keeper(Child);

impl Keeper {
    /// Starts it, and waits until it is in force.
    ///
    /// # Errors
    ///
    /// When it does not come into force.
    pub(super) fn start() -> io::Result<Self> {
        fs::write(FILE, POLICY)?;
        let mut run = Command::new(PROGRAM);
        run.args(["run", "--name", "keeper", "--policy", FILE, "--", "/bin/sleep", "1000000"]);
        let mut keeper = Self(run.stdin(Stdio::null()).spawn()?);
        let start = Instant::now();
        while fs::read_to_string(PROCESSES).unwrap_or_default().is_empty() {
            if !keeper.is_running() || start.elapsed() > PATIENCE {
                return Err(io::Error::other("the scope that keeps the programs does not start"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(keeper)
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.0.id()
    }

    /// Whether it is still in force.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let terminate = i32::try_from(self.0.id()).map(|process| {
            // SAFETY: no memory is involved, and the process is our child, not yet waited for.
            unsafe { libc::kill(process, libc::SIGTERM) }
        });
        if terminate.is_ok() {
            let _ = self.0.wait();
        }
        let _ = fs::remove_file(FILE);
    }
}
