//! The configuration of the long-running agent: which processes of a machine are governed, and by
//! which policies. `docs/agent.md` describes it.
//!
//! It is read like a policy: all findings about the file come at once, each with its line and what
//! to write instead.
//!
//! ```
//! use ringfence_policy::{Source, configuration};
//!
//! let text = "agent: 1\nscopes:\n  - { name: coder, polcy: [a.yaml], match: [{ exe: /bin/a }] }\n";
//! let parsed = configuration::read(&Source::new("/etc/ringfence/agent.yaml", text));
//! assert!(parsed.configuration.is_none());
//! assert!(parsed.diagnostics[0].to_string().contains("did you mean `policy`?"));
//! ```

mod empty;
pub mod keys;
mod listeners;
mod page;
mod pods;
mod scopes;
pub mod selectors;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::{
    Diagnostic, Dialect, Source,
    boundary::{Mode, Place},
    diagnostic::code,
    dialect,
    document::{self, Node, Value},
    lowering::Lowering,
    model::Model as _,
    read_source,
    schema::check_document,
    shortened,
};

pub use listeners::{DEFAULT_CONTROL, Events, Metrics};
pub use page::markdown;
pub use pods::{PodSource, Pods, Unidentified};
pub use selectors::{PodSelector, Selector, Subject};

/// A configuration without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The file that it was read from.
    pub source: Source,
    /// The scopes, in the order of the file: where several select a process, the first has it.
    pub scopes: Vec<Scope>,
    /// Where the agent learns of pods, if it is to.
    pub pods: Option<Pods>,
    /// Where events go; without it, nowhere.
    pub events: Option<Events>,
    /// The Unix socket by which the agent is asked.
    pub control: PathBuf,
    /// Where metrics are served; without it, nowhere.
    pub metrics: Option<Metrics>,
}

/// Processes that are governed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its name, which no other scope of the file has.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// The files of its policies, which intersect; absolute where the configuration's own path is.
    pub policies: Vec<PathBuf>,
    /// What a refusal does; `None` leaves it to the policies.
    pub mode: Option<Mode>,
    /// What is answered to who looks up a name that no rule lists.
    pub unlisted_names: UnlistedNames,
    /// Whether the scope may start where the kernel cannot enforce all that its policies say.
    pub allow_degraded: bool,
    /// Which processes it governs: those that any of these selects.
    pub selectors: Vec<Selector>,
}

/// The answer to looking up a name that no rule lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnlistedNames {
    /// `REFUSED`.
    #[default]
    Refused,
    /// `NXDOMAIN`: there is no such name.
    Nxdomain,
}

/// What came of reading a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The configuration; `None` exactly when there is an error among the findings.
    pub configuration: Option<Configuration>,
    /// All findings, in the order of the file; of a thousand of a kind, the first thousand.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a configuration. Policies that it names are not read.
///
/// Arbitrary text is welcome: whatever is wrong with it becomes a finding.
pub fn read(source: &Source) -> Parsed {
    let mut diagnostics = Vec::new();
    let configuration = lower(source, &mut diagnostics);
    let mut diagnostics: Vec<Diagnostic> = diagnostics.into_iter().map(adapted).collect();
    diagnostics.sort_by(|a, b| {
        (a.place.line, a.place.column, a.severity).cmp(&(b.place.line, b.place.column, b.severity))
    });
    let configuration = configuration.filter(|_| !diagnostics.iter().any(Diagnostic::is_error));
    Parsed { configuration, diagnostics: shortened(diagnostics, &source.text) }
}

/// Reads a configuration from a file. One that cannot be read is an error like any other.
pub fn of_file(path: &Path) -> Parsed {
    match read_source(path) {
        Ok(source) => read(&source),
        Err(finding) => Parsed { configuration: None, diagnostics: vec![adapted(*finding)] },
    }
}

/// Help for who has no configuration yet.
const SMALLEST: &str = "the smallest configuration has `agent: 1` and one of `scopes`, which has \
                        `name`, `policy` and `match`";

fn lower(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> Option<Configuration> {
    let node = document::read(source, diagnostics)?;
    let start = source.place(1, 1);
    if !matches!(node.value, Value::Mapping(_)) {
        let message = format!(
            "the configuration is a mapping of keys to values, and this is {}",
            node.describe()
        );
        let place = node.span.place.clone();
        let finding = Diagnostic::error(code::NOT_A_MAPPING, place, 1, message);
        diagnostics.push(finding.with_help(SMALLEST));
        return None;
    }
    if let Some(dialect) = policy_language(source, &node) {
        let message = format!("this is a {}, and no configuration of the agent", dialect.title());
        let finding = Diagnostic::error(code::NOT_A_CONFIGURATION, start, 0, message);
        let help = "name the file below `policy` of a scope, in a configuration";
        diagnostics.push(finding.with_help(help));
        return None;
    }
    check_document(&node, keys::Document::SHAPE, diagnostics);
    // For its helpers: nothing here becomes a boundary.
    let mut lowering = Lowering::new(source, Dialect::Boundary, diagnostics);
    empty::check(&node, &mut lowering);
    let document = keys::Document::read(&node)?;
    let folder = Path::new(&*source.name).parent().unwrap_or(Path::new(""));
    let scopes = scopes::lower(&document, folder, &mut lowering);
    let pods = document.pods.as_ref().and_then(|field| pods::lower(field, folder, &mut lowering));
    pods::check_use(&document, &mut lowering);
    let control = listeners::control(&document.control, &mut lowering)?;
    Some(Configuration {
        source: source.clone(),
        scopes,
        pods,
        events: listeners::events(&document.events, &mut lowering),
        control,
        metrics: listeners::metrics(&document.metrics, &mut lowering),
    })
}

/// The policy language of a document that is a policy and not a configuration.
fn policy_language(source: &Source, node: &Node) -> Option<Dialect> {
    let is_ours = node.get("agent").is_some() || node.get("scopes").is_some();
    dialect::recognise(source, node).ok().filter(|_| !is_ours)
}

/// A finding of the reader, in words about a configuration: the reader was written for policies.
fn adapted(finding: Diagnostic) -> Diagnostic {
    let help = match finding.code {
        code::EMPTY => SMALLEST,
        code::SEVERAL_DOCUMENTS => "a configuration is one document: remove all from here on",
        code::TOO_LARGE | code::NOT_TEXT => {
            "a configuration is a YAML text file; is this the file you meant?"
        }
        code::LIMIT => "write it without aliases, or select several processes by one glob",
        _ => {
            let message = finding.message.replace(" in policies", " in a configuration");
            let message = message.replace("the policy file", "the configuration file");
            let help =
                finding.help.map(|help| help.replace(": a policy should say", ": it should say"));
            return Diagnostic { message, help, ..finding };
        }
    };
    let message = match finding.code {
        code::EMPTY => "the file holds no configuration: it is empty, or all comments".to_owned(),
        _ => finding.message.clone(),
    };
    Diagnostic { message, ..finding }.with_help(help)
}
