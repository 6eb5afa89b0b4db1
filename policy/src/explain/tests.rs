//! What is said of documents is what they do.

mod whole;

use super::*;
use crate::{Dialect, parse, testing::document as of};

/// A Sec0 policy with these lists of violations, and these fields of `security`.
fn sec0(deny_on: &str, security: &str) -> String {
    format!(
        "tenant: t
default_retention: 30d
signing: {{ enabled: false, key_ref: k }}
observability: {{ otlp_endpoint: o, sample: {{ success: 1, error: 0.5 }} }}
tools: {{ allowlist: [], deny_if_unpinned_version: false }}
privacy:
  redact_outputs: true
  store_raw_payloads: false
  artifact_retention: {{ public: 1d, pii: 1d, phi: 1d }}
side_effects: {{ require_idempotency_key: true, max_retries: 0 }}
sec0_export: {{ enabled: false, bucket_uri: b }}
enforcement:
  deny_on: [{deny_on}]
  circuit_breakers: {{ error_rate_pct: 1, p95_latency_ms: 1 }}
security:
{security}"
    )
}

const LISTS: &str = "  fs_allowlist: [/tmp/sec0-*]
  egress_allowlist: [\"a.example:443\", 10.0.0.0/8]
";

/// A SecAI policy with these tools, `runtime_egress`, and airlock.
fn secai(tools: &str, egress: &str, airlock: &str) -> String {
    format!(
        "version: 1
defaults: {{ network: {{ runtime_egress: {egress} }} }}
models: {{ allowed_formats: [gguf], deny_formats: [bin] }}
quarantine: {{}}
tools:
  default: deny
{tools}airlock: {{ {airlock}, allowed_destinations: [\"https://a.example:8443/v1\"] }}
"
    )
}

const TOOLS: &str = "  allow:
    - { name: filesystem.read, paths_allowlist: [\"/vault/in/**\"] }
    - { name: filesystem.read, paths_allowlist: [\"/x/**\"] }
    - { name: web.search }
    - { name: network.fetch }
    - { name: filesystem.delete }
  deny:
    - { name: shell.exec }
    - { name: code.run }
";

fn source(text: &str) -> Source {
    Source::new("test.yaml", text)
}

fn rows(text: &str, dialect: Dialect) -> Vec<FieldRow> {
    fields(&source(text), &of(text, dialect))
}

/// The row of a field.
fn row<'a>(rows: &'a [FieldRow], path: &str) -> &'a FieldRow {
    let found = rows.iter().find(|row| row.path == path);
    found.unwrap_or_else(|| panic!("{path}: {:?}", rows.iter().map(|row| &row.path)))
}

/// What the kernel does by a field: parts and modes.
fn acts(rows: &[FieldRow], path: &str) -> Vec<(Part, Option<Mode>)> {
    row(rows, path).acts.iter().map(|act| (act.part, act.mode)).collect()
}

fn explained(texts: &[&str]) -> Explanation {
    let name = |number: usize| format!("{}.yaml", ["a", "b", "c"][number]);
    let sources: Vec<Source> =
        texts.iter().enumerate().map(|(number, text)| Source::new(name(number), *text)).collect();
    let documents: Vec<Document> = sources
        .iter()
        .map(|source| {
            let parsed = parse(source, None);
            parsed.document.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics))
        })
        .collect();
    explain(&sources, &documents)
}

const ENFORCE: Option<Mode> = Some(Mode::Enforce);
const OBSERVE: Option<Mode> = Some(Mode::Observe);

#[test]
fn deny_on_decides_about_each_list_of_a_sec0_policy_alone() {
    for (deny_on, paths, destinations) in [
        ("", OBSERVE, OBSERVE),
        ("fs_violation", ENFORCE, OBSERVE),
        ("egress_violation", OBSERVE, ENFORCE),
        ("sast_failed, fs_violation, egress_violation", ENFORCE, ENFORCE),
    ] {
        let rows = rows(&sec0(deny_on, LISTS), Dialect::Sec0);
        let of_paths = [(Part::Files, paths), (Part::Programs, paths)];
        let of_destinations = [(Part::Destinations, destinations)];
        assert_eq!(acts(&rows, "security.fs_allowlist"), of_paths, "{deny_on}");
        assert_eq!(acts(&rows, "security.egress_allowlist"), of_destinations, "{deny_on}");
        let all = [&of_paths[..], &of_destinations].concat();
        assert_eq!(acts(&rows, "enforcement.deny_on"), all, "{deny_on}");
        let egress = row(&rows, "security.egress_allowlist");
        assert_eq!(egress.acts[0].hooks, Part::Destinations.hooks());
    }
}

#[test]
fn every_field_that_is_set_has_a_row_with_its_line_value_and_actor() {
    let text = sec0("fs_violation", LISTS);
    let rows = rows(&text, Dialect::Sec0);
    for (path, line, value, who) in [
        ("tenant", 1, "t", "recorded only"),
        ("observability.sample.error", 4, "0.5", "recorded only"),
        ("tools.allowlist", 5, "no items", "decision service"),
        ("privacy", 6, "3 keys", "see its fields"),
        ("enforcement.deny_on", 13, "1 item: fs_violation", "kernel"),
        ("security.egress_allowlist", 17, "2 items: a.example:443, 10.0.0.0/8", "kernel"),
    ] {
        let row = row(&rows, path);
        assert_eq!((row.place.line, &*row.value, row.coverage.who()), (line, value, who), "{path}");
        assert_eq!((row.count, row.has_effect), (1, true), "{path}");
        assert!(!row.meaning.is_empty() && !row.meaning.contains("Source"), "{path}");
    }
    assert!(!rows.iter().any(|row| row.path.starts_with("skills")));
    assert!(rows.is_sorted_by_key(|row| (row.place.line, row.place.column)));
}

#[test]
fn tools_act_on_what_the_kernel_knows_them_to_do_and_others_have_no_effect() {
    let rows = rows(&secai(TOOLS, "deny", "enabled: true"), Dialect::SecaiPolicy);
    let later = (Part::LaterPrograms, ENFORCE);
    assert_eq!(acts(&rows, "tools.default"), [(Part::Files, ENFORCE), later]);
    assert_eq!(acts(&rows, "tools.allow[0].name"), [(Part::Files, ENFORCE)]);
    assert_eq!(acts(&rows, "tools.allow[0].paths_allowlist"), [(Part::Files, ENFORCE)]);
    assert_eq!(acts(&rows, "tools.deny[0].name"), [later]);
    assert_eq!(row(&rows, "tools.default").left, Some("every other tool"));
    for (path, why) in [
        ("tools.allow[1].paths_allowlist", "only the first rule for `filesystem.read` counts"),
        ("tools.allow[2].name", "the kernel does not know what `web.search` does"),
        ("tools.allow[3].name", "with and without it"),
        ("tools.allow[4].name", "deleting needs `filesystem.write` too"),
        ("tools.deny[1].name", "the kernel does not know what `code.run` does"),
    ] {
        let row = row(&rows, path);
        assert!(!row.has_effect && row.acts.is_empty(), "{row:?}");
        assert!(row.remark.as_ref().unwrap().contains(why), "{row:?}");
    }
}

#[test]
fn a_tool_that_leaves_programs_free_says_so() {
    let permitted = secai("  allow: [{ name: process.spawn }]\n", "deny", "enabled: true");
    let rows_of_allowed = rows(&permitted, Dialect::SecaiPolicy);
    assert_eq!(acts(&rows_of_allowed, "tools.allow[0].name"), [(Part::Programs, None)]);
    let both = "  allow: [{ name: process.spawn }]\n  deny: [{ name: shell.exec }]\n";
    let rows = rows(&secai(both, "deny", "enabled: true"), Dialect::SecaiPolicy);
    let denied = row(&rows, "tools.deny[0].name");
    assert_eq!(
        denied.remark.as_deref(),
        Some("`process.spawn` may be called, which needs programs too")
    );
}

#[test]
fn airlock_destinations_without_effect_say_why() {
    let fetch = "  deny: [{ name: network.fetch }]\n";
    for (tools, egress, airlock, why) in [
        ("", "deny", "enabled: true", None),
        ("", "deny", "enabled: false", Some("`airlock.enabled` is not `true`")),
        ("", "allow", "enabled: true", Some("destinations are not governed by this document")),
        (fetch, "deny", "enabled: true", Some("`tools.deny` has `network.fetch`")),
    ] {
        let rows = rows(&secai(tools, egress, airlock), Dialect::SecaiPolicy);
        let row = row(&rows, "airlock.allowed_destinations");
        assert_eq!((row.has_effect, row.remark.as_deref()), (why.is_none(), why), "{airlock}");
        assert_eq!(row.acts.is_empty(), why.is_some(), "{airlock}");
    }
    let rows = rows(&secai("", "allow", "enabled: true"), Dialect::SecaiPolicy);
    assert_eq!(acts(&rows, "defaults.network.runtime_egress"), [(Part::Destinations, None)]);
}

#[test]
fn groups_have_modes_of_their_own_and_budgets_that_of_the_document() {
    let text = "\
boundary: 1
mode: observe
files: { mode: enforce, rules: [{ path: /a, allow: [read] }] }
egress: [{ cidr: 10.0.0.0/8 }]
listen: { mode: enforce, rules: [{ port: 80 }] }
budgets: { processes: 7 }
exec_after_start: allow
";
    let rows = rows(text, Dialect::Boundary);
    assert_eq!(acts(&rows, "files"), [(Part::Files, ENFORCE)]);
    assert_eq!(acts(&rows, "files.mode"), [(Part::Files, ENFORCE)]);
    assert_eq!(acts(&rows, "files.rules[0].path"), [(Part::Files, ENFORCE)]);
    assert_eq!(acts(&rows, "egress[0].cidr"), [(Part::Destinations, OBSERVE)]);
    let modes = [
        (Part::Files, ENFORCE),
        (Part::Destinations, OBSERVE),
        (Part::Serving, ENFORCE),
        (Part::Budgets, OBSERVE),
    ];
    assert_eq!(acts(&rows, "mode"), modes);
    assert_eq!(acts(&rows, "exec_after_start"), [(Part::LaterPrograms, None)]);
    for path in ["listen", "listen.mode", "listen.rules[0].port"] {
        assert_eq!(acts(&rows, path), [(Part::Serving, ENFORCE)]);
    }
    assert_eq!(acts(&rows, "budgets.processes"), [(Part::Budgets, OBSERVE)]);
}

#[test]
fn a_document_that_governs_nothing_has_fields_without_effect() {
    let rows = rows("boundary: 1\nmode: observe\nbaseline: none\n", Dialect::Boundary);
    let why = "files, programs and destinations are not governed by this document";
    assert_eq!(row(&rows, "mode").remark.as_deref(), Some(why));
    let why = "files and programs are not governed by this document";
    assert_eq!(row(&rows, "baseline").remark.as_deref(), Some(why));
}

#[test]
fn the_rules_of_a_long_list_are_put_together() {
    let rule = |number| format!("  - {{ path: /a/{number}, allow: [read] }}\n");
    let text = |count| {
        let rules: String = (0..count).map(rule).collect();
        format!("boundary: 1\nfiles:\n{rules}  - {{ path: /b, deny: [write] }}\n")
    };
    let rows = rows(&text(30_000), Dialect::Boundary);
    let paths: Vec<(&str, usize, u32, &str)> =
        rows.iter().map(|row| (&*row.path, row.count, row.place.line, &*row.value)).collect();
    assert_eq!(
        paths,
        [
            ("boundary", 1, 1, "1"),
            ("files", 1, 2, "30001 items"),
            ("files[].path", 30_001, 3, "/a/0"),
            ("files[].allow", 30_000, 3, "1 item: read"),
            ("files[].deny", 1, 30_003, "1 item: write"),
        ]
    );
    let explanation = explained(&[&text(30_000)]);
    let files = &explanation.effective.groups[0].governed_by[0];
    assert_eq!((files.rules.len(), files.more), (200, 29_801));
    assert!(explanation.text().len() < 40_000);
    assert!(explanation.text().contains("and 29801 more"));
    assert!(explanation.markdown().contains("- and 29801 more"));
}

#[test]
fn the_baseline_is_told_once_and_to_what_extent_each_document_has_it() {
    let policy = sec0("", LISTS);
    let files = "files: [{ path: /a, allow: [read] }]\n";
    let libraries = format!("boundary: 1\n{files}exec: []\n");
    let none = format!("boundary: 1\nbaseline: none\n{files}");
    let of = |texts: &[&str]| -> Option<Vec<&'static str>> {
        let baseline = explained(texts).effective.baseline?;
        assert_eq!(baseline.groups.len(), 9);
        Some(baseline.documents.iter().map(|document| document.extent).collect())
    };
    assert_eq!(
        of(&[&libraries, &policy, &none]).unwrap(),
        ["has all of it, but executes libraries only", "has all of it", "has none of it"]
    );
    assert_eq!(of(&[&libraries]).unwrap(), ["has all of it"]);
    assert_eq!(of(&[&none]), None);
    assert_eq!(of(&["boundary: 1\negress: []\n"]), None);
}

#[test]
fn what_the_baseline_is_measured_with_is_told_in_every_form() {
    let explanation = explained(&["boundary: 1\nfiles: [{ path: /a, allow: [read] }]\n"]);
    let sentence = "nothing is refused to git, python3, ";
    assert!(explanation.text().replace("\n    ", " ").contains(sentence), "{}", explanation.text());
    assert!(explanation.markdown().contains(sentence));
    let json = serde_json::to_value(&explanation).unwrap();
    let told = &json["effective"]["baseline"]["measured_with"];
    assert_eq!(told, &serde_json::json!(crate::baseline::MEASURED_WITH));
}

#[test]
fn hostile_text_acts_neither_on_a_terminal_nor_in_markdown() {
    let text = "\
boundary: 1
files:
  - { path: \"/a\\e[31m`|<b>\\u202e\\u0085[x](y)\", allow: [read] }
";
    let explanation = explained(&[text]);
    let shown = explanation.text();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    assert!(!shown.contains('\u{202e}'));
    let markdown = explanation.markdown();
    assert!(!markdown.chars().any(|c| c.is_control() && c != '\n'), "{markdown:?}");
    let in_code = "``/a\u{fffd}[31m`|<b>\u{fffd}\u{fffd}[x](y)``";
    assert!(markdown.contains(&in_code.replace('|', "\\|")), "{markdown}");
    assert!(markdown.contains(&format!("``allow read: {}", &in_code[2..])), "{markdown}");
    let tool = secai("  allow: [{ name: \"<b>|*x*`\" }]\n", "deny", "enabled: true");
    let markdown = explained(&[&tool]).markdown();
    let escaped = r"does not know what \`\<b\>\|\*x\*\`\` does";
    assert!(markdown.contains(escaped), "{markdown}");
}

#[test]
fn every_row_of_a_markdown_table_has_its_columns() {
    let text = secai(TOOLS, "allow", "enabled: true");
    let markdown = explained(&[&text, &sec0("", LISTS)]).markdown();
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 40);
    for row in rows {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
    }
}

#[test]
fn as_json_an_explanation_has_stable_keys() {
    let json = serde_json::to_value(explained(&[&sec0("fs_violation", LISTS)])).unwrap();
    let document = &json["documents"][0];
    assert_eq!(
        (&document["file"], &document["language"]),
        (&"a.yaml".into(), &"Sec0 policy".into())
    );
    let fields = document["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["path"] == "security.egress_allowlist").unwrap();
    let expected = serde_json::json!({
        "path": "security.egress_allowlist",
        "place": { "file": "a.yaml", "line": 17, "column": 3 },
        "count": 1,
        "value": "2 items: a.example:443, 10.0.0.0/8",
        "who": "kernel",
        "acts": [{
            "part": "destinations",
            "mode": "observe",
            "hooks": Part::Destinations.hooks(),
        }],
        "left": null,
        "has_effect": true,
        "remark": null,
        "meaning": "The only destinations: hosts, in which `*` stands for any characters, \
                    addresses and networks, each with `:port` or without",
    });
    assert_eq!(*field, expected);
    let groups = json["effective"]["groups"].as_array().unwrap();
    let parts: Vec<&str> = groups.iter().map(|group| group["part"].as_str().unwrap()).collect();
    let expected = ["files", "programs", "later_programs", "anonymous_code", "destinations"];
    assert_eq!(parts, [&expected[..], &["serving", "unix_sockets", "budgets"]].concat());
    assert_eq!(groups[0]["governed_by"][0]["mode"], "enforce");
    assert_eq!(groups[2]["free"], "a program may be executed after the first");
    assert_eq!(groups[3]["free"], "anonymous memory may become executable");
    assert_eq!(json["effective"]["baseline"]["groups"][0]["rights"], "read, execute");
    assert_eq!(json["effective"]["always_mode"], "enforce");
}
