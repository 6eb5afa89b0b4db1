//! The fields of a SecAI `agent.yaml`. The language has no schema: these are written from its
//! description ("document" in a field's source), which gives every field a default.

use crate::{
    coverage::{
        Coverage::{Fields, Kernel, Language, Record, Service},
        Part,
    },
    document::Spanned,
    model::{model, words},
    schema::Shape::Whole,
};

type Texts = Vec<Spanned<String>>;

model! {
    /// A SecAI `agent.yaml`.
    pub struct Agent {
        /// Version of the file's language: 1. Source: document `version`.
        optional version: u64 [Whole(1.0, 1.0)] => Language,
        /// The mode of a session that names none: `standard` (the default) leaves loopback,
        /// `online_assisted` the airlock's destinations, `offline_only` and `sensitive` nothing
        /// of the network. Source: document `default_mode`.
        optional default_mode: SessionMode => Kernel(Part::Destinations),
        /// What a task may use up, by mode. Source: document, "Hard budget limits per mode".
        optional budgets: Budgets => Fields,
        /// Where the agent may read and write. Source: document `workspace`.
        optional workspace: Workspace => Fields,
        /// Tools that the agent may call. Source: document `allowed_tools`.
        optional allowed_tools: Texts => Service,
        /// What is asked, for actions of medium risk. Source: document
        /// `configurable_defaults`.
        optional configurable_defaults: Preferences => Fields,
        /// Actions that are always refused. Source: document `always_deny`.
        optional always_deny: Texts => Service,
        /// Actions that a person always decides. Source: document `hard_approval`.
        optional hard_approval: Texts => Service,
        /// How workers are kept apart. Source: document `worker`.
        optional worker: Worker => Fields,
        /// What is recorded. Source: document `logging`.
        optional logging: Logging => Fields,
    }

    /// What a task may use up, by mode.
    pub struct Budgets {
        /// In the mode `standard`. Source: document `budgets.standard`.
        optional standard: Budget => Fields,
        /// In the mode `offline_only`. Source: document `budgets.offline_only`.
        optional offline_only: Budget => Fields,
        /// In the mode `online_assisted`. Source: document `budgets.online_assisted`.
        optional online_assisted: Budget => Fields,
        /// In the mode `sensitive`. Source: document `budgets.sensitive`.
        optional sensitive: Budget => Fields,
    }

    /// What a task may use up.
    pub struct Budget {
        /// Steps of its plan. Source: document `max_steps`.
        optional max_steps: u64 => Service,
        /// Calls of tools. Source: document `max_tool_calls`.
        optional max_tool_calls: u64 => Service,
        /// Tokens of the model. Source: document `max_tokens`.
        optional max_tokens: u64 => Service,
        /// Seconds on the clock. Source: document `max_wall_clock_seconds`.
        optional max_wall_clock_seconds: u64 => Kernel(Part::Budgets),
        /// Distinct files read or written. Source: document `max_files_touched`.
        optional max_files_touched: u64 => Kernel(Part::Budgets),
        /// Bytes written. Source: document `max_output_bytes`.
        optional max_output_bytes: u64 => Kernel(Part::Budgets),
    }

    /// Where the agent may read and write, as patterns in which `*` stands for any characters,
    /// slashes too.
    pub struct Workspace {
        /// What may be read. Source: document `workspace.readable`.
        optional readable: Texts => Kernel(Part::Files),
        /// What may be written. Source: document `workspace.writable`.
        optional writable: Texts => Kernel(Part::Files),
    }

    /// What is asked, for actions of medium risk.
    pub struct Preferences {
        /// Reading a file. Source: document `configurable_defaults.read_file`.
        optional read_file: Preference => Service,
        /// Writing a new file. Source: document `configurable_defaults.write_file`.
        optional write_file: Preference => Service,
        /// Writing over a file. Source: document `configurable_defaults.overwrite_file`.
        optional overwrite_file: Preference => Service,
        /// Calling a tool. Source: document `configurable_defaults.tool_invoke`.
        optional tool_invoke: Preference => Service,
    }

    /// How workers are kept apart.
    pub struct Worker {
        /// Whether a worker ends with its task in the mode `sensitive`. Source: document
        /// `worker.sensitive_mode_recycle`.
        optional sensitive_mode_recycle: bool => Service,
        /// Whether scratch files are kept in memory. Source: document `worker.tmpfs_scratch`.
        optional tmpfs_scratch: bool => Service,
        /// Whether workers are started without secrets in their environment. Source: document
        /// `worker.no_ambient_secrets`.
        optional no_ambient_secrets: bool => Service,
    }

    /// What is recorded.
    pub struct Logging {
        /// Decisions. Source: document `logging.log_policy_decisions`.
        optional log_policy_decisions: bool => Record,
        /// Actions. Source: document `logging.log_step_actions`.
        optional log_step_actions: bool => Record,
        /// Prompts. Source: document `logging.log_raw_prompts`.
        optional log_raw_prompts: bool => Record,
        /// Contents. Source: document `logging.log_raw_content`.
        optional log_raw_content: bool => Record,
        /// Paths of files. Source: document `logging.log_file_paths`.
        optional log_file_paths: bool => Record,
    }
}

words! {
    /// The mode of a session.
    pub enum SessionMode {
        /// The usual one.
        Standard = "standard",
        /// Without any network.
        OfflineOnly = "offline_only",
        /// With the airlock's destinations.
        OnlineAssisted = "online_assisted",
        /// Without any network, and with small budgets.
        Sensitive = "sensitive",
    }

    /// Whether a person is asked.
    pub enum Preference {
        /// Done without asking.
        Always = "always",
        /// Asked.
        Ask = "ask",
        /// Refused without asking.
        Never = "never",
    }
}
