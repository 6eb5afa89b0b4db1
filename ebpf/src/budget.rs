//! What scopes use up: counted here, each time in one step, so that programs on many CPUs never
//! together take more than there is.

mod connections;
mod files;
mod output;
mod processes;

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE, helpers::generated::bpf_ktime_get_boot_ns, macros::map, maps::Array,
};
use ringfence_common::{
    Action, Cell, Decision, Reason, Verdict,
    budget::{self, Kind, Limit, Limits, Used},
    event::Destination,
    scope::MAX_SCOPES,
};

use crate::{
    emit::{self, NOWHERE},
    scope::Task,
    table::table,
};

pub(crate) use connections::{connection, packet};
pub(crate) use files::{is_by_baseline, is_touch, touch, touch_ungoverned};
pub(crate) use processes::{begin_with, recount, take_child, uncount};

/// What scopes have used, by number.
#[map]
static BUDGETS: Array<Used> = Array::with_max_entries(MAX_SCOPES, BPF_F_MMAPABLE);

/// What the agent has written of their budgets.
#[map]
static LIMITS: Array<Limits> = Array::with_max_entries(MAX_SCOPES, 0);

/// Adds to a number of a map, and yields what it was before.
#[inline(always)]
fn fetch_add(number: *mut u64, amount: u64) -> u64 {
    let mut value = amount;
    // The target has no `AtomicU64` to the compiler.
    // SAFETY: the number is one of a map, and only ever changed in one step.
    unsafe {
        asm!("{0} = atomic_fetch_add((u64 *)({1} + 0), {0})", inout(reg) value, in(reg) number);
    }
    value
}

/// Puts a number into the place of another one of a map, and yields that.
#[inline(always)]
fn swap(number: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: the number is one of a map, and only ever changed in one step.
    unsafe {
        asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) number);
    }
    value
}

/// Whether a scope has a budget of a kind.
#[inline(always)]
pub(crate) fn is_on(scope: u32, kind: Kind) -> bool {
    LIMITS.get(scope).is_some_and(|limits| limits.on & kind.bit() != 0)
}

/// Whether a scope has a budget that the hooks of its control groups count for.
#[inline(always)]
pub(crate) fn counts_network(scope: u32) -> bool {
    is_on(scope, Kind::Connections) || is_on(scope, Kind::SentBytes)
}

/// Whether a scope's time is over.
#[inline(always)]
pub(crate) fn is_overdue(scope: u32) -> bool {
    // SAFETY: the helper has no arguments and cannot fail.
    LIMITS.get(scope).is_some_and(|limits| {
        limits.deadline != 0 && unsafe { bpf_ktime_get_boot_ns() } >= limits.deadline
    })
}

/// Tells that an act of a scope is refused since its time is over.
#[inline(never)]
pub(crate) fn tell_overdue(task: &mut Task, action: Action, errno: i32) {
    let rule = LIMITS.get(task.scope).map_or(0, |limits| limits.deadline_rule);
    let decision = Decision { rule, ..Decision::deny(Reason::BudgetExceeded) };
    emit::plain(task, action, decision, errno);
}

/// How an event tells of a budget.
#[inline(always)]
fn destination(kind: Kind, used: u64, limit: u64) -> Destination {
    Destination { address: budget::to_bytes(used, limit), detail: kind as u32 + 1, ..NOWHERE }
}

/// Tells, once, that a part of a budget is used.
#[inline(always)]
fn tell_once(
    told: *mut u64,
    kind: Kind,
    used: u64,
    limit: Limit,
    tell: &impl Fn(Decision, &Destination),
) {
    // SAFETY: the number is one of a map.
    if unsafe { told.read_volatile() } != 0 || fetch_add(told, 1) != 0 {
        return;
    }
    let rule = limit.refusal.rule();
    let decision = Decision { verdict: Verdict::Allow, reason: Reason::BudgetExceeded, rule };
    tell(decision, &destination(kind, used, limit.amount));
}

/// Takes an amount from a scope's budget: the answer, [`Cell::ALLOW`] where it has as much or no
/// such budget. What is refused is not taken. `tell` is told what is to be told of the budget.
#[inline(always)]
fn take(scope: u32, kind: Kind, amount: u64, tell: impl Fn(Decision, &Destination)) -> Cell {
    let Some(used) = BUDGETS.get_ptr_mut(scope) else { return Cell::new(Verdict::Deny, 0) };
    let Some(limit) = table(scope).and_then(|table| budget::limit(&table, kind)) else {
        return Cell::ALLOW;
    };
    let at = kind as usize;
    // SAFETY: the element lives as long as the program, and the number is below KINDS.
    let (number, told_most, told_all) = unsafe {
        (
            (&raw mut (*used).amounts).cast::<u64>().add(at),
            (&raw mut (*used).told_most).cast::<u64>().add(at),
            (&raw mut (*used).told_all).cast::<u64>().add(at),
        )
    };
    let observes = matches!(limit.refusal.verdict(), Verdict::Observe);
    // SAFETY: as above.
    let mut before = unsafe { number.read_volatile() };
    let mut taken = budget::take(before, amount, limit.amount);
    if taken.fits || observes {
        // What others took meanwhile counts: only this addition tells who came first.
        before = fetch_add(number, amount);
        taken = budget::take(before, amount, limit.amount);
        if !taken.fits && !observes {
            fetch_add(number, amount.wrapping_neg());
        }
    }
    let goes_on = taken.fits || observes;
    let after = if goes_on { before.wrapping_add(amount) } else { before };
    if taken.most {
        tell_once(told_most, kind, after, limit, &tell);
    }
    if taken.all {
        tell_once(told_all, kind, after, limit, &tell);
    }
    if taken.fits { Cell::ALLOW } else { limit.refusal }
}

/// Takes from a budget without asking whether there is as much, or gives back.
#[inline(always)]
fn add(scope: u32, kind: Kind, amount: u64) {
    if let Some(used) = BUDGETS.get_ptr_mut(scope) {
        // SAFETY: the element lives as long as the program, and the number is below KINDS.
        fetch_add(unsafe { (&raw mut (*used).amounts).cast::<u64>().add(kind as usize) }, amount);
    }
}

/// The decision for a budget's answer.
#[inline(always)]
fn decision(cell: Cell) -> Decision {
    Decision::of(cell, Reason::BudgetExceeded)
}

/// How much of a budget is used now.
#[inline(always)]
fn state(scope: u32, kind: Kind) -> Destination {
    let used = BUDGETS.get(scope).map_or(0, |used| used.amounts[kind as usize]);
    let limit = LIMITS.get(scope).map_or(0, |limits| limits.amounts[kind as usize]);
    destination(kind, used, limit)
}
