//! The table of selectors: it selects what globset matches, and the first scope of the file wins.

use std::sync::atomic::{AtomicUsize, Ordering};

use globset::GlobBuilder;
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

use super::*;
use crate::{compile::verify, configuration::selectors::compile};

/// A configuration with one scope for each list of selectors.
fn scopes(selectors: &[&[&str]]) -> Configuration {
    let mut text = "agent: 1\nscopes:\n".to_owned();
    for (number, selectors) in selectors.iter().enumerate() {
        text += &format!("  - name: s{number}\n    policy: [p.yaml]\n    match:\n");
        for selector in *selectors {
            text += &format!("      - {{ {selector} }}\n");
        }
    }
    configuration(&text).0
}

#[test]
fn a_table_selects_exactly_what_the_globs_say() {
    let configuration = scopes(&[
        &["cgroup: /a/b", "exe: /bin/a"],
        &["unit: \"coder-*.service\"", "exe: \"/opt/**\""],
        &["cgroup: \"/x/**\"", "cgroup: \"/y/*\""],
    ]);
    let tables = compile(&configuration).unwrap();
    assert_eq!(verify(&tables.image), Ok(()));
    for (path, expected) in [
        ("/a/b", Some(0)),
        ("/a/b/c", None),
        ("/a", None),
        ("/a/bc", None),
        ("/coder-1.service", Some(1)),
        ("/system.slice/coder-1.service", Some(1)),
        ("/user.slice/user-1.slice/coder-.service", Some(1)),
        ("/system.slice/coder-1.service/below", None),
        ("/system.slice/my-coder-1.service", None),
        ("/x", None),
        ("/x/y", Some(2)),
        ("/x/y/z", Some(2)),
        ("/y/z", Some(2)),
        ("/y/z/z", None),
        ("/bin/a", None),
        ("", None),
    ] {
        assert_eq!(tables.of_cgroup(path.as_bytes()), expected, "{path}");
    }
    for (path, expected) in [
        ("/bin/a", Some(0)),
        ("/bin/a/b", None),
        ("/opt/x/y", Some(1)),
        ("/opt", None),
        ("/a/b", None),
    ] {
        assert_eq!(tables.of_program(path.as_bytes()), expected, "{path}");
    }
}

#[test]
fn the_first_scope_that_selects_a_path_has_it() {
    let wide_last = scopes(&[&["cgroup: /a/b"], &["cgroup: \"/a/*\""]]);
    let tables = compile(&wide_last).unwrap();
    assert_eq!((tables.of_cgroup(b"/a/b"), tables.of_cgroup(b"/a/c")), (Some(0), Some(1)));
    let wide_first = scopes(&[&["cgroup: \"/a/*\""], &["cgroup: /a/b"]]);
    assert_eq!(compile(&wide_first).unwrap().of_cgroup(b"/a/b"), Some(0));
}

#[test]
fn selectors_that_select_the_same_are_told_and_the_first_has_it() {
    for (first, second) in [
        ("unit: a.service", "cgroup: \"/**/a.service\""),
        ("exe: /bin/a", "exe: /bin/a"),
        ("cgroup: /a", "cgroup: /a"),
    ] {
        let text = format!(
            "agent: 1\nscopes:\n  - {{ name: a, policy: [p], match: [{{ {first} }}] }}\n  \
             - {{ name: b, policy: [p], match: [{{ {second} }}] }}\n"
        );
        let (configuration, warnings) = configuration(&text);
        assert_eq!(warnings, ["the scope `a` selects this already"], "{first}");
        let tables = compile(&configuration).unwrap();
        let found = [
            tables.of_cgroup(b"/a.service"),
            tables.of_program(b"/bin/a"),
            tables.of_cgroup(b"/a"),
        ];
        assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), [0], "{first}");
    }
}

#[test]
fn reserved_control_groups_are_never_selected() {
    // What is written so that no check sees it still takes nothing of ringfence's own.
    let configuration = scopes(&[&["unit: \"coder*\"", "cgroup: \"/*/coder\""]]);
    let tables = compile(&configuration).unwrap();
    assert_eq!(tables.of_cgroup(b"/ringfence/coder"), None);
    assert_eq!(tables.of_cgroup(b"/elsewhere/coder"), Some(0));
    for path in ["/", "/init.scope", "/system.slice", "/user.slice", "/ringfence"] {
        assert_eq!(tables.of_cgroup(path.as_bytes()), None, "{path}");
    }
}

