//! Makes the automaton of all patterns deterministic: one state for each set of nodes that a path
//! can lead to.
//!
//! The textbook construction needs 2ⁿ states for n patterns such as `/**/name/**`, since it
//! remembers each of them that matched. The kernel is told only which rule decides. So a pattern
//! whose rules can no longer change that, because another one matches whatever follows and its
//! rules win, is forgotten at once: n patterns then need n times their length.

use std::collections::{HashMap, HashSet};

use ringfence_common::image::MAX_STATES;

use super::{
    automaton::Plain,
    cells::Entries,
    globs::{Patterns, TooComplex},
    nfa::{Nfa, Tail},
};

/// States before equal ones are merged.
const MAX_SUBSETS: usize = 2 * MAX_STATES as usize;
/// Nodes of all states together: what bounds memory.
const MAX_MEMBERS: usize = 24 << 20;
/// Nodes and followers that are looked at: what bounds time, to about a second.
const MAX_STEPS: usize = 256 << 20;

/// Bytes that no node tells apart.
pub(super) struct Classes {
    /// By byte.
    pub(super) of: [u8; 256],
    pub(super) count: usize,
}

impl Classes {
    fn new(nfa: &Nfa, patterns: usize) -> Self {
        // Whether a class begins at a byte.
        let mut begins = [false; 257];
        for node in nfa.nodes.iter().take_while(|node| (node.pattern as usize) < patterns) {
            for (first, last, _) in &node.ranges {
                begins[usize::from(*first)] = true;
                begins[usize::from(*last) + 1] = true;
            }
        }
        let mut class = 0;
        let of = std::array::from_fn(|byte| {
            if byte > 0 && begins[byte] {
                class += 1;
            }
            class
        });
        Self { of, count: usize::from(class) + 1 }
    }

    fn range(&self, first: u8, last: u8) -> std::ops::RangeInclusive<usize> {
        self.of[usize::from(first)].into()..=self.of[usize::from(last)].into()
    }
}

/// The deterministic automaton for the first `count` patterns.
pub(super) fn determinise(
    nfa: &Nfa,
    patterns: &Patterns,
    count: usize,
    entries: &mut Entries<'_>,
) -> Result<(Plain, Classes), TooComplex> {
    let classes = Classes::new(nfa, count);
    let mut subsets =
        Subsets { nfa, patterns, list: Vec::new(), numbers: HashMap::new(), members: 0, steps: 0 };
    let start = subsets.number(nfa.starts.iter().take(count).flatten().copied().collect())?;
    let mut transitions = vec![0; classes.count];
    let mut accepts = vec![0];
    // By class, the followers that its bytes lead to.
    let mut next = vec![Vec::new(); classes.count];
    // Most classes lead to the same followers: each distinct list is looked at once.
    let mut known = HashMap::new();
    let mut at = 0;
    while let Some(subset) = subsets.list.get(at).cloned() {
        at += 1;
        for node in subset.iter() {
            for (first, last, follower) in &nfa.nodes[*node as usize].ranges {
                for class in classes.range(*first, *last) {
                    next[class].push(*follower);
                }
            }
        }
        known.clear();
        for followers in &mut next {
            subsets.steps += followers.len();
            let followers = std::mem::take(followers);
            transitions.push(match known.get(&followers) {
                Some(number) => *number,
                None => {
                    let number = subsets.after(&followers)?;
                    known.insert(followers, number);
                    number
                }
            });
        }
        let ends = subset.iter().map(|node| &nfa.nodes[*node as usize]);
        let ends = ends.filter(|node| node.tail == Tail::End);
        accepts.push(entries.number(ends.map(|node| node.pattern as usize)));
    }
    Ok((Plain { class_count: classes.count, start, transitions, accepts }, classes))
}

struct Subsets<'a> {
    nfa: &'a Nfa,
    patterns: &'a Patterns,
    /// By number less one: number 0 is the empty set.
    list: Vec<std::rc::Rc<[u32]>>,
    numbers: HashMap<std::rc::Rc<[u32]>, u32>,
    members: usize,
    steps: usize,
}

impl Subsets<'_> {
    /// The number of the set that some followers make together.
    fn after(&mut self, followers: &[u32]) -> Result<u32, TooComplex> {
        let followers = followers.iter().map(|follower| &self.nfa.followers[*follower as usize]);
        self.number(followers.flatten().copied().collect())
    }

    fn number(&mut self, mut nodes: Vec<u32>) -> Result<u32, TooComplex> {
        if nodes.is_empty() {
            return Ok(0);
        }
        nodes.sort_unstable();
        nodes.dedup();
        self.steps += nodes.len();
        self.forget(&mut nodes);
        if let Some(number) = self.numbers.get(nodes.as_slice()) {
            return Ok(*number);
        }
        self.members += nodes.len();
        if self.list.len() >= MAX_SUBSETS || self.members > MAX_MEMBERS || self.steps > MAX_STEPS {
            return Err(TooComplex);
        }
        let subset: std::rc::Rc<[u32]> = nodes.into();
        self.list.push(subset.clone());
        let number = self.list.len() as u32;
        self.numbers.insert(subset, number);
        Ok(number)
    }

    /// Drops the nodes of patterns that can no longer decide anything.
    fn forget(&self, nodes: &mut Vec<u32>) {
        let tail = |node: u32| self.nfa.nodes[node as usize].tail;
        let pattern = |node: u32| self.nfa.nodes[node as usize].pattern;
        if !nodes.iter().any(|node| matches!(tail(*node), Tail::Anything | Tail::Component)) {
            return;
        }
        let ends: HashSet<u32> =
            nodes.iter().copied().filter(|node| tail(*node) == Tail::End).map(pattern).collect();
        // A pattern that matches whatever follows must match here already, or what it wins over
        // would be missing here.
        let of = |kind: Tail| -> Vec<u32> {
            let nodes = nodes.iter().copied().filter(|node| tail(*node) == kind);
            nodes.map(pattern).filter(|pattern| ends.contains(pattern)).collect()
        };
        let (anything, component) = (of(Tail::Anything), of(Tail::Component));
        let is_beaten = |by: &[u32], loser: u32| {
            by.iter().any(|winner| self.patterns.beats(*winner as usize, loser as usize))
        };
        nodes.retain(|node| {
            let stays_in_component =
                matches!(tail(*node), Tail::End | Tail::Component | Tail::WithoutSlash);
            let beaten_here = stays_in_component && is_beaten(&component, pattern(*node));
            !beaten_here && !is_beaten(&anything, pattern(*node))
        });
    }
}
