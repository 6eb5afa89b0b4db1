//! The fields of a Sec0 policy, as the schema of sec0-sdk 0.2.3 has them: every mapping is closed
//! but `allow_versions`, and nothing has a default.
//!
//! "Schema" in a field's source is that schema, "document" the language's description of policies.

use crate::{
    coverage::{
        Coverage::{Fields, Kernel, Record, Service},
        Part,
    },
    document::{Key, Spanned},
    model::{Model, model, words},
    schema::Shape::{self, Dependent, List, NonEmptyText, Number, OneOf},
};

const FRACTION: Shape = Number(0.0, 1.0);
const AT_LEAST_0: Shape = Number(0.0, f64::INFINITY);
const AT_LEAST_1: Shape = Number(1.0, f64::INFINITY);
const RETENTION: Shape = OneOf(&["30d", "90d", "180d"]);

/// The one condition of the schema, in its language.
const COMPLIANCE_RULE: Shape = Dependent(
    &ComplianceRule::SHAPE,
    r#"{"if": {"properties": {"type": {"const": "nl"}}, "required": ["type"]},
        "then": {"required": ["instruction", "threshold"]},
        "else": {"required": ["patterns"], "properties": {"patterns": {"minItems": 1}}}}"#,
);

type Texts = Vec<Spanned<String>>;

