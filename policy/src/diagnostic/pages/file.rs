//! `RF00xx`: the file and its YAML.

use super::Page;
use crate::{Dialect, diagnostic::code};

pub(super) const PAGES: &[Page] = &[
    Page::new(
        code::UNREADABLE,
        "The file cannot be read",
        "The policy file does not exist, is a folder, or belongs to somebody else. Nothing is \
         started without a policy that was asked for.\n\n\
         Look at the name for a slip, and at the file's owner and mode with `ls -l`. A folder of \
         policies is given file by file.",
    ),
    Page::new(
        code::TOO_LARGE,
        "The file is larger than a policy may be",
        "A policy has at most 4 MiB: the largest that are known have a few kilobytes. No more than \
         that is read of a larger file, so that a mistake costs neither time nor memory.\n\n\
         Is it the file that you meant? If it is, split it: `--policy` may be given several times. \
         Mind that documents intersect: each must allow an act that it governs, so put the rules \
         about files into one and those about destinations into another.",
    ),
    Page::new(
        code::NOT_TEXT,
        "The file is not UTF-8 text",
        "A policy is YAML in UTF-8. The place that is shown is the first byte that cannot be text: \
         a NUL, or a byte of another encoding. What such a byte means depends on who reads it, so \
         it is not guessed.\n\n\
         Is it the file that you meant? If an editor saved it as UTF-16 or Latin-1, have it saved \
         as UTF-8, or convert it with `iconv -f LATIN1 -t UTF-8`.",
    ),
    Page::new(
        code::EMPTY,
        "The file holds no document",
        "The file is empty, or all of it is comments. An empty policy would allow everything, \
         which is more likely an accident than a wish.\n\n\
         The smallest policy that may be given is `boundary: 1`. It governs nothing, and says so.",
    )
    .wrong("# files: []\n")
    .right("boundary: 1\nfiles: []\n"),
    Page::new(
        code::SYNTAX,
        "The text is not YAML",
        "The file cannot be read further than to the place that is shown; the mistake is there, or \
         on the lines before. Nothing of a document is used that was read in part.\n\n\
         The usual slips: a bracket or a quote that is never closed, a tab in the indentation, and \
         a value that begins with `*`, `&`, `!`, `%`, `@` or a backquote without quotes around it.",
    )
    .wrong("boundary: 1\nfiles: [\n")
    .right("boundary: 1\nfiles: []\n"),
    Page::new(
        code::SEVERAL_DOCUMENTS,
        "The file holds more documents than are read",
        "Lines `---` part a file into documents, each of which is a policy of its own; an act must \
         be allowed by each. At most 64 are read from one file, so that no file makes a reader \
         work without end.\n\n\
         Put each document into a file of its own and give both: `--policy a.yaml --policy b.yaml`. \
         They intersect all the same.",
    ),
    Page::new(
        code::NOT_A_MAPPING,
        "The document is not a mapping",
        "Every policy language is a mapping: keys, each with a colon and its value. This document \
         is a list, or a single value.\n\n\
         Rules belong below the key of their group, as `files`, `exec` or `egress`.",
    )
    .wrong_in(None, "- { path: /srv/work/**, allow: [read] }\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
    Page::new(
        code::LIMIT,
        "The document is nested too deep, or has too many values",
        "At most 64 levels and 262144 values are read. Each alias counts as all that it stands \
         for: a few lines of aliases of aliases can stand for more than any memory holds.\n\n\
         No policy language nests deeper than seven levels. Write values out in place of aliases, \
         or split the policy into several files.",
    )
    .wrong(concat!(
        "boundary: 1\nfiles:\n",
        "  [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
        "  [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
        "  ]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
        "  ]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
    ))
    .right("boundary: 1\nfiles: []\n"),
    Page::new(
        code::ALIAS,
        "An alias refers to nothing, or to what contains it",
        "`*name` repeats the value that `&name` marked before it. There is no such mark, or it \
         stands on what the alias is a part of.\n\n\
         Often the `*` was meant as itself: quote it, as in `\"*.example.com\"`.",
    )
    .wrong("boundary: 1\negress:\n  - { host: *example }\n")
    .right("boundary: 1\negress:\n  - { host: \"*.example.com\" }\n"),
    Page::new(
        code::DUPLICATE_KEY,
        "A key stands twice in one mapping",
        "YAML does not say which of two values counts, and readers differ: one takes the first, \
         another the last. Rules that one program enforces and another does not are worse than \
         none.\n\n\
         Join the two into one, or remove one.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: /srv/a/**, allow: [read] }\nfiles: []\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/a/**, allow: [read] }\n"),
    Page::new(
        code::KEY_NOT_TEXT,
        "A key is not plain text",
        "YAML lets a list or a mapping be a key. No policy language has such keys; most often a \
         brace or a bracket has slipped in front of the colon.\n\n\
         Write the key as a plain word.",
    )
    .wrong("boundary: 1\n[files]: []\n")
    .right("boundary: 1\nfiles: []\n"),
    Page::new(
        code::UNSUPPORTED_YAML,
        "A tag, a merge key, or a stray carriage return, which policies do not use",
        "Tags (`!name`) and merge keys (`<<`) are read differently by different programs, or not \
         at all. A reader of a policy should see what it allows where it stands.\n\n\
         A carriage return without a line feed ends a line for YAML and not on a terminal, so that \
         what looks like a comment could be a rule.\n\n\
         Remove the tag, and quote the value if it is text. Write merged keys out. End lines by \
         line feeds.",
    )
    .wrong("boundary: 1\nmode: !secret enforce\n")
    .right("boundary: 1\nmode: enforce\n"),
    Page::new(
        code::UNKNOWN_DIALECT,
        "No policy language has these keys",
        "The language of a document is told by its outermost keys, and these belong to none. \
         Perhaps it is no policy at all, or the first keys are misspelt.\n\n\
         A Sec0 policy has `tenant`, `default_retention` and `enforcement`; a SecAI policy.yaml \
         `defaults`, `models` and `quarantine`; an agent.yaml `default_mode` and `workspace`; our \
         own language `boundary: 1`. `--dialect` forces one, and then every key is checked.",
    )
    .wrong_in(None, "services:\n  web: {}\n")
    .right("boundary: 1\nfiles: []\n"),
    Page::new(
        code::UNSUPPORTED_VERSION,
        "A version of a language that is not read",
        "The document is in a later, incompatible version of its language. What is spelt alike in \
         both may mean something else there, and half of a policy must not be taken for the \
         whole.\n\n\
         Say the same in a `boundary` document, or use the version of the language that is read.",
    )
    .wrong_in(
        Some(Dialect::SecaiPolicy),
        "version: 2\n\
         defaults: { network: { runtime_egress: deny } }\n\
         models: { allowed_formats: [], deny_formats: [] }\n\
         quarantine: {}\n\
         tools:\n  default: deny\n  allow:\n    - { name: filesystem.read, args: { path: {} } }\n",
    )
    .right_in(
        Some(Dialect::SecaiPolicy),
        "version: 1\n\
         defaults: { network: { runtime_egress: deny } }\n\
         models: { allowed_formats: [], deny_formats: [] }\n\
         quarantine: {}\n\
         tools:\n  default: deny\n  allow:\n    \
         - { name: filesystem.read, paths_allowlist: [/vault/**] }\n",
    ),
];
