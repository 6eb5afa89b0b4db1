//! Numbers every rule, and sorts the rules of each boundary into layers: one for paths, one for
//! destinations, one for ports that are served.

use std::{collections::HashMap, fmt::Write};

use ringfence_common::{Cell, Right, Verdict, egress::Protocol};

use super::{CompileError, Pin, Problem, RuleInfo};
use crate::baseline;
use crate::boundary::{
    Boundary, Effect, EgressRule, GlobSyntax, ListenRule, Mode, PathGroup, PathRule, Place, Rights,
    Target,
};

/// The rules that have a number, in order of number.
#[derive(Default)]
pub(crate) struct RuleBook {
    rules: Vec<RuleInfo>,
    /// Numbers that were given before the first of them.
    before: u32,
}

impl RuleBook {
    /// A book whose first rule gets the number after `last`.
    pub(crate) fn after(last: u32) -> Self {
        Self { rules: Vec::new(), before: last }
    }

    /// Gives the next number to a rule.
    pub(super) fn add(&mut self, place: &Place, text: String, is_default: bool) -> u32 {
        self.rules.push(RuleInfo { place: place.clone(), text, is_default });
        self.last()
    }

    /// The number that was given last.
    pub(super) fn last(&self) -> u32 {
        // A policy text that held more rules than the number has room for could not be read.
        u32::try_from(self.rules.len()).map_or(0, |count| self.before.saturating_add(count))
    }

    /// The error that names the rule with this number.
    pub(super) fn error(&self, number: u32, problem: Problem) -> CompileError {
        let (place, rule) = match self.get(number) {
            Some(rule) => (rule.place.clone(), rule.text.clone()),
            None => (Place { file: "".into(), line: 0, column: 0 }, String::new()),
        };
        CompileError { place, rule, problem }
    }

    /// How many rules have a number.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// What a rule number stands for.
    pub(super) fn get(&self, number: u32) -> Option<&RuleInfo> {
        self.rules.get(number.checked_sub(self.before)?.checked_sub(1)? as usize)
    }

    pub(super) fn into_rules(self) -> Vec<RuleInfo> {
        self.rules
    }
}

/// What one boundary says about paths.
pub(super) struct PathLayer {
    /// For each right that the boundary governs, the answer when no rule matches.
    pub(super) defaults: [Option<Cell>; Right::ALL.len()],
    /// Rules in the order of the document, without the rights that the boundary does not govern.
    pub(super) rules: Vec<NumberedPathRule>,
    /// Those of them that ask for a content.
    pub(super) pins: Vec<Pin>,
    /// The number of the first rule of the baseline; those after it in the layer are its too.
    pub(super) first_baseline: u32,
}

/// A rule about paths with its number.
pub(super) struct NumberedPathRule {
    pub(super) number: u32,
    /// Number of the first rule that stands at the same place with the same effect: what the user
    /// sees as one rule.
    pub(super) group: u32,
    pub(super) is_baseline: bool,
    pub(super) effect: Effect,
    /// It gives only while the file has a certain content, and takes otherwise.
    pub(super) is_pin: bool,
    pub(super) rights: Rights,
    pub(super) pattern: String,
    pub(super) syntax: GlobSyntax,
}

/// What one boundary says about destinations.
pub(crate) struct EgressLayer<'a> {
    /// The answer when no rule matches: one that a name may still change.
    pub(crate) default: Cell,
    /// The answer to addresses that only a rule opens that names them literally.
    pub(crate) unnamed: Cell,
    /// Rules in the order of the document.
    pub(crate) rules: Vec<NumberedEgressRule<'a>>,
}

/// A rule about destinations with its number.
#[derive(Clone, Copy)]
pub(crate) struct NumberedEgressRule<'a> {
    pub(crate) number: u32,
    /// As for [`NumberedPathRule::group`].
    pub(crate) group: u32,
    pub(crate) rule: &'a EgressRule,
}

