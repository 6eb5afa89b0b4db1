//! What is wrong with configurations, in the words that a person reads.

use proptest::{prelude::*, sample::select};

use super::*;

/// The findings about a text: code, line, column, message and advice.
fn findings(text: &str) -> Vec<(&'static str, u32, u32, String, String)> {
    let parsed = read(&Source::new("/etc/ringfence/agent.yaml", text));
    let has_error = parsed.diagnostics.iter().any(Diagnostic::is_error);
    assert_eq!(parsed.configuration.is_none(), has_error, "{text}");
    let finding = |finding: Diagnostic| {
        let help = finding.help.unwrap_or_default();
        (finding.code, finding.place.line, finding.place.column, finding.message, help)
    };
    parsed.diagnostics.into_iter().map(finding).collect()
}

/// The only finding about a text.
fn finding(text: &str) -> (&'static str, u32, u32, String, String) {
    let mut found = findings(text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    found.remove(0)
}

/// One case: what is written, the code, the column, the message, and a part of the advice.
type Case = (&'static str, &'static str, u32, &'static str, &'static str);

fn check(cases: &[Case], text: impl Fn(&str) -> String, line: u32) {
    for (written, code, column, message, help) in cases {
        let found = finding(&text(written));
        assert_eq!(
            (found.0, found.1, found.2, &*found.3),
            (*code, line, *column, *message),
            "{written}"
        );
        assert!(found.4.contains(help), "{written}: {}", found.4);
    }
}

#[test]
fn a_file_that_is_no_configuration_is_told() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("", code::EMPTY, 1, "the file holds no configuration: it is empty, or all comments", "`agent: 1`"),
        ("- a", code::NOT_A_MAPPING, 1, "the configuration is a mapping of keys to values, and this is a list", "`scopes`"),
        ("boundary: 1", code::NOT_A_CONFIGURATION, 1, "this is a boundary document, and no configuration of the agent", "below `policy`"),
        ("a: [", code::SYNTAX, 4, "not YAML: while parsing a node, did not find expected node content", ""),
        ("<<: {}", code::UNSUPPORTED_YAML, 1, "", ""),
    ];
    check(&cases[..3], str::to_owned, 1);
    assert_eq!(findings("a: [").len(), 1);
    let text = format!("agent: 1\n{SCOPES}<<: {{}}\n");
    let found = finding(&text);
    assert_eq!(found.3, "merge keys (`<<`) are not used in a configuration");
    assert_eq!(found.4, "write the keys out: it should say what it allows where it is");
    let text = format!("agent: 1\n{SCOPES}---\nagent: 1\n");
    let found = finding(&text);
    assert_eq!((found.0, found.1), (code::SEVERAL_DOCUMENTS, 3));
    assert!(found.4.contains("one document"), "{}", found.4);
    let found = finding(&"x".repeat(17 << 20));
    assert_eq!(
        (found.0, &*found.4),
        (code::TOO_LARGE, "a configuration is a YAML text file; is this the file you meant?")
    );
}

