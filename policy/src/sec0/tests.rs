//! Valid and invalid Sec0 policies, and what the valid ones mean.

use super::*;
use crate::{
    Dialect,
    model::Model as _,
    testing::{document, egress_rules, error, errors, path_rules, warnings},
};

/// The keys that every policy must have.
const REQUIRED: &str = "\
tenant: t
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
";
/// The one required key that the tests vary, in observe mode. Line 12.
const OBSERVE: &str =
    "enforcement: { deny_on: [], circuit_breakers: { error_rate_pct: 100, p95_latency_ms: 0 } }\n";
const ENFORCE: &str = "enforcement: { deny_on: [fs_violation, egress_violation], \
                       circuit_breakers: { error_rate_pct: 1, p95_latency_ms: 1 } }\n";
const FILES: u32 = Rights::FILES.0;
const EXEC: u32 = Rights::EXEC.0;

fn policy(enforcement: &str, rest: &str) -> String {
    format!("{REQUIRED}{enforcement}{rest}")
}

#[test]
fn a_minimal_policy_is_valid_and_leaves_the_kernel_nothing_to_enforce() {
    let text = policy(OBSERVE, "");
    assert_eq!(warnings(&text), [code::NOTHING_ENFORCED]);
    assert!(document(&text, Dialect::Sec0).boundary.is_empty());
}

