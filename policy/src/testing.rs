//! What the tests of the dialects share.

use crate::{
    Diagnostic, Dialect, Document, Source,
    boundary::{Effect, EgressRule, Target},
    parse,
};

/// Code, line and column of every finding about a text.
pub(crate) fn findings(text: &str) -> Vec<(&'static str, u32, u32)> {
    let parsed = parse(&Source::new("test.yaml", text), None);
    parsed.diagnostics.iter().map(|f| (f.code, f.place.line, f.place.column)).collect()
}

/// The errors about a text.
pub(crate) fn errors(text: &str) -> Vec<Diagnostic> {
    let parsed = parse(&Source::new("test.yaml", text), None);
    parsed.diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

/// The one error about a text: its code, place and advice.
pub(crate) fn error(text: &str) -> (&'static str, u32, u32, String) {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
    let error = &errors[0];
    let help = error.help.clone().unwrap_or_default();
    (error.code, error.place.line, error.place.column, help)
}

/// Codes of the warnings about a text that has no errors.
pub(crate) fn warnings(text: &str) -> Vec<&'static str> {
    let parsed = parse(&Source::new("test.yaml", text), None);
    assert!(parsed.document.is_some(), "{text}: {:#?}", parsed.diagnostics);
    parsed.diagnostics.iter().map(|finding| finding.code).collect()
}

/// The document that a text is; its dialect is recognised.
pub(crate) fn document(text: &str, dialect: Dialect) -> Document {
    let parsed = parse(&Source::new("test.yaml", text), None);
    let document = parsed.document.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics));
    assert_eq!(document.dialect, dialect);
    document
}

/// A document's path rules: effect, rights as bits, pattern, line.
pub(crate) fn path_rules(document: &Document) -> Vec<(Effect, u32, &str, u32)> {
    let rules = document.boundary.path_rules.iter();
    rules.map(|rule| (rule.effect, rule.rights.0, &*rule.pattern, rule.place.line)).collect()
}

/// A document's egress rules in words.
pub(crate) fn egress_rules(document: &Document) -> Vec<String> {
    let words = |rule: &EgressRule| {
        let target = match &rule.target {
            Target::Host(host) => host.clone(),
            Target::Network(network) => network.to_string(),
        };
        let (ports, protocol) = (&rule.ports, rule.protocol);
        format!("{:?} {target} {ports:?} {protocol:?}", rule.effect)
    };
    document.boundary.egress.iter().flat_map(|egress| &egress.rules).map(words).collect()
}