#[test]
fn outermost_keys_are_checked() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("agnet: 2", code::UNKNOWN_KEY, 1, "unknown key `agnet`", "the keys here are"),
        ("agent: 2", code::DUPLICATE_KEY, 1, "the key `agent` stands twice", "line 1"),
        ("policy: [a]", code::UNKNOWN_KEY, 1, "unknown key `policy`", "`policy` belongs in `scopes`"),
        ("contrl: /a", code::UNKNOWN_KEY, 1, "unknown key `contrl`", "did you mean `control`?"),
        ("control: run/a.sock", code::RELATIVE_PATH, 10, "the path `run/a.sock` is not absolute", "`/run/ringfence/control.sock`"),
        ("control: /run//a", code::ABNORMAL_PATH, 10, "the path `/run//a` cannot be used", "without `//`"),
        ("control: 1", code::WRONG_TYPE, 10, "`control` must be an absolute path, and is the number `1`", ""),
        ("events: log", code::RELATIVE_PATH, 9, "the path `log` is not absolute", "`/var/log/ringfence`"),
        ("events: ''", code::RELATIVE_PATH, 9, "the path `` is not absolute", "`/var/log/ringfence`"),
        ("events: /var/log/", code::ABNORMAL_PATH, 9, "the path `/var/log/` cannot be used", "a slash at the end"),
        ("metrics: 9464", code::BAD_LISTENER, 10, "the address is missing", "`127.0.0.1:9464`"),
        ("metrics: ':80'", code::BAD_LISTENER, 10, "`:80` has no address", "`127.0.0.1:80`"),
        ("metrics: localhost:80", code::BAD_LISTENER, 10, "`localhost:80` has no address", "`127.0.0.1:80`"),
        ("metrics: 0.0.0.0:9464", code::BAD_LISTENER, 10, "`0.0.0.0:9464` can be reached from other machines", "loopback only"),
        ("metrics: '[::]:9464'", code::BAD_LISTENER, 10, "`[::]:9464` can be reached from other machines", "loopback only"),
        ("metrics: 192.0.2.1:9464", code::BAD_LISTENER, 10, "`192.0.2.1:9464` can be reached from other machines", "loopback only"),
        ("metrics: 127.0.0.1", code::BAD_LISTENER, 10, "`127.0.0.1` has no port", "`127.0.0.1:9464`"),
        ("metrics: '::1'", code::BAD_LISTENER, 10, "`::1` has no port", "`\"[::1]:9464\"`"),
        ("metrics: 127.0.0.1:0", code::BAD_LISTENER, 10, "`127.0.0.1:0` has no port: 0 stands for any", "`127.0.0.1:9464`"),
        ("metrics: run/a.sock", code::BAD_LISTENER, 10, "`run/a.sock` is neither an address with a port nor an absolute path", "`127.0.0.1:9464`"),
        ("metrics: /run/../a", code::ABNORMAL_PATH, 10, "the path `/run/../a` cannot be used", "`..`"),
    ];
    check(cases, |keys| format!("agent: 1\n{SCOPES}{keys}\n"), 3);
    let found = finding(&format!("agent: 1\n{SCOPES}control: /{}\n", "a".repeat(107)));
    assert_eq!(found.3, "the path of a Unix socket has at most 107 bytes");
    assert_eq!(finding(&format!("agent: 2\n{SCOPES}")).3, "`agent` must be 1");
    assert_eq!(finding(SCOPES).3, "the document needs the key `agent`");
    assert_eq!(finding("agent: 1\n").3, "the document needs the key `scopes`");
    assert_eq!(finding("agent: 1\n").4, "add `scopes: […]`");
    assert_eq!(
        finding("agent: 1\nscopes: []\n").3,
        "`scopes` is empty, and needs at least a scope"
    );
    let found = finding("agent: 1\nscopes: { name: a }\n");
    assert_eq!(found.3, "`scopes` must be a list, and is a mapping");
}

