//! More events come than are taken.

use std::{thread, time::Duration};

use libc::{SIGCONT, SIGSTOP};

use super::{stage::Stage, tally::Act, times};
use crate::{
    harness::{Context, Failure, ensure, note},
    sys,
};

pub(super) fn standing_still(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    stage.control("open", &[Act::Open])?;
    stage.start()?;
    stage.wait()?;
    let groups = [stage.group("one")?, stage.group("two")?];
    let each = u64::from(times(100_000, 10_000));
    sys::kill(stage.agent(), SIGSTOP)?;
    for group in &groups {
        stage.work("open", Some(group), Duration::ZERO, each)?;
    }
    stage.wait_for_workers()?;
    // Some more while it goes on, so that losses and events come together.
    sys::kill(stage.agent(), SIGCONT)?;
    for group in &groups {
        stage.work("open", Some(group), Duration::from_micros(100), each / 4)?;
    }
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(30));
        sys::kill(stage.agent(), SIGSTOP)?;
        thread::sleep(Duration::from_millis(100));
        sys::kill(stage.agent(), SIGCONT)?;
    }
    stage.wait_for_workers()?;
    stage.judge(&[Act::Open])?;
    let refused = stage.tally.all(Act::Open).tries;
    let (offered, told) = (stage.offered()?, stage.told()?);
    ensure(told.events + told.lost == refused && told.lost > 0, || {
        format!("{refused} were refused, the kernel numbered {offered}, and {told:?}")
    })?;
    note(&format!("{refused} refused: {} told, {} lost, exactly", told.events, told.lost));
    stage.stop()
}
