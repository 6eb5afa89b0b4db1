//! One scope of the agent: its place in the kernel, and the task that tells of its decisions.

mod networks;
mod view;

use std::{cell::RefCell, collections::HashSet, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use prometheus::Histogram;
use ringfence_common::{
    content::{Key, Pin},
    scope::Told,
};
use ringfence_policy::configuration::{self, UnlistedNames};
use tokio::{
    sync::Notify,
    task::{AbortHandle, spawn_local},
};

use super::held;
use crate::{
    audit::{Audit, Kind, Sink},
    contents::{self, Mismatch},
    kernel::{
        programs::{Group, Loaded, Programs},
        ring::Ring,
        set::Set,
    },
    names::{self, Counts, Lookup, Ports, Rules, Service as Resolver, Sockets},
    policies::{self, Policy, Terms},
};

use networks::Networks;
pub(super) use view::View;

/// Helpings of events that are more than a ring has room for.
const HELPINGS: usize = 64;
/// How long events may be under way that were numbered before an agent was killed.
const SETTLING: Duration = Duration::from_millis(100);

/// What is ready to be put in force for a scope.
pub(super) struct Prepared {
    /// What the configuration says of it.
    pub(super) rule: configuration::Scope,
    policy: Arc<Policy>,
    contents: Vec<(Key, Pin)>,
}

impl Prepared {
    /// Reads and compiles what a scope is governed by. Findings are told.
    ///
    /// # Errors
    ///
    /// When it cannot be put in force.
    pub(super) fn read(
        rule: &configuration::Scope,
        protected: &[PathBuf],
        lacking: &[String],
        tell: &mut dyn FnMut(String),
    ) -> Result<Self> {
        let of = || format!("scope `{}`", rule.name);
        let terms = Terms { allow_degraded: rule.allow_degraded, lacking };
        let policy = policies::load(&rule.policies, rule.mode, terms, Some(protected), tell);
        let policy = policy.with_context(of)?;
        let contents = contents::measure(&policy.tables, Mismatch::Left, tell).with_context(of)?;
        Ok(Self { rule: rule.clone(), policy: Arc::new(policy), contents })
    }

    /// Bytes of the policy image.
    pub(super) fn image_bytes(&self) -> usize {
        self.policy.tables.image.len()
    }

    /// The files that it was read from.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.rule.policies.iter()
    }
}

/// What an agent before has left of a scope, and how far it has told of its events.
pub(super) enum Left<'a> {
    /// Nothing.
    Nothing,
    /// Its place in this set.
    Here(Box<Programs>, Told),
    /// Its place in another set, which stays in force until this one is.
    Elsewhere(&'a Programs, Told),
}

/// A scope in force.
pub(super) struct Governed {
    /// Its name.
    pub(super) name: String,
    /// What the configuration says of it.
    pub(super) rule: configuration::Scope,
    policy: Arc<Policy>,
    contents: Vec<(Key, Pin)>,
    generation: u32,
    programs: Rc<RefCell<Programs>>,
    told: Rc<Teller>,
    ports: Ports,
    /// Where else it has processes.
    networks: Networks,
    /// Control groups that it had in the set of an agent before.
    before: HashSet<u64>,
    /// Seconds that questions to resolvers took.
    durations: Histogram,
    task: AbortHandle,
}

/// What tells of a scope's decisions.
struct Teller {
    audit: RefCell<Audit>,
    resolver: RefCell<Option<Resolver>>,
    /// There is a resolver that there was not before.
    changed: Notify,
    programs: Rc<RefCell<Programs>>,
}

