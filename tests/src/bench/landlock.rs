//! Landlock: rulesets that let folders be read or ports be connected to, and everything else that
//! they govern be refused.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::PathBuf,
};

/// `LANDLOCK_ACCESS_FS_EXECUTE`, which is not governed here, comes before these two.
const READ_FILE: u64 = 1 << 2;
/// `LANDLOCK_ACCESS_FS_READ_DIR`.
const READ_DIR: u64 = 1 << 3;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: libc::c_int = 1;

/// `LANDLOCK_ACCESS_NET_CONNECT_TCP`, of kernels from 6.7 on.
const CONNECT_TCP: u64 = 1 << 1;
/// `LANDLOCK_RULE_NET_PORT`.
const NET_PORT: libc::c_int = 2;
/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// The version of the interface that came with rules about ports.
const PORTS_VERSION: i64 = 4;

/// `struct landlock_ruleset_attr`, its first two members.
#[repr(C)]
struct Attributes {
    handled_access_fs: u64,
    handled_access_net: u64,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct Port {
    allowed_access: u64,
    port: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Confines this thread, and what it becomes, to reading these files and below these folders.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn confine(folders: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    // Kernels before 6.7 know the first member alone.
    let ruleset = Ruleset::new(READ_FILE | READ_DIR, 0, size_of::<u64>())?;
    for path in folders {
        let opened = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        let is_folder = opened.metadata()?.is_dir();
        let allowed_access = if is_folder { READ_FILE | READ_DIR } else { READ_FILE };
        let rule = PathBeneath { allowed_access, parent_fd: opened.as_raw_fd() };
        ruleset.add(PATH_BENEATH, &rule)?;
    }
    ruleset.restrict()
}

/// Confines this thread, and what it becomes, to connecting to these ports by TCP.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn confine_ports(ports: impl Iterator<Item = u16>) -> io::Result<()> {
    let ruleset = Ruleset::new(0, CONNECT_TCP, size_of::<Attributes>())?;
    for port in ports {
        ruleset.add(NET_PORT, &Port { allowed_access: CONNECT_TCP, port: port.into() })?;
    }
    ruleset.restrict()
}

/// Whether the kernel knows rules about ports.
pub(crate) fn knows_ports() -> bool {
    let none = std::ptr::null::<Attributes>();
    // SAFETY: without attributes, the call only tells the version.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    version >= PORTS_VERSION
}

/// A ruleset in the making.
struct Ruleset(OwnedFd);

impl Ruleset {
    /// `length` is that of the attributes' members that the kernel knows.
    fn new(files: u64, network: u64, length: usize) -> io::Result<Self> {
        let attributes = Attributes { handled_access_fs: files, handled_access_net: network };
        // SAFETY: the structure is that of `landlock_create_ruleset(2)`, and at least that long.
        let ruleset = check(unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, length, 0)
        })?;
        // SAFETY: the descriptor is new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(ruleset as i32) }))
    }

    /// Adds a rule, which must be the structure for its kind.
    fn add<T>(&self, kind: libc::c_int, rule: &T) -> io::Result<()> {
        // SAFETY: the structure is that of `landlock_add_rule(2)` for the kind.
        check(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.0.as_raw_fd(),
                kind,
                &raw const *rule,
                0,
            )
        })
        .map(drop)
    }

    fn restrict(self) -> io::Result<()> {
        // SAFETY: numbers alone.
        unsafe {
            check(i64::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))?;
            check(libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0))?;
        }
        Ok(())
    }
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
