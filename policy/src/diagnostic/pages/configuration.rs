//! `RF06xx`: the configuration of the agent.

use super::Page;
use crate::diagnostic::code;

pub(super) const PAGES: &[Page] = &[
    Page::new(
        code::NOT_A_CONFIGURATION,
        "The file is no configuration of the agent",
        "`ringfence agent --config` reads a configuration, which says what processes are governed \
         and by which policies. This file is a policy itself.\n\n\
         Write a configuration, and name the policy in it, below `policy` of a scope.",
    )
    .wrong_in(None, "boundary: 1\nfiles: []\n")
    .right_in(None, RIGHT),
    Page::new(
        code::BAD_SCOPE_NAME,
        "A name that cannot be a scope's, or that another scope has",
        "The name of a scope becomes that of folders, and stands in events. It has letters of \
         ASCII, digits, `-`, `_` and `.`, at most 64, and does not begin with a dot. Events of two \
         scopes of one name could not be told apart.\n\n\
         Rename one of the scopes.",
    )
    .wrong_in(
        None,
        "agent: 1\nscopes:\n  - name: my agent\n    policy: [coder.yaml]\n    \
         match: [{ unit: coder.service }]\n",
    )
    .right_in(None, RIGHT),
    Page::new(
        code::BAD_SELECTOR,
        "A selector that selects what must not be governed, or nothing",
        "The selector matches more than agents: the first process of the system, all services, \
         every user, or ringfence itself. A machine whose init is governed by an agent's policy \
         does not start again. Or it can match nothing, as a unit without its ending.\n\n\
         Select the control group, the unit or the program of the agents alone.",
    )
    .wrong_in(
        None,
        "agent: 1\nscopes:\n  - name: coder\n    policy: [coder.yaml]\n    \
         match: [{ cgroup: /system.slice }]\n",
    )
    .right_in(None, RIGHT),
    Page::new(
        code::SELECTED_ALREADY,
        "A selector that selects what one before it does",
        "Where several scopes select a process, the first in the file governs it. A selector that \
         stands in a scope before selects all that this one does, so that this one has no \
         effect.\n\n\
         Remove one of the two, or move the scope that is to govern to the front.",
    )
    .wrong_in(
        None,
        "agent: 1\nscopes:\n  - name: coder\n    policy: [coder.yaml]\n    \
         match: [{ unit: coder.service }]\n  - name: other\n    policy: [other.yaml]\n    \
         match: [{ unit: coder.service }]\n",
    )
    .right_in(None, RIGHT),
    Page::new(
        code::BAD_LISTENER,
        "An address on which the agent does not serve",
        "Metrics are served without encryption and without asking who reads them, so that they \
         are not served to other machines. An address is one on loopback, with its port.\n\n\
         Write `127.0.0.1:9464`, or the path of a Unix socket, whose folder says who may read.",
    )
    .wrong_in(
        None,
        "agent: 1\nscopes:\n  - name: coder\n    policy: [coder.yaml]\n    \
         match: [{ unit: coder.service }]\nmetrics: 0.0.0.0:9464\n",
    )
    .right_in(None, RIGHT),
];

/// A configuration as it should be.
const RIGHT: &str = "agent: 1\nscopes:\n  - name: coder\n    policy: [coder.yaml]\n    \
                     match: [{ unit: coder.service }]\n";
