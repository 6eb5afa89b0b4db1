//! Walks two path automata at once, over the texts of one form only.

use std::collections::{HashMap, HashSet};

use ringfence_common::{
    Image,
    files::{CORRUPT, Walker},
    image::CLASSES,
};

/// Pairs of states that a comparison looks at, in all its walks over texts of one form.
pub(super) const MAX_PAIRS: usize = 4 << 20;

/// A small automaton for the texts that the kernel or a resolver can ask about.
pub(super) trait Form {
    /// States are the numbers below.
    const STATES: u8;
    /// The state before the first byte.
    const START: u8;
    /// Bytes of the longest text.
    const LONGEST: usize;

    /// The state after one more byte; `None` when no text goes on like that.
    fn step(state: u8, byte: u8) -> Option<u8>;

    /// Whether a text may end here.
    fn may_end(state: u8) -> bool;
}

/// Where a walk stands: a text, by the way that led there.
pub(super) struct Trail<'a> {
    nodes: &'a [Node],
    at: usize,
}

impl Trail<'_> {
    /// The text itself.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut at = self.at;
        while at > 0 {
            text.push(self.nodes[at].byte);
            at = self.nodes[at].from as usize;
        }
        text.reverse();
        text
    }
}

#[derive(Clone, Copy)]
struct Node {
    old: u32,
    new: u32,
    /// The node before, and the byte that led from it.
    from: u32,
    byte: u8,
    form: u8,
}

/// Tells `found` every pair of states in which texts of the form can end, the shortest text first.
///
/// `room` is how many pairs may be looked at, and is lowered by those that were. False when that
/// was not enough.
pub(super) fn walk<F: Form>(
    old: &[u8],
    new: &[u8],
    room: &mut usize,
    mut found: impl FnMut(u32, u32, &Trail<'_>),
) -> bool {
    let (Some(old_walker), Some(new_walker)) = (Walker::new(old), Walker::new(new)) else {
        return false;
    };
    let bytes = bytes_to_try::<F>(old, new);
    let start =
        Node { old: old_walker.start, new: new_walker.start, from: 0, byte: 0, form: F::START };
    let mut nodes = vec![start];
    let mut known = HashSet::from([key(&start)]);
    let (mut at, mut length, mut level_end) = (0, 0, 1);
    while let Some(node) = nodes.get(at).copied() {
        if F::may_end(node.form) {
            found(node.old, node.new, &Trail { nodes: &nodes, at });
        }
        for byte in bytes.iter().copied().filter(|_| length < F::LONGEST) {
            let Some(form) = F::step(node.form, byte) else { continue };
            let old_next = old_walker.step(old, node.old, byte);
            let new_next = new_walker.step(new, node.new, byte);
            let next = Node { old: old_next, new: new_next, from: at as u32, byte, form };
            if known.insert(key(&next)) {
                if nodes.len() >= *room || old_next == CORRUPT || new_next == CORRUPT {
                    *room = room.saturating_sub(nodes.len());
                    return false;
                }
                nodes.push(next);
            }
        }
        at += 1;
        if at == level_end {
            (level_end, length) = (nodes.len(), length + 1);
        }
    }
    *room -= nodes.len().min(*room);
    true
}

/// States are below 2^16.
fn key(node: &Node) -> u64 {
    u64::from(node.old) << 24 | u64::from(node.new) << 8 | u64::from(node.form)
}

/// One byte of each set that nothing tells apart, the most readable one, and the most readable
/// set first.
fn bytes_to_try<F: Form>(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut best: HashMap<_, u8> = HashMap::new();
    for byte in 0..=u8::MAX {
        let class = |image: &[u8]| image.byte(CLASSES + u32::from(byte));
        let steps: Vec<_> = (0..F::STATES).map(|state| F::step(state, byte)).collect();
        if steps.iter().any(Option::is_some) {
            let best = best.entry((class(old), class(new), steps)).or_insert(byte);
            if unreadability(byte) < unreadability(*best) {
                *best = byte;
            }
        }
    }
    let mut bytes: Vec<u8> = best.into_values().collect();
    bytes.sort_by_key(|byte| (unreadability(*byte), *byte));
    bytes
}

/// How little a byte helps somebody who reads an example.
fn unreadability(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        b'-' => 3,
        b'_' => 4,
        b'.' => 5,
        b'!'..=b'~' => 6,
        _ => 7,
    }
}
