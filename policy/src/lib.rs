//! Policy languages, their diagnostics, and the compiler to policy images.
//!
//! Text in, tables or diagnostics out: this crate knows no kernel, no clock and no network.
//!
//! ```text
//! text ─document─► Node (values with places) ─<dialect>─► Boundary ─compile─► Tables
//! ```
//!
//! ```
//! use ringfence_policy::{Source, parse};
//!
//! let text = "boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [raed] }\n";
//! let parsed = parse(&Source::new("example.yaml", text), None);
//! assert!(parsed.document.is_none());
//! assert!(parsed.diagnostics[0].to_string().contains("did you mean `read`?"));
//! ```
#![forbid(unsafe_code)]

pub mod agent_yaml;
pub mod baseline;
pub mod boundary;
pub mod boundary_document;
pub mod compare;
pub mod compile;
pub mod configuration;
pub mod coverage;
mod destination;
pub mod diagnostic;
pub mod dialect;
pub mod document;
pub mod explain;
mod generation;
pub mod grants;
pub mod hosts;
pub mod json_schema;
pub mod lower;
mod lowering;
pub mod model;
mod path_map;
mod pattern;
mod policy_set;
pub mod question;
mod redundant;
mod schema;
pub mod sec0;
pub mod secai;
pub mod source;
mod suggestion;
#[cfg(test)]
mod testing;
mod together;

use model::Model as _;

pub use boundary::{Boundary, Mode, Place};
pub use diagnostic::{Diagnostic, Severity};
pub use dialect::Dialect;
pub use path_map::PathMapping;
pub use policy_set::PolicySet;
pub use source::{Source, read_source};

/// A document that was read without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The language it is written in.
    pub dialect: Dialect,
    /// All that it says.
    pub content: Content,
    /// What it means to the kernel.
    pub boundary: Boundary,
    /// Folders that other documents given with it name, and where they are found: see
    /// [`PolicySet`].
    pub path_map: Vec<PathMapping>,
    /// For `agent.yaml`: whether the mode leaves the network to the airlock of a `policy.yaml`.
    leaves_network_to_airlock: Option<Place>,
    unenforced: Vec<(Place, String)>,
}

/// All that a document says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A Sec0 policy.
    Sec0(Box<sec0::Policy>),
    /// A SecAI `policy.yaml`.
    SecaiPolicy(Box<secai::Policy>),
    /// A SecAI `agent.yaml`.
    SecaiAgent(Box<agent_yaml::Agent>),
    /// A `boundary` document.
    Boundary(Box<boundary_document::Document>),
}

impl Document {
    /// What the document asks of the kernel that this version does not enforce, and where. A
    /// start must be refused while there is any of it, unless degraded operation was asked for.
    pub fn unenforced(&self) -> &[(Place, String)] {
        &self.unenforced
    }
}

/// What came of reading a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The document; `None` exactly when there is an error among the findings.
    pub document: Option<Document>,
    /// All findings, in the order of the document; of a thousand of a kind, the first thousand.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a document, in the given dialect or in the one that its keys tell.
///
/// Arbitrary text is welcome: whatever is wrong with it becomes a finding.
pub fn parse(source: &Source, dialect: Option<Dialect>) -> Parsed {
    let mut diagnostics = Vec::new();
    let document = read(source, dialect, &mut diagnostics);
    diagnostics.sort_by(|a, b| {
        (a.place.line, a.place.column, a.severity).cmp(&(b.place.line, b.place.column, b.severity))
    });
    let document = document.filter(|_| !diagnostics.iter().any(Diagnostic::is_error));
    Parsed { document, diagnostics: shortened(diagnostics, &source.text) }
}

/// Errors, and warnings, of one document that are told. Nobody reads more, and each holds a line.
const MAX_FINDINGS: usize = 1000;

/// The first findings of each severity, with their lines.
pub(crate) fn shortened(diagnostics: Vec<Diagnostic>, text: &str) -> Vec<Diagnostic> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut errors, mut warnings) = (0, 0);
    let is_told = |finding: &Diagnostic| {
        let count = if finding.is_error() { &mut errors } else { &mut warnings };
        *count += 1;
        *count <= MAX_FINDINGS
    };
    diagnostics.into_iter().filter(is_told).map(|finding| finding.with_line(&lines)).collect()
}

fn read(
    source: &Source,
    dialect: Option<Dialect>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Document> {
    let node = document::read(source, diagnostics)?;
    if !matches!(node.value, document::Value::Mapping(_)) {
        let message =
            format!("a policy is a mapping of keys to values, and this is {}", node.describe());
        let help = "the smallest boundary document is `boundary: 1`";
        diagnostics.push(
            Diagnostic::error(diagnostic::code::NOT_A_MAPPING, node.span.place.clone(), 1, message)
                .with_help(help),
        );
        return None;
    }
    if dialect != Some(Dialect::Boundary)
        && node.get("boundary").is_none()
        && let Some(finding) = generation::other(&node)
    {
        diagnostics.push(finding);
        return None;
    }
    let dialect = match dialect.map_or_else(|| dialect::recognise(source, &node), Ok) {
        Ok(dialect) => dialect,
        Err(finding) => {
            diagnostics.push(*finding);
            return None;
        }
    };
    schema::check_document(&node, dialect.shape(), diagnostics);
    generation::hint(&node, diagnostics);
    let mut lowering = lowering::Lowering::new(source, dialect, diagnostics);
    let content = match dialect {
        Dialect::Sec0 => {
            let policy = sec0::Policy::read(&node)?;
            sec0::lower(&policy, &mut lowering);
            Content::Sec0(policy.into())
        }
        Dialect::SecaiPolicy => {
            let policy = secai::Policy::read(&node)?;
            secai::lower(&policy, &mut lowering);
            Content::SecaiPolicy(policy.into())
        }
        Dialect::SecaiAgent => {
            let agent = agent_yaml::Agent::read(&node)?;
            let start = Place { line: 1, column: 1, ..node.span.place.clone() };
            agent_yaml::lower(&agent, &start, &mut lowering);
            Content::SecaiAgent(agent.into())
        }
        Dialect::Boundary => {
            let document = boundary_document::Document::read(&node)?;
            boundary_document::lower(&document, &mut lowering);
            Content::Boundary(document.into())
        }
    };
    lowering.finish(content, &node)
}
