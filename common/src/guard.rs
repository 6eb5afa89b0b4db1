//! Decisions that no rule changes: what would let a process out of its boundary, or reach
//! ringfence or processes outside the scope.

use crate::{Action, Cell, Decision, Image, Reason, image::header};

/// Capabilities (`capability(7)`) that a governed process may not use, in whatever user namespace.
///
/// Each changes the boundary itself: what paths and addresses mean, what other processes hold,
/// or what the kernel runs.
pub const FORBIDDEN_CAPABILITIES: &[u32] = &[
    12, // NET_ADMIN: routes, tunnels, address translation
    13, // NET_RAW: packets past every socket rule
    15, // IPC_OWNER: memory that other users' processes share among themselves
    16, // SYS_MODULE
    17, // SYS_RAWIO: memory and ports
    18, // SYS_CHROOT: what a path means
    19, // SYS_PTRACE
    20, // SYS_PACCT: what every process of the machine did, written to a file
    21, // SYS_ADMIN: mounts, namespaces
    22, // SYS_BOOT: kexec
    25, // SYS_TIME: everybody's clock
    26, // SYS_TTY_CONFIG: everybody's terminals
    27, // MKNOD: every disk, and the kernel's memory
    30, // AUDIT_CONTROL
    32, // MAC_OVERRIDE
    33, // MAC_ADMIN
    34, // SYSLOG: the kernel's log
    38, // PERFMON
    39, // BPF
];

/// Whether a capability is among [`FORBIDDEN_CAPABILITIES`].
#[inline(always)]
pub fn is_forbidden_capability(number: u32) -> bool {
    const SET: u64 = {
        let mut set = 0;
        let mut i = 0;
        while i < FORBIDDEN_CAPABILITIES.len() {
            set |= 1 << FORBIDDEN_CAPABILITIES[i];
            i += 1;
        }
        set
    };
    number >= 64 || SET & (1 << number) != 0
}

/// The answer to an act of this kind by a governed process.
///
/// The `bpf` system call could switch ringfence off and is refused in observe mode too.
#[inline(always)]
pub fn decide<I: Image + ?Sized>(image: &I, action: Action) -> Decision {
    let reason = match action {
        Action::Mount | Action::Namespace => Reason::ForbiddenMount,
        Action::Capability => Reason::ForbiddenCapability,
        Action::Kernel => Reason::KernelControl,
        Action::Uring => Reason::ForbiddenUring,
        _ => Reason::SelfProtection,
    };
    match (action, image.word(header::GUARD_VIOLATION)) {
        (Action::Bpf, _) => Decision::deny(Reason::SelfProtection),
        (_, Some(word)) => Decision::of(Cell(word), reason),
        (_, None) => Decision::deny(Reason::TableCorrupt),
    }
}

/// The answer to making an io_uring.
#[inline(always)]
pub fn decide_ring<I: Image + ?Sized>(image: &I) -> Decision {
    match image.word(header::IO_URING) {
        Some(word) => Decision::of(Cell(word), Reason::ForbiddenUring),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

/// Whether a character device is good for nothing but itself: null, zero, full, random, urandom,
/// tty, ptmx, and the ends of pseudo-terminals (`Documentation/admin-guide/devices.txt`).
///
/// `number` is the kernel's own `dev_t`: the minor in the lower 20 bits.
#[inline(always)]
pub const fn is_harmless_device(number: u32) -> bool {
    matches!((number >> 20, number & 0xf_ffff), (1, 3 | 5 | 7..=9) | (5, 0 | 2) | (136..=143, _))
}

/// The answer to opening another device where no policy is about files.
#[inline(always)]
pub fn decide_device<I: Image + ?Sized>(image: &I) -> Decision {
    match image.word(header::GUARD_VIOLATION) {
        Some(word) => Decision::of(Cell(word), Reason::FsViolation),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

/// The answer to a write to the kernel's own control files, wherever they are mounted.
#[inline(always)]
pub fn decide_control<I: Image + ?Sized>(image: &I) -> Decision {
    match image.word(header::GUARD_VIOLATION) {
        Some(word) => Decision::of(Cell(word), Reason::KernelControl),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_memory_are_not_harmless() {
        for (major, minor) in [(1, 3), (1, 9), (5, 0), (5, 2), (136, 0), (143, 7)] {
            assert!(is_harmless_device(major << 20 | minor), "{major}:{minor}");
        }
        // Memory, ports, the kernel's log, the console, a disk, kvm.
        for (major, minor) in [(1, 1), (1, 4), (1, 11), (5, 1), (8, 0), (10, 232), (0, 3)] {
            assert!(!is_harmless_device(major << 20 | minor), "{major}:{minor}");
        }
    }

    #[test]
    fn ordinary_capabilities_stay_and_unknown_ones_do_not() {
        assert!(is_forbidden_capability(21));
        assert!(is_forbidden_capability(63 + 1), "a capability we cannot name is refused");
        for chown_or_setuid in [0, 1, 7] {
            assert!(!is_forbidden_capability(chown_or_setuid));
        }
    }
}
