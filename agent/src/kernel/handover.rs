//! What goes from one set of programs to another when an agent of another build, or one whose
//! policies need more room, takes over: who is governed, what names have opened, and the events
//! that nobody has told. The programs before stay in force until those after are.

use std::{collections::BTreeMap, os::fd::AsRawFd as _, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use ringfence_common::installed;
use rustix::process::{PidfdFlags, pidfd_open};
use zerocopy::FromBytes as _;

use crate::budgets;

use super::{
    maps::is_same_image,
    members,
    programs::{Loaded, Programs},
    selection::Selection,
    sys,
};

/// Where a label has what is the same in every build: the scope, flags, and the control group with
/// its depth.
const LABEL: usize = 24;
/// Where its flags are.
const FLAGS: std::ops::Range<usize> = 4..8;
/// The flag that the hooks of control groups are attached: of the set before, and not of this one.
const ATTACHED: u32 = 4;
/// Lists of processes that are read before it is given up.
const MAX_ROUNDS: usize = 500;
/// How long a program may be under way that still has a label before it.
const SETTLING: Duration = Duration::from_millis(100);

impl Programs {
    /// Opens what names have opened by the same policy in the place before.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub(crate) fn open_as_before(&mut self, before: &Self, policy: Loaded<'_>) -> Result<()> {
        if !before.has_image(policy)? {
            return Ok(());
        }
        let generation = before.maps.generation(before.number)?.unwrap_or(0);
        let all: Vec<_> = before.maps.addresses.iter().filter_map(Result::ok).collect();
        for (bytes, value) in all {
            let Ok(key) = installed::Key::read_from_bytes(&bytes) else { continue };
            if key.scope == before.number && key.generation == generation {
                let key = installed::Key { scope: self.number, generation: 0, ..key };
                let key: [u8; size_of::<installed::Key>()] = zerocopy::transmute!(key);
                self.maps.addresses.insert(key, value, 0).context("the map of addresses")?;
            }
        }
        Ok(())
    }

    /// Adds what the scope has used of its budgets in the place before, which governs nobody any
    /// more.
    ///
    /// # Errors
    ///
    /// As for [`budgets::add_before`].
    pub(crate) fn spend_as_before(&mut self, before: &Self) -> Result<()> {
        budgets::add_before(&mut self.maps, self.number, (&before.maps, before.number))
    }

    /// Whether this policy is in force in the place.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn has_image(&self, policy: Loaded<'_>) -> Result<bool> {
        let image = self.maps.image(self.number)?;
        Ok(image.is_some_and(|image| is_same_image(&image, policy.image)))
    }

    /// Gives every process that has the label of one of the places before that of the one after,
    /// wherever it is now.
    ///
    /// # Errors
    ///
    /// When that cannot be told for certain: then the programs before must stay.
    pub(crate) fn label_as_before(places: &[(&Self, &Self)]) -> Result<()> {
        let Some((first_before, first_after)) = places.first() else { return Ok(()) };
        let numbers: BTreeMap<u32, u32> =
            places.iter().map(|(before, after)| (before.number, after.number)).collect();
        let (before, after) = (&first_before.maps, &first_after.maps);
        let mut old = members::room(before)?;
        let mut new = members::room(after)?;
        for _ in 0..MAX_ROUNDS {
            let mut is_found = false;
            for (process, number) in members::labelled(before)? {
                let Some(number) = numbers.get(&number) else { continue };
                let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else { continue };
                let key = process.as_raw_fd().to_ne_bytes();
                if sys::get(after.tasks.fd(), &key, &mut new).unwrap_or(false)
                    || !sys::get(before.tasks.fd(), &key, &mut old).unwrap_or(false)
                {
                    continue;
                }
                is_found = true;
                new.fill(0);
                let (Some(to), Some(from)) = (new.get_mut(..LABEL), old.get(..LABEL)) else {
                    bail!("the label is too short");
                };
                to.copy_from_slice(from);
                to[..4].copy_from_slice(&number.to_ne_bytes());
                let flags = from.get(FLAGS).and_then(<[u8]>::first_chunk);
                let flags = u32::from_ne_bytes(*flags.unwrap_or(&[0; 4])) & !ATTACHED;
                to[FLAGS].copy_from_slice(&flags.to_ne_bytes());
                match sys::set(after.tasks.fd(), &key, &new) {
                    // Ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    done => done.context("labelling a process")?,
                }
            }
            // What an unlabelled one has forked meanwhile is found in the next round.
            if !is_found {
                return Ok(());
            }
        }
        bail!("the processes that are governed do not stay the same")
    }

    /// Ends this place, whose control groups and processes are governed by another set now, and
    /// hands out the events that were not told: `take` gets each, and how many were lost is
    /// yielded. `last` is the number of the last event that was told.
    ///
    /// # Errors
    ///
    /// When something cannot be removed.
    pub(crate) fn hand_over(&mut self, last: u64, mut take: impl FnMut(&[u8])) -> Result<u64> {
        let mut selection = Selection::open(&self.set)?;
        selection.stop()?;
        for (id, _) in self.groups()? {
            selection.remove_member(id)?;
        }
        selection.forget(self.number)?;
        thread::sleep(SETTLING);
        selection.forget(self.number)?;
        let mut ring = self.set.ring(&self.maps, self.number)?;
        let mut taken = 0;
        while let Some(record) = ring.next() {
            taken += 1;
            take(&record);
        }
        let offered = self.maps.events(self.number)?.saturating_sub(last);
        Ok(offered.saturating_sub(taken))
    }
}
