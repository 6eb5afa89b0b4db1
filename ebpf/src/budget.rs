//! What scopes use up: counted here, each time in one step, so that programs on many CPUs never
//! together take more than there is.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_ktime_get_boot_ns, bpf_map_lookup_elem, bpf_map_update_elem, bpf_sk_storage_get,
    },
    macros::{btf_map, btf_tracepoint, fentry, lsm, map},
    maps::{Array, HashMap},
    programs::{BtfTracePointContext, FEntryContext, LsmContext, SkBuffContext, SockAddrContext},
};
use ringfence_common::{
    Action, Cell, Decision, Reason, Right, Verdict,
    budget::{self, FileKey, Kind, Limit, Limits, MAX_FILES, MAX_SCOPE_FILES, Used},
    event::Destination,
    files,
    layout::ABSENT,
    scope::{Here, MAX_SCOPES},
};

use crate::{
    emit::{self, EACCES, EPERM, NOWHERE},
    file::{FILE_TYPE, address},
    kernel::{current, offset, read_u16, read_u32, read_u64, setting},
    network::Peer,
    redirect,
    scope::{self, Subject, Task},
    table::{Table, table},
};

/// What scopes have used, by number.
#[map]
static BUDGETS: Array<Used> = Array::with_max_entries(MAX_SCOPES, BPF_F_MMAPABLE);

/// What the agent has written of their budgets.
#[map]
static LIMITS: Array<Limits> = Array::with_max_entries(MAX_SCOPES, 0);

/// The files that scopes with such a budget have opened.
#[map]
static TOUCHED: HashMap<FileKey, u8> = HashMap::with_max_entries(MAX_FILES, BPF_F_NO_PREALLOC);

/// Where a datagram socket of a scope with such a budget sent last.
#[btf_map]
static SENT_TO: SkStorage<[u64; 3]> = SkStorage::new();

/// `PF_EXITING` (`linux/sched.h`).
const EXITING: u32 = 4;
/// `S_IFREG`.
const REGULAR: u16 = 0o100000;

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

// Processes

/// Begins to count for a task that has just got its label.
#[inline(never)]
pub(crate) fn begin_with(label: &mut Task, task: u64) {
    label.written = written(task);
    label.output_since = output_since(label.scope);
    count_found(label, task);
}