/// The path layers of the boundaries that govern any right.
pub(super) fn path_layers(boundaries: &[Boundary], book: &mut RuleBook) -> Vec<PathLayer> {
    let governing = boundaries.iter().filter(|boundary| !boundary.path_groups.is_empty());
    governing.map(|boundary| path_layer(boundary, book)).collect()
}

fn path_layer(boundary: &Boundary, book: &mut RuleBook) -> PathLayer {
    let defaults = defaults(&boundary.path_groups, book);
    let governed = Right::ALL.into_iter().zip(defaults);
    let governed = governed.filter(|(_, default)| default.is_some());
    let governed = governed.fold(Rights::NONE, |set, (right, _)| set.and(Rights(right.bit())));
    let baseline = baseline::rules(boundary.baseline);
    let mut groups = HashMap::new();
    let (mut rules, mut pins) = (Vec::new(), Vec::new());
    let exec = defaults.get(Right::Exec as usize).copied().flatten();
    let mut first_baseline = None;
    let users = boundary.path_rules.iter().map(|rule| (rule, false));
    for (rule, is_baseline) in users.chain(baseline.iter().map(|rule| (rule, true))) {
        if is_baseline {
            first_baseline.get_or_insert(book.last() + 1);
        }
        let parts = [listing(rule).filter(|_| !is_baseline), Some(rule.clone())];
        let parts = parts.into_iter().flatten().filter_map(|part| {
            let rights = part.rights.with_sockets().common(governed);
            let number = (!rights.is_empty())
                .then(|| book.add(&part.place, path_rule_text(&part), false))?;
            let PathRule { effect, pattern, syntax, content, .. } = part;
            Some(NumberedPathRule {
                number,
                group: 0,
                is_baseline,
                effect,
                is_pin: content.is_some(),
                rights,
                pattern,
                syntax,
            })
        });
        let parts: Vec<_> = parts.collect();
        let Some(last) = parts.last() else { continue };
        if let (Some(content), Some(default)) = (rule.content, exec) {
            let path = rule.pattern.clone();
            pins.push(Pin { rule: last.number, path, content, refusal: default.verdict() });
        }
        let group = *groups.entry((&rule.place, rule.effect)).or_insert(last.number);
        rules.extend(parts.into_iter().map(|part| NumberedPathRule { group, ..part }));
    }
    PathLayer { defaults, rules, pins, first_baseline: first_baseline.unwrap_or(u32::MAX) }
}

/// The rule that goes with one that lets all below a folder be read: reading it includes listing
/// the folder itself, which `…/**` does not match.
fn listing(rule: &PathRule) -> Option<PathRule> {
    let reads = rule.effect == Effect::Allow && rule.rights.has(Right::Read);
    let folder = rule.pattern.strip_suffix("/**").filter(|folder| !folder.is_empty())?;
    // `\/` is a slash too.
    let escapes = folder.len() - folder.trim_end_matches('\\').len();
    let folder = &folder[..folder.len() - escapes % 2];
    (reads && rule.syntax != GlobSyntax::Prefix).then(|| PathRule {
        pattern: folder.to_owned(),
        rights: Rights::READ,
        ..rule.clone()
    })
}

/// For each right the refusal of the group that governs it: of several the strictest, and of
/// equals the first. Where there is a group about Unix sockets, it alone refuses them.
fn defaults(groups: &[PathGroup], book: &mut RuleBook) -> [Option<Cell>; Right::ALL.len()] {
    let mut defaults = [None; Right::ALL.len()];
    let has_sockets = groups.iter().any(|group| group.rights.has(Right::Socket));
    for group in groups {
        let governed = match group.rights.governed() {
            rights if has_sockets && !group.rights.has(Right::Socket) => {
                rights.without(Rights::SOCKET)
            }
            rights => rights,
        };
        let text = format!("{} is allowed by no rule", rights_in_words(group.rights));
        let number = book.add(&group.place, text, !group.is_rule);
        let refusal = Cell::new(group.mode.refusal(), number);
        for (right, default) in Right::ALL.into_iter().zip(&mut defaults) {
            let is_stricter = default.is_none_or(|old: Cell| old.verdict() < refusal.verdict());
            if governed.has(right) && is_stricter {
                *default = Some(refusal);
            }
        }
    }
    defaults
}

