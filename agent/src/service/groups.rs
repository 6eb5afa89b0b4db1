//! Control groups as they come and go: which scope each belongs to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use ringfence_common::scope::{
    HELD, LEVEL, MAX_SCOPES, Member, NOBODY, Notice, UNHELD, notice as kinds,
};
use ringfence_policy::configuration::{Subject, selectors};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zerocopy::FromBytes as _;

use super::{
    Service,
    containers::{Belongs, Containers, is_container, is_static},
    governed::Governed,
    hierarchy::Found,
    starters,
};
use crate::{cgroup, kernel::programs::Group};

/// A record of the ring of notices.
pub(super) fn notice(bytes: &[u8]) -> Option<Notice> {
    Notice::read_from_prefix(bytes).ok().map(|(notice, _)| notice)
}

impl Service {
    /// Checks that the agent, whose control group is `own`, is in none of its own scopes: it could
    /// not do its work there.
    pub(super) fn check_self(selectors: &selectors::Tables, own: &Path) -> Result<()> {
        let is_selected = own
            .ancestors()
            .find(|group| selectors.of_cgroup(group.as_os_str().as_bytes()).is_some());
        if let Some(group) = is_selected {
            bail!(
                "the agent itself is in the control group {}, which a scope selects",
                group.display()
            );
        }
        let program = fs::read_link("/proc/self/exe").context("/proc/self/exe")?;
        if selectors.of_program(program.as_os_str().as_bytes()).is_some() {
            bail!("a scope selects the agent's own program, {}", program.display());
        }
        Ok(())
    }

    /// Puts the selectors in force, for what is there and what will be.
    pub(super) fn select(&mut self) -> Result<()> {
        self.selection.set_starters(&starters::present())?;
        let pods = match self.containers.as_ref().is_some_and(Containers::holds) {
            true => HELD,
            false => UNHELD,
        };
        let number = |scope: &u32| match *scope {
            selectors::OF_A_POD => pods,
            scope => self.scopes.get(scope as usize).map_or(NOBODY, Governed::number),
        };
        let numbers: Vec<u32> = self.selectors.scopes.iter().map(number).collect();
        self.selection.select(&self.selectors.image, &numbers)?;
        let selects_programs = self.scopes.iter().any(selects_programs);
        self.selection.look_at_programs(selects_programs);
        self.arrange(true)
    }

