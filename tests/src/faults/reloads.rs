//! The policy is replaced.

use std::{
    fs,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{stage::Stage, tally::Act, times};
use crate::harness::{Context, Failure, ensure, note};

/// A policy that opens a folder that the other does not, and forbids and allows what the other
/// does.
fn policy(own: &str) -> String {
    format!(
        r#"boundary: 1
files:
  - {{ path: "{{room}}/work/**", allow: [read, write] }}
  - {{ path: "{{room}}/both/**/file", allow: [read] }}
  - {{ path: "{{room}}/{own}/**", allow: [read, write] }}
exec: [{{ path: "/usr/local/bin/*", allow: true }}]
egress: []
"#
    )
}

pub(super) fn under_load(context: &mut Context) -> Result<(), Failure> {
    let mut stage = Stage::set(context)?;
    for folder in ["first", "second"] {
        for slot in 0..8 {
            let _ = fs::write(stage.place(folder).join(format!("move-{slot}")), "moved");
        }
    }
    (0..8).for_each(|slot| drop(fs::remove_file(stage.place(&format!("second/move-{slot}")))));
    stage.control("either", &[Act::Open, Act::First, Act::Second, Act::Move, Act::Allowed])?;
    let policies = [policy("first"), policy("second")];
    stage.policy(&policies[0])?;
    stage.start()?;
    stage.wait()?;
    let group = stage.group("one")?;
    // Many reloads beside a light load, so that the log has room in memory; or some beside a heavy
    // one.
    let pause = Duration::from_micros(times(50_000, 500).into());
    for _ in 0..4 {
        stage.work("either", Some(&group), pause, 0)?;
    }
    let reloads = times(1000, 16);
    let begin = Instant::now();
    for round in 0..u64::from(reloads) {
        stage.tally.phase().store(0, Ordering::SeqCst);
        // The first policy's numbers are odd.
        let number = round + 1;
        stage.policy(&policies[(round % 2) as usize])?;
        let output = stage.reload()?;
        ensure(output.status.success(), || format!("a reload fails: {}", stage.said()))?;
        stage.tally.phase().store(number, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(number % 16));
    }
    let time = begin.elapsed();
    stage.end_workers();
    stage.judge(&[Act::Open, Act::Move, Act::Stale])?;
    for act in [Act::First, Act::Second] {
        let count = stage.tally.all(act);
        ensure(count.successes > 0 && count.successes < count.tries, || {
            format!("{act:?} tells nothing: {count:?}")
        })?;
    }
    let told = stage.told()?;
    let count = |act| stage.tally.all(act).tries;
    note(&format!(
        "{reloads} reloads in {time:?}: {} opens that no policy allows and {} moves that only a \
         mixture allows, 0 successes; {} that both allow, 0 refused; {} by a policy that was \
         settled, 0 otherwise; {} events told, {} lost",
        count(Act::Open),
        count(Act::Move),
        count(Act::Allowed),
        count(Act::Stale),
        told.events,
        told.lost
    ));
    stage.stop()
}
