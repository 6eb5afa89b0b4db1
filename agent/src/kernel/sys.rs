//! The few uses of the `bpf` system call that the loader has no call for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

/// `BPF_MAP_CREATE`.
const CREATE: i32 = 0;
/// `BPF_MAP_LOOKUP_ELEM`.
const LOOKUP: i32 = 1;
/// `BPF_MAP_UPDATE_ELEM`.
const UPDATE: i32 = 2;

/// `BPF_MAP_DELETE_ELEM`.
const DELETE: i32 = 3;
/// `BPF_MAP_GET_NEXT_KEY`.
const NEXT_KEY: i32 = 4;

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

/// Sets an element of a map. The key and the value must be as long as the map's.
///
/// # Errors
///
/// The system call's.
pub(crate) fn set(map: impl AsFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut element = Element {
        map: map.as_fd().as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        ..Element::default()
    };
    bpf(UPDATE, &mut element)
}

/// Removes an element of a map, whose key must be as long as the map's; one that is not there is
/// removed already.
///
/// # Errors
///
/// The system call's.
pub(crate) fn remove(map: impl AsFd, key: &[u8]) -> io::Result<()> {
    let mut element = Element {
        map: map.as_fd().as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        ..Element::default()
    };
    match bpf(DELETE, &mut element) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Writes the key that follows another in a map into `key`, or the first; false after the last.
///
/// # Errors
///
/// The system call's.
pub(crate) fn next_key(map: impl AsFd, last: Option<&[u8]>, key: &mut [u8]) -> io::Result<bool> {
    let mut element = Element {
        map: map.as_fd().as_raw_fd() as u32,
        key: last.map_or(0, |last| last.as_ptr() as u64),
        value: key.as_mut_ptr() as u64,
        ..Element::default()
    };
    match bpf(NEXT_KEY, &mut element) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a new map is like (`linux/bpf.h`).
#[derive(Debug, Default)]
pub(crate) struct NewMap<'a> {
    /// `BPF_MAP_TYPE_…`.
    pub(crate) kind: u32,
    /// Bytes of a key.
    pub(crate) key: u32,
    /// Bytes of a value.
    pub(crate) value: u32,
    /// Elements.
    pub(crate) entries: u32,
    /// An example of the maps that it holds, if it holds maps.
    pub(crate) inner: Option<BorrowedFd<'a>>,
}

/// Makes a map.
///
/// # Errors
///
/// The system call's.
pub(crate) fn create(new: &NewMap<'_>) -> io::Result<OwnedFd> {
    // `map_type`, `key_size`, `value_size`, `max_entries`, `map_flags`, `inner_map_fd`.
    let inner = new.inner.map_or(0, |inner| inner.as_raw_fd() as u32);
    let attributes = [new.kind, new.key, new.value, new.entries, 0, inner];
    // SAFETY: the attributes are words of ours, and as many as is said.
    let map = unsafe {
        libc::syscall(libc::SYS_bpf, CREATE, attributes.as_ptr(), size_of_val(&attributes))
    };
    let map = RawFd::try_from(map).unwrap_or(-1);
    if map < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(map) })
}

/// Reads an element of a map into `value`, which must be as long as the map's, as must the key;
/// false if there is none. The key of task storage is a pidfd.
///
/// # Errors
///
/// The system call's.
pub(crate) fn get(map: impl AsFd, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut element = Element {
        map: map.as_fd().as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        ..Element::default()
    };
    match bpf(LOOKUP, &mut element) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tries the `bpf` system call as a governed process must not: true when it is refused with
/// EPERM. A privileged process that is not governed is told that the map it asks for is invalid.
pub(crate) fn is_bpf_refused() -> bool {
    let refused = bpf(CREATE, &mut Element::default());
    refused.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}
