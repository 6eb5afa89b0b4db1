//! All patterns as one automaton that may be in many states at once, before it is made
//! deterministic.

use regex_automata::{
    nfa::thompson::{self, NFA, State, WhichCaptures},
    util::{look::Look, primitives::StateID, syntax},
};

/// Memory for the automaton of one pattern.
const PATTERN_BYTES: usize = 4 << 20;

/// Members of all sets of followers. Patterns such as `*****` have a great many.
const MAX_FOLLOWERS: usize = 8 << 20;

/// Why a pattern could not be added.
pub(super) enum Refused {
    /// It cannot be read.
    Unreadable(Box<thompson::BuildError>),
    /// Together with those before it, it is too large.
    TooLarge,
}

/// A state that waits for a byte, or the end of a pattern.
pub(super) struct Node {
    pub(super) pattern: u32,
    /// First and last byte of each range, and the number of the follower in [`Nfa::followers`].
    pub(super) ranges: Vec<(u8, u8, u32)>,
    pub(super) tail: Tail,
    /// Whether some path matches from here.
    pub(super) can_match: bool,
    /// Whether some path without a further slash matches from here.
    pub(super) can_match_in_component: bool,
}

/// What a node knows about the paths that still match from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The pattern has matched if the path ends here.
    End,
    /// The pattern matches whatever follows, and if nothing does.
    Anything,
    /// The pattern matches whatever follows in this component, and if nothing does.
    Component,
    /// The pattern may match, but only by a path that has no further slash.
    WithoutSlash,
    /// Nothing is known.
    Open,
}

/// Every pattern's nodes.
#[derive(Default)]
pub(super) struct Nfa {
    pub(super) nodes: Vec<Node>,
    /// Sets of nodes that a byte leads to.
    pub(super) followers: Vec<Vec<u32>>,
    /// The nodes before the first byte of a path, by pattern.
    pub(super) starts: Vec<Vec<u32>>,
    /// Members of all followers.
    members: usize,
}

impl Nfa {
    /// Adds a pattern, given as an anchored regular expression over bytes. Only a pattern of
    /// abstract names matches what begins with `@`.
    pub(super) fn add(&mut self, expression: &str, is_of_names: bool) -> Result<(), Refused> {
        let nfa = parse(expression).map_err(Refused::Unreadable)?;
        let pattern = self.starts.len() as u32;
        let base = self.nodes.len();
        // Numbers of the new nodes, by state.
        let mut numbers = vec![None; nfa.states().len()];
        for (state, number) in nfa.states().iter().zip(&mut numbers) {
            if is_node(state) {
                *number = Some(self.nodes.len() as u32);
                self.nodes.push(Node {
                    pattern,
                    ranges: Vec::new(),
                    tail: Tail::Open,
                    can_match: false,
                    can_match_in_component: false,
                });
            }
        }
        let mut followers = vec![None; nfa.states().len()];
        for (state, number) in nfa.states().iter().zip(&numbers) {
            let Some(number) = number else { continue };
            let mut ranges = Vec::new();
            for (first, last, next) in transitions(state) {
                let follower = match followers[next.as_usize()] {
                    Some(follower) => follower,
                    None => {
                        let nodes = closure(&nfa, next, false, &numbers);
                        *followers[next.as_usize()].insert(self.follower(nodes)?)
                    }
                };
                ranges.push((first, last, follower));
            }
            self.nodes[*number as usize].ranges = ranges;
        }
        let mut starts = closure(&nfa, nfa.start_anchored(), true, &numbers);
        if !is_of_names {
            starts = starts.into_iter().filter_map(|node| self.without_names(node)).collect();
            starts.sort_unstable();
        }
        self.starts.push(starts);
        self.find_tails(base);
        Ok(())
    }

    /// The same node, or one that is like it for every byte but `@`, if there is another: it may
    /// be one that the pattern comes back to.
    fn without_names(&mut self, number: u32) -> Option<u32> {
        let Node { pattern, ref ranges, .. } = self.nodes[number as usize];
        if !ranges.iter().any(|(first, last, _)| (*first..=*last).contains(&b'@')) {
            return Some(number);
        }
        let around = ranges.iter().flat_map(|&(first, last, follower)| {
            [(first, last.min(b'@' - 1), follower), (first.max(b'@' + 1), last, follower)]
        });
        let ranges: Vec<_> = around.filter(|(first, last, _)| first <= last).collect();
        if ranges.is_empty() {
            return None;
        }
        self.nodes.push(Node {
            pattern,
            ranges,
            tail: Tail::Open,
            can_match: false,
            can_match_in_component: false,
        });
        Some((self.nodes.len() - 1) as u32)
    }

    fn follower(&mut self, nodes: Vec<u32>) -> Result<u32, Refused> {
        self.members += nodes.len();
        if self.members > MAX_FOLLOWERS {
            return Err(Refused::TooLarge);
        }
        self.followers.push(nodes);
        Ok((self.followers.len() - 1) as u32)
    }

