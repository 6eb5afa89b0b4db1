//! The few uses of the `bpf` system call that the loader has no call for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// `BPF_MAP_CREATE`.
const CREATE: i32 = 0;
/// `BPF_MAP_LOOKUP_ELEM`.
const LOOKUP: i32 = 1;
/// `BPF_MAP_UPDATE_ELEM`.
const UPDATE: i32 = 2;

/// `union bpf_attr` as the element commands use it (`linux/bpf.h`).
#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn bpf(command: i32, attributes: &mut Element) -> io::Result<()> {
    // SAFETY: `attributes` is a live `repr(C)` structure of the size that is passed, and the
    // pointers in it are to buffers that the callers below keep alive and that are as long as
    // the map's key and value.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<Element>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the element of a map with one element, whose value is as long as `value`.
///
/// # Errors
///
/// The system call's.
pub(crate) fn set_only_element(map: impl AsFd, value: &[u8]) -> io::Result<()> {
    let key = 0_u32;
    let mut element = Element {
        map: map.as_fd().as_raw_fd() as u32,
        key: (&raw const key) as u64,
        value: value.as_ptr() as u64,
        ..Element::default()
    };
    bpf(UPDATE, &mut element)
}

/// Whether a map of task storage has a value for the process behind a pidfd. `value` must be as
/// long as the map's value.
pub(crate) fn has_task(map: impl AsFd, pidfd: impl AsFd, value: &mut [u8]) -> bool {
    let key = pidfd.as_fd().as_raw_fd();
    let mut element = Element {
        map: map.as_fd().as_raw_fd() as u32,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        ..Element::default()
    };
    bpf(LOOKUP, &mut element).is_ok()
}

/// Tries the `bpf` system call as a governed process must not: true when it is refused with
/// EPERM. A privileged process that is not governed is told that the map it asks for is invalid.
pub(crate) fn is_bpf_refused() -> bool {
    let refused = bpf(CREATE, &mut Element::default());
    refused.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}