    /// The numbers of the scopes.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.scopes.iter().map(Governed::number).collect()
    }

    /// Brings every control group under the scope that it should be under, and the tasks in it.
    /// Containers that are governed stay where they are, unless they are looked at anew: what a pod
    /// says of itself may change by whoever is in it.
    pub(super) fn arrange(&mut self, anew: bool) -> Result<()> {
        let missed = self.selection.fall_behind();
        // Before the groups are listed: what the programs enter meanwhile is not for this to judge.
        let members: BTreeMap<u64, Member> = self.selection.members()?.into_iter().collect();
        let mut wanted = BTreeMap::new();
        for scope in self.scopes.iter().filter(|scope| selects_programs(scope)) {
            let home = cgroup::Cgroup::ensure(&scope.name)?;
            let found = Found { id: home.id, path: home.name.into(), level: LEVEL };
            wanted.insert(found.id, (scope.number(), found));
        }
        let (mut unknown, mut nowhere) = (BTreeMap::new(), BTreeSet::new());
        let numbers = self.numbers();
        let (groups, listed) = self.hierarchy.all();
        let is_listed: BTreeSet<u64> = groups.iter().map(|found| found.id).collect();
        for found in groups {
            let settled = members.get(&found.id).filter(|member| numbers.contains(&member.scope));
            if let Some(member) = settled.filter(|_| !anew && is_container(&found)) {
                self.settle(&found);
                wanted.insert(found.id, (member.scope, found));
                continue;
            }
            match self.belongs(&found) {
                Some(Belongs::To(scope)) => {
                    if let Some(scope) = self.scopes.get(scope as usize) {
                        wanted.insert(found.id, (scope.number(), found));
                    }
                }
                Some(Belongs::Nowhere) => {
                    nowhere.insert(found.id);
                }
                Some(Belongs::Unknown(_)) => {
                    // What it was in the set of an agent before, it is.
                    if let Some(scope) = self.scopes.iter().find(|scope| scope.had(found.id)) {
                        wanted.insert(found.id, (scope.number(), found));
                    } else {
                        unknown.insert(found.id, found);
                    }
                }
                None => {}
            }
        }
        // While it changes, every hook looks for itself.
        self.selection.ask();
        let mut idle = Vec::new();
        for (&id, member) in &members {
            let is_others = member.scope < MAX_SCOPES
                && member.scope != NOBODY
                && !numbers.contains(&member.scope);
            let is_run = is_others && self.selection.is_run(member.scope)?;
            // What was known once stays what it was.
            let is_freed = |found: Found| member.scope == HELD && is_static(&found);
            let stays_unknown = unknown.remove(&id).map(|found| !is_freed(found));
            // A scope that has ended has no groups, listed or not.
            let is_unlisted = listed.is_err() && !is_others && !is_listed.contains(&id);
            let is_left = is_run || is_unlisted || stays_unknown == Some(true);
            let is_nowhere = nowhere.contains(&id) || stays_unknown == Some(false);
            let target = wanted.get(&id).map(|(number, _)| *number);
            let target = target.or(is_nowhere.then_some(NOBODY));
            if is_left || target == Some(member.scope) {
                continue;
            }
            if let Some(scope) = self.scopes.iter().find(|one| one.number() == member.scope) {
                scope.dismiss(id)?;
            }
            if is_nowhere || target.is_none() {
                // Marked until no task has the label, so that none takes the group for unknown.
                self.selection.set_member(id, NOBODY, member.level)?;
            }
            if target.is_none() {
                idle.push(id);
            }
        }
        let held = unknown.values().map(|found| (found, self.hold(found)));
        let admitted = wanted.values().map(|(number, found)| (found, self.admit(*number, found)));
        let mut is_whole = listed.is_ok();
        for (found, done) in held.chain(admitted) {
            if let Err(error) = done {
                is_whole = false;
                tell!("ringfence: {}: {error:#}", found.path.display());
            }
        }
        if let Err(error) = listed {
            tell!("ringfence: control groups cannot be listed: {error:#}");
        }
        self.selection.label_tasks()?;
        // Once they have their labels: what is opened from here on is judged.
        let is_new = |number: u32, found: &Found| {
            members.get(&found.id).is_none_or(|member| member.scope != number)
        };
        for (number, found) in wanted.values().filter(|(number, found)| is_new(*number, found)) {
            let scope = self.scopes.iter().find(|scope| scope.number() == *number);
            if let Some(scope) = scope.filter(|scope| !scope.had(found.id)) {
                scope.look_through(&self.hierarchy.processes(&found.path));
            }
        }
        idle.into_iter().try_for_each(|id| self.selection.remove_member(id))?;
        // What could not be brought under its scope is tried again, and judged by its path meanwhile.
        if is_whole {
            self.selection.catch_up(missed);
        }
        Ok(())
    }

    fn admit(&self, number: u32, found: &Found) -> Result<()> {
        let Some(scope) = self.scopes.iter().find(|scope| scope.number() == number) else {
            return Ok(());
        };
        let folder = match self.hierarchy.open(found) {
            // One that is gone again has nothing in it.
            Err(error) if cgroup::is_gone(&error) => return Ok(()),
            opened => opened?,
        };
        scope.admit(Group { id: found.id, level: found.level, folder: folder.as_fd() })
    }

    /// Does what a notice of the kernel asks for.
    pub(super) fn attend(&mut self, notice: Notice) {
        if notice.kind == kinds::STARTED {
            let scope = self.scopes.iter_mut().find(|scope| scope.number() == notice.scope);
            // Its container has its network by now.
            scope.into_iter().for_each(|scope| scope.go_with(notice.process));
        }
        let attended = match notice.kind {
            kinds::BEGAN => self.begin_group(notice),
            kinds::ENDED => self.end_group(notice),
            kinds::SELECTED => self.take_in(notice),
            kinds::ASKED => self.selection.label_tasks(),
            _ => Ok(()),
        };
        if let Err(error) = attended {
            tell!("ringfence: {error:#}");
        }
    }

    fn begin_group(&self, notice: Notice) -> Result<()> {
        let (found, folder) = match self.hierarchy.by_id(notice.cgroup) {
            Ok(found) => found,
            // One that is gone again has nothing in it.
            Err(error) if cgroup::is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if matches!(notice.scope, HELD | UNHELD) {
            let path = found.path.display();
            return self.begin_container(&found, &folder).with_context(|| path.to_string());
        }
        // The notice is perhaps from before a reload.
        let Some(Belongs::To(scope)) = self.belongs(&found) else { return Ok(()) };
        let Some(scope) = self.scopes.get(scope as usize) else { return Ok(()) };
        scope
            .admit(Group { id: found.id, level: found.level, folder: folder.as_fd() })
            .with_context(|| found.path.display().to_string())
    }

    fn end_group(&self, notice: Notice) -> Result<()> {
        let scope = self.scopes.iter().find(|scope| scope.number() == notice.scope);
        scope.map_or(Ok(()), |scope| scope.dismiss(notice.cgroup))
    }

    /// Moves a process whose program selected a scope into that scope's own control group, where
    /// its packets are judged.
    fn take_in(&self, notice: Notice) -> Result<()> {
        let scope = self.scopes.iter().find(|scope| scope.number() == notice.scope);
        let process = i32::try_from(notice.process).ok().and_then(Pid::from_raw);
        let (Some(scope), Some(process)) = (scope, process) else { return Ok(()) };
        take_in(scope, process)
    }

    /// Moves those that no notice told of, or that were born before their parent was moved.
    fn take_in_all(&self) -> Result<()> {
        for scope in self.scopes.iter().filter(|scope| selects_programs(scope)) {
            for process in scope.place().waiting()? {
                take_in(scope, process)?;
            }
        }
        Ok(())
    }

    /// Looks for what no notice told of.
    pub(super) fn look_around(&mut self) {
        let looked =
            if self.selection.is_behind() { self.arrange(false) } else { self.see_to_tasks() };
        let networks = self.scopes.iter_mut().try_for_each(Governed::look_for_networks);
        let pods = self.look_after_pods();
        let taken_in = self.take_in_all();
        for error in [looked, taken_in, networks, pods].into_iter().filter_map(Result::err) {
            tell!("ringfence: {error:#}");
        }
    }

    fn see_to_tasks(&self) -> Result<()> {
        self.selection.set_starters(&starters::present())?;
        if self.selection.is_asked()? { self.selection.label_tasks() } else { Ok(()) }
    }
}

fn take_in(scope: &Governed, process: Pid) -> Result<()> {
    // The number may be another process's by now, which nothing selected.
    let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { return Ok(()) };
    if !scope.place().waits(&handle)? {
        return Ok(());
    }
    let number = process.as_raw_nonzero().get().unsigned_abs();
    match cgroup::Cgroup::ensure(&scope.name)?.take_in(number) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        done => done.with_context(|| format!("moving process {number}")),
    }
}

fn selects_programs(scope: &Governed) -> bool {
    scope.rule.selectors.iter().any(|one| matches!(one.subject, Subject::Exe(_)))
}
