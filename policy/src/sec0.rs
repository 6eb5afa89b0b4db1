//! Sec0 policies: the JSON schema that sec0-sdk 0.2.3 checks them with, and what a policy means
//! to the kernel.
//!
//! The schema decides what is valid. Of a valid policy, the kernel enforces `security`'s
//! `fs_allowlist` and `egress_allowlist`, each in the mode that `enforcement.deny_on` gives it;
//! the rest belongs to the decision service.

mod model;

pub use model::*;

use crate::{
    boundary::{Baseline, Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, Rights, Target},
    destination,
    diagnostic::{Diagnostic, code, quoted},
    document::{Span, Spanned},
    lowering::Lowering,
    model::{Field, items, value},
    pattern,
};

/// Lowers a policy.
pub(crate) fn lower(policy: &Policy, lowering: &mut Lowering<'_>) {
    lowering.boundary.baseline = Baseline::Programs;
    check_compliance_rules(policy, lowering);
    check_retention(policy, lowering);
    let Some(security) = value(&policy.security) else { return };
    if let Some(list) = &security.fs_allowlist {
        lower_paths(list, mode(policy, Violation::Fs), lowering);
    }
    if let Some(list) = &security.egress_allowlist {
        lower_egress(list, mode(policy, Violation::Egress), lowering);
    }
}

/// Enforce where the violation is among those that deny, else observe: `deny_on: []` logs
/// everything and blocks nothing.
fn mode(policy: &Policy, violation: Violation) -> Mode {
    let enforcement = value(&policy.enforcement);
    let deny_on = enforcement.map_or(&[][..], |enforcement| items(&enforcement.deny_on));
    let denies = deny_on.iter().any(|item| item.value == violation);
    if denies { Mode::Enforce } else { Mode::Observe }
}

fn lower_paths(list: &Field<Vec<Spanned<String>>>, mode: Mode, lowering: &mut Lowering<'_>) {
    let rights = Rights::FILES.and(Rights::EXEC);
    lowering.boundary.path_groups.push(PathGroup {
        rights,
        mode,
        place: list.key.place.clone(),
        is_rule: true,
    });
    if list.is_empty_list() {
        lowering.warn_empty("fs_allowlist", &list.key);
    }
    for Spanned { value, span } in list.items() {
        if pattern::check_leniently(span, value, GlobSyntax::Crossing, lowering) {
            lowering.path_rule(span, value, GlobSyntax::Crossing, Effect::Allow, rights);
        }
    }
}

fn lower_egress(list: &Field<Vec<Spanned<String>>>, mode: Mode, lowering: &mut Lowering<'_>) {
    let place = list.key.place.clone();
    lowering.boundary.egress = Some(Egress { mode, place, is_rule: true, rules: Vec::new() });
    if list.is_empty_list() {
        lowering.warn_empty("egress_allowlist", &list.key);
    }
    for Spanned { value, span } in list.items() {
        match destination::with_port(value) {
            Ok((destination, port)) => {
                let rule = EgressRule {
                    effect: Effect::Allow,
                    target: Target::Host(String::new()),
                    ports: port.map(|port| port..=port).into_iter().collect(),
                    protocol: None,
                    tls_name_check: true,
                    place: span.place.clone(),
                };
                lowering.egress_rule(span, destination, rule);
            }
            Err(fault) => lowering.destination_fault(span, fault),
        }
    }
}

/// The schema takes any text for how long artifacts are kept, and only a number of days means
/// anything to those that keep them.
fn check_retention(policy: &Policy, lowering: &mut Lowering<'_>) {
    let privacy = value(&policy.privacy);
    let Some(retention) = privacy.and_then(|privacy| value(&privacy.artifact_retention)) else {
        return;
    };
    for field in [&retention.public, &retention.pii, &retention.phi].into_iter().flatten() {
        let Some(text) = &field.value else { continue };
        let digits = text.strip_suffix('d').unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = format!("{} is no number of days", quoted(text));
            let number: String = text.chars().take_while(char::is_ascii_digit).collect();
            let example = if number.is_empty() { "30".to_owned() } else { number };
            let help = format!("write `{example}d`, a number and `d`");
            lowering.warning(code::SURPRISING, &field.span, message, &help);
        }
    }
}

/// The one condition in the schema: an `nl` rule needs an instruction and a threshold, every
/// other rule at least one pattern.
fn check_compliance_rules(policy: &Policy, lowering: &mut Lowering<'_>) {
    let packs = value(&policy.compliance).map_or(&[][..], |compliance| items(&compliance.packs));
    for Spanned { value: rule, span } in packs.iter().flat_map(|pack| items(&pack.value.rules)) {
        let kind = value(&rule.kind).copied();
        if kind == Some(RuleKind::Nl) {
            need("instruction", rule.instruction.is_some(), kind, span, lowering);
            need("threshold", rule.threshold.is_some(), kind, span, lowering);
            continue;
        }
        need("patterns", rule.patterns.is_some(), kind, span, lowering);
        if let Some(patterns) = rule.patterns.as_ref().filter(|list| list.is_empty_list()) {
            let message = "`patterns` needs at least one pattern".to_owned();
            let help = "add one, as `(?i)api_key=`";
            lowering.error(code::OUT_OF_RANGE, &patterns.span, message, help);
        }
    }
}

fn need(
    key: &str,
    is_there: bool,
    kind: Option<RuleKind>,
    rule: &Span,
    lowering: &mut Lowering<'_>,
) {
    if is_there {
        return;
    }
    let kind = kind.map_or("regex", RuleKind::word);
    let message = format!("a rule of the type `{kind}` needs the key `{key}`");
    let (place, length) = (rule.place.clone(), rule.length.clamp(1, 2));
    let finding = Diagnostic::error(code::MISSING_KEY, place, length, message);
    lowering.diagnostics.push(finding.with_help(format!("add {}", quoted(key))));
}

#[cfg(test)]
mod tests;
