//! Acts towards a process, given by its number, or towards what processes share.

use std::{
    io,
    mem::zeroed,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    ptr::{null, null_mut},
};

use libc::pid_t;

use super::{Act, Trouble, argument, parsed};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("signal-thread", signal_thread),
    ("queue-signal", queue_signal),
    ("own-descriptor", own_descriptor),
    ("limit", limit),
    ("nice", nice),
    ("schedule", schedule),
    ("pin-to-processor", pin_to_processor),
    ("input-priority", input_priority),
    ("poke", poke),
    ("compare", compare),
    ("type-into-terminal", type_into_terminal),
    ("message-queue", message_queue),
    ("attach-memory", attach_memory),
];

fn done(result: impl Into<i64>) -> Done {
    sys::check(result)?;
    Ok(String::new())
}

/// A system call that takes numbers, and pointers to what lives until its end.
fn call(number: i64, given: &[i64]) -> Done {
    let mut arguments = [0; 6];
    arguments[..given.len()].copy_from_slice(given);
    // SAFETY: callers give numbers, and pointers to structures of their own.
    unsafe { sys::call(number, arguments) }?;
    Ok(String::new())
}

fn signal_thread(a: Arguments) -> Done {
    let process: i64 = parsed(a, 0)?;
    call(libc::SYS_tgkill, &[process, process, 0])
}

fn queue_signal(a: Arguments) -> Done {
    // SAFETY: an all-zero siginfo_t is a valid one.
    let mut about: libc::siginfo_t = unsafe { zeroed() };
    about.si_code = libc::SI_QUEUE;
    call(libc::SYS_rt_sigqueueinfo, &[parsed(a, 0)?, 0, (&raw const about) as i64])
}

/// Has the kernel signal a process when something arrives at a descriptor.
fn own_descriptor(a: Arguments) -> Done {
    /// `FIOSETOWN`.
    const FIOSETOWN: libc::c_ulong = 0x8901;
    let process: pid_t = parsed(a, 0)?;
    let (one, _other) = UnixStream::pair()?;
    if argument(a, 1)? == b"ioctl" {
        // SAFETY: the pointer is to our own number.
        return done(unsafe { libc::ioctl(one.as_raw_fd(), FIOSETOWN, &raw const process) });
    }
    // SAFETY: no memory is involved.
    done(unsafe { libc::fcntl(one.as_raw_fd(), libc::F_SETOWN, process) })
}

fn limit(a: Arguments) -> Done {
    let limit = libc::rlimit { rlim_cur: 512, rlim_max: 1024 };
    let (process, what) = (parsed(a, 0)?, libc::RLIMIT_NOFILE);
    // SAFETY: the limit is ours, and null asks for no old one.
    done(unsafe { libc::prlimit(process, what, &raw const limit, null_mut()) })
}

fn nice(a: Arguments) -> Done {
    let process: pid_t = parsed(a, 0)?;
    // SAFETY: no memory is involved.
    done(unsafe { libc::setpriority(libc::PRIO_PROCESS, process as libc::id_t, 5) })
}

fn schedule(a: Arguments) -> Done {
    // SAFETY: an all-zero sched_param is a valid one.
    let parameters: libc::sched_param = unsafe { zeroed() };
    let process = parsed(a, 0)?;
    // SAFETY: the parameters are ours.
    done(unsafe { libc::sched_setscheduler(process, libc::SCHED_BATCH, &raw const parameters) })
}

fn pin_to_processor(a: Arguments) -> Done {
    let mask = u64::MAX;
    call(libc::SYS_sched_setaffinity, &[parsed(a, 0)?, 8, (&raw const mask) as i64])
}

fn input_priority(a: Arguments) -> Done {
    /// `IOPRIO_WHO_PROCESS`, and the lowest of `IOPRIO_CLASS_BE`.
    const PROCESS: i64 = 1;
    const LOWEST: i64 = (2 << 13) | 7;
    call(libc::SYS_ioprio_set, &[PROCESS, parsed(a, 0)?, LOWEST])
}

/// Writes four bytes into a process's memory.
fn poke(a: Arguments) -> Done {
    let (process, address) = (parsed::<pid_t>(a, 0)?, parsed::<usize>(a, 1)?);
    let mut bytes = [0_u8; 4];
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 4 };
    let there = libc::iovec { iov_base: address as *mut _, iov_len: 4 };
    // SAFETY: the buffer is ours; the other address is of the other process.
    done(unsafe {
        libc::process_vm_writev(process, &raw const here, 1, &raw const there, 1, 0) as i64
    })
}

/// Asks whether a process has the same memory as this one.
fn compare(a: Arguments) -> Done {
    /// `KCMP_VM`.
    const MEMORY: i64 = 1;
    call(libc::SYS_kcmp, &[parsed(a, 0)?, std::process::id().into(), MEMORY])
}

/// Makes a terminal, takes it as its own, and types into it.
fn type_into_terminal(_: Arguments) -> Done {
    let controller = sys::open(b"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0)?;
    let mut name = [0_u8; 64];
    // SAFETY: the buffer is ours, and as long as is said.
    let failed = unsafe {
        libc::unlockpt(controller.as_raw_fd()) != 0
            || libc::ptsname_r(controller.as_raw_fd(), name.as_mut_ptr().cast(), 64) != 0
    };
    if failed {
        return Err(io::Error::last_os_error().into());
    }
    // Its end ends the session, which must not be the end of us.
    // SAFETY: no memory is involved.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    // SAFETY: as above.
    unsafe { libc::setsid() };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let terminal: OwnedFd = sys::open(name, libc::O_RDWR, 0)?;
    // SAFETY: the pointer is to a byte.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, c"x".as_ptr()) })
}

fn message_queue(_: Arguments) -> Done {
    let name = c"/ringfence-test".as_ptr();
    let flags = libc::O_CREAT | libc::O_RDWR;
    let attributes = null::<libc::mq_attr>();
    // SAFETY: the name is a NUL-terminated string, and null asks for the usual attributes.
    let queue = sys::check(unsafe { libc::mq_open(name, flags, 0o600, attributes) });
    // SAFETY: as above.
    unsafe { libc::mq_unlink(name) };
    drop(sys::owned(queue?));
    Ok(String::new())
}

/// Reads from a segment of System V shared memory.
fn attach_memory(a: Arguments) -> Done {
    // SAFETY: a new mapping at a place of the kernel's choice.
    let at = unsafe { libc::shmat(parsed(a, 0)?, null(), libc::SHM_RDONLY) };
    if at as isize == -1 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the segment is mapped, and has a first byte.
    let byte = unsafe { at.cast::<u8>().read_volatile() };
    Ok(byte.to_string())
}
