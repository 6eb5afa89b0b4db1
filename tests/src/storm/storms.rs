//! Free-running storms: what the outside moves, and what the inside opens meanwhile.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::{Inside, Mounts, OPEN, SHUT, duration, make, mount, mount_new, rename};
use crate::harness::{Context, Failure, ensure, note};

/// A storm in a folder of its own.
struct Storm {
    name: &'static str,
    /// Makes the files.
    prepare: fn(&Path) -> Result<(), Failure>,
    /// One turn of the outside, back to where it began.
    turn: fn(&Path) -> Result<(), Failure>,
    /// What the inside holds; empty for nothing.
    held: &'static str,
    /// What it opens: paths in the storm's folder, and `=NAME` in what it holds; after a `+` it
    /// gives a path, or what it holds, a name that may be read, first.
    targets: &'static [&'static str],
    /// Whether the inside swaps a symbolic link meanwhile.
    swaps: bool,
}

const EXCHANGE: u32 = libc::RENAME_EXCHANGE;

const STORMS: &[Storm] = &[
    Storm {
        name: "file",
        prepare: |at| {
            fs::create_dir_all(at.join("b"))?;
            make(&at.join("a/x"), SHUT)
        },
        turn: |at| there_and_back(&at.join("a/x"), &at.join("b/y"), 0),
        held: "a/x",
        targets: &["=.", "a/x", "b/y"],
        swaps: false,
    },
    Storm {
        name: "folder",
        prepare: |at| {
            fs::create_dir_all(at.join("b"))?;
            make(&at.join("a/d/f"), SHUT)
        },
        turn: |at| there_and_back(&at.join("a/d"), &at.join("b/e"), 0),
        held: "a/d",
        targets: &["=f", "a/d/f", "b/e/f"],
        swaps: false,
    },
    Storm {
        name: "exchange",
        prepare: |at| {
            make(&at.join("a/d/f"), SHUT)?;
            make(&at.join("b/e/f"), SHUT)
        },
        turn: |at| there_and_back(&at.join("a/d"), &at.join("b/e"), EXCHANGE),
        held: "a/d",
        targets: &["=f", "a/d/f", "b/e/f"],
        swaps: false,
    },
    // A mixture may be written too, so that a second name for it would be allowed.
    Storm {
        name: "stolen",
        prepare: |at| {
            fs::create_dir_all(at.join("b"))?;
            make(&at.join("a/x"), SHUT)
        },
        turn: |at| there_and_back(&at.join("a/x"), &at.join("b/y"), 0),
        held: "a/x",
        targets: &["+", "+a/x", "+b/y"],
        swaps: false,
    },
    // Two levels change one after the other, so that a walk that begins before and ends after puts
    // together what never was at a time: c/…/l, c/…/w, g/…/w, g/…/m are real; c/…/m, g/…/l are not.
    Storm {
        name: "levels",
        prepare: |at| make(&at.join("c/1/2/3/4/5/6/7/8/9/10/11/12/l/13/14/f"), SHUT),
        turn: |at| {
            let below = "1/2/3/4/5/6/7/8/9/10/11/12";
            let (here, there) = (at.join("c").join(below), at.join("g").join(below));
            rename(&here.join("l"), &here.join("w"), 0)?;
            rename(&at.join("c"), &at.join("g"), 0)?;
            rename(&there.join("w"), &there.join("m"), 0)?;
            rename(&there.join("m"), &there.join("w"), 0)?;
            rename(&at.join("g"), &at.join("c"), 0)?;
            rename(&here.join("w"), &here.join("l"), 0)
        },
        held: "c/1/2/3/4/5/6/7/8/9/10/11/12/l/13/14",
        targets: &["=f"],
        swaps: false,
    },
    Storm {
        name: "links",
        prepare: |at| {
            fs::create_dir_all(at.join("a"))?;
            fs::create_dir_all(at.join("b"))?;
            make(&at.join("kept"), SHUT)
        },
        turn: |at| {
            let kept = at.join("kept");
            for name in ["a/x", "b/y"] {
                fs::hard_link(&kept, at.join(name))?;
                fs::remove_file(at.join(name))?;
                // Entries that are allowed, in the memory of those that are not.
                let mixed = at.join(if name == "a/x" { "a/y" } else { "b/x" });
                fs::write(&mixed, OPEN)?;
                fs::remove_file(&mixed)?;
            }
            Ok(())
        },
        held: "",
        targets: &["a/x", "b/y", "a/y", "b/x", "kept"],
        swaps: false,
    },
    Storm {
        name: "symlinks",
        prepare: |at| {
            let room = at.join("../..");
            make(&room.join("open/s"), OPEN)?;
            make(&room.join("shut/s"), SHUT)?;
            Ok(symlink("../open/s", room.join("work/link"))?)
        },
        turn: |at| {
            let work = at.join("../../work");
            for target in ["../shut/s", "../open/s"] {
                symlink(target, work.join("outer"))?;
                rename(&work.join("outer"), &work.join("link"), 0)?;
            }
            Ok(())
        },
        held: "",
        targets: &["../../work/link"],
        swaps: true,
    },
    Storm {
        name: "mounts",
        prepare: |at| {
            for name in ["a/x", "b/y", "a/d"] {
                fs::create_dir_all(at.join(name))?;
            }
            mount_new(&at.join("a"))?;
            mount_new(&at.join("b"))?;
            for name in ["a/x", "a/y", "b/y", "b/x"] {
                fs::create_dir_all(at.join(name))?;
            }
            mount_new(&at.join("a/x"))?;
            make(&at.join("a/x/f"), SHUT)
        },
        turn: |at| {
            mount(Some(&at.join("a/x")), &at.join("b/y"), libc::MS_MOVE)?;
            mount(Some(&at.join("b/y")), &at.join("a/x"), libc::MS_MOVE)
        },
        held: "a/x",
        targets: &["=f", "a/x/f", "b/y/f"],
        swaps: false,
    },
];

