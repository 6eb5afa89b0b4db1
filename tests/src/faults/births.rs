//! Control groups are made while the agent looks at all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{stage::Stage, tally::Act, times};
use crate::harness::{Context, Failure, ensure, note};

/// Control groups that are made at most while the agent looks once.
const AT_A_TIME: usize = 200;
/// Between two of them: the agent must come to look before it has seen to all.
const PACE: Duration = Duration::from_millis(150);

/// A worker's rest between two rounds: there are many at a time.
const PAUSE: Duration = Duration::from_secs(3);

/// Control groups of nobody, so that looking at all takes a while.
struct Crowd(Vec<PathBuf>);

impl Crowd {
    fn make() -> Result<Self, Failure> {
        let mut this = Self(Vec::new());
        // Some are listed before the governed ones, and some after.
        for parent in 0..8 {
            let parent = Path::new("/sys/fs/cgroup").join(format!("rf-crowd-{parent}"));
            fs::create_dir_all(&parent)?;
            this.0.push(parent.clone());
            for number in 0..700 {
                let path = parent.join(number.to_string());
                fs::create_dir_all(&path)?;
                this.0.push(path);
            }
        }
        Ok(this)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter().rev().for_each(|path| {
            let _ = fs::remove_dir(path);
        });
    }
}

pub(super) fn meanwhile(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    stage.control("all", &Act::FORBIDDEN)?;
    stage.start()?;
    stage.wait()?;
    let _crowd = Crowd::make()?;
    let (reloads, mut births) = (times(20, 2), 0);
    for _ in 0..reloads {
        let mut reload = stage.begin_reload()?;
        let mut born = Vec::new();
        let status = loop {
            if let Some(status) = reload.try_wait()? {
                break status;
            }
            thread::sleep(PACE);
            if born.len() < AT_A_TIME {
                let group = stage.group(&format!("born-{births}"))?;
                stage.work("all", Some(&group), PAUSE, 0)?;
                born.push(group);
                births += 1;
            }
        };
        ensure(status.success(), || format!("reloaded with {status}: {}", stage.said()))?;
        // They are still there when the agent is done with them, and after.
        thread::sleep(2 * PAUSE);
        stage.collect()?;
        stage.end_workers();
        stage.judge(&[])?;
        born.iter().try_for_each(fs::remove_dir)?;
    }
    stage.judge(&Act::FORBIDDEN)?;
    let tries: u64 = Act::FORBIDDEN.iter().map(|act| stage.tally.all(*act).tries).sum();
    let told = stage.told()?;
    note(&format!(
        "{reloads} reloads, {births} control groups born: {tries} forbidden acts, 0 successes; {} events \
         told, {} lost",
        told.events, told.lost
    ));
    stage.stop()
}
