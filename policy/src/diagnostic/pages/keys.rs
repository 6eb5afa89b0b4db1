//! `RF01xx`: keys and values.

use super::Page;
use crate::diagnostic::code;

pub(super) const PAGES: &[Page] = &[
    Page::new(
        code::UNKNOWN_KEY,
        "A key that the language does not have there",
        "The key is misspelt, or stands at the wrong depth. A key that nobody reads is a rule that \
         nobody enforces, so it is an error and not passed over.\n\n\
         The finding names the key that was most likely meant, or the mapping in which the key \
         belongs: look at the indentation then.",
    )
    .wrong("boundary: 1\nfile: []\n")
    .right("boundary: 1\nfiles: []\n"),
    Page::new(
        code::MISSING_KEY,
        "A key that must be there is not",
        "The mapping lacks a key without which it has no meaning: a rule about files without its \
         path, or without saying whether it allows or denies. What is missing is not guessed.\n\n\
         Add the key; the finding shows how it may look.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: /srv/work/** }\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
    Page::new(
        code::WRONG_TYPE,
        "A value of the wrong type",
        "A list stands where one value should be, a number where text should be, or the other way \
         round. YAML reads `yes` and `no` as text, `12` as a number and nothing at all as null: \
         the quotes decide.\n\n\
         One value in a list is written `[value]`, an empty list `[]`. Text that looks like a \
         number or a truth value is put in quotes.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: read }\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
    Page::new(
        code::UNKNOWN_VALUE,
        "A value that is not among those allowed",
        "The key takes one of a few words, and this is none of them. Taking an unknown word for \
         the default could switch off what was meant to be switched on.\n\n\
         The finding names the word that was most likely meant, or all that there are. Case counts.",
    )
    .wrong("boundary: 1\nmode: enfroce\n")
    .right("boundary: 1\nmode: enforce\n"),
    Page::new(
        code::OUT_OF_RANGE,
        "A number outside its range, or a text or list shorter than it must be",
        "The value has the right type and cannot be meant: a version that does not exist, a share \
         above 1, a rule that names no right.\n\n\
         The finding says from where to where values go. A rule with an empty list does nothing: \
         remove the rule, or fill the list.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [] }\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
    Page::new(
        code::CONFLICT,
        "Keys that exclude each other, or that need each other",
        "The keys of one rule cannot hold together: a destination is a name or a network. To take \
         one and pass over the other would drop a rule in silence.\n\n\
         Make two rules of it, or remove the key that is not meant.",
    )
    .wrong("boundary: 1\negress:\n  - { host: api.example.com, cidr: 192.0.2.0/24 }\n")
    .right("boundary: 1\negress:\n  - { host: api.example.com }\n  - { cidr: 192.0.2.0/24 }\n"),
];
