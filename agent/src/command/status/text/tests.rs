use super::*;
use crate::status::{Missing, Ports, Stray, Tables, Tasks};

fn scope(name: &str) -> ScopeStatus {
    ScopeStatus {
        kind: Kind::Run,
        cgroups: Vec::new(),
        generation: 0,
        events: 0,
        decisions: None,
        scope: name.to_owned(),
        cgroup: Some(format!("/ringfence/{name}")),
        state: State::InForce,
        orphaned: false,
        pid: 811,
        mode: Mode::Enforce,
        policy: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        policy_file: "/etc/agents/coder.yaml".into(),
        policy_files: 1,
        since: Some("2026-11-21T18:46:03.123456789Z".into()),
        age_seconds: Some(125),
        tasks: Tasks { processes: 3, outside: 0 },
        events_lost: 0,
        budgets: Vec::new(),
        tables: Tables {
            addresses: Fill { entries: 12, capacity: 65_536 },
            programs: Fill { entries: 0, capacity: 65_536 },
        },
        resolver: Some(Ports { v4: 40_001, v6: Some(40_002) }),
        missing: Missing { count: 0, pieces: Vec::new() },
        set: "3f0c-256k".into(),
        number: 1,
        memory_bytes: Some(1_310_720),
    }
}

fn set() -> SetStatus {
    SetStatus {
        set: "3f0c-256k".into(),
        build: Some("3f0c".into()),
        this_build: true,
        image_bytes: Some(262_144),
        parts: vec!["machine", "network"],
        scopes: Some(2),
        problem: None,
        memory_bytes: Some(2_621_440),
    }
}

#[test]
fn nothing_in_force_is_one_sentence() {
    assert_eq!(page(&Status::default()), "No scopes are in force on this machine.");
}

#[test]
fn columns_stand_below_each_other() {
    let orphan = ScopeStatus {
        state: State::InForce,
        orphaned: true,
        mode: Mode::Observe,
        age_seconds: Some(90_061),
        tasks: Tasks { processes: 2, outside: 1 },
        events_lost: 1234,
        policy_files: 2,
        resolver: None,
        memory_bytes: None,
        ..scope("night-shift")
    };
    let status = Status {
        agent: None,
        scopes: vec![scope("coder"), orphan],
        strays: Vec::new(),
        sets: vec![set()],
        memory_bytes: Some(3_932_160),
    };
    let expected = "\
SCOPE        MODE     STATE     PID  FOR      TASKS        LOST  POLICY        FILE
coder        enforce  in force  811  2m 5s    3            0     0123456789ab  /etc/agents/coder.yaml
night-shift  observe  orphaned  -    1day 1h  2 (1 moved)  1234  0123456789ab  /etc/agents/coder.yaml and 1 more

SCOPE        CGROUP                  ADDRESSES  PROGRAMS  RESOLVER      MAPS
coder        /ringfence/coder        12/65536   0/65536   40001, 40002  1.2 MiB
night-shift  /ringfence/night-shift  12/65536   0/65536   -             -

PROGRAMS   BUILD     PARTS             IMAGES   SCOPES  MAPS
3f0c-256k  this one  machine, network  256 KiB  2       2.5 MiB
maps: 3.7 MiB in all

night-shift: its ringfence is gone. What runs in it stays governed; nobody takes its events. \
`ringfence detach` ends it.";
    assert_eq!(page(&status), expected);
}

#[test]
fn programs_of_another_version_are_told_of_without_scopes() {
    let other = SetStatus {
        set: "77aa-1024k".into(),
        this_build: false,
        parts: Vec::new(),
        scopes: None,
        problem: Some("another version".into()),
        memory_bytes: None,
        ..set()
    };
    let expected = "\
No scopes are in force on this machine.

PROGRAMS    BUILD    PARTS  IMAGES   SCOPES  MAPS
77aa-1024k  another  -      256 KiB  ?       -

77aa-1024k: its scopes cannot be told: another version";
    let status = Status { sets: vec![other], ..Status::default() };
    assert_eq!(page(&status), expected);
}

