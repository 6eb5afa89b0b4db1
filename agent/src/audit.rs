//! Decision events: from the kernel's records to JSON lines.

pub(crate) mod names;
mod record;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use ringfence_common::{Action, Verdict, event::Record};

use crate::{clock::Clock, names::Lookup, policies::Policy, reset};

/// Where a run's events go, and what is remembered of them.
pub(crate) struct Audit {
    scope: String,
    cgroup: (u64, String),
    policy: &'static Policy,
    clock: Clock,
    sink: Option<Box<dyn Write>>,
    /// Set when the sink failed; told once.
    sink_failed: bool,
    sequence: u64,
    lost: u64,
    /// Acts refused, and acts that would have been.
    pub(crate) denied: u64,
    pub(crate) observed: u64,
    /// Distinct refusals in words, the first few.
    pub(crate) examples: Vec<String>,
}

/// Refusals that a summary names.
const EXAMPLES: usize = 5;

/// Opens the place that events are appended to: `-` is the standard output.
///
/// # Errors
///
/// When the file cannot be opened.
pub(crate) fn open_sink(place: &Path) -> Result<Box<dyn Write>> {
    if place.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(place)
        .with_context(|| format!("events cannot be written to {}", place.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

impl Audit {
    pub(crate) fn new(
        scope: String,
        cgroup: (u64, String),
        policy: &'static Policy,
        sink: Option<Box<dyn Write>>,
    ) -> Self {
        Self {
            scope,
            cgroup,
            policy,
            clock: Clock::now(),
            sink,
            sink_failed: false,
            sequence: 0,
            lost: 0,
            denied: 0,
            observed: 0,
            examples: vec![],
        }
    }

    /// Takes one record of the kernel.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let Some(record) = Record::parse(bytes) else {
            // The programs and this binary are of one build; counted rather than trusted.
            self.lost += 1;
            return;
        };
        if is_launch_probe(&record) {
            return;
        }
        reset::after(&record);
        self.sequence += 1;
        let line = record::line(&record, self);
        let (text, verdict, words) = (line.text(), line.verdict, self.example(&line));
        self.tell(&text, verdict, words);
    }

    /// Takes a decision of the resolver.
    pub(crate) fn take_lookup(&mut self, lookup: &Lookup) {
        self.sequence += 1;
        let line = record::line_of_lookup(lookup, self);
        let (text, verdict, words) = (line.text(), line.verdict, self.example(&line));
        self.tell(&text, verdict, words);
    }

    /// A refusal in words, while there is room for one.
    fn example(&self, line: &record::Line<'_>) -> Option<String> {
        let is_wanted = line.verdict == Verdict::Deny.name() && self.examples.len() < EXAMPLES;
        is_wanted.then(|| line.in_words())
    }

    fn tell(&mut self, text: &str, verdict: &str, words: Option<String>) {
        if verdict == Verdict::Deny.name() {
            self.denied += 1;
        } else if verdict == Verdict::Observe.name() {
            self.observed += 1;
        }
        if let Some(words) = words
            && !self.examples.contains(&words)
        {
            self.examples.push(words);
        }
        self.write(text);
    }

    /// Tells of events that the kernel had no room for: `total` since the start.
    pub(crate) fn account_lost(&mut self, total: u64) {
        let new = total.saturating_sub(self.lost);
        if new == 0 {
            return;
        }
        self.lost = total;
        let first = self.sequence + 1;
        self.sequence += new;
        let line = serde_json::json!({
            "ts": self.clock.wall_now(), "seq": first, "scope": self.scope,
            "lost": { "count": new, "cause": "ring_full", "first_seq": first, "last_seq": self.sequence },
        });
        self.write(&line.to_string());
    }

    fn write(&mut self, line: &str) {
        let Some(sink) = &mut self.sink else { return };
        if let Err(error) = writeln!(sink, "{line}")
            && !self.sink_failed
        {
            self.sink_failed = true;
            tell!("ringfence: events can no longer be written: {error}; enforcement goes on");
        }
    }

    /// Hands what is buffered to the system.
    pub(crate) fn flush(&mut self) {
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.flush()
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