#[test]
fn a_policy_with_every_key_of_the_schema_is_valid() {
    let rest = "\
security_level: gateway
skills:
  allowlist: [a]
  deny_if_unpinned_version: true
  scan_on_change_only: true
  block_on_change: true
  block_on_severity: critical
agent_guard: { enabled: true, block_on_severity: low, block_on_count: 1 }
compliance:
  packs:
    - id: p
      name: P
      description: d
      rules:
        - { id: a, name: n, location: both, severity: low, message: m, patterns: [x], tags: [t] }
        - { id: b, type: regex, patterns: [x] }
        - { id: c, type: nl, instruction: i, threshold: 70 }
  policies: [{ id: p, name: P, enabled: true, pack_ids: [p] }]
security:
  allow_versions: { server: [\"1.0\"], 2: [] }
  egress_allowlist: [api.example.com]
  fs_allowlist: [/tmp/x]
  limits: { max_payload_kb: 1, max_duration_ms: 0.5 }
  side_effects:
    require_idempotency_key: true
    approve_high_risk: true
    escalation_ttl_seconds: 1
    ttl_seconds: 1
    escalationTtlSeconds: 1
    escalation_on_timeout: auto_approve
    timeout_action: auto_reject
    escalationOnTimeout: auto_reject
    human_escalation:
      approval_strategy: human_quorum
      timeout_action: auto_approve
      min_approvals: 1
      min_rejections: 1
      required_roles: [r]
      veto_roles: [r]
      approval_set_id: s
    humanEscalation: {}
";
    assert_eq!(errors(&policy(ENFORCE, rest)), []);
}

#[test]
fn what_the_schema_does_not_have_is_an_error_at_its_place() {
    for (rest, code, line, column, help) in [
        ("tenent: x\n", code::UNKNOWN_KEY, 13, 1, "the keys here are"),
        ("securty: {}\n", code::UNKNOWN_KEY, 13, 1, "did you mean `security`?"),
        ("fs_allowlist: [/a]\n", code::UNKNOWN_KEY, 13, 1, "belongs in `security`"),
        ("security: { fs_alowlist: [/a] }\n", code::UNKNOWN_KEY, 13, 13, "`fs_allowlist`?"),
        ("security: []\n", code::WRONG_TYPE, 13, 11, ""),
        ("security:\n", code::WRONG_TYPE, 13, 9, "indented"),
        ("security: { fs_allowlist: /a }\n", code::WRONG_TYPE, 13, 27, "[\"/a\"]"),
        ("security: { fs_allowlist: [1] }\n", code::WRONG_TYPE, 13, 28, "quotes: \"1\""),
        ("security: { fs_allowlist: }\n", code::WRONG_TYPE, 13, 25, "`[]`"),
        ("agent_guard: { enabled: yes }\n", code::WRONG_TYPE, 13, 25, "write `true`"),
        ("agent_guard: { block_on_count: 0 }\n", code::OUT_OF_RANGE, 13, 32, ""),
        ("agent_guard: { block_on_count: .nan }\n", code::OUT_OF_RANGE, 13, 32, ""),
        ("security_level: gatway\n", code::UNKNOWN_VALUE, 13, 17, "did you mean `gateway`?"),
        ("tenant: y\n", code::DUPLICATE_KEY, 13, 1, "line 1"),
        ("compliance: { packs: [{ id: p }] }\n", code::MISSING_KEY, 13, 23, "`name: …`"),
        (
            "compliance: { packs: [{ id: p, name: n, rules: [{ id: r }] }] }\n",
            code::MISSING_KEY,
            13,
            49,
            "`patterns`",
        ),
        (
            "compliance: { packs: [{ id: p, name: n, rules: [{ id: r, patterns: [] }] }] }\n",
            code::OUT_OF_RANGE,
            13,
            68,
            "add one",
        ),
        (
            "compliance: { packs: [{ id: p, name: n, rules: [{ id: r, type: nl, threshold: 1 }] }] }\n",
            code::MISSING_KEY,
            13,
            49,
            "`instruction`",
        ),
    ] {
        let found = error(&policy(OBSERVE, rest));
        assert_eq!((found.0, found.1, found.2), (code, line, column), "{rest}{found:?}");
        assert!(found.3.contains(help), "{rest}{found:?}");
    }
}

#[test]
fn every_required_key_is_missed() {
    for (index, key) in
        Policy::SHAPE.properties().iter().filter(|field| field.is_required).enumerate()
    {
        let lines: Vec<&str> = policy(OBSERVE, "").leak().lines().collect();
        let mut kept = Vec::new();
        let mut is_removed = false;
        for line in lines {
            is_removed =
                if line.starts_with(' ') { is_removed } else { line.starts_with(key.name) };
            if !is_removed {
                kept.push(line);
            }
        }
        let found = error(&kept.join("\n"));
        assert_eq!((found.0, found.1), (code::MISSING_KEY, 1), "{index} {}", key.name);
    }
}

#[test]
fn a_violation_that_the_schema_does_not_know_is_an_error() {
    let enforcement = OBSERVE.replace("[]", "[fs_violation, integrity_violation]");
    let found = error(&policy(&enforcement, ""));
    assert_eq!((found.0, found.1, found.2), (code::UNKNOWN_VALUE, 12, 40));
    let enforcement = OBSERVE.replace("[]", "[fs-voilation]");
    assert_eq!(error(&policy(&enforcement, "")).3, "did you mean `fs_violation`?");
}

#[test]
fn deny_on_decides_for_each_list_whether_it_is_enforced() {
    let security = "security:\n  fs_allowlist: [/tmp/sec0-*]\n  egress_allowlist: [192.0.2.7]\n";
    let modes = |enforcement: &str| {
        let boundary = document(&policy(enforcement, security), Dialect::Sec0).boundary;
        (boundary.path_groups[0].mode, boundary.egress.unwrap().mode)
    };
    assert_eq!(modes(OBSERVE), (Mode::Observe, Mode::Observe));
    assert_eq!(modes(ENFORCE), (Mode::Enforce, Mode::Enforce));
    let only_files = OBSERVE.replace("[]", "[fs_violation]");
    assert_eq!(modes(&only_files), (Mode::Enforce, Mode::Observe));
}

#[test]
fn the_lists_become_rules_and_one_rule_each_for_refusals() {
    let security = "security:\n  fs_allowlist:\n    - /tmp/sec0-*\n    - /srv/w/**\n  \
                    egress_allowlist: ['*.Example.com:443', '10.0.0.0/8', '*']\n";
    let document = document(&policy(ENFORCE, security), Dialect::Sec0);
    let groups = document.boundary.path_groups.iter();
    let groups: Vec<_> =
        groups.map(|group| (group.rights, group.is_rule, group.place.line)).collect();
    assert_eq!(groups, [(Rights::FILES, true, 14), (Rights::EXEC, true, 14)]);
    assert!(document.boundary.baseline == Baseline::Programs);
    let allow = Effect::Allow;
    assert_eq!(
        path_rules(&document),
        [
            (allow, FILES, "/tmp/sec0-*", 15),
            (allow, FILES, "/srv/w/**", 16),
            (allow, EXEC, "/tmp/sec0-*", 15),
            (allow, EXEC, "/srv/w/**", 16),
        ]
    );
    let egress = document.boundary.egress.as_ref().unwrap();
    assert_eq!((egress.is_rule, egress.place.line), (true, 17));
    assert_eq!(
        egress_rules(&document),
        [
            "Allow *.example.com [443..=443] None",
            "Allow 10.0.0.0/8 [] None",
            "Allow 0.0.0.0/0 [] None",
            "Allow ::/0 [] None",
        ]
    );
}

#[test]
fn a_list_that_is_absent_is_free_and_one_that_is_empty_allows_nothing() {
    let empty = policy(ENFORCE, "security:\n  fs_allowlist: []\n");
    assert_eq!(warnings(&empty), [code::NOT_GOVERNED, code::EMPTY_ALLOWLIST]);
    let boundary = document(&empty, Dialect::Sec0).boundary;
    assert_eq!((boundary.path_groups.len(), boundary.path_rules.len()), (2, 0));
    assert!(boundary.egress.is_none());
}

#[test]
fn entries_that_the_kernel_cannot_read_are_errors_and_those_that_match_nothing_warnings() {
    for (entry, code, column) in [
        ("fs_allowlist: ['/tmp/[a']", code::BAD_GLOB, 34),
        ("fs_allowlist: ['/tmp/{a']", code::BAD_GLOB, 34),
        ("fs_allowlist: ['/tmp/a}']", code::BAD_GLOB, 35),
        ("fs_allowlist: ['/tmp/[z-a]']", code::BAD_GLOB, 35),
        ("egress_allowlist: ['https://api.example.com/v1']", code::URL_FOR_HOST, 32),
        ("egress_allowlist: ['api.example.com/v1']", code::URL_FOR_HOST, 48),
        ("egress_allowlist: ['10.0.0.1/8']", code::BAD_NETWORK, 32),
    ] {
        let found = error(&policy(ENFORCE, &format!("security: {{ {entry} }}\n")));
        assert_eq!((found.0, found.1, found.2), (code, 13, column), "{entry}: {found:?}");
    }
    for (entry, code) in [
        ("fs_allowlist: ['~/work']", code::NEVER_MATCHES),
        ("fs_allowlist: ['work/**']", code::NEVER_MATCHES),
        ("fs_allowlist: ['/tmp/../etc/**']", code::NEVER_MATCHES),
        ("fs_allowlist: ['C:\\\\work']", code::NEVER_MATCHES),
        ("fs_allowlist: ['*']", code::ALLOWS_EVERYTHING),
        ("egress_allowlist: ['*']", code::ALLOWS_EVERYTHING),
    ] {
        let warnings = warnings(&policy(ENFORCE, &format!("security: {{ {entry} }}\n")));
        assert_eq!(
            warnings.iter().filter(|found| **found == code).count(),
            1,
            "{entry} {warnings:?}"
        );
    }
}

#[test]
fn days_that_are_written_out_are_told_in_short() {
    let text = policy(OBSERVE, "").replace("default_retention: 30d", "default_retention: 30 days");
    assert!(error(&text).3.contains("did you mean `30d`?"), "{:?}", error(&text));
    let text = policy(OBSERVE, "").replace("default_retention: 30d", "default_retention: 90");
    assert!(error(&text).3.contains("give its unit: `90d`"), "{:?}", error(&text));
    let text = policy(OBSERVE, "").replace("pii: 1d", "pii: 7 days");
    let parsed = crate::parse(&crate::Source::new("test.yaml", text.as_str()), None);
    let finding = parsed.diagnostics.iter().find(|finding| finding.code == code::SURPRISING);
    let finding = finding.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics));
    assert_eq!(finding.help.as_deref(), Some("write `7d`, a number and `d`"));
}