#[test]
fn keys_of_a_scope_are_checked() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("name: '', policy: [p], match: [{ exe: /a }]", code::BAD_SCOPE_NAME, 19, "the name is empty", "letters of ASCII"),
        ("name: .a, policy: [p], match: [{ exe: /a }]", code::BAD_SCOPE_NAME, 19, "the name `.a` begins with a dot", "does not begin with a dot"),
        ("name: a b, policy: [p], match: [{ exe: /a }]", code::BAD_SCOPE_NAME, 20, "the name `a b` has a character that no name has", "letters of ASCII"),
        ("name: a/b, policy: [p], match: [{ exe: /a }]", code::BAD_SCOPE_NAME, 20, "the name `a/b` has a character that no name has", ""),
        ("name: ü, policy: [p], match: [{ exe: /a }]", code::BAD_SCOPE_NAME, 19, "the name `ü` has a character that no name has", ""),
        ("name: 1, policy: [p], match: [{ exe: /a }]", code::WRONG_TYPE, 19, "`scopes[].name` must be a name, and is the number `1`", "\"1\""),
        ("policy: [p], match: [{ exe: /a }]", code::MISSING_KEY, 11, "`scopes[]` needs the key `name`", "`name: coder`"),
        ("name: a, match: [{ exe: /a }]", code::MISSING_KEY, 11, "`scopes[]` needs the key `policy`", "policy"),
        ("name: a, policy: [p]", code::MISSING_KEY, 11, "`scopes[]` needs the key `match`", "match"),
        ("name: a, policy: [], match: [{ exe: /a }]", code::OUT_OF_RANGE, 30, "`policy` is empty, and needs at least the file of a policy", "coder.yaml"),
        ("name: a, policy: p, match: [{ exe: /a }]", code::WRONG_TYPE, 30, "`scopes[].policy` must be a list, and is the text `p`", "[\"p\"]"),
        ("name: a, policy: [''], match: [{ exe: /a }]", code::OUT_OF_RANGE, 31, "`scopes[].policy[]` must not be empty", ""),
        ("name: a, policy: [p], match: []", code::OUT_OF_RANGE, 42, "`match` is empty, and needs at least a selector", "unit"),
        ("name: a, policy: [p], match: { exe: /a }", code::WRONG_TYPE, 42, "`scopes[].match` must be a list, and is a mapping", ""),
        ("name: a, policy: [p], mode: enforced, match: [{ exe: /a }]", code::UNKNOWN_VALUE, 41, "`scopes[].mode` cannot be `enforced`", "did you mean `enforce`?"),
        ("name: a, policy: [p], unlisted_names: refuse, match: [{ exe: /a }]", code::UNKNOWN_VALUE, 51, "`scopes[].unlisted_names` cannot be `refuse`", "did you mean `refused`?"),
        ("name: a, policy: [p], allow_degraded: yes, match: [{ exe: /a }]", code::WRONG_TYPE, 51, "`scopes[].allow_degraded` must be `true` or `false`, and is the text `yes`", "`true`"),
        ("name: a, policy: [p], matches: [{ exe: /a }]", code::UNKNOWN_KEY, 35, "unknown key `matches` in `scopes[]`", "did you mean `match`?"),
    ];
    check(cases, |keys| format!("agent: 1\nscopes: [ {{ {keys} }} ]\n"), 2);
    let long = "a".repeat(65);
    let text = |name: &str| {
        format!("agent: 1\nscopes: [{{ name: {name}, policy: [p], match: [{{ exe: /a }}] }}]\n")
    };
    assert_eq!(finding(&text(&long)).3, "the name has more than 64 characters");
    assert_eq!(findings(&text(&long[1..])), []);
    let twice = "agent: 1\nscopes:\n  - { name: a, policy: [p], match: [{ exe: /a }] }\n  \
                 - { name: a, policy: [p], match: [{ exe: /b }] }\n";
    let found = finding(twice);
    assert_eq!(
        (found.0, found.1, found.2, &*found.3),
        (code::BAD_SCOPE_NAME, 4, 13, "the scope `a` is there twice")
    );
    assert!(found.4.contains("line 3"), "{}", found.4);
}

/// A configuration with one selector, on line 3, from column 5 on.
fn with_selector(selector: &str) -> String {
    format!("agent: 1\nscopes: [{{ name: a, policy: [p], match: [\n  {{ {selector} }}\n]}}]\n")
}

