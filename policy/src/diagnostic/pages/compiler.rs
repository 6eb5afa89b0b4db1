//! `RF05xx`: the compiler.

use super::Page;
use crate::diagnostic::code;

pub(super) const PAGES: &[Page] = &[Page::new(
    code::NOT_COMPILED,
    "The rules cannot be compiled to tables",
    "The kernel decides a path by one walk through a table, whatever the number of rules. The \
     table has at most 65536 states, and these rules need more: usually because of several `*`, \
     `?` or `**` in the middle of a pattern. Nothing is loaded in part; the finding names the rule \
     that crossed the line.\n\n\
     Name folders with `/**` in place of files with wildcards, use wider networks, or give \
     programs with different needs policies of their own.",
)
.wrong(
    "boundary: 1\nbaseline: none\nfiles:\n  - { path: /srv/*a?????????????????, allow: [read] }\n",
)
.right("boundary: 1\nfiles:\n  - { path: /srv/**, allow: [read] }\n")];
