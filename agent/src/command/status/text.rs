//! The text of `ringfence status`: tables with a line for each scope and each set.

use std::time::Duration;

use ringfence_policy::diagnostic::visible;

use crate::budgets::Budget;
use crate::status::{Fill, Kind, Mode, ScopeStatus, SetStatus, State, Status, Stray};

/// Digits of a policy's hash: enough to tell those on one machine apart.
const DIGITS: usize = 12;

/// All of it, without the last line's end.
pub(super) fn page(status: &Status) -> String {
    let mut parts = Vec::new();
    if status.scopes.is_empty() {
        parts.push("No scopes are in force on this machine.".to_owned());
    } else {
        parts.push(scopes(&status.scopes));
        parts.push(tables(&status.scopes));
        parts.extend(budgets(&status.scopes));
    }
    if !status.sets.is_empty() {
        let memory = status.memory_bytes.map(|bytes| format!("\nmaps: {} in all", size(bytes)));
        parts.push(sets(&status.sets) + &memory.unwrap_or_default());
    }
    let mut notes: Vec<String> = status.scopes.iter().flat_map(about_scope).collect();
    notes.extend(status.strays.iter().map(about_stray));
    notes.extend(status.sets.iter().flat_map(about_set));
    notes.extend(status.agent.as_ref().and_then(about_agent));
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    parts.join("\n\n")
}

fn scopes(scopes: &[ScopeStatus]) -> String {
    let head = ["SCOPE", "MODE", "STATE", "PID", "FOR", "TASKS", "LOST", "POLICY", "FILE"];
    table(
        head,
        scopes.iter().map(|scope| {
            [
                scope.scope.clone(),
                mode(scope.mode).to_owned(),
                state(scope),
                if scope.orphaned { "-".to_owned() } else { scope.pid.to_string() },
                scope.age_seconds.map_or_else(|| "-".to_owned(), age),
                tasks(scope),
                scope.events_lost.to_string(),
                digest(&scope.policy),
                files(scope),
            ]
        }),
    )
}

fn tables(scopes: &[ScopeStatus]) -> String {
    let head = ["SCOPE", "CGROUP", "ADDRESSES", "PROGRAMS", "RESOLVER", "MAPS"];
    table(
        head,
        scopes.iter().map(|scope| {
            let ports = scope.resolver.map_or_else(
                || "-".to_owned(),
                |ports| match ports.v6 {
                    Some(v6) => format!("{}, {v6}", ports.v4),
                    None => ports.v4.to_string(),
                },
            );
            [
                scope.scope.clone(),
                cgroups(scope),
                fill(scope.tables.addresses),
                fill(scope.tables.programs),
                ports,
                memory(scope.memory_bytes),
            ]
        }),
    )
}

/// What scopes have used of their budgets, if any has one.
fn budgets(scopes: &[ScopeStatus]) -> Option<String> {
    let rows: Vec<_> = scopes
        .iter()
        .flat_map(|scope| scope.budgets.iter().map(move |budget| (scope, budget)))
        .map(|(scope, Budget { budget, used, limit, used_ratio })| {
            let share = format!("{:.0} %", (used_ratio * 100.0).floor());
            [scope.scope.clone(), (*budget).to_owned(), used.to_string(), limit.to_string(), share]
        })
        .collect();
    let head = ["SCOPE", "BUDGET", "USED", "LIMIT", "SHARE"];
    (!rows.is_empty()).then(|| table(head, rows.into_iter()))
}

fn sets(sets: &[SetStatus]) -> String {
    let head = ["PROGRAMS", "BUILD", "PARTS", "IMAGES", "SCOPES", "MAPS"];
    table(
        head,
        sets.iter().map(|set| {
            let build = match (&set.build, set.this_build) {
                (_, true) => "this one",
                (Some(_), false) => "another",
                (None, false) => "unknown",
            };
            [
                set.set.clone(),
                build.to_owned(),
                if set.parts.is_empty() { "-".to_owned() } else { set.parts.join(", ") },
                set.image_bytes.map_or_else(|| "-".to_owned(), size),
                set.scopes.map_or_else(|| "?".to_owned(), |scopes| scopes.to_string()),
                memory(set.memory_bytes),
            ]
        }),
    )
}

