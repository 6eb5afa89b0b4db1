//! Which rules count for a name at which port: ports at which the same rules count need to be
//! compared only once, and rules that no difference touches not at all.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::RangeInclusive,
};

use ringfence_common::egress::Protocol;

use super::{
    super::{WELL_KNOWN, example_port},
    pattern,
};
use crate::{
    boundary::{
        Baseline, Boundary, Effect, Egress, EgressRule, GlobSyntax, Mode, PathGroup, PathRule,
        Resolved, Rights,
    },
    compile::{CompileError, Tables, compile},
    hosts,
};

/// Times that a rule is looked at, for any port, before a comparison is given up.
const MAX_STEPS: usize = 256 << 20;
/// Pairs of patterns that are compared to leave rules out. More would take longer than it saves.
const MAX_MEETINGS: usize = 2 << 20;
/// Rules that are compiled, in all sets together.
const MAX_COMPILED: usize = 1 << 20;

/// What is asked about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Connect(u16, Protocol),
    Lookup,
}

impl Ask {
    /// TCP, UDP, or looking up, as a number.
    pub(super) const fn kind(self) -> usize {
        match self {
            Self::Connect(_, Protocol::Tcp) => 0,
            Self::Connect(_, Protocol::Udp) => 1,
            Self::Lookup => 2,
        }
    }

    fn counts(self, rule: &EgressRule) -> bool {
        match self {
            Self::Connect(port, protocol) => hosts::is_for(rule, port, protocol),
            Self::Lookup => hosts::is_for_lookup(rule),
        }
    }
}

/// The rules of one policy that are about names.
pub(super) struct NameRules<'a> {
    /// What each document that governs destinations says.
    layers: Vec<&'a Egress>,
    /// In order of layers and documents.
    rules: Vec<NameRule<'a>>,
}

struct NameRule<'a> {
    layer: usize,
    pattern: &'a str,
    rule: &'a EgressRule,
}

/// All that a rule says: layer, effect, pattern, ports, and the protocol's number or 0.
type Meaning<'a> = (usize, Effect, &'a str, &'a [RangeInclusive<u16>], u8);

impl<'a> NameRule<'a> {
    fn meaning(&self) -> Meaning<'a> {
        let protocol = self.rule.protocol.map_or(0, Protocol::number);
        (self.layer, self.rule.effect, self.pattern, &self.rule.ports, protocol)
    }
}

impl<'a> NameRules<'a> {
    pub(super) fn new(boundaries: &'a [Boundary]) -> Self {
        let layers: Vec<_> = boundaries.iter().filter_map(|one| one.egress.as_ref()).collect();
        let rules = layers.iter().enumerate().flat_map(|(layer, egress)| {
            egress.rules.iter().filter_map(move |rule| {
                Some(NameRule { layer, pattern: hosts::name_pattern(rule)?, rule })
            })
        });
        Self { rules: rules.collect(), layers }
    }

    /// Tables that have the answers about names written backwards, as far as these rules count,
    /// where others have those about reading paths. Backwards, since names are alike at the end:
    /// the automaton becomes much smaller.
    pub(super) fn compile(&self, counting: &[u32]) -> Result<Tables, CompileError> {
        let layer = |(number, egress): (usize, &&Egress)| {
            let rules = counting.iter().filter_map(|index| self.rules.get(*index as usize));
            let rules = rules.filter(|one| one.layer == number).map(|one| PathRule {
                pattern: pattern::backward_glob(one.pattern),
                syntax: GlobSyntax::Crossing,
                effect: one.rule.effect,
                rights: Rights::READ,
                content: None,
                place: one.rule.place.clone(),
            });
            Boundary {
                path_groups: vec![PathGroup {
                    rights: Rights::READ,
                    mode: egress.mode,
                    place: egress.place.clone(),
                    is_rule: false,
                }],
                path_rules: rules.collect(),
                baseline: Baseline::None,
                ..Boundary::new(egress.place.file.clone())
            }
        };
        let layers: Vec<Boundary> = self.layers.iter().enumerate().map(layer).collect();
        compile(&layers, &Resolved::new())
    }

    fn modes(&self) -> impl Iterator<Item = Mode> {
        self.layers.iter().map(|egress| egress.mode)
    }

    fn all(&self) -> Vec<u32> {
        (0..).zip(&self.rules).map(|(index, _)| index).collect()
    }

    /// Those of some rules that count for a question.
    fn counting(&self, among: &[u32], ask: Ask) -> Vec<u32> {
        among.iter().copied().filter(|index| ask.counts(self.rules[*index as usize].rule)).collect()
    }

