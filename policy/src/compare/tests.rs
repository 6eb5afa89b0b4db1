//! Comparisons of whole policies, and what all tests of comparisons share.

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use ringfence_common::Verdict;

use super::*;
use crate::{Source, boundary::Resolved, compile::compile, hosts, parse, question};

/// Documents that hold together, compiled.
pub(super) struct Policy {
    pub(super) boundaries: Vec<Boundary>,
    pub(super) tables: Tables,
}

impl Policy {
    pub(super) fn new(texts: &[&str]) -> Self {
        let read = |text: &&str| {
            let parsed = parse(&Source::new("p", *text), None);
            parsed.document.unwrap_or_else(|| panic!("{text}: {:#?}", parsed.diagnostics)).boundary
        };
        let boundaries: Vec<Boundary> = texts.iter().map(read).collect();
        let tables = compile(&boundaries, &Resolved::new()).unwrap();
        Self { boundaries, tables }
    }

    /// A `boundary` document without the baseline.
    pub(super) fn of(rest: &str) -> Self {
        Self::new(&[&format!("boundary: 1\nbaseline: none\n{rest}")])
    }

    pub(super) fn side(&self) -> Side<'_> {
        Side { boundaries: &self.boundaries, tables: &self.tables }
    }

    /// What the policy answers about a subject, asked from the outside.
    fn answer(&self, subject: &Subject) -> (Verdict, Option<RuleInfo>) {
        let about =
            |decision: Decision| (decision.verdict, self.tables.rule(decision.rule).cloned());
        let by_name = |decision: hosts::HostDecision| {
            let has_place = |rule: &&RuleInfo| Some(&rule.place) == decision.place.as_ref();
            (decision.verdict, self.tables.rules.iter().find(has_place).cloned())
        };
        let word = |at| about(Decision::of(Cell(self.tables.image.word(at).unwrap()), NO_REASON));
        match subject {
            Subject::Path { right, path } => {
                about(question::about_path(&self.tables, path, *right))
            }
            Subject::FirstProgram { path } => {
                about(question::about_first_program(&self.tables, path))
            }
            Subject::LongPath { right } => {
                let path = format!("/{}", "x/y".repeat(2000));
                about(question::about_path(&self.tables, path.as_bytes(), *right))
            }
            Subject::Address { address, port, protocol } => {
                about(question::about_address(&self.tables, *address, *port, *protocol))
            }
            Subject::AbstractSocket { name } => about(question::about_abstract(&self.tables, name)),
            Subject::Serve { port, protocol } => {
                about(ringfence_common::serving::decide(&*self.tables.image, *protocol, *port))
            }
            Subject::Host { name, port, protocol } => {
                by_name(hosts::decide(&self.boundaries, name, *port, *protocol))
            }
            Subject::Lookup { name } => by_name(hosts::decide_lookup(&self.boundaries, name)),
            Subject::ExecAfterStart => word(header::EXEC_AFTER_START),
            Subject::ExecAnonymous => word(header::EXEC_ANONYMOUS),
            Subject::Ring => word(header::IO_URING),
            Subject::OtherSocket => word(header::SOCKET_VIOLATION),
            Subject::Guard => word(header::GUARD_VIOLATION),
        }
    }
}

const NO_REASON: ringfence_common::Reason = ringfence_common::Reason::None;

/// Compares, and asks both policies again about every example.
pub(super) fn compared(old: &Policy, new: &Policy) -> Vec<Difference> {
    let comparison = differences(old.side(), new.side());
    assert!(comparison.is_complete);
    for Difference { subject, old: old_answer, new: new_answer } in &comparison.differences {
        for (policy, answer) in [(old, old_answer), (new, new_answer)] {
            assert_eq!(
                policy.answer(subject),
                (answer.verdict, answer.rule.clone()),
                "{subject:?}"
            );
        }
        let said = |answer: &Answer| (answer.verdict, answer.content);
        assert_ne!(said(old_answer), said(new_answer), "{subject:?}");
    }
    comparison.differences
}

/// Differences in few words: act, object, and both verdicts with the lines of their rules.
pub(super) fn told(old: &Policy, new: &Policy) -> Vec<String> {
    let answer = |answer: &Answer| {
        let rule = answer.rule.as_ref().map(|rule| format!(" {}", rule.place.line));
        format!("{}{}", answer.verdict.name(), rule.unwrap_or_default())
    };
    let in_words = |one: &Difference| {
        let subject = match &one.subject {
            Subject::Path { right, path } => {
                format!("{} {}", right.name(), String::from_utf8_lossy(path))
            }
            Subject::FirstProgram { path } => format!("first {}", String::from_utf8_lossy(path)),
            Subject::LongPath { right } => format!("{} long", right.name()),
            Subject::Address { address, port, protocol } => {
                format!("{protocol:?} {address} {port}")
            }
            Subject::AbstractSocket { name } => format!("@{}", String::from_utf8_lossy(name)),
            Subject::Serve { port, protocol } => format!("serve {protocol:?} {port}"),
            Subject::Host { name, port, protocol } => format!("{protocol:?} {name} {port}"),
            Subject::Lookup { name } => format!("lookup {name}"),
            other => format!("{other:?}"),
        };
        format!("{subject}: {}, {}", answer(&one.old), answer(&one.new))
    };
    compared(old, new).iter().map(in_words).collect()
}

