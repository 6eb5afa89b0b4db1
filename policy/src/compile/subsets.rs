//! Makes the automaton of all patterns deterministic: one state for each set of nodes that a path
//! can lead to.
//!
//! The textbook construction needs 2ⁿ states for n patterns such as `/**/name/**`, since it
//! remembers each of them that matched. The kernel is told only which rule decides. So a pattern
//! whose rules can no longer change that, because another one matches whatever follows and its
//! rules win, is forgotten at once: n patterns then need n times their length.

use std::collections::HashMap;

use ringfence_common::image::MAX_STATES;

use super::{
    automaton::Plain,
    cells::Entries,
    globs::{Patterns, TooComplex},
    idle::Paths,
    nfa::{Nfa, Tail},
};

/// What making an automaton may take.
pub(super) struct Room {
    /// States before equal ones are merged.
    pub(super) subsets: usize,
    /// Nodes of all states together: what bounds memory.
    pub(super) members: usize,
    /// Nodes and followers that are looked at: what bounds time, to about a second.
    pub(super) steps: usize,
}

/// For the automaton of paths.
pub(super) const PATHS: Room =
    Room { subsets: 2 * MAX_STATES as usize, members: 8 << 20, steps: 256 << 20 };

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

/// A deterministic automaton, before equal states are merged.
pub(super) struct Determined {
    pub(super) plain: Plain,
    pub(super) classes: Classes,
    /// How much of what making it may take it took, at most 1.
    pub(super) used: f64,
}

/// The deterministic automaton for the first `count` patterns. `watch` is shown every set.
pub(super) fn determinise(
    nfa: &Nfa,
    patterns: &Patterns,
    count: usize,
    entries: &mut Entries<'_>,
    room: &Room,
    watch: Option<Paths<'_>>,
) -> Result<Determined, TooComplex> {
    let classes = Classes::new(nfa, count);
    let mut subsets = Subsets {
        nfa,
        patterns,
        room,
        list: Vec::new(),
        numbers: HashMap::new(),
        members: 0,
        steps: 0,
        watch,
    };
    // Sorted, as nodes are numbered by pattern.
    let starts = nfa.starts.iter().take(count).flatten();
    let start = subsets.number(&[], starts.copied().collect(), false)?;
    let mut transitions = vec![0; classes.count];
    let mut accepts = vec![0];
    let mut next = Next::new(&classes);
    // Most classes lead to the same nodes: each distinct list is looked at once.
    let mut known = HashMap::new();
    let mut at = 0;
    while let Some(subset) = subsets.list.get(at).cloned() {
        at += 1;
        subsets.steps += next.fill(nfa, &subset, &classes);
        known.clear();
        for class in 0..classes.count {
            // A component ends at a slash, whatever else is alike.
            let key = (class == next.slash, std::mem::take(&mut next.by_class[class]));
            transitions.push(match known.get(&key) {
                Some(number) => *number,
                None => {
                    let number = subsets.number(&subset, next.nodes(nfa, &key.1, key.0), key.0)?;
                    known.insert(key, number);
                    number
                }
            });
        }
        let ends = subset.iter().map(|node| &nfa.nodes[*node as usize]);
        let ends = ends.filter(|node| node.tail == Tail::End);
        accepts.push(entries.number(ends.map(|node| node.pattern as usize)));
    }
    let used = [
        (subsets.list.len(), room.subsets),
        (subsets.members, room.members),
        (subsets.steps, room.steps),
    ];
    let used = used.map(|(used, limit)| used as f64 / limit as f64);
    let plain = Plain { class_count: classes.count, start, transitions, accepts };
    Ok(Determined { plain, classes, used: used.into_iter().fold(0.0, f64::max) })
}

/// Where the nodes of a set lead to.
struct Next {
    /// The class of the slash.
    slash: usize,
    /// Nodes that every byte leads to, sorted.
    everywhere: Vec<u32>,
    /// Nodes that every byte but the slash leads to, those of `everywhere` included, sorted.
    in_component: Vec<u32>,
    /// By class, the other followers that its bytes lead to.
    by_class: Vec<Vec<u32>>,
}

impl Next {
    fn new(classes: &Classes) -> Self {
        Self {
            slash: classes.of[usize::from(b'/')].into(),
            everywhere: Vec::new(),
            in_component: Vec::new(),
            by_class: vec![Vec::new(); classes.count],
        }
    }

