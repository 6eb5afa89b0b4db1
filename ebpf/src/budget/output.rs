//! Bytes written.

use aya_ebpf::{
    macros::{fentry, lsm},
    programs::{FEntryContext, LsmContext},
};
use ringfence_common::{Action, Cell, Verdict, budget::Kind, event::Destination, layout::ABSENT};

use super::{LIMITS, add, decision, is_on, state, take};
use crate::{
    emit::{self, EPERM},
    file::address,
    kernel::{current, offset, read_u64, setting},
    scope::{self, Subject, Task},
};

/// `WRITE` (`linux/kernel.h`).
const WRITE: u32 = 1;
/// `MAY_WRITE` (`linux/fs.h`).
const MAY_WRITE: u32 = 2;

/// Bytes that a task has written by system calls, as the kernel counts them.
#[inline(always)]
pub(super) fn written(task: u64) -> u64 {
    if setting!(layout.task_written) == ABSENT { 0 } else { read_u64(task + offset!(task_written)) }
}

/// `rw_verify_area(int read_write, struct file *file, const loff_t *ppos, size_t count)`, which
/// every call that writes passes, and which asks `security_file_permission` next: that hook is not
/// told how much.
#[fentry(function = "rw_verify_area")]
pub fn rw_verify_area(ctx: FEntryContext) -> i32 {
    note(&ctx)
}

/// The same: from 7.0 on a program that traces can be preempted, and is left out for another task
/// that comes by on the same CPU meanwhile. Hardly ever are both.
#[fentry(function = "rw_verify_area")]
pub fn rw_verify_area_again(ctx: FEntryContext) -> i32 {
    note(&ctx)
}

#[inline(always)]
fn note(ctx: &FEntryContext) -> i32 {
    if ctx.arg::<u32>(0) == WRITE
        && let Subject::Governed(task) = scope::subject()
        && is_on(task.scope, Kind::OutputBytes)
    {
        task.writing = ctx.arg::<u64>(3);
        task.writing_to = ctx.arg::<*const u8>(1) as u64;
    }
    0
}

/// `security_file_permission(struct file *file, int mask)`: takes what the call asks to write.
#[lsm(hook = "file_permission")]
pub fn file_permission(ctx: LsmContext) -> i32 {
    if ctx.arg::<u32>(1) & MAY_WRITE == 0 {
        return 0;
    }
    scope::governed(Action::Write, EPERM, |task| {
        if !is_on(task.scope, Kind::OutputBytes) {
            return 0;
        }
        take_output(task, address(&ctx, 0))
    })
}

#[inline(never)]
fn take_output(task: &mut Task, file: u64) -> i32 {
    let scope = task.scope;
    // What was written without being asked for here, since both programs above were left out.
    let written = written(current());
    let begun = output_since(scope);
    if task.output_since != begun {
        // The budget is newer than the task: what was written before it does not count.
        (task.output_since, task.written) = (begun, written);
    }
    if written > task.written {
        add(scope, Kind::OutputBytes, written - task.written);
        task.written = written;
    }
    let amount = if task.writing_to == file { task.writing } else { 0 };
    (task.writing, task.writing_to) = (0, 0);
    let tell = |decision, to: &Destination| emit::budget(scope, decision, to);
    let cell = take(scope, Kind::OutputBytes, amount, tell);
    if cell.verdict() != Verdict::Deny {
        task.written = task.written.wrapping_add(amount);
    }
    if cell == Cell::ALLOW {
        return 0;
    }
    let to = state(scope, Kind::OutputBytes);
    emit::going(task, Action::Write, decision(cell), &to)
}

/// From which policy on bytes written are counted.
#[inline(always)]
pub(super) fn output_since(scope: u32) -> u64 {
    LIMITS.get(scope).map_or(0, |limits| limits.output_since)
}
