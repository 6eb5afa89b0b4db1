//! Path patterns: globs to regular expressions to one deterministic automaton for all of them.

use std::collections::HashMap;

use globset::GlobBuilder;
use ringfence_common::{Right, image::MAX_STATES};

use super::{
    CompileError, MAX_IMAGE_BYTES, Problem,
    automaton::{self, PathTable},
    blame,
    cells::Entries,
    idle::{Judge, Paths},
    image,
    nfa::{Nfa, Refused},
    rules::{NumberedPathRule, PathLayer, RuleBook},
    subsets,
};
use crate::{
    boundary::{Effect, GlobSyntax, Rights},
    pattern,
};

/// Bytes of a pattern that are read: the longest path that the kernel can be asked for.
const MAX_PATTERN_BYTES: usize = 4096;
/// Opening braces of a pattern that are read. The glob parser recurses into them.
const MAX_BRACES: usize = 100;

/// Rules of one pattern that are remembered though they decide nothing by it.
const MAX_DOUBLED: usize = 4;

/// The distinct patterns of a policy, in the order in which its rules first use them.
pub(super) struct Patterns {
    list: Vec<Pattern>,
    doubles: Vec<Double>,
}

struct Pattern {
    text: String,
    syntax: GlobSyntax,
    /// Number of the rule that uses it first.
    rule: u32,
    uses: Vec<Use>,
    /// The first of the rules whose rights all have an earlier use.
    doubled: Vec<Use>,
}

/// A rule that uses a pattern.
#[derive(Clone, Copy)]
pub(super) struct Use {
    pub(super) layer: usize,
    /// Numbers grow in document order.
    pub(super) number: u32,
    /// As for [`NumberedPathRule::group`].
    pub(super) group: u32,
    pub(super) effect: Effect,
    /// As for [`NumberedPathRule::is_pin`].
    pub(super) is_pin: bool,
    pub(super) rights: Rights,
}

/// One right of a rule whose pattern earlier rules of its layer have, with its effect and all of
/// its rights: whatever else matches, it is never the one to be named.
pub(super) struct Double {
    pub(super) group: u32,
    /// The groups of the earlier rules that have this right.
    pub(super) rivals: Vec<u32>,
}

impl Use {
    /// Whether this rule decides wherever both match: deny wins over allow, and of equals the
    /// first is named. Nothing that allows lifts a condition.
    pub(super) fn beats(self, other: Self) -> bool {
        self.layer == other.layer
            && match (self.effect, other.effect) {
                (Effect::Deny, Effect::Allow) => true,
                (Effect::Allow, Effect::Deny) => false,
                (Effect::Allow, Effect::Allow) if other.is_pin => false,
                _ => self.number < other.number,
            }
    }
}