fn cgroups(scope: &ScopeStatus) -> String {
    match (scope.kind, scope.cgroups.as_slice()) {
        (Kind::Run, _) => scope.cgroup.clone().unwrap_or_else(|| "gone".to_owned()),
        (Kind::Service, []) => "none".to_owned(),
        (Kind::Service, [one]) => visible(one),
        (Kind::Service, all) => format!("{} of them", all.len()),
    }
}

/// What a person should know of a scope, and cannot see in a table.
fn about_scope(scope: &ScopeStatus) -> Vec<String> {
    let name = &scope.scope;
    let mut notes = Vec::new();
    if scope.kind == Kind::Service {
        if scope.orphaned {
            notes.push(format!(
                "{name}: no agent is running. The policy stays in force; nobody takes events, and \
                 no names are looked up. Start the agent again, or `ringfence detach`."
            ));
        }
    } else if scope.orphaned && scope.tasks.processes > 0 {
        notes.push(format!(
            "{name}: its ringfence is gone. What runs in it stays governed; nobody takes its \
             events. `ringfence detach` ends it."
        ));
    } else if scope.orphaned {
        notes.push(format!(
            "{name}: its ringfence is gone and nothing runs in it: the next start removes it, or \
             `ringfence detach`."
        ));
    }
    let told = scope.missing.pieces.len();
    notes.extend(
        scope
            .missing
            .pieces
            .iter()
            .map(|piece| format!("{name}: not enforced: {}", visible(piece))),
    );
    let more = (scope.missing.count as usize).saturating_sub(told);
    if more > 0 {
        notes.push(format!("{name}: not enforced: {more} more"));
    }
    notes
}

/// What went wrong when the agent last read its files.
fn about_agent(agent: &serde_json::Value) -> Option<String> {
    let problem = agent.get("problem")?.as_str()?;
    Some(format!("the last reload changed nothing: {}", visible(problem)))
}

fn about_stray(stray: &Stray) -> String {
    format!(
        "{}: NOT GOVERNED, as far as can be told: {} processes are where a scope's should be, and \
         there is no scope. `ringfence detach` ends them.",
        visible(&stray.cgroup),
        stray.processes
    )
}

fn about_set(set: &SetStatus) -> Vec<String> {
    let note = |problem| format!("{}: its scopes cannot be told: {}", set.set, visible(problem));
    set.problem.as_deref().map(note).into_iter().collect()
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
        Mode::Mixed => "mixed",
    }
}

fn state(scope: &ScopeStatus) -> String {
    let state = match scope.state {
        _ if scope.orphaned && scope.kind == Kind::Service => "no agent",
        _ if scope.orphaned => "orphaned",
        State::Starting => "starting",
        State::InForce => "in force",
        State::Ending => "ending",
    };
    let degraded = if scope.missing.count > 0 { ", degraded" } else { "" };
    format!("{state}{degraded}")
}

fn tasks(scope: &ScopeStatus) -> String {
    match scope.tasks.outside {
        0 => scope.tasks.processes.to_string(),
        outside => format!("{} ({outside} moved)", scope.tasks.processes),
    }
}

/// A time to its two largest units.
fn age(seconds: u64) -> String {
    let unit = match seconds {
        0..3600 => 1,
        3600..86_400 => 60,
        _ => 3600,
    };
    humantime::format_duration(Duration::from_secs(seconds / unit * unit)).to_string()
}

fn digest(policy: &str) -> String {
    policy.trim_start_matches("sha256:").chars().take(DIGITS).collect()
}

fn files(scope: &ScopeStatus) -> String {
    let first = visible(&scope.policy_file);
    match scope.policy_files {
        0 | 1 => first,
        files => format!("{first} and {} more", files - 1),
    }
}

fn fill(fill: Fill) -> String {
    format!("{}/{}", fill.entries, fill.capacity)
}

fn memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), size)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024),
    }
}

/// Rows under a head, with columns as wide as their widest cell and two spaces between them.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let width = |cell: &String| cell.chars().count();
    let mut widths = [0; N];
    for row in &all {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, widest) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<widest$}  "));
        }
        line.trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
