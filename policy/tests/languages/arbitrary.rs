//! Text that nobody wrote: it becomes findings, never a panic, and never a document with errors.

use proptest::{prelude::*, sample::select};
use ringfence_policy::{
    Diagnostic, Dialect, Document, Source, diagnostic::sarif, explain::explain, parse,
};

const EXAMPLES: [&str; 5] = [
    include_str!("../../../examples/sec0-coder.yaml"),
    include_str!("../../../examples/secai-policy.yaml"),
    include_str!("../../../examples/secai-agent.yaml"),
    include_str!("../../../examples/boundary-coder.yaml"),
    include_str!("../../../examples/demo.yaml"),
];

fn read(text: &str, dialect: Option<Dialect>) -> Result<(), TestCaseError> {
    let source = Source::new("any.yaml", text);
    let parsed = parse(&source, dialect);
    let has_error = parsed.diagnostics.iter().any(Diagnostic::is_error);
    prop_assert_eq!(parsed.document.is_none(), has_error);
    let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap();
    for finding in &parsed.diagnostics {
        prop_assert!(finding.place.line <= lines, "{}", finding);
        prop_assert!(!finding.message.is_empty());
        prop_assert!(serde_json::to_string(finding).is_ok());
        let escapes = finding.to_string().contains('\u{1b}');
        prop_assert!(!escapes);
    }
    in_sarif(&parsed.diagnostics)?;
    parsed.document.map_or(Ok(()), |document| explained(source, document, lines))
}

/// Regions are counted from 1, and end behind their beginning.
fn in_sarif(findings: &[Diagnostic]) -> Result<(), TestCaseError> {
    let log = sarif::log(findings);
    let results = log["runs"][0]["results"].as_array().unwrap();
    prop_assert_eq!(results.len(), findings.len());
    for result in results {
        let region = &result["locations"][0]["physicalLocation"]["region"];
        let column = |name: &str| region[name].as_u64();
        prop_assert!(region.is_null() || column("startLine") >= Some(1), "{}", result);
        prop_assert!(column("startColumn").is_none_or(|start| start >= 1), "{}", result);
        prop_assert!(column("startColumn") <= column("endColumn"), "{}", result);
    }
    Ok(())
}

/// What is said of a document is about its lines, and harmless to show.
fn explained(source: Source, document: Document, lines: u32) -> Result<(), TestCaseError> {
    let explanation = explain(&[source], &[document]);
    let fields = &explanation.documents[0].fields;
    prop_assert!(!fields.is_empty());
    for field in fields {
        prop_assert!((1..=lines).contains(&field.place.line), "{:?}", field);
        let says_why = field.has_effect || field.remark.is_some();
        prop_assert!(says_why, "{:?}", field);
    }
    for shown in [explanation.text(), explanation.markdown()] {
        let acts = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        prop_assert!(!shown.contains(acts), "{:?}", shown);
    }
    prop_assert!(serde_json::to_string(&explanation).is_ok());
    Ok(())
}

fn dialect() -> impl Strategy<Value = Option<Dialect>> {
    prop_oneof![Just(None), select(Dialect::ALL.to_vec()).prop_map(Some)]
}

/// Pieces that mean something in YAML, in paths, or in destinations.
const PIECES: &[&str] = &[
    "", "\n", "\n  ", "\n  - ", ": ", "[", "]", "{", "}", "\"", "'", "#", "&a ", "*a", "!!int ",
    "|", ">", "---\n", "...\n", "\t", "~", "null", "-1", "1e999", ".nan", "0x", "ü", "\u{202e}",
    "\0", "\r", "/**", "[!a-", "\\", "..", "://", "::1", "/33", ":0", "@", "?", "<<: ", "%",
    "\u{feff}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read(text in any::<String>(), dialect in dialect()) {
        read(&text, dialect)?;
    }

    #[test]
    fn any_sequence_of_pieces_is_read(
        pieces in prop::collection::vec(select(PIECES.to_vec()), 0..40),
        dialect in dialect(),
    ) {
        read(&pieces.concat(), dialect)?;
    }

    #[test]
    fn a_policy_that_was_cut_and_patched_is_read(
        example in select(EXAMPLES.to_vec()),
        patches in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..12, select(PIECES.to_vec())), 1..6,
        ),
        dialect in dialect(),
    ) {
        let mut text: Vec<char> = example.chars().collect();
        for (at, cut, piece) in patches {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, piece.chars());
        }
        read(&text.into_iter().collect::<String>(), dialect)?;
    }

    #[test]
    fn any_path_or_destination_in_a_document_is_read(value in "\\PC{0,40}") {
        let quoted = serde_json::to_string(&value).unwrap();
        let text = format!(
            "boundary: 1\nfiles:\n  - {{ path: {quoted}, allow: [read] }}\negress:\n  \
             - {{ host: {quoted} }}\n  - {{ cidr: {quoted} }}\n"
        );
        read(&text, None)?;
    }
}
