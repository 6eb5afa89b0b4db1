//! Decision events: from the kernel's records to JSON lines.

pub(crate) mod names;
mod order;
mod record;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    rc::Rc,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use ringfence_common::{Action, Verdict, event::Record};

use crate::{
    budgets::WallClock, clock::Clock, kernel::sequence::Sequence, names::Lookup, policies::Policy,
    reset, service::Held,
};
use order::{Next, Order};

/// Where events are written.
pub(crate) type Sink = Rc<RefCell<dyn Write>>;

/// What a decision was: action, verdict and reason.
pub(crate) type Kind = (&'static str, &'static str, &'static str);

/// Where a scope's events go, and what is remembered of them.
pub(crate) struct Audit {
    scope: String,
    /// The cgroup of a run, which may be gone when its events are told.
    cgroup: Option<(u64, String)>,
    /// The policies of the last events, by generation; the last is in force.
    policies: VecDeque<(u32, Arc<Policy>)>,
    clock: Clock,
    sink: Option<Sink>,
    /// Set when the sink failed; told once.
    sink_failed: bool,
    sequence: Sequence,
    order: Order<Told>,
    /// Records that were no events of the scope's, and have numbers.
    skipped: u64,
    /// Records that could not be read.
    unread: u64,
    /// Events that the programs before had lost.
    left: u64,
    /// Lookups that were lost before they got a number.
    unnumbered: u64,
    /// Events that an agent before had taken and not told.
    untold: u64,
    /// Decisions, by action, verdict and reason.
    pub(crate) counts: BTreeMap<Kind, u64>,
    /// Events that were lost.
    pub(crate) lost: u64,
    /// Acts refused, and acts that would have been.
    pub(crate) denied: u64,
    pub(crate) observed: u64,
    /// Distinct refusals in words, the first few.
    pub(crate) examples: Vec<String>,
}

/// An event that waits for its turn.
#[derive(Debug)]
struct Told {
    text: String,
    verdict: &'static str,
    words: Option<String>,
    kind: Kind,
}

/// Refusals that a summary names.
const EXAMPLES: usize = 5;
/// Policies that are remembered: an event was decided by one that was in force a moment ago.
const POLICIES: usize = 8;

/// Opens the place that events are appended to: `-` is the standard output.
///
/// # Errors
///
/// When the file cannot be opened.
pub(crate) fn open_sink(place: &Path) -> Result<Sink> {
    if place.as_os_str() == "-" {
        return Ok(Rc::new(RefCell::new(io::stdout())));
    }
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(place)
        .with_context(|| format!("events cannot be written to {}", place.display()))?;
    Ok(Rc::new(RefCell::new(BufWriter::new(file))))
}

impl Audit {
    /// Begins with the event after those that were told before, of which `told` were losses.
    pub(crate) fn new(
        scope: String,
        cgroup: Option<(u64, String)>,
        policy: (u32, Arc<Policy>),
        sink: Option<Sink>,
        sequence: Sequence,
        (last, told): (u64, u64),
    ) -> Self {
        Self {
            scope,
            cgroup,
            policies: VecDeque::from([policy]),
            clock: Clock::now(),
            sink,
            sink_failed: false,
            sequence,
            order: Order::after(last, told),
            skipped: 0,
            unread: 0,
            left: 0,
            unnumbered: 0,
            untold: 0,
            counts: BTreeMap::new(),
            lost: told,
            denied: 0,
            observed: 0,
            examples: vec![],
        }
    }

    /// Another policy is in force from now on.
    pub(crate) fn replace_policy(&mut self, generation: u32, policy: Arc<Policy>) {
        if self.policies.len() == POLICIES {
            self.policies.pop_front();
        }
        self.policies.push_back((generation, policy));
    }

    /// The policy of a generation, if it is known, or the one in force. A rule of one that is
    /// forgotten has no name: that of another would be wrong.
    fn policy(&self, generation: Option<u32>) -> Option<&Policy> {
        let of = |generation| self.policies.iter().rev().find(|(one, _)| *one == generation);
        let found = match generation {
            Some(generation) => of(generation),
            None => self.policies.back(),
        };
        found.map(|(_, policy)| &**policy)
    }

    /// Takes one record of the kernel.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let Some(record) = Record::parse(bytes) else {
            // The programs and this binary are of one build; counted rather than trusted.
            self.unread += 1;
            return;
        };
        let number = record.event.sequence;
        if self.cgroup.is_some() && is_launch_probe(&record) {
            self.skipped += 1;
            self.order.put(number, None);
            return;
        }
        reset::after(&record);
        let policy = self.policy(Some(record.event.generation));
        let line = record::line(&record, self, policy, number - self.skipped);
        let told = self.told(&line);
        self.order.put(number, Some(told));
    }

    /// Takes a record of the programs that were in force before those that number this scope's
    /// events now: it gets a number of theirs. `is_same` tells that the policy is.
    pub(crate) fn take_left(&mut self, bytes: &[u8], is_same: bool) {
        let number = self.sequence.next();
        let Some(record) = Record::parse(bytes) else {
            self.unread += 1;
            return;
        };
        let policy = self.policy(None).filter(|_| is_same);
        let line = record::line(&record, self, policy, number - self.skipped);
        let told = self.told(&line);
        self.order.put(number, Some(told));
    }

    /// Notes that so many events of the programs before were lost.
    pub(crate) fn lose_left(&mut self, count: u64) {
        for _ in 0..count {
            self.sequence.next();
            self.left += 1;
        }
    }

    /// Takes a decision of the resolver.
    pub(crate) fn take_lookup(&mut self, lookup: &Lookup) {
        let number = self.sequence.next();
        let line = record::line_of_lookup(lookup, self, number - self.skipped);
        let told = self.told(&line);
        self.order.put(number, Some(told));
    }

    /// Takes that so many milliseconds of the scope's time are over.
    pub(crate) fn take_time(&mut self, clock: WallClock, used: u64) {
        let number = self.sequence.next();
        let line = record::line_of_time(clock, used, self, number - self.skipped);
        let told = self.told(&line);
        self.order.put(number, Some(told));
    }

    /// Tells of something that a process had open when it came under the scope.
    pub(crate) fn take_held(&mut self, process: u32, held: &Held) {
        let number = self.sequence.next();
        let line = record::line_of_held(process, held, self, number - self.skipped);
        let told = self.told(&line);
        self.order.put(number, Some(told));
    }

    fn told(&self, line: &record::Line<'_>) -> Told {
        // A refusal in words, while there is room for one.
        let is_wanted = line.verdict == Verdict::Deny.name() && self.examples.len() < EXAMPLES;
        Told {
            text: line.text(),
            verdict: line.verdict,
            words: is_wanted.then(|| line.in_words()),
            kind: (line.action, line.verdict, line.reason),
        }
    }

    /// Tells what is complete. `lost` is how many events the kernel had no room for so far, and
    /// `lookups` how many lookups there was none for.
    pub(crate) fn settle(&mut self, lost: u64, lookups: u64) {
        let (lost, last) = self.account(lost, lookups);
        let mut next = Vec::new();
        self.order.take(lost, last, |one| next.push(one));
        self.tell(next);
    }

    /// Tells everything that there was: what has not come is lost.
    pub(crate) fn finish(&mut self, lost: u64, lookups: u64) {
        let (_, last) = self.account(lost, lookups);
        let mut next = Vec::new();
        self.order.take_all(last, |one| next.push(one));
        self.tell(next);
    }

    /// The last number that was given out, and how many events were lost, read before it.
    pub(crate) fn extent(&self, lost: u64) -> (u64, u64) {
        (self.sequence.last(), lost)
    }

    /// Tells everything up to a number that was given out before an agent was killed, when `lost`
    /// events had found no room: what has not come by now is lost.
    pub(crate) fn catch_up(&mut self, (last, lost): (u64, u64)) {
        let mut next = Vec::new();
        self.untold += self.order.catch_up(last, lost, |one| next.push(one));
        self.tell(next);
    }

    /// How many events were lost, and the last number, in this order.
    fn account(&mut self, lost: u64, lookups: u64) -> (u64, u64) {
        while self.unnumbered < lookups {
            self.unnumbered += 1;
            self.sequence.next();
        }
        (lost + self.unread + self.left + self.unnumbered, self.sequence.last())
    }

    /// Events that were lost so far, by cause. `lost` and `lookups` are as for [`Self::settle`].
    pub(crate) const fn losses(&self, lost: u64, lookups: u64) -> [(&'static str, u64); 4] {
        [
            ("ring_full", lost),
            ("resolver_full", lookups),
            ("unreadable", self.unread),
            ("agent_ended", self.untold + self.left),
        ]
    }

    /// The last event that was told, and how many of all were losses.
    pub(crate) const fn position(&self) -> (u64, u64) {
        self.order.position()
    }

    fn tell(&mut self, next: Vec<Next<Told>>) {
        for one in next {
            match one {
                Next::Event(_, Told { text, verdict, words, kind }) => {
                    self.count(verdict, words, kind);
                    self.write(&text);
                }
                Next::Lost(first, count) => {
                    self.lost += count;
                    let first = first.saturating_sub(self.skipped);
                    let line = serde_json::json!({
                        "ts": self.clock.wall_now(), "seq": first, "scope": self.scope,
                        "lost": {
                            "count": count, "cause": "ring_full",
                            "first_seq": first, "last_seq": first + count - 1,
                        },
                    });
                    self.write(&line.to_string());
                }
            }
        }
    }

    fn count(&mut self, verdict: &str, words: Option<String>, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
        if verdict == Verdict::Deny.name() {
            self.denied += 1;
        } else if verdict == Verdict::Observe.name() {
            self.observed += 1;
        }
        if let Some(words) = words
            && self.examples.len() < EXAMPLES
            && !self.examples.contains(&words)
        {
            self.examples.push(words);
        }
    }

    fn write(&mut self, line: &str) {
        let Some(sink) = &self.sink else { return };
        let written = writeln!(sink.borrow_mut(), "{line}");
        self.note_failure(written);
    }

    /// Hands what is buffered to the system.
    pub(crate) fn flush(&mut self) {
        let Some(sink) = &self.sink else { return };
        let flushed = sink.borrow_mut().flush();
        self.note_failure(flushed);
    }

    fn note_failure(&mut self, done: io::Result<()>) {
        if let Err(error) = done
            && !self.sink_failed
        {
            self.sink_failed = true;
            tell!("ringfence: events can no longer be written: {error}; enforcement goes on");
        }
    }
}

/// The new process tries the `bpf` system call before the command is executed, to see whether it
/// is governed: no act of the command's. Older kernels ask for the capability first.
fn is_launch_probe(record: &Record<'_>) -> bool {
    let event = record.event;
    let is_bpf = event.action == Action::Bpf as u8
        || (event.action == Action::Capability as u8
            && matches!(event.destination.detail, CAP_SYS_ADMIN | CAP_BPF));
    is_bpf && event.exe_length == 0
}

const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;
