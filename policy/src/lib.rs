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

mod agent_yaml;
pub mod baseline;
pub mod boundary;
mod boundary_document;
pub mod compare;
pub mod compile;
mod destination;
pub mod diagnostic;
pub mod dialect;
pub mod document;
pub mod hosts;
mod lowering;
mod pattern;
pub mod question;
mod schema;
mod sec0;
mod secai;
pub mod source;
mod suggestion;
#[cfg(test)]
mod testing;
mod together;

pub use boundary::{Boundary, Mode, Place};
pub use diagnostic::{Diagnostic, Severity};
pub use dialect::Dialect;
pub use source::{Source, read_source};
pub use together::check_together;

/// A document that was read without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The language it is written in.
    pub dialect: Dialect,
    /// What it means to the kernel.
    pub boundary: Boundary,
    /// For `agent.yaml`: whether the mode leaves the network to the airlock of a `policy.yaml`.
    leaves_network_to_airlock: Option<Place>,
    unenforced: Vec<(Place, String)>,
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
fn shortened(diagnostics: Vec<Diagnostic>, text: &str) -> Vec<Diagnostic> {
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
            Diagnostic::error(diagnostic::code::NOT_A_MAPPING, node.place.clone(), 1, message)
                .with_help(help),
        );
        return None;
    }
    let dialect = match dialect.map_or_else(|| dialect::recognise(source, &node), Ok) {
        Ok(dialect) => dialect,
        Err(finding) => {
            diagnostics.push(*finding);
            return None;
        }
    };
    if dialect == Dialect::SecaiPolicy && secai::is_later_version(&node, diagnostics) {
        return None;
    }
    schema::check_document(&node, dialect.fields(), diagnostics);
    let mut lowering = lowering::Lowering::new(source, dialect, diagnostics);
    match dialect {
        Dialect::Sec0 => sec0::lower(&node, &mut lowering),
        Dialect::SecaiPolicy => secai::lower(&node, &mut lowering),
        Dialect::SecaiAgent => agent_yaml::lower(&node, &mut lowering),
        Dialect::Boundary => boundary_document::lower(&node, &mut lowering),
    }
    lowering.finish(&node)
}
