//! Maps whose memory the programs share with the agent: counts that both change.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64},
};

use anyhow::{Context as _, Result};

/// The memory of a map.
#[derive(Debug)]
pub(crate) struct Shared {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is shared with the kernel and with other processes, and only ever used by
// atomic operations.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

impl Shared {
    /// Brings a map into memory that has so many bytes, and was made to be.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn open(map: impl AsFd, bytes: usize) -> Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let map = map.as_fd().as_raw_fd();
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, map, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("bringing a map into memory");
        }
        let start = NonNull::new(start.cast()).context("bringing a map into memory")?;
        Ok(Self { start, bytes })
    }

    /// The number at an offset, which must be a multiple of 8 and inside the map.
    pub(crate) fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.bytes, "beyond the map");
        // SAFETY: eight aligned bytes of the mapping, which lives as long as `self`; the kernel too
        // changes them by atomic operations only.
        unsafe { self.start.add(offset).cast().as_ref() }
    }

    /// The number at an offset, which must be a multiple of 4 and inside the map.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.bytes, "beyond the map");
        // SAFETY: four aligned bytes of the mapping, as above.
        unsafe { self.start.add(offset).cast().as_ref() }
    }
}