#[test]
fn programs_by_content_differ_where_the_content_that_is_asked_for_does() {
    let of = |digest: &str| {
        let digest = digest.repeat(64);
        let rules = format!("  - {{ path: /a, allow: true, sha256: \"{digest}\" }}\n");
        Policy::of(&format!("exec:\n{rules}"))
    };
    let free = Policy::of("exec:\n  - { path: /a, allow: true }\n");
    let changes = |old: &Policy, new: &Policy| -> Vec<Change> {
        compared(old, new).iter().map(Difference::change).collect()
    };
    assert_eq!(changes(&of("a"), &of("a")), []);
    assert_eq!(changes(&of("a"), &of("b")), [Change::Widened]);
    assert_eq!(changes(&free, &of("a")), [Change::Narrowed]);
    assert_eq!(changes(&of("a"), &free), [Change::Widened]);
    assert_eq!(told(&free, &of("a")), ["exec /a: allow 4, allow 4"]);
}

#[test]
fn the_same_policy_in_other_words_does_not_differ() {
    let old = Policy::of(
        "files:\n  - { path: \"/srv/{a,b}/**\", allow: [read] }\n  - { path: /srv/a/x, deny: [read] }\n\
         egress:\n  - { cidr: 10.0.0.0/8, ports: [80, 81] }\n  - { host: a.example.com }\n",
    );
    let new = Policy::of(
        "# The order of rules is not the same either.\n\
         files:\n  - { path: /srv/a/x, deny: [read] }\n  - { path: \"/srv/b/**\", allow: [read] }\n  \
         - { path: \"/srv/a/**\", allow: [read] }\n  - { path: \"/srv/a/y/**\", allow: [read] }\n\
         egress:\n  - { host: a.example.com, protocol: udp }\n  \
         - { host: a.example.com, protocol: tcp }\n  - { cidr: 10.0.0.0/9, ports: [\"80-81\"] }\n  \
         - { cidr: 10.128.0.0/9, ports: [81] }\n  - { cidr: 10.128.0.0/9, ports: [80] }\n",
    );
    assert_eq!(told(&old, &new), [""; 0]);
    assert_eq!(told(&old, &old), [""; 0]);
}

#[test]
fn a_policy_that_only_observes_differs_wherever_the_other_refuses() {
    let rules = "files: [{ path: /a, allow: [read] }]\negress: [{ cidr: 192.0.2.1 }]\n";
    let (old, new) = (Policy::of(rules), Policy::of(&format!("mode: observe\n{rules}")));
    let all = compared(&old, &new);
    assert!(all.iter().all(|one| one.change() == Change::Mode), "{all:#?}");
    let told = told(&old, &new);
    assert_eq!(
        told,
        [
            "Ring: deny, observe",
            "OtherSocket: deny, observe",
            "Guard: deny, observe",
            "@a: deny 3, observe 4",
            "read /: deny 3, observe 4",
            "write /: deny 3, observe 4",
            "create /: deny 3, observe 4",
            "delete /: deny 3, observe 4",
            "metadata /: deny 3, observe 4",
            "device /: deny 3, observe 4",
            "Tcp 1.0.0.1 443: deny 4, observe 5",
            "Udp 1.0.0.1 443: deny 4, observe 5",
            "serve Tcp 443: deny 4, observe 5",
            "serve Udp 443: deny 4, observe 5",
            "Tcp a 443: deny 4, observe 5",
            "Udp a 443: deny 4, observe 5",
        ]
    );
}

#[test]
fn unix_sockets_and_ports_that_are_served_are_compared() {
    let with = |rest: &str| Policy::of(&format!("files: []\negress: []\n{rest}"));
    let (old, new) = (
        with("sockets: [{ path: /a }, { path: '@b*' }]\nlisten: [{ port: 80 }]\n"),
        with("sockets: [{ path: /a }, { path: '@c' }]\nlisten: [{ port: 80, protocol: tcp }]\n"),
    );
    assert_eq!(
        told(&old, &new),
        ["@b: allow 5, deny 5", "@c: deny 5, allow 5", "serve Udp 80: allow 6, deny 6"]
    );
    // What may be written may be connected to, which is not told twice.
    let (old, new) =
        (Policy::of("files: []\n"), Policy::of("files: [{ path: /a, allow: [content] }]\n"));
    assert_eq!(told(&old, &new), ["write /a: deny 3, allow 3"]);
}

