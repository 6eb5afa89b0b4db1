//! Where the questions of a scope's processes are led: a resolver's ports in each network namespace.

use anyhow::{Context as _, Result};
use ringfence_common::resolver::{MAX_PLACES, Place};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{maps::Maps, programs::Programs, sys};
use crate::names::Ports;

impl Programs {
    /// Leads questions to name servers from the ports' network namespace there. With no ports,
    /// nothing changes.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub(crate) fn lead_to(&self, ports: Ports) -> Result<()> {
        if ports.v4 == 0 {
            return Ok(());
        }
        let place = Place::new(self.number, ports.network);
        sys::set(self.maps.resolvers.fd(), place.as_bytes(), ports.resolver().as_bytes())
            .context("the map of resolvers")
    }

    /// Leads them nowhere any more: they are refused.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn lead_no_more(&self, network: u64) -> Result<()> {
        let place = Place::new(self.number, network);
        Ok(sys::remove(self.maps.resolvers.fd(), place.as_bytes())?)
    }
}

/// Leads the questions of a scope nowhere any more, from whatever network namespace.
///
/// # Errors
///
/// The system call's.
pub(super) fn forget(maps: &Maps, scope: u32) -> Result<()> {
    let mut found = Vec::new();
    let (mut last, mut next) = (None::<Place>, Place::new_zeroed());
    // Whoever asks for the next key after one that was just removed begins anew.
    for _ in 0..2 * MAX_PLACES {
        let last_bytes = last.as_ref().map(|place| place.as_bytes());
        if !sys::next_key(maps.resolvers.fd(), last_bytes, next.as_mut_bytes())
            .context("the map of resolvers")?
        {
            break;
        }
        found.extend((next.scope == scope).then_some(next));
        last = Some(next);
    }
    for place in found {
        sys::remove(maps.resolvers.fd(), place.as_bytes())?;
    }
    Ok(())
}
