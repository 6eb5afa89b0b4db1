//! A scope of its own: a name, a cgroup, and a place among the kernel programs.

use anyhow::{Context as _, Result, bail};

use crate::{
    budgets::WallClock,
    cgroup::Cgroup,
    kernel::{
        programs::{Channels, Loaded, Programs},
        set::Set,
    },
    scopes::{self, Ownership},
};

/// A scope in force, in which nothing runs yet.
pub(crate) struct Scope {
    /// Its cgroup.
    pub(crate) cgroup: Cgroup,
    programs: Programs,
    /// Given back last.
    _name: Ownership,
}

impl Scope {
    /// Brings a scope into force, with all that it needs: after an error nothing of it is left.
    ///
    /// # Errors
    ///
    /// When the name is in use, or the kernel cannot enforce the policy.
    pub(crate) fn create(name: &str, policy: Loaded<'_>) -> Result<(Self, Channels)> {
        let Some(ownership) = Ownership::take_in_time(name)? else {
            bail!("a scope named `{name}` is in use by another `ringfence run`");
        };
        let _machine = Ownership::of_machine()?;
        let set = Set::of_this_build(&scopes::sets(), policy.image.len())?;
        set.load(&policy.parts())?;
        let placed = place(&set, name, policy);
        if placed.is_err() && set.is_unused().unwrap_or(false) {
            // Told is the first error; the next start tries again.
            let _ = set.remove();
        }
        let (cgroup, programs, channels) = placed?;
        Ok((Self { cgroup, programs, _name: ownership }, channels))
    }

    /// Ends every process that is governed, wherever it has got to. None can fork any more.
    ///
    /// # Errors
    ///
    /// When that cannot be told for certain.
    pub(crate) fn end(&self) -> Result<()> {
        self.programs.members().end(|| self.cgroup.end())
    }

    /// Its budget of time.
    pub(crate) const fn wall_clock(&self) -> Option<WallClock> {
        self.programs.wall_clock()
    }

    /// Ends every process at once, since its time is over: none of them sees another end.
    ///
    /// # Errors
    ///
    /// When that cannot be told for certain.
    pub(crate) fn end_in_time(&self) -> Result<()> {
        // What cannot be frozen is ended all the same.
        let _ = self.cgroup.freeze();
        self.end()
    }

    /// How many events the kernel had no room for so far.
    pub(crate) fn lost(&self) -> u64 {
        self.programs.lost()
    }

    /// Takes the scope out of force, once nothing runs in it any more.
    ///
    /// # Errors
    ///
    /// When something does: it stays governed.
    pub(crate) fn remove(self) -> Result<()> {
        self.end()?;
        let _machine = Ownership::of_machine()?;
        self.programs.release()?;
        self.cgroup.remove()
    }
}

fn place(set: &Set, name: &str, policy: Loaded<'_>) -> Result<(Cgroup, Programs, Channels)> {
    let cgroup = Cgroup::create(name).with_context(|| {
        format!("scope `{name}` may be left over and still running: `ringfence detach` ends it")
    })?;
    match Programs::attach(set.clone(), name, &cgroup, policy) {
        Ok((programs, channels)) => Ok((cgroup, programs, channels)),
        Err(error) => {
            cgroup.remove()?;
            Err(error)
        }
    }
}