    /// Fills in what the nodes from `base` on know about what follows.
    fn find_tails(&mut self, base: usize) {
        let nodes = &self.nodes[base..];
        let has = |(first, last): (u8, u8), byte| (first..=last).contains(&byte);
        let steps_on_slash =
            nodes.iter().map(|node| node.ranges.iter().any(|range| has((range.0, range.1), b'/')));
        let meets_slash = self.backwards(base, steps_on_slash.collect(), |_| true);
        let is_end: Vec<bool> = nodes.iter().map(|node| node.ranges.is_empty()).collect();
        let in_component = self.backwards(base, is_end.clone(), |range| range != (b'/', b'/'));
        let can_match = self.backwards(base, is_end, |_| true);
        for at in 0..can_match.len() {
            let tail = self.tail(base + at, meets_slash[at]);
            let node = &mut self.nodes[base + at];
            node.tail = tail;
            node.can_match = can_match[at];
            node.can_match_in_component = in_component[at];
        }
    }

    /// Adds to some nodes from `base` on those that lead to them by ranges that count.
    fn backwards(
        &self,
        base: usize,
        mut found: Vec<bool>,
        counts: impl Fn((u8, u8)) -> bool,
    ) -> Vec<bool> {
        // A pattern's nodes lie roughly in the order of its text, so that from the back a few
        // rounds find everything.
        loop {
            let mut changed = false;
            for at in (0..found.len()).rev() {
                let ranges = self.nodes[base + at].ranges.iter();
                let mut next = ranges
                    .filter(|(first, last, _)| counts((*first, *last)))
                    .flat_map(|(_, _, next)| &self.followers[*next as usize]);
                if !found[at] && next.any(|next| found[*next as usize - base]) {
                    found[at] = true;
                    changed = true;
                }
            }
            if !changed {
                return found;
            }
        }
    }

    fn tail(&self, number: usize, meets_slash: bool) -> Tail {
        let node = &self.nodes[number];
        if node.ranges.is_empty() {
            return Tail::End;
        }
        let is_end = |other: &u32| self.nodes[*other as usize].ranges.is_empty();
        let loops = node.ranges.iter().all(|(_, _, next)| {
            let next = &self.followers[*next as usize];
            next.contains(&(number as u32)) && next.iter().any(is_end)
        });
        let ranges: Vec<(u8, u8)> =
            node.ranges.iter().map(|(first, last, _)| (*first, *last)).collect();
        match ranges.as_slice() {
            [(0, 255)] if loops => Tail::Anything,
            [(0, b'.'), (b'0', 255)] if loops && !meets_slash => Tail::Component,
            _ if meets_slash => Tail::Open,
            _ => Tail::WithoutSlash,
        }
    }
}

fn parse(expression: &str) -> Result<NFA, Box<thompson::BuildError>> {
    let config = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(PATTERN_BYTES))
        .which_captures(WhichCaptures::None)
        .shrink(false);
    // As globset reads its own expressions: bytes, and a newline is a byte like any other.
    let syntax = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
    let mut compiler = thompson::Compiler::new();
    compiler.configure(config).syntax(syntax).build(expression).map_err(Box::new)
}

/// Whether a state waits for a byte or ends the pattern; the others are left at once.
fn is_node(state: &State) -> bool {
    use State::{ByteRange, Dense, Match, Sparse};
    matches!(state, ByteRange { .. } | Sparse(_) | Dense(_) | Match { .. })
}

fn transitions(state: &State) -> Vec<(u8, u8, StateID)> {
    match state {
        State::ByteRange { trans } => vec![(trans.start, trans.end, trans.next)],
        State::Sparse(sparse) => {
            sparse.transitions.iter().map(|trans| (trans.start, trans.end, trans.next)).collect()
        }
        State::Dense(dense) => {
            let all = (0..=u8::MAX).zip(&*dense.transitions);
            let live = all.filter(|(_, next)| **next != StateID::ZERO);
            live.map(|(byte, next)| (byte, byte, *next)).collect()
        }
        _ => Vec::new(),
    }
}

/// The nodes that are reached from a state without a byte.
///
/// An expression has `^` first and `$` last and nowhere else: the one holds at the start of the
/// path only, and behind the other there is only the end of the pattern.
fn closure(nfa: &NFA, from: StateID, at_start: bool, numbers: &[Option<u32>]) -> Vec<u32> {
    let mut nodes = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut work = vec![from];
    while let Some(state) = work.pop() {
        if !seen.insert(state) {
            continue;
        }
        if let Some(number) = numbers[state.as_usize()] {
            nodes.push(number);
            continue;
        }
        match nfa.state(state) {
            State::Look { look: Look::Start, next } if at_start => work.push(*next),
            State::Look { look: Look::End, next } | State::Capture { next, .. } => work.push(*next),
            State::Union { alternates } => work.extend(alternates.iter().copied()),
            State::BinaryUnion { alt1, alt2 } => work.extend([*alt1, *alt2]),
            _ => {}
        }
    }
    nodes.sort_unstable();
    nodes
}
