//! Findings about several documents that govern together: an act must be allowed by each that
//! governs it, and what each means alone may leave nothing between them.

use crate::{
    Dialect, Document,
    boundary::{Boundary, Effect, Egress, Mode, PathRule},
    diagnostic::{Diagnostic, code},
    pattern,
};
use ringfence_common::Right;

/// What is to be said about documents that are used together, and the boundaries that they are
/// with their paths mapped. Findings carry no source line.
pub(crate) fn check(documents: &[Document], boundaries: &[Boundary]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for document in documents {
        if let Some(Egress { place, .. }) = without_airlock(document, documents) {
            let message = "`online_assisted` leaves the network to the airlock, and no SecAI \
                           policy.yaml is given: no destination is allowed";
            let help = "give the policy.yaml as well: it names the airlock's destinations";
            const KEY: &str = "default_mode";
            let length = KEY.len() as u32;
            let finding = Diagnostic::warning(code::MISSING_COMPANION, place, length, message);
            findings.push(finding.with_help(help));
        }
    }
    for (index, first) in boundaries.iter().enumerate() {
        for second in &boundaries[index + 1..] {
            for (right, word) in [(Right::Read, "read"), (Right::Write, "written")] {
                findings.extend(disjoint(first, second, right, word));
            }
        }
    }
    findings
}

/// The destinations of a document that leaves them to an airlock which none of the documents has:
/// none, since none is known.
pub(crate) fn without_airlock(document: &Document, documents: &[Document]) -> Option<Egress> {
    let place = document.leaves_network_to_airlock.clone()?;
    let has_policy = documents.iter().any(|document| document.dialect == Dialect::SecaiPolicy);
    let none = Egress { mode: Mode::Enforce, place, is_rule: false, rules: Vec::new() };
    (!has_policy).then_some(none)
}

/// Documents of which nothing is left together: they may speak of the same folder by different
/// paths.
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
    let (one, two) = (&first.file, &second.file);
    let nothing = format!("nothing may be {word}: no path of {one} is a path of {two} as well");
    let pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| (*a, *b)));
    if let Some((a, b, (from, to))) = pairs.filter_map(|(a, b)| Some((a, b, roots(a, b)?))).next() {
        let message = format!(
            "{nothing}; `{}` here and `{}` at {} look like one folder by two paths",
            a.pattern, b.pattern, b.place
        );
        let help = format!(
            "say in a `boundary` document that is given with them where the folder is: `path_map: \
             {{ {from}: {to} }}`"
        );
        let finding = Diagnostic::warning(code::DIFFERENT_ROOTS, a.place.clone(), 1, message);
        return Some(finding.with_help(help));
    }
    let help = format!(
        "documents intersect, and paths are compared as written: `{}` here, `{}` at {}",
        example.pattern, other.pattern, other.place
    );
    let finding = Diagnostic::warning(code::DISJOINT, example.place.clone(), 1, nothing);
    Some(finding.with_help(help))
}

/// The folder of one rule and that of the other, as a map of paths has them, when the paths end
/// alike: the shorter is found within the longer.
fn roots(a: &PathRule, b: &PathRule) -> Option<(String, String)> {
    let parts = |rule| start(rule).split('/').skip(1).collect::<Vec<&str>>();
    let (mut a, mut b) = (parts(a), parts(b));
    if a.len() > b.len() {
        std::mem::swap(&mut a, &mut b);
    }
    if a.is_empty() || a.len() == b.len() || !b.ends_with(&a) {
        return None;
    }
    let shared = a.len() - 1;
    let path = |parts: &[&str]| format!("/{}", parts.join("/"));
    Some((path(&a[..1]), path(&b[..b.len() - shared])))
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
