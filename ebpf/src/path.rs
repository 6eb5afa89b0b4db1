//! The path of a file, put together from its directory entries and mounts up to the root of the
//! task, in the mount namespace that the task lives in.
//!
//! `bpf_d_path` is not used: it is refused in half of the hooks, and gives a path for trees that
//! are mounted nowhere. A path here either leads to the task's root, which the guard keeps it from
//! changing, or is no path.
//!
//! Names are read while others may be renamed, so that a path could be put together of parts that
//! never were one. The kernel counts what is renamed and mounted ([`Moment`]); where a count has
//! changed on the way up, the climb begins again.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};
use ringfence_common::{event::PATH_BYTES, layout::ABSENT};

use crate::{
    kernel::{
        current, load_u64, offset, opaque, read_u32, read_u64, reads_by_cast, setting, write_u64,
    },
    verdicts,
};

/// A name is written in words of 8 bytes, beyond its end.
const PATH_ROOM: usize = PATH_BYTES + 264;

/// Magic numbers of file systems (`linux/magic.h`).
pub(crate) mod magic {
    pub(crate) const PROC: u32 = 0x9fa0;
    pub(crate) const TMPFS: u32 = 0x0102_1994;
    pub(crate) const SOCKET: u32 = 0x534f_434b;
    pub(crate) const MESSAGE_QUEUE: u32 = 0x1980_0202;
    pub(crate) const CGROUP: u32 = 0x0027_e0eb;
    pub(crate) const CGROUP2: u32 = 0x6367_7270;
    pub(crate) const BPF: u32 = 0xcafe_4a11;
    pub(crate) const TRACE: u32 = 0x7472_6163;
    pub(crate) const DEBUG: u32 = 0x6462_6720;
    pub(crate) const SECURITY: u32 = 0x7363_6673;
    pub(crate) const SYS: u32 = 0x6265_6572;
    pub(crate) const CONFIG: u32 = 0x6265_6570;
    pub(crate) const SELINUX: u32 = 0xf97c_ff8c;
    pub(crate) const EFIVAR: u32 = 0xde5e_81e4;
    pub(crate) const BINFMT: u32 = 0x4249_4e4d;
    pub(crate) const OVERLAY: u32 = 0x794c_7630;
}

/// A mount and a directory entry in it: `struct path`, as addresses.
#[derive(Clone, Copy)]
pub(crate) struct Location {
    /// The `struct vfsmount`.
    pub(crate) mount: u64,
    /// The `struct dentry`.
    pub(crate) dentry: u64,
}

impl Location {
    /// Reads a `struct path`.
    #[inline(always)]
    pub(crate) fn of_path(path: u64) -> Self {
        Self {
            mount: read_u64(path + offset!(path_mount)),
            dentry: read_u64(path + offset!(path_dentry)),
        }
    }

    /// Where a `struct file` was opened.
    #[inline(always)]
    pub(crate) fn of_file(file: u64) -> Self {
        Self::of_path(file + offset!(file_path))
    }

    /// Where a mapped file was opened: of an overlay's file, where its user opened it and not
    /// where it lies below the overlay. Until Linux 6.7 the two had one path.
    #[inline(always)]
    pub(crate) fn of_mapped(file: u64) -> Self {
        let is_backing = setting!(backing_mode) != 0
            && setting!(layout.backing_path) != ABSENT
            && read_u32(file + offset!(file_mode)) & setting!(backing_mode) != 0;
        Self::of_path(file + if is_backing { offset!(backing_path) } else { offset!(file_path) })
    }

    /// Magic number of the file system.
    #[inline(always)]
    pub(crate) fn magic(self) -> u32 {
        let superblock = read_u64(self.mount + offset!(vfsmount_superblock));
        read_u32(superblock + offset!(superblock_magic))
    }

    /// Whether the entry is on a mount that the kernel keeps to itself.
    #[inline(always)]
    pub(crate) fn is_nameless(self) -> bool {
        let mount = self.mount - offset!(mount_vfsmount);
        read_u64(mount + offset!(mount_namespace)) == INTERNAL
    }

    /// The inode; 0 for a name that does not exist yet.
    #[inline(always)]
    pub(crate) fn inode(self) -> u64 {
        read_u64(self.dentry + offset!(dentry_inode))
    }
}

