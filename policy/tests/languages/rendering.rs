//! Findings as people and programs see them.

use ringfence_policy::{Dialect, Source, parse};

fn rendered(name: &str, text: &str) -> String {
    let parsed = parse(&Source::new(name, text), None);
    let findings: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    findings.join("\n\n")
}

#[test]
fn findings_name_the_place_show_the_line_and_say_what_to_write() {
    let text = "\
boundary: 1
files:
  - { path: \"/srv/work/[a\", allow: [read, exec] }
exec: []
egress:
  - { host: \"https://api.example.com/v1\" }
  - { cidr: 10.1.2.3/8 }
";
    let expected = "\
error[RF0203]: this `[` is never closed
 --> coder.yaml:3:24
  |
3 |   - { path: \"/srv/work/[a\", allow: [read, exec] }
  |                        ^
  |
  = help: close it with `]`, or write `\\[` for the character itself

error[RF0104]: `exec` is no right over files
 --> coder.yaml:3:43
  |
3 |   - { path: \"/srv/work/[a\", allow: [read, exec] }
  |                                           ^^^^
  |
  = help: execution has a group of its own: `exec: [{ path: …, allow: true }]`

warning[RF0302]: `exec` is empty: nothing is allowed
 --> coder.yaml:4:1
  |
4 | exec: []
  | ^^^^
  |
  = help: this is stricter than leaving the key out, which governs nothing

error[RF0210]: `https://api.example.com/v1` is a URL, and the kernel knows hosts only
 --> coder.yaml:6:13
  |
6 |   - { host: \"https://api.example.com/v1\" }
  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `api.example.com`, with `ports: [443]`

error[RF0212]: the address in `10.1.2.3/8` has bits set beyond its prefix
 --> coder.yaml:7:13
  |
7 |   - { cidr: 10.1.2.3/8 }
  |             ^^^^^^^^^^
  |
  = help: the network is `10.0.0.0/8`; the one address is `10.1.2.3/32`";
    assert_eq!(rendered("coder.yaml", text), expected);
}

#[test]
fn a_document_in_no_known_language_is_told_which_there_are() {
    let shown = rendered("compose.yaml", "services:\n  web: {}\nversion: 3\n");
    assert!(shown.starts_with("error[RF0020]: no policy language has these keys: `services`, …"));
    for name in ["`tenant`", "`defaults`", "`workspace`", "`boundary: 1`", "`--dialect`"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
}

#[test]
fn what_is_no_policy_is_marked_at_its_first_key() {
    let shown = rendered("a.yaml", "# none\n{\n  services: {}\n}\n");
    assert!(shown.contains("--> a.yaml:3:3\n"), "{shown}");
    assert!(shown.contains("  services: {}\n  |   ^^^^^^^^\n"), "{shown}");
}

#[test]
fn a_second_document_is_marked_where_it_begins() {
    for (text, marked) in [
        ("boundary: 1\n---\na: 1\n", "2 | ---\n  | ^^^\n"),
        ("boundary: 1\n...\na\n", "3 | a\n  | ^\n"),
    ] {
        let shown = rendered("a.yaml", text);
        assert!(shown.contains("RF0006") && shown.contains(marked), "{shown}");
    }
}

#[test]
fn a_dialect_can_be_forced_and_is_then_held_to() {
    let source = Source::new("a.yaml", "services: {}\n");
    let parsed = parse(&source, Some("sec0".parse::<Dialect>().unwrap()));
    let message = &parsed.diagnostics[0].message;
    assert!(message.contains("needs the key") || message.contains("unknown key"), "{message}");
    assert_eq!("seco".parse::<Dialect>(), Err("no such dialect; did you mean `sec0`?".into()));
}

#[test]
fn as_json_a_finding_is_one_object_with_all_it_knows() {
    let parsed = parse(&Source::new("a.yaml", "boundary: 1\nmode: enfroce\n"), None);
    let json = serde_json::to_value(&parsed.diagnostics[0]).unwrap();
    let expected = serde_json::json!({
        "severity": "error",
        "code": "RF0104",
        "message": "`mode` cannot be `enfroce`",
        "file": "a.yaml",
        "line": 2,
        "column": 7,
        "length": 7,
        "help": "did you mean `enforce`?",
        "source": "mode: enfroce",
    });
    assert_eq!(json, expected);
}
