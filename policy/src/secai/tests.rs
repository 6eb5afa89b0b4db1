//! Valid and invalid SecAI policies, and what the valid ones mean.

use crate::{
    Dialect,
    boundary::{Effect, Mode, Rights},
    diagnostic::code,
    testing::{document, egress_rules, error, errors, path_rules, warnings},
};
use ringfence_common::Right;

const READ: u32 = Rights::READ.0;
const DELETE: u32 = Right::Delete.bit();
const WRITE: u32 = Rights::WRITE.0 & !DELETE;

/// Lines 1 to 4: what every policy must have, but the tools.
const START: &str = "\
version: 1
defaults: { network: { runtime_egress: deny } }
models: { allowed_formats: [gguf], deny_formats: [bin] }
quarantine: { stages: { static_scan: true } }
";

fn policy(tools: &str, rest: &str) -> String {
    format!("{START}tools:\n{tools}{rest}")
}

#[test]
fn the_usual_policy_reads_writes_and_lists_and_does_nothing_else() {
    let tools = "  default: deny
  allow:
    - name: filesystem.read
      paths_allowlist: [\"/vault/in/**\"]
      paths_denylist: [/vault/in/private, \"/etc/app/**\"]
    - name: filesystem.write
      paths_allowlist: [\"/vault/out/**\"]
      paths_denylist: [\"/vault/out/../**\"]
    - name: filesystem.list
      paths_allowlist: [\"/vault/in/**\", /vault/out/]
  deny: [{ name: shell.exec }, { name: network.fetch }, { name: process.spawn }, \
                 { name: filesystem.delete }]
";
    let text = policy(
        tools,
        "airlock: { enabled: false, allowed_destinations: ['https://a.example/'] }\n",
    );
    assert_eq!(warnings(&text), [code::NEVER_MATCHES], "the entry with `..`");
    let document = document(&text, Dialect::SecaiPolicy);
    assert_eq!(
        path_rules(&document),
        [
            (Effect::Allow, READ, "/vault/in/**", 9),
            (Effect::Deny, READ, "/vault/in/private", 10),
            (Effect::Deny, READ, "/etc/app/**", 10),
            (Effect::Allow, READ, "/vault/in/**", 15),
            (Effect::Allow, READ, "/vault/out", 15),
            (Effect::Allow, WRITE, "/vault/out/**", 12),
        ]
    );
    let boundary = &document.boundary;
    assert_eq!(boundary.path_groups.len(), 1);
    assert_eq!(boundary.path_groups[0].mode, Mode::Enforce);
    assert_eq!(boundary.path_groups[0].rights, Rights::FILES);
    let (mode, place) = boundary.no_exec_after_start.clone().unwrap();
    assert_eq!((mode, place.line, place.column), (Mode::Enforce, 16, 10));
    let egress = boundary.egress.as_ref().unwrap();
    assert_eq!((egress.mode, egress.place.line, egress.rules.len()), (Mode::Enforce, 2, 0));
}

#[test]
fn tools_that_nobody_lists_follow_the_default() {
    let allowed = document(&policy("  default: allow\n", ""), Dialect::SecaiPolicy);
    let everything = "/**";
    assert_eq!(
        path_rules(&allowed),
        [
            (Effect::Allow, READ, everything, 5),
            (Effect::Allow, READ, everything, 5),
            (Effect::Allow, WRITE, everything, 5),
            (Effect::Allow, DELETE, everything, 5),
        ]
    );
    assert_eq!(allowed.boundary.no_exec_after_start, None);
    let denied = document(&policy("  default: deny\n", ""), Dialect::SecaiPolicy);
    assert_eq!(path_rules(&denied), []);
    let (_, place) = denied.boundary.no_exec_after_start.unwrap();
    assert_eq!(place.line, 5, "the section, since no entry denies them");
}

#[test]
fn programs_may_be_started_when_either_tool_that_starts_them_is_permitted() {
    for (tools, may_start) in [
        ("  default: allow\n  deny: [{ name: shell.exec }]\n", true),
        ("  default: allow\n  deny: [{ name: shell.exec }, { name: process.spawn }]\n", false),
        ("  default: deny\n  allow: [{ name: process.spawn }]\n", true),
        (
            "  default: deny\n  allow: [{ name: shell.exec }]\n  deny: [{ name: shell.exec }]\n",
            false,
        ),
    ] {
        let document = document(&policy(tools, ""), Dialect::SecaiPolicy);
        assert_eq!(document.boundary.no_exec_after_start.is_none(), may_start, "{tools}");
    }
}

#[test]
fn deleting_needs_the_tool_and_a_place_that_is_writable() {
    let deletable = |delete: &str| {
        let tools = format!(
            "  default: deny\n  allow:\n    - {{ name: filesystem.write, paths_allowlist: \
             [\"/w/a/**\", \"/w/b\"] }}\n{delete}"
        );
        let document = document(&policy(&tools, ""), Dialect::SecaiPolicy);
        let rules = path_rules(&document).into_iter();
        rules
            .filter(|(_, rights, ..)| *rights == DELETE)
            .map(|(effect, _, pattern, _)| format!("{effect:?} {pattern}"))
            .collect::<Vec<_>>()
    };
    assert!(deletable("").is_empty());
    assert_eq!(deletable("    - name: filesystem.delete\n"), ["Allow /w/a/**", "Allow /w/b"]);
    assert_eq!(
        deletable("    - { name: filesystem.delete, paths_allowlist: [\"/w/**\", /etc] }\n"),
        ["Allow /w/a/**", "Allow /w/b"]
    );
    assert_eq!(
        deletable(
            "    - { name: filesystem.delete, paths_allowlist: [/w/a/x], paths_denylist: [/w/a/x/y] }\n"
        ),
        ["Allow /w/a/x", "Deny /w/a/x/y"]
    );
    let denied = "    - name: filesystem.delete\n  deny: [{ name: filesystem.delete }]\n";
    assert!(deletable(denied).is_empty());
}

#[test]
fn only_the_first_rule_for_a_tool_counts() {
    let tools = "  default: deny\n  allow:
    - { name: filesystem.read, paths_allowlist: [/a] }
    - { name: filesystem.read, paths_allowlist: [/b] }\n";
    let text = policy(tools, "");
    assert_eq!(warnings(&text), [code::NEVER_MATCHES]);
    assert_eq!(
        path_rules(&document(&text, Dialect::SecaiPolicy)),
        [(Effect::Allow, READ, "/a", 8)]
    );
}

#[test]
fn a_star_that_means_itself_is_said() {
    for (path, expected) in [("/a/**", 0), ("/a/*", 1), ("/a/*/**", 1), ("/a/[b]", 1)] {
        let tools = format!(
            "  default: deny\n  allow: [{{ name: filesystem.read, paths_denylist: ['{path}'] }}]\n"
        );
        let warnings = warnings(&policy(&tools, ""));
        let said = warnings.iter().filter(|found| **found == code::SURPRISING).count();
        assert_eq!(said, expected, "{path}");
    }
}

#[test]
fn egress_is_the_airlocks_destinations_unless_it_is_off_or_fetching_is_denied() {
    let on = "airlock: { enabled: true, allowed_destinations: ['https://A.example/x', \
              'https://b.example:8443/', 'https://192.0.2.7/'] }\n";
    let off = on.replace("true", "false");
    let all = [
        "Allow a.example [443..=443] Some(Tcp)",
        "Allow b.example [8443..=8443] Some(Tcp)",
        "Allow 192.0.2.7/32 [443..=443] Some(Tcp)",
    ];
    let none: [&str; 0] = [];
    let fetch = "  default: deny\n  allow: [{ name: network.fetch }]\n";
    let silent = "  default: deny\n";
    let denied = "  default: deny\n  deny: [{ name: network.fetch }]\n";
    for (tools, airlock, expected) in [
        (fetch, on, &all[..]),
        (silent, on, &all[..]),
        (denied, on, &none[..]),
        (fetch, &off, &none[..]),
        (fetch, "", &none[..]),
        (fetch, "airlock: { allowed_destinations: ['https://a.example/'] }\n", &none[..]),
    ] {
        let document = document(&policy(tools, airlock), Dialect::SecaiPolicy);
        assert!(document.boundary.egress.is_some());
        assert_eq!(egress_rules(&document), expected, "{tools}{airlock}");
    }
    assert!(warnings(&policy(silent, on)).contains(&code::SURPRISING));
    assert!(warnings(&policy(denied, on)).contains(&code::SURPRISING));
}

#[test]
fn egress_that_is_allowed_by_default_is_free_unless_fetching_is_denied() {
    let free = |tools| policy(tools, "").replace("runtime_egress: deny", "runtime_egress: allow");
    let boundary = document(&free("  default: deny\n"), Dialect::SecaiPolicy).boundary;
    assert_eq!(boundary.egress, None);
    let denied = free("  default: deny\n  deny: [{ name: network.fetch }]\n");
    let egress = document(&denied, Dialect::SecaiPolicy).boundary.egress.unwrap();
    assert_eq!((egress.place.line, egress.rules.len()), (7, 0));
}

#[test]
fn destinations_that_the_airlock_never_allows_are_left_out() {
    for url in [
        "http://a.example/",
        "https://user@a.example/",
        "https://a.example/#x",
        "https://10.0.0.1/",
        "https://127.0.0.1:8080/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://*.example/",
    ] {
        let airlock = format!("airlock: {{ enabled: true, allowed_destinations: ['{url}'] }}\n");
        let text = policy("  default: allow\n", &airlock);
        assert!(warnings(&text).contains(&code::NEVER_MATCHES), "{url}");
        let none: [&str; 0] = [];
        assert_eq!(egress_rules(&document(&text, Dialect::SecaiPolicy)), none, "{url}");
    }
    let text = policy(
        "  default: allow\n",
        "airlock: { enabled: true, allowed_destinations: [a.example] }\n",
    );
    let found = error(&text);
    assert_eq!((found.0, found.1, found.2), (code::BAD_HOST, 7, 50));
    assert_eq!(found.3, "write `https://a.example/`");
}

#[test]
fn what_the_schema_does_not_have_is_an_error_at_its_place() {
    for (tools, rest, code, line, column, help) in [
        ("  defualt: deny\n", "", code::UNKNOWN_KEY, 6, 3, "did you mean `default`?"),
        ("  default: ask\n", "", code::UNKNOWN_VALUE, 6, 12, "`deny` and `allow`"),
        ("  default: deny\n  allow: [{}]\n", "", code::MISSING_KEY, 7, 11, "`name: …`"),
        ("  default: deny\n  deny: [shell.exec]\n", "", code::WRONG_TYPE, 7, 10, ""),
        (
            "  default: deny\n  deny: [{ name: a, paths_allowlist: [] }]\n",
            "",
            code::UNKNOWN_KEY,
            7,
            21,
            "belongs in `tools.allow`",
        ),
        ("  default: deny\n", "serach: {}\n", code::UNKNOWN_KEY, 7, 1, "did you mean `search`?"),
        ("  default: deny\n", "paths_allowlist: []\n", code::UNKNOWN_KEY, 7, 1, "`tools.allow`"),
        ("  default: deny\n", "airlock: { max_body_size: 1.5 }\n", code::WRONG_TYPE, 7, 27, ""),
        ("  default: deny\n", "airlock: { max_body_size: -1 }\n", code::OUT_OF_RANGE, 7, 27, ""),
        (
            "  default: deny\n",
            "airlock: { allowed_methods: [get] }\n",
            code::UNKNOWN_VALUE,
            7,
            30,
            "",
        ),
    ] {
        let errors = errors(&policy(tools, rest));
        let first = errors.first().unwrap();
        assert_eq!(
            (first.code, first.place.line, first.place.column),
            (code, line, column),
            "{tools}{rest}"
        );
        assert!(first.help.clone().unwrap_or_default().contains(help), "{first}");
    }
}

#[test]
fn a_later_version_of_the_language_is_refused_by_name() {
    let tools = "  default: deny\n  allow: [{ name: a, args: [{ name: x, type: string }] }]\n";
    assert_eq!(error(&policy(tools, "")).0, code::UNSUPPORTED_VERSION);
    // What the first version allows is never taken for a later one.
    for quarantine in ["{}", "{ smoke_test_max_critical: 0 }"] {
        let text = policy("  default: deny\n", "")
            .replace("{ stages: { static_scan: true } }", quarantine)
            .replace("version: 1", "version: 2");
        document(&text, Dialect::SecaiPolicy);
    }
}
