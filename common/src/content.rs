//! Files whose content a policy names: what the agent tells the kernel programs of those that have
//! it, and by which the programs know that they still do.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The rule number of a key that asks whether any rule names a file's content.
pub const ANY_RULE: u32 = 0;
/// Entries that all scopes of a set of programs have room for together.
pub const MAX_PINS: u32 = 1 << 16;

/// Which file, and the rule that names its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key {
    /// Device of the file system, as the kernel has it (`s_dev`).
    pub device: u32,
    /// Number of the rule, or [`ANY_RULE`].
    pub rule: u32,
    /// Number of the inode (`i_ino`).
    pub inode: u64,
    /// Number of the scope whose policy has the rule.
    pub scope: u32,
    /// The generation of that policy, as in the image
    /// ([`GENERATION`](crate::image::header)).
    pub generation: u32,
}

/// What a file was like when its content was the one that the rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Pin {
    /// Time of the last change of the inode, in seconds: every write moves it, and no call sets
    /// it back.
    pub changed_seconds: u64,
    /// Length in bytes.
    pub size: u64,
    /// The rest of the time of the last change.
    pub changed_nanoseconds: u32,
    /// Generation of the inode; asked of files with fs-verity only.
    pub generation: u32,
    /// 1 for a file that fs-verity keeps from being changed: its generation is compared, and not
    /// its times.
    pub is_sealed: u32,
    /// A [`Cell`](crate::Cell): the answer to changing the file.
    pub refusal: u32,
}

/// `S_VERITY` (`linux/fs.h`), among an inode's flags.
pub const VERITY: u32 = 1 << 16;

/// An inode as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    /// As in [`Pin`].
    pub changed_seconds: u64,
    /// As in [`Pin`].
    pub size: u64,
    /// As in [`Pin`]; the highest bit is the kernel's own.
    pub changed_nanoseconds: u32,
    /// As in [`Pin`].
    pub generation: u32,
    /// `i_flags`.
    pub flags: u32,
    /// How many hold it open for writing (`i_writecount`): what they write by a mapping moves no
    /// time. Negative while it is executed.
    pub writers: i32,
}

impl Pin {
    /// Whether the inode has the content that it had.
    #[inline(always)]
    pub const fn holds(&self, inode: Inode) -> bool {
        /// `I_CTIME_QUERIED`, since Linux 6.13.
        const QUERIED: u32 = 1 << 31;
        if self.is_sealed != 0 {
            return inode.flags & VERITY != 0 && inode.generation == self.generation;
        }
        inode.writers <= 0
            && inode.changed_seconds == self.changed_seconds
            && inode.changed_nanoseconds & !QUERIED == self.changed_nanoseconds
            && inode.size == self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: Pin = Pin {
        changed_seconds: 7,
        size: 9,
        changed_nanoseconds: 8,
        generation: 3,
        is_sealed: 0,
        refusal: 0,
    };
    const INODE: Inode = Inode {
        changed_seconds: 7,
        size: 9,
        changed_nanoseconds: 8,
        generation: 4,
        flags: 0,
        writers: -1,
    };

    #[test]
    fn a_file_is_the_same_while_nothing_of_it_changed_and_nobody_can_write() {
        assert!(PIN.holds(INODE));
        assert!(PIN.holds(Inode { changed_nanoseconds: 8 | 1 << 31, ..INODE }));
        for other in [
            Inode { changed_seconds: 6, ..INODE },
            Inode { changed_nanoseconds: 9, ..INODE },
            Inode { size: 10, ..INODE },
            Inode { writers: 1, ..INODE },
        ] {
            assert!(!PIN.holds(other), "{other:?}");
        }
    }

    #[test]
    fn a_sealed_file_is_the_same_while_it_is_sealed() {
        let pin = Pin { is_sealed: 1, generation: 4, ..PIN };
        let sealed = Inode { flags: VERITY, changed_seconds: 0, ..INODE };
        assert!(pin.holds(sealed));
        assert!(!pin.holds(Inode { generation: 5, ..sealed }));
        assert!(!pin.holds(Inode { flags: 0, ..sealed }));
    }
}
