//! What workers count, in a file that they share with the test: what is counted stays when a worker
//! is killed, and no agent has a part in it.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::Path,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

/// Workers that there is room for.
pub(super) const SLOTS: usize = 512;
/// Acts that a worker may try.
const ACTS: usize = 16;
/// Numbers of an act: how often it was tried, and how often it succeeded.
const NUMBERS: usize = 2;
const BYTES: usize = (SLOTS * ACTS * NUMBERS + 1) * size_of::<u64>();

/// The numbers of all workers.
pub(super) struct Tally(NonNull<AtomicU64>);

// SAFETY: the memory is a file's, and only ever used by atomic operations.
unsafe impl Sync for Tally {}

/// Tries, and successes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) tries: u64,
    pub(super) successes: u64,
}

impl Tally {
    /// Brings the file into memory, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() < BYTES as u64 {
            file.set_len(BYTES as u64)?;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let file = file.as_raw_fd();
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), BYTES, access, libc::MAP_SHARED, file, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start.cast()).map(Self).ok_or_else(io::Error::last_os_error)
    }

    fn number(&self, at: usize) -> &AtomicU64 {
        assert!(at < BYTES / size_of::<u64>(), "beyond the tally");
        // SAFETY: inside the mapping, which is never removed.
        unsafe { self.0.add(at).as_ref() }
    }

    /// Counts a try.
    pub(super) fn add(&self, slot: usize, act: Act, succeeded: bool) {
        let at = (slot % SLOTS * ACTS + act as usize) * NUMBERS;
        // First what matters more: a worker may be killed between the two.
        self.number(at + 1).fetch_add(succeeded.into(), Ordering::Relaxed);
        self.number(at).fetch_add(1, Ordering::Release);
    }

    /// What a worker counted of an act.
    pub(super) fn of(&self, slot: usize, act: Act) -> Count {
        let at = (slot % SLOTS * ACTS + act as usize) * NUMBERS;
        let number = |at| self.number(at).load(Ordering::Acquire);
        Count { tries: number(at), successes: number(at + 1) }
    }

    /// What all workers counted of an act.
    pub(super) fn all(&self, act: Act) -> Count {
        (0..SLOTS).fold(Count::default(), |sum, slot| {
            let one = self.of(slot, act);
            Count { tries: sum.tries + one.tries, successes: sum.successes + one.successes }
        })
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        (0..BYTES / size_of::<u64>()).for_each(|at| self.number(at).store(0, Ordering::Release));
    }

    /// Which policy is in force: a number that changes, 0 while it is not known.
    pub(super) fn phase(&self) -> &AtomicU64 {
        self.number(BYTES / size_of::<u64>() - 1)
    }
}

/// What a worker tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// To open a file that no policy allows.
    Open,
    /// To make a file where no policy allows it.
    Create,
    /// To execute a program that no policy allows.
    Execute,
    /// To connect to a server that no policy allows.
    Connect,
    /// To open a file that every policy allows.
    Allowed,
    /// To open a file that the first policy allows alone.
    First,
    /// To open a file that the second policy allows alone.
    Second,
    /// To move a file from where the first policy allows it to where the second does.
    Move,
    /// To have what was in force all the while decide otherwise than it says.
    Stale,
    /// To unmount the file system of what is pinned.
    Unmount,
    /// To remove what is pinned.
    Unpin,
}

impl Act {
    /// Those that must never succeed in a governed control group.
    pub(super) const FORBIDDEN: [Self; 4] =
        [Self::Open, Self::Create, Self::Execute, Self::Connect];
}