impl Governed {
    /// Puts a scope in force, that of an agent before where it left one.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: of a new scope nothing is left then, and of one before everything.
    pub(super) fn begin(
        set: &Set,
        prepared: Prepared,
        left: Left<'_>,
        sink: Option<Sink>,
        durations: Histogram,
    ) -> Result<Self> {
        let Prepared { rule, policy, contents } = prepared;
        let is_adopted = matches!(left, Left::Here(..));
        let before = match &left {
            Left::Elsewhere(before, _) => before.groups()?.into_iter().map(|(id, _)| id).collect(),
            _ => HashSet::new(),
        };
        let sockets = names::is_needed(&policy.tables).then(Sockets::bind).transpose()?;
        let ports = sockets.as_ref().map_or_else(Ports::default, Sockets::ports);
        let loaded = loaded(&policy, &contents, ports);
        let (programs, channels, generation) = match left {
            Left::Here(mut programs, told) => {
                programs.set_told((told.last, told.lost));
                let generation = programs.take_over(loaded)?;
                let channels = programs.channels()?;
                (*programs, channels, generation)
            }
            Left::Nothing => {
                let (programs, channels) = Programs::settle(set.clone(), &rule.name, loaded, 0)?;
                (programs, channels, 0)
            }
            Left::Elsewhere(before, told) => {
                let (mut programs, channels) =
                    Programs::settle(set.clone(), &rule.name, loaded, told.last)?;
                programs.open_as_before(before, loaded)?;
                (programs, channels, 0)
            }
        };
        let told = programs.told()?;
        let audit = Audit::new(
            rule.name.clone(),
            None,
            (generation, Arc::clone(&policy)),
            sink,
            channels.sequence,
            (told.last, told.lost),
        );
        let resolver = sockets
            .map(|sockets| {
                let rules = Arc::new(Rules::new(Arc::clone(&policy), generation));
                let as_nonexistent = rule.unlisted_names == UnlistedNames::Nxdomain;
                let counts = Counts::new(Some(durations.clone()));
                Resolver::start(sockets, channels.names, rules, as_nonexistent, counts)
            })
            .transpose()?;
        let programs = Rc::new(RefCell::new(programs));
        let told = Rc::new(Teller {
            audit: RefCell::new(audit),
            resolver: RefCell::new(resolver),
            changed: Notify::new(),
            programs: Rc::clone(&programs),
        });
        let ring = Ring::new(channels.events)?;
        let task = spawn_local(Rc::clone(&told).run(ring, is_adopted)).abort_handle();
        let name = rule.name.clone();
        Ok(Self {
            name,
            rule,
            policy,
            contents,
            generation,
            programs,
            told,
            ports,
            networks: Networks::default(),
            before,
            durations,
            task,
        })
    }

    /// The scope's number in its set.
    pub(super) fn number(&self) -> u32 {
        self.programs.borrow().number()
    }

    /// Decisions that were told so far, by action, verdict and reason.
    pub(super) fn decisions(&self) -> Vec<(Kind, u64)> {
        self.told.audit.borrow().counts.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Brings a control group under the scope.
    ///
    /// # Errors
    ///
    /// When the programs cannot be attached to it: its processes may not use the network then.
    pub(super) fn admit(&self, group: Group<'_>) -> Result<()> {
        self.programs.borrow().admit(group, loaded(&self.policy, &self.contents, self.ports))
    }

    /// Whether the scope had a control group in the set of an agent before: what is open there was
    /// opened under it.
    pub(super) fn had(&self, id: u64) -> bool {
        self.before.contains(&id)
    }

    /// Tells what processes had open when they came under the scope, and ends connections that the
    /// policy refuses.
    pub(super) fn look_through(&self, processes: &[u32]) {
        let image = &self.policy.tables.image;
        for process in processes {
            match held::look_through(*process, image) {
                Ok(all) => {
                    let mut audit = self.told.audit.borrow_mut();
                    all.iter().for_each(|held| audit.take_held(*process, held));
                }
                Err(error) => tell!("ringfence: process {process}: {error:#}"),
            }
        }
        self.told.settle();
    }

    /// Detaches what was attached to a control group, which is gone or another scope's.
    pub(super) fn dismiss(&self, id: u64) -> Result<()> {
        self.programs.borrow().dismiss(id)
    }

    /// Puts another policy in force, from one act to the next. True when it is another.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: the policy before is in force still.
    pub(super) fn replace(&mut self, prepared: Prepared) -> Result<bool> {
        let Prepared { rule, policy, contents } = prepared;
        let is_same = policy.sha256 == self.policy.sha256 && contents == self.contents;
        self.rule = rule;
        if let Some(resolver) = &*self.told.resolver.borrow() {
            resolver.set_refusal(self.rule.unlisted_names == UnlistedNames::Nxdomain);
        }
        if is_same {
            return Ok(false);
        }
        let next = self.generation.wrapping_add(1);
        let rules = Arc::new(Rules::new(Arc::clone(&policy), next));
        if self.told.resolver.borrow().is_none() && names::is_needed(&policy.tables) {
            self.start_resolver()?;
        }
        if let Some(resolver) = &*self.told.resolver.borrow() {
            resolver.prepare(&rules);
        }
        // Known before it decides: events of both may come in any order.
        self.told.audit.borrow_mut().replace_policy(next, Arc::clone(&policy));
        let replaced = self.programs.borrow_mut().replace(
            loaded(&policy, &contents, self.ports),
            &self.policy.tables.image,
            next,
        );
        if let Err(error) = replaced {
            if let Some(resolver) = &*self.told.resolver.borrow() {
                resolver.abandon();
            }
            return Err(error);
        }
        (self.policy, self.contents, self.generation) = (policy, contents, next);
        if let Some(resolver) = &*self.told.resolver.borrow()
            && let Err(error) = resolver.commit(rules)
        {
            tell!("ringfence: scope `{}`: {error:#}", self.name);
        }
        Ok(true)
    }

    /// Starts the resolver of a scope whose policy before had no use for one.
    fn start_resolver(&mut self) -> Result<()> {
        let sockets = Sockets::bind()?;
        self.ports = sockets.ports();
        let channels = self.programs.borrow().channels()?;
        let rules = Arc::new(Rules::new(Arc::clone(&self.policy), self.generation));
        let as_nonexistent = self.rule.unlisted_names == UnlistedNames::Nxdomain;
        let counts = Counts::new(Some(self.durations.clone()));
        let resolver = Resolver::start(sockets, channels.names, rules, as_nonexistent, counts)?;
        *self.told.resolver.borrow_mut() = Some(resolver);
        self.told.changed.notify_one();
        Ok(())
    }

    /// The scope's place in its set.
    pub(super) fn place(&self) -> std::cell::Ref<'_, Programs> {
        self.programs.borrow()
    }

