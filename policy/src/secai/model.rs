//! The fields of a SecAI `policy.yaml`, as its first public schema has them. Every mapping is
//! closed.
//!
//! "Schema" in a field's source is that schema, "document" the language's description of policies.

use crate::{
    coverage::{
        Coverage::{Fields, Kernel, Language, Record, Service, Shared},
        Part,
    },
    document::Spanned,
    model::{model, words},
    schema::Shape::{self, Number, Whole},
};

const AT_LEAST_1: Shape = Whole(1.0, f64::INFINITY);

type Texts = Vec<Spanned<String>>;

model! {
    /// A SecAI `policy.yaml`.
    pub struct Policy {
        /// Version of the policy's language. Source: schema `version`.
        required version: u64 [AT_LEAST_1] => Language,
        /// What holds where nothing else is said. Source: document, "Top-level structure".
        required defaults: Defaults => Fields,
        /// Which models are accepted. Source: schema `models`.
        required models: Models => Fields,
        /// The stages that a model passes before it is used. Source: schema `quarantine`.
        required quarantine: Quarantine => Fields,
        /// The scanner of GGUF models. Source: schema `gguf_guard`.
        optional gguf_guard: GgufGuard => Fields,
        /// The tool firewall. Source: schema `tools`.
        required tools: Tools => Fields,
        /// Search of the web. Source: schema `search`.
        optional search: Search => Fields,
        /// The decision point for requests to the outside. Source: schema `airlock`.
        optional airlock: Airlock => Fields,
    }

    /// What holds where nothing else is said.
    pub struct Defaults {
        /// The network. Source: schema `defaults.network`.
        required network: Network => Fields,
        /// What is kept in the audit. Source: schema `defaults.logging`.
        optional logging: Logging => Fields,
    }

    /// The network.
    pub struct Network {
        /// `deny`: only the airlock's destinations may be reached; `allow`: every destination.
        /// Source: schema `defaults.network.runtime_egress`.
        required runtime_egress: AllowOrDeny => Kernel(Part::Destinations),
    }

    /// What is kept in the audit.
    pub struct Logging {
        /// Whether prompts are kept. Source: schema `defaults.logging.store_raw_prompts`.
        optional store_raw_prompts: bool => Record,
        /// Whether answers are kept. Source: schema `defaults.logging.store_raw_responses`.
        optional store_raw_responses: bool => Record,
    }

    /// Which models are accepted.
    pub struct Models {
        /// Formats that are accepted. Source: schema `models.allowed_formats`.
        required allowed_formats: Texts => Service,
        /// Formats that are refused. Source: schema `models.deny_formats`.
        required deny_formats: Texts => Service,
        /// Whether a static scan is needed. Source: schema `models.require_scan`.
        optional require_scan: bool => Service,
        /// Whether the scan needs YARA and rules for it. Source: schema `models.require_yara`.
        optional require_yara: bool => Service,
        /// Whether the behaviour is tested. Source: schema `models.require_behavior_tests`.
        optional require_behavior_tests: bool => Service,
        /// Whether the origin must be listed. Source: schema
        /// `models.require_source_verification`.
        optional require_source_verification: bool => Service,
        /// Whether weights are looked at for what is unlike them. Source: schema
        /// `models.require_entropy_analysis`.
        optional require_entropy_analysis: bool => Service,
        /// Whether models of several files are accepted. Source: schema
        /// `models.allow_diffusion_directories`.
        optional allow_diffusion_directories: bool => Service,
    }

    /// The stages that a model passes before it is used.
    pub struct Quarantine {
        /// Which stages are on. Source: schema `quarantine.stages`.
        optional stages: Stages => Fields,
        /// Share of flagged prompts from which on a model fails, from 0 to 1. Source: schema
        /// `quarantine.smoke_test_max_score`.
        optional smoke_test_max_score: f64 [Number(0.0, 1.0)] => Service,
        /// Number of critical flags beyond which a model fails. Source: schema
        /// `quarantine.smoke_test_max_critical`.
        optional smoke_test_max_critical: u64 => Service,
    }

    /// Which stages are on.
    pub struct Stages {
        /// 1: the origin. Source: schema `quarantine.stages.source_policy`.
        optional source_policy: bool => Service,
        /// 2: the format. Source: schema `quarantine.stages.format_gate`.
        optional format_gate: bool => Service,
        /// 3: the pinned hash. Source: schema `quarantine.stages.integrity_check`.
        optional integrity_check: bool => Service,
        /// 4: signatures. Source: schema `quarantine.stages.provenance_check`.
        optional provenance_check: bool => Service,
        /// 5: static scanners. Source: schema `quarantine.stages.static_scan`.
        optional static_scan: bool => Service,
        /// 6: hostile prompts. Source: schema `quarantine.stages.behavioral_test`.
        optional behavioral_test: bool => Service,
        /// 7: the configuration of diffusion models. Source: schema
        /// `quarantine.stages.diffusion_deep_scan`.
        optional diffusion_deep_scan: bool => Service,
    }

    /// The scanner of GGUF models.
    pub struct GgufGuard {
        /// Whether a model fails where the scanner is missing. Source: schema
        /// `gguf_guard.required`.
        optional required: bool => Service,
        /// Whether hashes of tensors are kept. Source: schema `gguf_guard.generate_manifest`.
        optional generate_manifest: bool => Service,
        /// Whether the structure is kept. Source: schema `gguf_guard.generate_fingerprint`.
        optional generate_fingerprint: bool => Service,
        /// Whether the hashes are compared from time to time. Source: schema
        /// `gguf_guard.verify_on_integrity_check`.
        optional verify_on_integrity_check: bool => Service,
    }

    /// The tool firewall.
    pub struct Tools {
        /// What happens to tools in neither list; decides about the files and programs of the
        /// tools `filesystem.*`, `shell.exec` and `process.spawn` too. Source: schema
        /// `tools.default`.
        required default: AllowOrDeny => Shared(Part::Paths, "every other tool"),
        /// How many calls there may be. Source: schema `tools.rate_limit`.
        optional rate_limit: ToolRate => Fields,
        /// Tools that may be called. Source: schema `tools.allow`.
        optional allow: Vec<Spanned<AllowedTool>> => Fields,
        /// Tools that may not, whatever else is said. Source: schema `tools.deny`.
        optional deny: Vec<Spanned<DeniedTool>> => Fields,
    }

    /// How many calls of tools there may be.
    pub struct ToolRate {
        /// Calls in a minute. Source: schema `tools.rate_limit.requests_per_minute`.
        optional requests_per_minute: u64 [AT_LEAST_1] => Service,
        /// Calls at once. Source: schema `tools.rate_limit.burst_size`.
        optional burst_size: u64 [AT_LEAST_1] => Service,
    }

    /// A tool that may be called.
    pub struct AllowedTool {
        /// Its name. The kernel knows what `filesystem.read`, `filesystem.list`,
        /// `filesystem.write`, `filesystem.delete`, `shell.exec` and `process.spawn` do. Source:
        /// schema `tools.allow[].name`.
        required name: String => Shared(Part::Paths, "every other tool"),
        /// Folders in which it may be used; none or an empty list is any. Source: schema
        /// `tools.allow[].paths_allowlist`.
        optional paths_allowlist: Texts => Shared(Part::Files, "tools other than `filesystem.*`"),
        /// Folders in which it may not, whatever else is said. Source: schema
        /// `tools.allow[].paths_denylist`.
        optional paths_denylist: Texts => Shared(Part::Files, "tools other than `filesystem.*`"),
        /// Texts that no argument may hold, in any case of letters. Source: schema
        /// `tools.allow[].args_blocklist`.
        optional args_blocklist: Texts => Service,
        /// Bytes that an argument may have. Source: schema `tools.allow[].max_arg_length`.
        optional max_arg_length: u64 [AT_LEAST_1] => Service,
    }

    /// A tool that may not be called.
    pub struct DeniedTool {
        /// Its name. The kernel refuses what `filesystem.*`, `shell.exec`, `process.spawn` and
        /// `network.fetch` do. Source: schema `tools.deny[].name`.
        required name: String => Shared(Part::All, "every other tool"),
    }

    /// Search of the web.
    pub struct Search {
        /// Whether there is any. Source: schema `search.enabled`.
        optional enabled: bool => Service,
        /// Characters of a query. Source: schema `search.max_query_length`.
        optional max_query_length: u64 [AT_LEAST_1] => Service,
        /// Results of a query. Source: schema `search.max_results`.
        optional max_results: u64 [AT_LEAST_1] => Service,
        /// Characters of results that the model is given. Source: schema
        /// `search.max_context_length`.
        optional max_context_length: u64 [AT_LEAST_1] => Service,
        /// Whether personal data are taken out of queries. Source: schema `search.strip_pii`.
        optional strip_pii: bool => Service,
        /// Whether a query of which little is left is refused. Source: schema
        /// `search.block_high_pii_queries`.
        optional block_high_pii_queries: bool => Service,
        /// Whether results are looked at for instructions. Source: schema
        /// `search.detect_injection`.
        optional detect_injection: bool => Service,
        /// Whether searches are recorded. Source: schema `search.audit`.
        optional audit: bool => Record,
        /// Search engines. Source: schema `search.allowed_engines`.
        optional allowed_engines: Texts => Service,
        /// Protection of who searches. Source: schema `search.differential_privacy`.
        optional differential_privacy: DifferentialPrivacy => Fields,
    }

    /// Protection of who searches.
    pub struct DifferentialPrivacy {
        /// Whether it is on. Source: schema `search.differential_privacy.enabled`.
        optional enabled: bool => Service,
        /// Made-up searches beside each real one. Source: schema
        /// `search.differential_privacy.decoy_count`.
        optional decoy_count: u64 => Service,
        /// What happens to a query that gives its author away. Source: schema
        /// `search.differential_privacy.uniqueness_mode`.
        optional uniqueness_mode: UniquenessMode => Service,
        /// Seconds in which queries are put together. Source: schema
        /// `search.differential_privacy.batch_window`.
        optional batch_window: f64 [Number(0.0, f64::INFINITY)] => Service,
    }

    /// The decision point for requests to the outside.
    pub struct Airlock {
        /// Whether anything may be reached through it. Source: schema `airlock.enabled`.
        optional enabled: bool => Kernel(Part::Destinations),
        /// URL prefixes that may be reached; the kernel sees host and port. Source: schema
        /// `airlock.allowed_destinations`.
        optional allowed_destinations: Texts
            => Shared(Part::Destinations, "path and query of the URL"),
        /// Methods of requests. Source: schema `airlock.allowed_methods`.
        optional allowed_methods: Vec<Spanned<Method>> => Service,
        /// Bytes of a request's body. Source: schema `airlock.max_body_size`.
        optional max_body_size: u64 => Service,
        /// How many requests there may be. Source: schema `airlock.rate_limit`.
        optional rate_limit: RequestRate => Fields,
        /// What a request's body may hold. Source: schema `airlock.content_rules`.
        optional content_rules: ContentRules => Fields,
    }

    /// How many requests there may be.
    pub struct RequestRate {
        /// Requests in a minute. Source: schema `airlock.rate_limit.requests_per_minute`.
        optional requests_per_minute: u64 [AT_LEAST_1] => Service,
    }

    /// What a request's body may hold.
    pub struct ContentRules {
        /// Texts that block it. Source: schema `airlock.content_rules.block_if_contains`.
        optional block_if_contains: Texts => Service,
        /// Whether personal data block it. Source: schema `airlock.content_rules.scan_for_pii`.
        optional scan_for_pii: bool => Service,
        /// Whether credentials block it. Source: schema
        /// `airlock.content_rules.scan_for_credentials`.
        optional scan_for_credentials: bool => Service,
    }
}

words! {
    /// What happens by default.
    pub enum AllowOrDeny {
        /// Refused.
        Deny = "deny",
        /// Allowed.
        Allow = "allow",
    }

    /// What happens to a query that gives its author away.
    pub enum UniquenessMode {
        /// It is refused.
        AutoBlock = "auto-block",
        /// The author is warned.
        Warn = "warn",
        /// It is sent.
        Allow = "allow",
    }

    /// A method of HTTP (RFC 9110, section 9).
    pub enum Method {
        /// `GET`.
        Get = "GET",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
        /// `DELETE`.
        Delete = "DELETE",
        /// `PATCH` (RFC 5789).
        Patch = "PATCH",
        /// `HEAD`.
        Head = "HEAD",
        /// `OPTIONS`.
        Options = "OPTIONS",
    }
}
