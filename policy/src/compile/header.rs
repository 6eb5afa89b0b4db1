//! The words of the header that follow from the groups of a policy, not from its rules.

use ringfence_common::{
    Cell, Right, Verdict,
    budget::{KINDS, Kind, Limit},
};

use super::rules::{
    EgressLayer, PathLayer, RuleBook, abstract_sockets, exec_after_start, exec_anonymous, io_uring,
    refusal,
};
use crate::boundary::{Boundary, Effect, Mode};

/// Words of the same names in [`ringfence_common::image::header`].
pub(super) struct Header {
    pub(super) governed_rights: u32,
    pub(super) governs_egress: u32,
    pub(super) files_violation: Cell,
    pub(super) socket_violation: Cell,
    pub(super) guard_violation: Cell,
    pub(super) exec_after_start: Cell,
    pub(super) io_uring: Cell,
    pub(super) exec_anonymous: Cell,
    pub(super) denies_paths: u32,
    pub(super) abstract_sockets: Cell,
    pub(super) governs_serving: u32,
    pub(super) names_contents: u32,
    /// By number of their kind.
    pub(super) budgets: [Option<Limit>; KINDS],
}

impl Header {
    pub(super) fn new(
        boundaries: &[Boundary],
        layers: &[PathLayer],
        egress_layers: &[EgressLayer<'_>],
        book: &mut RuleBook,
    ) -> Self {
        let governed = |right: &Right| {
            layers.iter().any(|layer| {
                layer.defaults.get(*right as usize).is_some_and(|default| default.is_some())
            })
        };
        let rights = Right::ALL.into_iter().filter(governed);
        let egress = || boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
        let guard_violation = guard_violation(boundaries);
        Self {
            governed_rights: rights.fold(0, |set, right| set | right.bit()),
            governs_egress: egress().count().min(1) as u32,
            files_violation: refusal(path_modes(boundaries)),
            socket_violation: refusal(egress().map(|egress| egress.mode)),
            guard_violation,
            io_uring: io_uring(boundaries, guard_violation, book),
            exec_after_start: exec_after_start(boundaries, book),
            exec_anonymous: exec_anonymous(boundaries, book),
            denies_paths: boundaries.iter().any(denies_paths).into(),
            abstract_sockets: abstract_sockets(boundaries, egress_layers),
            names_contents: layers.iter().any(|layer| !layer.pins.is_empty()).into(),
            budgets: budgets(boundaries, book),
            governs_serving: boundaries.iter().any(|one| one.serving().is_some()).into(),
        }
    }
}

/// The limits that hold for all boundaries together: of each kind the smallest that is enforced, or
/// else the smallest that is observed.
fn budgets(boundaries: &[Boundary], book: &mut RuleBook) -> [Option<Limit>; KINDS] {
    Kind::ALL.map(|kind| {
        let all = boundaries.iter().flat_map(|boundary| {
            let mode = boundary.budgets.mode;
            boundary.budgets.limits.iter().map(move |budget| (mode, budget))
        });
        let of_kind = all.filter(|(_, budget)| budget.kind == kind);
        let first = of_kind.min_by_key(|(mode, budget)| (*mode == Mode::Observe, budget.amount));
        first.map(|(mode, budget)| {
            let rule = book.add(&budget.place, budget.in_words(), false);
            Limit { amount: budget.amount, refusal: Cell::new(mode.refusal(), rule) }
        })
    })
}

fn denies_paths(boundary: &Boundary) -> bool {
    boundary.path_rules.iter().any(|rule| rule.effect == Effect::Deny)
}

fn path_modes(boundaries: &[Boundary]) -> impl Iterator<Item = Mode> {
    let groups = boundaries.iter().flat_map(|boundary| &boundary.path_groups);
    groups.filter(|group| !group.rights.is_empty()).map(|group| group.mode)
}

/// A process that could leave its boundary makes every other answer worthless, so one group in
/// enforce mode is enough to refuse, and so is a scope that has no group at all.
fn guard_violation(boundaries: &[Boundary]) -> Cell {
    match refusal(boundaries.iter().flat_map(Boundary::modes)) {
        Cell::ALLOW => Cell::new(Verdict::Deny, 0),
        cell => cell,
    }
}
