//! The keys of a Sec0 policy, as the schema of sec0-sdk 0.2.3 has them. Every mapping is closed
//! but `allow_versions`.

use crate::schema::{
    Field,
    Shape::{self, Boolean, List, Mapping, NonEmptyText, Number, OneOf, Record, Text},
    optional, required,
};

const SEVERITY: Shape = OneOf(&["low", "medium", "high", "critical"]);
const TIMEOUT_ACTION: Shape = OneOf(&["auto_approve", "auto_reject"]);
const FRACTION: Shape = Number(0.0, 1.0);
const AT_LEAST_0: Shape = Number(0.0, f64::INFINITY);
const AT_LEAST_1: Shape = Number(1.0, f64::INFINITY);

/// The violations that `deny_on` and `escalate_on` may name.
const VIOLATION: Shape = OneOf(&[
    "missing_audit_signature",
    "tool_not_in_allowlist",
    "version_unpinned",
    "missing_idempotency_for_side_effect",
    "egress_violation",
    "fs_violation",
    "payload_too_large",
    "duration_too_long",
    "registry_mutation",
    "handler_swap",
    "server_code_changed",
    "tool_code_changed",
    "skill_version_changed",
    "skill_code_changed",
    "skill_scan_pending",
    "skill_scan_failed",
    "sast_pending",
    "sast_failed",
    "dast_pending",
    "dast_failed",
    "agent_guard_failed",
    "contextual_evaluator_denied",
    "contextual_evaluator_escalated",
]);

/// The outermost keys.
pub(crate) const FIELDS: &[Field] = &[
    required("tenant", NonEmptyText),
    optional("security_level", OneOf(&["gateway", "middleware"])),
    required("default_retention", OneOf(&["30d", "90d", "180d"])),
    required("signing", SIGNING),
    required("observability", OBSERVABILITY),
    required("tools", TOOLS),
    optional("skills", SKILLS),
    required("privacy", PRIVACY),
    required("side_effects", SIDE_EFFECTS),
    required("enforcement", ENFORCEMENT),
    optional("agent_guard", AGENT_GUARD),
    optional("compliance", COMPLIANCE),
    optional("security", SECURITY),
    required("sec0_export", EXPORT),
];

const SIGNING: Shape = Mapping(&[required("enabled", Boolean), required("key_ref", NonEmptyText)]);

const OBSERVABILITY: Shape = Mapping(&[
    required("otlp_endpoint", NonEmptyText),
    required("sample", Mapping(&[required("success", FRACTION), required("error", FRACTION)])),
    optional("enabled", Boolean),
    optional(
        "sampling",
        Mapping(&[optional("success_ratio", FRACTION), optional("error_always", Boolean)]),
    ),
    optional("redact_identities", Boolean),
    optional(
        "instrumentation",
        Mapping(&[
            optional("enabled", Boolean),
            optional("allow_sdk_attach", Boolean),
            optional("default_op", Text),
        ]),
    ),
]);

const TOOLS: Shape =
    Mapping(&[required("allowlist", List(&Text)), required("deny_if_unpinned_version", Boolean)]);

const SKILLS: Shape = Mapping(&[
    required("allowlist", List(&Text)),
    required("deny_if_unpinned_version", Boolean),
    optional("scan_on_change_only", Boolean),
    optional("block_on_change", Boolean),
    optional("block_on_severity", SEVERITY),
]);

const PRIVACY: Shape = Mapping(&[
    required("redact_outputs", Boolean),
    required("store_raw_payloads", Boolean),
    required(
        "artifact_retention",
        Mapping(&[required("public", Text), required("pii", Text), required("phi", Text)]),
    ),
]);

const SIDE_EFFECTS: Shape = Mapping(&[
    required("require_idempotency_key", Boolean),
    required("max_retries", Number(0.0, 10.0)),
]);

const ENFORCEMENT: Shape = Mapping(&[
    required("deny_on", List(&VIOLATION)),
    optional("escalate_on", List(&VIOLATION)),
    optional("agent_guard", AGENT_GUARD),
    required(
        "circuit_breakers",
        Mapping(&[
            required("error_rate_pct", Number(0.0, 100.0)),
            required("p95_latency_ms", AT_LEAST_0),
        ]),
    ),
]);

const AGENT_GUARD: Shape = Mapping(&[
    optional("enabled", Boolean),
    optional("block_on_severity", SEVERITY),
    optional("block_on_count", AT_LEAST_1),
]);

const COMPLIANCE: Shape =
    Mapping(&[optional("packs", List(&PACK)), optional("policies", List(&COMPLIANCE_POLICY))]);

const PACK: Shape = Mapping(&[
    required("id", NonEmptyText),
    required("name", NonEmptyText),
    optional("description", Text),
    optional("rules", List(&COMPLIANCE_RULE)),
]);

const COMPLIANCE_RULE: Shape = Mapping(&[
    required("id", NonEmptyText),
    optional("name", Text),
    optional("type", OneOf(&["regex", "nl"])),
    optional("location", OneOf(&["input", "output", "both", "run"])),
    optional("severity", SEVERITY),
    optional("message", Text),
    optional("patterns", List(&Text)),
    optional("instruction", NonEmptyText),
    optional("threshold", Number(0.0, 100.0)),
    optional("tags", List(&Text)),
]);

const COMPLIANCE_POLICY: Shape = Mapping(&[
    required("id", NonEmptyText),
    required("name", NonEmptyText),
    required("enabled", Boolean),
    required("pack_ids", List(&Text)),
]);

const SECURITY: Shape = Mapping(&[
    optional("allow_versions", Record(&List(&Text))),
    optional("egress_allowlist", List(&Text)),
    optional("fs_allowlist", List(&Text)),
    optional(
        "limits",
        Mapping(&[optional("max_payload_kb", AT_LEAST_0), optional("max_duration_ms", AT_LEAST_0)]),
    ),
    optional("side_effects", SECURITY_SIDE_EFFECTS),
]);

const SECURITY_SIDE_EFFECTS: Shape = Mapping(&[
    optional("require_idempotency_key", Boolean),
    optional("approve_high_risk", Boolean),
    optional("escalation_ttl_seconds", AT_LEAST_1),
    optional("ttl_seconds", AT_LEAST_1),
    optional("escalationTtlSeconds", AT_LEAST_1),
    optional("escalation_on_timeout", TIMEOUT_ACTION),
    optional("timeout_action", TIMEOUT_ACTION),
    optional("escalationOnTimeout", TIMEOUT_ACTION),
    optional("human_escalation", HUMAN_ESCALATION),
    optional("humanEscalation", HUMAN_ESCALATION),
]);

const HUMAN_ESCALATION: Shape = Mapping(&[
    optional("approval_strategy", OneOf(&["auto_allow", "single_approver", "human_quorum"])),
    optional("timeout_action", TIMEOUT_ACTION),
    optional("min_approvals", AT_LEAST_1),
    optional("min_rejections", AT_LEAST_1),
    optional("required_roles", List(&Text)),
    optional("veto_roles", List(&Text)),
    optional("approval_set_id", Text),
]);

const EXPORT: Shape = Mapping(&[
    required("enabled", Boolean),
    optional("cadence", OneOf(&["daily", "weekly", "monthly"])),
    required("bucket_uri", Text),
]);
