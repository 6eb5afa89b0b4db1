//! The agent is killed.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{Moments, stage::Stage, tally::Act, times};
use crate::harness::{Context, Failure, ensure, note};

/// A worker's rest between two rounds: events are kept in memory here.
const PAUSE: Duration = Duration::from_millis(8);
/// Rounds of a worker in a control group that is made for it.
const ROUNDS: u64 = 8;

pub(super) fn at_any_moment(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    stage.control("all", &Act::FORBIDDEN)?;
    stage.start()?;
    stage.wait()?;
    for name in ["one", "two"] {
        let group = stage.group(name)?;
        for _ in 0..2 {
            stage.work("all", Some(&group), PAUSE, 0)?;
        }
    }
    // How long an agent takes that finds its programs in the kernel.
    stage.kill();
    let begin = Instant::now();
    stage.start()?;
    stage.wait()?;
    let whole = begin.elapsed().as_micros() as u64;
    let mut moments = Moments::new();
    note(&format!("a start takes {whole} µs; moments begin with {}", moments.0));
    let kills = times(200, 10);
    let mut born = 0;
    for round in 0..kills {
        let pause = |moments: &mut Moments, most| {
            thread::sleep(Duration::from_micros(moments.below(most)));
        };
        // In its start, or soon after.
        let is_early = round % 2 == 0;
        if !is_early {
            stage.wait()?;
        }
        pause(&mut moments, if is_early { whole } else { 500_000 });
        let is_before = moments.below(2) == 0;
        let name = format!("new-{round}");
        if is_before {
            let group = stage.group(&name)?;
            stage.work("all", Some(&group), PAUSE, ROUNDS)?;
            pause(&mut moments, 20_000);
        }
        stage.kill();
        if !is_before {
            let group = stage.group(&name)?;
            stage.work("all", Some(&group), PAUSE, ROUNDS)?;
            pause(&mut moments, 60_000);
        }
        born += 1;
        stage.start()?;
        stage.collect()?;
        // One whose worker still runs stays, and is tried again at the end.
        let before = round.checked_sub(3).map(|round| format!("new-{round}"));
        before.map(|name| stage.group(&name).map(fs::remove_dir));
        stage.judge(&[])?;
    }
    stage.wait()?;
    stage.end_workers();
    stage.judge(&Act::FORBIDDEN)?;
    let tries: u64 = Act::FORBIDDEN.iter().map(|act| stage.tally.all(*act).tries).sum();
    let offered = stage.offered()?;
    let told = stage.told()?;
    ensure(offered >= tries, || format!("{tries} were refused, and {offered} told"))?;
    note(&format!(
        "{kills} kills, {born} control groups born: {tries} forbidden acts, 0 successes; {offered} \
         events, {} told, {} lost",
        told.events, told.lost
    ));
    stage.stop()
}

/// Bytes that the agent may not do with.
const LITTLE: &str = "3145728";

pub(super) fn out_of_memory(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    let group = "/sys/fs/cgroup/rf-narrow";
    let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
    fs::create_dir_all(group)?;
    let limit = format!("{group}/memory.max");
    if fs::metadata(&limit).is_err() {
        fs::remove_dir(group)?;
        context.skip("the whole of it", "the kernel has no memory controller");
        return Ok(());
    }
    stage.control("all", &Act::FORBIDDEN)?;
    stage.start()?;
    stage.wait()?;
    let governed = stage.group("one")?;
    stage.work("all", Some(&governed), PAUSE, 0)?;
    let kills = times(20, 2);
    for round in 0..kills {
        fs::write(format!("{group}/cgroup.procs"), stage.agent().to_string())?;
        fs::write(&limit, LITTLE)?;
        let start = Instant::now();
        let signal = loop {
            if let Some(signal) = stage.ended()? {
                break signal;
            }
            ensure(start.elapsed() < Duration::from_secs(120), || "it is not killed".into())?;
            // Another policy each time, so that there is something to do. It allows what the first
            // does: the agent may take it up by itself.
            let other = format!("exec: [{{ path: \"/nowhere/{round}\", allow: true }}, ");
            stage.policy(&super::stage::POLICY.replace("exec: [", &other))?;
            stage.policy(super::stage::POLICY)?;
            let _ = stage.reload();
        };
        ensure(signal == libc::SIGKILL, || format!("the signal is {signal}: {}", stage.said()))?;
        fs::write(&limit, "max")?;
        let born = stage.group(&format!("new-{round}"))?;
        stage.work("all", Some(&born), PAUSE, ROUNDS)?;
        thread::sleep(Duration::from_millis(200));
        stage.kill();
        stage.start()?;
        stage.wait()?;
    }
    stage.end_workers();
    stage.judge(&Act::FORBIDDEN)?;
    let told = stage.told()?;
    note(&format!("{kills} times out of memory: {} events told, {} lost", told.events, told.lost));
    stage.stop()?;
    Ok(fs::remove_dir(group)?)
}
