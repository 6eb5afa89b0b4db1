//! The numbers of events: counted by the kernel's programs and by the agent in one place.

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
};

use anyhow::Result;
use ringfence_common::scope::MAX_SCOPES;

use super::shared::Shared;

/// Bytes of a number.
const NUMBER: usize = size_of::<u64>();

/// The numbers of one scope's events.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    numbers: Arc<Shared>,
    /// Where they are.
    offset: usize,
}

impl Sequence {
    /// Opens the numbers of a scope in their map.
    ///
    /// # Errors
    ///
    /// When the map cannot be brought into memory.
    pub(super) fn open(map: impl AsFd, scope: u32) -> Result<Self> {
        anyhow::ensure!(scope < MAX_SCOPES, "there is no such scope");
        let numbers = Shared::open(map, MAX_SCOPES as usize * NUMBER)?;
        Ok(Self { numbers: Arc::new(numbers), offset: scope as usize * NUMBER })
    }

    /// The number of an event that the agent tells of.
    pub(crate) fn next(&self) -> u64 {
        self.numbers.long(self.offset).fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The last number that was given out.
    pub(crate) fn last(&self) -> u64 {
        self.numbers.long(self.offset).load(Ordering::Acquire)
    }
}