fn there_and_back(one: &Path, other: &Path, flags: u32) -> Result<(), Failure> {
    rename(one, other, flags)?;
    rename(other, one, flags)
}

/// Runs every storm, without the boundary and under it.
///
/// # Errors
///
/// When a file was opened that has no allowed name, or nothing was tried.
pub(super) fn storms(context: &mut Context) -> Result<(), Failure> {
    let mix = context.room.join("mix");
    let places = ["mounts/a/x", "mounts/b/y", "mounts/a", "mounts/b"];
    let _mounts = Mounts(places.iter().rev().map(|place| mix.join(place)).collect());
    fs::create_dir_all(context.room.join("work"))?;
    for storm in STORMS {
        (storm.prepare)(&mix.join(storm.name))?;
    }
    let mut problems = Vec::new();
    for free in [true, false] {
        let mut inside = Inside::start(context, free)?;
        for storm in STORMS {
            problems.extend(one(&mut inside, &mix, storm, free)?);
        }
        inside.end()?;
    }
    Failure::of_all(problems)
}

fn one(
    inside: &mut Inside,
    mix: &Path,
    storm: &Storm,
    free: bool,
) -> Result<Option<String>, Failure> {
    let at = mix.join(storm.name);
    if !storm.held.is_empty() {
        let held = inside.tell(&format!("hold {}", at.join(storm.held).display()))?;
        ensure(held == "held", || format!("{}: it cannot be held: {held}", storm.name))?;
    }
    let name = |target: &&str| match target.split_at_checked(1) {
        Some(("=", _)) | Some(("+", "")) => (*target).to_owned(),
        Some(("+", path)) => format!("+{}", at.join(path).display()),
        _ => at.join(target).display().to_string(),
    };
    let targets: Vec<String> = storm.targets.iter().map(name).collect();
    // The control shows that the storm leaves the file within reach, and needs no time for that.
    let time = if free { duration().min(super::SHORT) / 4 } else { duration() };
    let swaps = if storm.swaps { "swap" } else { "watch" };
    let line = format!("storm {} {swaps} {}", time.as_millis(), targets.join(" "));

    let (over, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    let (answer, turned) = thread::scope(|scope| {
        let blow = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                (storm.turn)(&at)?;
                turns.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), Failure>(())
        });
        let answer = inside.tell(&line);
        over.store(true, Ordering::Relaxed);
        (answer, blow.join())
    });
    turned.map_err(|_| Failure::new(format!("{}: the storm died", storm.name)))??;
    let counts: super::Counts = answer?.parse()?;
    let turns = turns.into_inner();
    let said = format!(
        "storm of {}{}: {} attempts during {turns} turns: {} refused, {} missed it, {} allowed \
         files read, {} others",
        storm.name,
        if free { ", no boundary" } else { "" },
        counts.attempts,
        counts.refused,
        counts.missing,
        counts.open,
        counts.shut,
    );
    note(&said);
    let is_wrong = match free {
        true => counts.shut == 0 || turns == 0,
        false => counts.shut > 0 || counts.refused == 0 || turns == 0,
    };
    Ok(is_wrong.then_some(said))
}
