//! The network namespaces in which processes of a scope are, as those of containers: in each the
//! scope's resolver has sockets of its own, for as long as a process of the scope is in it.
//!
//! Until it has, questions from there are refused, and they never go to a name server by
//! themselves.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use super::Governed;
use crate::{
    cgroup,
    names::{Network, Serving, Sockets},
};

/// Network namespaces other than the agent's.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// Those that processes are in.
    present: BTreeMap<Network, State>,
    /// Folders of the control groups: to find one by its identifier takes a look at all mounts.
    folders: BTreeMap<u64, PathBuf>,
}

/// How far the resolver is in a network namespace.
#[derive(Debug)]
enum State {
    /// It has sockets, in the namespace with this cookie.
    Open { cookie: u64, _serving: Serving },
    /// They could not be bound yet, which was told.
    Closed,
}

impl Governed {
    /// Goes into the network namespace of a process that has just been started.
    pub(in super::super) fn go_with(&mut self, process: u32) {
        if let Some(network) = Network::of(process) {
            self.go_into(network, process);
        }
    }

    /// Goes into every network namespace that has processes of the scope, and leaves those that
    /// have none any more: what holds a socket in one keeps it from going away.
    ///
    /// # Errors
    ///
    /// When the control groups cannot be told.
    pub(in super::super) fn look_for_networks(&mut self) -> Result<()> {
        if self.told.resolver.borrow().is_none() {
            return Ok(());
        }
        let groups = self.programs.borrow().groups()?;
        let Networks { present: known, folders } = &mut self.networks;
        folders.retain(|id, _| groups.binary_search_by_key(id, |(group, _)| *group).is_ok());
        let mut present = BTreeMap::new();
        for (id, _) in groups {
            let folder = match folders.entry(id) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => match cgroup::folder_by_id(id) {
                    Ok(folder) => entry.insert(folder),
                    // One that is gone has nothing in it.
                    Err(error) if cgroup::is_gone(&error) => continue,
                    Err(error) => return Err(error),
                },
            };
            for process in cgroup::processes(folder) {
                if let Some(network) = Network::of(process) {
                    present.entry(network).or_insert(process);
                }
            }
        }
        let left = known.extract_if(.., |network, _| !present.contains_key(network));
        for (_, state) in left {
            if let State::Open { cookie, _serving } = state {
                // First, so that nothing is led to where nobody listens.
                self.programs.borrow().lead_no_more(cookie)?;
            }
        }
        for (network, process) in present {
            self.go_into(network, process);
        }
        Ok(())
    }

    fn go_into(&mut self, network: Network, process: u32) {
        if matches!(self.networks.present.get(&network), Some(State::Open { .. })) {
            return;
        }
        match self.open_in(network, process) {
            Ok(None) => {}
            Ok(Some(state)) => drop(self.networks.present.insert(network, state)),
            Err(error) => {
                // It is tried again with every look; loopback may not be up yet.
                if let Entry::Vacant(entry) = self.networks.present.entry(network) {
                    entry.insert(State::Closed);
                    tell!(
                        "ringfence: scope `{}`: names cannot be looked up yet in the network of \
                         process {process}: {error:#}",
                        self.name
                    );
                }
            }
        }
    }

    /// `None` where there is nothing to be opened.
    fn open_in(&self, network: Network, process: u32) -> Result<Option<State>> {
        let resolver = self.told.resolver.borrow();
        let Some(resolver) = &*resolver else { return Ok(None) };
        if network == Network::own().context("the agent's own network")? {
            return Ok(None);
        }
        let sockets = Sockets::bind_in(network, process)?;
        let ports = sockets.ports();
        // What is asked before they are served waits.
        self.programs.borrow().lead_to(ports)?;
        let _serving = resolver.serve(sockets);
        Ok(Some(State::Open { cookie: ports.network, _serving }))
    }
}