    /// Ends the place that the scope had in another set, and tells of the events there from `last`
    /// on, with numbers of this one.
    ///
    /// # Errors
    ///
    /// When something cannot be removed: then it is in force still, and so is this one.
    pub(super) fn succeed(&self, before: &mut Programs, last: u64) -> Result<()> {
        let is_same = before.has_image(loaded(&self.policy, &self.contents, self.ports))?;
        let audit = &self.told.audit;
        let mut taken = 0;
        let lost = before.hand_over(last, |record| {
            taken += 1;
            audit.borrow_mut().take_left(record, is_same);
        })?;
        self.programs.borrow_mut().spend_as_before(before)?;
        audit.borrow_mut().lose_left(lost);
        self.told.settle();
        before.set_told((last + taken + lost, 0));
        before.vacate()
    }

    /// Tells what is there, and leaves the scope in force without an agent.
    pub(super) fn leave(&self) {
        self.told.settle();
    }

    /// Takes the scope out of force; no task has its label any more.
    ///
    /// # Errors
    ///
    /// When a map or a pin cannot be changed.
    pub(super) fn end(self) -> Result<()> {
        self.task.abort();
        // Its thread ends before the number is another's.
        drop(self.told.resolver.borrow_mut().take());
        self.told.audit.borrow_mut().finish(self.programs.borrow().lost(), 0);
        self.told.audit.borrow_mut().flush();
        self.programs.borrow_mut().vacate()
    }
}

fn loaded<'a>(policy: &'a Policy, contents: &'a [(Key, Pin)], resolver: Ports) -> Loaded<'a> {
    Loaded { image: &policy.tables.image, contents, resolver, about: policy.about }
}

impl Teller {
    /// Tells of decisions as they come, without end.
    async fn run(self: Rc<Self>, mut ring: Ring, is_adopted: bool) {
        if is_adopted {
            self.catch_up(&mut ring).await;
        }
        loop {
            let lookup = tokio::select! {
                biased;
                taken = ring.wait(|record| self.audit.borrow_mut().take(record)) => {
                    if let Err(error) = taken {
                        tell!("ringfence: events can no longer be read: {error}");
                        return;
                    }
                    None
                }
                lookup = self.lookup() => Some(lookup),
                () = self.changed.notified() => None,
            };
            if let Some(lookup) = lookup {
                self.audit.borrow_mut().take_lookup(&lookup);
            }
            self.settle();
        }
    }

    /// Takes what an agent before has left, and tells what of it is missing.
    async fn catch_up(&self, ring: &mut Ring) {
        let extent = self.audit.borrow().extent(self.programs.borrow().lost());
        // Before anything is taken: what is taken and not told is lost if this agent is killed too.
        tokio::time::sleep(SETTLING).await;
        for _ in 0..HELPINGS {
            if !ring.take(|record| self.audit.borrow_mut().take(record)) {
                break;
            }
        }
        self.audit.borrow_mut().catch_up(extent);
        self.settle();
    }

    /// The next lookup to tell of.
    async fn lookup(&self) -> Lookup {
        std::future::poll_fn(|context| match &mut *self.resolver.borrow_mut() {
            Some(resolver) => match resolver.poll_next(context) {
                std::task::Poll::Ready(Some(lookup)) => std::task::Poll::Ready(lookup),
                _ => std::task::Poll::Pending,
            },
            None => std::task::Poll::Pending,
        })
        .await
    }

    fn settle(&self) {
        let lost = self.programs.borrow().lost();
        let lookups = self.resolver.borrow().as_ref().map_or(0, Resolver::lost);
        let mut audit = self.audit.borrow_mut();
        audit.settle(lost, lookups);
        audit.flush();
        self.programs.borrow().set_told(audit.position());
    }
}