#[test]
fn selectors_are_checked() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        // Which keys.
        ("", code::MISSING_KEY, 3, "the selector says nothing", "one of `cgroup`"),
        ("unit: a.service, exe: /a", code::CONFLICT, 22, "a selector has one of `cgroup`, `unit`, `exe` and `pod`", "an item of its own"),
        ("units: a.service", code::UNKNOWN_KEY, 5, "unknown key `units` in `scopes[].match[]`", "did you mean `unit`?"),
        ("unit: [a.service]", code::WRONG_TYPE, 11, "`scopes[].match[].unit` must be the name of a systemd unit, or a pattern of names, and is a list", ""),
        // Control groups.
        ("cgroup: a/b", code::RELATIVE_PATH, 13, "the path `a/b` does not begin with `/`", "behind `0::`"),
        ("cgroup: \"*/a\"", code::RELATIVE_PATH, 13, "the path `*/a` does not begin with `/`", ""),
        ("cgroup: /sys/fs/cgroup/a", code::BAD_SELECTOR, 13, "`/sys/fs/cgroup/a` is a path in the file system", "`/a`"),
        ("cgroup: /a/", code::ABNORMAL_PATH, 13, "`/a/` has a slash at the end", "`/a`"),
        ("cgroup: \"/a/[b\"", code::BAD_GLOB, 17, "this `[` is never closed", ""),
        ("cgroup: \"/a/b**\"", code::BAD_GLOB, 18, "`**` must be a whole component of the path", ""),
        ("cgroup: /", code::BAD_SELECTOR, 13, "`/` selects every process", "name what you start"),
        ("cgroup: \"/**\"", code::BAD_SELECTOR, 13, "`/**` selects every process", ""),
        ("cgroup: \"/*\"", code::BAD_SELECTOR, 13, "`/*` selects `/init.scope` too, the first process of the system", ""),
        ("cgroup: \"/{*,a}\"", code::BAD_SELECTOR, 13, "`/{*,a}` selects `/init.scope` too, the first process of the system", ""),
        ("cgroup: /init.scope", code::BAD_SELECTOR, 13, "`/init.scope` selects the first process of the system", ""),
        ("cgroup: /system.slice", code::BAD_SELECTOR, 13, "`/system.slice` selects every service of the system", ""),
        ("cgroup: \"/sys*\"", code::BAD_SELECTOR, 13, "`/sys*` selects `/system.slice` too, every service of the system", ""),
        ("cgroup: \"/system.slice/**\"", code::BAD_SELECTOR, 13, "`/system.slice/**` selects `/system.slice/ringfence.service` too, ringfence itself", ""),
        ("cgroup: /user.slice", code::BAD_SELECTOR, 13, "`/user.slice` selects every session of every user", ""),
        ("cgroup: \"/ringfence/**\"", code::BAD_SELECTOR, 13, "`/ringfence/**` selects where ringfence keeps what it governs already", ""),
        ("cgroup: /ringfence/coder", code::BAD_SELECTOR, 13, "`/ringfence/coder` selects where ringfence keeps what it governs already", ""),
        ("cgroup: \"/ring*\"", code::BAD_SELECTOR, 13, "`/ring*` selects `/ringfence` too, where ringfence keeps what it governs already", ""),
        // Units.
        ("unit: coder", code::BAD_SELECTOR, 11, "no systemd unit is called `coder`", "`coder.service`"),
        ("unit: ''", code::BAD_SELECTOR, 11, "the name is empty", "`coder-*`"),
        ("unit: a/b.service", code::BAD_SELECTOR, 11, "the name `a/b.service` has a slash", "`cgroup`"),
        ("unit: \"a**.service\"", code::BAD_SELECTOR, 11, "`a**.service` has `**`, and a name has one component", "write `*`"),
        ("unit: \"*\"", code::BAD_SELECTOR, 11, "`*` selects every process", ""),
        ("unit: \"*.scope\"", code::BAD_SELECTOR, 11, "`*.scope` selects `/init.scope` too, the first process of the system", ""),
        ("unit: \"{a\"", code::BAD_GLOB, 12, "this `{` is never closed", ""),
        // Programs.
        ("exe: agent", code::RELATIVE_PATH, 10, "the path `agent` is not absolute", "`/opt/agent/bin/agent`"),
        ("exe: \"*\"", code::RELATIVE_PATH, 10, "the path `*` is not absolute", ""),
        ("exe: ~/agent", code::RELATIVE_PATH, 10, "`~` in `~/agent` has no meaning to the kernel", "/home/NAME"),
        ("exe: \"/**\"", code::BAD_SELECTOR, 10, "`/**` selects every program", ""),
        ("exe: /", code::BAD_SELECTOR, 10, "`/` selects no program", ""),
        ("exe: /bin/../a", code::ABNORMAL_PATH, 10, "`/bin/../a` has `..`", "`/a`"),
        ("exe: \"/a\\\\\"", code::BAD_GLOB, 10, "this `\\` escapes nothing", ""),
    ];
    check(cases, with_selector, 3);
}