#[test]
fn a_state_is_a_word_and_whether_something_is_missing() {
    let missing = Missing { count: 3, pieces: vec!["a.yaml:3: `budgets`".into()] };
    for (state, orphaned, count, expected) in [
        (State::Starting, false, 0, "starting"),
        (State::InForce, false, 0, "in force"),
        (State::InForce, false, 3, "in force, degraded"),
        (State::Ending, false, 0, "ending"),
        (State::InForce, true, 0, "orphaned"),
        (State::Starting, true, 3, "orphaned, degraded"),
    ] {
        let missing = Missing { count, ..missing.clone() };
        let scope = ScopeStatus { state, orphaned, missing, ..scope("a") };
        assert_eq!(super::state(&scope), expected);
    }
    let scope = ScopeStatus { missing, ..scope("a") };
    let expected = ["a: not enforced: a.yaml:3: `budgets`", "a: not enforced: 2 more"];
    assert_eq!(about_scope(&scope), expected);
}

#[test]
fn an_orphan_without_processes_is_only_left_over() {
    let tasks = Tasks { processes: 0, outside: 0 };
    let notes = about_scope(&ScopeStatus { orphaned: true, tasks, ..scope("a") });
    assert!(notes.iter().all(|note| note.contains("nothing runs in it")), "{notes:?}");
}

#[test]
fn processes_without_a_scope_are_told_of_loudly() {
    let strays = vec![Stray { cgroup: "/ringfence/coder".into(), processes: 2 }];
    let expected = "\
No scopes are in force on this machine.

/ringfence/coder: NOT GOVERNED, as far as can be told: 2 processes are where a scope's should be, \
and there is no scope. `ringfence detach` ends them.";
    assert_eq!(page(&Status { strays, ..Status::default() }), expected);
}

#[test]
fn what_others_have_named_acts_on_no_terminal() {
    let policy_file = "/tmp/\u{1b}[2J\n\u{202e}.yaml".into();
    let pieces = vec!["\u{1b}[2J".into()];
    let scope = ScopeStatus { policy_file, missing: Missing { count: 1, pieces }, ..scope("a") };
    let text = page(&Status { scopes: vec![scope], ..Status::default() });
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    assert_eq!(text.lines().count(), 2 + 1 + 2 + 1 + 1, "{text}");
}

#[test]
fn amounts_are_told_in_few_digits() {
    for (bytes, expected) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_048_575, "1023 KiB"),
        (1_048_576, "1.0 MiB"),
        (1_992_294, "1.8 MiB"),
    ] {
        assert_eq!(size(bytes), expected);
    }
    for (seconds, expected) in [
        (0, "0s"),
        (59, "59s"),
        (3599, "59m 59s"),
        (3661, "1h 1m"),
        (86_399, "23h 59m"),
        (86_461, "1day"),
    ] {
        assert_eq!(age(seconds), expected);
    }
}

#[test]
fn the_json_has_the_fields_that_its_page_describes() {
    let strays = vec![Stray { cgroup: "/ringfence/b".into(), processes: 1 }];
    let (scopes, sets) = (vec![scope("a")], vec![set()]);
    let status = Status { scopes, strays, sets, memory_bytes: None, agent: None };
    let value = serde_json::to_value(&status).unwrap();
    let mut names = Vec::new();
    names_in(&value, "", &mut names);
    let page = include_str!("../../../../../docs/status.md");
    for name in &names {
        assert!(page.contains(&format!("`{name}`")), "docs/status.md lacks `{name}`");
    }
    assert!(names.len() > 30, "{names:?}");
}

/// The fields with their places: `scopes[].tasks.processes`.
fn names_in(value: &serde_json::Value, place: &str, names: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                names_in(value, &place, names);
                names.push(place);
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| names_in(value, &format!("{place}[]"), names));
        }
        _ => {}
    }
}
