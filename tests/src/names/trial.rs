//! Acts that are tried without a boundary, where each must come out as its control says, and then
//! within one.

use std::path::Path;

use serde_json::Value;

use crate::{
    act::{Outcome, Report},
    harness::{Context, Failure, ensure},
    ringfence::{Ended, Run, Running, policy},
    sys,
};

/// What an act must come to.
#[derive(Clone, Debug)]
pub(super) enum Comes {
    /// It succeeds and says this.
    To(String),
    /// It succeeds, whatever it says.
    Off,
    /// A system call fails with this error.
    Errno(i32),
    /// It fails in some way.
    ToNothing,
}

/// What is recorded of a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Words parted by `|`.
    pub(super) action: &'static str,
    pub(super) reason: &'static str,
    /// What the event's object has in it.
    pub(super) shows: &'static str,
}

/// A thing to try, in which `{phase}` is `control`, `enforce` or `observe`.
#[derive(Clone, Debug)]
pub(super) struct Case {
    act: String,
    free: Comes,
    governed: Comes,
    told: Option<Told>,
}

/// A thing that comes to the same without a boundary and within, and is not recorded.
pub(super) fn same(act: impl Into<String>, says: impl Into<String>) -> Case {
    let comes = Comes::To(says.into());
    Case { act: act.into(), free: comes.clone(), governed: comes, told: None }
}

/// A thing that comes to one thing without a boundary, to another within, and is not recorded.
pub(super) fn but(act: impl Into<String>, free: Comes, governed: Comes) -> Case {
    Case { act: act.into(), free, governed, told: None }
}

/// A thing that succeeds without a boundary, and is refused within as told.
pub(super) fn closed(act: impl Into<String>, governed: Comes, told: Told) -> Case {
    Case { act: act.into(), free: Comes::Off, governed, told: Some(told) }
}

impl Case {
    /// The same, and it is recorded.
    pub(super) fn told(self, told: Told) -> Self {
        Self { told: Some(told), ..self }
    }

    /// The same, and it goes through unrecorded.
    pub(super) fn unrefused(self) -> Self {
        Self { governed: self.free.clone(), told: None, ..self }
    }
}

/// What succeeds and says this.
pub(super) fn says(text: impl Into<String>) -> Comes {
    Comes::To(text.into())
}

/// An address that no rule gives to the scope.
pub(super) const fn unlisted(action: &'static str, shows: &'static str) -> Told {
    Told { action, reason: "egress_violation", shows }
}

/// A name that no rule lists.
pub(super) const fn unnamed(shows: &'static str) -> Told {
    Told { action: "resolve", reason: "unlisted_name", shows }
}

impl Comes {
    fn is(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::To(text), Outcome::Done(said)) => text == said,
            (Self::Errno(expected), Outcome::Errno(number)) => expected == number,
            (Self::Off, outcome) => matches!(outcome, Outcome::Done(_)),
            (Self::ToNothing, outcome) => !matches!(outcome, Outcome::Done(_)),
            _ => false,
        }
    }
}

impl std::fmt::Display for Comes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::To(text) => write!(f, "success ({text})"),
            Self::Off => write!(f, "success"),
            Self::Errno(number) => write!(f, "{}", sys::errno_name(*number)),
            Self::ToNothing => write!(f, "a failure"),
        }
    }
}

/// Tries all without a boundary.
pub(super) fn control(context: &Context, cases: &[Case]) -> Result<(), Failure> {
    let acts = acts(cases, "control");
    let ended = Run::acts(context, &acts, false).free().end()?;
    let mut problems = Vec::new();
    for (case, (act, report)) in cases.iter().zip(acts.iter().zip(ended.reports(acts.len())?)) {
        if !case.free.is(&report.outcome) {
            let outcome = report.outcome;
            problems.push(format!("control: {act}: {outcome}, not {}", case.free));
        }
    }
    Failure::of_all(problems)
}

/// Tries all without a boundary, and then within it.
pub(super) fn enforce(context: &Context, text: &str, cases: &[Case]) -> Result<Ended, Failure> {
    control(context, cases)?;
    govern(context, text, cases)
}

/// Tries all within a boundary.
pub(super) fn govern(context: &Context, text: &str, cases: &[Case]) -> Result<Ended, Failure> {
    let file = policy(context, "policy.yaml", text)?;
    let ended = begin(context, cases, &file)?.end()?;
    judge_enforced(cases, &ended)?;
    Ok(ended)
}

/// Begins to try all within a boundary.
pub(super) fn begin(context: &Context, cases: &[Case], file: &Path) -> Result<Running, Failure> {
    Run::acts(context, &acts(cases, "enforce"), false).policy(file).start()
}

/// Judges what came of it.
pub(super) fn judge_enforced(cases: &[Case], ended: &Ended) -> Result<(), Failure> {
    judge(cases, &acts(cases, "enforce"), ended, false)
}

/// Tries all in observe mode, where each must succeed and be recorded as what it would come to.
pub(super) fn observe(context: &Context, text: &str, cases: &[Case]) -> Result<Ended, Failure> {
    control(context, cases)?;
    let file = policy(context, "policy.yaml", text)?;
    let acts = acts(cases, "observe");
    let ended = Run::acts(context, &acts, false).policy(&file).observing().end()?;
    judge(cases, &acts, &ended, true)?;
    Ok(ended)
}

fn acts(cases: &[Case], phase: &str) -> Vec<String> {
    cases.iter().map(|case| case.act.replace("{phase}", phase)).collect()
}

fn judge(cases: &[Case], acts: &[String], ended: &Ended, observed: bool) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let verdict = if observed { "observe" } else { "deny" };
    for (case, (act, report)) in cases.iter().zip(acts.iter().zip(ended.reports(acts.len())?)) {
        let expected = if observed { &case.free } else { &case.governed };
        if !expected.is(&report.outcome) {
            problems.push(format!("{act}: {}, not {expected}", report.outcome));
        }
        match &case.told {
            Some(told) => {
                if !ended.events.iter().any(|event| fits(event, verdict, told)) {
                    problems.push(format!("{act}: no event has {verdict} {told:?}"));
                }
            }
            None => {
                let wrong = ended.events.iter().filter(|event| is_about(event, act, &report));
                problems.extend(wrong.map(|event| format!("{act}: there is an event: {event}")));
            }
        }
    }
    Failure::of_all(problems).map_err(|failure| failure.with(ended.said()))
}

fn fits(event: &Value, verdict: &str, told: &Told) -> bool {
    let is = |field: &str, words: &str| {
        event[field].as_str().is_some_and(|is| words.split('|').any(|word| word == is))
    };
    event["verdict"] == verdict
        && is("action", told.action)
        && is("reason", told.reason)
        && event["object"].to_string().contains(told.shows)
}

/// Whether an event says that what an act did should not be: of its process, or of a name that it
/// asked for, for which no process may be known.
fn is_about(event: &Value, act: &str, report: &Report) -> bool {
    let host = event["object"]["host"].as_str();
    let is_named = host.is_some_and(|host| act.split(' ').any(|word| word == host));
    event["verdict"].as_str().is_some_and(|verdict| verdict != "allow")
        && (event["subject"]["pid"] == report.process || is_named)
}

/// Fails unless something holds, with all that a run printed.
pub(super) fn expect(ended: &Ended, holds: bool, reason: &str) -> Result<(), Failure> {
    ensure(holds, || reason.to_owned()).map_err(|failure| failure.with(ended.said()))
}
