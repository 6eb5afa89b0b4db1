//! Acts of a process with a root and mounts of its own, as containers have them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    mem::MaybeUninit,
    os::unix::fs::chroot,
    path::Path,
};

use super::{Act, Trouble, argument};
use crate::sys;

/// All of them.
pub(super) const ACTS: &[Act] = &[("read-in-container", read_in_container)];

/// Makes a container below the first argument, writes its process's number to the second, waits
/// for SIGUSR1, and reads the third: a path within the container.
fn read_in_container(a: &[Vec<u8>]) -> Result<String, Trouble> {
    let [root, told, file] = [0, 1, 2].map(|index| argument(a, index).map(sys::text));
    let (root, told, file) = (root??, told??, file??);
    let (root, told) = (root.to_string_lossy(), told.to_string_lossy());
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(400) };
    let awaited = block(libc::SIGUSR1)?;
    let mut told = File::create(&*told)?;
    enter(Path::new(&*root))?;
    write!(told, "{}", std::process::id())?;
    let mut signal = 0;
    // SAFETY: the pointers are to variables of ours.
    sys::check(unsafe { libc::sigwait(&raw const awaited, &raw mut signal) })?;
    Ok(fs::read_to_string(&*file.to_string_lossy())?)
}

/// Gives this process mounts of its own, and a new file system with two files for a root, as
/// container runtimes do where the root cannot be pivoted.
fn enter(root: &Path) -> io::Result<()> {
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    sys::mount(Path::new("none"), Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
    fs::create_dir_all(root)?;
    sys::mount(Path::new("none"), root, 0)?;
    for (folder, name) in [("work", "file"), ("out", "secret")] {
        fs::create_dir(root.join(folder))?;
        fs::write(root.join(folder).join(name), name)?;
    }
    std::env::set_current_dir(root)?;
    sys::mount(Path::new("."), Path::new("/"), libc::MS_MOVE)?;
    chroot(".")?;
    std::env::set_current_dir("/")
}

/// Has a signal wait until it is asked for.
fn block(signal: libc::c_int) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call makes it a set of signals, and the pointers are to ours.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        sys::check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
        Ok(set.assume_init())
    }
}
