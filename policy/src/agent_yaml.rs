//! SecAI `agent.yaml`: what a file means to the kernel.
//!
//! The kernel enforces the workspace, and the network that `default_mode` leaves; always in
//! enforce mode, since the language has no other.

mod model;

pub use model::*;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use ringfence_common::budget::Kind;

use crate::{
    boundary::{
        self, Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, Place, Rights, Target,
    },
    diagnostic::{Diagnostic, code, quoted},
    document::Spanned,
    lowering::Lowering,
    model::{items, value},
    pattern,
};

/// Lowers a file. `start` is the beginning of the document, for what it does not say.
pub(crate) fn lower(agent: &Agent, start: &Place, lowering: &mut Lowering<'_>) {
    lower_workspace(agent, start, lowering);
    lower_mode(agent, start, lowering);
    lower_budgets(agent, lowering);
}

/// The mode of sessions that name none.
fn default_mode(agent: &Agent) -> SessionMode {
    value(&agent.default_mode).copied().unwrap_or(SessionMode::Standard)
}

/// A file without a workspace registers none: nothing but the baseline may be read or written.
fn lower_workspace(agent: &Agent, start: &Place, lowering: &mut Lowering<'_>) {
    let workspace = agent.workspace.as_ref();
    let place = workspace.map_or(start, |field| &field.key.place).clone();
    lowering.boundary.path_groups.push(PathGroup {
        rights: Rights::FILES,
        mode: Mode::Enforce,
        place: place.clone(),
        is_rule: false,
    });
    let nothing = Workspace::default();
    let workspace = value(&agent.workspace).unwrap_or(&nothing);
    let (readable, writable) = (items(&workspace.readable), items(&workspace.writable));
    if readable.is_empty() && writable.is_empty() {
        let message = "no workspace: the agent may read and write nothing but the baseline";
        let finding = Diagnostic::warning(code::EMPTY_ALLOWLIST, place, 0, message);
        lowering.diagnostics.push(
            finding.with_help("name its folders in `workspace.readable` and `workspace.writable`"),
        );
    }
    for (list, rights) in [(readable, Rights::READ), (writable, Rights::WRITE)] {
        for Spanned { value, span } in list {
            if pattern::check_leniently(span, value, GlobSyntax::Crossing, lowering) {
                lowering.path_rule(span, value, GlobSyntax::Crossing, Effect::Allow, rights);
            }
        }
    }
    let is_unread = workspace.readable.as_ref().is_some_and(|field| field.value.is_none());
    if is_unread || readable.len().saturating_mul(writable.len()) > pattern::MAX_PAIRS {
        return;
    }
    for Spanned { value, span } in writable {
        let covers =
            |other: &Spanned<String>| pattern::covers(&other.value, value, GlobSyntax::Crossing);
        if !readable.iter().any(covers) {
            let message = format!("{} may be written and not be read back", quoted(value));
            let help = "list it in `readable` as well, if the agent's tools read what they wrote";
            lowering.warning(code::WRITE_WITHOUT_READ, span, message, help);
        }
    }
}

fn lower_mode(agent: &Agent, start: &Place, lowering: &mut Lowering<'_>) {
    let place = agent.default_mode.as_ref().map_or(start, |field| &field.key.place).clone();
    let networks = match default_mode(agent) {
        SessionMode::OnlineAssisted => {
            lowering.leaves_network_to_airlock = Some(place);
            return;
        }
        SessionMode::Standard => vec![
            (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
            (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
        ],
        SessionMode::OfflineOnly | SessionMode::Sensitive => Vec::new(),
    };
    let loopback = |(address, prefix)| {
        let target = Target::Network(IpNetwork::new(address, prefix).ok()?);
        let place = place.clone();
        Some(EgressRule {
            effect: Effect::Allow,
            target,
            ports: Vec::new(),
            protocol: None,
            tls_name_check: true,
            place,
        })
    };
    let rules = networks.into_iter().filter_map(loopback).collect();
    lowering.boundary.egress = Some(Egress { mode: Mode::Enforce, place, is_rule: false, rules });
}

/// The budgets of the default mode that are about what the kernel sees.
fn lower_budgets(agent: &Agent, lowering: &mut Lowering<'_>) {
    let Some(budgets) = value(&agent.budgets) else { return };
    let of_mode = value(match default_mode(agent) {
        SessionMode::Standard => &budgets.standard,
        SessionMode::OfflineOnly => &budgets.offline_only,
        SessionMode::OnlineAssisted => &budgets.online_assisted,
        SessionMode::Sensitive => &budgets.sensitive,
    });
    let Some(budget) = of_mode else { return };
    for (kind, field, unit) in [
        (Kind::WallClock, &budget.max_wall_clock_seconds, 1000),
        (Kind::FilesTouched, &budget.max_files_touched, 1),
        (Kind::OutputBytes, &budget.max_output_bytes, 1),
    ] {
        if let Some(field) = field
            && let Some(amount) = field.value
        {
            let (amount, place) = (amount.saturating_mul(unit), field.key.place.clone());
            lowering.boundary.budgets.limits.push(boundary::Budget { kind, amount, place });
        }
    }
}

#[cfg(test)]
mod tests;
