//! Acts against the boundary itself, and against processes beyond it.

use std::{os::fd::AsRawFd as _, process::Command, ptr::null};

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("mount", |a| mount(a, None)),
    ("bind", |a| mount(a, Some(libc::MS_BIND))),
    ("remount", |a| mount(a, Some(libc::MS_REMOUNT))),
    ("make-private", |a| mount(a, Some(libc::MS_PRIVATE))),
    ("umount", umount),
    ("pivot-root", pivot_root),
    ("chroot", chroot),
    ("unshare", unshare),
    ("setns", setns),
    ("open-tree", open_tree),
    ("move-mount", move_mount),
    ("fsopen", fsopen),
    ("bpf", bpf),
    ("perf-event", perf_event),
    ("signal", signal),
    ("signal-by-descriptor", signal_by_descriptor),
    ("seize", seize),
    ("peek", peek),
    ("take-descriptor", take_descriptor),
    ("load-module", load_module),
    ("unload-module", unload_module),
    ("set-host-name", set_host_name),
    ("signal-child", signal_child),
    ("trace-child", trace_child),
    ("trace-me", trace_me),
    ("add-key", add_key),
    ("request-key", request_key),
    ("read-key", read_key),
    ("new-session-keyring", new_session_keyring),
    ("read-kernel-log", read_kernel_log),
    ("load-module-file", load_module_file),
    ("swap-on", swap_on),
    ("snapshot", snapshot),
    ("type-into-terminal-32", type_into_terminal_32),
];

/// A system call given by number, whose pointers are NUL-terminated strings of ours, or null.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        let mut arguments = [0_i64; 6];
        let given: &[i64] = &[$($argument as i64),*];
        arguments[..given.len()].copy_from_slice(given);
        // SAFETY: numbers, and pointers to what lives until the end of the caller.
        unsafe { sys::call(libc::$number, arguments) }
    }};
}

/// Mounts a tmpfs at the first argument, or the second argument there.
fn mount(a: Arguments, flags: Option<u64>) -> Done {
    let target = sys::text(argument(a, 0)?)?;
    let source = sys::text(argument(a, 1).unwrap_or(b"none"))?;
    let kind = if flags.is_none() { c"tmpfs".as_ptr() } else { null() };
    call!(SYS_mount, source.as_ptr(), target.as_ptr(), kind, flags.unwrap_or(0))?;
    Ok(String::new())
}

fn umount(a: Arguments) -> Done {
    let target = sys::text(argument(a, 0)?)?;
    call!(SYS_umount2, target.as_ptr(), libc::MNT_DETACH)?;
    Ok(String::new())
}

/// Makes the mount at the first argument the root, in a mount namespace made for it where that
/// is possible: without one, the whole machine would have a new root.
fn pivot_root(a: Arguments) -> Done {
    let root = sys::text(argument(a, 0)?)?;
    if call!(SYS_unshare, libc::CLONE_NEWNS).is_ok() {
        call!(
            SYS_mount,
            null::<u8>(),
            c"/".as_ptr(),
            null::<u8>(),
            libc::MS_REC | libc::MS_PRIVATE
        )?;
        call!(SYS_mount, c"none".as_ptr(), root.as_ptr(), c"tmpfs".as_ptr(), 0)?;
        call!(SYS_chdir, root.as_ptr())?;
    }
    call!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr())?;
    Ok(String::new())
}

fn chroot(a: Arguments) -> Done {
    let root = sys::text(argument(a, 0)?)?;
    call!(SYS_chroot, root.as_ptr())?;
    Ok(String::new())
}

/// Leaves the namespaces that a number stands for.
fn unshare(a: Arguments) -> Done {
    call!(SYS_unshare, parsed::<i64>(a, 0)?)?;
    Ok(String::new())
}

/// Enters a namespace, given by its path.
fn setns(a: Arguments) -> Done {
    let namespace = sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?;
    call!(SYS_setns, namespace.as_raw_fd(), 0)?;
    Ok(String::new())
}

/// `OPEN_TREE_CLONE`.
const CLONE_TREE: i64 = 1;

