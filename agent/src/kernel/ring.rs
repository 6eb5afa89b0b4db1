//! The ring in which the kernel programs leave their events.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

/// The ring, waited for by the runtime.
pub(crate) struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    /// There may be events that no readiness will tell of.
    has_more: bool,
}

/// Events taken in one go: whoever makes them faster than they are written must not keep the
/// runtime from anything else.
const HELPING: usize = 1024;

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
        registered.map(|ring| Self { ring, has_more: false }).map_err(Into::into)
    }

    /// Waits until there are events, and takes some.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) async fn wait(&mut self, take: impl FnMut(&[u8])) -> io::Result<()> {
        if !self.has_more {
            self.ring.readable_mut().await?.clear_ready();
        } else {
            // Others get their turn between two helpings.
            tokio::task::yield_now().await;
        }
        self.take(take);
        Ok(())
    }

    /// Takes events, at most a helping of them; true when there may be more.
    pub(crate) fn take(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        let ring = self.ring.get_mut();
        self.has_more = true;
        for _ in 0..HELPING {
            match ring.next() {
                Some(record) => take(&record),
                None => {
                    self.has_more = false;
                    break;
                }
            }
        }
        self.has_more
    }
}
