//! What the kernel knows of which tasks are governed: selectors, control groups, starters.

use std::{cell::OnceCell, mem::offset_of, sync::atomic::Ordering};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, RingBuf};
use ringfence_common::scope::{MAX_SELECTORS, Member, NOBODY, Starter, Watch, kind, walk};
use zerocopy::IntoBytes as _;

use super::{maps::Maps, misses::Misses, set::Set, shared::Shared, sys};

/// The part of a set by which tasks come under scopes.
pub(crate) struct Selection {
    set: Set,
    pub(super) maps: Maps,
    pub(super) watch: Shared,
    /// Opened when first asked: what is ended may lack some programs.
    misses: OnceCell<Misses>,
    /// Tables of selectors that were put in force.
    generation: u32,
}

impl Selection {
    /// Opens it in a set that is loaded.
    ///
    /// # Errors
    ///
    /// When the set cannot be read.
    pub(crate) fn open(set: &Set) -> Result<Self> {
        let maps = set.open()?;
        set.make_ring(&maps, NOBODY)?;
        // Whatever was in force before is in one of the two banks.
        let generation = maps.generation(NOBODY)?.unwrap_or(0);
        let watch = Shared::open(maps.watch.fd(), size_of::<Watch>())?;
        Ok(Self { set: set.clone(), maps, watch, misses: OnceCell::new(), generation })
    }

    /// The ring of notices.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn notices(&self) -> Result<RingBuf<MapData>> {
        self.set.ring(&self.maps, NOBODY)
    }

    /// Puts a table of selectors in force: from the return on, new control groups are governed as
    /// it says. `numbers` has the number of a scope for each rule of the table.
    ///
    /// # Errors
    ///
    /// When the table is too large for the set, or the kernel refuses: then the one before is in
    /// force still.
    pub(crate) fn select(&mut self, image: &[u8], numbers: &[u32]) -> Result<()> {
        ensure!(numbers.len() <= MAX_SELECTORS as usize, "there are too many selectors");
        let next = self.generation.wrapping_add(1);
        let bank = (next & 1) * MAX_SELECTORS;
        for (rule, number) in (bank..).zip(numbers) {
            sys::set(self.maps.selected.fd(), &rule.to_ne_bytes(), &number.to_ne_bytes())
                .context("the map of selectors")?;
        }
        self.set.put_image(&self.maps, NOBODY, image, next)?;
        self.generation = next;
        Ok(())
    }

    /// Has nothing come under a scope any more, by name of its control group or by its program, and
    /// keeps no files.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.look_at_programs(false);
        self.keep_none()?;
        Ok(sys::remove(self.maps.images.fd(), &NOBODY.to_ne_bytes())?)
    }

    /// The control groups that are governed, or were until just now.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn members(&self) -> Result<Vec<(u64, Member)>> {
        self.maps.members()
    }

    /// Has a control group governed by a scope, without the network at first.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub(crate) fn set_member(&self, id: u64, scope: u32, level: u32) -> Result<()> {
        let member = Member { scope, level, is_attached: 0, spare: 0 };
        sys::set(self.maps.by_cgroup.fd(), &id.to_ne_bytes(), member.as_bytes())
            .context("the map of cgroups")
    }

    /// Forgets a control group.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn remove_member(&self, id: u64) -> Result<()> {
        Ok(sys::remove(self.maps.by_cgroup.fd(), &id.to_ne_bytes())?)
    }

    /// How often something was asked.
    fn asked(&self) -> u64 {
        self.watch.long(offset_of!(Watch, asked)).load(Ordering::Acquire)
    }

    /// Whether some control groups may not have been entered yet that the programs could not enter,
    /// or tell of, or that the agent could not.
    pub(crate) fn is_behind(&self) -> bool {
        let entered = self.watch.long(offset_of!(Watch, entered)).load(Ordering::Acquire);
        self.missed() != entered
    }

    /// Has what is moved into a control group without an entry judged by its path, until
    /// [`Self::catch_up`]; yields how many were missed so far.
    pub(crate) fn fall_behind(&self) -> u64 {
        let missed = self.missed();
        self.catch_up(missed.wrapping_sub(1));
        missed
    }

    /// Notes that all are entered that had been missed when there were so many.
    pub(crate) fn catch_up(&self, missed: u64) {
        self.watch.long(offset_of!(Watch, entered)).store(missed, Ordering::Release);
    }

    fn missed(&self) -> u64 {
        self.watch.long(offset_of!(Watch, missed)).load(Ordering::Acquire)
    }

    /// Whether something was asked since the tasks were last looked at, or the kernel left out
    /// since then who gives them their labels.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell what it left out.
    pub(crate) fn is_asked(&self) -> Result<bool> {
        let done = self.watch.long(offset_of!(Watch, done)).load(Ordering::Acquire);
        if self.asked() != done {
            return Ok(true);
        }
        let misses = match self.misses.get() {
            Some(misses) => misses,
            None => {
                let opened = Misses::open(self.set.folder())?;
                self.misses.get_or_init(|| opened)
            }
        };
        misses.are_new()
    }

    /// Whether a scope is that of a run.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn is_run(&self, scope: u32) -> Result<bool> {
        Ok(self.maps.scope(scope)?.kind == kind::RUN)
    }

    /// Has every hook look at every task's control groups, until [`Self::label_tasks`].
    pub(crate) fn ask(&self) {
        self.watch.long(offset_of!(Watch, asked)).fetch_add(1, Ordering::AcqRel);
    }

    /// Whether programs select scopes.
    pub(crate) fn look_at_programs(&self, looks: bool) {
        self.watch.word(offset_of!(Watch, programs)).store(looks.into(), Ordering::Release);
    }

    /// Gives every task the label that it should have. Then the hooks need not look any more,
    /// unless something was asked meanwhile.
    ///
    /// # Errors
    ///
    /// When the tasks cannot be walked: the hooks go on looking.
    pub(crate) fn label_tasks(&self) -> Result<()> {
        let asked = self.asked();
        self.watch.word(offset_of!(Watch, walk)).store(walk::LABEL, Ordering::Release);
        self.set.walk_tasks()?;
        self.watch.long(offset_of!(Watch, done)).store(asked, Ordering::Release);
        Ok(())
    }

    /// Takes the labels of a scope from all tasks.
    ///
    /// # Errors
    ///
    /// When the tasks cannot be walked.
    pub(crate) fn forget(&self, scope: u32) -> Result<()> {
        let kind = self.watch.word(offset_of!(Watch, walk));
        self.watch.word(offset_of!(Watch, target)).store(scope, Ordering::Release);
        kind.store(walk::FORGET, Ordering::Release);
        let walked = self.set.walk_tasks();
        kind.store(walk::LABEL, Ordering::Release);
        walked
    }

    /// Names the programs that put processes into control groups, and no others.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub(crate) fn set_starters(&self, starters: &[(Starter, u32)]) -> Result<()> {
        let mut known = Vec::new();
        let (mut last, mut key) = (None, [0; size_of::<Starter>()]);
        while known.len() < 1024
            && sys::next_key(
                self.maps.starters.fd(),
                last.as_ref().map(|key: &[u8; 16]| &key[..]),
                &mut key,
            )?
        {
            known.push(key);
            last = Some(key);
        }
        for (starter, kind) in starters {
            sys::set(self.maps.starters.fd(), starter.as_bytes(), &kind.to_ne_bytes())
                .context("the map of starters")?;
        }
        for key in known {
            if !starters.iter().any(|(starter, _)| starter.as_bytes() == key) {
                sys::remove(self.maps.starters.fd(), &key)?;
            }
        }
        Ok(())
    }
}