/// What the kernel has renamed and mounted so far: while it stays the same, so do all paths.
///
/// The counts of `rename_lock` and `mount_lock`; odd ones are within a change. Every change of a
/// directory entry's name or parent (`__d_move`) and of the tree of mounts is made under them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Moment(u64);

impl Moment {
    #[inline(always)]
    pub(crate) fn now() -> Self {
        let renamed = read_u32(setting!(rename_lock)) as u64;
        let mounted = read_u32(setting!(mount_lock)) as u64;
        Self(renamed | mounted << 32)
    }

    /// Whether nothing has changed since, nor was about to.
    #[inline(always)]
    pub(crate) fn still_is(self) -> bool {
        const CHANGING: u64 = 1 | 1 << 32;
        self.0 & CHANGING == 0 && self.0 == Self::now().0
    }

    /// Whether nothing has been renamed since.
    #[inline(always)]
    pub(crate) fn is_before_renames(self) -> bool {
        self.0 as u32 == read_u32(setting!(rename_lock))
    }
}

/// What came of putting a path together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ascent {
    /// The path is in the room, from `position` to [`PATH_BYTES`].
    Rooted {
        /// It is below the process's own folder in a procfs.
        own_process: bool,
    },
    /// It has more bytes, or more components, than can be judged.
    TooLong,
    /// The file is on a mount that the kernel keeps to itself: pipes, memfds.
    Internal,
    /// It does not lead to the task's root, in the task's mount namespace.
    Unresolved,
}

/// `MNT_NS_INTERNAL`: `ERR_PTR(-EINVAL)` (`fs/mount.h`).
const INTERNAL: u64 = (-22_i64) as u64;

const CLIMBING: u32 = 0;
const AT_ROOT: u32 = 1;
const TOO_LONG: u32 = 2;
/// At the root of another tree than the task's, or of an entry that belongs to none.
const OUTSIDE: u32 = 3;

/// Components and mounts that a path may have: `a/a/a…` in PATH_MAX, and some mounts.
const MAX_COMPONENTS: u32 = 2112;
/// Turns of the climb, with those that begin it again: hundreds of times for a usual path.
const MAX_TURNS: u32 = 3 * MAX_COMPONENTS;
/// `DCACHE_OP_HASH`: the file system finds the name under others too, such as those in other
/// letters.
const FOLDS: u32 = 1;
/// Longest name (`NAME_MAX`).
const NAME_BYTES: u64 = 255;

/// Where a path is put together, and what has come of it so far.
///
/// All of it is in a map and not on the stack: what is read back from a map is any number to the
/// verifier, so that it looks at a turn of the climb once and not for every number it might be.
#[repr(C)]
pub(crate) struct PathRoom {
    /// Where the climb begins: the `struct mount`, and the entry.
    first_mount: u64,
    first_dentry: u64,
    /// The task's root: the `struct mount`, and the entry.
    root_mount: u64,
    root_dentry: u64,
    /// When the climb began.
    pub(crate) begun: Moment,
    /// How many folders had an entry then.
    pub(crate) folders: u64,
    /// A pointer on its way to being a number.
    pub(crate) number: u64,
    /// Where the climb is: the `struct mount`, and the entry.
    mount: u64,
    dentry: u64,
    /// The folder that holds the first entry; 0 where that is the root of its mount.
    pub(crate) folder: u64,
    /// The own process's number as text, with a mask of its length; for files on a procfs.
    own_name: u64,
    own_mask: u64,
    own_length: u32,
    /// Length of the name that was added last.
    last_length: u32,
    /// Length of the first entry's own name.
    pub(crate) name_length: u32,
    outcome: u32,
    /// The first mount's root has been passed.
    crossed: u32,
    /// [`FOLDS`], where a name of the path goes by other letters too.
    pub(crate) folds: u32,
    /// The file is below the own process's folder in a procfs.
    own_process: u32,
    /// Where the path begins.
    pub(crate) position: u32,
    /// The automaton's state, while it walks.
    pub(crate) state: u32,
    pub(crate) path: [u8; PATH_ROOM],
}

impl PathRoom {
    #[inline(always)]
    fn begin(&mut self) {
        self.folders = verdicts::folders();
        self.begun = Moment::now();
        self.mount = self.first_mount;
        self.dentry = self.first_dentry;
        self.folder = 0;
        self.name_length = 0;
        self.position = PATH_BYTES as u32;
        self.outcome = CLIMBING;
        self.crossed = 0;
        self.last_length = 0;
        self.folds = 0;
        self.own_process = 0;
    }

