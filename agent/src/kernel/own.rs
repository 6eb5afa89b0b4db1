//! The agent's own files, as the kernel knows them: nobody who is governed changes them, by
//! whatever name a container may see them.

use std::{
    collections::BTreeMap,
    mem::offset_of,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use anyhow::{Context as _, Result, bail};
use ringfence_common::scope::{Noted, OwnFile, Watch, own};
use rustix::{fs::llistxattr, io::Errno, thread::gettid};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{selection::Selection, sys};

impl Selection {
    /// Has these files kept from every governed process, with what is in those that are folders,
    /// besides the ones before. Those that are not there are left out.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at, or there are too many.
    pub(crate) fn keep_own(&self, files: &[PathBuf]) -> Result<()> {
        let word = |offset| self.watch.word(offset);
        let round = self.round().wrapping_add(1).max(1);
        word(offset_of!(Watch, round)).store(round, Ordering::Release);
        let shower = word(offset_of!(Watch, shower));
        shower.store(gettid().as_raw_nonzero().get().unsigned_abs(), Ordering::Release);
        let shown = places(files).iter().try_for_each(|(place, kind)| {
            self.show(place, *kind)
                .with_context(|| format!("keeping {} from governed processes", place.display()))
        });
        shower.store(0, Ordering::Release);
        shown?;
        self.forget_verdicts()
    }

    /// Keeps no others any more than those that [`Self::keep_own`] was called with last.
    ///
    /// # Errors
    ///
    /// The system call's: then they are kept.
    pub(crate) fn keep_no_others(&self) -> Result<()> {
        let round = self.round();
        self.drop_own(|noted| noted.round != round)
    }

    fn round(&self) -> u32 {
        self.watch.word(offset_of!(Watch, round)).load(Ordering::Acquire)
    }

    /// Has a kernel program note what a path leads to.
    fn show(&self, place: &Path, kind: u32) -> Result<()> {
        let word = |offset| self.watch.word(offset);
        word(offset_of!(Watch, noted)).store(0, Ordering::Release);
        word(offset_of!(Watch, shown)).store(kind, Ordering::Release);
        // Asked of anything, it changes nothing and takes up nothing; and where the file system has
        // no attributes, the hook comes first (`vfs_listxattr`).
        let listed = llistxattr(place, &mut [0_u8; 0]);
        if word(offset_of!(Watch, noted)).load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        match listed {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => bail!(
                "the kernel programs have not noted it: there are too many, or the agent is in a PID \
                 namespace of its own (Kubernetes: `hostPID: true`)"
            ),
        }
    }

    /// Keeps no files any more.
    ///
    /// # Errors
    ///
    /// The system call's.
    pub(super) fn keep_none(&self) -> Result<()> {
        self.watch.word(offset_of!(Watch, round)).store(0, Ordering::Release);
        self.drop_own(|_| true)
    }

    fn drop_own(&self, is_over: impl Fn(&Noted) -> bool) -> Result<()> {
        // A set of an older build has none.
        let Some(map) = self.maps.own.as_ref() else { return Ok(()) };
        let mut over = Vec::new();
        let (mut last, mut key) = (None::<[u8; size_of::<OwnFile>()]>, [0; size_of::<OwnFile>()]);
        while sys::next_key(map.fd(), last.as_ref().map(|key| &key[..]), &mut key)? {
            let mut noted = Noted::new_zeroed();
            if sys::get(map.fd(), &key, noted.as_mut_bytes())? && is_over(&noted) {
                over.push(key);
            }
            last = Some(key);
        }
        Ok(over.iter().try_for_each(|key| sys::remove(map.fd(), key))?)
    }

    /// Has every task forget what it was allowed: some of it may be the agent's own now.
    fn forget_verdicts(&self) -> Result<()> {
        let Some(folders) = self.maps.folders.as_ref() else { return Ok(()) };
        let mut count = [0; 8];
        sys::get(folders.fd(), &[0; 4], &mut count)?;
        // The programs add to it meanwhile. A step that they never come to by themselves is another
        // number in any case.
        let next = u64::from_ne_bytes(count).wrapping_add(1 << 32);
        Ok(sys::set(folders.fd(), &[0; 4], &next.to_ne_bytes())?)
    }
}

/// What is to be noted: the files, and what is on the way to each.
fn places(files: &[PathBuf]) -> BTreeMap<&Path, u32> {
    let above = files.iter().flat_map(|file| file.ancestors().skip(1));
    let own = files.iter().map(PathBuf::as_path);
    // What is both is the agent's own.
    above.map(|path| (path, own::ABOVE)).chain(own.map(|path| (path, own::FILE))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_a_file_is_noted_with_it() {
        let files = ["/etc/agent/policy.yaml", "/var/log/agent", "/var/log/agent/log.jsonl"];
        let found = files.map(PathBuf::from);
        let found = places(&found);
        let all = |wanted: u32| -> Vec<_> {
            let found = found.iter().filter(|(_, kind)| **kind == wanted);
            found.filter_map(|(path, _)| path.to_str()).collect()
        };
        assert_eq!(all(own::FILE), files);
        assert_eq!(all(own::ABOVE), ["/", "/etc", "/etc/agent", "/var", "/var/log"]);
    }
}