/// The text of a list's answer to destinations.
pub(crate) const NO_RULE: &str = "the destination is allowed by no rule";
/// The text of the answer to [`EgressLayer::unnamed`] addresses.
pub(crate) const UNNAMED: &str = "address that no rule names literally";

/// The egress layers of the boundaries that govern egress.
pub(crate) fn egress_layers<'a>(
    boundaries: &'a [Boundary],
    book: &mut RuleBook,
) -> Vec<EgressLayer<'a>> {
    let governing = boundaries.iter().filter_map(|boundary| boundary.egress.as_ref());
    governing
        .map(|egress| {
            let number = book.add(&egress.place, NO_RULE.to_owned(), !egress.is_rule);
            let mut groups = HashMap::new();
            let rules = egress.rules.iter().map(|rule| {
                let number = book.add(&rule.place, egress_rule_text(rule), false);
                let group = *groups.entry((&rule.place, rule.effect)).or_insert(number);
                NumberedEgressRule { number, group, rule }
            });
            let rules = rules.collect();
            let unnamed = book.add(&egress.place, UNNAMED.to_owned(), !egress.is_rule);
            EgressLayer {
                default: Cell::new(egress.mode.refusal(), number).unless_installed(),
                unnamed: Cell::new(egress.mode.refusal(), unnamed),
                rules,
            }
        })
        .collect()
}

/// What one boundary says about serving others.
pub(super) struct ServingLayer<'a> {
    /// The answer when no rule matches.
    pub(super) default: Cell,
    /// Rules in the order of the document, with their numbers.
    pub(super) rules: Vec<(u32, &'a ListenRule)>,
}

/// The layers of the boundaries that govern serving.
pub(super) fn serving_layers<'a>(
    boundaries: &'a [Boundary],
    book: &mut RuleBook,
) -> Vec<ServingLayer<'a>> {
    let mut layer = |boundary: &'a Boundary| {
        let (mode, place) = boundary.serving()?;
        let number = book.add(place, "serving others is allowed by no rule".to_owned(), true);
        let rules = boundary.listen.iter().flat_map(|listen| &listen.rules);
        let rules = rules.map(|rule| (book.add(&rule.place, listen_rule_text(rule), false), rule));
        Some(ServingLayer { default: Cell::new(mode.refusal(), number), rules: rules.collect() })
    };
    boundaries.iter().filter_map(&mut layer).collect()
}