#[test]
fn pods_are_checked() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("pod: {}", code::BAD_SELECTOR, 10, "this would select every pod", "`namespace: \"*\"` is every pod"),
        ("pod: { labels: {} }", code::BAD_SELECTOR, 10, "this would select every pod", ""),
        ("pod: { labels: { app: 1 } }", code::WRONG_TYPE, 27, "`scopes[].match[].pod.labels.app` must be text, and is the number `1`", "\"1\""),
        ("pod: { labels: { app: true } }", code::WRONG_TYPE, 27, "`scopes[].match[].pod.labels.app` must be text, and is the truth value `true`", "\"true\""),
        ("pod: { labels: [app] }", code::WRONG_TYPE, 20, "`scopes[].match[].pod.labels` must be a mapping, and is a list", ""),
        ("pod: { namespace: a/b }", code::BAD_SELECTOR, 23, "the name `a/b` has a slash", ""),
        ("pod: { container: '' }", code::BAD_SELECTOR, 23, "the name is empty", ""),
        ("pod: { namespace: \"[\" }", code::BAD_GLOB, 24, "this `[` is never closed", ""),
        ("pod: { name: a, namespace: b }", code::UNKNOWN_KEY, 12, "unknown key `name` in `scopes[].match[].pod`", ""),
    ];
    check(cases, |selector| with_selector(selector) + "pods: { source: kubernetes }\n", 3);
    let found = finding(&with_selector("pod: { namespace: a }"));
    assert_eq!(
        (found.0, found.2, &*found.3),
        (code::CONFLICT, 5, "`pod` is selected, and the agent knows of no pods")
    );
    assert_eq!(found.4, "add `pods: { source: kubernetes }` beside `scopes`");
}

#[test]
fn the_source_of_pods_is_checked() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("source: kubernets", code::UNKNOWN_VALUE, 17, "`pods.source` cannot be `kubernets`", "did you mean `kubernetes`?"),
        ("source: docker", code::UNKNOWN_VALUE, 17, "`pods.source` cannot be `docker`", "it is `kubernetes`, or a file"),
        ("source: /a/pods.yaml", code::UNKNOWN_VALUE, 17, "`pods.source` cannot be `/a/pods.yaml`", "`{ file: /a/pods.yaml }`"),
        ("source: [a]", code::WRONG_TYPE, 17, "`pods.source` cannot be a list", "it is `kubernetes`"),
        ("source: ~", code::WRONG_TYPE, 17, "`pods.source` is nothing", "it is `kubernetes`"),
        ("source: {}", code::MISSING_KEY, 17, "`pods.source` needs the key `file`", ""),
        ("source: { fil: a }", code::UNKNOWN_KEY, 19, "unknown key `fil` in `pods.source`", "the only key here is `file`"),
        ("source: { file: 1 }", code::WRONG_TYPE, 25, "`pods.source.file` must be a path, and is the number `1`", ""),
        ("source: { file: a }, node: b", code::CONFLICT, 30, "`node` has no meaning where pods are read from a file", "remove it"),
        ("node: a", code::MISSING_KEY, 1, "`pods` needs the key `source`", ""),
        ("source: kubernetes, unidentified: deny", code::UNKNOWN_VALUE, 43, "`pods.unidentified` cannot be `deny`", "`hold` and `allow`"),
        ("source: kubernetes, policies: ''", code::OUT_OF_RANGE, 39, "`pods.policies` must not be empty", ""),
    ];
    let selector =
        "agent: 1\nscopes: [{ name: a, policy: [p], match: [{ pod: { namespace: a } }] }]\n";
    check(cases, |keys| format!("{selector}pods: {{ {keys} }}\n"), 3);
    let found = finding(&format!("agent: 1\n{SCOPES}pods: {{ source: kubernetes }}\n"));
    assert_eq!((found.0, found.1), (code::SURPRISING, 3));
    assert!(found.3.starts_with("`pods` has no use"), "{}", found.3);
}