#[test]
fn selectors_that_are_too_complex_are_told_with_their_line() {
    let configuration = scopes(&[&["exe: /bin/a"], &["exe: \"/srv/*a?????????????????\""]]);
    let finding = compile(&configuration).unwrap_err();
    assert_eq!(finding.code, code::NOT_COMPILED);
    assert!(finding.message.starts_with("with this selector the table"), "{}", finding.message);
    assert_eq!((finding.place.line, finding.length), (10, 26), "{finding}");
    assert!(finding.line_text.is_some());
}

#[test]
fn globs_are_listed_with_their_scopes() {
    let configuration = scopes(&[&["exe: /bin/a", "unit: a.service"], &["cgroup: /b"]]);
    let globs = |globs: Vec<selectors::Glob>| -> Vec<(String, u32)> {
        globs.into_iter().map(|glob| (glob.text, glob.scope)).collect()
    };
    let cgroups = [("/**/a.service".to_owned(), 0), ("/b".to_owned(), 1)];
    assert_eq!(globs(configuration.cgroup_globs()), cgroups);
    assert_eq!(globs(configuration.program_globs()), [("/bin/a".to_owned(), 0)]);
}

/// Pieces of globs that collide with each other.
const PIECES: &[&str] = &[
    "a", "b", ".", "/", "/a", "/b", "*", "?", "[a-c]", "[!a]", "{a,b}", "{a/b,b}", "/**/", "/**",
    "\\*", "é",
];
/// Pieces of paths.
const PARTS: &[&str] = &["a", "b", "c", ".", "/", "/a", "/b", "/a/b", "*", "é"];

fn text(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(pieces), 0..most)
        .prop_map(|pieces| format!("/{}", pieces.concat()))
}

#[test]
fn a_walk_selects_what_globset_matches() {
    let hits = AtomicUsize::new(0);
    let config = ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() };
    let globs = prop::collection::vec((text(PIECES, 5), any::<bool>()), 1..5);
    let paths = prop::collection::vec(text(PARTS, 5), 64);
    TestRunner::new(config)
        .run(&(globs, paths), |(globs, paths)| {
            hits.fetch_add(walk(&globs, &paths)?, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let hits = hits.into_inner();
    assert!(hits > 2000, "only {hits} matches: the paths do not fit the globs");
}

/// Compares what a table selects with what globset matches, and counts the matches. Globs are over
/// control groups, or over programs where that is said; each is the selector of a scope.
fn walk(globs: &[(String, bool)], paths: &[String]) -> Result<usize, TestCaseError> {
    let selector = |(glob, is_program): &(String, bool)| {
        let key = if *is_program { "exe" } else { "cgroup" };
        format!("{key}: {}", serde_json::Value::from(glob.as_str()))
    };
    // Those that may not be written are left out, one by one.
    let is_usable = |glob: &&(String, bool)| {
        let selector = selector(glob);
        let scope = format!("{{ name: a, policy: [p], match: [{{ {selector} }}] }}");
        let text = format!("agent: 1\nscopes: [{scope}]\n");
        read(&Source::new("a.yaml", text)).configuration.is_some()
    };
    let usable: Vec<_> = globs.iter().filter(is_usable).collect();
    if usable.is_empty() {
        return Ok(0);
    }
    let texts: Vec<String> = usable.iter().map(|glob| selector(glob)).collect();
    let lists: Vec<[&str; 1]> = texts.iter().map(|text| [text.as_str()]).collect();
    let lists: Vec<&[&str]> = lists.iter().map(<[&str; 1]>::as_slice).collect();
    let tables = compile(&scopes(&lists)).unwrap();
    prop_assert_eq!(verify(&tables.image), Ok(()));
    let matcher = |glob: &str| {
        GlobBuilder::new(glob).literal_separator(true).build().unwrap().compile_matcher()
    };
    let matchers: Vec<_> =
        usable.iter().map(|(glob, is_program)| (matcher(glob), *is_program)).collect();
    let mut hits = 0;
    for path in paths {
        let first = |asked: bool| {
            let found = matchers
                .iter()
                .position(|(matcher, is_program)| *is_program == asked && matcher.is_match(path));
            found.map(|found| u32::try_from(found).unwrap())
        };
        let program = tables.of_program(path.as_bytes());
        prop_assert_eq!(program, first(true), "{}", path);
        // The root is never selected.
        let expected = first(false).filter(|_| path != "/");
        let cgroup = tables.of_cgroup(path.as_bytes());
        prop_assert_eq!(cgroup, expected, "{}", path);
        hits += usize::from(program.is_some()) + usize::from(cgroup.is_some());
    }
    Ok(hits)
}
