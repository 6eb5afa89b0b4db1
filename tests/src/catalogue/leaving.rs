//! Leaving the scope: whatever a process becomes and wherever it moves, it stays governed.

use super::{By, Family, Row, Stage, refused};

pub(super) const FAMILY: Family = Family {
    title: "Leaving the scope",
    test: "a process stays governed whatever it becomes and wherever it moves itself",
    file: "leaving",
    policy: POLICY,
    stage: Stage::Files,
    rows: ROWS,
    works: &[],
};

/// Every path but one, so that nothing but the scope keeps a process from leaving.
const POLICY: &str = r#"boundary: 1
files:
  - { path: "/**", allow: [read, write] }
  - { path: "{room}/**/out/**", deny: [read] }
"#;

const fn read(way: &'static str, acts: &'static [&'static str]) -> Row {
    refused(way, &["task_alloc"], acts, "read", "fs_violation", By::Rule("out/**"))
}

const ROWS: &[Row] = &[
    read("A child, a thread", &["read-after-fork {out}/secret", "read-in-thread {out}/secret"]),
    read("A new program", &["read-after-exec {out}/secret"]),
    read("A daemon, whose parent is gone", &["read-as-daemon {out}/secret"]),
    // In observe mode it does move, and is told of where it is then.
    read(
        "Moving to another cgroup, and to one of its own making",
        &[
            "read-after-moving {out}/secret {cgroup}",
            "read-in-new-cgroup {out}/secret {cgroup}/made",
        ],
    ),
    // Whether it is not born, or may not read, is the product's choice.
    refused(
        "A child that is born in another cgroup (`CLONE_INTO_CGROUP`)",
        &["task_alloc"],
        &["read-born-elsewhere {out}/secret {cgroup}"],
        "namespace|read",
        "forbidden_mount|fs_violation",
        By::Any,
    )
    .somehow(),
];
