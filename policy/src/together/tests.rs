//! Documents that govern together.

use crate::{Dialect, Document, check_together, diagnostic::code, testing::document};

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

fn codes(documents: &[Document]) -> Vec<&'static str> {
    check_together(documents).iter().map(|finding| finding.code).collect()
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
    assert_eq!(codes(&apart), [code::DISJOINT]);
    assert_eq!(codes(&[agent("standard", "/vault/docs"), policy("/vault")]), [""; 0]);
}
