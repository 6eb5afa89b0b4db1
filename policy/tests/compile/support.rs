//! Boundaries in few words, questions to an image, and oracles for single patterns.

use std::{ffi::OsStr, ops::RangeInclusive, os::unix::ffi::OsStrExt, path::Path, sync::Arc};

use globset::{GlobBuilder, GlobMatcher};
use proptest::prelude::*;
use ringfence_common::{
    Cell, Right,
    files::{Walker, cell},
};
use ringfence_policy::boundary::{
    Baseline, Boundary, Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, PathRule, Place,
    Rights, Target,
};

pub(crate) fn place(file: &Arc<str>, line: u32) -> Place {
    Place { file: file.clone(), line, column: 1 }
}

/// A boundary that governs nothing.
pub(crate) fn nothing(file: &str) -> Boundary {
    Boundary { baseline: Baseline::None, ..Boundary::new(file) }
}

/// Adds a group of rights, placed at line 1000 and on.
pub(crate) fn with_group(mut boundary: Boundary, rights: Rights, mode: Mode) -> Boundary {
    let place = place(&boundary.file, 1000 + boundary.path_groups.len() as u32);
    boundary.path_groups.push(PathGroup { rights, mode, place, is_rule: false });
    boundary
}

/// Adds a rule about paths, placed at the line of its number.
pub(crate) fn with_rule(
    mut boundary: Boundary,
    effect: Effect,
    rights: Rights,
    syntax: GlobSyntax,
    pattern: &str,
) -> Boundary {
    let place = place(&boundary.file, 1 + boundary.path_rules.len() as u32);
    let pattern = pattern.to_owned();
    boundary.path_rules.push(PathRule { pattern, syntax, effect, rights, content: None, place });
    boundary
}

/// A boundary with egress rules, placed at the lines of their numbers.
pub(crate) fn egress(
    file: &str,
    mode: Mode,
    rules: Vec<(Effect, Target, Vec<RangeInclusive<u16>>)>,
) -> Boundary {
    let mut boundary = nothing(file);
    let rules = (1..).zip(rules).map(|(line, (effect, target, ports))| EgressRule {
        effect,
        target,
        ports,
        protocol: None,
        tls_name_check: true,
        place: place(&boundary.file, line),
    });
    let rules = rules.collect();
    let place = place(&boundary.file, 1000);
    boundary.egress = Some(Egress { mode, place, is_rule: false, rules });
    boundary
}

pub(crate) fn network(text: &str) -> Target {
    Target::Network(text.parse().unwrap())
}

/// The state that a path leads to.
pub(crate) fn walk(image: &[u8], path: &[u8]) -> u32 {
    Walker::new(image).unwrap().walk(image, path)
}

/// The image's answer to a path.
pub(crate) fn answer(image: &[u8], path: &[u8], right: Right) -> Cell {
    cell(image, walk(image, path), right).unwrap()
}

/// What matches a pattern, by globset or by hand.
pub(crate) enum Matcher {
    Glob(GlobMatcher),
    Prefix(Vec<u8>),
}

impl Matcher {
    /// `None` when globset cannot read the pattern.
    pub(crate) fn new(pattern: &str, syntax: GlobSyntax) -> Option<Self> {
        let stays_in_component = match syntax {
            GlobSyntax::Prefix => {
                let path = pattern.strip_suffix("/**").unwrap_or(pattern);
                return Some(Self::Prefix(path.trim_end_matches('/').into()));
            }
            GlobSyntax::Component => true,
            GlobSyntax::Crossing => false,
        };
        let mut builder = GlobBuilder::new(pattern);
        builder.literal_separator(stays_in_component).backslash_escape(true);
        Some(Self::Glob(builder.build().ok()?.compile_matcher()))
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(Path::new(OsStr::from_bytes(path))),
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_slice())
                .is_some_and(|below| below.is_empty() || below.starts_with(b"/")),
        }
    }
}

