//! Addresses of variables of the kernel (`/proc/kallsyms`).

use std::{fs::File, io::BufReader};

use anyhow::{Context as _, Result, bail};

const SYMBOLS: &str = "/proc/kallsyms";

/// Addresses of the locks by whose counts the programs see that a path changed while they put it
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathLocks {
    /// `rename_lock` (`fs/dcache.c`).
    pub(crate) rename: u64,
    /// `mount_lock` (`fs/namespace.c`).
    pub(crate) mount: u64,
}

/// Finds the locks in the kernel's list of symbols.
///
/// # Errors
///
/// When the kernel does not tell: paths could not be judged reliably then.
pub(crate) fn path_locks() -> Result<PathLocks> {
    let file = File::open(SYMBOLS).context(SYMBOLS)?;
    in_list(BufReader::new(file)).context("a path cannot be judged while files are being renamed")
}

fn in_list(list: impl std::io::BufRead) -> Result<PathLocks> {
    let (mut rename, mut mount) = (None, None);
    for line in list.lines() {
        let line = line.context(SYMBOLS)?;
        // Symbols of modules have a fourth word.
        let mut words = line.split_ascii_whitespace();
        let (address, name, module) = (words.next(), words.nth(1), words.next());
        let place = match (name, module) {
            (Some("rename_lock"), None) => &mut rename,
            (Some("mount_lock"), None) => &mut mount,
            _ => continue,
        };
        *place = address.and_then(|text| u64::from_str_radix(text, 16).ok());
        if rename.is_some() && mount.is_some() {
            break;
        }
    }
    match (rename, mount) {
        (Some(rename @ 1..), Some(mount @ 1..)) => Ok(PathLocks { rename, mount }),
        (Some(_), Some(_)) => bail!(
            "the kernel hides its addresses from root too: `sysctl kernel.kptr_restrict` must be \
             0 or 1 while ringfence starts"
        ),
        _ => bail!(
            "{SYMBOLS} names no `rename_lock` and `mount_lock`: the kernel must be built with \
             CONFIG_KALLSYMS_ALL"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<PathLocks, String> {
        in_list(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_locks_are_the_kernels_and_not_those_of_a_module() {
        let list = "ffffffff81000000 T start\nffffffffc0000010 d rename_lock\t[xfs]\n\
                    ffffffff82000640 D rename_lock\nffffffff820006c0 D mount_lock\n";
        let locks = PathLocks { rename: 0xffff_ffff_8200_0640, mount: 0xffff_ffff_8200_06c0 };
        assert_eq!(found(list), Ok(locks));
    }

    #[test]
    fn hidden_and_missing_addresses_are_told_apart() {
        let hidden = "0000000000000000 D rename_lock\n0000000000000000 D mount_lock\n";
        assert!(found(hidden).unwrap_err().contains("kptr_restrict"));
        for missing in ["", "ffffffff82000640 D rename_lock\n", "x\n", "zz D rename_lock\n"] {
            assert!(found(missing).unwrap_err().contains("CONFIG_KALLSYMS_ALL"), "{missing}");
        }
    }
}
