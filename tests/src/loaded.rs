//! What the kernel holds of BPF, whoever loaded it.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

/// `BPF_PROG_GET_NEXT_ID` (`linux/bpf.h`).
const NEXT: i64 = 11;

/// Identifiers of all BPF programs.
///
/// # Errors
///
/// The system call's; at the end of the list it gives `ENOENT`, which is none.
pub fn programs() -> io::Result<BTreeSet<u32>> {
    let mut programs = BTreeSet::new();
    let mut attributes = [0_u32; 4];
    loop {
        attributes[0] = programs.last().copied().unwrap_or(0);
        // SAFETY: the attributes are ours, and of the length that is given.
        let result = unsafe { libc::syscall(libc::SYS_bpf, NEXT, attributes.as_mut_ptr(), 16_i64) };
        if result >= 0 {
            programs.insert(attributes[1]);
            continue;
        }
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOENT) { Ok(programs) } else { Err(error) };
    }
}

/// What a program has done while the kernel counted it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runs {
    /// How often it ran.
    pub count: u64,
    /// How long that took, in nanoseconds.
    pub time: u64,
}

/// `BPF_PROG_GET_FD_BY_ID` (`linux/bpf.h`).
const OPEN: i64 = 13;
/// `BPF_OBJ_GET_INFO_BY_FD`.
const INFO: i64 = 15;
/// Words of `struct bpf_prog_info` up to and with `run_cnt`.
const INFO_WORDS: usize = 26;

/// The name of a program, of which the kernel keeps 15 bytes, and what it has done.
///
/// # Errors
///
/// The system call's.
pub fn runs(program: u32) -> io::Result<(String, Runs)> {
    let mut attributes = [0_u32; 4];
    attributes[0] = program;
    // SAFETY: the attributes are ours, and of the length that is given.
    let opened =
        check(unsafe { libc::syscall(libc::SYS_bpf, OPEN, attributes.as_mut_ptr(), 16_i64) })?;
    // SAFETY: the descriptor is new, and nobody else's.
    let opened = unsafe { OwnedFd::from_raw_fd(opened as i32) };
    let mut info = [0_u64; INFO_WORDS];
    let mut attributes = InfoAttributes {
        descriptor: opened.as_raw_fd(),
        length: size_of_val(&info) as u32,
        info: info.as_mut_ptr(),
    };
    // SAFETY: the attributes are those of the call, and what they point to is as long as they say.
    check(unsafe { libc::syscall(libc::SYS_bpf, INFO, &raw mut attributes, 16_i64) })?;
    // `name` is 16 bytes at 64, `run_time_ns` stands at 192, `run_cnt` behind it.
    let name: Vec<u8> = info[8..10].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    Ok((name, Runs { count: info[25], time: info[24] }))
}

/// The attributes of [`INFO`].
#[repr(C)]
struct InfoAttributes {
    descriptor: RawFd,
    length: u32,
    info: *mut u64,
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
