//! What the metrics tell of a scope.

use std::{rc::Rc, sync::Arc};

use ringfence_common::{
    content::MAX_PINS,
    installed::MAX_SCOPE_ENTRIES,
    scope::{About, ENFORCES},
};

use super::{Governed, Teller};
use crate::{
    about,
    names::Service as Resolver,
    policies::Policy,
    service::metrics::{Fill, Scope},
};

/// A scope as it was last put in force, and what it has counted up to now.
pub(in crate::service) struct View {
    /// Its name.
    pub(in crate::service) name: String,
    /// Its number in the set.
    number: u32,
    policy: Arc<Policy>,
    generation: u32,
    contents: usize,
    told: Rc<Teller>,
}

impl Governed {
    /// What the metrics tell of it, until it is put in force anew.
    pub(in crate::service) fn view(&self) -> View {
        View {
            name: self.name.clone(),
            number: self.number(),
            policy: Arc::clone(&self.policy),
            generation: self.generation,
            contents: self.contents.len(),
            told: Rc::clone(&self.told),
        }
    }
}

impl View {
    /// What is known here: nothing is asked of the kernel but how many events were lost.
    pub(in crate::service) fn measure(&self) -> Scope {
        let resolver = self.told.resolver.borrow();
        let resolver = resolver.as_ref();
        let audit = self.told.audit.borrow();
        let kernel = self.told.programs.borrow().lost();
        let mut tables = vec![Fill::new("programs", self.contents, MAX_PINS)];
        if let Some(resolver) = resolver {
            tables.push(Fill::new("addresses", resolver.addresses(), MAX_SCOPE_ENTRIES));
        }
        Scope {
            name: self.name.clone(),
            number: self.number,
            enforces: self.policy.about.modes & ENFORCES != 0,
            is_in_force: false,
            missing: missing(&self.policy.about),
            sha256: self.policy.sha256.clone(),
            generation: self.generation,
            decisions: audit.counts.iter().map(|(kind, count)| (*kind, *count)).collect(),
            losses: audit.losses(kernel, resolver.map_or(0, Resolver::lost)),
            tables,
            questions: resolver.map(|resolver| resolver.counts().questions()),
            tasks: None,
            budgets: Vec::new(),
            reloads: Default::default(),
        }
    }
}

/// What is not enforced: each piece, as far as there was room for it, and that there is more.
fn missing(about: &About) -> Vec<String> {
    let text = about::text(&about.pieces);
    let mut pieces: Vec<String> = text.lines().map(str::to_owned).collect();
    if pieces.len() < about.missing as usize {
        pieces.push("more".to_owned());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use ringfence_common::scope::PIECES_BYTES;
    use zerocopy::FromZeros as _;

    use super::*;

    #[test]
    fn what_there_was_no_room_for_is_told_as_more() {
        for (text, count, expected) in [
            ("", 0, &[][..]),
            ("a.yaml:1:1: ipc", 1, &["a.yaml:1:1: ipc"]),
            ("a\nb", 2, &["a", "b"]),
            ("a\nb", 7, &["a", "b", "more"]),
        ] {
            let mut about = About { missing: count, ..About::new_zeroed() };
            let mut room = [0; PIECES_BYTES];
            room[..text.len()].copy_from_slice(text.as_bytes());
            about.pieces = room;
            assert_eq!(missing(&about), expected);
        }
    }
}
