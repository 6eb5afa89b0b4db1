//! Policies that cannot be compiled name the rule that is to blame.

use ringfence_common::Image;
use ringfence_policy::{
    boundary::{Effect, GlobSyntax, Mode, Rights, Target},
    compile::{CompileError, Problem, compile, verify},
};

use crate::support::{egress, nothing, with_group, with_rule};

fn error(patterns: &[&str]) -> CompileError {
    let boundary = with_group(nothing("a.yaml"), Rights::WRITE, Mode::Enforce);
    let boundary = patterns.iter().fold(boundary, |boundary, pattern| {
        with_rule(boundary, Effect::Allow, Rights::WRITE, GlobSyntax::Component, pattern)
    });
    compile(&[boundary], &Default::default()).unwrap_err()
}

#[test]
fn a_pattern_that_cannot_be_read_is_named_with_its_place() {
    for pattern in ["/a/[b", "/a/{b", "/a/[z-a]", "/a/[à-b]", "/a/\\", "/a/{b,{c}"] {
        let error = error(&["/fine/**", pattern]);
        assert!(matches!(error.problem, Problem::Pattern { .. }), "{pattern}: {error}");
        assert_eq!(error.place.line, 2, "{pattern}");
        assert!(error.to_string().starts_with("a.yaml:2: pattern `"), "{error}");
    }
    for pattern in ["{".repeat(4000), "{a,".repeat(500), "a".repeat(5000)] {
        let problem = error(&[&pattern]).problem;
        assert!(matches!(problem, Problem::PatternTooLong { .. }), "{problem}");
        assert!(!problem.help().is_empty());
    }
}

#[test]
fn the_pattern_that_makes_the_paths_too_complex_is_named() {
    let explosive = format!("/**/*a{}/**", "?".repeat(24));
    let error = error(&["/fine/**", "/also/fine/*", &explosive, "/never/reached/**"]);
    assert_eq!(error.problem, Problem::PathsTooComplex { pattern: explosive });
    assert_eq!((error.place.line, &*error.place.file), (3, "a.yaml"));
}

#[test]
fn patterns_with_thousands_of_stars_are_refused_and_not_a_way_to_use_up_memory() {
    let stars: Vec<String> = (0..20).map(|i| format!("/{i}{}", "*".repeat(4000))).collect();
    let stars: Vec<&str> = stars.iter().map(String::as_str).collect();
    assert!(matches!(error(&stars).problem, Problem::PathsTooComplex { .. }));
}

#[test]
fn many_patterns_at_any_depth_fit() {
    let boundary = with_group(nothing("a.yaml"), Rights::FILES, Mode::Enforce);
    let boundary =
        with_rule(boundary, Effect::Allow, Rights::FILES, GlobSyntax::Component, "/srv/**");
    let names = ["secret", "token", "credential", "password", "private", "key", "vault", "wallet"];
    let boundary = names.iter().fold(boundary, |boundary, name| {
        let add = |boundary, pattern: &str| {
            with_rule(boundary, Effect::Deny, Rights::FILES, GlobSyntax::Component, pattern)
        };
        let boundary = add(boundary, &format!("**/*{name}*"));
        let boundary = add(boundary, &format!("**/.{name}/**"));
        add(boundary, &format!("/srv/**/*.{name}"))
    });
    let tables = compile(&[boundary], &Default::default()).unwrap();
    assert!(tables.summary.states < 10_000, "{:?}", tables.summary);
}

#[test]
fn port_lists_that_do_not_fit_are_named() {
    // Every network has its own answer for every second port.
    let ports: Vec<_> = (0..u16::MAX).step_by(2).map(|port| port..=port).collect();
    let rules = (0..300_u32).map(|i| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + i);
        (Effect::Allow, Target::Network(address.to_string().parse().unwrap()), ports.clone())
    });
    let boundary = egress("a.yaml", Mode::Enforce, rules.collect());
    let error = compile(&[boundary], &Default::default()).unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge);
    assert!((2..300).contains(&error.place.line), "{error}");
}

#[test]
fn an_image_that_was_changed_does_not_verify() {
    let boundary = with_group(nothing("a.yaml"), Rights::READ, Mode::Enforce);
    let boundary =
        with_rule(boundary, Effect::Allow, Rights::READ, GlobSyntax::Component, "/srv/**");
    let image = compile(&[boundary], &Default::default()).unwrap().image;
    assert_eq!(verify(&image), Ok(()));
    for length in [0, 100, 300, image.len() - 1] {
        assert!(verify(&image[..length]).is_err(), "cut to {length}");
    }
    use ringfence_common::image::header as word;
    for at in [
        word::MAGIC,
        word::LENGTH,
        word::STRIDE_SHIFT,
        word::START_STATE,
        word::ACCEPTS,
        word::ENTRIES,
        word::V4,
        word::V4_COUNT,
        word::V6,
        word::V6_COUNT,
        word::STATES,
        word::NAME_CLASSES,
        word::NAME_STATES,
        word::NAME_STATE_COUNT,
        word::NAME_SLOTS,
        word::NAME_SLOT_COUNT,
        word::NAME_START,
    ] {
        let mut changed = image.clone();
        assert!(changed.as_slice().word(at).is_some());
        changed[at as usize..at as usize + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(verify(&changed).is_err(), "word at {at}");
    }
}
