//! Path patterns: globs to regular expressions to one deterministic automaton for all of them.

use std::collections::HashMap;

use globset::GlobBuilder;

use super::{
    CompileError, MAX_IMAGE_BYTES, Problem,
    automaton::{self, PathTable},
    cells::Entries,
    image,
    nfa::{Nfa, Refused},
    rules::{NumberedPathRule, PathLayer, RuleBook},
    subsets,
};
use crate::boundary::{Effect, GlobSyntax, Rights};

/// Bytes of a pattern that are read: the longest path that the kernel can be asked for.
const MAX_PATTERN_BYTES: usize = 4096;
/// Opening braces of a pattern that are read. The glob parser recurses into them.
const MAX_BRACES: usize = 100;

/// The distinct patterns of a policy, in the order in which its rules first use them.
pub(super) struct Patterns(Vec<Pattern>);

struct Pattern {
    text: String,
    syntax: GlobSyntax,
    /// Number of the rule that uses it first.
    rule: u32,
    uses: Vec<Use>,
}

/// A rule that uses a pattern.
#[derive(Clone, Copy)]
pub(super) struct Use {
    pub(super) layer: usize,
    /// Numbers grow in document order.
    pub(super) number: u32,
    pub(super) effect: Effect,
    pub(super) rights: Rights,
}

impl Use {
    /// Whether this rule decides wherever both match: deny wins over allow, and of equals the
    /// first is named.
    fn beats(self, other: Self) -> bool {
        self.layer == other.layer
            && match (self.effect, other.effect) {
                (Effect::Deny, Effect::Allow) => true,
                (Effect::Allow, Effect::Deny) => false,
                _ => self.number < other.number,
            }
    }
}

impl Patterns {
    pub(super) fn new(layers: &[PathLayer]) -> Self {
        let mut list: Vec<Pattern> = Vec::new();
        let mut known = HashMap::new();
        for (layer, rules) in layers.iter().enumerate() {
            for rule in &rules.rules {
                let at = *known.entry((rule.pattern.as_str(), rule.syntax)).or_insert_with(|| {
                    list.push(Pattern {
                        text: rule.pattern.clone(),
                        syntax: rule.syntax,
                        rule: rule.number,
                        uses: Vec::new(),
                    });
                    list.len() - 1
                });
                let NumberedPathRule { number, effect, rights, .. } = *rule;
                list[at].uses.push(Use { layer, number, effect, rights });
            }
        }
        Self(list)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The rules that use a pattern.
    pub(super) fn uses(&self, pattern: usize) -> &[Use] {
        self.0.get(pattern).map_or(&[], |pattern| &pattern.uses)
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

/// The table for all patterns together.
pub(super) fn build(
    patterns: &Patterns,
    layers: &[PathLayer],
    book: &RuleBook,
) -> Result<PathTable, CompileError> {
    let mut nfa = Nfa::default();
    for pattern in &patterns.0 {
        add(&mut nfa, pattern).map_err(|problem| book.error(pattern.rule, problem))?;
    }
    let table = |count: usize| try_build(&nfa, count, patterns, layers);
    match table(patterns.len()) {
        Ok(table) => Ok(table),
        Err(TooComplex) => {
            let culprit = first_too_complex(patterns.len(), |count| table(count).is_err());
            let pattern = &patterns.0[culprit];
            let problem = Problem::PathsTooComplex { pattern: pattern.text.clone() };
            Err(book.error(pattern.rule, problem))
        }
    }
}

/// The index of a pattern with which the patterns up to it are too complex and without which they
/// are not. All `count` together are.
///
/// The search doubles before it halves, so that it seldom builds more than is needed.
fn first_too_complex(count: usize, is_too_complex: impl Fn(usize) -> bool) -> usize {
    let mut fine = 0;
    let mut probe = 1;
    while probe < count && !is_too_complex(probe) {
        fine = probe;
        probe *= 2;
    }
    let mut bad = probe.min(count);
    while bad - fine > 1 {
        let middle = fine + (bad - fine) / 2;
        if is_too_complex(middle) { bad = middle } else { fine = middle }
    }
    fine
}

/// The patterns need more states, more memory or a larger image than they may have.
pub(super) struct TooComplex;

fn try_build(
    nfa: &Nfa,
    count: usize,
    patterns: &Patterns,
    layers: &[PathLayer],
) -> Result<PathTable, TooComplex> {
    let mut entries = Entries::new(layers, patterns);
    let (plain, classes) = subsets::determinise(nfa, patterns, count, &mut entries)?;
    let table = automaton::table(&plain, &classes, entries.into_list()).ok_or(TooComplex)?;
    if image::path_bytes(&table) > MAX_IMAGE_BYTES { Err(TooComplex) } else { Ok(table) }
}

/// Adds a pattern to the automaton.
fn add(nfa: &mut Nfa, pattern: &Pattern) -> Result<(), Problem> {
    nfa.add(&expression(pattern)?).map_err(|refused| match refused {
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