    /// Bytes of the path.
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        (PATH_BYTES as u32).saturating_sub(self.position)
    }
}

/// What a turn finds on the caller's stack.
#[repr(C)]
struct Turn {
    room: *mut PathRoom,
}

/// Puts the path of `location` together in a room.
#[inline(always)]
pub(crate) fn climb(location: Location, magic: u32, room: &mut PathRoom) -> Ascent {
    room.first_mount = location.mount - offset!(mount_vfsmount);
    room.first_dentry = location.dentry;
    let root = Location::of_path(read_u64(current() + offset!(task_fs)) + offset!(fs_root));
    room.root_mount = root.mount - offset!(mount_vfsmount);
    room.root_dentry = root.dentry;
    room.own_length = 0;
    if magic == magic::PROC {
        name_own_process(location, room);
    }
    room.begin();
    let mut context = Turn { room };
    // SAFETY: `turn` has the type that bpf_loop calls, and the context outlives the loop.
    unsafe { bpf_loop(MAX_TURNS, turn as *mut c_void, (&raw mut context).cast(), 0) };
    let namespace = read_u64(room.mount + offset!(mount_namespace));
    if namespace == INTERNAL {
        return Ascent::Internal;
    }
    match room.outcome {
        AT_ROOT => {}
        CLIMBING | TOO_LONG => return Ascent::TooLong,
        _ => return Ascent::Unresolved,
    }
    let nsproxy = read_u64(current() + offset!(task_nsproxy));
    if namespace == 0 || nsproxy == 0 || namespace != read_u64(nsproxy + offset!(nsproxy_mount)) {
        return Ascent::Unresolved;
    }
    if room.position >= PATH_BYTES as u32 {
        room.path[PATH_BYTES - 1] = b'/';
        room.position = PATH_BYTES as u32 - 1;
    }
    Ascent::Rooted { own_process: room.own_process != 0 }
}

extern "C" fn turn(_: u32, context: *mut Turn) -> i64 {
    // SAFETY: bpf_loop passes the context that `climb` gave it, and the room is borrowed there.
    let room = unsafe { &mut *(*context).room };
    let outcome = step(room);
    if outcome == CLIMBING {
        return 0;
    }
    if !room.begun.still_is() {
        room.begin();
        return 0;
    }
    room.outcome = outcome;
    1
}

/// Goes up by one entry, or from the root of a mount to where it is mounted.
#[inline(always)]
fn step(room: &mut PathRoom) -> u32 {
    let vfsmount = room.mount + offset!(mount_vfsmount);
    let is_mount_root = room.dentry == read_u64(vfsmount + offset!(vfsmount_root));
    if is_mount_root && room.crossed == 0 {
        room.crossed = 1;
        if room.own_length != 0 && room.own_length == room.last_length {
            name_self(room);
        }
    }
    if room.dentry == room.root_dentry && room.mount == room.root_mount {
        return AT_ROOT;
    }
    if is_mount_root {
        let parent = read_u64(room.mount + offset!(mount_parent));
        if parent == room.mount || parent == 0 {
            return OUTSIDE;
        }
        room.dentry = read_u64(room.mount + offset!(mount_mountpoint));
        room.mount = parent;
        return CLIMBING;
    }
    let parent = read_u64(room.dentry + offset!(dentry_parent));
    if parent == room.dentry || parent == 0 {
        return OUTSIDE;
    }
    if !prepend(room) {
        return TOO_LONG;
    }
    room.folds |= read_u32(room.dentry + offset!(dentry_flags)) & FOLDS;
    // Asked here and not before, or the verifier follows the copying of a name for either answer.
    if room.crossed == 0 && room.folder == 0 {
        room.folder = parent;
        room.name_length = room.last_length;
    }
    room.dentry = parent;
    CLIMBING
}

/// Puts `/` and the entry's name before what is in the room; false when there is no room left.
#[inline(always)]
fn prepend(room: &mut PathRoom) -> bool {
    let length = read_u32(room.dentry + offset!(dentry_name_length)) as u64;
    let name = read_u64(room.dentry + offset!(dentry_name));
    put(room, name, length, b'/')
}

/// Puts the name of an abstract Unix socket alone in the room, with `@` before it; false for one
/// without bytes.
#[inline(always)]
pub(crate) fn put_abstract(room: &mut PathRoom, name: u64, length: u64) -> bool {
    room.position = PATH_BYTES as u32;
    put(room, name, length, b'@')
}

