//! Hooks on files: opening them, and changing what names there are.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use ringfence_common::{
    Action, Decision, Image as _, Reason, Right, Verdict,
    event::PATH_BYTES,
    files::{self, Move},
    guard,
};

use crate::{
    budget, content,
    emit::{self, EACCES},
    kernel::{number, offset, read_u16, read_u32, setting, typed, typed_u16, typed_u32},
    network, own,
    path::{Ascent, Location, PathRoom, climb, magic},
    scope::{Task, governed, second_path},
    table::{Table, walk},
    verdicts,
};

/// `FMODE_READ` (`linux/fs.h`).
const FMODE_READ: u32 = 1;
/// `FMODE_WRITE`.
const FMODE_WRITE: u32 = 2;
/// `__FMODE_EXEC`: the kernel opens the file to execute it; user space cannot set it.
const FMODE_EXEC: u32 = 0x20;
/// `FMODE_PATH`: opened with O_PATH.
const FMODE_PATH: u32 = 0x4000;
/// `O_TRUNC`, which changes a file even when it is opened for reading only.
const O_TRUNC: u32 = 0o1000;
/// `S_IFMT` and `S_IFDIR`.
pub(crate) const FILE_TYPE: u16 = 0o170000;
pub(crate) const FOLDER: u16 = 0o040000;
/// `S_IFCHR` and `S_IFBLK`.
const CHARACTER_DEVICE: u16 = 0o020000;
const BLOCK_DEVICE: u16 = 0o060000;
/// `RENAME_EXCHANGE`.
const RENAME_EXCHANGE: u32 = 2;

/// Rights that change something.
const CHANGES: u32 =
    Right::Write.bit() | Right::Create.bit() | Right::Delete.bit() | Right::Metadata.bit();

/// An argument of a hook that is a pointer, as an address.
#[inline(always)]
pub(crate) fn address(ctx: &LsmContext, index: usize) -> u64 {
    ctx.arg::<*const u8>(index) as u64
}

/// Whether a file system controls the kernel or the machine rather than holding data. Told by
/// its magic number, since it may be mounted anywhere.
#[inline(always)]
const fn is_control(magic: u32) -> bool {
    matches!(
        magic,
        magic::CGROUP
            | magic::CGROUP2
            | magic::BPF
            | magic::TRACE
            | magic::DEBUG
            | magic::SECURITY
            | magic::SYS
            | magic::CONFIG
            | magic::SELINUX
            | magic::EFIVAR
            | magic::BINFMT
    )
}

/// Whether more than the path of a file counts on a file system.
#[inline(always)]
pub(crate) const fn is_guarded(magic: u32) -> bool {
    is_control(magic) || magic == magic::PROC
}

/// The automaton's state for a location, or the decision when there is none.
///
/// Leaves the path in the room.
#[inline(always)]
pub(crate) fn resolve(
    room: &mut PathRoom,
    table: Table,
    location: Location,
    rights: u32,
) -> Result<u32, Decision> {
    let magic = location.magic();
    let ascent = climb(location, magic, room);
    if rights & CHANGES != 0 && is_control(magic) {
        // The pins of ringfence itself are out of reach in observe mode too.
        return Err(if magic == magic::BPF {
            Decision::deny(Reason::SelfProtection)
        } else {
            guard::decide_control(&table)
        });
    }
    if rights & CHANGES != 0 && own::is_touched(location.dentry, rights) {
        return Err(Decision::deny(Reason::SelfProtection));
    }
    match ascent {
        Ascent::Rooted { own_process } => {
            if rights & CHANGES != 0 && magic == magic::PROC && !own_process {
                return Err(guard::decide_control(&table));
            }
            if room.folds != 0 && !files::may_fold(&table) {
                return Err(files::violation(&table, Reason::PathUnresolved));
            }
            Ok(walk(table, room))
        }
        Ascent::TooLong => Err(files::violation(&table, Reason::PathTooLong)),
        Ascent::Internal if rights & Right::Exec.bit() != 0 => {
            Err(files::violation(&table, Reason::UnnamedProgram))
        }
        // Pipes, memfds and the like belong to who holds them, and have no name that a rule could
        // speak of. The layers of an overlay are internal mounts too: its files were judged by the
        // name that the user sees.
        Ascent::Internal if magic != magic::MESSAGE_QUEUE && rights & Right::Socket.bit() == 0 => {
            Err(Decision::ALLOW)
        }
        Ascent::Internal | Ascent::Unresolved => {
            Err(files::violation(&table, Reason::PathUnresolved))
        }
    }
}

