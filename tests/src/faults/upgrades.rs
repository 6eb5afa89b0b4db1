//! Other programs take the place of those in the kernel: the agent of another version, or one whose
//! policy needs more room, finds a set that is not its own and has to load another beside it.

use std::{fs, thread, time::Duration};

use super::{
    stage::{POLICY, Stage},
    tally::Act,
    times,
};
use crate::harness::{Context, Failure, ensure, note};

/// The same policy, so long that it needs a set with more room.
fn long() -> String {
    let rule =
        |number: u32| format!("  - {{ path: \"{{room}}/project-{number}/**\", allow: [read] }}\n");
    let many: String = (0..1000).map(rule).collect();
    let own = "files: [{ path: \"{room}/work/**\", allow: [read, write] }]\n";
    let both = "files:\n  - { path: \"{room}/work/**\", allow: [read, write] }\n";
    POLICY.replace(own, &format!("{both}{many}"))
}

/// The sets that are loaded.
fn sets() -> Vec<String> {
    let entries = fs::read_dir("/sys/fs/bpf/ringfence").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(super) fn under_load(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    stage.control("all", &Act::FORBIDDEN)?;
    let before = sets();
    stage.start()?;
    stage.wait()?;
    let group = stage.group("one")?;
    for _ in 0..2 {
        stage.work("all", Some(&group), Duration::from_millis(8), 0)?;
    }
    // One that somebody puts elsewhere keeps its label.
    let moved = stage.work("all", Some(&group), Duration::from_millis(8), 0)?;
    while stage.tally.of(moved, Act::Open).tries == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    fs::write("/sys/fs/cgroup/cgroup.procs", stage.worker(moved).to_string())?;
    let upgrades = times(50, 2);
    for round in 0..upgrades {
        match round % 3 {
            0 => stage.kill(),
            _ => stage.stop()?,
        }
        stage.policy(&if round % 2 == 0 { long() } else { POLICY.to_owned() })?;
        let born = stage.group(&format!("new-{round}"))?;
        stage.work("all", Some(&born), Duration::from_millis(8), 8)?;
        stage.start()?;
        stage.wait()?;
        let own: Vec<String> = sets().into_iter().filter(|set| !before.contains(set)).collect();
        ensure(own.len() == ((round + 1) % 2) as usize, || format!("the sets are {own:?}"))?;
        stage.judge(&[])?;
    }
    stage.collect()?;
    stage.end_workers();
    stage.judge(&Act::FORBIDDEN)?;
    let tries: u64 = Act::FORBIDDEN.iter().map(|act| stage.tally.all(*act).tries).sum();
    let told = stage.told()?;
    note(&format!(
        "{upgrades} upgrades: {tries} forbidden acts, 0 successes; {} events told, {} lost",
        told.events, told.lost
    ));
    stage.stop()
}
