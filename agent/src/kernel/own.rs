//! The agent's own files, as the kernel knows them: nobody who is governed changes them, by
//! whatever name a container may see them.

use std::{collections::BTreeMap, mem::offset_of, path::PathBuf, sync::atomic::Ordering};

use anyhow::{Context as _, Result, ensure};
use ringfence_common::scope::{Noted, OwnFile, Watch, own};
use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
    thread::gettid,
};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{selection::Selection, sys};

impl Selection {
    /// Has these files kept from every governed process, with what is in those that are folders,
    /// in place of the ones before. Those that are not there are left out.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at, or there are too many: then the ones before are kept too.
    pub(crate) fn keep_own(&self, files: &[PathBuf]) -> Result<()> {
        let events = inotify::init(CreateFlags::CLOEXEC)?;
        let word = |offset| self.watch.word(offset);
        let round = word(offset_of!(Watch, round)).load(Ordering::Acquire).wrapping_add(1).max(1);
        word(offset_of!(Watch, noted)).store(0, Ordering::Release);
        word(offset_of!(Watch, round)).store(round, Ordering::Release);
        let thread = gettid().as_raw_nonzero().get().unsigned_abs();
        let shower = word(offset_of!(Watch, shower));
        shower.store(thread, Ordering::Release);
        let shown = places(files).into_iter().try_fold(0, |count, (place, kind)| {
            word(offset_of!(Watch, shown)).store(kind, Ordering::Release);
            match inotify::add_watch(
                &events,
                &place,
                WatchFlags::ATTRIB | WatchFlags::DONT_FOLLOW | WatchFlags::MASK_ADD,
            ) {
                Ok(_) => Ok(count + 1),
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(count),
                // A folder that others may pass and not read; the rules on paths hold there.
                Err(Errno::ACCESS) if kind == own::ABOVE => Ok(count),
                Err(error) => Err(error).with_context(|| place.display().to_string()),
            }
        });
        shower.store(0, Ordering::Release);
        let noted = word(offset_of!(Watch, noted)).load(Ordering::Acquire);
        let shown = shown.context("keeping the agent's own files")?;
        ensure!(
            noted == shown,
            "keeping the agent's own files: of {shown} the kernel programs noted {noted}"
        );
        self.drop_own(|noted| noted.round != round)?;
        self.forget_verdicts()
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

/// What is to be noted: the files, where links lead from them, and what is on the way to each.
fn places(files: &[PathBuf]) -> BTreeMap<PathBuf, u32> {
    let real = files.iter().filter_map(|file| file.canonicalize().ok());
    let all: Vec<PathBuf> = files.iter().cloned().chain(real).collect();
    let above = all.iter().flat_map(|file| file.ancestors().skip(1)).map(|path| (path, own::ABOVE));
    let own = all.iter().map(|file| (file.as_path(), own::FILE));
    above.chain(own).map(|(path, kind)| (path.to_owned(), kind)).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn files_are_noted_with_where_links_lead_and_all_that_is_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/policy"), "").unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let found = places(&[root.join("link/policy"), root.clone()]);
        let kind = |path: &str| found.get(&root.join(path)).copied();
        assert_eq!(kind("link/policy"), Some(own::FILE));
        assert_eq!(kind("real/policy"), Some(own::FILE));
        assert_eq!((kind("link"), kind("real")), (Some(own::ABOVE), Some(own::ABOVE)));
        // What is both is the agent's own.
        assert_eq!(found.get(&root), Some(&own::FILE));
        assert_eq!(found.get(Path::new("/")), Some(&own::ABOVE));
    }
}