#[test]
fn a_policy_that_allows_no_second_program_differs_for_every_program() {
    const SECAI: &str = "\
version: 1
defaults: { network: { runtime_egress: allow } }
models: { allowed_formats: [gguf], deny_formats: [bin] }
quarantine: { stages: { static_scan: true } }
tools:
  default: allow
";
    let free = Policy::new(&[SECAI]);
    let denied = "  deny: [{ name: shell.exec }, { name: process.spawn }]\n";
    let text = format!("{SECAI}{denied}");
    let held = Policy::new(&[&text]);
    let told_free = told(&held, &free);
    assert!(told_free.contains(&"ExecAfterStart: deny 7, allow".into()), "{told_free:?}");
    assert!(told_free.contains(&"exec /: deny 7, allow".into()), "{told_free:?}");
    // Where no second program may start, what the first may be is a difference of its own.
    let exec = "boundary: 1\nbaseline: none\nexec: [{ path: /bin/a, allow: true }]\n";
    let narrower = Policy::new(&[&text, exec]);
    assert_eq!(
        told(&held, &narrower),
        ["first /: allow, deny 3", "exec long: deny 7, deny 3"][..1]
    );
}

const RULES: &[&str] = &[
    "/srv/**",
    "/srv/*",
    "/srv/**/x/*.key",
    "/srv/{a,b}/**",
    "/",
    "/**",
    "/srv/a",
    "/*/x",
    "/srv/?.key",
    "/srv/[!a]*",
    "/**/.h/**",
    "/srv/**/b",
];
const RIGHTS: &[&str] = &["read", "write", "create, metadata", "read, write"];
const NAMES: &[&str] = &["srv", "a", "b", "x", "a.key", ".h", "..x", "\u{e9}"];
const TARGETS: &[&str] = &[
    "host: \"*\"",
    "host: api.example.com",
    "host: \"*.example.com\"",
    "host: \"a*\"",
    "host: localhost",
    "host: \"*a*.c*\"",
    "cidr: 10.0.0.0/8",
    "cidr: 10.1.0.0/16",
    "cidr: 10.1.2.3",
    "cidr: \"2001:db8::/32\"",
    "cidr: \"::/0\"",
    "cidr: 0.0.0.0/0",
    "cidr: 0.0.0.0/8",
    "cidr: \"fe80::/10\"",
];
const PORTS: &[&str] = &[
    "",
    "",
    ", ports: [443]",
    ", ports: [80, 443]",
    ", ports: [\"440-500\"]",
    ", ports: [\"1-65535\"]",
];
const PROTOCOLS: &[&str] = &["", "", ", protocol: tcp", ", protocol: udp"];
const HOSTS: &[&str] =
    &["api.example.com", "b.example.com", "example.com", "localhost", "b", "a", "a.com", "xa.cc"];
const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.1.0.1",
    "10.1.2.3",
    "1.1.1.1",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.1.1",
    "2001:db8::1",
    "::1",
    "fe80::1",
    "::ffff:10.1.2.3",
    "64:ff9b::a01:203",
    "255.255.255.255",
];
const ASKED_PORTS: &[u16] = &[1, 79, 80, 443, 450, 65535];

/// A group of a document: its mode, and its rules.
fn group(name: &'static str, rule: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (select(&["enforce", "enforce", "observe"]), vec(rule, 0..5)).prop_map(move |(mode, rules)| {
        let rules: String = rules.iter().map(|rule| format!("    - {{ {rule} }}\n")).collect();
        let rules = if rules.is_empty() { " []\n".to_owned() } else { format!("\n{rules}") };
        format!("{name}:\n  mode: {mode}\n  rules:{rules}")
    })
}

fn document() -> impl Strategy<Value = String> {
    let effect = || select(&["allow", "allow", "deny"]);
    let file = (select(RULES), effect(), select(RIGHTS))
        .prop_map(|(path, effect, rights)| format!("path: \"{path}\", {effect}: [{rights}]"));
    let exec = (select(RULES), any::<bool>())
        .prop_map(|(path, allow)| format!("path: \"{path}\", allow: {allow}"));
    let egress =
        (select(TARGETS), select(PORTS), select(PROTOCOLS), select(&["", "", ", deny: true"]))
            .prop_map(|(target, ports, protocol, deny)| format!("{target}{ports}{protocol}{deny}"));
    let groups = (
        option::of(group("files", file)),
        option::of(group("exec", exec)),
        option::of(group("egress", egress)),
    );
    groups.prop_map(|(files, exec, egress)| {
        let groups: String = [files, exec, egress].into_iter().flatten().collect();
        format!("boundary: 1\nbaseline: none\n{groups}")
    })
}