model! {
    /// A Sec0 policy.
    pub struct Policy {
        /// Whose policy this is. Source: schema `tenant`.
        required tenant: String [NonEmptyText] => Record,
        /// Where the policy is evaluated: `gateway` or `middleware`. Source: schema
        /// `security_level`; document, "Policy Enforcement Layers".
        optional security_level: SecurityLevel => Service,
        /// How long audit records are kept. Source: schema `default_retention`.
        required default_retention: String [RETENTION] => Record,
        /// Signatures of audit records. Source: document, "Signing".
        required signing: Signing => Fields,
        /// Traces and logs, and which share of them is kept. Source: document, "Observability".
        required observability: Observability => Fields,
        /// Which tools may be called. Source: document, "Control which tools agents can invoke".
        required tools: Tools => Fields,
        /// Which skills may be used. Source: schema `skills`.
        optional skills: Skills => Fields,
        /// What of inputs and outputs is kept. Source: document, "Privacy Controls".
        required privacy: Privacy => Fields,
        /// Calls that change something outside. Source: document, "Side-Effect Controls".
        required side_effects: SideEffects => Fields,
        /// What a violation leads to. Source: document, "Enforcement Rules".
        required enforcement: Enforcement => Fields,
        /// When findings in content block a call. Source: document, "Agent Guard".
        optional agent_guard: AgentGuard => Fields,
        /// Rules about content. Source: document, "Full Policy Example".
        optional compliance: Compliance => Fields,
        /// The boundary of the process. Source: document, "Boundary Security".
        optional security: Security => Fields,
        /// Where audit records are exported to. Source: document, "Export".
        required sec0_export: Export => Fields,
    }

    /// Signatures of audit records.
    pub struct Signing {
        /// Whether records are signed. Source: schema `signing.enabled`.
        required enabled: bool => Record,
        /// The key: `file://` and a path, or another reference. Source: schema
        /// `signing.key_ref`; document, "Signing".
        required key_ref: String [NonEmptyText] => Record,
    }

    /// Traces and logs.
    pub struct Observability {
        /// The collector that telemetry is sent to. Source: schema
        /// `observability.otlp_endpoint`.
        required otlp_endpoint: String [NonEmptyText] => Record,
        /// The share of records that is kept. Source: document, "Observability".
        required sample: Sample => Fields,
        /// Whether telemetry is sent. Source: schema `observability.enabled`.
        optional enabled: bool => Record,
        /// The share of records that is kept, said in the other of two ways. Source: document,
        /// "Observability".
        optional sampling: Sampling => Fields,
        /// Whether names of users are left out. Source: schema
        /// `observability.redact_identities`.
        optional redact_identities: bool => Record,
        /// What of the SDK is instrumented. Source: schema `observability.instrumentation`.
        optional instrumentation: Instrumentation => Fields,
    }

    /// Shares of records by outcome, from 0 to 1.
    pub struct Sample {
        /// Share of the records of calls that succeed. Source: schema
        /// `observability.sample.success`.
        required success: f64 [FRACTION] => Record,
        /// Share of the records of calls that fail. Source: schema `observability.sample.error`.
        required error: f64 [FRACTION] => Record,
    }

    /// Shares of records, said in the other of two ways.
    pub struct Sampling {
        /// Share of the records of calls that succeed, from 0 to 1. Source: schema
        /// `observability.sampling.success_ratio`.
        optional success_ratio: f64 [FRACTION] => Record,
        /// Whether every failure is recorded. Source: schema
        /// `observability.sampling.error_always`.
        optional error_always: bool => Record,
    }

    /// What of the SDK is instrumented.
    pub struct Instrumentation {
        /// Whether anything is. Source: schema `observability.instrumentation.enabled`.
        optional enabled: bool => Record,
        /// Whether the SDK may attach itself. Source: schema
        /// `observability.instrumentation.allow_sdk_attach`.
        optional allow_sdk_attach: bool => Record,
        /// Name of operations that have none. Source: schema
        /// `observability.instrumentation.default_op`.
        optional default_op: String => Record,
    }

    /// Which tools may be called.
    pub struct Tools {
        /// Patterns `mcp://server/tool@version`, in which `*` stands for any part, or `*` for
        /// every tool. Source: schema `tools.allowlist`; document, "Control which tools agents
        /// can invoke".
        required allowlist: Texts => Service,
        /// Whether a tool must be named with a version. Source: schema
        /// `tools.deny_if_unpinned_version`.
        required deny_if_unpinned_version: bool => Service,
    }

    /// Which skills may be used.
    pub struct Skills {
        /// Patterns of skills. Source: schema `skills.allowlist`.
        required allowlist: Texts => Service,
        /// Whether a skill must be named with a version. Source: schema
        /// `skills.deny_if_unpinned_version`.
        required deny_if_unpinned_version: bool => Service,
        /// Whether a skill is scanned only when it has changed. Source: schema
        /// `skills.scan_on_change_only`.
        optional scan_on_change_only: bool => Service,
        /// Whether a changed skill is blocked. Source: schema `skills.block_on_change`.
        optional block_on_change: bool => Service,
        /// The least severity of a finding that blocks. Source: schema
        /// `skills.block_on_severity`.
        optional block_on_severity: Severity => Service,
    }

    /// What of inputs and outputs is kept.
    pub struct Privacy {
        /// Whether outputs are left out of the audit. Source: schema `privacy.redact_outputs`.
        required redact_outputs: bool => Record,
        /// Whether inputs and outputs are kept as they are. Source: schema
        /// `privacy.store_raw_payloads`.
        required store_raw_payloads: bool => Record,
        /// How long what is kept is kept. Source: document, "Privacy Controls".
        required artifact_retention: ArtifactRetention => Fields,
    }

    /// How long what is kept is kept, by kind of data, as `30d`.
    pub struct ArtifactRetention {
        /// Public data. Source: schema `privacy.artifact_retention.public`.
        required public: String => Record,
        /// Personal data. Source: schema `privacy.artifact_retention.pii`.
        required pii: String => Record,
        /// Data about health. Source: schema `privacy.artifact_retention.phi`.
        required phi: String => Record,
    }

    /// Calls that change something outside.
    pub struct SideEffects {
        /// Whether such a call needs a key by which a repetition is known. Source: schema
        /// `side_effects.require_idempotency_key`.
        required require_idempotency_key: bool => Service,
        /// How often a failed call is repeated, at most 10 times. Source: schema
        /// `side_effects.max_retries`.
        required max_retries: f64 [Number(0.0, 10.0)] => Service,
    }

    /// What a violation leads to.
    pub struct Enforcement {
        /// Violations that refuse; an empty list observes. `fs_violation` and
        /// `egress_violation` decide whether the kernel refuses or only records. Source: schema
        /// `enforcement.deny_on`; document, "Observe vs Enforce".
        required deny_on: Vec<Spanned<Violation>> => Kernel(Part::All),
        /// Violations that are put before a person. Source: schema `enforcement.escalate_on`.
        optional escalate_on: Vec<Spanned<Violation>> => Service,
        /// When findings in content block a call. Source: schema `enforcement.agent_guard`.
        optional agent_guard: AgentGuard => Fields,
        /// When a tool that fails is no longer called. Source: document, "Enforcement Rules".
        required circuit_breakers: CircuitBreakers => Fields,
    }

    /// When findings in content block a call.
    pub struct AgentGuard {
        /// Whether content is scanned. Source: schema `agent_guard.enabled`.
        optional enabled: bool => Service,
        /// The least severity of a finding that blocks. Source: schema
        /// `agent_guard.block_on_severity`.
        optional block_on_severity: Severity => Service,
        /// How many findings block, whatever their severity. Source: schema
        /// `agent_guard.block_on_count`.
        optional block_on_count: f64 [AT_LEAST_1] => Service,
    }

    /// When a tool that fails is no longer called.
    pub struct CircuitBreakers {
        /// Per cent of calls that fail; 100 is off. Source: schema
        /// `enforcement.circuit_breakers.error_rate_pct`.
        required error_rate_pct: f64 [Number(0.0, 100.0)] => Service,
        /// 95th percentile of the duration in milliseconds; 0 is off. Source: schema
        /// `enforcement.circuit_breakers.p95_latency_ms`.
        required p95_latency_ms: f64 [AT_LEAST_0] => Service,
    }

    /// Rules about content.
    pub struct Compliance {
        /// Packs of rules. Source: schema `compliance.packs`.
        optional packs: Vec<Spanned<Pack>> => Fields,
        /// Which packs are in force. Source: schema `compliance.policies`.
        optional policies: Vec<Spanned<CompliancePolicy>> => Fields,
    }

    /// A pack of rules about content.
    pub struct Pack {
        /// What policies name it by. Source: schema `compliance.packs[].id`.
        required id: String [NonEmptyText] => Service,
        /// What people name it by. Source: schema `compliance.packs[].name`.
        required name: String [NonEmptyText] => Service,
        /// What it is for. Source: schema `compliance.packs[].description`.
        optional description: String => Service,
        /// Its rules. Source: schema `compliance.packs[].rules`.
        optional rules: Vec<Spanned<ComplianceRule>> [List(&COMPLIANCE_RULE)] => Fields,
    }

    /// A rule about content: patterns, or an instruction to an evaluator.
    pub struct ComplianceRule {
        /// What findings name it by. Source: schema `compliance.packs[].rules[].id`.
        required id: String [NonEmptyText] => Service,
        /// What people name it by. Source: schema `compliance.packs[].rules[].name`.
        optional name: String => Service,
        /// `regex`, which is meant without this key, or `nl`. Source: schema
        /// `compliance.packs[].rules[].type`.
        optional kind as "type": RuleKind => Service,
        /// Which content is looked at. Source: schema `compliance.packs[].rules[].location`.
        optional location: Location => Service,
        /// How bad a match is. Source: schema `compliance.packs[].rules[].severity`.
        optional severity: Severity => Service,
        /// What is told of a match. Source: schema `compliance.packs[].rules[].message`.
        optional message: String => Service,
        /// Regular expressions, at least one in a rule of the type `regex`. Source: schema
        /// `compliance.packs[].rules[].patterns`.
        optional patterns: Texts => Service,
        /// What an evaluator looks for; needed in a rule of the type `nl`. Source: schema
        /// `compliance.packs[].rules[].instruction`.
        optional instruction: String [NonEmptyText] => Service,
        /// Score from which on the evaluator's answer is a match, from 0 to 100; needed in a rule
        /// of the type `nl`. Source: schema `compliance.packs[].rules[].threshold`.
        optional threshold: f64 [Number(0.0, 100.0)] => Service,
        /// Words to find it by. Source: schema `compliance.packs[].rules[].tags`.
        optional tags: Texts => Service,
    }

    /// Which packs are in force together.
    pub struct CompliancePolicy {
        /// What it is named by. Source: schema `compliance.policies[].id`.
        required id: String [NonEmptyText] => Service,
        /// What people name it by. Source: schema `compliance.policies[].name`.
        required name: String [NonEmptyText] => Service,
        /// Whether it is in force. Source: schema `compliance.policies[].enabled`.
        required enabled: bool => Service,
        /// The `id` of each of its packs. Source: schema `compliance.policies[].pack_ids`.
        required pack_ids: Texts => Service,
    }

    /// The boundary of the process.
    pub struct Security {
        /// For each server, the versions that may be used. Source: schema
        /// `security.allow_versions`; document, "Boundary Security".
        optional allow_versions: Vec<(Key, Spanned<Texts>)> => Service,
        /// The only destinations: hosts, in which `*` stands for any characters, addresses and
        /// networks, each with `:port` or without. Present and empty allows none. Source: schema
        /// `security.egress_allowlist`; document, "Boundary Security".
        optional egress_allowlist: Texts => Kernel(Part::Destinations),
        /// The only paths that may be read, written and executed, besides the baseline; `*`
        /// stands for any characters, slashes too. Present and empty allows none. Source: schema
        /// `security.fs_allowlist`; document, "Boundary Security".
        optional fs_allowlist: Texts => Kernel(Part::Paths),
        /// Limits of one call. Source: document, "Boundary Security".
        optional limits: Limits => Fields,
        /// Approval of calls that change something outside. Source: document, "Boundary
        /// Security".
        optional side_effects: Approval => Fields,
    }

    /// Limits of one call.
    pub struct Limits {
        /// Size of its payload in KiB. Source: schema `security.limits.max_payload_kb`.
        optional max_payload_kb: f64 [AT_LEAST_0] => Service,
        /// Its duration in milliseconds. Source: schema `security.limits.max_duration_ms`.
        optional max_duration_ms: f64 [AT_LEAST_0] => Service,
    }

    /// Approval of calls that change something outside. The schema has three names for the time
    /// to decide and for what happens after it.
    pub struct Approval {
        /// Whether such a call needs a key by which a repetition is known. Source: schema
        /// `security.side_effects.require_idempotency_key`.
        optional require_idempotency_key: bool => Service,
        /// Whether a person must approve calls of high risk. Source: schema
        /// `security.side_effects.approve_high_risk`.
        optional approve_high_risk: bool => Service,
        /// Seconds to decide. Source: schema `security.side_effects.escalation_ttl_seconds`.
        optional escalation_ttl_seconds: f64 [AT_LEAST_1] => Service,
        /// Seconds to decide. Source: schema `security.side_effects.ttl_seconds`.
        optional ttl_seconds: f64 [AT_LEAST_1] => Service,
        /// Seconds to decide. Source: schema `security.side_effects.escalationTtlSeconds`.
        optional escalation_ttl_seconds_camel as "escalationTtlSeconds": f64 [AT_LEAST_1]
            => Service,
        /// What happens when nobody decides. Source: schema
        /// `security.side_effects.escalation_on_timeout`.
        optional escalation_on_timeout: TimeoutAction => Service,
        /// What happens when nobody decides. Source: schema
        /// `security.side_effects.timeout_action`.
        optional timeout_action: TimeoutAction => Service,
        /// What happens when nobody decides. Source: schema
        /// `security.side_effects.escalationOnTimeout`.
        optional escalation_on_timeout_camel as "escalationOnTimeout": TimeoutAction => Service,
        /// Who decides. Source: schema `security.side_effects.human_escalation`.
        optional human_escalation: HumanEscalation => Fields,
        /// Who decides. Source: schema `security.side_effects.humanEscalation`.
        optional human_escalation_camel as "humanEscalation": HumanEscalation => Fields,
    }

    /// Who decides about a call that waits for approval.
    pub struct HumanEscalation {
        /// How many must agree. Source: schema
        /// `security.side_effects.human_escalation.approval_strategy`.
        optional approval_strategy: ApprovalStrategy => Service,
        /// What happens when nobody decides. Source: schema
        /// `security.side_effects.human_escalation.timeout_action`.
        optional timeout_action: TimeoutAction => Service,
        /// Approvals that are needed. Source: schema
        /// `security.side_effects.human_escalation.min_approvals`.
        optional min_approvals: f64 [AT_LEAST_1] => Service,
        /// Rejections that refuse. Source: schema
        /// `security.side_effects.human_escalation.min_rejections`.
        optional min_rejections: f64 [AT_LEAST_1] => Service,
        /// Roles that must approve. Source: schema
        /// `security.side_effects.human_escalation.required_roles`.
        optional required_roles: Texts => Service,
        /// Roles of which one may refuse. Source: schema
        /// `security.side_effects.human_escalation.veto_roles`.
        optional veto_roles: Texts => Service,
        /// A set of people who approve. Source: schema
        /// `security.side_effects.human_escalation.approval_set_id`.
        optional approval_set_id: String => Service,
    }

    /// Where audit records are exported to.
    pub struct Export {
        /// Whether they are exported. Source: schema `sec0_export.enabled`.
        required enabled: bool => Record,
        /// How often. Source: schema `sec0_export.cadence`.
        optional cadence: Cadence => Record,
        /// The bucket: `gs://`, `s3://` or `file://`. Source: schema `sec0_export.bucket_uri`.
        required bucket_uri: String => Record,
    }
}