fn open_tree(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    call!(SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), CLONE_TREE)?;
    Ok(String::new())
}

/// Clones a tree and mounts it elsewhere.
fn move_mount(a: Arguments) -> Done {
    let (from, to) = (sys::text(argument(a, 0)?)?, sys::text(argument(a, 1)?)?);
    let tree = call!(SYS_open_tree, libc::AT_FDCWD, from.as_ptr(), CLONE_TREE).map(sys::owned)?;
    /// `MOVE_MOUNT_F_EMPTY_PATH`.
    const OF_DESCRIPTOR: i64 = 4;
    call!(
        SYS_move_mount,
        tree.as_raw_fd(),
        c"".as_ptr(),
        libc::AT_FDCWD,
        to.as_ptr(),
        OF_DESCRIPTOR
    )?;
    Ok(String::new())
}

fn fsopen(_: Arguments) -> Done {
    call!(SYS_fsopen, c"tmpfs".as_ptr(), 0)?;
    Ok(String::new())
}

/// Makes a BPF map.
fn bpf(_: Arguments) -> Done {
    // BPF_MAP_CREATE of an array with one element of four bytes.
    let attributes: [u32; 18] = [2, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    call!(SYS_bpf, 0, attributes.as_ptr(), size_of_val(&attributes))?;
    Ok(String::new())
}

/// Counts the time of a processor.
fn perf_event(_: Arguments) -> Done {
    // struct perf_event_attr: PERF_TYPE_SOFTWARE, PERF_ATTR_SIZE_VER0, PERF_COUNT_SW_CPU_CLOCK.
    let mut attributes = [0_u32; 16];
    (attributes[0], attributes[1]) = (1, 64);
    call!(SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, 0)?;
    Ok(String::new())
}

/// Sends a signal, by number.
fn signal(a: Arguments) -> Done {
    sys::kill(parsed(a, 0)?, parsed(a, 1)?)?;
    Ok(String::new())
}

fn signal_by_descriptor(a: Arguments) -> Done {
    let process = call!(SYS_pidfd_open, parsed::<i64>(a, 0)?).map(sys::owned)?;
    call!(SYS_pidfd_send_signal, process.as_raw_fd(), 0)?;
    Ok(String::new())
}

/// Begins to trace a process without stopping it.
fn seize(a: Arguments) -> Done {
    call!(SYS_ptrace, libc::PTRACE_SEIZE, parsed::<i64>(a, 0)?)?;
    Ok(String::new())
}

/// Reads four bytes of a process's memory.
fn peek(a: Arguments) -> Done {
    let process: i32 = parsed(a, 0)?;
    let address: usize = parsed(a, 1)?;
    let mut bytes = [0_u8; 4];
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 4 };
    let there = libc::iovec { iov_base: address as *mut _, iov_len: 4 };
    // SAFETY: the buffer is ours; the other address is of the other process.
    let read = unsafe {
        libc::process_vm_readv(process, &raw const here, 1, &raw const there, 1, 0) as i64
    };
    sys::check(read)?;
    Ok(String::new())
}

/// Takes the standard input of a process.
fn take_descriptor(a: Arguments) -> Done {
    let process = call!(SYS_pidfd_open, parsed::<i64>(a, 0)?).map(sys::owned)?;
    call!(SYS_pidfd_getfd, process.as_raw_fd(), 0).map(sys::owned)?;
    Ok(String::new())
}

/// Loads a module that is none: whoever may load modules is told ENOEXEC.
fn load_module(_: Arguments) -> Done {
    let nothing = [0_u8; 4096];
    call!(SYS_init_module, nothing.as_ptr(), nothing.len(), c"".as_ptr())?;
    Ok(String::new())
}

/// Removes a module that is not there: whoever may remove modules is told ENOENT.
fn unload_module(_: Arguments) -> Done {
    call!(SYS_delete_module, c"ringfence_test_no_such".as_ptr(), libc::O_NONBLOCK)?;
    Ok(String::new())
}

fn set_host_name(_: Arguments) -> Done {
    let name = std::fs::read("/proc/sys/kernel/hostname")?;
    call!(SYS_sethostname, name.as_ptr(), name.len() - 1)?;
    Ok(String::new())
}

