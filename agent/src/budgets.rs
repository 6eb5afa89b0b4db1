//! What scopes may use up: what the kernel programs are told of it, and what they have counted.

use std::{io, mem::offset_of, sync::atomic::Ordering, time::Duration};

use anyhow::{Context as _, Result};
use ringfence_common::{
    Verdict,
    budget::{self, FileKey, KINDS, Kind, Limits, Used},
    scope::MAX_SCOPES,
};
use serde::Serialize;
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::{
    clock::since_boot,
    kernel::{maps::Maps, shared::Shared, sys},
};

/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// A budget, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Budget {
    /// Of what.
    pub(crate) budget: &'static str,
    /// How much is used; of the clock, milliseconds.
    pub(crate) used: u64,
    /// How much there is.
    pub(crate) limit: u64,
    /// The one by the other.
    pub(crate) used_ratio: f64,
}

/// Whether a policy has a budget of a kind.
pub(crate) fn has(image: &[u8], kind: Kind) -> bool {
    budget::limit(image, kind).is_some()
}

/// The budget of time of a scope in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallClock {
    /// When it came into force: nanoseconds on `CLOCK_BOOTTIME`.
    since: u64,
    /// Milliseconds.
    pub(crate) limit: u64,
    /// The rule that sets it.
    pub(crate) rule: u32,
    /// Whether the scope ends with it.
    pub(crate) is_enforced: bool,
}

impl WallClock {
    /// When that many milliseconds are over: nanoseconds on `CLOCK_BOOTTIME`.
    const fn at(&self, milliseconds: u64) -> u64 {
        self.since.saturating_add(milliseconds.saturating_mul(MILLISECOND))
    }

    /// Milliseconds that are used when 80 % are.
    pub(crate) const fn most(&self) -> u64 {
        self.limit - self.limit / 5
    }

    /// Waits until that many milliseconds are over.
    pub(crate) async fn wait(&self, milliseconds: u64) {
        // The runtime's clock stands still while the machine sleeps.
        const AT_ONCE: Duration = Duration::from_secs(60);
        let end = self.at(milliseconds);
        loop {
            let left = end.saturating_sub(since_boot());
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_nanos(left).min(AT_ONCE)).await;
        }
    }
}

/// The budget of time that a policy has, for a scope that comes into force now.
pub(crate) fn wall_clock(image: &[u8], since: u64) -> Option<WallClock> {
    let limit = budget::limit(image, Kind::WallClock)?;
    let is_enforced = limit.refusal.verdict() == Verdict::Deny;
    Some(WallClock { since, limit: limit.amount, rule: limit.refusal.rule(), is_enforced })
}

/// What the kernel programs are told of a policy's budgets.
fn limits(image: &[u8], since: u64) -> Limits {
    let mut limits = Limits { on: budget::kinds(image), output_since: 1, ..Limits::new_zeroed() };
    for (kind, amount) in Kind::ALL.into_iter().zip(&mut limits.amounts) {
        *amount = budget::limit(image, kind).map_or(0, |limit| limit.amount);
    }
    if let Some(clock) = wall_clock(image, since).filter(|clock| clock.is_enforced) {
        limits.deadline = clock.at(clock.limit);
        limits.deadline_rule = clock.rule;
    }
    limits
}

/// Tells the kernel programs of the budgets of a scope that comes into force.
///
/// # Errors
///
/// The system call's.
pub(crate) fn set(maps: &Maps, number: u32, image: &[u8], since: u64) -> io::Result<()> {
    put(maps, number, &limits(image, since))
}

fn put(maps: &Maps, number: u32, limits: &Limits) -> io::Result<()> {
    sys::set(maps.limits.fd(), &number.to_ne_bytes(), limits.as_bytes())
}

