//! SecAI `policy.yaml`: the JSON schema of the first public version, and what a policy means to
//! the kernel.
//!
//! The kernel enforces where tools may read and write, whether programs may be started, and
//! which hosts may be reached; always in enforce mode, since the language has no other. What
//! tools are asked, and what goes over the wire, belongs to the decision service.

mod airlock;
mod shape;
mod tools;

use crate::{
    diagnostic::{Diagnostic, code},
    document::{Node, Value},
    lowering::Lowering,
};

pub(crate) use shape::FIELDS;

/// Recognises the incompatible schema that came later, and refuses it by name: half of a policy
/// must not be taken for the whole.
pub(crate) fn is_later_version(policy: &Node, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let allowed = policy.get("tools").and_then(|tools| tools.get("allow"));
    let typed_arguments =
        allowed.map_or(&[][..], Node::items).iter().find_map(|tool| tool.entry("args"));
    let quarantine = policy.entry("quarantine").filter(|entry| {
        let known = ["stages", "smoke_test_max_score", "smoke_test_max_critical"];
        let entries = entry.value.entries();
        entry.value.get("stages").is_none()
            && entries.iter().any(|entry| !known.contains(&entry.key.name.as_str()))
    });
    let version = policy
        .get("version")
        .filter(|node| matches!(&node.value, Value::Number(number) if number.value > 1.0));
    let (what, telling) = match (typed_arguments, quarantine, version) {
        (Some(entry), _, _) => ("tools have typed `args`", entry),
        (None, Some(entry), Some(_)) => ("`quarantine` has no `stages`", entry),
        _ => return false,
    };
    let message = format!("this is a later version of the SecAI policy language: {what}");
    let help = "this version reads the first schema, with `quarantine.stages` and \
                `paths_allowlist`; write the boundary as a `boundary` document";
    let (place, length) = (telling.key.place.clone(), telling.key.length);
    diagnostics
        .push(Diagnostic::error(code::UNSUPPORTED_VERSION, place, length, message).with_help(help));
    true
}

/// Lowers a policy.
pub(crate) fn lower(policy: &Node, lowering: &mut Lowering<'_>) {
    let tools = tools::Tools::new(policy.get("tools"));
    if let Some(entry) = policy.entry("tools") {
        tools.lower(&entry.key, lowering);
    }
    airlock::lower(policy, &tools, lowering);
}

#[cfg(test)]
mod tests;