/// Whether the task needs to be judged for these rights at all. Control file systems are
/// guarded even where files are not governed.
#[inline(always)]
fn concerns(table: Table, rights: u32) -> bool {
    files::governs(&table, rights) || rights & CHANGES != 0
}

/// Judges one location for a set of rights.
///
/// Where no policy is about files, a device is judged too: not by its name, but by what it is.
#[inline(never)]
pub(crate) fn judge(task: &mut Task, mount: u64, dentry: u64, rights: u32, action: Action) -> i32 {
    const DEVICE: u32 = Right::Device.bit();
    let Some(table) = task.table() else { return -EACCES };
    let location = Location { mount, dentry };
    let inode = location.inode();
    let is_device = rights & DEVICE != 0 && !files::governs(&table, DEVICE);
    if if is_device { is_harmless_device(inode) } else { !concerns(table, rights) } {
        return budget::touch_ungoverned(task, inode, rights, action);
    }
    let decision = match resolve(&mut task.room, table, location, rights) {
        // For the event; the answer is the same whatever the path.
        _ if is_device => guard::decide_device(&table),
        Ok(state) => {
            let (decision, allowed) = files::decide_all(&table, state, rights);
            let counts = decision.verdict != Verdict::Deny
                && budget::is_touch(task.scope, inode, rights)
                && !budget::is_by_baseline(&table, state, rights);
            if counts {
                let touch = budget::touch(task.scope, inode);
                if touch.verdict as u8 > decision.verdict as u8 { touch } else { decision }
            } else {
                verdicts::remember(task, &table, location, allowed);
                decision
            }
        }
        Err(decision) => decision,
    };
    emit::paths(task, action, content::keep(task.scope, &table, inode, rights, decision), None)
}

/// Whether an inode is a device that does no more than a file would.
#[inline(always)]
fn is_harmless_device(inode: u64) -> bool {
    read_u16(inode + offset!(inode_mode)) & FILE_TYPE == CHARACTER_DEVICE
        && guard::is_harmless_device(read_u32(inode + offset!(inode_device)))
}

/// Judges a hook whose arguments are a folder's `struct path` and an entry in it.
#[inline(always)]
fn judge_entry(ctx: &LsmContext, action: Action, right: Right) -> i32 {
    governed(action, EACCES, |task| {
        // SAFETY: the kernel gives the folder's `struct path`.
        let mount = unsafe { typed(ctx.arg(0), offset!(path_mount)) };
        let entry: *const u8 = ctx.arg(1);
        if verdicts::allows(task, mount as *const u8, entry, right.bit()) {
            return 0;
        }
        let mount = number(&mut task.room.number, mount);
        let entry = number(&mut task.room.number, entry as u64);
        judge(task, mount, entry, right.bit(), action)
    })
}

/// Judges a hook whose first argument is a `struct path`.
#[inline(always)]
fn judge_path(ctx: &LsmContext, action: Action, right: Right) -> i32 {
    governed(action, EACCES, |task| {
        let location = Location::of_path(address(ctx, 0));
        judge(task, location.mount, location.dentry, right.bit(), action)
    })
}