/// Makes ready for another policy of a scope, and yields what was told of the one before. Budgets
/// that the scope had go on; those that are new to it begin at zero, once the policy's image is in
/// force.
///
/// # Errors
///
/// The system call's.
pub(crate) fn prepare(
    maps: &mut Maps,
    number: u32,
    image: &[u8],
    generation: u32,
) -> Result<Limits> {
    let (before, _) = get(maps, number).context("the map of budgets")?;
    let new = budget::kinds(image) & !before.on;
    let counters = Counters::open(maps, number)?;
    for kind in Kind::ALL.into_iter().filter(|kind| new & kind.bit() != 0) {
        counters.tell_anew(kind);
        // Tasks that still have a place give it back.
        if kind != Kind::Processes {
            counters.number(offset_of!(Used, amounts), kind, 0);
        }
    }
    if new & Kind::FilesTouched.bit() != 0 {
        forget_files(maps, number)?;
    }
    // From here on no verdict is remembered that would keep a file from being counted.
    let mut meanwhile = Limits { on: before.on | new, ..before };
    if new & Kind::OutputBytes.bit() != 0 {
        meanwhile.output_since = u64::from(generation) + 1;
    }
    put(maps, number, &meanwhile)?;
    Ok(before)
}

/// Tells the kernel programs of the budgets of the policy that is now in force; `before` is what
/// [`prepare`] yielded.
///
/// # Errors
///
/// The system call's.
pub(crate) fn commit(maps: &mut Maps, number: u32, image: &[u8], before: &Limits) -> Result<()> {
    let (meanwhile, _) = get(maps, number).context("the map of budgets")?;
    let now = Limits { output_since: meanwhile.output_since, ..limits(image, 0) };
    put(maps, number, &now)?;
    let counters = Counters::open(maps, number)?;
    for ((kind, now), before) in Kind::ALL.into_iter().zip(now.amounts).zip(before.amounts) {
        if now != before {
            counters.tell_anew(kind);
        }
    }
    if before.on & !now.on & Kind::FilesTouched.bit() != 0 {
        forget_files(maps, number)?;
    }
    Ok(())
}

/// Takes back what [`prepare`] did for a policy that the kernel then refused.
pub(crate) fn abandon(maps: &Maps, number: u32, before: &Limits) {
    // What stays on without a limit costs time, and counts nothing.
    let _ = put(maps, number, before);
}

/// Forgets which files a scope has opened.
///
/// # Errors
///
/// The system call's.
pub(crate) fn forget_files(maps: &mut Maps, number: u32) -> Result<()> {
    let touched: Vec<_> = maps.touched.keys().filter_map(Result::ok).collect();
    for key in touched {
        if FileKey::read_from_bytes(&key).is_ok_and(|key| key.scope == number) {
            maps.touched.remove(&key)?;
        }
    }
    Ok(())
}

/// Adds what a scope has used in its place in another set, where nothing is counted for it any
/// more. Its processes are counted by their labels.
///
/// # Errors
///
/// When the maps cannot be read, or there is no room for the files that it has opened.
pub(crate) fn add_before(maps: &mut Maps, number: u32, before: (&Maps, u32)) -> Result<()> {
    let (limits, _) = get(maps, number).context("the map of budgets")?;
    let (limits_before, used) = get(before.0, before.1).context("the map of budgets before")?;
    let both = limits.on & limits_before.on;
    let counters = Counters::open(maps, number)?;
    for (kind, amount) in Kind::ALL.into_iter().zip(used.amounts) {
        if both & kind.bit() != 0
            && matches!(kind, Kind::OutputBytes | Kind::Connections | Kind::SentBytes)
        {
            counters.add(kind, amount);
        }
    }
    if both & Kind::FilesTouched.bit() != 0 {
        let files: Vec<_> = before.0.touched.keys().filter_map(Result::ok).collect();
        for bytes in files {
            let Ok(file) = FileKey::read_from_bytes(&bytes) else { continue };
            let key = FileKey { scope: number, ..file };
            let key: [u8; size_of::<FileKey>()] = zerocopy::transmute!(key);
            // One that was opened since has been counted.
            if file.scope == before.1 && maps.touched.get(&key, 0).is_err() {
                maps.touched.insert(key, 0, 0).context("the map of opened files")?;
                counters.add(Kind::FilesTouched, 1);
            }
        }
    }
    Ok(())
}

