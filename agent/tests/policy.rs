//! `ringfence policy` as a user types it: what is printed, and the exit codes that scripts rely
//! on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

const POLICY: &str = "\
boundary: 1
files:
  - { path: \"/srv/work/**\", allow: [read, write] }
  - { path: \"/srv/work/**/secrets/*.key\", deny: [read, write] }
exec: []
egress:
  - { host: api.example.com, ports: [443] }
  - { cidr: 10.0.0.0/8, ports: [5432], protocol: tcp }
";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn policy(words: &[&str], files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    let (first, rest) = words.split_first().unwrap();
    command.args(["policy", first]).args(files).args(rest).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

#[test]
fn a_policy_that_is_fine_exits_0_and_one_with_mistakes_1() {
    let folder = Folder::new();
    let fine = folder.file("fine.yaml", POLICY);
    let wrong = folder.file("wrong.yaml", &POLICY.replace("[443]", "[0]").replace("exec", "exek"));
    let output = policy(&["check"], &[&fine]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    let output = policy(&["check"], &[&wrong]);
    assert_eq!(code(&output), 1);
    let shown = text(&output);
    assert!(shown.contains("wrong.yaml:5:1") && shown.contains("wrong.yaml:7:38"), "{shown}");
    let output = policy(&["check", "--format", "json"], &[&wrong]);
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(findings.iter().filter(|finding| finding["severity"] == "error").count(), 2);
    let output = policy(&["check", "--format", "sarif"], &[&wrong]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(code(&policy(&["check"], &[])), 2, "no file is wrong usage");
}

#[test]
fn rules_that_do_nothing_are_told_by_check() {
    let folder = Folder::new();
    let rules = "  - { path: /srv/work/notes, allow: [read] }\n  \
                 - { path: /opt/x, deny: [write] }\nexec: []\n";
    let file = folder.file("idle.yaml", &POLICY.replace("exec: []\n", rules));
    let output = policy(&["check", "--format", "json"], &[&file]);
    assert_eq!(code(&output), 0);
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let found = |code: &str, line: u64| {
        findings.iter().any(|finding| finding["code"] == code && finding["line"] == line)
    };
    assert!(found("RF0313", 5) && found("RF0311", 6), "{findings:#?}");
}

#[test]
fn a_difference_has_a_witness_that_both_policies_confirm() {
    let folder = Folder::new();
    let old = folder.file("old.yaml", POLICY);
    let new = folder.file("new.yaml", &POLICY.replace("/secrets/*.key", "/secrets/*.pem"));
    let output = policy(&["diff", "--format", "json"], &[&old, &new]);
    assert_eq!(code(&output), 1, "they differ");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let differences = value["differences"].as_array().unwrap();
    let read = |from: &str, to: &str| {
        let is = |one: &&Value| {
            one["right"] == "read" && one["old"]["verdict"] == from && one["new"]["verdict"] == to
        };
        let found = differences.iter().find(is);
        let found = found.unwrap_or_else(|| panic!("{from} to {to}: {value:#}"));
        found["path"].as_str().unwrap().to_owned()
    };
    for (from, to) in [("deny", "allow"), ("allow", "deny")] {
        let witness = read(from, to);
        for (file, verdict) in [(&old, from), (&new, to)] {
            let output = policy(&["test", "--read", &witness], &[file]);
            assert!(text(&output).starts_with(verdict), "{witness}: {}", text(&output));
            assert_eq!(code(&output), i32::from(verdict == "deny"));
        }
    }
    let output = policy(&["diff"], &[&old, &old]);
    assert_eq!(code(&output), 0, "{}", text(&output));
}

#[test]
fn what_is_lowered_decides_alike() {
    let folder = Folder::new();
    for name in ["sec0-coder.yaml", "secai-policy.yaml", "secai-agent.yaml", "boundary-coder.yaml"]
    {
        let original = example(name);
        let output = policy(&["lower"], &[&original]);
        assert_eq!(code(&output), 0);
        let lowered = folder.file(name, &text(&output));
        let output = policy(&["diff"], &[&original, &lowered]);
        assert_eq!(code(&output), 0, "{name}: {}", text(&output));
    }
    // Two documents become a stream in one file, which intersects as they do.
    let both = [example("secai-policy.yaml"), example("secai-agent.yaml")];
    let output = policy(&["lower"], &[&both[0], &both[1]]);
    let stream = folder.file("stream.yaml", &text(&output));
    for (question, verdict) in [
        (["--read", "/srv/documents/a.pdf"], "allow"),
        (["--write", "/srv/documents/a.pdf"], "deny"),
        (["--connect", "127.0.0.1:80"], "deny"),
    ] {
        for files in [&[&*both[0], &*both[1]][..], &[&*stream]] {
            let output = policy(&["test", question[0], question[1]], files);
            assert!(text(&output).starts_with(verdict), "{question:?}: {}", text(&output));
        }
    }
}

#[test]
fn a_policy_is_explained_field_by_field_and_a_code_by_its_page() {
    let output = policy(&["explain"], &[&example("sec0-coder.yaml")]);
    assert_eq!(code(&output), 0);
    let shown = text(&output);
    for expected in ["security.fs_allowlist", "file_open", "decision service", "baseline"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let output = policy(&["explain", "--format", "json"], &[&example("secai-policy.yaml")]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let page = policy(&["explain", "rf0203"], &[]);
    assert_eq!(code(&page), 0);
    assert!(text(&page).starts_with("RF0203: "));
    assert_eq!(code(&policy(&["explain", "RF9999"], &[])), 2);
    let folder = Folder::new();
    let wrong = folder.file("wrong.yaml", "boundary: 2\n");
    assert_eq!(code(&policy(&["explain"], &[&wrong])), 1);
}

#[test]
fn every_language_has_a_schema() {
    for dialect in ["sec0", "secai", "agent", "boundary"] {
        let output = policy(&["schema", dialect], &[]);
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    assert_eq!(code(&policy(&["schema", "sec1"], &[])), 2);
}

#[test]
fn the_schema_of_each_language_is_printed_as_json() {
    for dialect in ["sec0", "secai", "agent", "boundary", "configuration"] {
        let output = policy(&["schema", dialect], &[]);
        assert_eq!(code(&output), 0, "{dialect}");
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["$id"], format!("urn:ringfence:schema:{dialect}:1"));
    }
    let output = policy(&["schema", "seco"], &[]);
    assert_eq!(code(&output), 2);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("did you mean `sec0`?"), "{message}");
}
