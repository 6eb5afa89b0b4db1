//! `RF04xx`: documents that hold together.

use super::Page;
use crate::{Dialect, diagnostic::code};

const AGENT: Option<Dialect> = Some(Dialect::SecaiAgent);

pub(super) const PAGES: &[Page] = &[
    Page::new(
        code::MISSING_COMPANION,
        "A document that needs another beside it",
        "An agent.yaml in the mode `online_assisted` leaves the network to the airlock of a SecAI \
         policy.yaml, and none is given. No destination is known then, and none is allowed.\n\n\
         Give the policy.yaml as well, or choose a mode that says itself what may be reached.",
    )
    .wrong_in(AGENT, "default_mode: online_assisted\nworkspace: { readable: [\"/srv/docs/**\"] }\n")
    .right_in(AGENT, "default_mode: standard\nworkspace: { readable: [\"/srv/docs/**\"] }\n"),
    Page::new(
        code::DISJOINT,
        "Documents that leave nothing allowed between them",
        "Documents intersect: an act must be allowed by each that governs it. No path that one of \
         these allows is allowed by the other, so that nothing but the baseline is left. Most \
         often both mean one folder and name it by different paths.\n\n\
         Name the folder in both by the path that the kernel has: `realpath` prints it.",
    )
    .wrong(
        "boundary: 1\nfiles: [{ path: /srv/a/**, allow: [read] }]\n---\nboundary: 1\nfiles: \
         [{ path: /srv/b/**, allow: [read] }]\n",
    )
    .right(
        "boundary: 1\nfiles: [{ path: /srv/**, allow: [read] }]\n---\nboundary: 1\nfiles: \
         [{ path: /srv/b/**, allow: [read] }]\n",
    ),
    Page::new(
        code::DIFFERENT_ROOTS,
        "Two documents speak of one folder by different roots",
        "One SecAI document says `/vault/…`, the other `/var/lib/secure-ai/vault/…`: inside its \
         container the agent sees the first, and the kernel of the host the second. Paths are \
         compared as written, so that nothing is allowed by both, and a rule with the wrong root \
         neither gives nor takes anything.\n\n\
         Say in a `boundary` document, given beside them, by which path the kernel knows the \
         folder.",
    )
    .wrong_in(
        None,
        "boundary: 1\nfiles: [{ path: /vault/docs/**, allow: [read] }]\n---\nworkspace: \
         { readable: [\"/var/lib/vault/docs/**\"] }\n",
    )
    .right_in(
        None,
        "boundary: 1\nfiles: [{ path: /vault/docs/**, allow: [read] }]\n---\nworkspace: \
         { readable: [\"/var/lib/vault/docs/**\"] }\n---\nboundary: 1\npath_map: \
         { /vault: /var/lib/vault }\n",
    ),
    Page::new(
        code::UNMAPPED_PATTERN,
        "A pattern that `path_map` cannot rewrite",
        "`path_map` replaces a folder at the beginning of a path. This pattern has a wildcard or a \
         class where the folder stands, so that it may reach below it without naming it, and is \
         left as it is written. A rule that allows then allows less; one that denies would deny \
         less, and is an error.\n\n\
         Write the pattern from the folder on: `/vault/**/*.txt` in place of `/**/*.txt`.",
    )
    .wrong_in(
        None,
        "workspace: { readable: [\"/v*/docs/**\"] }\n---\nboundary: 1\npath_map: \
         { /vault: /srv/vault }\n",
    )
    .right_in(
        None,
        "workspace: { readable: [\"/vault/docs/**\"] }\n---\nboundary: 1\npath_map: \
         { /vault: /srv/vault }\n",
    ),
];
