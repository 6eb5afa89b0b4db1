//! The ring in which the kernel programs leave their events.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

/// The ring, waited for by the runtime.
pub(crate) struct Ring(AsyncFd<RingBuf<MapData>>);

impl Ring {
    /// Registers the ring with the current runtime.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the descriptor is the ring's own map's: it is valid as long as the ring, which
        // the AsyncFd owns, and always the same one.
        let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        registered.map(Self).map_err(Into::into)
    }

    /// Waits until there are events, and takes all that there are.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) async fn wait(&mut self, take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut guard = self.0.readable_mut().await?;
        guard.clear_ready();
        drop(guard);
        self.take_all(take);
        Ok(())
    }

    /// Takes all events that there are.
    pub(crate) fn take_all(&mut self, mut take: impl FnMut(&[u8])) {
        let ring = self.0.get_mut();
        while let Some(record) = ring.next() {
            take(&record);
        }
    }
}
