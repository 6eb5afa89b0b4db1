//! Changes that are complete before the next open, again and again: a verdict that was kept from
//! before would be wrong.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{Inside, Mounts, OPEN, SHUT, duration, make, mount, mount_new, rename, unmount};
use crate::harness::{Context, Failure, ensure, note};

/// Rounds at least, however long they take.
const ROUNDS: u32 = 30;
const REFUSED: &str = "EACCES";

/// What the rounds do things with.
struct Outside<'a> {
    inside: &'a mut Inside,
    open: PathBuf,
    shut: PathBuf,
    work: PathBuf,
    /// Without a boundary, nothing is refused.
    free: bool,
    round: u32,
    asked: u64,
    problems: Vec<String>,
}

impl Outside<'_> {
    /// Asks, twice: the first answer may be taken anew, the second from what was kept.
    fn ask(&mut self, what: &str, question: &str, expected: &str) -> Result<(), Failure> {
        for time in ["at once", "the second time"] {
            let answer = self.inside.tell(question)?;
            self.asked += 1;
            let is_right = match self.free {
                true => answer == SHUT || answer == OPEN,
                false => answer == expected,
            };
            if !is_right && self.problems.len() < 50 {
                self.problems.push(format!(
                    "round {}, {what}: `{question}` is answered {answer} {time}, not {expected}",
                    self.round
                ));
            }
        }
        Ok(())
    }

    fn path(&mut self, what: &str, path: &Path, expected: &str) -> Result<(), Failure> {
        self.ask(what, &format!("open {}", path.display()), expected)
    }

    fn held(&mut self, what: &str, name: &str, expected: &str) -> Result<(), Failure> {
        self.ask(what, &format!("held {name}"), expected)
    }

    fn hold(&mut self, path: &Path) -> Result<(), Failure> {
        let held = self.inside.tell(&format!("hold {}", path.display()))?;
        ensure(held == "held", || format!("{} cannot be held: {held}", path.display()))
    }
}

