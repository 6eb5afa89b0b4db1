//! What agents of other builds, or with other room for policies, have left in force: it stays until
//! what is in force now is, and then goes.

use anyhow::{Context as _, Result};
use ringfence_common::scope::Told;

use super::{governed::Governed, log::Log};
use crate::{
    kernel::{
        programs::Programs,
        selection::Selection,
        set::{Part, Set},
    },
    scopes,
};

/// Scopes of the agent by name.
type Places = Vec<(String, Programs)>;

/// Scopes of the agent in other sets than its own; how far their events were told is as it was before
/// there is anything newer in the log.
pub(super) struct Elsewhere(Vec<(Set, Vec<Left>)>);

/// A scope that was left in force, by its name, and how far its events were told.
type Left = (String, Programs, Told);

/// Those that were brought into force as a whole. The others govern nothing, and go.
///
/// # Errors
///
/// When they cannot be read or removed.
pub(super) fn whole(places: Places) -> Result<Places> {
    let mut kept = Vec::new();
    for (name, mut programs) in places {
        if programs.is_whole()? {
            kept.push((name, programs));
        } else {
            programs.vacate().with_context(|| format!("removing what was begun of `{name}`"))?;
        }
    }
    Ok(kept)
}

impl Elsewhere {
    /// Everything that is not in this set.
    ///
    /// # Errors
    ///
    /// When a set cannot be read.
    pub(super) fn beside(own: &Set, log: &Log) -> Result<Self> {
        let mut sets = Vec::new();
        for set in Set::all(&scopes::sets()) {
            if set.folder() != own.folder() {
                // That of a version whose maps are others is told of by `ringfence status`.
                let places = Programs::of_service(&set).unwrap_or_default();
                let told = |(name, programs): (String, Programs)| {
                    let told = log.told(&name, &programs)?;
                    Ok((name, programs, told))
                };
                sets.push((set, whole(places)?.into_iter().map(told).collect::<Result<_>>()?));
            }
        }
        Ok(Self(sets))
    }

    /// The place of a scope, and how far its events were told.
    pub(super) fn find(&self, name: &str) -> Option<(&Programs, Told)> {
        let mut places = self.0.iter().flat_map(|(_, places)| places);
        places.find(|(other, ..)| other == name).map(|(_, programs, told)| (programs, *told))
    }

    /// Takes it out of force: what is in force now is attached beside it.
    ///
    /// # Errors
    ///
    /// When something cannot be removed: then it is in force still.
    pub(super) fn end(self, scopes: &[Governed]) -> Result<()> {
        for (set, places) in self.0 {
            let was_served = !places.is_empty();
            let after = |name: &str| scopes.iter().find(|scope| scope.name == name);
            {
                let pairs = places.iter();
                let pairs =
                    pairs.filter_map(|(name, before, _)| Some((before, after(name)?.place())));
                let pairs: Vec<_> = pairs.collect();
                let pairs: Vec<_> =
                    pairs.iter().map(|(before, after)| (*before, &**after)).collect();
                Programs::label_as_before(&pairs)?;
            }
            for (name, mut programs, told) in places {
                match after(&name) {
                    Some(scope) => scope.succeed(&mut programs, told.last),
                    None => {
                        let mut selection = Selection::open(&set)?;
                        selection.stop()?;
                        selection.forget(programs.number())?;
                        programs.vacate()
                    }
                }
                .with_context(|| format!("removing the older `{name}`"))?;
            }
            if was_served {
                // Runs have no use for it.
                set.unload(Part::Membership)?;
            }
            if set.is_unused().unwrap_or(false) {
                set.remove()?;
            }
        }
        Ok(())
    }
}
