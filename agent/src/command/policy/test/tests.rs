//! Answers on small policies, as they are printed.

use clap::Parser;
use ringfence_common::{Reason, event::PATH_BYTES};
use ringfence_policy::{Boundary, Source, boundary::Resolved, compile::compile, parse};

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    arguments: TestArguments,
}

fn answers(policies: &[&str], words: &str) -> Vec<Answer> {
    let read = |text: &&str| -> Boundary {
        let parsed = parse(&Source::new("a.yaml", *text), None);
        parsed.document.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics)).boundary
    };
    let boundaries: Vec<Boundary> = policies.iter().map(read).collect();
    let tables = compile(&boundaries, &Resolved::new()).unwrap();
    let words = ["test", "a.yaml"].into_iter().chain(words.split_whitespace());
    let arguments = Command::try_parse_from(words).unwrap().arguments;
    let asks = arguments.question.asks(&arguments.circumstances).unwrap();
    asks.iter().map(|ask| decide::answer(ask, &tables, &boundaries)).collect()
}

fn assert_answers(policy: &str, cases: &[(&str, &str)]) {
    for (words, expected) in cases {
        let shown: Vec<String> =
            answers(&[policy], words).iter().map(ToString::to_string).collect();
        assert_eq!(shown, [*expected], "{words}");
    }
}