fn policy() -> impl Strategy<Value = Vec<String>> {
    vec(document(), 1..3)
}

fn subject() -> impl Strategy<Value = Subject> {
    let protocol = || select(&[Protocol::Tcp, Protocol::Udp]);
    let path = || vec(select(NAMES), 0..5).prop_map(|names| format!("/{}", names.join("/")));
    prop_oneof![
        4 => (select(&Right::ALL), path())
            .prop_map(|(right, path)| Subject::Path { right, path: path.into() }),
        1 => path().prop_map(|path| Subject::FirstProgram { path: path.into() }),
        1 => select(&Right::ALL).prop_map(|right| Subject::LongPath { right }),
        3 => (select(ADDRESSES), select(ASKED_PORTS), protocol()).prop_map(
            |(address, port, protocol)| {
                Subject::Address { address: address.parse().unwrap(), port, protocol }
            }
        ),
        3 => (select(HOSTS), select(ASKED_PORTS), protocol())
            .prop_map(|(name, port, protocol)| Subject::Host { name: name.into(), port, protocol }),
        1 => select(HOSTS).prop_map(|name| Subject::Lookup { name: name.into() }),
    ]
}

/// Whether the two subjects are of one kind, so that one stands for the other.
fn is_like(told: &Subject, asked: &Subject) -> bool {
    match (told, asked) {
        (Subject::Path { right: told, .. }, Subject::Path { right: asked, .. })
        | (
            Subject::Path { right: told, .. } | Subject::LongPath { right: told },
            Subject::LongPath { right: asked },
        ) => told == asked || (*told, *asked) == (Right::Write, Right::Socket),
        (Subject::Path { right: Right::Exec, .. }, Subject::FirstProgram { .. })
        | (Subject::FirstProgram { .. }, Subject::FirstProgram { .. }) => true,
        (Subject::Address { protocol: told, .. }, Subject::Address { protocol: asked, .. })
        | (Subject::Host { protocol: told, .. }, Subject::Host { protocol: asked, .. }) => {
            told == asked
        }
        (Subject::Host { .. } | Subject::Lookup { .. }, Subject::Lookup { .. }) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_told_is_true_and_whatever_differs_is_told(
        old in policy(),
        new in policy(),
        changed in any::<Index>(),
        is_change in any::<bool>(),
        asked in vec(subject(), 60),
    ) {
        let texts = |list: &[String]| Policy::new(&list.iter().map(String::as_str).collect::<Vec<_>>());
        // A rule more or less is what most policies differ in.
        let new = if is_change {
            let mut new = old.clone();
            let at = changed.index(new.len());
            new[at] = without_a_line(&new[at], changed);
            new
        } else {
            new
        };
        let (old, new) = (texts(&old), texts(&new));
        let told = compared(&old, &new);
        for subject in &asked {
            let (old, new) = (old.answer(subject), new.answer(subject));
            if old.0 == new.0 {
                continue;
            }
            let is_rule_named = !matches!(subject, Subject::LongPath { .. });
            // A list has two answers of its own, of which one stands for the other.
            let place = |rule: &Option<RuleInfo>| rule.as_ref().map(|rule| rule.place.clone());
            prop_assert!(
                told.iter().any(|one| {
                    let answers = [(&one.old, &old), (&one.new, &new)];
                    is_like(&one.subject, subject) && answers.iter().all(|(told, asked)| {
                        told.verdict == asked.0 && (!is_rule_named || place(&told.rule) == place(&asked.1))
                    })
                }),
                "{subject:?} {old:?} {new:?} {told:#?}",
            );
        }
    }
}

/// The document without one of its rules, if it has any.
fn without_a_line(text: &str, index: Index) -> String {
    let is_rule = |line: &str| line.starts_with("    -");
    let lines: Vec<&str> = text.lines().collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|at| is_rule(lines[*at])).collect();
    if rules.is_empty() {
        return text.to_owned();
    }
    let removed = rules[index.index(rules.len())];
    let mut kept = String::new();
    for (at, line) in lines.iter().enumerate().filter(|(at, _)| *at != removed) {
        // A list that lost its only rule is still a list.
        let next = if at + 1 == removed { removed + 1 } else { at + 1 };
        let is_empty = *line == "  rules:" && !lines.get(next).is_some_and(|next| is_rule(next));
        kept += &format!("{line}{}\n", if is_empty { " []" } else { "" });
    }
    kept
}
