//! The keys of a SecAI `policy.yaml`, as its first public schema has them. Every mapping is
//! closed.

use crate::schema::{
    Field,
    Shape::{self, Boolean, List, Mapping, Number, OneOf, Text, Whole},
    optional, required,
};

const AT_LEAST_0: Shape = Whole(0.0, f64::INFINITY);
const AT_LEAST_1: Shape = Whole(1.0, f64::INFINITY);
const ALLOW_OR_DENY: Shape = OneOf(&["deny", "allow"]);

/// The outermost keys.
pub(crate) const FIELDS: &[Field] = &[
    required("version", AT_LEAST_1),
    required("defaults", DEFAULTS),
    required("models", MODELS),
    required("quarantine", QUARANTINE),
    optional("gguf_guard", GGUF_GUARD),
    required("tools", TOOLS),
    optional("search", SEARCH),
    optional("airlock", AIRLOCK),
];

const DEFAULTS: Shape = Mapping(&[
    required("network", Mapping(&[required("runtime_egress", ALLOW_OR_DENY)])),
    optional(
        "logging",
        Mapping(&[
            optional("store_raw_prompts", Boolean),
            optional("store_raw_responses", Boolean),
        ]),
    ),
]);

const MODELS: Shape = Mapping(&[
    required("allowed_formats", List(&Text)),
    required("deny_formats", List(&Text)),
    optional("require_scan", Boolean),
    optional("require_yara", Boolean),
    optional("require_behavior_tests", Boolean),
    optional("require_source_verification", Boolean),
    optional("require_entropy_analysis", Boolean),
    optional("allow_diffusion_directories", Boolean),
]);

const QUARANTINE: Shape = Mapping(&[
    optional(
        "stages",
        Mapping(&[
            optional("source_policy", Boolean),
            optional("format_gate", Boolean),
            optional("integrity_check", Boolean),
            optional("provenance_check", Boolean),
            optional("static_scan", Boolean),
            optional("behavioral_test", Boolean),
            optional("diffusion_deep_scan", Boolean),
        ]),
    ),
    optional("smoke_test_max_score", Number(0.0, 1.0)),
    optional("smoke_test_max_critical", AT_LEAST_0),
]);

const GGUF_GUARD: Shape = Mapping(&[
    optional("required", Boolean),
    optional("generate_manifest", Boolean),
    optional("generate_fingerprint", Boolean),
    optional("verify_on_integrity_check", Boolean),
]);

const TOOLS: Shape = Mapping(&[
    required("default", ALLOW_OR_DENY),
    optional(
        "rate_limit",
        Mapping(&[optional("requests_per_minute", AT_LEAST_1), optional("burst_size", AT_LEAST_1)]),
    ),
    optional("allow", List(&ALLOWED_TOOL)),
    optional("deny", List(&Mapping(&[required("name", Text)]))),
]);

const ALLOWED_TOOL: Shape = Mapping(&[
    required("name", Text),
    optional("paths_allowlist", List(&Text)),
    optional("paths_denylist", List(&Text)),
    optional("args_blocklist", List(&Text)),
    optional("max_arg_length", AT_LEAST_1),
]);

const SEARCH: Shape = Mapping(&[
    optional("enabled", Boolean),
    optional("max_query_length", AT_LEAST_1),
    optional("max_results", AT_LEAST_1),
    optional("max_context_length", AT_LEAST_1),
    optional("strip_pii", Boolean),
    optional("block_high_pii_queries", Boolean),
    optional("detect_injection", Boolean),
    optional("audit", Boolean),
    optional("allowed_engines", List(&Text)),
    optional(
        "differential_privacy",
        Mapping(&[
            optional("enabled", Boolean),
            optional("decoy_count", AT_LEAST_0),
            optional("uniqueness_mode", OneOf(&["auto-block", "warn", "allow"])),
            optional("batch_window", Number(0.0, f64::INFINITY)),
        ]),
    ),
]);

const AIRLOCK: Shape = Mapping(&[
    optional("enabled", Boolean),
    optional("allowed_destinations", List(&Text)),
    optional(
        "allowed_methods",
        List(&OneOf(&["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])),
    ),
    optional("max_body_size", AT_LEAST_0),
    optional("rate_limit", Mapping(&[optional("requests_per_minute", AT_LEAST_1)])),
    optional(
        "content_rules",
        Mapping(&[
            optional("block_if_contains", List(&Text)),
            optional("scan_for_pii", Boolean),
            optional("scan_for_credentials", Boolean),
        ]),
    ),
]);
