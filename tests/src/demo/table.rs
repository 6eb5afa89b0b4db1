//! The table: each act, what came of it, and what decided.

use std::path::Path;

use serde_json::Value;

use crate::{acts::Act, stage::Outcome};

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) act: &'static str,
    without: &'static str,
    with: &'static str,
    decided_by: String,
    /// Whether it came out as it should.
    pub(crate) is_right: bool,
}

/// The lines, in the order of the acts.
pub(crate) fn rows(acts: &[Act], free: &Outcome, governed: &Outcome) -> Vec<Row> {
    let row = |(number, act): (usize, &Act)| {
        let without = free.worked.get(number).copied().flatten();
        let with = governed.worked.get(number).copied().flatten();
        let event = if act.is_allowed { None } else { event_of(act, governed) };
        let was_skipped = act.needs.is_some() && without.is_none() && with.is_none();
        let is_right = was_skipped
            || (without == Some(true)
                && with == Some(act.is_allowed)
                && act.is_allowed == event.is_none());
        let word = |worked, no| match worked {
            Some(true) => "works",
            Some(false) => no,
            None => "not tried",
        };
        Row {
            act: act.name,
            without: word(without, "FAILS"),
            with: word(with, if act.is_allowed { "FAILS" } else { "refused" }),
            decided_by: event.map(decider).unwrap_or_default(),
            is_right,
        }
    };
    acts.iter().enumerate().map(row).collect()
}

/// The refusal that ringfence recorded of an act.
fn event_of<'a>(act: &Act, outcome: &'a Outcome) -> Option<&'a Value> {
    let (action, part) = act.event;
    outcome.events.iter().find(|event| {
        let object = &event["object"];
        let has = |field: &str| object[field].as_str().is_some_and(|text| text.ends_with(part));
        event["verdict"] == "deny"
            && event["action"] == action
            && (has("path") || has("new_path") || has("address"))
    })
}

/// The place in the policy that an event names.
fn decider(event: &Value) -> String {
    let place = |field: &str| {
        let text = event[field].as_str()?;
        Path::new(text).file_name().map(|name| name.to_string_lossy().into_owned())
    };
    match (place("rule"), place("default")) {
        (Some(rule), _) => format!("rule {rule}"),
        (None, Some(list)) => format!("{list}: not in the list"),
        (None, None) => event["reason"].as_str().unwrap_or_default().to_owned(),
    }
}

/// The table as text.
pub(crate) fn drawn(rows: &[Row]) -> String {
    let line = |cells: [&str; 4]| {
        let [act, without, with, decided_by] = cells;
        let line = format!("  {act:<36} {without:<18} {with:<15} {decided_by}");
        format!("{}\n", line.trim_end())
    };
    let mut text = line(["act", "without ringfence", "with ringfence", "decided by"]);
    text += &line(["---", "-----------------", "--------------", "----------"]);
    for row in rows {
        let with = if row.is_right { row.with.to_owned() } else { format!("{} (!)", row.with) };
        text += &line([row.act, row.without, &with, &row.decided_by]);
    }
    text
}