/// Judges a file that is being opened, or received.
#[inline(always)]
fn judge_file(ctx: &LsmContext) -> i32 {
    governed(Action::Read, EACCES, |task| {
        let file: *const u8 = ctx.arg(0);
        // SAFETY: the kernel gives a `struct file`.
        let (flags, mode) =
            unsafe { (typed_u32(file, offset!(file_flags)), typed_u32(file, offset!(file_mode))) };
        if flags & FMODE_EXEC != 0 {
            // What is opened to be executed is judged as a program: `bprm_check_security`, and
            // `mmap_file` for the loader.
            return 0;
        }
        if mode & setting!(backing_mode) != 0 {
            return 0;
        }
        let mut rights = 0;
        if mode & FMODE_READ != 0 {
            rights |= Right::Read.bit();
        }
        if mode & FMODE_WRITE != 0 || flags & O_TRUNC != 0 {
            rights |= Right::Write.bit();
        }
        if rights == 0 && mode & FMODE_PATH == 0 {
            // Access mode 3 reads and writes nothing, but is good for ioctl.
            rights = Right::Read.bit() | Right::Write.bit();
        }
        // SAFETY: as above; an open file has an inode.
        let kind = unsafe {
            let inode = typed(file, offset!(file_inode)) as *const u8;
            typed_u16(inode, offset!(inode_mode)) & FILE_TYPE
        };
        if rights != 0 && matches!(kind, CHARACTER_DEVICE | BLOCK_DEVICE) {
            // Which no verdict that is remembered has.
            rights |= Right::Device.bit();
        }
        // SAFETY: as above.
        let (mount, entry) = unsafe {
            (
                typed(file, offset!(file_path) + offset!(path_mount)),
                typed(file, offset!(file_path) + offset!(path_dentry)),
            )
        };
        if verdicts::allows(task, mount as *const u8, entry as *const u8, rights) {
            return 0;
        }
        let mount = number(&mut task.room.number, mount);
        let entry = number(&mut task.room.number, entry);
        let action = if rights & Right::Write.bit() != 0 { Action::Write } else { Action::Read };
        let rights = task.table().map_or(rights, |table| table.blur(rights as u64) as u32);
        judge(task, mount, entry, rights, action)
    })
}

/// `security_file_open(struct file *file)`.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    judge_file(&ctx)
}

/// `security_file_receive(struct file *file)`: a descriptor from another process. A socket must
/// have been made in the scope, or its packets would pass the scope's rules by.
#[lsm(hook = "file_receive")]
pub fn file_receive(ctx: LsmContext) -> i32 {
    let location = Location::of_file(address(&ctx, 0));
    if location.magic() == magic::SOCKET {
        return governed(Action::Socket, emit::EPERM, |task| {
            network::judge_received(task, address(&ctx, 0))
        });
    }
    judge_file(&ctx)
}

/// `security_path_mknod(const struct path *dir, struct dentry *dentry, …)`: also O_CREAT and
/// binding a Unix socket.
#[lsm(hook = "path_mknod")]
pub fn path_mknod(ctx: LsmContext) -> i32 {
    judge_entry(&ctx, Action::Create, Right::Create)
}

/// `security_path_mkdir(const struct path *dir, struct dentry *dentry, umode_t mode)`.
#[lsm(hook = "path_mkdir")]
pub fn path_mkdir(ctx: LsmContext) -> i32 {
    judge_entry(&ctx, Action::Create, Right::Create)
}

/// `security_path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name)`.
#[lsm(hook = "path_symlink")]
pub fn path_symlink(ctx: LsmContext) -> i32 {
    judge_entry(&ctx, Action::Create, Right::Create)
}

/// `security_path_unlink(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_unlink")]
pub fn path_unlink(ctx: LsmContext) -> i32 {
    judge_entry(&ctx, Action::Delete, Right::Delete)
}

/// `security_path_rmdir(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(ctx: LsmContext) -> i32 {
    judge_entry(&ctx, Action::Delete, Right::Delete)
}

