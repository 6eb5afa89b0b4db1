//! SecAI `policy.yaml`: the JSON schema of the first public version, and what a policy means to
//! the kernel.
//!
//! The kernel enforces where tools may read and write, whether programs may be started, and
//! which hosts may be reached; always in enforce mode, since the language has no other. What
//! tools are asked, and what goes over the wire, belongs to the decision service.

mod airlock;
mod model;
mod tools;

pub use model::*;
pub(crate) use tools::Tools as Firewall;

use crate::{boundary::Baseline, lowering::Lowering, model::value};

/// Lowers a policy.
pub(crate) fn lower(policy: &Policy, lowering: &mut Lowering<'_>) {
    lowering.boundary.baseline = Baseline::Programs;
    let tools = tools::Tools::new(value(&policy.tools));
    if let Some(field) = &policy.tools {
        tools.lower(&field.key, lowering);
    }
    airlock::lower(policy, &tools, lowering);
}

#[cfg(test)]
mod tests;
