//! Any patterns compile or are refused, the image answers every lookup, and a path matches what
//! globset says it matches.
//!
//! The input is a list of patterns and a path, with NULs between them. The first byte of a pattern
//! chooses how it is read.
#![no_main]

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use globset::GlobBuilder;
use libfuzzer_sys::fuzz_target;
use ringfence_common::{
    Right, Verdict,
    files::{Walker, cell},
};
use ringfence_policy::{
    boundary::{Baseline, Boundary, Effect, GlobSyntax, Mode, PathGroup, PathRule, Place, Rights},
    compile::{compile, verify},
};

/// Bytes that are enough for every construct; longer inputs only make slow automata.
const MAX_BYTES: usize = 128;

fuzz_target!(|input: &[u8]| {
    if input.len() > MAX_BYTES {
        return;
    }
    let mut parts: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
    let Some(path) = parts.pop() else { return };
    // Writing gives what Unix sockets need, so that the answer for these would show nothing.
    let rights = Right::ALL.into_iter().filter(|right| *right != Right::Socket);
    let rules: Vec<PathRule> = rights.zip(parts).filter_map(rule).collect();
    let boundary = Boundary {
        path_groups: vec![PathGroup {
            rights: Rights(0b11_1111),
            mode: Mode::Enforce,
            place: place(0),
            is_rule: false,
        }],
        path_rules: rules.clone(),
        baseline: Baseline::None,
        ..Boundary::new("fuzz")
    };
    let Ok(tables) = compile(&[boundary], &Default::default()) else { return };
    assert_eq!(verify(&tables.image), Ok(()));
    let image = tables.image.as_slice();
    let state = Walker::new(image).expect("an image has a header").walk(image, path);
    for rule in &rules {
        let right = Right::ALL.into_iter().find(|right| rule.rights.has(*right));
        let answer = right.and_then(|right| cell(image, state, right));
        let allows = answer.map(|cell| cell.verdict()) == Some(Verdict::Allow);
        let matches_any =
            matches(rule, path) || listing(rule).is_some_and(|rule| matches(&rule, path));
        // What begins so is an abstract name, and no path.
        let expected = matches_any && !path.starts_with(b"@");
        assert_eq!(allows, expected, "{} on {}", rule.pattern, path.escape_ascii());
    }
});

fn place(line: u32) -> Place {
    Place { file: "fuzz".into(), line, column: 1 }
}

/// A rule that alone gives its right, so that the answer for the right shows whether it matched.
fn rule((right, bytes): (Right, &[u8])) -> Option<PathRule> {
    let (first, pattern) = bytes.split_first()?;
    let syntax = match first % 3 {
        0 => GlobSyntax::Component,
        1 => GlobSyntax::Crossing,
        _ => GlobSyntax::Prefix,
    };
    Some(PathRule {
        pattern: std::str::from_utf8(pattern).ok()?.to_owned(),
        syntax,
        effect: Effect::Allow,
        rights: Rights(right.bit()),
        content: None,
        place: place(right as u32 + 1),
    })
}

/// What reading all below a folder includes: listing the folder.
fn listing(rule: &PathRule) -> Option<PathRule> {
    let folder = rule.pattern.strip_suffix("/**").filter(|folder| !folder.is_empty())?;
    // `\/` is a slash too.
    let escapes = folder.len() - folder.trim_end_matches('\\').len();
    let folder = &folder[..folder.len() - escapes % 2];
    let lists = rule.rights.has(Right::Read) && rule.syntax != GlobSyntax::Prefix;
    lists.then(|| PathRule { pattern: folder.to_owned(), ..rule.clone() })
}

fn matches(rule: &PathRule, path: &[u8]) -> bool {
    let stays_in_component = match rule.syntax {
        GlobSyntax::Prefix => {
            let prefix = rule.pattern.strip_suffix("/**").unwrap_or(&rule.pattern);
            let below = path.strip_prefix(prefix.trim_end_matches('/').as_bytes());
            return below.is_some_and(|below| below.is_empty() || below.starts_with(b"/"));
        }
        GlobSyntax::Component => true,
        GlobSyntax::Crossing => false,
    };
    let mut builder = GlobBuilder::new(&rule.pattern);
    builder.literal_separator(stays_in_component).backslash_escape(true);
    let glob = builder.build().expect("the pattern was compiled");
    glob.compile_matcher().is_match(Path::new(OsStr::from_bytes(path)))
}
