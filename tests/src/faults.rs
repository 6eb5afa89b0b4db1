//! What may befall the long-running agent: it is killed, its policy replaced, its programs
//! replaced, its ring full, its memory gone. Meanwhile processes in governed control groups try
//! what is forbidden, and none of it may ever succeed; and of their events every number is told
//! once.
//!
//! `cargo xtask test --full` has everything tried as often as is promised.

mod births;
mod flood;
mod kills;
mod log;
mod pins;
mod reloads;
mod stage;
mod table;
mod tally;
mod upgrades;
mod worker;

use crate::harness::{FULL, Test};

pub(crate) use table::Full;
pub(crate) use worker::main as worker;

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("kill -9 of the agent at any moment lets nothing through, and no event is told twice", |c| {
        kills::at_any_moment(c)
    }),
    ("an agent that the system kills for want of memory leaves everything in force", |c| {
        kills::out_of_memory(c)
    }),
    ("a reload under load never mixes two policies", |c| reloads::under_load(c)),
    ("a control group that is made while the agent looks at all is governed at once", |c| {
        births::meanwhile(c)
    }),
    ("an agent that stands still loses events, and tells exactly how many", |c| {
        flood::standing_still(c)
    }),
    ("a control group for which the table has no room is governed all the same", |c| {
        table::without_room(c)
    }),
    ("no governed process removes what is pinned, and no other mount of it does", |c| {
        pins::are_kept(c)
    }),
    ("an agent with other programs takes over without a moment between", |c| {
        upgrades::under_load(c)
    }),
];

/// How often something is tried: so often as is promised, or so often as there is time for.
pub(crate) fn times(full: u32, short: u32) -> u32 {
    if std::env::var_os(FULL).is_some() { full } else { short }
}

/// Numbers without a pattern: moments to do something at.
struct Moments(u64);

impl Moments {
    /// Others each time; the first is to be noted.
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(now.map_or(1, |now| now.as_nanos() as u64) | 1)
    }

    /// A number below another.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
