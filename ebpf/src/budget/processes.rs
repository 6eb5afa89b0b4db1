//! Processes: each has a place, which is given back when it ends.

use aya_ebpf::{
    macros::{btf_tracepoint, lsm},
    programs::{BtfTracePointContext, LsmContext},
};
use ringfence_common::{Action, Cell, Verdict, budget::Kind};

use super::{
    BUDGETS, add, decision, is_on,
    output::{output_since, written},
    state, swap, take,
};
use crate::{
    emit,
    file::address,
    kernel::{offset, read_u32, read_u64},
    scope::{self, Task},
};

/// `PF_EXITING` (`linux/sched.h`).
const EXITING: u32 = 4;

/// Begins to count for a task that has just got its label.
#[inline(never)]
pub(crate) fn begin_with(label: &mut Task, task: u64) {
    label.written = written(task);
    label.output_since = output_since(label.scope);
    count_found(label, task);
}

/// Counts a task that is found in a scope and was not born there, or not while it was counted.
#[inline(always)]
fn count_found(label: &mut Task, task: u64) {
    // One that sets a container up is not governed yet.
    if label.flags & scope::IN_SETUP == 0
        && is_on(label.scope, Kind::Processes)
        && !is_exiting(task)
        && swap(&raw mut label.counted, 1) == 0
    {
        add(label.scope, Kind::Processes, 1);
        // It may meanwhile have passed the place where it would be given back.
        if is_exiting(task) {
            uncount(label);
        }
    }
}

/// Gives the place of a task back, if it has one.
#[inline(always)]
pub(crate) fn uncount(label: &mut Task) {
    if swap(&raw mut label.counted, 0) != 0 {
        give_back(label.scope);
    }
}

/// Counts a task where its scope has such a budget now, and not where it has none any more.
#[inline(never)]
pub(crate) fn recount(label: &mut Task, task: u64) {
    if is_on(label.scope, Kind::Processes) {
        count_found(label, task);
    } else {
        uncount(label);
    }
}

#[inline(always)]
fn is_exiting(task: u64) -> bool {
    read_u32(task + offset!(task_flags)) & EXITING != 0
}

/// Gives one place back. Of a scope that was ended meanwhile nothing is counted any more.
#[inline(always)]
fn give_back(scope: u32) {
    if BUDGETS.get(scope).is_some_and(|used| used.amounts[Kind::Processes as usize] != 0) {
        add(scope, Kind::Processes, u64::MAX);
    }
}

#[inline(never)]
fn take_process(scope: u32) -> u32 {
    take(scope, Kind::Processes, 1, |decision, to| emit::budget(scope, decision, to)).0
}

/// Takes a place for a child that is being made; not 0 for no.
#[inline(always)]
pub(crate) fn take_child(parent: &mut Task, child: &mut Task, address: u64) -> i32 {
    if !is_on(parent.scope, Kind::Processes) {
        return 0;
    }
    let cell = Cell(take_process(parent.scope));
    // Of an earlier child nothing is known any more: this one may have its address.
    parent.forking = 0;
    if cell.verdict() != Verdict::Deny {
        child.counted = 1;
        parent.forking = address;
    }
    if cell == Cell::ALLOW {
        return 0;
    }
    let to = state(parent.scope, Kind::Processes);
    emit::going(parent, Action::Budget, decision(cell), &to)
}

/// `security_task_free(struct task_struct *task)`: of a child that was not made after all, in its
/// parent's context; or of one that has ended, whose place was given back then.
#[lsm(hook = "task_free")]
pub fn task_free(ctx: LsmContext) -> i32 {
    let child = address(&ctx, 0);
    if let Some(parent) = scope::labelled()
        && parent.forking == child
        // Not one that was refused before it got a label, at the address of an earlier child.
        && read_u64(child + offset!(task_storage)) != 0
        && !is_exiting(child)
    {
        parent.forking = 0;
        give_back(parent.scope);
    }
    0
}

/// `trace_sched_process_exit(struct task_struct *p)`, where `p` is the current task: gives its
/// place back.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(_: BtfTracePointContext) -> i32 {
    if let Some(task) = scope::labelled() {
        uncount(task);
    }
    0
}

/// `trace_sched_process_free(struct task_struct *p)`: gives the place of a task back that ended
/// unnoticed. From 7.0 on the program at another's end can be interrupted by this one's, and the
/// kernel then leaves the inner one out; here nothing is interrupted.
#[btf_tracepoint(function = "sched_process_free")]
pub fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    if let Some(task) = scope::TASKS.get(ctx.arg(0)) {
        uncount(task);
    }
    0
}
