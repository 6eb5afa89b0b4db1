//! What is lowered means what it meant.

use super::*;
use crate::{
    Dialect, Source,
    compile::compile,
    parse,
    testing::{document, findings},
};

/// A document of each language with all that it can say to the kernel.
const DOCUMENTS: [(&str, Dialect); 6] = [
    (
        "tenant: t
default_retention: 30d
signing: { enabled: false, key_ref: k }
observability: { otlp_endpoint: o, sample: { success: 1, error: 0.5 } }
tools: { allowlist: [], deny_if_unpinned_version: false }
privacy:
  redact_outputs: true
  store_raw_payloads: false
  artifact_retention: { public: 1d, pii: 1d, phi: 1d }
side_effects: { require_idempotency_key: true, max_retries: 0 }
sec0_export: { enabled: false, bucket_uri: b }
enforcement:
  deny_on: [fs_violation]
  circuit_breakers: { error_rate_pct: 1, p95_latency_ms: 1 }
security:
  fs_allowlist: [/tmp/sec0-*, \"*.pem\", '/srv/[!a]?{b,c}/**', \"/t\\e\\\\\\\"x\"]
  egress_allowlist: [\"*.example.com:443\", 10.0.0.0/8, \"[2001:db8::1]:22\", \"*\"]
",
        Dialect::Sec0,
    ),
    (
        "version: 1
defaults: { network: { runtime_egress: deny } }
models: { allowed_formats: [gguf], deny_formats: [bin] }
quarantine: {}
tools:
  default: deny
  allow:
    - name: filesystem.read
      paths_allowlist: [\"/vault/in/**\", \"/vault/ü \\u0001\"]
      paths_denylist: [\"/vault/in/private\"]
    - name: filesystem.write
      paths_allowlist: [\"/vault/out/**\"]
      paths_denylist: [\"/vault/out/done/**\"]
    - name: filesystem.delete
      paths_allowlist: [\"/vault/out/a\"]
airlock: { enabled: true, allowed_destinations: [\"https://a.example:8443/v1\"] }
",
        Dialect::SecaiPolicy,
    ),
    (
        "default_mode: standard
workspace: { readable: [\"/vault/**\"], writable: [\"/vault/out*\"] }
budgets: { standard: { max_wall_clock_seconds: 600, max_files_touched: 20, max_output_bytes: 9 } }
",
        Dialect::SecaiAgent,
    ),
    (
        "boundary: 1
mode: observe
path_map: { /a: /b }
files:
  mode: enforce
  rules:
    - { path: \"/srv/**\", allow: [read, write] }
    - { path: \"/srv/x\", allow: [content, create], deny: [metadata] }
exec: [{ path: /usr/bin/*, allow: true }, { path: /usr/bin/su, allow: false },
  { path: /usr/bin/a, allow: true, sha256: 3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95,
    fsverity: \"sha256:4d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95\" }]
exec_after_start: deny
exec_anonymous: deny
io_uring: deny
egress:
  mode: enforce
  rules:
    - { host: a.example, ports: [443, \"8000-8100\"], protocol: tcp }
    - { cidr: 10.1.2.3, deny: true, protocol: udp }
listen: [{ port: 80, protocol: tcp }, { port: 81 }]
sockets: { mode: enforce, rules: [{ path: /run/x.sock }, { path: '@x/*' }] }
budgets: { wall_clock: 1500ms, output_bytes: 1MiB, connections: 1, processes: 2, files_touched: 3,
  sent_bytes: 4KiB }
",
        Dialect::Boundary,
    ),
    ("boundary: 1\nbaseline: none\nfiles: []\nexec: []\negress: []\n", Dialect::Boundary),
    ("boundary: 1\nbaseline: programs\nexec: []\nio_uring: allow\n", Dialect::Boundary),
];

/// A stream of documents, each read alone.
fn read(text: &str) -> Vec<Document> {
    let read = |text| {
        let parsed = parse(&Source::new("lowered.yaml", text), None);
        parsed.document.unwrap_or_else(|| panic!("{text}\n{:#?}", parsed.diagnostics))
    };
    text.split("---\n").map(read).collect()
}

/// A boundary without where things stand.
fn meaning(mut boundary: Boundary) -> String {
    let nowhere = Place { file: "".into(), line: 0, column: 0 };
    for group in &mut boundary.path_groups {
        (group.place, group.is_rule) = (nowhere.clone(), false);
    }
    for rule in &mut boundary.path_rules {
        rule.place = nowhere.clone();
    }
    for budget in &mut boundary.budgets.limits {
        budget.place = nowhere.clone();
    }
    for (_, place) in
        [&mut boundary.no_exec_after_start, &mut boundary.no_anonymous_code].into_iter().flatten()
    {
        *place = nowhere.clone();
    }
    if let Some(rings) = &mut boundary.io_uring {
        rings.place = nowhere.clone();
    }
    if let Some(egress) = &mut boundary.egress {
        (egress.place, egress.is_rule) = (nowhere.clone(), false);
        for rule in &mut egress.rules {
            rule.place = nowhere.clone();
        }
    }
    if let Some(listen) = &mut boundary.listen {
        listen.place = nowhere.clone();
        for rule in &mut listen.rules {
            rule.place = nowhere.clone();
        }
    }
    boundary.file = "".into();
    format!("{boundary:#?}")
}

#[test]
fn every_document_means_the_same_when_lowered_and_compiles_to_the_same_bytes() {
    for (text, dialect) in DOCUMENTS {
        let original = document(text, dialect);
        let lowered = super::text(std::slice::from_ref(&original));
        let [again] = &read(&lowered)[..] else { panic!("{lowered}") };
        assert_eq!(again.dialect, Dialect::Boundary);
        assert_eq!(
            meaning(again.boundary.clone()),
            meaning(original.boundary.clone()),
            "{lowered}"
        );
        assert_eq!(again.path_map.len(), original.path_map.len(), "{lowered}");
        let image = |document: &Document| {
            compile(std::slice::from_ref(&document.boundary), &Default::default()).unwrap().image
        };
        assert!(image(again) == image(&original), "{lowered}");
        // Lowering what was lowered changes nothing but the places in comments.
        let twice = super::text(std::slice::from_ref(again));
        let without_comments = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split("  #").next().unwrap().to_owned()).skip(1).collect()
        };
        assert_eq!(without_comments(&twice), without_comments(&lowered));
    }
}

#[test]
fn several_documents_become_a_stream_with_their_paths_mapped() {
    let [_, policy, agent, ..] = DOCUMENTS;
    let map = document("boundary: 1\npath_map: { /vault: /srv/vault }\n", Dialect::Boundary);
    let documents = [document(policy.0, policy.1), document(agent.0, agent.1), map];
    let lowered = text(&documents);
    let again = read(&lowered);
    assert_eq!(again.len(), 2, "the map has done its work: {lowered}");
    assert!(lowered.contains("path: \"/srv/vault/in/**\""), "{lowered}");
    let (boundaries, _) = path_map::boundaries(&documents);
    let image = |boundaries: &[Boundary]| compile(boundaries, &Default::default()).unwrap().image;
    let lowered: Vec<Boundary> = again.into_iter().map(|document| document.boundary).collect();
    assert!(image(&lowered) == image(&boundaries));
}

#[test]
fn rules_say_where_they_come_from() {
    let text = text(&[document(DOCUMENTS[2].0, DOCUMENTS[2].1)]);
    let rule = "  - { path: \"/vault/**\", syntax: crossing, allow: [read] }  # test.yaml:2\n";
    assert!(text.contains(rule), "{text}");
    assert!(findings(&text).iter().all(|(code, ..)| !code.starts_with("RF01")), "{text}");
}
