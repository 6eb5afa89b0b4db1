//! Findings about several documents that govern together: an act must be allowed by each that
//! governs it, and what each means alone may leave nothing between them.

use crate::{
    Dialect, Document,
    boundary::{Boundary, Effect, PathRule},
    diagnostic::{Diagnostic, code},
    pattern,
};
use ringfence_common::Right;

/// What is to be said about documents that are used together. Findings carry no source line.
pub fn check_together(documents: &[Document]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let has_policy = documents.iter().any(|document| document.dialect == Dialect::SecaiPolicy);
    for document in documents {
        if let Some(place) = &document.leaves_network_to_airlock
            && !has_policy
        {
            let message = "`online_assisted` leaves the network to the airlock, and no SecAI \
                           policy.yaml is given: every destination is free";
            let help = "give the policy.yaml as well: it names the airlock's destinations";
            const KEY: &str = "default_mode";
            let (place, length) = (place.clone(), KEY.len() as u32);
            let finding = Diagnostic::warning(code::MISSING_COMPANION, place, length, message);
            findings.push(finding.with_help(help));
        }
    }
    for (index, first) in documents.iter().enumerate() {
        for second in &documents[index + 1..] {
            for (right, word) in [(Right::Read, "read"), (Right::Write, "written")] {
                findings.extend(disjoint(&first.boundary, &second.boundary, right, word));
            }
        }
    }
    findings
}

/// The trap of two documents that speak of the same folder by different paths.
fn disjoint(first: &Boundary, second: &Boundary, right: Right, word: &str) -> Option<Diagnostic> {
    let (ours, theirs) = (allowed(first, right)?, allowed(second, right)?);
    let example = ours.first()?;
    let other = theirs.first()?;
    if ours.len().saturating_mul(theirs.len()) > pattern::MAX_PAIRS {
        return None;
    }
    let meets = |a: &PathRule, b: &PathRule| {
        let (a, b) = (start(a), start(b));
        a.starts_with(b) || b.starts_with(a)
    };
    if ours.iter().any(|a| theirs.iter().any(|b| meets(a, b))) {
        return None;
    }
    let message = format!(
        "nothing may be {word}: no path of {} is a path of {} as well",
        first.file, second.file
    );
    let help = format!(
        "documents intersect, and paths are compared as written: `{}` here, `{}` at {}",
        example.pattern, other.pattern, other.place
    );
    let finding = Diagnostic::warning(code::DISJOINT, example.place.clone(), 1, message);
    Some(finding.with_help(help))
}

/// The rules that give a right, when the boundary governs it.
fn allowed(boundary: &Boundary, right: Right) -> Option<Vec<&PathRule>> {
    let governs = boundary.path_groups.iter().any(|group| group.rights.has(right));
    let gives = |rule: &&PathRule| rule.effect == Effect::Allow && rule.rights.has(right);
    governs.then(|| boundary.path_rules.iter().filter(gives).collect())
}

fn start(rule: &PathRule) -> &str {
    pattern::literal_start(&rule.pattern).trim_end_matches('/')
}

#[cfg(test)]
mod tests;