/// The rule that goes with one that lets all below a folder be read: the folder can be listed.
pub(crate) fn listing(rule: &PathRule) -> Option<PathRule> {
    let folder = rule.pattern.strip_suffix("/**")?;
    let lists = rule.effect == Effect::Allow
        && rule.rights.has(Right::Read)
        && rule.syntax != GlobSyntax::Prefix
        && !folder.is_empty();
    lists.then(|| PathRule { pattern: folder.into(), rights: Rights::READ, ..rule.clone() })
}

/// Pieces of patterns that collide with each other, and for each what it could stand for.
const PIECES: &[(&str, &[&[u8]])] = &[
    ("a", &[b"a"]),
    ("b", &[b"b"]),
    (".", &[b"."]),
    ("-", &[b"-"]),
    ("/", &[b"/"]),
    ("/", &[b"/"]),
    ("/a", &[b"/a", b"/"]),
    ("*", &[b"", b"a", b"b.", b"\xff", b"\n", b"a/b"]),
    ("?", &[b"a", b"-", b"\n", b"\xff", b"", b"/"]),
    ("[a-c]", &[b"a", b"c", b"d"]),
    ("[!a]", &[b"b", b"a", b"/", b"\xff"]),
    ("[-./]", &[b"-", b"/"]),
    ("{a,b}", &[b"a", b"b", b"c"]),
    ("{a/b,*.a,}", &[b"a/b", b"b.a", b""]),
    ("{a,{b,.}}", &[b"a", b".", b"b"]),
    ("**", &[b"", b"a/b", b"a"]),
    ("/**/", &[b"/", b"/a/", b"/a/b/", b"//"]),
    ("**/", &[b"", b"a/", b"/", b"b"]),
    ("/**", &[b"/a", b"/", b"/a/b", b""]),
    ("\\*", &[b"*", b"a"]),
    ("\n", &[b"\n", b"a"]),
    ("é", &["é".as_bytes(), b"\xc3", b"e"]),
];

/// A pattern, how to read it, and which pieces it is made of.
#[derive(Clone, Debug)]
pub(crate) struct TestPattern {
    pub(crate) text: String,
    pub(crate) syntax: GlobSyntax,
    pieces: Vec<usize>,
}

pub(crate) fn pattern() -> impl Strategy<Value = TestPattern> {
    let syntax = prop_oneof![
        4 => Just(GlobSyntax::Component),
        3 => Just(GlobSyntax::Crossing),
        1 => Just(GlobSyntax::Prefix),
    ];
    // How a pattern ends is what the compiler forgets others by.
    let ends = ["/**", "**", "*"];
    let end = |text: &&str| PIECES.iter().position(|(piece, _)| piece == text);
    let ends: Vec<usize> = ends.iter().filter_map(end).collect();
    let pieces = proptest::collection::vec(0..PIECES.len(), 0..5);
    let end = proptest::option::of(proptest::sample::select(ends));
    (syntax, pieces, end).prop_map(|(syntax, mut pieces, end)| {
        pieces.extend(end);
        let text = pieces.iter().map(|piece| PIECES[*piece].0).collect();
        TestPattern { text, syntax, pieces }
    })
}

/// Numbers that look random, from a seed: paths must be many and cheap, and need no shrinking.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    pub(crate) fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A path that often matches one of the patterns, or nearly does.
    pub(crate) fn path(&mut self, patterns: &[TestPattern]) -> Vec<u8> {
        let mut path = Vec::new();
        let pieces = match self.below(4) {
            0 => (0..self.below(6)).map(|_| self.below(PIECES.len())).collect(),
            _ if patterns.is_empty() => Vec::new(),
            _ => self.one_of(patterns).pieces.clone(),
        };
        for piece in pieces {
            path.extend_from_slice(self.one_of::<&[u8]>(PIECES[piece].1));
        }
        if self.below(4) == 0 {
            let at = self.below(path.len() + 1);
            path.insert(at, *self.one_of(b"ab./-\n\xff"));
        }
        if self.below(6) == 0 && !path.is_empty() {
            path.remove(self.below(path.len()));
        }
        path
    }
}
