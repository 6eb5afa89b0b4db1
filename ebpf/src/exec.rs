//! Hooks on executing: programs, and files mapped executable.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use ringfence_common::{
    Action, Reason, Right,
    event::{EXE_BYTES, PATH_BYTES},
    files::{self, Execution},
};

use crate::{
    content,
    emit::{self, EACCES},
    file::{address, resolve},
    kernel::{load_u64, offset, read_u32, read_u64, write_u64},
    membership,
    path::{Ascent, Location, climb, magic},
    scope::{STARTED, Subject, Task, governed, subject},
};

/// `PROT_EXEC`.
const PROT_EXEC: u64 = 4;

/// `PROT_WRITE`.
const PROT_WRITE: u64 = 2;
/// `MAP_TYPE` and `MAP_PRIVATE`.
const MAP_TYPE: u64 = 0xf;
const MAP_PRIVATE: u64 = 2;
/// `VM_EXEC` and `VM_SHARED` (`linux/mm.h`).
const VM_EXEC: u64 = 4;
const VM_SHARED: u64 = 8;

/// The file would be run as a program, and not mapped by one.
const AS_PROGRAM: u32 = 2;
/// The mapping is a private copy that was or can be written.
const WRITTEN: u32 = 4;

/// Judges a file that would be executed. `how` has [`STARTED`] for a program that is not the
/// first, [`AS_PROGRAM`] and [`WRITTEN`].
#[inline(never)]
fn judge(task: &mut Task, file: u64, how: u32) -> i32 {
    let mut execution =
        Execution { started: how & STARTED != 0, anonymous: how & WRITTEN != 0, pinned: false };
    let Some(table) = task.table() else { return -EACCES };
    let location = Location::of_mapped(file);
    let is_governed = files::governs(&table, Right::Exec.bit());
    if is_memfd(location) && (how & AS_PROGRAM == 0 || !is_governed) {
        // As good as anonymous memory: just-in-time compilers use both.
        if how & AS_PROGRAM == 0 {
            return judge_anonymous(task);
        }
        execution.anonymous = true;
    }
    if !is_governed {
        // The path tells nothing then, but what is said about all programs alike is asked.
        let decision = files::decide_exec(&table, files::DEAD, execution);
        task.room.position = PATH_BYTES as u32;
        return emit::paths(task, Action::Exec, decision, None);
    }
    let decision = match resolve(&mut task.room, table, location, Right::Exec.bit()) {
        Ok(_)
            if how & AS_PROGRAM != 0 && read_u32(location.inode() + offset!(inode_links)) == 0 =>
        {
            files::violation(&table, Reason::UnnamedProgram)
        }
        Ok(state) => {
            if let Some(rule) = files::content_rule(&table, state) {
                execution.pinned = content::holds(task.scope, &table, location.inode(), rule);
            }
            files::decide_exec(&table, state, execution)
        }
        Err(decision) => decision,
    };
    emit::paths(task, Action::Exec, decision, None)
}

/// Judges memory that no file stands behind and that would become executable.
#[inline(never)]
fn judge_anonymous(task: &mut Task) -> i32 {
    let Some(table) = task.table() else { return -EACCES };
    task.room.position = PATH_BYTES as u32;
    emit::paths(task, Action::Exec, files::decide_anonymous(&table), None)
}

/// Whether a file has memory for its only place, and no name: it is its own root. So are memfds,
/// shared anonymous memory and the segments of `shmget`; files below an overlay are not.
#[inline(always)]
fn is_memfd(location: Location) -> bool {
    location.magic() == magic::TMPFS
        && location.is_nameless()
        && read_u64(location.dentry + offset!(dentry_parent)) == location.dentry
}

/// `security_bprm_check(struct linux_binprm *bprm)`: once for each link of an interpreter chain.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    let file = read_u64(address(&ctx, 0) + offset!(binprm_file));
    let answer = membership::before_exec(file);
    if answer != 0 {
        return answer;
    }
    governed(Action::Exec, EACCES, |task| judge(task, file, task.flags & STARTED | AS_PROGRAM))
}

/// `security_bprm_committed_creds(struct linux_binprm *bprm)`: the new program is in place.
/// Remembers its path for events, and that the task has started a program.
#[lsm(hook = "bprm_committed_creds")]
pub fn bprm_committed_creds(ctx: LsmContext) -> i32 {
    if let Subject::Governed(task) = subject() {
        let file = read_u64(address(&ctx, 0) + offset!(binprm_file));
        let location = Location::of_file(file);
        if matches!(
            climb(location, location.magic(), &mut task.room),
            Ascent::Internal | Ascent::Unresolved
        ) {
            task.room.position = PATH_BYTES as u32;
        }
        let length = task.room.length();
        task.event.exe_length = if length > EXE_BYTES as u32 { EXE_BYTES as u32 } else { length };
        let end = task.room.path.as_ptr();
        for i in (0..EXE_BYTES).step_by(8) {
            // SAFETY: the last EXE_BYTES before PATH_BYTES are within the path's array.
            unsafe {
                let word = load_u64(end.add(PATH_BYTES - EXE_BYTES + i));
                write_u64(task.event.exe.as_mut_ptr().add(i), word);
            }
        }
        task.flags |= STARTED;
    }
    0
}

/// `security_mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned
/// long flags)`: the loader, shared libraries, `dlopen`, `shmat`. `prot` has what the personality
/// `READ_IMPLIES_EXEC` adds.
#[lsm(hook = "mmap_file")]
pub fn mmap_file(ctx: LsmContext) -> i32 {
    let (file, protection) = (address(&ctx, 0), ctx.arg::<u64>(2));
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    let is_private = ctx.arg::<u64>(3) & MAP_TYPE == MAP_PRIVATE;
    governed(Action::Exec, EACCES, |task| match plain(task, file) {
        0 => judge_anonymous(task),
        file => judge(task, file, written(is_private && protection & PROT_WRITE != 0)),
    })
}

/// The same address as a number that the verifier knows nothing about. It takes an argument for a
/// structure that is there (until Linux 6.13 said otherwise of this one), and would remove a
/// comparison with 0; what is read back from a map may be any number.
#[inline(always)]
fn plain(task: &mut Task, address: u64) -> u64 {
    let place = &raw mut task.event.time;
    // SAFETY: the place is that of a number, which is written anew before it is told.
    unsafe {
        place.write_volatile(address);
        place.read_volatile()
    }
}

#[inline(always)]
fn written(is_written: bool) -> u32 {
    if is_written { WRITTEN } else { 0 }
}

/// `security_file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long
/// prot)`: memory that was mapped without PROT_EXEC, or without PROT_WRITE.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(ctx: LsmContext) -> i32 {
    let protection = ctx.arg::<u64>(2);
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    governed(Action::Exec, EACCES, |task| {
        let area = address(&ctx, 0);
        let file = read_u64(area + offset!(vma_file));
        if file == 0 {
            return judge_anonymous(task);
        }
        let flags = read_u64(area + offset!(vma_flags));
        // A private mapping has pages of its own from its first write on.
        let has_own = flags & VM_EXEC == 0 && read_u64(area + offset!(vma_anonymous)) != 0;
        let is_private = flags & VM_SHARED == 0;
        judge(task, file, written(is_private && (has_own || protection & PROT_WRITE != 0)))
    })
}
