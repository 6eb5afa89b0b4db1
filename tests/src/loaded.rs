//! What the kernel holds of BPF, whoever loaded it.

use std::{collections::BTreeSet, io};

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
