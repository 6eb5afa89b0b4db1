//! What is pinned keeps everything in force without an agent: who may take it away.

use std::{fs, path::Path, time::Duration};

use super::{stage::Stage, tally::Act};
use crate::{
    harness::{Context, Failure, ensure},
    sys,
};

/// Where links are pinned.
const BPFFS: &str = "/sys/fs/bpf";

/// Unmounts the file system of pins, or removes one: whether it was let.
pub(super) fn tampers(act: Act, list: &Path) -> bool {
    match act {
        Act::Unmount => sys::path(BPFFS.as_ref()).is_ok_and(|path| {
            // SAFETY: the path is a NUL-terminated string.
            sys::check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).is_ok()
        }),
        _ => {
            let pins = fs::read_to_string(list).unwrap_or_default();
            // One that there is no name of could not be tried.
            pins.is_empty() || pins.lines().any(|pin| fs::remove_file(pin).is_ok())
        }
    }
}

pub(super) fn are_kept(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    stage.control("all", &Act::FORBIDDEN)?;
    stage.start()?;
    stage.wait()?;
    let group = stage.group("one")?;
    let list = stage.place("work/pins");
    let sets = fs::read_dir(format!("{BPFFS}/ringfence"))?.flatten();
    let pins = sets.map(|set| format!("{}\n", set.path().join("file_open").display()));
    fs::write(&list, pins.collect::<String>())?;
    // Root in a mount namespace of its own, as in a container, governed from then on.
    stage.work("tamper", Some(&group), Duration::ZERO, 4)?;
    stage.wait_for_workers()?;
    stage.judge(&[Act::Unmount, Act::Unpin])?;
    // The control, by one that is not governed: in a mount namespace of its own too, where the file
    // system goes, and what is in force stays.
    let status = sys::in_child(|| {
        // SAFETY: no memory is involved.
        let is_apart = sys::check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).is_ok()
            && sys::private_mounts().is_ok();
        if is_apart && tampers(Act::Unmount, &list) { 0 } else { 1 }
    })?;
    ensure(status == 0, || "the control does not unmount".into())?;
    stage.kill();
    stage.work("all", Some(&group), Duration::from_millis(1), 16)?;
    stage.wait_for_workers()?;
    stage.judge(&Act::FORBIDDEN)?;
    stage.start()?;
    stage.wait()?;
    stage.stop()
}
