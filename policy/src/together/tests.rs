//! Documents that govern together.

use super::check;
use crate::{Diagnostic, Dialect, Document, diagnostic::code, path_map, testing::document};

fn agent(mode: &str, folder: &str) -> Document {
    let text = format!("default_mode: {mode}\nworkspace: {{ readable: [\"{folder}/**\"] }}\n");
    document(&text, Dialect::SecaiAgent)
}

fn policy(folder: &str) -> Document {
    let text = format!(
        "version: 1\ndefaults: {{ network: {{ runtime_egress: deny }} }}\n\
         models: {{ allowed_formats: [], deny_formats: [] }}\nquarantine: {{}}\n\
         tools: {{ default: deny, allow: [{{ name: filesystem.read, \
         paths_allowlist: [\"{folder}/**\"] }}] }}\n"
    );
    document(&text, Dialect::SecaiPolicy)
}

fn findings(documents: &[Document]) -> Vec<Diagnostic> {
    check(documents, &path_map::boundaries(documents).0)
}

#[test]
fn an_agent_that_is_online_reaches_nothing_without_the_policy_that_names_its_destinations() {
    let rules = |documents: &[Document]| {
        let (boundaries, _) = path_map::boundaries(documents);
        boundaries[0].egress.as_ref().map(|egress| egress.rules.len())
    };
    let online = agent("online_assisted", "/vault");
    assert_eq!(rules(std::slice::from_ref(&online)), Some(0));
    assert_eq!(rules(&[online, policy("/vault")]), None, "the policy alone governs it");
}

fn codes(documents: &[Document]) -> Vec<&'static str> {
    findings(documents).iter().map(|finding| finding.code).collect()
}

#[test]
fn an_agent_that_is_online_needs_the_policy_that_names_its_destinations() {
    let online = agent("online_assisted", "/vault");
    assert_eq!(codes(std::slice::from_ref(&online)), [code::MISSING_COMPANION]);
    assert_eq!(codes(&[online, policy("/vault")]), [""; 0]);
    assert_eq!(codes(&[agent("standard", "/vault")]), [""; 0]);
}

#[test]
fn two_documents_that_name_one_folder_by_two_paths_are_told_apart() {
    let apart = [agent("standard", "/var/lib/secure-ai/vault"), policy("/vault")];
    let findings = findings(&apart);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].code, code::DIFFERENT_ROOTS);
    let help = findings[0].help.as_deref().unwrap();
    assert!(help.contains("path_map: { /vault: /var/lib/secure-ai/vault }"), "{help}");
    assert_eq!(codes(&[agent("standard", "/srv/a"), policy("/vault")]), [code::DISJOINT]);
    assert_eq!(codes(&[agent("standard", "/srv/a"), policy("/var/a")]), [code::DISJOINT]);
    assert_eq!(codes(&[agent("standard", "/vault/docs"), policy("/vault")]), [""; 0]);
}

#[test]
fn documents_that_a_map_brings_together_are_not_told_apart() {
    let map = "boundary: 1\npath_map: { /vault: /var/lib/secure-ai/vault }\n";
    let map = document(map, Dialect::Boundary);
    assert_eq!(
        codes(&[agent("standard", "/var/lib/secure-ai/vault"), policy("/vault"), map]),
        [""; 0]
    );
}
