//! The table of control groups is full.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use libc::{SIGCONT, SIGSTOP};
use ringfence_common::scope::{MAX_MEMBERS, Member};

use super::{stage::Stage, tally::Act};
use crate::{
    harness::{Context, Failure, ensure},
    sys,
};

/// `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_DELETE_ELEM` and `BPF_OBJ_GET` (`linux/bpf.h`).
const UPDATE: i64 = 2;
const DELETE: i64 = 3;
const GET: i64 = 7;
/// Identifiers that no control group has.
const NOBODYS: u64 = 1 << 60;

/// A pinned table of control groups.
struct Table(OwnedFd);

impl Table {
    fn open(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let attributes = [path.as_ptr() as u64, 0];
        // SAFETY: the attributes and the path live as long as the call.
        let opened =
            unsafe { sys::call(libc::SYS_bpf, [GET, attributes.as_ptr() as i64, 16, 0, 0, 0]) };
        opened.map(|fd| Self(sys::owned(fd)))
    }

    fn change(&self, command: i64, id: u64, member: &Member) -> io::Result<()> {
        let map = self.0.as_raw_fd() as u64;
        let (key, value) = (&raw const id as u64, &raw const *member as u64);
        let attributes = [map, key, value, 0];
        // SAFETY: the attributes, the key and the value live as long as the call.
        unsafe { sys::call(libc::SYS_bpf, [command, attributes.as_ptr() as i64, 32, 0, 0, 0]) }
            .map(drop)
    }

    /// Takes all the room that there is.
    fn fill(&self) -> u32 {
        let member = Member { scope: 255, level: 1, is_attached: 0, spare: 0 };
        let fits =
            |number: &u32| self.change(UPDATE, NOBODYS + u64::from(*number), &member).is_ok();
        (0..=MAX_MEMBERS).take_while(fits).count() as u32
    }

    fn empty(&self, filled: u32) {
        let member = Member { scope: 0, level: 0, is_attached: 0, spare: 0 };
        (0..filled).for_each(|number| {
            let _ = self.change(DELETE, NOBODYS + u64::from(number), &member);
        });
    }
}

/// Every table of control groups, full until this is dropped.
pub(crate) struct Full(Vec<(Table, u32)>);

impl Full {
    /// Fills them.
    ///
    /// # Errors
    ///
    /// When there is none, or one that cannot be filled.
    pub(crate) fn make() -> Result<Self, Failure> {
        let mut this = Self(Vec::new());
        for entry in fs::read_dir("/sys/fs/bpf/ringfence")?.flatten() {
            let table = Table::open(&entry.path().join("BY_CGROUP"))?;
            let count = table.fill();
            this.0.push((table, count));
        }
        let is_filled = this.0.iter().any(|(_, count)| *count > MAX_MEMBERS / 2);
        is_filled.then_some(this).ok_or_else(|| Failure::new("the table cannot be filled"))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.0.iter().for_each(|(table, count)| table.empty(*count));
    }
}

pub(super) fn without_room(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    stage.control("all", &Act::FORBIDDEN)?;
    stage.start()?;
    stage.wait()?;
    sys::kill(stage.agent(), SIGSTOP)?;
    let full = Full::make()?;
    let group = stage.group("late")?;
    stage.work("all", Some(&group), Duration::from_millis(5), 16)?;
    stage.wait_for_workers()?;
    stage.judge(&Act::FORBIDDEN)?;
    drop(full);
    sys::kill(stage.agent(), SIGCONT)?;
    // Now there is room, and the agent finds what was missed.
    let start = Instant::now();
    while !stage.governs("/rf-faults/late")? {
        ensure(start.elapsed() < Duration::from_secs(60), || {
            format!("the agent does not find it: {}", stage.said())
        })?;
        thread::sleep(Duration::from_millis(100));
    }
    stage.told()?;
    stage.stop()
}
