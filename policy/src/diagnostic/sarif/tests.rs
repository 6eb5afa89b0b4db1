//! What SARIF 2.1.0 requires of a log; section numbers are those of the standard.

use proptest::prelude::*;

use super::*;
use crate::{Source, boundary::Place, diagnostic::code, parse};

fn findings(name: &str, text: &str) -> Vec<Diagnostic> {
    parse(&Source::new(name, text), None).diagnostics
}

fn at(line: u32, column: u32, length: u32, text: &str) -> Diagnostic {
    let place = Place { file: "a.yaml".into(), line, column };
    Diagnostic::error(code::SYNTAX, place, length, "x").with_line_of(text)
}

/// The one result of a log.
fn result_of(finding: Diagnostic) -> Value {
    log(&[finding])["runs"][0]["results"][0].clone()
}

#[test]
fn a_log_has_what_the_standard_requires() {
    let findings = findings("a.yaml", "boundary: 1\nmode: enfroce\nfile: []\nfiels: []\n");
    let log = log(&findings);
    assert_eq!(log["version"], "2.1.0", "3.13.2");
    assert!(log["$schema"].as_str().unwrap().contains("sarif-schema-2.1.0"), "3.13.3");
    let [run] = log["runs"].as_array().unwrap().as_slice() else { panic!("3.13.4") };
    assert_eq!(run["columnKind"], "unicodeCodePoints", "3.14.27");
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "ringfence", "3.19.8");
    assert_eq!(driver["version"], env!("CARGO_PKG_VERSION"), "3.19.13");
    let rules = driver["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2, "3.19.23: each rule once");
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), findings.len(), "3.14.23");
    for (result, finding) in results.iter().zip(&findings) {
        assert_eq!(result["ruleId"], finding.code, "3.27.5");
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], finding.code, "3.27.6 and 3.49.3");
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()), "3.27.10");
        let text = result["message"]["text"].as_str().unwrap();
        assert!(text.starts_with(&finding.message) && text.contains("did you mean"), "3.11.8");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a.yaml", "3.4.3");
        assert_eq!(place["region"]["startLine"], finding.place.line, "3.30.5");
        assert!(result["partialFingerprints"].is_object(), "3.27.17");
    }
}

#[test]
fn a_rule_tells_what_its_page_tells() {
    let rule = rule(code::BAD_GLOB);
    let page = pages::page(code::BAD_GLOB).unwrap();
    assert_eq!(rule["shortDescription"]["text"], format!("{}.", page.title));
    assert_eq!(rule["fullDescription"]["text"], page.text);
    assert_eq!(rule["help"]["text"], page.to_string());
}

#[test]
fn a_document_without_findings_is_a_run_without_results() {
    let log = log(&[]);
    assert_eq!(log["runs"][0]["results"], json!([]), "3.14.23: present, and not null");
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"], json!([]));
}

#[test]
fn regions_are_counted_in_characters_and_end_within_their_line() {
    for (finding, expected) in [
        (at(2, 3, 4, "a\nb: cdefg\n"), json!({"startLine": 2, "startColumn": 3, "endColumn": 7})),
        (at(1, 4, 9, "é: x"), json!({"startLine": 1, "startColumn": 4, "endColumn": 5})),
        (at(1, 5, 1, "é: x"), json!({"startLine": 1, "startColumn": 5, "endColumn": 5})),
        (at(1, 99, 1, "abc"), json!({"startLine": 1, "startColumn": 4, "endColumn": 4})),
        (at(1, 0, 1, "abc"), json!({"startLine": 1, "startColumn": 1, "endColumn": 2})),
        (at(1, 1, 0, "abc"), json!({"startLine": 1})),
        (
            at(7, u32::MAX, 5, "abc"),
            json!({"startLine": 7, "startColumn": u32::MAX, "endColumn": u32::MAX}),
        ),
    ] {
        let result = result_of(finding.clone());
        assert_eq!(result["locations"][0]["physicalLocation"]["region"], expected, "{finding:?}");
    }
    let whole = result_of(at(0, 0, 0, ""));
    assert_eq!(whole["locations"][0]["physicalLocation"].get("region"), None, "line 0");
}

#[test]
fn names_become_references_that_hold_nothing_but_what_a_uri_may() {
    for (file, expected) in [
        ("policies/a.yaml", "policies/a.yaml"),
        ("./a.yaml", "a.yaml"),
        (".//./a.yaml", "a.yaml"),
        ("../a.yaml", "../a.yaml"),
        ("/etc/a b.yaml", "file:///etc/a%20b.yaml"),
        ("a:b?c#d%.yaml", "a%3Ab%3Fc%23d%25.yaml"),
        ("é\n\u{1b}.yaml", "%C3%A9%0A%1B.yaml"),
        ("-", "-"),
    ] {
        assert_eq!(uri(file), expected, "{file}");
    }
}

#[test]
fn nothing_in_a_message_acts_on_a_terminal() {
    let finding = Diagnostic { message: "\u{1b}[2J".into(), ..at(1, 1, 1, "a") };
    let text = result_of(finding.with_help("\u{202e}"))["message"]["text"].to_string();
    assert!(!text.contains(['\u{1b}', '\u{202e}']) && !text.contains("\\u001b"), "{text}");
}

#[test]
fn a_finding_without_a_file_has_no_place() {
    let mut finding = at(0, 0, 0, "");
    finding.place.file = "".into();
    assert_eq!(result_of(finding).get("locations"), None);
}

#[test]
fn fingerprints_outlive_a_move_to_another_line_and_tell_equal_lines_apart() {
    let fingerprints = |text: &str| -> Vec<Value> {
        let log = log(&findings("a.yaml", text));
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["partialFingerprints"]["finding/v1"].clone()).collect()
    };
    let rule = "  - { path: a, allow: [read] }\n";
    let before = fingerprints(&format!("boundary: 1\nfiles:\n{rule}{rule}"));
    let after = fingerprints(&format!("# moved\n\nboundary: 1\nfiles:\n{rule}{rule}"));
    assert_eq!(before.len(), 2);
    assert_ne!(before[0], before[1]);
    assert_eq!(before, after);
}

proptest! {
    #[test]
    fn any_name_becomes_a_reference_of_harmless_characters(name in any::<String>()) {
        let uri = uri(&name);
        let is_harmless = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
        let path = uri.strip_prefix("file://").unwrap_or(&uri);
        prop_assert!(path.chars().all(is_harmless), "{}", uri);
    }
}
