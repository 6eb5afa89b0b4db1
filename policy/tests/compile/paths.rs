//! The walk over the table finds exactly the patterns that globset finds.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{Right, Verdict};
use ringfence_policy::{
    boundary::{Effect, GlobSyntax, Mode, Rights},
    compile::{Problem, compile, verify},
};

use crate::support::{Dice, Matcher, TestPattern, answer, nothing, pattern, with_group, with_rule};

const ALL: Rights = Rights(0b11_1111);
/// Pattern sets and paths of each, in a default test run.
const SETS: usize = 512;
const PATHS: usize = 256;

/// All rights but reading, which includes listing.
const RIGHTS: [Right; 5] =
    [Right::Write, Right::Exec, Right::Create, Right::Delete, Right::Metadata];

/// An image in which pattern number i alone gives right number i, so that the answers for these
/// rights show which patterns match.
fn image(patterns: &[TestPattern]) -> Result<Vec<u8>, Problem> {
    let boundary = with_group(nothing("test"), ALL, Mode::Enforce);
    let boundary = RIGHTS.iter().zip(patterns).fold(boundary, |boundary, (right, pattern)| {
        with_rule(boundary, Effect::Allow, Rights(right.bit()), pattern.syntax, &pattern.text)
    });
    let tables = compile(&[boundary], &Default::default()).map_err(|error| error.problem)?;
    assert_eq!(verify(&tables.image), Ok(()));
    Ok(tables.image)
}

