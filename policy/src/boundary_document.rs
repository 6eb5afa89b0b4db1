//! The `boundary` document: our own language, in which everything that the kernel enforces can
//! be said.

mod amounts;
mod groups;
mod model;

pub(crate) use groups::RIGHTS;
pub use model::*;

use crate::{
    boundary::{Baseline, Mode, Place, Rings},
    document::{Span, Spanned},
    lowering::Lowering,
    model::{Field, value},
    path_map,
};

/// Lowers a document.
pub(crate) fn lower(document: &Document, lowering: &mut Lowering<'_>) {
    let mode = value(&document.mode).map_or(Mode::Enforce, |word| mode_of(*word));
    lowering.boundary.baseline = match value(&document.baseline) {
        None | Some(BaselineWord::System) => Baseline::Libraries,
        Some(BaselineWord::Programs) => Baseline::Programs,
        Some(BaselineWord::None) => Baseline::None,
    };
    if let Some(field) = &document.path_map {
        path_map::lower(field, lowering);
    }
    if let Some(group) = Group::of("files", &document.files, mode) {
        groups::files(&group, lowering);
    }
    if let Some(group) = Group::of("exec", &document.exec, mode) {
        groups::exec(&group, lowering);
    }
    if let Some(field) = &document.exec_after_start
        && field.value == Some(AfterStart::Deny)
    {
        lowering.boundary.no_exec_after_start = Some((mode, field.key.place.clone()));
    }
    if let Some(field) = &document.exec_anonymous
        && field.value == Some(AnonymousCode::Deny)
    {
        lowering.boundary.no_anonymous_code = Some((mode, field.key.place.clone()));
    }
    if let Some(field) = &document.io_uring
        && let Some(word) = field.value
    {
        let place = field.key.place.clone();
        let refused = (word == RingWord::Deny).then_some(mode);
        lowering.boundary.io_uring = Some(Rings { refused, place });
    }
    if let Some(group) = Group::of("egress", &document.egress, mode) {
        groups::egress(&group, lowering);
    }
    if let Some(group) = Group::of("listen", &document.listen, mode) {
        groups::listen(&group, lowering);
    }
    if let Some(group) = Group::of("sockets", &document.sockets, mode) {
        groups::sockets(&group, lowering);
    }
    if let Some(field) = &document.budgets
        && let Some(budgets) = &field.value
    {
        lowering.boundary.budgets = amounts::budgets(budgets, mode, lowering);
    }
}

const fn mode_of(word: ModeWord) -> Mode {
    match word {
        ModeWord::Enforce => Mode::Enforce,
        ModeWord::Observe => Mode::Observe,
    }
}

/// A group of rules that a document has.
struct Group<'a, T> {
    name: &'static str,
    key: &'a Span,
    mode: Mode,
    rules: &'a [Spanned<T>],
    is_empty: bool,
}

impl<'a, T> Group<'a, T> {
    fn of(name: &'static str, field: &'a Option<Field<Rules<T>>>, outer: Mode) -> Option<Self> {
        let field = field.as_ref()?;
        let rules = field.value.as_ref()?;
        let mode = value(&rules.mode).map_or(outer, |word| mode_of(*word));
        let (key, is_empty) = (&field.key, rules.is_empty);
        Some(Self { name, key, mode, rules: &rules.rules, is_empty })
    }

    fn place(&self) -> Place {
        self.key.place.clone()
    }
}

#[cfg(test)]
mod tests;