#[test]
fn a_scope_that_selects_something_twice_is_told() {
    let text = "agent: 1\nscopes: [{ name: a, policy: [p], match: [{ exe: /a },\n{ exe: /a }] }]\n";
    let found = finding(text);
    assert_eq!(
        (found.0, found.1, &*found.3),
        (code::SELECTED_ALREADY, 3, "the scope selects this on line 2 already")
    );
    assert_eq!(found.4, "remove one of the two");
}

#[test]
fn all_findings_come_at_once_and_in_the_order_of_the_file() {
    let text = "\
agent: 2
scopes:
  - name: a b
    policy: []
    match: [{ cgroup: / }, { unit: x }, {}]
  - { name: c, polcy: [p], match: [{ exe: a }] }
events: log
metrics: 0.0.0.0:1
";
    let found: Vec<_> = findings(text).iter().map(|it| (it.0, it.1)).collect();
    let expected = [
        (code::OUT_OF_RANGE, 1),
        (code::BAD_SCOPE_NAME, 3),
        (code::OUT_OF_RANGE, 4),
        (code::BAD_SELECTOR, 5),
        (code::BAD_SELECTOR, 5),
        (code::MISSING_KEY, 5),
        (code::UNKNOWN_KEY, 6),
        (code::RELATIVE_PATH, 6),
        (code::RELATIVE_PATH, 7),
        (code::BAD_LISTENER, 8),
    ];
    assert_eq!(found, expected);
}

#[test]
fn more_selectors_than_anybody_writes_are_refused_at_once() {
    let mut text = "agent: 1\nscopes:\n  - name: a\n    policy: [p]\n    match:\n".to_owned();
    for number in 0..20_000 {
        text += &format!("      - exe: /a{number}\n");
    }
    let found = finding(&text);
    assert_eq!((found.0, &*found.3), (code::LIMIT, "more than 16384 selectors"));
}

/// Pieces that mean something in YAML, or in a configuration.
const PIECES: &[&str] = &[
    "",
    "\n",
    "\n  ",
    "\n  - ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!!int ",
    "|",
    "---\n",
    "\t",
    "~",
    "null",
    "-1",
    "1e999",
    "ü",
    "\u{202e}",
    "\0",
    "\r",
    "/**",
    "[!a-",
    "\\",
    "..",
    ":0",
    "<<: ",
    "\u{feff}",
    "agent: 1\n",
    "scopes:",
    "match:",
    "pod: {",
    "exe: /",
    "unit: ",
    "cgroup: /",
    "pods:",
    "source: ",
    "file: ",
    "metrics: ",
    "labels: ",
];

fn read_any(text: &str) -> Result<(), TestCaseError> {
    let parsed = read(&Source::new("any.yaml", text));
    let has_error = parsed.diagnostics.iter().any(Diagnostic::is_error);
    prop_assert_eq!(parsed.configuration.is_none(), has_error);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    for finding in &parsed.diagnostics {
        let (line, column) = (finding.place.line as usize, finding.place.column as usize);
        prop_assert!((1..=lines.len()).contains(&line), "{}", finding);
        // What is missing at the end of a line stands behind its last character.
        let end = lines[line - 1] + 1;
        prop_assert!((1..=end).contains(&column), "{}", finding);
        let length = finding.length as usize;
        prop_assert!(column + length <= end.max(column + 1), "{}", finding);
        prop_assert!(!finding.message.is_empty());
        let escapes = finding.to_string().contains('\u{1b}');
        prop_assert!(!escapes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_read(text in any::<String>()) {
        read_any(&text)?;
    }

    #[test]
    fn any_sequence_of_pieces_is_read(
        pieces in prop::collection::vec(select(PIECES.to_vec()), 0..40),
    ) {
        read_any(&pieces.concat())?;
    }

    #[test]
    fn a_configuration_that_was_cut_and_patched_is_read(
        patches in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..12, select(PIECES.to_vec())), 1..6,
        ),
    ) {
        let example = include_str!("../../../../examples/agent.yaml");
        let mut text: Vec<char> = example.chars().collect();
        for (at, cut, piece) in patches {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, piece.chars());
        }
        read_any(&text.into_iter().collect::<String>())?;
    }
}
