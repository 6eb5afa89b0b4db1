//! Any text is a policy or gets findings, and what is a policy compiles or names a rule.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_policy::{
    Source,
    compile::{compile, verify},
    parse,
};

fuzz_target!(|input: &str| {
    let parsed = parse(&Source::new("fuzz.yaml", input), None);
    let Some(document) = parsed.document else {
        assert!(parsed.diagnostics.iter().any(|finding| finding.is_error()));
        return;
    };
    match compile(&[document.boundary], &Default::default()) {
        Ok(tables) => assert_eq!(verify(&tables.image), Ok(())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
