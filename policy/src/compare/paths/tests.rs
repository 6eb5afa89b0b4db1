//! Differences about paths.

use super::super::tests::{Policy, compared, told};
use super::*;
use ringfence_common::Reason;

fn files(rules: &str) -> Policy {
    Policy::of(&format!("files:\n{rules}"))
}

#[test]
fn a_denial_deep_inside_an_allowed_tree_is_found_by_a_path_that_it_matches() {
    let rules = "  - { path: \"/srv/**\", allow: [read] }\n";
    let old = files(rules);
    let new = files(&format!("{rules}  - {{ path: \"/srv/**/x/*.key\", deny: [read] }}\n"));
    assert_eq!(told(&old, &new), ["read /srv/x/.key: allow 4, deny 5"]);
    let (allow, deny) = (Verdict::Allow, Verdict::Deny);
    let path = b"/srv/x/.key";
    assert_eq!(question::about_path(&old.tables, path, Right::Read).verdict, allow);
    assert_eq!(question::about_path(&new.tables, path, Right::Read).verdict, deny);
}

#[test]
fn an_example_is_the_shortest_path_and_of_bytes_that_people_can_read() {
    for (pattern, example) in [
        ("/", "/"),
        ("/**", "/"),
        ("/srv/?", "/srv/a"),
        ("/srv/[!a-z]", "/srv/A"),
        ("/srv/[!a-zA-Z0-9]x", "/srv/-x"),
        ("/srv/[.]?", "/srv/.a"),
        ("/srv/**/k", "/srv/k"),
        ("/srv/*/k", "/srv/a/k"),
        ("/srv/\\*", "/srv/*"),
        ("/\u{e9}", "/\u{e9}"),
    ] {
        let (old, new) =
            (files("  []\n"), files(&format!("  - {{ path: '{pattern}', allow: [write] }}\n")));
        let expected = ["write", "create", "delete", "metadata"];
        let expected = expected.map(|right| format!("{right} {example}: deny 3, allow 4"));
        let told = told(&old, &new);
        assert_eq!(told.iter().filter(|one| one.starts_with("write")).count(), 1, "{pattern}");
        assert!(expected.iter().all(|one| told.contains(one)), "{pattern}: {told:?}");
    }
}

#[test]
fn a_rule_that_only_impossible_paths_match_makes_no_difference() {
    // Sec0 takes such patterns, with a warning.
    let sec0 = |list: &str| {
        let text = include_str!("../../../../examples/sec0-coder.yaml");
        let (before, after) = text.split_once("  fs_allowlist:\n").unwrap();
        let lists = format!("  fs_allowlist:\n    - /srv/a\n{list}");
        Policy::new(&[&format!("{before}{lists}{after}")])
    };
    let impossible = ["/srv/", "//x", "/srv/..", "/srv/./a", "/srv//a", "srv", "/srv/a/../b"];
    let impossible: String = impossible.map(|path| format!("    - {path}\n")).concat();
    assert!(compared(&sec0(""), &sec0(&impossible)).is_empty());
    assert!(!compared(&sec0(""), &sec0("    - /srv/...\n")).is_empty());
}

#[test]
fn each_pair_of_rules_has_its_own_example() {
    let old =
        files("  - { path: \"/a/**\", allow: [read] }\n  - { path: \"/b/**\", allow: [read] }\n");
    let new = files("  - { path: \"/{a,c}/x\", allow: [read] }\n  - { path: /b, deny: [read] }\n");
    assert_eq!(
        told(&old, &new),
        [
            // The folder and what is below it are two rules of one line.
            "read /a: allow 4, deny 3",
            "read /b: allow 5, deny 5",
            "read /a/a: allow 4, deny 3",
            "read /b/a: allow 5, deny 3",
            "read /c/x: deny 3, allow 4",
        ]
    );
}

#[test]
fn a_right_that_only_one_policy_governs_differs_where_the_other_refuses() {
    let old = Policy::of("egress: []\n");
    let new = Policy::of("egress: []\nexec: [{ path: \"/bin/**\", allow: true }]\n");
    assert_eq!(told(&old, &new), ["exec /: allow, deny 4"]);
}

#[test]
fn where_all_paths_are_allowed_only_those_too_long_differ() {
    let all = "[{ path: \"/**\", allow: [read] }, { path: /, allow: [read] }]";
    let group = |mode| Policy::of(&format!("files: {{ mode: {mode}, rules: {all} }}\n"));
    let told = told(&group("enforce"), &group("observe"));
    assert!(told.contains(&"read long: deny, observe".into()), "{told:?}");
    assert!(!told.iter().any(|one| one.starts_with("read /")), "{told:?}");
    assert!(!told.iter().any(|one| one.starts_with("write long")), "{told:?}");
}

#[test]
fn one_rule_of_thousands_is_found() {
    let rules = |count: usize| {
        let rule = |n| format!("  - {{ path: \"/srv/project-{n}/**\", allow: [read] }}\n");
        (0..count).map(rule).collect::<String>()
    };
    let (old, new) = (files(&rules(2000)), files(&rules(2001)));
    // The folder and what is below it are two rules of one line.
    assert_eq!(
        told(&old, &new),
        [
            "read /srv/project-2000: deny 3, allow 2004",
            "read /srv/project-2000/a: deny 3, allow 2004"
        ]
    );
}

#[test]
fn a_walk_that_needs_more_pairs_than_there_is_room_for_says_so() {
    let (old, new) = (files("  []\n"), files("  - { path: \"/srv/**\", allow: [read] }\n"));
    let walk = |mut room: usize| {
        let is_complete = product::walk::<KernelPath>(
            &old.tables.image,
            &new.tables.image,
            &mut room,
            |_, _, _| {},
        );
        (is_complete, room)
    };
    let (is_complete, left) = walk(1000);
    assert!(is_complete);
    let needed = 1000 - left;
    assert_eq!(walk(needed), (true, 0));
    assert_eq!(walk(needed - 1), (false, 0));
}

#[test]
fn more_differences_than_anybody_reads_make_a_comparison_incomplete() {
    let decision = |verdict, rule| Decision::of(Cell::new(verdict, rule), Reason::FsViolation);
    let mut found = Found::default();
    let mut add = |number: usize| {
        let new = (decision(Verdict::Deny, number as u32), None);
        let old = (decision(Verdict::Allow, 1), None);
        found.add(Ask::FirstProgram, old, new, || b"/".to_vec());
        (found.list.len(), found.is_full)
    };
    for number in 0..MAX_DIFFERENCES {
        assert_eq!(add(number), (number + 1, false));
    }
    assert_eq!(add(0), (MAX_DIFFERENCES, false), "is known");
    assert_eq!(add(MAX_DIFFERENCES), (MAX_DIFFERENCES, true));
}

#[test]
fn only_paths_of_the_kernel_have_the_form() {
    let is_path = |path: &[u8]| {
        let state = path.iter().try_fold(KernelPath::START, |state, byte| {
            assert!(state < KernelPath::STATES);
            KernelPath::step(state, *byte)
        });
        state.is_some_and(KernelPath::may_end)
    };
    for path in ["/", "/a", "/a/b", "/.a", "/..a", "/...", "/a.", "/a..", "/a/.b", "/\n", "/\u{e9}"]
    {
        assert!(is_path(path.as_bytes()), "{path:?}");
    }
    for path in ["", "a", "//", "/a/", "/a//b", "/.", "/..", "/a/.", "/a/../b", "/./b", "/a\0"] {
        assert!(!is_path(path.as_bytes()), "{path:?}");
    }
}
