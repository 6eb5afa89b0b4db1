//! What the long-running agent does with a scope that is in force: takes it over from an agent
//! before, gives it another policy, and has control groups come and go.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use anyhow::{Context as _, Result};
use ringfence_common::{
    content, installed,
    scope::{About, Member, Scope, Told, kind},
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::{
    maps::{generation_of, is_same_image},
    places,
    programs::{Group, Loaded, Programs},
    set::Set,
    sys,
};
use crate::{budgets, clock::since_boot};

/// Entries about pinned programs.
type Contents = BTreeMap<[u8; size_of::<content::Key>()], [u8; size_of::<content::Pin>()]>;

/// The entries for a policy of a generation.
fn contents_of(policy: Loaded<'_>, scope: u32, generation: u32) -> Contents {
    let entry = |(key, pin): &(content::Key, content::Pin)| {
        let key = content::Key { scope, generation, ..*key };
        (zerocopy::transmute!(key), zerocopy::transmute!(*pin))
    };
    policy.contents.iter().map(entry).collect()
}

impl Programs {
    /// Every scope of the long-running agent in a set.
    ///
    /// # Errors
    ///
    /// When the set cannot be read.
    pub(crate) fn of_service(set: &Set) -> Result<Vec<(String, Self)>> {
        if !set.is_begun() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (number, scope) in set.open()?.scopes()? {
            if scope.kind == kind::SERVICE {
                let (set, maps) = (set.clone(), set.open()?);
                let this = Self { set, maps, number, cgroup: 0, wall_clock: None };
                found.push((scope.name().to_owned(), this));
            }
        }
        Ok(found)
    }

    /// The scope's number in its set.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// When the scope came into force, on `CLOCK_BOOTTIME`; 0 before.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn since(&self) -> Result<u64> {
        Ok(self.maps.scope(self.number)?.about.since)
    }

    /// Whether the scope was brought into force as a whole. An agent may have been killed while it
    /// began or ended it: then nothing is governed by it.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn is_whole(&self) -> Result<bool> {
        Ok(self.since()? != 0
            && self.maps.generation(self.number)?.is_some()
            && self.set.has_ring(&self.maps, self.number)?)
    }

    /// Takes over a scope that an agent before has left in force; yields the generation of its
    /// policy. Where that is the same, it stays, and with it what names have opened.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: then what was in force before is in force still.
    pub(crate) fn take_over(&mut self, policy: Loaded<'_>) -> Result<u32> {
        let before = self.maps.image(self.number)?.context("the scope has no policy")?;
        let generation = generation_of(&before).context("the image has no header")?;
        // The sockets of the agent before are closed.
        places::forget(&self.maps, self.number)?;
        self.lead_to(policy.resolver)?;
        let is_same = is_same_image(&before, policy.image)
            && self.pinned(generation) == contents_of(policy, self.number, generation);
        let generation = if is_same {
            self.set.load(&policy.parts())?;
            // An agent may have been killed before it had told of them.
            let limits = budgets::prepare(&mut self.maps, self.number, policy.image, generation)?;
            budgets::commit(&mut self.maps, self.number, policy.image, &limits)?;
            self.describe(policy, generation)?;
            self.instruct_all(policy, None)?;
            generation
        } else {
            let next = generation.wrapping_add(1);
            self.replace(policy, &before, next)?;
            next
        };
        self.remove_ended(generation)?;
        Ok(generation)
    }

    /// The programs that are pinned for a generation.
    fn pinned(&self, generation: u32) -> Contents {
        let all = self.maps.contents.iter().filter_map(Result::ok);
        all.filter(|(key, _)| {
            content::Key::read_from_bytes(key)
                .is_ok_and(|key| key.scope == self.number && key.generation == generation)
        })
        .collect()
    }

    /// Removes the addresses that are not open any more, which the agent before did not.
    fn remove_ended(&mut self, generation: u32) -> Result<()> {
        let now = since_boot();
        let all: Vec<_> = self.maps.addresses.iter().filter_map(Result::ok).collect();
        for (bytes, value) in all {
            let is_ended = installed::Key::read_from_bytes(&bytes).is_ok_and(|key| {
                key.scope == self.number
                    && (key.generation != generation
                        || installed::Value::read_from_bytes(&value)
                            .is_ok_and(|value| value.expires <= now))
            });
            if is_ended {
                self.maps.addresses.remove(&bytes)?;
            }
        }
        Ok(())
    }

    /// Writes what people ask of the policy, and where its resolver is.
    fn describe(&self, policy: Loaded<'_>, generation: u32) -> Result<()> {
        let mut scope = self.maps.scope(self.number)?;
        scope.generation = generation;
        scope.about = About { since: scope.about.since, ..policy.about };
        scope.resolver = policy.resolver.resolver();
        self.maps.set_scope(self.number, &scope)
    }

    /// How far the events have been told.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn told(&self) -> Result<Told> {
        let mut told = Told::new_zeroed();
        sys::get(self.maps.told.fd(), &self.number.to_ne_bytes(), told.as_mut_bytes())?;
        Ok(told)
    }

    /// Notes how far the events have been told.
    pub(crate) fn set_told(&self, (last, lost): (u64, u64)) {
        let told = Told { last, lost };
        // One that is not noted is told as lost by the agent that comes after a kill.
        let _ = sys::set(self.maps.told.fd(), &self.number.to_ne_bytes(), told.as_bytes());
    }

    /// Puts another policy in force. What the control groups' hooks are told allows for both
    /// policies before, and for this one after; the image alone decides which of the two an act is
    /// judged by.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: then the policy before is in force still.
    pub(crate) fn replace(&mut self, policy: Loaded<'_>, before: &[u8], next: u32) -> Result<()> {
        // First, so that what counts is there before anything is to be counted.
        self.set.load(&policy.parts())?;
        let limits = budgets::prepare(&mut self.maps, self.number, policy.image, next)?;
        // Before the image: when that is in force, no verdict of the one before is remembered.
        let scope = self.maps.scope(self.number)?;
        let announced = Scope { generation: next, ..scope };
        let placed = self
            .lead_to(policy.resolver)
            .and_then(|()| self.pin_contents(policy.contents, next))
            .and_then(|()| self.instruct_all(policy, Some(before)))
            .and_then(|()| self.maps.set_scope(self.number, &announced))
            .and_then(|()| self.set.put_image(&self.maps, self.number, policy.image, next));
        if let Err(error) = placed {
            let _ = self.maps.set_scope(self.number, &scope);
            let _ = self.unpin_contents(|generation| generation == next);
            budgets::abandon(&self.maps, self.number, &limits);
            return Err(error);
        }
        budgets::commit(&mut self.maps, self.number, policy.image, &limits)?;
        self.describe(policy, next)?;
        self.instruct_all(policy, None)?;
        self.unpin_contents(|generation| generation != next)
    }

    /// Tells the hooks of every control group what the policy has for them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn instruct_all(&self, policy: Loaded<'_>, before: Option<&[u8]>) -> Result<()> {
        for (id, member) in self.groups()? {
            if member.is_attached != 0 && self.set.is_attached(self.number, id) {
                self.instruct(id, member.level, policy, before)?;
            } else if policy.has_network() {
                // Nothing was attached for the policy before, which had nothing for it.
                let folder = crate::cgroup::open_by_id(id)?;
                let group = Group { id, level: member.level, folder: folder.as_fd() };
                self.admit(group, policy)?;
            }
        }
        Ok(())
    }

    fn unpin_contents(&mut self, is_idle: impl Fn(u32) -> bool) -> Result<()> {
        let keys: Vec<_> = self.maps.contents.keys().filter_map(Result::ok).collect();
        for bytes in keys {
            let Ok(key) = content::Key::read_from_bytes(&bytes) else { continue };
            if key.scope == self.number && is_idle(key.generation) {
                self.maps.contents.remove(&bytes)?;
            }
        }
        Ok(())
    }

    /// The control groups of the scope.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(crate) fn groups(&self) -> Result<Vec<(u64, Member)>> {
        let mut members = self.maps.members()?;
        members.retain(|(_, member)| member.scope == self.number);
        Ok(members)
    }

    /// Takes a control group from the scope, which is gone or another's.
    ///
    /// # Errors
    ///
    /// When the programs for its packets cannot be detached.
    pub(crate) fn dismiss(&self, id: u64) -> Result<()> {
        self.set.detach_group(self.number, id).context("detaching the control group's hooks")
    }
}