    /// Fills in where a set leads to, and returns how much was looked at. Stars are most of any
    /// set, and most classes are alike to them: what they lead to is collected once.
    fn fill(&mut self, nfa: &Nfa, subset: &[u32], classes: &Classes) -> usize {
        let mut steps = subset.len();
        self.everywhere.clear();
        self.in_component.clear();
        for node in subset {
            match nfa.nodes[*node as usize].ranges.as_slice() {
                [(0, 255, follower)] => {
                    self.everywhere.extend(&nfa.followers[*follower as usize]);
                }
                [(0, b'.', follower), (b'0', 255, other)] if follower == other => {
                    self.in_component.extend(&nfa.followers[*follower as usize]);
                }
                ranges => {
                    for (first, last, follower) in ranges {
                        for class in classes.range(*first, *last) {
                            self.by_class[class].push(*follower);
                            steps += 1;
                        }
                    }
                }
            }
        }
        self.everywhere.sort();
        self.everywhere.dedup();
        self.in_component.extend(&self.everywhere);
        self.in_component.sort();
        self.in_component.dedup();
        steps + self.in_component.len()
    }

    /// The nodes that some followers and the stars lead to, sorted.
    fn nodes(&self, nfa: &Nfa, followers: &[u32], on_slash: bool) -> Vec<u32> {
        let stars = if on_slash { &self.everywhere } else { &self.in_component };
        let mut nodes = stars.clone();
        for follower in followers {
            nodes.extend(&nfa.followers[*follower as usize]);
        }
        // What is put together is sorted already, which this sort makes use of.
        nodes.sort();
        nodes.dedup();
        nodes
    }
}

struct Subsets<'a> {
    nfa: &'a Nfa,
    patterns: &'a Patterns,
    room: &'a Room,
    /// By number less one: number 0 is the empty set.
    list: Vec<std::rc::Rc<[u32]>>,
    numbers: HashMap<std::rc::Rc<[u32]>, u32>,
    members: usize,
    steps: usize,
    watch: Option<Paths<'a>>,
}

impl Subsets<'_> {
    /// The number of a set of nodes, given sorted, that follows another.
    fn number(
        &mut self,
        before: &[u32],
        mut nodes: Vec<u32>,
        on_slash: bool,
    ) -> Result<u32, TooComplex> {
        if nodes.is_empty() {
            return Ok(0);
        }
        self.steps += nodes.len();
        if let Some(watch) = &mut self.watch {
            watch.look(before, &nodes, on_slash);
        }
        self.forget(&mut nodes);
        if let Some(number) = self.numbers.get(nodes.as_slice()) {
            return Ok(*number);
        }
        self.members += nodes.len();
        let Room { subsets, members, steps } = *self.room;
        if self.list.len() >= subsets || self.members > members || self.steps > steps {
            return Err(TooComplex);
        }
        let subset: std::rc::Rc<[u32]> = nodes.into();
        self.list.push(subset.clone());
        let number = self.list.len() as u32;
        self.numbers.insert(subset, number);
        Ok(number)
    }

    /// Drops the nodes of patterns that can no longer decide anything.
    fn forget(&mut self, nodes: &mut Vec<u32>) {
        let (nfa, patterns) = (self.nfa, self.patterns);
        let tail = |node: u32| nfa.nodes[node as usize].tail;
        let pattern = |node: u32| nfa.nodes[node as usize].pattern;
        if !nodes.iter().any(|node| matches!(tail(*node), Tail::Anything | Tail::Component)) {
            return;
        }
        // A pattern that matches whatever follows must match here already, or what it wins over
        // would be missing here.
        let (mut anything, mut component) = (Vec::new(), Vec::new());
        for nodes in nodes.chunk_by(|one, other| pattern(*one) == pattern(*other)) {
            let has = |kind: Tail| nodes.iter().any(|node| tail(*node) == kind);
            if has(Tail::End) {
                anything.extend(has(Tail::Anything).then(|| pattern(nodes[0])));
                component.extend(has(Tail::Component).then(|| pattern(nodes[0])));
            }
        }
        let beaten_by = |by: &[u32], loser: u32| {
            by.iter().copied().find(|winner| patterns.beats(*winner as usize, loser as usize))
        };
        // A pattern's nodes lie together: what beats it is looked for once.
        let mut loser = None;
        let (mut always, mut here, mut is_told) = (None, None, false);
        let watch = &mut self.watch;
        nodes.retain(|node| {
            if loser.replace(pattern(*node)) != Some(pattern(*node)) {
                always = beaten_by(&anything, pattern(*node));
                here = if always.is_some() { None } else { beaten_by(&component, pattern(*node)) };
                is_told = false;
            }
            let stays_in_component =
                matches!(tail(*node), Tail::End | Tail::Component | Tail::WithoutSlash);
            let winner = always.or(here.filter(|_| stays_in_component));
            if let (Some(winner), false, Some(watch)) = (winner, is_told, watch.as_mut()) {
                watch.forgotten(pattern(*node) as usize, winner as usize);
                is_told = true;
            }
            winner.is_none()
        });
    }
}
