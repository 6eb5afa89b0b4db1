//! Hooks on executing: programs, and files mapped executable.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use ringfence_common::{
    Action, Reason, Right,
    event::{EXE_BYTES, PATH_BYTES},
    files,
};

use crate::{
    emit::{self, EACCES},
    file::{address, resolve},
    kernel::{load_u64, offset, read_u32, read_u64, write_u64},
    path::{Ascent, Location, climb, magic},
    scope::{STARTED, Subject, Task, governed, subject},
    table::table,
};

/// `PROT_EXEC`.
const PROT_EXEC: u64 = 4;

/// The file would be run as a program, and not mapped by one.
const AS_PROGRAM: u32 = 2;

/// Judges a file that would be executed. `how` has [`STARTED`] for a program that is not the
/// first, and [`AS_PROGRAM`].
#[inline(never)]
fn judge(task: &mut Task, file: u64, how: u32) -> i32 {
    let started = how & STARTED != 0;
    let Some(table) = table() else { return -EACCES };
    let location = Location::of_file(file);
    if !files::governs(&table, Right::Exec.bit()) {
        // The path tells nothing then, but whether programs may be started at all is asked.
        let decision = files::decide_exec(&table, files::DEAD, started);
        task.room.position = PATH_BYTES as u32;
        return emit::paths(task, Action::Exec, decision, None);
    }
    if how & AS_PROGRAM == 0 && is_memfd(location) {
        // As good as anonymous memory, which may be executable: just-in-time compilers use both.
        return 0;
    }
    let decision = match resolve(&mut task.room, table, location, Right::Exec.bit()) {
        Ok(_)
            if how & AS_PROGRAM != 0 && read_u32(location.inode() + offset!(inode_links)) == 0 =>
        {
            files::violation(&table, Reason::UnnamedProgram)
        }
        Ok(state) => files::decide_exec(&table, state, started),
        Err(decision) => decision,
    };
    emit::paths(task, Action::Exec, decision, None)
}

/// Whether a file has memory for its only place, and no name: it is its own root.
#[inline(always)]
fn is_memfd(location: Location) -> bool {
    location.magic() == magic::TMPFS && location.is_nameless()
}

/// `security_bprm_check(struct linux_binprm *bprm)`: once for each link of an interpreter chain.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    governed(Action::Exec, EACCES, |task| {
        let file = read_u64(address(&ctx, 0) + offset!(binprm_file));
        judge(task, file, task.flags & STARTED | AS_PROGRAM)
    })
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
/// long flags)`: the loader, shared libraries, `dlopen`.
#[lsm(hook = "mmap_file")]
pub fn mmap_file(ctx: LsmContext) -> i32 {
    let file = address(&ctx, 0);
    if file == 0 || ctx.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    governed(Action::Exec, EACCES, |task| judge(task, file, 0))
}

/// `security_file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long
/// prot)`: a file that was mapped without PROT_EXEC.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(ctx: LsmContext) -> i32 {
    if ctx.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    governed(Action::Exec, EACCES, |task| {
        let file = read_u64(address(&ctx, 0) + offset!(vma_file));
        if file == 0 { 0 } else { judge(task, file, 0) }
    })
}
