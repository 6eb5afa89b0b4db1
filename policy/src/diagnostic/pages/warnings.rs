//! `RF03xx`: documents that can be used, and probably mean something else than their authors
//! think.

use super::Page;
use crate::{Dialect, diagnostic::code};

const AGENT: Option<Dialect> = Some(Dialect::SecaiAgent);
const POLICY: Option<Dialect> = Some(Dialect::SecaiPolicy);

pub(super) const PAGES: &[Page] = &[
    Page::new(
        code::NOTHING_ENFORCED,
        "Nothing in the document concerns the kernel",
        "The document is valid and governs neither files nor programs nor destinations: all of \
         them are free. Only what is refused always stays refused, such as mounts and `bpf`.\n\n\
         Add a `files`, `exec` or `egress` group. A Sec0 policy needs `security.fs_allowlist` and \
         `security.egress_allowlist`.",
    )
    .wrong("boundary: 1\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read, write] }\n"),
    Page::new(
        code::EMPTY_ALLOWLIST,
        "A list that is present and empty allows nothing",
        "An empty list is not the same as no list. Without the key the group is not governed and \
         everything is allowed; with an empty list everything is governed and nothing is allowed, \
         but for the baseline.\n\n\
         If that is meant, nothing needs to change: `egress: []` is how to take the network away. \
         Else fill the list, or remove the key.",
    )
    .wrong("boundary: 1\negress: []\n")
    .right("boundary: 1\negress:\n  - { host: api.example.com, ports: [443] }\n"),
    Page::new(
        code::ALLOWS_EVERYTHING,
        "A rule that allows everything",
        "The rule matches every path or every destination, so that the group refuses nothing \
         unless a deny rule takes it back. Deny rules name what somebody thought of; the next \
         secret is put somewhere else.\n\n\
         Name the folders or hosts that are needed. To leave a group free on purpose, leave it out.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: /**, allow: [read] }\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
    Page::new(
        code::DENIED_PATTERN,
        "A pattern of host names is denied, which closes no address",
        "Names like it are not looked up, so that nothing learns their addresses that way. The \
         kernel decides about connections by address, and nobody can list the addresses of \
         `*.example.com`: where another rule opens one of them, as a network or `*` does, who knows \
         it connects.\n\n\
         Nothing is to be done where the other rules are names too. Else deny the network as well.",
    )
    .wrong("boundary: 1\negress:\n  - { host: \"*\", ports: [443] }\n  - { host: \"*.example.com\", deny: true }\n")
    .right("boundary: 1\negress:\n  - { host: \"*.example.org\", ports: [443] }\n"),
    Page::new(
        code::NEVER_MATCHES,
        "A rule that nothing can match",
        "The language accepts the entry, and no path or destination is like it: a relative path, a \
         path with `..`, a URL that the airlock refuses, a tool that is denied as well. The rule \
         is left out. What it should allow is refused, and what it should deny is not.\n\n\
         The finding says why, and how to write it.",
    )
    .wrong_in(AGENT, "default_mode: standard\nworkspace: { readable: [\"docs/**\"] }\n")
    .right_in(AGENT, "default_mode: standard\nworkspace: { readable: [\"/srv/docs/**\"] }\n"),
    Page::new(
        code::WRITE_WITHOUT_READ,
        "A path may be written and not be read back",
        "In agent.yaml `readable` and `writable` are two lists, and neither includes the other. A \
         program that opens a file for both, as editors do, is refused.\n\n\
         List the folder in `readable` as well. Leave it as it is for a drop box.",
    )
    .wrong_in(AGENT, "default_mode: standard\nworkspace: { writable: [\"/srv/out/**\"] }\n")
    .right_in(
        AGENT,
        "default_mode: standard\nworkspace:\n  readable: [\"/srv/out/**\"]\n  \
         writable: [\"/srv/out/**\"]\n",
    ),
    Page::new(
        code::NOT_ENFORCED,
        "A part of the document that this version does not enforce",
        "The key is read and checked, and the kernel does nothing by it. In a boundary document, \
         `ringfence run` refuses to start with such a part: a limit that is written down and not \
         kept is worse than none. No key leads to this in this version.\n\n\
         Take the part out, or accept that it is not kept with `--allow-degraded`.",
    ),
    Page::new(
        code::NOT_GOVERNED,
        "A group that is absent, and therefore not governed",
        "What a document does not speak of it does not limit. A policy about files alone leaves \
         every program and every destination free, and what was read can be sent anywhere.\n\n\
         Write the group with an empty list to allow none, or with its rules. If the group is left \
         free on purpose, nothing needs to change.",
    )
    .wrong("boundary: 1\nfiles: []\n")
    .right("boundary: 1\nfiles: []\nexec: []\negress: []\n"),
    Page::new(
        code::SURPRISING,
        "Two settings that mean something unexpected together",
        "Each setting is fine alone. Together, or in this language, they do something else than \
         most readers expect: a `*` that is no wildcard in a SecAI policy.yaml, or destinations \
         that no permitted tool can reach.\n\n\
         The finding says what happens, and which of the settings to change.",
    )
    .wrong_in(
        POLICY,
        "version: 1\n\
         defaults: { network: { runtime_egress: deny } }\n\
         models: { allowed_formats: [], deny_formats: [] }\n\
         quarantine: {}\n\
         tools:\n  default: deny\n  allow:\n    \
         - { name: filesystem.read, paths_allowlist: [\"/vault/*.txt\"] }\n",
    )
    .right_in(
        POLICY,
        "version: 1\n\
         defaults: { network: { runtime_egress: deny } }\n\
         models: { allowed_formats: [], deny_formats: [] }\n\
         quarantine: {}\n\
         tools:\n  default: deny\n  allow:\n    \
         - { name: filesystem.read, paths_allowlist: [\"/vault/**\"] }\n",
    ),
    Page::new(
        code::DENY_TAKES_NOTHING,
        "A deny rule that takes nothing",
        "Nothing that the rule names is allowed by any other rule of the document, so that it \
         would be refused without it as well. Often the path is misspelt, and what should be \
         protected is not.\n\n\
         Compare the path with the rule that it should take from. If they are right, the rule can \
         go; it does no harm.",
    )
    .wrong(
        "boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n  \
         - { path: /srv/wrok/.git/**, deny: [read] }\n",
    )
    .right(
        "boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n  \
         - { path: /srv/work/.git/**, deny: [read] }\n",
    ),
    Page::new(
        code::SHADOWED,
        "An allow rule of which everything is denied",
        "Deny wins over allow, whatever their order and however long their paths. All that this \
         rule gives, deny rules of the same document take: it is as good as not there.\n\n\
         An exception from a deny rule is made by denying less: name what is to be closed, and \
         not the folder around what is to stay open.",
    )
    .wrong(
        "boundary: 1\nfiles:\n  - { path: /srv/work/**, deny: [read] }\n  \
         - { path: /srv/work/docs/**, allow: [read] }\n",
    )
    .right(
        "boundary: 1\nfiles:\n  - { path: /srv/work/docs/secret/**, deny: [read] }\n  \
         - { path: /srv/work/docs/**, allow: [read] }\n",
    ),
    Page::new(
        code::REDUNDANT,
        "A rule that other rules cover already",
        "Without the rule every answer would be the same: it is a duplicate, a folder in a folder \
         that is allowed, a network in an allowed network, a host behind `0.0.0.0/0`, or a name \
         under an allowed wildcard. It is never the one that refusals and events name.\n\n\
         Remove it, or narrow the wider rule: a reader takes the narrow rule for the limit.",
    )
    .wrong(
        "boundary: 1\nfiles:\n  - { path: /srv/**, allow: [read] }\n  \
         - { path: /srv/work/**, allow: [read] }\n",
    )
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
];
