//! Findings as SARIF 2.1.0 (OASIS, *Static Analysis Results Interchange Format*), which code
//! hosts and editors show beside the line that a finding is about.

use std::{collections::HashMap, fmt::Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Diagnostic, pages, visible};

/// Where the schema of the format is.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log of one run with these findings. The rules are the pages of the codes that occur.
pub fn log(findings: &[Diagnostic]) -> Value {
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut seen = HashMap::new();
    let results: Vec<Value> =
        findings.iter().map(|finding| result(finding, &codes, &mut seen)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ringfence",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<Value>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &str) -> Value {
    let mut rule = json!({ "id": code });
    if let Some(page) = pages::page(code) {
        let text = |text: String| json!({ "text": text });
        rule["shortDescription"] = text(format!("{}.", page.title));
        rule["fullDescription"] = text(page.text.to_owned());
        rule["help"] = text(page.to_string());
    }
    rule
}

fn result(finding: &Diagnostic, codes: &[&str], seen: &mut HashMap<String, u32>) -> Value {
    let message = match &finding.help {
        Some(help) => format!("{}\n{}", visible(&finding.message), visible(help)),
        None => visible(&finding.message),
    };
    let mut result = json!({
        "ruleId": finding.code,
        // SARIF's words for these two are ours.
        "level": finding.severity.name(),
        "message": { "text": message },
        "partialFingerprints": { "finding/v1": fingerprint(finding, seen) },
    });
    if let Ok(index) = codes.binary_search(&finding.code) {
        result["ruleIndex"] = json!(index);
    }
    // A rule of no file, as the compiler may name one, has no place.
    if !finding.place.file.is_empty() {
        let mut place = json!({ "artifactLocation": { "uri": uri(&finding.place.file) } });
        if finding.place.line > 0 {
            place["region"] = region(finding);
        }
        result["locations"] = json!([{ "physicalLocation": place }]);
    }
    result
}

/// The characters that a finding is about; without a length, its whole line.
fn region(finding: &Diagnostic) -> Value {
    let mut region = json!({ "startLine": finding.place.line });
    if finding.length > 0 {
        // One behind the last character is still a column: there, something is missing.
        let characters = finding.line_text.as_ref().map(|line| line.chars().count());
        let last = characters.and_then(|count| u32::try_from(count + 1).ok()).unwrap_or(u32::MAX);
        let start = finding.place.column.clamp(1, last);
        region["startColumn"] = json!(start);
        region["endColumn"] = json!(start.saturating_add(finding.length).min(last));
    }
    region
}

/// A file's name as a reference to it (RFC 3986): a path from the root becomes a `file` URI.
fn uri(file: &str) -> String {
    let mut uri = String::from(if file.starts_with('/') { "file://" } else { "" });
    let mut path = file;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into());
            }
            // Writing to a String cannot fail.
            byte => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri
}

/// The same for a finding that only moved to another line; findings alike in all but their line
/// are counted.
fn fingerprint(finding: &Diagnostic, seen: &mut HashMap<String, u32>) -> String {
    let line = finding.line_text.as_deref().unwrap_or_default().trim();
    let mut hash = Sha256::new();
    for part in [finding.code, &finding.place.file, line] {
        hash.update(part);
        hash.update([0]);
    }
    let mut text: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    let count = seen.entry(text.clone()).or_insert(0);
    *count += 1;
    // Writing to a String cannot fail.
    let _ = write!(text, ":{count}");
    text
}

#[cfg(test)]
mod tests;
