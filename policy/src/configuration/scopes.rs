//! The scopes of a configuration: their names, and what holds for each.

use std::{collections::HashMap, path::Path};

use super::{
    Scope, UnlistedNames,
    keys::{Document, ScopeKeys, UnlistedWord},
    selectors,
};
use crate::{
    boundary::Mode,
    boundary_document::ModeWord,
    diagnostic::{Diagnostic, code, quoted},
    lowering::Lowering,
    model::{Field, items, value},
};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Reads the scopes; policies are relative to `folder`.
pub(super) fn lower(document: &Document, folder: &Path, lowering: &mut Lowering<'_>) -> Vec<Scope> {
    let keys = items(&document.scopes);
    let mut lines = HashMap::new();
    let mut scopes = Vec::new();
    for scope in keys {
        let Some(field) = &scope.value.name else { continue };
        let Some(name) = &field.value else { continue };
        if check_name(field, name, lowering)
            && let Some(line) = lines.insert(name.clone(), field.span.place.line)
        {
            let message = format!("the scope {} is there twice", quoted(name));
            let help = format!("the first is on line {line}; give this one another name");
            lowering.error(code::BAD_SCOPE_NAME, &field.span, message, &help);
        }
    }
    let mut all = selectors::Selectors::default();
    for scope in keys {
        let selectors = all.of_scope(&scope.value, lowering);
        scopes.extend(lower_one(&scope.value, folder, selectors));
    }
    scopes
}

/// A scope; `None` when what it must have is missing, which has a finding.
fn lower_one(
    keys: &ScopeKeys,
    folder: &Path,
    selectors: Vec<selectors::Selector>,
) -> Option<Scope> {
    let name = keys.name.as_ref()?;
    Some(Scope {
        name: name.value.clone()?,
        place: name.span.place.clone(),
        policies: items(&keys.policy).iter().map(|file| folder.join(&file.value)).collect(),
        mode: value(&keys.mode).map(|word| match word {
            ModeWord::Enforce => Mode::Enforce,
            ModeWord::Observe => Mode::Observe,
        }),
        unlisted_names: match value(&keys.unlisted_names) {
            None | Some(UnlistedWord::Refused) => UnlistedNames::Refused,
            Some(UnlistedWord::Nxdomain) => UnlistedNames::Nxdomain,
        },
        allow_degraded: value(&keys.allow_degraded).copied().unwrap_or_default(),
        selectors,
    })
}

/// Whether a name can be a scope's: it becomes the name of folders.
fn check_name(field: &Field<String>, name: &str, lowering: &mut Lowering<'_>) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let wrong = name.chars().position(|c| !is_word(c));
    let (at, message) = if name.is_empty() {
        (None, "the name is empty".to_owned())
    } else if name.starts_with('.') {
        (Some(0), format!("the name {} begins with a dot", quoted(name)))
    } else if wrong.is_some() {
        (wrong, format!("the name {} has a character that no name has", quoted(name)))
    } else if name.len() > MAX_NAME_BYTES {
        (None, format!("the name has more than {MAX_NAME_BYTES} characters"))
    } else {
        return true;
    };
    let span = &field.span;
    let (place, length) = at.map_or((span.place.clone(), span.length.max(1)), |at| span.within(at));
    let help = "a name has letters of ASCII, digits, `-`, `_` and `.`, at most 64, and does not \
                begin with a dot";
    let finding = Diagnostic::error(code::BAD_SCOPE_NAME, place, length, message);
    lowering.diagnostics.push(finding.with_help(help));
    false
}