const FILES: &str = "\
boundary: 1
baseline: none
files:
  - { path: /srv/work/**, allow: [read, write] }
  - { path: /srv/work/.git/**, deny: [write] }
  - { path: /srv/docs/**, allow: [read, create] }
  - { path: /srv/drop/**, allow: [create, metadata] }
";

#[test]
fn each_right_over_a_file_is_a_question_of_its_own() {
    assert_answers(
        FILES,
        &[
            (
                "--read /srv/work/a",
                "allow read /srv/work/a (a.yaml:4: allow read, write of /srv/work/**)",
            ),
            ("--list /srv/docs", "allow read /srv/docs (a.yaml:6: allow read of /srv/docs)"),
            (
                "--write /srv/work/.git/a",
                "deny write /srv/work/.git/a: fs_violation (a.yaml:5: deny write of /srv/work/.git/**)",
            ),
            (
                "--create /srv/docs/a",
                "allow create /srv/docs/a (a.yaml:6: allow read, create of /srv/docs/**)",
            ),
            (
                "--delete /srv/docs/a",
                "deny delete /srv/docs/a: fs_violation (a.yaml:3: read, write is allowed by no rule)",
            ),
            (
                "--metadata /srv/drop/a",
                "allow metadata /srv/drop/a (a.yaml:7: allow create, metadata of /srv/drop/**)",
            ),
            ("--exec /srv/work/a", "allow exec /srv/work/a (not governed)"),
        ],
    );
}

#[test]
fn an_answer_about_a_program_says_by_which_content_it_holds() {
    let digest = "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95";
    let policy = format!(
        "boundary: 1\nbaseline: none\nexec_anonymous: deny\nexec:\n  \
         - {{ path: /a, allow: true, sha256: {digest} }}\n"
    );
    let expected = format!(
        "allow exec /a (a.yaml:5: allow exec of /a with SHA-256 {digest}; with any other content: \
         tool_code_changed)"
    );
    let anonymous = "deny exec anonymous memory: anonymous_code \
                     (a.yaml:3: no anonymous memory becomes executable)";
    assert_answers(&policy, &[("--exec /a", &expected), ("--anonymous-code", anonymous)]);
}

#[test]
fn a_ring_is_made_only_where_a_document_says_so() {
    for (word, expected) in [
        ("", "deny uring an io_uring: forbidden_uring (no rule decides)"),
        ("io_uring: allow\n", "allow uring an io_uring (not governed)"),
        (
            "io_uring: deny\n",
            "deny uring an io_uring: forbidden_uring (a.yaml:2: no io_uring is made)",
        ),
        (
            "mode: observe\nio_uring: deny\n",
            "observe uring an io_uring: forbidden_uring; allowed, and denied once enforced \
             (a.yaml:3: no io_uring is made)",
        ),
    ] {
        assert_answers(&format!("boundary: 1\n{word}"), &[("--io-uring", expected)]);
    }
}

#[test]
fn a_new_name_is_judged_with_the_old() {
    let in_words = |verdict: &str, words: &str, rest: &str| format!("{verdict} {words}{rest}");
    for (words, verdict, rest) in [
        ("--rename /srv/work/a /srv/work/b", "allow", ""),
        ("--rename /srv/docs/a /srv/docs/b", "deny", "fs_violation"),
        ("--rename /srv/work/a /srv/drop/a", "allow", ""),
        ("--rename /srv/work/a /srv/drop/a --replaces", "deny", "fs_violation"),
        ("--rename /srv/work/a /srv/drop/a --exchange", "deny", "fs_violation"),
        ("--rename /srv/work/a /srv/work/b --folder", "allow", ""),
        ("--rename /srv/work/a /srv/drop/a --folder", "deny", "rights_widened"),
        ("--link /srv/work/a /srv/work/b", "allow", ""),
        ("--link /srv/docs/a /srv/work/b", "deny", "fs_violation"),
    ] {
        let [answer] = answers(&[FILES], words).try_into().unwrap();
        let reason = if rest.is_empty() { "none" } else { rest };
        let found = in_words(answer.verdict.name(), words, answer.reason.name());
        assert_eq!(found, in_words(verdict, words, reason));
    }
    let [answer] = answers(&[FILES], "--rename /srv/work/a /srv/drop/a").try_into().unwrap();
    assert!(
        answer.to_string().starts_with("allow rename /srv/work/a to /srv/drop/a ("),
        "{answer}"
    );
    let widened = "\
boundary: 1
baseline: none
files:
  - { path: /srv/secret/**, allow: [write] }
  - { path: /srv/open/**, allow: [read, write] }
";
    let expected = "deny link /srv/secret/a to /srv/open/a: rights_widened \
                    (a.yaml:3: read, write is allowed by no rule)";
    assert_answers(widened, &[("--link /srv/secret/a /srv/open/a", expected)]);
}

#[test]
fn the_kernels_control_files_are_changed_by_no_rule() {
    let all = "boundary: 1\nfiles:\n  - { path: /**, allow: [read, write] }\n";
    let refused = |act: &str, reason: &str| format!("deny {act}: {reason} (no rule can allow it)");
    assert_answers(
        all,
        &[
            (
                "--write /proc/sys/kernel/core_pattern",
                &*refused("write /proc/sys/kernel/core_pattern", "kernel_control"),
            ),
            ("--create /sys/fs/cgroup/a", &*refused("create /sys/fs/cgroup/a", "kernel_control")),
            (
                "--delete /sys/fs/bpf/ringfence",
                &*refused("delete /sys/fs/bpf/ringfence", "self_protection"),
            ),
            (
                "--rename /sys/fs/cgroup/a /sys/fs/cgroup/b",
                &*refused("rename /sys/fs/cgroup/a to /sys/fs/cgroup/b", "kernel_control"),
            ),
            (
                "--read /sys/kernel/vmcoreinfo",
                "allow read /sys/kernel/vmcoreinfo (a.yaml:3: allow read, write of /**)",
            ),
            (
                "--write /proc/self/comm",
                "allow write /proc/self/comm (a.yaml:3: allow read, write of /**)",
            ),
            ("--write /system", "allow write /system (a.yaml:3: allow read, write of /**)"),
        ],
    );
}

#[test]
fn the_first_program_is_judged_without_what_holds_for_later_ones() {
    let policy = "\
version: 1
defaults: { network: { runtime_egress: deny } }
models: { allowed_formats: [], deny_formats: [] }
quarantine: {}
tools: { default: deny }
";
    assert_answers(
        policy,
        &[
            (
                "--exec /usr/bin/id",
                "deny exec /usr/bin/id: exec_after_start (a.yaml:5: no program is started after the first)",
            ),
            ("--exec /usr/bin/id --first", "allow exec /usr/bin/id (not governed)"),
        ],
    );
    let programs = "boundary: 1\nbaseline: none\nexec:\n  - { path: /usr/bin/*, allow: true }\n";
    assert_answers(
        programs,
        &[
            (
                "--exec /usr/bin/id --first",
                "allow exec /usr/bin/id (a.yaml:4: allow exec of /usr/bin/*)",
            ),
            (
                "--exec /tmp/id --first",
                "deny exec /tmp/id: fs_violation (a.yaml:3: exec is allowed by no rule)",
            ),
        ],
    );
}

const EGRESS: &str = "\
boundary: 1
egress:
  - { cidr: 192.0.2.0/24, ports: [443], protocol: tcp }
";

#[test]
fn destinations_and_kinds_of_socket() {
    assert_answers(
        EGRESS,
        &[
            (
                "--connect 192.0.2.7:443",
                "allow connect 192.0.2.7:443 tcp (a.yaml:3: allow 192.0.2.0/24 port 443 tcp)",
            ),
            (
                "--connect 192.0.2.7:443 --udp",
                "deny send 192.0.2.7:443 udp: egress_violation (a.yaml:2: the destination is allowed by no rule)",
            ),
            (
                "--connect [::1]:80",
                "deny connect [::1]:80 tcp: egress_violation (a.yaml:2: the destination is allowed by no rule; a process of the same scope that listens there may be connected to)",
            ),
            (
                "--resolve a.example",
                "deny resolve a.example: unlisted_name (a.yaml:2: the destination is allowed by no rule; this version does not judge names, only where packets go)",
            ),
            (
                "--listen 8080",
                "deny listen 8080 tcp: egress_violation (a.yaml:2: serving others is allowed by no rule; the scope itself is served on every port)",
            ),
            (
                "--connect-unix @x",
                "deny connect @x: egress_violation (a.yaml:2: the destination is allowed by no rule; a process of the same scope that made it may be connected to)",
            ),
            ("--connect-unix /run/x.sock", "allow connect /run/x.sock (not governed)"),
            ("--socket tcp", "allow socket tcp (where it may go is another question)"),
            ("--socket unix", "allow socket unix (where it may go is another question)"),
            (
                "--socket netlink-route",
                "allow socket netlink-route (where it may go is another question)",
            ),
            ("--socket raw", "deny socket raw: forbidden_socket (no rule can allow it)"),
            ("--socket vsock", "deny socket vsock: forbidden_socket (no rule can allow it)"),
            ("--socket mptcp", "deny socket mptcp: forbidden_socket (no rule can allow it)"),
        ],
    );
    assert_answers(FILES, &[("--socket raw", "allow socket raw (not governed)")]);
}

#[test]
fn unix_sockets_are_reached_by_their_path_or_by_a_rule_of_their_own() {
    let own = "a process of the same scope that made it may be connected to";
    let denied =
        |act: &str, reason: &str, rule: &str| format!("deny {act}: {reason} ({rule}; {own})");
    let none = "a.yaml:3: read, write is allowed by no rule";
    assert_answers(
        FILES,
        &[
            (
                "--connect-unix /srv/work/a.sock",
                "allow connect /srv/work/a.sock (a.yaml:4: allow read, write of /srv/work/**)",
            ),
            (
                "--connect-unix /srv/work/.git/a.sock",
                &*denied(
                    "connect /srv/work/.git/a.sock",
                    "fs_violation",
                    "a.yaml:5: deny write of /srv/work/.git/**",
                ),
            ),
            ("--connect-unix /srv/docs/a", &*denied("connect /srv/docs/a", "fs_violation", none)),
            ("--connect-unix @a", &*denied("connect @a", "egress_violation", none)),
        ],
    );
    let listed = "\
boundary: 1
baseline: none
files:
  - { path: \"*\", syntax: crossing, allow: [read] }
  - { path: \"**\", syntax: crossing, allow: [content] }
  - { path: /run/b, deny: [write] }
sockets:
  - { path: /run/* }
  - { path: \"@/tmp/.X11-unix/X*\" }
listen: [{ port: 53, protocol: udp }]
";
    let none = "a.yaml:7: socket is allowed by no rule";
    assert_answers(
        listed,
        &[
            (
                "--connect-unix /run/b",
                &*denied("connect /run/b", "fs_violation", "a.yaml:6: deny write of /run/b"),
            ),
            (
                "--connect-unix @/tmp/.X11-unix/X0",
                "allow connect @/tmp/.X11-unix/X0 (a.yaml:9: allow socket of @/tmp/.X11-unix/X*)",
            ),
            // No pattern of paths is about abstract names.
            ("--connect-unix @a", &*denied("connect @a", "egress_violation", none)),
            ("--listen 53 --udp", "allow listen 53 udp (a.yaml:10: serve port 53 udp)"),
        ],
    );
    let nothing = "boundary: 1\nexec: []\n";
    let free = "allow connect @a (not governed)";
    assert_answers(nothing, &[("--connect-unix @a", free)]);
}

#[test]
fn the_boundary_itself_is_no_rules_to_open() {
    assert_answers(
        FILES,
        &[
            (
                "--capability sys_admin",
                "deny capability CAP_SYS_ADMIN: forbidden_capability (no rule can allow it)",
            ),
            ("--capability chown", "allow capability CAP_CHOWN (not governed)"),
            ("--mount", "deny mount: forbidden_mount (no rule can allow it)"),
            ("--namespace", "deny namespace: forbidden_mount (no rule can allow it)"),
            ("--bpf", "deny bpf: self_protection (no rule can allow it)"),
            ("--terminal", "deny terminal: self_protection (no rule can allow it)"),
            ("--key", "deny key: self_protection (no rule can allow it)"),
            ("--kernel", "deny kernel: kernel_control (no rule can allow it)"),
            ("--signal outside", "deny signal outside: self_protection (no rule can allow it)"),
            ("--signal inside", "allow signal inside (not governed)"),
            ("--ptrace outside", "deny ptrace outside: self_protection (no rule can allow it)"),
            ("--ptrace inside", "allow ptrace inside (not governed)"),
        ],
    );
    let observing = "boundary: 1\nmode: observe\nfiles: []\negress: []\n";
    let observed =
        "observe mount: forbidden_mount; allowed, and denied once enforced (no rule can allow it)";
    assert_answers(
        observing,
        &[
            ("--mount", observed),
            ("--bpf", "deny bpf: self_protection (no rule can allow it)"),
            (
                "--delete /sys/fs/bpf/x",
                "deny delete /sys/fs/bpf/x: self_protection (no rule can allow it)",
            ),
        ],
    );
}

#[test]
fn several_questions_have_an_answer_each() {
    let verdicts: Vec<Verdict> = answers(&[FILES], "--read /srv/work/a --read /srv/x")
        .iter()
        .map(|answer| answer.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny]);
}

#[test]
fn a_path_that_is_too_long_is_refused_for_every_right() {
    let long = "/a".repeat(PATH_BYTES);
    for words in [format!("--read {long}"), format!("--rename /srv/work/a {long}")] {
        let [answer] = answers(&[FILES], &words).try_into().unwrap();
        assert_eq!((answer.verdict, answer.reason), (Verdict::Deny, Reason::PathTooLong));
    }
    let exec = "boundary: 1\nexec: []\n";
    let [answer] = answers(&[exec], &format!("--exec {long} --first")).try_into().unwrap();
    assert_eq!(answer.reason, Reason::PathTooLong);
}

#[test]
fn as_json_an_answer_has_its_rule_in_parts() {
    let [answer] = answers(&[FILES], "--write /srv/work/.git/a").try_into().unwrap();
    let expected = serde_json::json!({
        "verdict": "deny",
        "action": "write",
        "object": "/srv/work/.git/a",
        "new": null,
        "reason": "fs_violation",
        "rule": { "file": "a.yaml", "line": 5, "text": "deny write of /srv/work/.git/**" },
        "note": null,
    });
    assert_eq!(answer.to_json(), expected);
    let [answer] = answers(&[FILES], "--mount").try_into().unwrap();
    let json = answer.to_json();
    assert_eq!(
        (&json["object"], &json["rule"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(json["note"], "no rule can allow it");
}
