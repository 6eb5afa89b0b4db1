//! What `agent.yaml` means to the kernel.

use super::*;
use crate::{
    Dialect,
    testing::{document, egress_rules, error, path_rules, warnings},
};

const READ: u32 = Rights::READ.0;
const WRITE: u32 = Rights::WRITE.0;

#[test]
fn the_workspace_becomes_rules_for_reading_and_for_writing() {
    let text = "version: 1\ndefault_mode: standard\nworkspace:\n  readable: [\"/v/in/**\", /v/out*]\n  \
                writable: [\"/v/out/**\"]\n";
    assert_eq!(warnings(text), [""; 0]);
    let document = document(text, Dialect::SecaiAgent);
    assert_eq!(
        path_rules(&document),
        [
            (Effect::Allow, READ, "/v/in/**", 4),
            (Effect::Allow, READ, "/v/out*", 4),
            (Effect::Allow, WRITE, "/v/out/**", 5),
        ]
    );
    assert_eq!(document.boundary.baseline, boundary::Baseline::Libraries);
    assert_eq!(document.boundary.path_groups[0].rights, Rights::FILES);
    assert_eq!(document.boundary.path_groups[0].mode, Mode::Enforce);
}

#[test]
fn the_mode_decides_what_is_left_of_the_network() {
    let local = ["Allow 127.0.0.0/8 [] None", "Allow ::1/128 [] None"];
    for (mode, expected) in [
        ("offline_only", Some(&[][..])),
        ("sensitive", Some(&[][..])),
        ("standard", Some(&local[..])),
        ("online_assisted", None),
    ] {
        let text = format!("default_mode: {mode}\nworkspace: {{ readable: [/v] }}\n");
        let document = document(&text, Dialect::SecaiAgent);
        assert_eq!(document.boundary.egress.is_some(), expected.is_some(), "{mode}");
        assert_eq!(egress_rules(&document), expected.unwrap_or_default(), "{mode}");
    }
    let without = document("workspace: { readable: [/v] }\n", Dialect::SecaiAgent);
    assert_eq!(egress_rules(&without), local, "standard is the default");
}

#[test]
fn what_is_surprising_is_said() {
    for (text, code) in [
        ("default_mode: standard\n", code::EMPTY_ALLOWLIST),
        ("workspace: { writable: [\"/v/out/**\"] }\n", code::WRITE_WITHOUT_READ),
        ("workspace: { readable: [/v], writable: [/v/out] }\n", code::WRITE_WITHOUT_READ),
        ("workspace: { readable: [v/x] }\n", code::NEVER_MATCHES),
    ] {
        assert!(warnings(text).contains(&code), "{text}: {:?}", warnings(text));
    }
}

#[test]
fn unknown_keys_and_words_are_errors() {
    for (text, code, line, column, help) in [
        ("workspace: {}\ndefault_mode: offline\n", code::UNKNOWN_VALUE, 2, 15, "`offline_only`"),
        ("workspace: { readble: [] }\n", code::UNKNOWN_KEY, 1, 14, "did you mean `readable`?"),
        (
            "workspace: {}\nreadable: [/v]\nalways_deny: []\n",
            code::UNKNOWN_KEY,
            2,
            1,
            "belongs in `workspace`",
        ),
        ("workspace: {}\nbudgets: { standard: { max_steps: ten } }\n", code::WRONG_TYPE, 2, 35, ""),
        ("workspace: {}\nworker: { tmpfs_scratch: 1 }\n", code::WRONG_TYPE, 2, 26, ""),
        ("workspace: {}\nversion: 2\n", code::OUT_OF_RANGE, 2, 10, ""),
    ] {
        let found = error(text);
        assert_eq!((found.0, found.1, found.2), (code, line, column), "{text}{found:?}");
        assert!(found.3.contains(help), "{text}{found:?}");
    }
}