/// The answer to reaching a Unix socket without a path, by those who govern destinations, and
/// neither files nor Unix sockets: they have no list in which it could be.
pub(super) fn abstract_sockets(boundaries: &[Boundary], layers: &[EgressLayer<'_>]) -> Cell {
    let governing = boundaries.iter().filter(|boundary| boundary.egress.is_some());
    let has_list = |boundary: &Boundary| {
        boundary.path_groups.iter().any(|group| group.rights.governed().has(Right::Socket))
    };
    let without = governing.zip(layers).filter(|(boundary, _)| !has_list(boundary));
    strictest(without.map(|(_, layer)| layer.default))
}

/// The answer to starting a second program: that of the strictest boundary, and of equals the
/// first.
pub(super) fn exec_after_start(boundaries: &[Boundary], book: &mut RuleBook) -> Cell {
    let rules = boundaries.iter().map(|boundary| &boundary.no_exec_after_start);
    one_rule(rules, "no program is started after the first", book)
}

/// The answer to making anonymous memory executable, likewise.
pub(super) fn exec_anonymous(boundaries: &[Boundary], book: &mut RuleBook) -> Cell {
    let rules = boundaries.iter().map(|boundary| &boundary.no_anonymous_code);
    one_rule(rules, "no anonymous memory becomes executable", book)
}

/// The answer to making an io_uring: what else would change the boundary is answered likewise,
/// unless a boundary says that it may be made, and none that it may not.
pub(super) fn io_uring(boundaries: &[Boundary], guard: Cell, book: &mut RuleBook) -> Cell {
    let rings = boundaries.iter().filter_map(|boundary| boundary.io_uring.as_ref());
    let refused: Vec<_> =
        rings.map(|rings| rings.refused.map(|mode| (mode, rings.place.clone()))).collect();
    if refused.iter().all(Option::is_none) && !refused.is_empty() {
        return Cell::ALLOW;
    }
    let refused = one_rule(refused.iter(), "no io_uring is made", book);
    strictest([refused, guard].into_iter())
}

fn one_rule<'a>(
    rules: impl Iterator<Item = &'a Option<(Mode, Place)>>,
    text: &str,
    book: &mut RuleBook,
) -> Cell {
    strictest(
        rules.flatten().map(|(mode, place)| {
            Cell::new(mode.refusal(), book.add(place, text.to_owned(), false))
        }),
    )
}

/// The strictest of some answers, of equals the first; without any, allowed. A refusal of other
/// content is less strict than a refusal.
pub(super) fn strictest(cells: impl Iterator<Item = Cell>) -> Cell {
    let strictness = |cell: Cell| (cell.verdict(), !cell.is_by_content());
    let stricter =
        |one: Cell, other: Cell| if strictness(other) > strictness(one) { other } else { one };
    cells.reduce(stricter).unwrap_or(Cell::ALLOW)
}

/// The strictest refusal among modes, naming no rule; without any, allowed.
pub(super) fn refusal(modes: impl Iterator<Item = Mode>) -> Cell {
    Cell::new(modes.map(Mode::refusal).max().unwrap_or(Verdict::Allow), 0)
}

fn effect_in_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

fn path_rule_text(rule: &PathRule) -> String {
    let effect = effect_in_words(rule.effect);
    let below = if rule.syntax == GlobSyntax::Prefix { " and below" } else { "" };
    let content = rule.content.map(|content| format!(" with {content}")).unwrap_or_default();
    format!("{effect} {} of {}{below}{content}", rights_in_words(rule.rights), rule.pattern)
}

fn listen_rule_text(rule: &ListenRule) -> String {
    let protocol = match rule.protocol {
        Some(Protocol::Tcp) => " tcp",
        Some(Protocol::Udp) => " udp",
        None => "",
    };
    format!("serve port {}{protocol}", rule.port)
}

fn rights_in_words(rights: Rights) -> String {
    let is_write = Rights::WRITE.without(rights).is_empty();
    let named = Right::ALL.into_iter().filter(|right| rights.has(*right));
    // The policy languages' `write` is four rights; a reader knows it by that one word.
    let named =
        named.filter(|right| !is_write || *right == Right::Write || !Rights::WRITE.has(*right));
    named.map(Right::name).collect::<Vec<_>>().join(", ")
}

fn egress_rule_text(rule: &EgressRule) -> String {
    let mut text = effect_in_words(rule.effect).to_owned();
    // Writing to a String cannot fail.
    let _ = match &rule.target {
        Target::Host(name) => write!(text, " {name}"),
        Target::Network(network) => write!(text, " {network}"),
    };
    for (i, ports) in rule.ports.iter().enumerate() {
        let lead = if i == 0 { " port" } else { "," };
        let _ = match (ports.start(), ports.end()) {
            (first, last) if first == last => write!(text, "{lead} {first}"),
            (first, last) => write!(text, "{lead} {first}-{last}"),
        };
    }
    match rule.protocol {
        Some(Protocol::Tcp) => text.push_str(" tcp"),
        Some(Protocol::Udp) => text.push_str(" udp"),
        None => {}
    }
    text
}