/// Ends a child of its own.
fn signal_child(_: Arguments) -> Done {
    let mut child = Command::new("/bin/sleep").arg("30").spawn()?;
    child.kill()?;
    let status = child.wait()?;
    Ok(status.to_string())
}

/// Traces a child of its own.
fn trace_child(_: Arguments) -> Done {
    let mut child = Command::new("/bin/sleep").arg("30").spawn()?;
    let number = i64::from(child.id());
    let traced = call!(SYS_ptrace, libc::PTRACE_SEIZE, number);
    let _ = child.kill();
    child.wait()?;
    traced?;
    Ok(String::new())
}

/// Has itself traced by its parent.
fn trace_me(_: Arguments) -> Done {
    call!(SYS_ptrace, libc::PTRACE_TRACEME)?;
    Ok(String::new())
}

/// `KEY_SPEC_USER_KEYRING`: of all processes of the user.
const USER_KEYRING: i64 = -4;

fn add_key(_: Arguments) -> Done {
    let (kind, name) = (c"user".as_ptr(), c"ringfence-test-added".as_ptr());
    call!(SYS_add_key, kind, name, c"x".as_ptr(), 1, USER_KEYRING)?;
    Ok(String::new())
}

/// Asks for a key that is not there, so that a program outside the scope is started to make it.
fn request_key(_: Arguments) -> Done {
    // What was not found is remembered for a minute.
    let name = sys::text(format!("ringfence-test-{}", std::process::id()).as_bytes())?;
    call!(SYS_request_key, c"user".as_ptr(), name.as_ptr(), c"told".as_ptr(), 0)?;
    Ok(String::new())
}

/// Reads a key of the user's, by its number.
fn read_key(a: Arguments) -> Done {
    /// `KEYCTL_READ`.
    const READ: i64 = 11;
    let mut text = [0_u8; 64];
    let length = call!(SYS_keyctl, READ, parsed::<i64>(a, 0)?, text.as_mut_ptr(), 64)?;
    Ok(String::from_utf8_lossy(&text[..length as usize]).into_owned())
}

fn new_session_keyring(_: Arguments) -> Done {
    /// `KEYCTL_JOIN_SESSION_KEYRING`.
    const JOIN: i64 = 1;
    call!(SYS_keyctl, JOIN, 0)?;
    Ok(String::new())
}

/// Asks how long the kernel's log may be, which needs no capability.
fn read_kernel_log(_: Arguments) -> Done {
    /// `SYSLOG_ACTION_SIZE_BUFFER`.
    const SIZE: i64 = 10;
    call!(SYS_syslog, SIZE, 0, 0)?;
    Ok(String::new())
}

/// Loads a module that is none, by a descriptor: whoever may is told ENOEXEC.
fn load_module_file(_: Arguments) -> Done {
    let file = sys::open(b"/proc/self/exe", libc::O_RDONLY, 0)?;
    call!(SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0)?;
    Ok(String::new())
}

/// Swaps to what is no swap space: whoever may is told so.
fn swap_on(a: Arguments) -> Done {
    let path = sys::text(argument(a, 0)?)?;
    call!(SYS_swapon, path.as_ptr(), 0)?;
    Ok(String::new())
}

/// Types a character into a terminal of its own making.
fn type_into_terminal_32(_: Arguments) -> Done {
    /// `TIOCSTI`.
    const TYPE: u32 = 0x5412;
    let terminal = sys::open(b"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0)?;
    sys::ioctl_32(terminal.as_raw_fd(), TYPE, b'x'.into())?;
    Ok(String::new())
}

/// Has a snapshot made of a folder, as on btrfs: elsewhere, whoever may is told ENOTTY.
fn snapshot(a: Arguments) -> Done {
    /// `BTRFS_IOC_SNAP_CREATE`.
    const SNAPSHOT: u32 = 0x5000_9401;
    let folder = sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?;
    let request = [0_u8; 4096];
    call!(SYS_ioctl, folder.as_raw_fd(), SNAPSHOT, request.as_ptr())?;
    Ok(String::new())
}