/// Puts a byte and a name before what is in the room.
#[inline(always)]
fn put(room: &mut PathRoom, name: u64, length: u64, lead: u8) -> bool {
    let end = opaque(room.position as u64);
    if length > NAME_BYTES || length == 0 || end > PATH_BYTES as u64 || length + 1 > end {
        return false;
    }
    let start = opaque(end - length - 1);
    if start >= PATH_BYTES as u64 {
        return false;
    }
    let path = room.path.as_mut_ptr();
    // SAFETY: `start` is below PATH_BYTES; up to 257 bytes from it on are written, words beyond
    // the name's end included, and the path's array is 256 + 8 bytes longer than PATH_BYTES.
    let at = unsafe { path.add(start as usize) };
    if reads_by_cast() {
        // Names are copied in words, beyond their end; what stood there is put back.
        // SAFETY: `end` is at most PATH_BYTES, and the array longer than that by more than 8.
        let after = unsafe { path.add(end as usize) };
        // SAFETY: as above.
        let kept = unsafe { load_u64(after) };
        let mut done = 0_u64;
        while done <= NAME_BYTES - 7 {
            if done >= length {
                break;
            }
            let word = read_u64(name + done);
            // SAFETY: as for `at`.
            unsafe { write_u64(at.add(1 + done as usize), word) };
            done += 8;
        }
        // SAFETY: as above.
        unsafe { write_u64(after, kept) };
    } else {
        // SAFETY: as for `at`; the helper checks the source.
        let failed = unsafe {
            bpf_probe_read_kernel(at.add(1).cast(), (length & NAME_BYTES) as u32, name as *const _)
        };
        if failed != 0 {
            return false;
        }
    }
    // SAFETY: as for `at`.
    unsafe { *at = lead };
    room.position = start as u32;
    room.last_length = length as u32;
    true
}

/// `sizeof(struct upid)`: a number and a pointer.
const NUMBER_BYTES: u64 = 16;
/// `MAX_PID_NS_LEVEL`.
const MAX_LEVEL: u32 = 32;

/// Writes the own process's number down as it stands in the procfs of this location, whose PID
/// namespace may be a container's.
#[inline(always)]
fn name_own_process(location: Location, room: &mut PathRoom) {
    let superblock = read_u64(location.mount + offset!(vfsmount_superblock));
    let procfs = read_u64(superblock + offset!(superblock_info));
    let namespace = read_u64(procfs + offset!(procfs_namespace));
    let level = read_u32(namespace + offset!(namespace_level));
    let leader = read_u64(current() + offset!(task_leader));
    let numbers = read_u64(leader + offset!(task_pid)) + offset!(pid_numbers);
    if level > MAX_LEVEL {
        return;
    }
    let mut number = read_u32(numbers + level as u64 * NUMBER_BYTES + offset!(number_value)) as u64;
    if number == 0 {
        return;
    }
    let (mut name, mut mask, mut length) = (0_u64, 0_u64, 0);
    // PID_MAX_LIMIT is 2^22: seven digits.
    for _ in 0..7 {
        name = (name << 8) | (b'0' as u64 + number % 10);
        mask = (mask << 8) | 0xff;
        length += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    room.own_name = name;
    room.own_mask = mask;
    room.own_length = length;
}

/// Turns `/811/maps` into `/self/maps` for process 811 itself, so that policies can speak of a
/// process's own entries and of nobody else's. Called at the root of a procfs.
#[inline(always)]
fn name_self(room: &mut PathRoom) {
    let position = opaque(room.position as u64);
    if position >= PATH_BYTES as u64 {
        return;
    }
    // SAFETY: `position` is below PATH_BYTES, and the array 256 bytes longer.
    let name = unsafe { load_u64(room.path.as_ptr().add(position as usize + 1)) };
    if name & room.own_mask != room.own_name {
        return;
    }
    let start = opaque((position + 1 + room.own_length as u64).wrapping_sub(5));
    if start >= PATH_BYTES as u64 {
        return;
    }
    let path = room.path.as_mut_ptr();
    // SAFETY: as above.
    unsafe {
        let at = path.add(start as usize);
        *at = b'/';
        *at.add(1) = b's';
        *at.add(2) = b'e';
        *at.add(3) = b'l';
        *at.add(4) = b'f';
    }
    room.position = start as u32;
    room.own_process = 1;
}