words! {
    /// Where a policy is evaluated.
    pub enum SecurityLevel {
        /// In the gateway.
        Gateway = "gateway",
        /// In the middleware.
        Middleware = "middleware",
    }

    /// How bad a finding is.
    pub enum Severity {
        /// Low.
        Low = "low",
        /// Medium.
        Medium = "medium",
        /// High.
        High = "high",
        /// Critical.
        Critical = "critical",
    }

    /// What happens when nobody decides in time.
    pub enum TimeoutAction {
        /// The call goes ahead.
        AutoApprove = "auto_approve",
        /// The call is refused.
        AutoReject = "auto_reject",
    }

    /// How many must agree to a call.
    pub enum ApprovalStrategy {
        /// None.
        AutoAllow = "auto_allow",
        /// One.
        SingleApprover = "single_approver",
        /// Several.
        HumanQuorum = "human_quorum",
    }

    /// How a rule about content is evaluated.
    pub enum RuleKind {
        /// By regular expressions.
        Regex = "regex",
        /// By an evaluator that is given an instruction.
        Nl = "nl",
    }

    /// Which content a rule looks at.
    pub enum Location {
        /// What goes into a call.
        Input = "input",
        /// What comes out of it.
        Output = "output",
        /// Both.
        Both = "both",
        /// A whole run.
        Run = "run",
    }

    /// How often audit records are exported.
    pub enum Cadence {
        /// Each day.
        Daily = "daily",
        /// Each week.
        Weekly = "weekly",
        /// Each month.
        Monthly = "monthly",
    }

    /// A violation that `deny_on` and `escalate_on` may name.
    pub enum Violation {
        /// An audit record without a signature.
        MissingAuditSignature = "missing_audit_signature",
        /// A tool that is not listed.
        ToolNotInAllowlist = "tool_not_in_allowlist",
        /// A tool named without a version.
        VersionUnpinned = "version_unpinned",
        /// A call that changes something outside, without a key by which a repetition is known.
        MissingIdempotency = "missing_idempotency_for_side_effect",
        /// A destination that is not listed.
        Egress = "egress_violation",
        /// A path that is not listed.
        Fs = "fs_violation",
        /// A payload beyond the limit.
        PayloadTooLarge = "payload_too_large",
        /// A call beyond the limit.
        DurationTooLong = "duration_too_long",
        /// A change of the registry of tools.
        RegistryMutation = "registry_mutation",
        /// A tool whose handler was replaced.
        HandlerSwap = "handler_swap",
        /// A server whose code changed.
        ServerCodeChanged = "server_code_changed",
        /// A tool whose code changed.
        ToolCodeChanged = "tool_code_changed",
        /// A skill whose version changed.
        SkillVersionChanged = "skill_version_changed",
        /// A skill whose code changed.
        SkillCodeChanged = "skill_code_changed",
        /// A skill that has not been scanned yet.
        SkillScanPending = "skill_scan_pending",
        /// A skill that did not pass its scan.
        SkillScanFailed = "skill_scan_failed",
        /// Static analysis that has not run yet.
        SastPending = "sast_pending",
        /// Static analysis that found something.
        SastFailed = "sast_failed",
        /// Dynamic analysis that has not run yet.
        DastPending = "dast_pending",
        /// Dynamic analysis that found something.
        DastFailed = "dast_failed",
        /// Content that the agent guard blocks.
        AgentGuardFailed = "agent_guard_failed",
        /// A call that the evaluator of the context denies.
        ContextualEvaluatorDenied = "contextual_evaluator_denied",
        /// A call that the evaluator of the context puts before a person.
        ContextualEvaluatorEscalated = "contextual_evaluator_escalated",
    }
}