#[test]
fn a_walk_matches_what_globset_matches() {
    let (pairs, hits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let config =
        ProptestConfig { cases: SETS as u32, failure_persistence: None, ..Default::default() };
    let sets = (proptest::collection::vec(pattern(), 0..=RIGHTS.len()), 1_u64..);
    TestRunner::new(config)
        .run(&sets, |(patterns, seed)| {
            let matchers: Option<Vec<_>> = patterns
                .iter()
                .map(|pattern| Matcher::new(&pattern.text, pattern.syntax))
                .collect();
            let (image, matchers) = match (image(&patterns), matchers) {
                (Ok(image), Some(matchers)) => (image, matchers),
                (Err(Problem::Pattern { .. }), None) => return Ok(()),
                (image, matchers) => {
                    let (image, matchers) = (image.is_ok(), matchers.is_some());
                    return Err(TestCaseError::fail(format!("ours {image}, globset {matchers}")));
                }
            };
            let mut dice = Dice(seed);
            for _ in 0..PATHS {
                let path = dice.path(&patterns);
                for (right, matcher) in RIGHTS.into_iter().zip(&matchers) {
                    let allows = answer(&image, &path, right).verdict() == Verdict::Allow;
                    let shown = path.escape_ascii();
                    prop_assert_eq!(
                        allows,
                        matcher.matches(&path),
                        "{} on {}",
                        right.name(),
                        shown
                    );
                    hits.fetch_add(usize::from(allows), Ordering::Relaxed);
                }
                pairs.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .unwrap();
    let (pairs, hits) = (pairs.into_inner(), hits.into_inner());
    println!("{pairs} pairs of a pattern set and a path, {hits} matches");
    assert!(pairs >= 100_000, "only {pairs} pairs");
    assert!(hits >= 50_000, "only {hits} matches: the paths do not fit the patterns");
}

#[test]
fn patterns_mean_what_their_syntax_says() {
    use GlobSyntax::{Component, Crossing, Prefix};
    type Paths<'a> = &'a [&'a [u8]];
    #[rustfmt::skip]
    let cases: &[(GlobSyntax, &str, Paths<'_>, Paths<'_>)] = &[
        (Component, "/srv/*", &[b"/srv/a", b"/srv/", b"/srv/\xff\n"], &[b"/srv", b"/srv/a/b"]),
        (Component, "/srv/**", &[b"/srv/a", b"/srv/a/b"], &[b"/srv", b"/srvx/a"]),
        (Component, "/srv/?.c", &[b"/srv/a.c", b"/srv/\xff.c"], &[b"/srv//.c", b"/srv/ab.c"]),
        (Component, "**/.git", &[b".git", b"/.git", b"/a/b/.git"], &[b"/a.git"]),
        (Component, "/a/**/b", &[b"/a/b", b"/a/x/b", b"/a/x/y/b"], &[b"/ab", b"/a/xb"]),
        (Component, "/{a,b/*}/c", &[b"/a/c", b"/b/x/c"], &[b"/b/c"]),
        (Component, "**", &[b"", b"/", b"/a\nb/c"], &[]),
        (Component, "", &[b""], &[b"/", b"a"]),
        (Crossing, "/tmp/sec0-*", &[b"/tmp/sec0-", b"/tmp/sec0-a/b\n/c"], &[b"/tmp/sec0"]),
        (Crossing, "/tmp/?x", &[b"/tmp//x", b"/tmp/\nx"], &[b"/tmp/x"]),
        (Prefix, "/vault/**", &[b"/vault", b"/vault/a", b"/vault/"], &[b"/vaults", b"/vaul"]),
        (Prefix, "/vault", &[b"/vault", b"/vault/a"], &[b"/vaults"]),
        (Prefix, "/v*[a]/{b}?", &[b"/v*[a]/{b}?", b"/v*[a]/{b}?/x"], &[b"/vx/b"]),
        (Prefix, "/", &[b"/", b"/a"], &[b"a"]),
        (Prefix, "/é", &["/é/x".as_bytes()], &[b"/\xc3"]),
    ];
    for (syntax, text, matching, others) in cases {
        let boundary = with_group(nothing("test"), Rights::EXEC, Mode::Enforce);
        let boundary = with_rule(boundary, Effect::Allow, Rights::EXEC, *syntax, text);
        let image = compile(&[boundary], &Default::default()).unwrap().image;
        let allows = |path: &[u8]| answer(&image, path, Right::Exec).verdict() == Verdict::Allow;
        for path in *matching {
            assert!(allows(path), "{text} matches {}", path.escape_ascii());
        }
        for path in *others {
            assert!(!allows(path), "{text} does not match {}", path.escape_ascii());
        }
    }
}

#[test]
fn a_folder_may_be_listed_where_all_below_it_may_be_read() {
    use Effect::{Allow, Deny};
    use GlobSyntax::{Component, Crossing, Prefix};
    type Case<'a> = (Effect, Rights, GlobSyntax, &'a str, &'a [u8], &'a [Right]);
    #[rustfmt::skip]
    let cases: &[Case<'_>] = &[
        (Allow, Rights::FILES, Component, "/srv/**", b"/srv", &[Right::Read]),
        (Allow, Rights::READ, Crossing, "/srv/**", b"/srv", &[Right::Read]),
        (Allow, Rights::READ, Component, "/**/x/**", b"/a/x", &[Right::Read]),
        (Allow, Rights::READ, Component, "/srv\\/**", b"/srv", &[Right::Read]),
        (Allow, Rights::READ, Component, "/srv/*", b"/srv", &[]),
        (Allow, Rights::READ, Component, "/**", b"", &[]),
        (Allow, Rights::WRITE, Component, "/srv/**", b"/srv", &[]),
        (Allow, Rights::READ, Prefix, "/srv/x/**", b"/srv", &[]),
        (Deny, Rights::READ, Component, "/srv/**", b"/srv", &[]),
    ];
    for (effect, rights, syntax, text, path, given) in cases {
        let boundary = with_group(nothing("test"), ALL, Mode::Enforce);
        let boundary = with_rule(boundary, *effect, *rights, *syntax, text);
        let tables = compile(&[boundary], &Default::default()).unwrap();
        let allowed = Right::ALL
            .into_iter()
            .filter(|right| answer(&tables.image, path, *right).verdict() == Verdict::Allow);
        assert_eq!(allowed.collect::<Vec<_>>(), *given, "{text}");
        let lines: Vec<u32> = tables.rules.iter().map(|rule| rule.place.line).collect();
        let expected: &[u32] = if given.is_empty() { &[1000, 1] } else { &[1000, 1, 1] };
        assert_eq!(lines, expected, "{text}: the two rules stand at one place");
    }
}