/// One kind of change, there and back, with questions before and after.
type Change = fn(&mut Outside<'_>) -> Result<(), Failure>;

const CHANGES: &[Change] = &[
    |o| {
        let (open, shut) = (o.open.join("d"), o.shut.join("d"));
        o.hold(&open)?;
        moved(o, "a folder is renamed", &open, &shut, "f")
    },
    |o| {
        let (open, shut) = (o.open.join("top"), o.shut.join("top"));
        o.hold(&open.join("1/2/3/4"))?;
        moved(o, "a folder far above is renamed", &open, &shut, "1/2/3/4/f")
    },
    |o| {
        let (open, shut) = (o.open.join("file"), o.shut.join("file"));
        o.hold(&open)?;
        moved(o, "a file is renamed", &open, &shut, "")
    },
    |o| {
        // Only the name changes, in one folder.
        let (open, shut) = (o.open.join("plain"), o.open.join("plain.key"));
        o.hold(&open)?;
        moved(o, "a file is renamed in its folder", &open, &shut, "")
    },
    |o| {
        let what = "folders are exchanged";
        let (one, other) = (o.open.join("x"), o.shut.join("x"));
        o.hold(&one)?;
        for _ in 0..2 {
            o.path(what, &one.join("f"), OPEN)?;
            o.path(what, &other.join("f"), REFUSED)?;
            o.held(what, "f", OPEN)?;
            rename(&one, &other, libc::RENAME_EXCHANGE)?;
            o.path(what, &one.join("f"), OPEN)?;
            o.path(what, &other.join("f"), REFUSED)?;
            o.held(what, "f", REFUSED)?;
            rename(&one, &other, libc::RENAME_EXCHANGE)?;
        }
        Ok(())
    },
    |o| {
        let what = "one file system is mounted in two places";
        let (open, shut, third) = (o.open.join("m"), o.shut.join("m"), o.shut.join("n"));
        o.path(what, &open.join("f"), OPEN)?;
        o.path(what, &shut.join("f"), REFUSED)?;
        o.path(what, &open.join("f"), OPEN)?;
        o.hold(&open)?;
        o.held(what, "f", OPEN)?;
        unmount_held(&open, &third)?;
        o.held("a mount is moved", "f", REFUSED)?;
        o.path("a mount is moved", &third.join("f"), REFUSED)?;
        unmount_held(&third, &open)?;
        o.held("a mount is moved back", "f", OPEN)?;
        o.path("a mount is moved back", &open.join("f"), OPEN)
    },
    |o| {
        let what = "something is mounted over a folder, and unmounted";
        let (open, shut) = (o.open.join("over"), o.shut.join("over"));
        o.path(what, &open.join("f"), OPEN)?;
        o.path(what, &shut.join("f"), REFUSED)?;
        for (from, to) in [(&shut, &open), (&open, &shut)] {
            mount(Some(from), to, libc::MS_BIND)?;
            o.path(what, &open.join("f"), OPEN)?;
            o.path(what, &shut.join("f"), REFUSED)?;
            unmount(to)?;
        }
        o.path(what, &shut.join("f"), REFUSED)?;
        o.path(what, &open.join("f"), OPEN)
    },
    |o| {
        let what = "folders are removed and made anew";
        for (path, expected) in [(o.open.join("new"), OPEN), (o.shut.join("new"), REFUSED)] {
            make(&path.join("f"), if expected == OPEN { OPEN } else { SHUT })?;
            o.path(what, &path.join("f"), expected)?;
            fs::remove_dir_all(&path)?;
        }
        Ok(())
    },
    |o| {
        let what = "a file has two names";
        let (open, shut) = (o.open.join("linked"), o.shut.join("linked"));
        for _ in 0..2 {
            fs::hard_link(&shut, &open)?;
            o.path(what, &open, OPEN)?;
            o.path(what, &shut, REFUSED)?;
            fs::remove_file(&open)?;
            o.path(what, &shut, REFUSED)?;
        }
        Ok(())
    },
    |o| {
        let what = "a symbolic link leads elsewhere";
        let link = o.work.join("link");
        for (target, expected) in [("../open/s", OPEN), ("../shut/s", REFUSED)] {
            let _ = fs::remove_file(&link);
            symlink(target, &link)?;
            o.path(what, &link, expected)?;
        }
        Ok(())
    },
];

/// Moves something to where it may not be read and back; what is held goes with it.
fn moved(
    o: &mut Outside<'_>,
    what: &str,
    open: &Path,
    shut: &Path,
    below: &str,
) -> Result<(), Failure> {
    let at = |top: &Path| if below.is_empty() { top.to_owned() } else { top.join(below) };
    let held = if below.is_empty() { "." } else { "f" };
    o.path(what, &at(open), OPEN)?;
    o.held(what, held, OPEN)?;
    rename(open, shut, 0)?;
    o.held(what, held, REFUSED)?;
    o.path(what, &at(shut), REFUSED)?;
    rename(shut, open, 0)?;
    o.held(what, held, OPEN)?;
    o.path(what, &at(open), OPEN)
}

fn unmount_held(from: &Path, to: &Path) -> Result<(), Failure> {
    mount(Some(from), to, libc::MS_MOVE)
}

/// What the rounds begin with. Everything in `open` may be read, whatever it was before.
fn prepare(open: &Path, shut: &Path) -> Result<(), Failure> {
    for name in ["d/f", "top/1/2/3/4/f", "file", "plain", "x/f", "over/f", "s"] {
        make(&open.join(name), OPEN)?;
    }
    for name in ["x/f", "over/f", "linked", "s"] {
        make(&shut.join(name), OPEN)?;
    }
    for folder in [open.join("m"), shut.join("m"), shut.join("n")] {
        fs::create_dir_all(folder)?;
    }
    mount_new(&open.join("m"))?;
    make(&open.join("m/f"), OPEN)?;
    mount(Some(&open.join("m")), &shut.join("m"), libc::MS_BIND)
}

/// Changes names and asks, round after round.
///
/// # Errors
///
/// When an answer is not the one of the names as they are.
pub(super) fn rounds(context: &mut Context) -> Result<(), Failure> {
    let room = context.room.clone();
    let (open, shut) = (room.join("open"), room.join("shut"));
    let _mounts =
        Mounts(["m", "n", "over"].iter().flat_map(|n| [open.join(n), shut.join(n)]).collect());
    prepare(&open, &shut)?;
    let mut problems = Vec::new();
    for free in [true, false] {
        let mut inside = Inside::start(context, free)?;
        let mut outside = Outside {
            inside: &mut inside,
            open: open.clone(),
            shut: shut.clone(),
            work: room.join("work"),
            free,
            round: 0,
            asked: 0,
            problems: Vec::new(),
        };
        let start = Instant::now();
        let is_over = |round| match free {
            true => round == 1,
            false => round >= ROUNDS && start.elapsed() > duration() * 4,
        };
        while !is_over(outside.round) {
            for change in CHANGES {
                change(&mut outside)?;
            }
            // Entries that are in use by nobody are freed, so that others come to be in their
            // memory.
            if outside.round % 8 == 7 {
                fs::write("/proc/sys/vm/drop_caches", "2")?;
            }
            outside.round += 1;
        }
        let Outside { round, asked, problems: found, .. } = outside;
        if !free {
            note(&format!("{asked} opens in {round} rounds of {} changes", CHANGES.len()));
        }
        problems.extend(found);
        inside.end()?;
    }
    Failure::of_all(problems)
}