/// `security_path_truncate(const struct path *path)`.
#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    judge_path(&ctx, Action::Write, Right::Write)
}

/// `security_path_chmod(const struct path *path, umode_t mode)`.
#[lsm(hook = "path_chmod")]
pub fn path_chmod(ctx: LsmContext) -> i32 {
    judge_path(&ctx, Action::Metadata, Right::Metadata)
}

/// `security_path_chown(const struct path *path, kuid_t uid, kgid_t gid)`.
#[lsm(hook = "path_chown")]
pub fn path_chown(ctx: LsmContext) -> i32 {
    judge_path(&ctx, Action::Metadata, Right::Metadata)
}

/// `security_path_notify(const struct path *path, u64 mask, unsigned int obj_type)`: whoever
/// watches a folder is told the names of what happens in it.
#[lsm(hook = "path_notify")]
pub fn path_notify(ctx: LsmContext) -> i32 {
    judge_path(&ctx, Action::Read, Right::Read)
}

/// A pair of names in one file system: the old one's path is left in the second buffer.
#[inline(never)]
fn judge_pair(task: &mut Task, mount: u64, old: u64, new: u64, flags: u32) -> i32 {
    let is_link = flags & LINK != 0;
    let action = if is_link { Action::Link } else { Action::Rename };
    let rights = if is_link {
        Right::Write.bit() | Right::Create.bit()
    } else {
        Right::Delete.bit() | Right::Create.bit()
    };
    let Some(table) = task.table() else { return -EACCES };
    let gains = Right::Read.bit() | Right::Exec.bit() | Right::Socket.bit();
    if !concerns(table, rights | gains) {
        return 0;
    }
    let Some(second) = second_path() else {
        emit::plain(task, action, Decision::deny(Reason::TableFull), EACCES);
        return -EACCES;
    };
    let (old, new) = (Location { mount, dentry: old }, Location { mount, dentry: new });
    second.position = PATH_BYTES as u32;
    // One after the other, each with its own way out: the verifier follows every pair of ways.
    let old_state = match resolve(&mut task.room, table, old, rights) {
        Ok(state) => table.blur(state as u64) as u32,
        Err(decision) => return emit::paths(task, action, decision, Some(second)),
    };
    let new_state = match resolve(second, table, new, rights) {
        Ok(state) => table.blur(state as u64) as u32,
        Err(decision) => return emit::paths(task, action, decision, Some(second)),
    };
    let decision = if is_link {
        files::decide_link(&table, old_state, new_state)
    } else {
        let exchanges = flags & RENAME_EXCHANGE != 0;
        let one = Move {
            old: old_state,
            new: new_state,
            is_folder: is_folder(old) || (exchanges && is_folder(new)),
            replaces: new.inode() != 0,
            exchanges,
        };
        files::decide_rename(&table, one)
    };
    emit::paths(task, action, decision, Some(second))
}

#[inline(always)]
fn is_folder(location: Location) -> bool {
    let inode = location.inode();
    inode != 0 && read_u16(inode + offset!(inode_mode)) & FILE_TYPE == FOLDER
}

/// Marks a hard link among rename flags.
const LINK: u32 = 1 << 31;

/// `security_path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path
/// *new_dir, struct dentry *new_dentry, unsigned int flags)`: both are on one mount.
#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    governed(Action::Rename, EACCES, |task| {
        let folder = Location::of_path(address(&ctx, 0));
        let flags = ctx.arg::<u32>(4) & !LINK;
        judge_pair(task, folder.mount, address(&ctx, 1), address(&ctx, 3), flags)
    })
}

/// `security_path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry
/// *new_dentry)`: both are on one mount.
#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    governed(Action::Link, EACCES, |task| {
        let folder = Location::of_path(address(&ctx, 1));
        judge_pair(task, folder.mount, address(&ctx, 0), address(&ctx, 2), LINK)
    })
}
