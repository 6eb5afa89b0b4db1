//! Boundary documents: what they mean, and what is wrong with them.

use ringfence_common::budget::Kind;

use crate::{
    Dialect,
    boundary::{Baseline, Effect, Mode, Rights},
    diagnostic::code,
    testing::{document, egress_rules, error, findings, path_rules, warnings},
};
use ringfence_common::Right;

const FILES: &str = "files: [{ path: /a, allow: [read] }]\n";

#[test]
fn every_group_becomes_rules() {
    let text = "\
boundary: 1
mode: enforce
files:
  - { path: \"/srv/work/**\", allow: [read, write] }
  - { path: /srv/work/.git, deny: [create, delete], allow: [metadata] }
exec:
  - { path: /usr/bin/*, allow: true }
  - { path: /usr/bin/su, allow: false }
egress:
  - { host: API.example.com, ports: [443, \"8000-8100\"], protocol: tcp }
  - { cidr: 10.0.0.0/8 }
  - { cidr: 10.1.2.3, deny: true, protocol: udp }
";
    assert_eq!(warnings(text), [""; 0]);
    let document = document(text, Dialect::Boundary);
    let create_delete = Right::Create.bit() | Right::Delete.bit();
    assert_eq!(
        path_rules(&document),
        [
            (Effect::Allow, Rights::FILES.0, "/srv/work/**", 4),
            (Effect::Allow, Right::Metadata.bit(), "/srv/work/.git", 5),
            (Effect::Deny, create_delete, "/srv/work/.git", 5),
            (Effect::Allow, Rights::EXEC.0, "/usr/bin/*", 7),
            (Effect::Deny, Rights::EXEC.0, "/usr/bin/su", 8),
        ]
    );
    let groups = &document.boundary.path_groups;
    let groups: Vec<(u32, u32, bool)> =
        groups.iter().map(|group| (group.rights.0, group.place.line, group.is_rule)).collect();
    assert_eq!(groups, [(Rights::FILES.0, 3, false), (Rights::EXEC.0, 6, false)]);
    assert_eq!(
        egress_rules(&document),
        [
            "Allow api.example.com [443..=443, 8000..=8100] Some(Tcp)",
            "Allow 10.0.0.0/8 [] None",
            "Deny 10.1.2.3/32 [] Some(Udp)",
        ]
    );
    assert!(document.unenforced().is_empty());
}

#[test]
fn a_group_may_have_a_mode_of_its_own() {
    let text = "\
boundary: 1
mode: observe
baseline: none
files: { mode: enforce, rules: [{ path: /a, allow: [read] }] }
exec: { rules: [{ path: /b, allow: true }] }
egress: []
";
    let boundary = document(text, Dialect::Boundary).boundary;
    assert_eq!(boundary.path_groups[0].mode, Mode::Enforce);
    assert_eq!(boundary.path_groups[1].mode, Mode::Observe);
    assert_eq!(boundary.egress.as_ref().unwrap().mode, Mode::Observe);
    assert_eq!(boundary.baseline, Baseline::None);
    let enforced = boundary.with_mode(Mode::Enforce);
    assert!(enforced.path_groups.iter().all(|group| group.mode == Mode::Enforce));
    assert_eq!(enforced.egress.unwrap().mode, Mode::Enforce);
}

#[test]
fn all_that_can_be_said_is_enforced() {
    let text = format!(
        "boundary: 1\n{FILES}exec: []\negress: []\nlisten: [{{ port: 8080, protocol: tcp }}]\n\
         sockets: [{{ path: /run/x }}]\nbudgets: {{ wall_clock: 10m, files_touched: 20, \
         output_bytes: 1MiB, connections: 1, processes: 2, sent_bytes: 3KiB }}\n"
    );
    assert!(!warnings(&text).contains(&code::NOT_ENFORCED));
    let document = document(&text, Dialect::Boundary);
    assert!(document.unenforced().is_empty());
    let budgets = &document.boundary.budgets;
    let amounts = Kind::ALL.map(|kind| budgets.of(kind));
    assert_eq!(amounts, [600_000, 20, 1 << 20, 1, 2, 3 << 10].map(Some));
    assert!(budgets.limits.iter().all(|budget| budget.place.line == 7));
    let empty = format!("boundary: 1\n{FILES}listen: []\nsockets: []\nbudgets: {{}}\n");
    let surprising = warnings(&empty).iter().filter(|found| **found == code::SURPRISING).count();
    assert_eq!(surprising, 1, "datagrams are told from answers by `egress`");
    assert!(crate::testing::document(&empty, Dialect::Boundary).unenforced().is_empty());
    let text = "boundary: 1\negress: [{ host: '*.c', deny: true }, { host: a.c, deny: true }]\n";
    let told = warnings(text);
    assert!(told.contains(&code::DENIED_PATTERN), "the names of a pattern have no addresses");
    assert!(!told.contains(&code::NOT_ENFORCED));
}

#[test]
fn a_rule_that_allows_a_host_may_do_without_the_servers_name() {
    let check = |rule: &str| {
        let text = format!("boundary: 1\negress: [{{ {rule} }}]\n");
        let document = document(&text, Dialect::Boundary);
        let rules = &document.boundary.egress.as_ref().unwrap().rules;
        let lowered = crate::lower::text(std::slice::from_ref(&document));
        let checks: Vec<bool> = rules.iter().map(|rule| rule.tls_name_check).collect();
        assert_eq!(lowered.contains("tls_name_check: off"), checks.contains(&false), "{lowered}");
        (checks, warnings(&text).contains(&code::SURPRISING))
    };
    for (rule, checks, is_surprising) in [
        ("host: a.example", vec![true], false),
        ("host: a.example, tls_name_check: on", vec![true], false),
        ("host: a.example, tls_name_check: off", vec![false], false),
        // An address has no name, and what is denied needs none.
        ("host: a.example, deny: true, tls_name_check: off", vec![true], true),
        ("cidr: 192.0.2.1, tls_name_check: off", vec![true], true),
        ("host: '*', tls_name_check: off", vec![true, true], false),
    ] {
        assert_eq!(check(rule), (checks, is_surprising), "{rule}");
    }
    let text = "boundary: 1\negress: [{ host: a.example, tls_name_check: false }]\n";
    assert_eq!(error(text).0, code::WRONG_TYPE);
}

#[test]
fn a_folder_that_is_denied_and_open_below_is_said() {
    for (rules, is_said) in [
        ("{ path: /srv/**, allow: [read] }, { path: /srv/secret, deny: [read] }", true),
        (
            "{ path: /srv/**, allow: [read] }, { path: /srv/secret, deny: [read] }, \
             { path: /srv/secret/**, deny: [read] }",
            false,
        ),
        ("{ path: /srv/**, allow: [read] }, { path: /srv/.ssh, deny: [read] }", true),
        ("{ path: /srv/a/**, allow: [read] }, { path: /srv/a, deny: [read] }", true),
        ("{ path: /srv/**, allow: [read] }, { path: /srv/key.pem, deny: [read] }", false),
        ("{ path: /srv/**, allow: [read] }, { path: /srv/Makefile, deny: [write] }", false),
        ("{ path: /srv/a, allow: [read] }, { path: /srv/secret, deny: [read] }", false),
    ] {
        let text = format!("boundary: 1\nfiles: [{rules}]\n");
        assert_eq!(warnings(&text).contains(&code::SURPRISING), is_said, "{rules}");
    }
    let text = "boundary: 1\negress: [{ cidr: 64:ff9b::/32, deny: true }]\n";
    assert!(warnings(text).contains(&code::SURPRISING), "IPv4 in another form");
}

#[test]
fn groups_that_are_absent_or_empty_are_said() {
    assert_eq!(findings("boundary: 1\n"), [(code::NOTHING_ENFORCED, 1, 1)]);
    assert_eq!(
        warnings(&format!("boundary: 1\n{FILES}")),
        [code::NOT_GOVERNED, code::NOT_GOVERNED]
    );
    let text = "boundary: 1\nfiles: []\nexec: []\negress: []\n";
    assert_eq!(warnings(text), [code::EMPTY_ALLOWLIST; 3]);
    let text =
        "boundary: 1\nfiles: [{ path: /**, allow: [read] }]\nexec: []\negress: [{ host: '*' }]\n";
    let everything =
        warnings(text).iter().filter(|found| **found == code::ALLOWS_EVERYTHING).count();
    assert_eq!(everything, 2);
}

#[test]
fn what_cannot_be_meant_is_an_error_at_its_place() {
    for (group, code, column, help) in [
        // Paths.
        ("files: [{ path: work/x, allow: [read] }]", code::RELATIVE_PATH, 17, "/srv/work/work/x"),
        ("files: [{ path: ./x, allow: [read] }]", code::RELATIVE_PATH, 17, "from the root on"),
        ("files: [{ path: ~/x, allow: [read] }]", code::RELATIVE_PATH, 17, "`/home/NAME/x`"),
        ("files: [{ path: '**', allow: [read] }]", code::RELATIVE_PATH, 17, "from the root on"),
        ("files: [{ path: '', allow: [read] }]", code::RELATIVE_PATH, 17, "absolute"),
        ("files: [{ path: 'C:\\x', allow: [read] }]", code::RELATIVE_PATH, 17, "as Linux has it"),
        ("files: [{ path: '\\\\h\\x', allow: [read] }]", code::RELATIVE_PATH, 17, "as Linux"),
        ("files: [{ path: /a/, allow: [read] }]", code::ABNORMAL_PATH, 17, "`/a/**` for all"),
        ("files: [{ path: /a//b, allow: [read] }]", code::ABNORMAL_PATH, 17, "`/a/b`"),
        ("files: [{ path: /a/./b, allow: [read] }]", code::ABNORMAL_PATH, 17, "`/a/b`"),
        ("files: [{ path: /a/../b, allow: [read] }]", code::ABNORMAL_PATH, 17, "`/b`"),
        ("files: [{ path: '/[a', allow: [read] }]", code::BAD_GLOB, 19, "close it with `]`"),
        ("files: [{ path: '/{a', allow: [read] }]", code::BAD_GLOB, 19, "close it with `}`"),
        ("files: [{ path: '/a}', allow: [read] }]", code::BAD_GLOB, 20, "open it with `{`"),
        ("files: [{ path: '/[b-a]', allow: [read] }]", code::BAD_GLOB, 20, "smaller"),
        ("files: [{ path: '/a\\', allow: [read] }]", code::BAD_GLOB, 20, "`\\\\`"),
        ("files: [{ path: '/work**', allow: [read] }]", code::BAD_GLOB, 23, "inside a component"),
        // Rights.
        ("files: [{ path: /a }]", code::MISSING_KEY, 17, "`allow: [read]`"),
        ("files: [{ path: /a, allow: [] }]", code::OUT_OF_RANGE, 28, ""),
        ("files: [{ path: /a, allow: [exec] }]", code::UNKNOWN_VALUE, 29, "group of its own"),
        ("files: [{ path: /a, allow: [raed] }]", code::UNKNOWN_VALUE, 29, "did you mean `read`?"),
        ("files: [{ path: /a, allow: read }]", code::WRONG_TYPE, 28, "[\"read\"]"),
        ("files: [{ allow: [read] }]", code::MISSING_KEY, 9, "`path: /srv/work/**`"),
        ("files: { mode: enforce }", code::MISSING_KEY, 1, "`rules: …`"),
        ("files: { mode: enfroce, rules: [] }", code::UNKNOWN_VALUE, 16, "`enforce`"),
        ("exec: [{ path: /a, allow: [exec] }]", code::WRONG_TYPE, 27, ""),
        ("exec: [{ path: /a }]", code::MISSING_KEY, 8, "`allow: true`"),
        // Destinations.
        ("egress: [{ ports: [1] }]", code::CONFLICT, 10, "add `host"),
        ("egress: [{ host: a.example, cidr: ::/0 }]", code::CONFLICT, 10, "two rules"),
        ("egress: [{ host: 10.0.0.1 }]", code::BAD_HOST, 18, "`cidr: 10.0.0.1/32`"),
        ("egress: [{ host: '10.0.0.0/8' }]", code::BAD_HOST, 18, "`cidr: 10.0.0.0/8`"),
        ("egress: [{ host: 'a.example:443' }]", code::BAD_HOST, 28, "give it in `ports`"),
        ("egress: [{ host: 'https://a.example' }]", code::URL_FOR_HOST, 18, "a.example"),
        ("egress: [{ cidr: 10.0.0.1/8 }]", code::BAD_NETWORK, 18, "`10.0.0.0/8`"),
        ("egress: [{ cidr: a.example }]", code::BAD_NETWORK, 18, "an address is"),
        ("egress: [{ host: a.example, ports: [] }]", code::BAD_PORT, 36, "leave `ports` out"),
        ("egress: [{ host: a.example, ports: 443 }]", code::WRONG_TYPE, 36, "[443]"),
        ("egress: [{ host: a.example, ports: [0] }]", code::BAD_PORT, 37, "from 1 to 65535"),
        ("egress: [{ host: a.example, ports: [65536] }]", code::BAD_PORT, 37, ""),
        ("egress: [{ host: a.example, ports: [9-1] }]", code::BAD_PORT, 37, ""),
        ("egress: [{ host: a.example, ports: [https] }]", code::BAD_PORT, 37, ""),
        ("egress: [{ host: a.example, protocol: sctp }]", code::UNKNOWN_VALUE, 39, "`tcp`"),
        // The rest.
        ("listen: [{ port: 0 }]", code::OUT_OF_RANGE, 18, ""),
        ("sockets: [{ path: run/x }]", code::RELATIVE_PATH, 19, ""),
        ("budgets: { wall_clock: 600 }", code::BAD_AMOUNT, 24, "`600s`"),
        ("budgets: { wall_clock: ten }", code::BAD_AMOUNT, 24, "`10m`"),
        ("budgets: { output_bytes: 1MB }", code::BAD_AMOUNT, 26, "`1MiB`"),
        ("budgets: { files_touched: -1 }", code::OUT_OF_RANGE, 27, ""),
        ("budgets: { wallclock: 1s }", code::UNKNOWN_KEY, 12, "`wall_clock`"),
        ("mode: enforced", code::UNKNOWN_VALUE, 7, "did you mean `enforce`?"),
        ("baseline: sytem", code::UNKNOWN_VALUE, 11, "did you mean `system`?"),
        ("exek: []", code::UNKNOWN_KEY, 1, "did you mean `exec`?"),
    ] {
        let found = error(&format!("boundary: 1\n{group}\n"));
        assert_eq!((found.0, found.1, found.2), (code, 2, column), "{group}: {found:?}");
        assert!(found.3.contains(help), "{group}: {found:?}");
    }
}

#[test]
fn all_findings_of_a_document_come_at_once_and_in_its_order() {
    let text = "\
boundary: 2
files:
  - { path: relative, allow: [raed] }
  - { pth: /a, allow: [read] }
egress:
  - { cidr: 10.0.0.1/8, ports: [0] }
surprise: true
";
    let found = findings(text);
    let errors: Vec<_> = found.iter().filter(|(code, ..)| !code.starts_with("RF03")).collect();
    assert_eq!(
        errors,
        [
            &(code::OUT_OF_RANGE, 1, 11),
            &(code::RELATIVE_PATH, 3, 13),
            &(code::UNKNOWN_VALUE, 3, 31),
            &(code::UNKNOWN_KEY, 4, 7),
            &(code::BAD_NETWORK, 6, 13),
            &(code::BAD_PORT, 6, 33),
            &(code::UNKNOWN_KEY, 7, 1),
        ]
    );
}

const DIGEST: &str = "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95";

#[test]
fn a_rule_with_a_digest_is_about_one_file_that_may_be_executed() {
    let exec = |rules: &str| format!("boundary: 1\nexec:\n{rules}");
    let rule = format!("  - {{ path: /a, allow: true, sha256: \"{}\" }}\n", DIGEST.to_uppercase());
    let document = document(&exec(&rule), Dialect::Boundary);
    let content = document.boundary.path_rules[0].content.unwrap();
    assert_eq!(content.to_string(), format!("SHA-256 {DIGEST}"));
    for (rules, expected) in [
        (format!("  - {{ path: /a*, allow: true, sha256: {DIGEST} }}\n"), code::CONFLICT),
        (
            format!("  - {{ path: /a, syntax: prefix, allow: true, sha256: {DIGEST} }}\n"),
            code::CONFLICT,
        ),
        (format!("  - {{ path: /a, allow: false, sha256: {DIGEST} }}\n"), code::CONFLICT),
        (format!("  - {{ path: /a, allow: true, sha256: {DIGEST}0 }}\n"), code::BAD_DIGEST),
        ("  - { path: /a, allow: true, sha256: \"\" }\n".to_owned(), code::BAD_DIGEST),
        (format!("  - {{ path: /a, allow: true, fsverity: {DIGEST} }}\n"), code::BAD_DIGEST),
    ] {
        assert_eq!(error(&exec(&rules)).0, expected, "{rules}");
    }
}

#[test]
fn who_looks_for_anonymous_code_inside_of_exec_is_told_where_it_is() {
    for text in
        ["boundary: 1\nexec: { anonymous: deny, rules: [] }\n", "boundary: 1\nanonymous: deny\n"]
    {
        let (code, _, _, help) = error(text);
        assert_eq!(code, code::UNKNOWN_KEY);
        assert_eq!(help, "write `exec_anonymous: deny` beside `exec`");
    }
}