/// Counts a task that is found in a scope and was not born there, or not while it was counted.
#[inline(always)]
pub(crate) fn count_found(label: &mut Task, task: u64) {
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

/// From which policy on bytes written are counted.
#[inline(always)]
fn output_since(scope: u32) -> u64 {
    LIMITS.get(scope).map_or(0, |limits| limits.output_since)
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

/// How much of a budget is used now.
#[inline(always)]
fn state(scope: u32, kind: Kind) -> Destination {
    let used = BUDGETS.get(scope).map_or(0, |used| used.amounts[kind as usize]);
    let limit = LIMITS.get(scope).map_or(0, |limits| limits.amounts[kind as usize]);
    destination(kind, used, limit)
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

// Bytes written

/// `WRITE` (`linux/kernel.h`).
const WRITE: u32 = 1;
/// `MAY_WRITE` (`linux/fs.h`).
const MAY_WRITE: u32 = 2;

/// Bytes that a task has written by system calls, as the kernel counts them.
#[inline(always)]
fn written(task: u64) -> u64 {
    if setting!(layout.task_written) == ABSENT { 0 } else { read_u64(task + offset!(task_written)) }
}

/// `rw_verify_area(int read_write, struct file *file, const loff_t *ppos, size_t count)`, which
/// every call that writes passes, and which asks `security_file_permission` next: that hook is not
/// told how much.
#[fentry(function = "rw_verify_area")]
pub fn rw_verify_area(ctx: FEntryContext) -> i32 {
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
    // What was written without being asked for here: a program that traces may be left out, where
    // another task had it on the same CPU.
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

// Files

/// Whether opening an inode counts as touching a file.
#[inline(always)]
pub(crate) fn is_touch(scope: u32, inode: u64, rights: u32) -> bool {
    rights & (Right::Read.bit() | Right::Write.bit()) != 0
        && is_on(scope, Kind::FilesTouched)
        && read_u16(inode + offset!(inode_mode)) & FILE_TYPE == REGULAR
}

/// Whether the rule that allows an opening is one of the baseline's.
#[inline(always)]
pub(crate) fn is_by_baseline(table: &Table, state: u32, rights: u32) -> bool {
    let right = if rights & Right::Write.bit() != 0 { Right::Write } else { Right::Read };
    files::is_by_baseline(table, state, right)
}

/// Counts a file that is opened, once for each scope: the answer as a [`Cell`], and above it the
/// reason if it does not allow.
#[inline(never)]
fn touch_file(scope: u32, inode: u64) -> u64 {
    let key = FileKey {
        inode: read_u64(inode + offset!(inode_number)),
        device: read_u32(read_u64(inode + offset!(inode_superblock)) + offset!(superblock_device)),
        generation: read_u32(inode + offset!(inode_generation)),
        scope,
        reserved: 0,
    };
    const FULL: u64 = (Reason::TableFull.number() as u64) << 32;
    const SPENT: u64 = (Reason::BudgetExceeded.number() as u64) << 32;
    if is_touched(&key) {
        return 0;
    }
    let cell = take(scope, Kind::FilesTouched, 1, |decision, to| emit::budget(scope, decision, to));
    if cell.verdict() == Verdict::Deny {
        // Another may have opened it meanwhile.
        return if is_touched(&key) { 0 } else { SPENT | cell.0 as u64 };
    }
    let has_room = BUDGETS
        .get(scope)
        .is_some_and(|used| used.amounts[Kind::FilesTouched as usize] <= MAX_SCOPE_FILES);
    let value = 0_u8;
    // SAFETY: the loader puts the map's address here; the key and the value are as the map's.
    let failed = unsafe {
        has_room as i64 - 1
            | bpf_map_update_elem(
                (&raw const TOUCHED).cast_mut().cast::<c_void>(),
                (&raw const key).cast_mut().cast(),
                (&raw const value).cast_mut().cast(),
                BPF_NOEXIST as u64,
            )
    };
    if failed != 0 {
        add(scope, Kind::FilesTouched, u64::MAX);
        let limit = table(scope).and_then(|table| budget::limit(&table, Kind::FilesTouched));
        let refusal = limit.map_or(Cell::new(Verdict::Deny, 0), |limit| limit.refusal);
        return if is_touched(&key) { 0 } else { FULL | refusal.0 as u64 };
    }
    if cell == Cell::ALLOW { 0 } else { SPENT | cell.0 as u64 }
}

#[inline(always)]
fn is_touched(key: &FileKey) -> bool {
    // SAFETY: the loader puts the map's address here, and the key is as long as the map's.
    let found = unsafe {
        bpf_map_lookup_elem(
            (&raw const TOUCHED).cast_mut().cast::<c_void>(),
            (&raw const *key).cast_mut().cast(),
        )
    };
    !found.is_null()
}

/// What becomes of opening a file that the policy allows to be opened.
#[inline(always)]
pub(crate) fn touch(scope: u32, inode: u64) -> Decision {
    let answer = touch_file(scope, inode);
    Decision::of(Cell(answer as u32), Reason::of_number((answer >> 32) as u8))
}

/// Counts a file that is opened where no policy is about files.
#[inline(always)]
pub(crate) fn touch_ungoverned(task: &mut Task, inode: u64, rights: u32, action: Action) -> i32 {
    if !is_touch(task.scope, inode, rights) {
        return 0;
    }
    let decision = touch(task.scope, inode);
    if decision.verdict == Verdict::Allow {
        return 0;
    }
    emit::plain(task, action, decision, EACCES);
    emit::answer(decision, EACCES)
}

// Network

/// Counts what a socket of the scope's begins: 1 lets it go on. A datagram to where the socket sent
/// last begins nothing.
#[inline(always)]
pub(crate) fn connection(ctx: &SockAddrContext, here: &Here, action: Action, to: Peer) -> i32 {
    use ringfence_common::egress::Protocol;
    if to.protocol == Protocol::Udp {
        let place = (to.port as u64) << 1 | 1;
        let map = (&raw const SENT_TO).cast_mut().cast();
        let flags = BPF_SK_STORAGE_GET_F_CREATE as u64;
        // SAFETY: the loader puts the map's address here; the socket is the context's.
        let last = unsafe {
            bpf_sk_storage_get(map, redirect::sock(ctx).cast(), core::ptr::null_mut(), flags)
                .cast::<[u64; 3]>()
                .as_mut()
        };
        let Some(last) = last else {
            emit::unlabelled(here, action, Decision::deny(Reason::TableFull), &to.destination());
            return 0;
        };
        let target = [to.address.high, to.address.low, place];
        if *last == target {
            return 1;
        }
        let goes_on = begin(here, action, to);
        if goes_on != 0 {
            *last = target;
        }
        return goes_on;
    }
    begin(here, action, to)
}

#[inline(always)]
fn begin(here: &Here, action: Action, to: Peer) -> i32 {
    let cell = take(here.scope, Kind::Connections, 1, |decision, to| {
        emit::unlabelled(here, Action::Budget, decision, to);
    });
    if cell == Cell::ALLOW {
        return 1;
    }
    emit::unlabelled(here, action, decision(cell), &to.destination());
    (cell.verdict() != Verdict::Deny) as i32
}

/// Counts the bytes of a packet that is sent: 1 lets it go on.
#[inline(always)]
pub(crate) fn packet(ctx: &SkBuffContext, here: &Here) -> i32 {
    let cell = take(here.scope, Kind::SentBytes, ctx.len() as u64, |decision, to| {
        emit::packet(here, Action::Budget, decision, to);
    });
    if cell == Cell::ALLOW {
        return 1;
    }
    emit::packet(here, Action::Send, decision(cell), &state(here.scope, Kind::SentBytes));
    (cell.verdict() != Verdict::Deny) as i32
}