/// What a scope has used, where the kernel programs go on counting.
struct Counters {
    all: Shared,
    offset: usize,
}

impl Counters {
    fn open(maps: &Maps, number: u32) -> Result<Self> {
        anyhow::ensure!(number < MAX_SCOPES, "there is no such scope");
        let all = Shared::open(maps.budgets.fd(), MAX_SCOPES as usize * size_of::<Used>())?;
        Ok(Self { all, offset: number as usize * size_of::<Used>() })
    }

    /// Has it told again when most of a budget is used, and when all is.
    fn tell_anew(&self, kind: Kind) {
        self.number(offset_of!(Used, told_most), kind, 0);
        self.number(offset_of!(Used, told_all), kind, 0);
    }

    /// Adds to what is used.
    fn add(&self, kind: Kind, amount: u64) {
        let at = self.offset + offset_of!(Used, amounts) + kind as usize * size_of::<u64>();
        self.all.long(at).fetch_add(amount, Ordering::AcqRel);
    }

    /// Sets one number of those at an offset.
    fn number(&self, offset: usize, kind: Kind, value: u64) {
        const { assert!(size_of::<Used>() == 3 * KINDS * size_of::<u64>()) };
        let at = self.offset + offset + kind as usize * size_of::<u64>();
        self.all.long(at).store(value, Ordering::Release);
    }
}

/// Forgets what is known of a scope's budgets.
///
/// # Errors
///
/// The system call's.
pub(crate) fn clear(maps: &Maps, number: u32) -> io::Result<()> {
    let key = number.to_ne_bytes();
    sys::set(maps.limits.fd(), &key, Limits::new_zeroed().as_bytes())?;
    sys::set(maps.budgets.fd(), &key, Used::new_zeroed().as_bytes())
}

/// What the kernel programs know of a scope's budgets, and have counted.
pub(crate) fn get(maps: &Maps, number: u32) -> Option<(Limits, Used)> {
    let key = number.to_ne_bytes();
    let (mut limits, mut used) = (Limits::new_zeroed(), Used::new_zeroed());
    sys::get(maps.limits.fd(), &key, limits.as_mut_bytes()).ok()?;
    sys::get(maps.budgets.fd(), &key, used.as_mut_bytes()).ok()?;
    Some((limits, used))
}

/// The budgets of a scope, for people; `age` is since when it is in force, in nanoseconds.
pub(crate) fn listed(limits: &Limits, used: &Used, age: u64) -> Vec<Budget> {
    let all = Kind::ALL.into_iter().zip(limits.amounts).zip(used.amounts);
    let of_scope = all.filter(|((kind, _), _)| limits.on & kind.bit() != 0);
    let budget = |((kind, limit), used): ((Kind, u64), u64)| {
        let used = if kind == Kind::WallClock { age / MILLISECOND } else { used };
        #[expect(clippy::cast_precision_loss, reason = "a share, to look at")]
        let used_ratio = if limit == 0 { 1.0 } else { used as f64 / limit as f64 };
        Budget { budget: kind.name(), used, limit, used_ratio }
    };
    of_scope.map(budget).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budgets_that_a_scope_has_are_listed_and_no_others() {
        let on = Kind::WallClock.bit() | Kind::Connections.bit();
        let mut limits = Limits { on, ..Limits::new_zeroed() };
        limits.amounts = [4000, 1, 1, 4, 1, 1];
        let mut used = Used::new_zeroed();
        used.amounts = [9, 9, 9, 1, 9, 9];
        let found = listed(&limits, &used, 1_000_000_000);
        let expected = [
            Budget { budget: "wall_clock", used: 1000, limit: 4000, used_ratio: 0.25 },
            Budget { budget: "connections", used: 1, limit: 4, used_ratio: 0.25 },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn time_is_most_of_it_after_four_fifths() {
        let clock = WallClock { since: 5, limit: 10, rule: 0, is_enforced: true };
        assert_eq!((clock.most(), clock.at(2)), (8, 2_000_005));
        assert_eq!(clock.at(u64::MAX), u64::MAX);
    }
}
