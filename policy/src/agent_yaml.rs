//! SecAI `agent.yaml`: its keys, written from the document since it has no schema, and what a
//! file means to the kernel.
//!
//! The kernel enforces the workspace, and the network that `default_mode` leaves; always in
//! enforce mode, since the language has no other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::{
    boundary::{Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, Place, Rights, Target},
    diagnostic::{code, quoted},
    document::Node,
    lowering::Lowering,
    pattern,
    schema::{
        Field,
        Shape::{self, Boolean, List, Mapping, OneOf, Text, Whole},
        optional,
    },
};

const AT_LEAST_0: Shape = Whole(0.0, f64::INFINITY);
const PREFERENCE: Shape = OneOf(&["always", "ask", "never"]);

/// The outermost keys. None is required: each has a default.
pub(crate) const FIELDS: &[Field] = &[
    optional("version", Whole(1.0, 1.0)),
    optional("default_mode", OneOf(&["standard", "offline_only", "online_assisted", "sensitive"])),
    optional(
        "budgets",
        Mapping(&[
            optional("standard", BUDGET),
            optional("offline_only", BUDGET),
            optional("online_assisted", BUDGET),
            optional("sensitive", BUDGET),
        ]),
    ),
    optional(
        "workspace",
        Mapping(&[optional("readable", List(&Text)), optional("writable", List(&Text))]),
    ),
    optional("allowed_tools", List(&Text)),
    optional(
        "configurable_defaults",
        Mapping(&[
            optional("read_file", PREFERENCE),
            optional("write_file", PREFERENCE),
            optional("overwrite_file", PREFERENCE),
            optional("tool_invoke", PREFERENCE),
        ]),
    ),
    optional("always_deny", List(&Text)),
    optional("hard_approval", List(&Text)),
    optional(
        "worker",
        Mapping(&[
            optional("sensitive_mode_recycle", Boolean),
            optional("tmpfs_scratch", Boolean),
            optional("no_ambient_secrets", Boolean),
        ]),
    ),
    optional(
        "logging",
        Mapping(&[
            optional("log_policy_decisions", Boolean),
            optional("log_step_actions", Boolean),
            optional("log_raw_prompts", Boolean),
            optional("log_raw_content", Boolean),
            optional("log_file_paths", Boolean),
        ]),
    ),
];

const BUDGET: Shape = Mapping(&[
    optional("max_steps", AT_LEAST_0),
    optional("max_tool_calls", AT_LEAST_0),
    optional("max_tokens", AT_LEAST_0),
    optional("max_wall_clock_seconds", AT_LEAST_0),
    optional("max_files_touched", AT_LEAST_0),
    optional("max_output_bytes", AT_LEAST_0),
]);

/// Lowers a file.
pub(crate) fn lower(agent: &Node, lowering: &mut Lowering<'_>) {
    lower_workspace(agent, lowering);
    lower_mode(agent, lowering);
    if let Some(budgets) = agent.entry("budgets") {
        let message = "the kernel does not count these budgets in this version";
        let help = "they stay with the agent that spends them";
        lowering.warn_key(code::NOT_ENFORCED, &budgets.key, message, help);
    }
}

/// A file without a workspace registers none: nothing but the baseline may be read or written.
fn lower_workspace(agent: &Node, lowering: &mut Lowering<'_>) {
    let workspace = agent.entry("workspace");
    let start = Place { line: 1, column: 1, ..agent.place.clone() };
    let place = workspace.map_or(start, |entry| entry.key.place.clone());
    lowering.boundary.path_groups.push(PathGroup {
        rights: Rights::READ.and(Rights::WRITE),
        mode: Mode::Enforce,
        place: place.clone(),
        is_rule: false,
    });
    let list = |name| workspace.and_then(|entry| entry.value.get(name));
    let items = |name| list(name).map_or(&[][..], Node::items);
    if items("readable").is_empty() && items("writable").is_empty() {
        let message = "no workspace: the agent may read and write nothing but the baseline";
        let finding = crate::Diagnostic::warning(code::EMPTY_ALLOWLIST, place, 0, message);
        lowering.diagnostics.push(
            finding.with_help("name its folders in `workspace.readable` and `workspace.writable`"),
        );
    }
    for (name, rights) in [("readable", Rights::READ), ("writable", Rights::WRITE)] {
        for item in items(name) {
            let Some(text) = item.text() else { continue };
            if pattern::check_leniently(item, text, GlobSyntax::Crossing, lowering) {
                lowering.path_rule(item, text, GlobSyntax::Crossing, Effect::Allow, rights);
            }
        }
    }
    let readable: Vec<&str> = items("readable").iter().filter_map(Node::text).collect();
    if readable.len().saturating_mul(items("writable").len()) > pattern::MAX_PAIRS {
        return;
    }
    for item in items("writable") {
        let Some(text) = item.text() else { continue };
        if !readable.iter().any(|pattern| pattern::covers(pattern, text, GlobSyntax::Crossing)) {
            let message = format!("{} may be written and not be read back", quoted(text));
            let help = "list it in `readable` as well, if the agent's tools read what they wrote";
            lowering.warning(code::WRITE_WITHOUT_READ, item, message, help);
        }
    }
}

fn lower_mode(agent: &Node, lowering: &mut Lowering<'_>) {
    let entry = agent.entry("default_mode");
    let start = Place { line: 1, column: 1, ..agent.place.clone() };
    let place = entry.map_or(start, |entry| entry.key.place.clone());
    let networks = match entry.map_or(Some("standard"), |entry| entry.value.text()) {
        Some("online_assisted") => {
            lowering.leaves_network_to_airlock = Some(place);
            return;
        }
        Some("standard") => {
            vec![
                (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
                (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
            ]
        }
        _ => Vec::new(),
    };
    let loopback = |(address, prefix)| {
        let target = Target::Network(IpNetwork::new(address, prefix).ok()?);
        let place = place.clone();
        Some(EgressRule { effect: Effect::Allow, target, ports: Vec::new(), protocol: None, place })
    };
    let rules = networks.into_iter().filter_map(loopback).collect();
    lowering.boundary.egress = Some(Egress { mode: Mode::Enforce, place, is_rule: false, rules });
}

#[cfg(test)]
mod tests;