    /// The rules that the other policy does not have.
    fn without(&self, other: &Self) -> Vec<u32> {
        let theirs: HashSet<Meaning<'_>> = other.rules.iter().map(NameRule::meaning).collect();
        let mut ours = self.all();
        ours.retain(|index| !theirs.contains(&self.rules[*index as usize].meaning()));
        ours
    }
}

/// Rules of both sides that count for the same questions, by index.
pub(super) struct RuleSet {
    pub(super) old: Vec<u32>,
    pub(super) new: Vec<u32>,
    /// A question of each kind for which just these rules count.
    pub(super) asks: [Option<Ask>; 3],
}

/// The distinct sets of rules that count for some question and may be answered differently.
/// Rules are left out that no name meets about which the policies differ. False when there is
/// too much to compare.
pub(super) fn differing(old: &NameRules<'_>, new: &NameRules<'_>) -> (Vec<RuleSet>, bool) {
    let is_same_mode = old.modes().eq(new.modes());
    let own = match is_same_mode {
        true => (old.without(new), new.without(old)),
        false => (old.all(), new.all()),
    };
    let mut sets: Vec<RuleSet> = Vec::new();
    let mut known = HashMap::new();
    let mut touched = HashMap::new();
    let (mut steps, mut compiled) = (0, 0);
    for ask in questions(old, new) {
        let own = (old.counting(&own.0, ask), new.counting(&own.1, ask));
        steps += 1 + own.0.len() + own.1.len();
        if is_same_mode && own.0.is_empty() && own.1.is_empty() {
            continue;
        }
        let touched = touched.entry(own).or_insert_with_key(|own| {
            let (rules, work) = match is_same_mode {
                true => rules_touched(old, new, own),
                false => ((old.all(), new.all()), 0),
            };
            steps += work;
            rules
        });
        steps += touched.0.len() + touched.1.len();
        if steps > MAX_STEPS {
            return (sets, false);
        }
        let counting = (old.counting(&touched.0, ask), new.counting(&touched.1, ask));
        let at = *known.entry(counting).or_insert_with_key(|(old, new)| {
            compiled += old.len() + new.len();
            sets.push(RuleSet { old: old.clone(), new: new.clone(), asks: [None; 3] });
            sets.len() - 1
        });
        if compiled > MAX_COMPILED {
            sets.pop();
            return (sets, false);
        }
        sets[at].asks[ask.kind()].get_or_insert(ask);
    }
    (sets, true)
}

/// The rules of both sides that may match a name that one of their `own` rules matches. All other
/// names are answered alike. Also tells how much work it was.
fn rules_touched(
    old: &NameRules<'_>,
    new: &NameRules<'_>,
    own: &(Vec<u32>, Vec<u32>),
) -> ((Vec<u32>, Vec<u32>), usize) {
    let pattern_of =
        |rules: &NameRules<'_>, index: &u32| rules.rules[*index as usize].pattern.to_owned();
    let patterns: BTreeSet<String> = own
        .0
        .iter()
        .map(|index| pattern_of(old, index))
        .chain(own.1.iter().map(|index| pattern_of(new, index)))
        .collect();
    let mut work = patterns.len() * (old.rules.len() + new.rules.len());
    if work > MAX_MEETINGS {
        return ((old.all(), new.all()), 0);
    }
    let mut touched = |rules: &NameRules<'_>| {
        let mut indices = rules.all();
        indices.retain(|index| {
            let ours = rules.rules[*index as usize].pattern;
            patterns.iter().any(|pattern| pattern::meet(ours, pattern, &mut work))
        });
        indices
    };
    let rules = (touched(old), touched(new));
    (rules, work)
}

/// A question for each interval of ports at whose ends any rule begins or ceases to count; those
/// with ports that people know first.
fn questions(old: &NameRules<'_>, new: &NameRules<'_>) -> impl Iterator<Item = Ask> {
    let ranges = || old.rules.iter().chain(&new.rules).flat_map(|one| one.rule.port_ranges());
    let mut cuts: BTreeSet<u16> = BTreeSet::from([1]);
    cuts.extend(ranges().map(|range| *range.start()).filter(|port| *port > 0));
    cuts.extend(ranges().filter_map(|range| range.end().checked_add(1)));
    let lasts = cuts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    let rank = |port: &u16| WELL_KNOWN.iter().position(|known| known == port);
    let mut ports: Vec<u16> =
        cuts.iter().zip(lasts).map(|(first, last)| example_port(*first, last)).collect();
    ports.sort_by_key(|port| rank(port).unwrap_or(WELL_KNOWN.len()));
    ports
        .into_iter()
        .flat_map(|port| [Protocol::Tcp, Protocol::Udp].map(|one| Ask::Connect(port, one)))
        .chain([Ask::Lookup])
}
