//! Compares what came of acts, and what was recorded of them, with what was expected.

use serde_json::Value;

use super::{By, Case};
use crate::{
    act::{Outcome, Report},
    harness::Failure,
    ringfence::Ended,
    sys,
    visitor::port_of_phase,
    words,
};

/// Collects what is wrong.
pub(super) struct Judge<'a> {
    /// The policy's text.
    pub(super) policy: &'a str,
    /// What is wrong so far, with the number of the case.
    pub(super) problems: Vec<(usize, String)>,
}

impl Judge<'_> {
    /// Judges the acts of one run.
    ///
    /// # Errors
    ///
    /// When they were not all done.
    pub(super) fn all(
        &mut self,
        mode: &str,
        prefix: &str,
        cases: &[Case],
        acts: &[String],
        ended: &Ended,
    ) -> Result<(), Failure> {
        let reports = ended.reports(acts.len())?;
        for (number, ((case, act), report)) in cases.iter().zip(acts).zip(reports).enumerate() {
            let place = format!("/{prefix}{number}/");
            let events: Vec<&Value> = ended
                .events
                .iter()
                .filter(|event| is_about(event, &report, &place) || is_packet(event, act, mode))
                .collect();
            if let Err(problem) = self.one(mode, case, &report, &events) {
                let text = format!("{mode}: {}: {problem}", words_of(act));
                self.problems.push((number, text));
                let seen = events.iter().take(4).map(|event| (number, format!("    {event}")));
                self.problems.extend(seen);
            }
        }
        Ok(())
    }

    fn one(
        &self,
        mode: &str,
        case: &Case,
        report: &Report,
        events: &[&Value],
    ) -> Result<(), String> {
        let Some(refusal) = &case.refusal else {
            if !case.succeeds(&report.outcome) {
                return Err(format!("should work, and there is {}", report.outcome));
            }
            return match events.iter().find(|event| event["verdict"] != "allow") {
                Some(_) => Err("works, and an event says that it should not".into()),
                None => Ok(()),
            };
        };
        let is_denied = mode == "enforce" || refusal.always;
        let verdict = if is_denied { "deny" } else { "observe" };
        match (is_denied, refusal.errno, &report.outcome) {
            (true, Some(expected), Outcome::Errno(errno)) if expected == *errno => {}
            (true, None, outcome) if !case.succeeds(outcome) => {}
            (false, _, outcome) if case.succeeds(outcome) => {}
            (true, Some(expected), outcome) => {
                let expected = sys::errno_name(expected);
                return Err(format!("should be refused with {expected}, and there is {outcome}"));
            }
            (_, _, outcome) => return Err(format!("there is {outcome}")),
        }
        if refusal.actions.is_empty() {
            return Ok(());
        }
        let fitting = |event: &&&Value| {
            let is = |field: &str, words: &str| {
                event[field].as_str().is_some_and(|is| words.split('|').any(|word| word == is))
            };
            let shown = event["object"].to_string().replace("\\\\", "\\");
            event["verdict"] == verdict
                && is("action", refusal.actions)
                && is("reason", refusal.reasons)
                && refusal.shows.is_none_or(|text| shown.contains(text))
        };
        let Some(event) = events.iter().find(fitting) else {
            let (actions, reasons) = (refusal.actions, refusal.reasons);
            return Err(format!("no event has {verdict} {actions}, {reasons}"));
        };
        self.decider(refusal.by, event)?;
        // What a call asks of ptrace, or of capabilities, it may answer with an error of its own.
        let told = is_denied && event["action"] != "ptrace" && event["action"] != "capability";
        let errno = refusal.errno.filter(|_| told).map(sys::errno_name);
        match errno.is_none_or(|errno| event["errno"] == errno.as_str()) {
            true => Ok(()),
            false => Err(format!("the event has the errno {}", event["errno"])),
        }
    }

    fn decider(&self, by: By, event: &Value) -> Result<(), String> {
        let (field, other, text) = match by {
            By::Rule(text) => ("rule", "default", text),
            By::Default(text) => ("default", "rule", text),
            By::Nothing => {
                let named = event.get("rule").or_else(|| event.get("default"));
                return named.map_or(Ok(()), |name| Err(format!("the event names {name}")));
            }
            By::Any => return Ok(()),
        };
        let line = self.policy.lines().position(|line| line.contains(text));
        let line = line.map_or(0, |index| index + 1);
        let ending = format!("policy.yaml:{line}");
        let named = event[field].as_str().unwrap_or_default();
        if named.ends_with(&ending) && event.get(other).is_none() {
            return Ok(());
        }
        Err(format!(
            "the event should have `{field}` {ending}; it has rule {} and default {}",
            event["rule"], event["default"]
        ))
    }
}

/// Whether an event is about a packet: one that came to the port on which an act serves, or one that
/// an act sent. No process is known for it.
fn is_packet(event: &Value, act: &str, mode: &str) -> bool {
    /// Where the kernel looks for a port for a socket that has none.
    const CHOSEN: u64 = 32768;
    if event["subject"]["pid"] != 0 {
        return false;
    }
    if act.starts_with("udp-routed") {
        // Where it goes is not looked for.
        return event["object"].get("port").is_none();
    }
    let Some(port) = event["object"]["port"].as_u64() else { return false };
    let ports = act.split_whitespace().filter_map(|word| word.parse().ok());
    act.starts_with("serve-unbound") && port >= CHOSEN
        || ports.into_iter().any(|one| port == u64::from(port_of_phase(one, mode)))
}

pub(super) fn words_of(act: &str) -> String {
    let words: Vec<String> =
        words::split(act).iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let text = words.join(" ");
    if text.len() > 300 {
        format!("{}…", text.chars().take(300).collect::<String>())
    } else {
        text
    }
}

/// Whether an event is about what a process, or a child of it, did, or about a case's folder.
fn is_about(event: &Value, report: &Report, place: &str) -> bool {
    let subject = &event["subject"];
    let process = u64::from(report.process);
    let names = |field: &str| event["object"][field].as_str().is_some_and(|p| p.contains(place));
    subject["pid"] == process || subject["ppid"] == process || names("path") || names("new_path")
}