impl Patterns {
    pub(super) fn new(layers: &[PathLayer]) -> Self {
        let mut list: Vec<Pattern> = Vec::new();
        let mut doubles = Vec::new();
        let mut known = HashMap::new();
        for (layer, rules) in layers.iter().enumerate() {
            for rule in &rules.rules {
                let at = *known.entry((rule.pattern.as_str(), rule.syntax)).or_insert_with(|| {
                    list.push(Pattern {
                        text: rule.pattern.clone(),
                        syntax: rule.syntax,
                        rule: rule.number,
                        uses: Vec::new(),
                        doubled: Vec::new(),
                    });
                    list.len() - 1
                });
                let NumberedPathRule { number, group, effect, is_pin, rights, .. } = *rule;
                list[at].add(Use { layer, number, group, effect, is_pin, rights }, &mut doubles);
            }
        }
        Self { list, doubles }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// A pattern as the user wrote it.
    pub(super) fn text(&self, pattern: usize) -> &str {
        self.list.get(pattern).map_or("", |pattern| &pattern.text)
    }

    /// Number of the rule that uses a pattern first.
    pub(super) fn rule(&self, pattern: usize) -> u32 {
        self.list.get(pattern).map_or(0, |pattern| pattern.rule)
    }

    /// The rules that use a pattern and decide anything by it: for each layer, effect and right
    /// at most one.
    pub(super) fn uses(&self, pattern: usize) -> &[Use] {
        self.list.get(pattern).map_or(&[], |pattern| &pattern.uses)
    }

    /// Rules that use a pattern and never are the ones to be named, or some of them.
    pub(super) fn doubled(&self, pattern: usize) -> &[Use] {
        self.list.get(pattern).map_or(&[], |pattern| &pattern.doubled)
    }

    /// The rules that decide nothing by their pattern.
    pub(super) fn doubles(&self) -> &[Double] {
        &self.doubles
    }

    /// Whether no rule of the pattern `loser` decides anything where the pattern `winner` matches
    /// too.
    pub(super) fn beats(&self, winner: usize, loser: usize) -> bool {
        winner != loser
            && self.uses(loser).iter().all(|other| {
                let winners = self.uses(winner).iter().filter(|rule| rule.beats(*other));
                let beaten = winners.fold(Rights::NONE, |set, rule| set.and(rule.rights));
                other.rights.without(beaten).is_empty()
            })
    }
}

impl Pattern {
    fn add(&mut self, rule: Use, doubles: &mut Vec<Double>) {
        let kind = |one: &Use| (one.layer, one.effect, one.is_pin);
        let alike = |other: &&Use| kind(other) == kind(&rule);
        let alike = || self.uses.iter().filter(alike);
        let had = alike().fold(Rights::NONE, |set, other| set.and(other.rights));
        if !rule.rights.without(had).is_empty() {
            self.uses.push(rule);
            return;
        }
        if self.doubled.len() < MAX_DOUBLED {
            self.doubled.push(rule);
        }
        let kind = |one: &Use| (one.layer, one.effect, one.is_pin);
        let alike = |other: &&Use| kind(other) == kind(&rule);
        let alike = || self.uses.iter().filter(alike);
        for right in Right::ALL.into_iter().filter(|right| rule.rights.has(*right)) {
            let rivals = alike().filter(|other| other.rights.has(right));
            let rivals = rivals.map(|other| other.group).collect();
            doubles.push(Double { group: rule.group, rivals });
        }
    }
}

/// The table for all patterns together.
pub(super) fn build(
    patterns: &Patterns,
    layers: &[PathLayer],
    book: &RuleBook,
    judge: &mut Judge,
) -> Result<PathTable, CompileError> {
    let mut nfa = Nfa::default();
    for pattern in &patterns.list {
        add(&mut nfa, pattern).map_err(|problem| book.error(pattern.rule, problem))?;
    }
    let watch = Paths::new(&nfa, patterns, judge);
    match try_build(&nfa, patterns.len(), patterns, layers, Some(watch)) {
        Ok((table, _)) => Ok(table),
        Err(TooComplex) => {
            let used = |count| try_build(&nfa, count, patterns, layers, None).map(|built| built.1);
            let culprit = blame::first_too_complex(patterns.len(), |count| used(count).ok());
            let pattern = &patterns.list[culprit];
            let problem = Problem::PathsTooComplex { pattern: pattern.text.clone() };
            Err(book.error(pattern.rule, problem))
        }
    }
}

/// The patterns need more states, more memory or a larger image than they may have.
pub(super) struct TooComplex;

/// The table for the first `count` patterns, and how much of what it may take it takes, at most 1.
fn try_build(
    nfa: &Nfa,
    count: usize,
    patterns: &Patterns,
    layers: &[PathLayer],
    watch: Option<Paths<'_>>,
) -> Result<(PathTable, f64), TooComplex> {
    let mut entries = Entries::new(layers, patterns);
    let made = subsets::determinise(nfa, patterns, count, &mut entries, &subsets::PATHS, watch)?;
    let table = automaton::table(&made.plain, &made.classes, entries.into_list());
    let table = table.ok_or(TooComplex)?;
    let used = [
        made.used,
        table.accepts.len() as f64 / f64::from(MAX_STATES),
        image::path_bytes(&table) as f64 / MAX_IMAGE_BYTES as f64,
    ];
    let used = used.into_iter().fold(0.0, f64::max);
    if used > 1.0 { Err(TooComplex) } else { Ok((table, used)) }
}

/// Adds a pattern to the automaton.
fn add(nfa: &mut Nfa, pattern: &Pattern) -> Result<(), Problem> {
    let is_of_names = pattern.uses.iter().all(|rule| rule.rights == Rights::SOCKET)
        && pattern::is_of_names(&pattern.text);
    nfa.add(&expression(pattern)?, is_of_names).map_err(|refused| match refused {
        // globset lets some pass that cannot be read, such as ranges of characters that are
        // several bytes long.
        Refused::Unreadable(error) => {
            Problem::Pattern { pattern: pattern.text.clone(), reason: error.to_string() }
        }
        Refused::TooLarge => Problem::PathsTooComplex { pattern: pattern.text.clone() },
    })
}

/// The regular expression for a pattern, anchored at both ends.
fn expression(pattern: &Pattern) -> Result<String, Problem> {
    let text = &pattern.text;
    if text.len() > MAX_PATTERN_BYTES {
        return Err(Problem::PatternTooLong { max: MAX_PATTERN_BYTES, unit: "bytes" });
    }
    let stays_in_component = match pattern.syntax {
        GlobSyntax::Prefix => return Ok(prefix_expression(text)),
        GlobSyntax::Component => true,
        GlobSyntax::Crossing => false,
    };
    if text.bytes().filter(|byte| *byte == b'{').count() > MAX_BRACES {
        return Err(Problem::PatternTooLong { max: MAX_BRACES, unit: "braces" });
    }
    let glob = GlobBuilder::new(text)
        .literal_separator(stays_in_component)
        .backslash_escape(true)
        .build()
        .map_err(|error| Problem::Pattern {
            pattern: text.clone(),
            reason: error.kind().to_string(),
        })?;
    Ok(glob.regex().to_owned())
}

/// A path and all below it.
fn prefix_expression(text: &str) -> String {
    let path = text.strip_suffix("/**").unwrap_or(text).trim_end_matches('/');
    let escaped: String = path.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("(?-u)^{escaped}(?:/.*)?$")
}
