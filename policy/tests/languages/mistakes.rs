//! Documents full of mistakes: each is found, at its place, all at once. What is found is kept
//! beside each document; `RINGFENCE_KEEP=1 cargo test -p ringfence-policy` writes it anew.

use std::{env, fs, path::Path};

use ringfence_policy::{Diagnostic, Source, parse};

/// The document's text, what is found in it, and the file that keeps that.
fn found(name: &str) -> (Vec<Diagnostic>, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages/mistakes");
    let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
    let found = parse(&Source::new(format!("{name}.yaml"), text), None).diagnostics;
    let shown: String = found.iter().map(|finding| format!("{finding}\n\n")).collect();
    let kept = folder.join(format!("{name}.txt"));
    if env::var_os("RINGFENCE_KEEP").is_some() {
        fs::write(&kept, &shown).unwrap();
    }
    assert_eq!(shown, fs::read_to_string(kept).unwrap(), "{name}");
    (found, shown)
}

/// Ten mistakes or more, of which each has its own place.
fn ten(name: &str) {
    let (found, shown) = found(name);
    let errors = found.iter().filter(|finding| finding.is_error());
    let mut places: Vec<_> =
        errors.map(|finding| (finding.place.line, finding.place.column, finding.code)).collect();
    let count = places.len();
    places.dedup();
    assert!(count >= 10 && places.len() == count, "{name}: {count}\n{shown}");
    assert!(found.iter().all(|finding| finding.help.is_some() || finding.code == "RF0105"));
}

#[test]
fn ten_mistakes_in_a_boundary_document_are_ten_findings() {
    ten("boundary");
}

#[test]
fn ten_mistakes_in_a_sec0_policy_are_ten_findings() {
    ten("sec0");
}

#[test]
fn ten_mistakes_in_a_secai_policy_are_ten_findings() {
    ten("secai");
}

#[test]
fn ten_mistakes_in_an_agent_file_are_ten_findings() {
    ten("agent");
}
