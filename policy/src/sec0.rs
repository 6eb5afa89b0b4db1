//! Sec0 policies: the JSON schema that sec0-sdk 0.2.3 checks them with, and what a policy means
//! to the kernel.
//!
//! The schema decides what is valid. Of a valid policy, the kernel enforces `security`'s
//! `fs_allowlist` and `egress_allowlist`, each in the mode that `enforcement.deny_on` gives it;
//! the rest belongs to the decision service.

mod shape;

use crate::{
    boundary::{Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, Rights, Target},
    destination,
    diagnostic::{Diagnostic, code, quoted},
    document::{Entry, Node, Value},
    lowering::Lowering,
    pattern,
};

pub(crate) use shape::FIELDS;

/// Lowers a policy.
pub(crate) fn lower(policy: &Node, lowering: &mut Lowering<'_>) {
    check_compliance_rules(policy, lowering);
    let Some(security) = policy.get("security") else { return };
    if let Some(list) = security.entry("fs_allowlist") {
        lower_paths(list, mode(policy, "fs_violation"), lowering);
    }
    if let Some(list) = security.entry("egress_allowlist") {
        lower_egress(list, mode(policy, "egress_violation"), lowering);
    }
}

/// Enforce where the violation is among those that deny, else observe: `deny_on: []` logs
/// everything and blocks nothing.
fn mode(policy: &Node, violation: &str) -> Mode {
    let deny_on = policy.get("enforcement").and_then(|enforcement| enforcement.get("deny_on"));
    let denies =
        deny_on.is_some_and(|list| list.items().iter().any(|item| item.text() == Some(violation)));
    if denies { Mode::Enforce } else { Mode::Observe }
}

fn lower_paths(list: &Entry, mode: Mode, lowering: &mut Lowering<'_>) {
    let rights = Rights::READ.and(Rights::WRITE).and(Rights::EXEC);
    lowering.boundary.path_groups.push(PathGroup {
        rights,
        mode,
        place: list.key.place.clone(),
        is_rule: true,
    });
    warn_if_empty(list, lowering);
    for item in list.value.items() {
        let Some(text) = item.text() else { continue };
        if pattern::check_leniently(item, text, GlobSyntax::Crossing, lowering) {
            lowering.path_rule(item, text, GlobSyntax::Crossing, Effect::Allow, rights);
        }
    }
}

fn lower_egress(list: &Entry, mode: Mode, lowering: &mut Lowering<'_>) {
    lowering.boundary.egress =
        Some(Egress { mode, place: list.key.place.clone(), is_rule: true, rules: Vec::new() });
    warn_if_empty(list, lowering);
    for item in list.value.items() {
        let Some(text) = item.text() else { continue };
        match destination::with_port(text) {
            Ok((destination, port)) => {
                let rule = EgressRule {
                    effect: Effect::Allow,
                    target: Target::Host(String::new()),
                    ports: port.map(|port| port..=port).into_iter().collect(),
                    protocol: None,
                    place: item.place.clone(),
                };
                lowering.egress_rule(item, destination, rule);
            }
            Err(fault) => lowering.destination_fault(item, fault),
        }
    }
}

fn warn_if_empty(list: &Entry, lowering: &mut Lowering<'_>) {
    if matches!(&list.value.value, Value::List(items) if items.is_empty()) {
        lowering.warn_empty(&list.key);
    }
}

/// The one condition in the schema: an `nl` rule needs an instruction and a threshold, every
/// other rule at least one pattern.
fn check_compliance_rules(policy: &Node, lowering: &mut Lowering<'_>) {
    let packs = policy.get("compliance").and_then(|compliance| compliance.get("packs"));
    let packs = packs.map_or(&[][..], Node::items);
    for rule in packs.iter().filter_map(|pack| pack.get("rules")).flat_map(Node::items) {
        if !matches!(rule.value, Value::Mapping(_)) {
            continue;
        }
        let kind = rule.get("type").and_then(Node::text);
        let needed: &[&str] =
            if kind == Some("nl") { &["instruction", "threshold"] } else { &["patterns"] };
        for key in needed.iter().filter(|key| rule.get(key).is_none()) {
            let message =
                format!("a rule of the type `{}` needs the key `{key}`", kind.unwrap_or("regex"));
            let place = rule.place.clone();
            let finding =
                Diagnostic::error(code::MISSING_KEY, place, rule.length.clamp(1, 2), message);
            lowering.diagnostics.push(finding.with_help(format!("add {}", quoted(key))));
        }
        let patterns = rule.entry("patterns").filter(|_| kind != Some("nl"));
        if let Some(entry) = patterns
            && matches!(&entry.value.value, Value::List(items) if items.is_empty())
        {
            let message = "`patterns` needs at least one pattern".to_owned();
            lowering.error(code::OUT_OF_RANGE, &entry.value, message, "add one, as `(?i)api_key=`");
        }
    }
}

#[cfg(test)]
mod tests;
