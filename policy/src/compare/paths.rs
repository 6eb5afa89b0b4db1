//! Compares what two policies say about paths.

use std::collections::HashSet;

use ringfence_common::{
    Cell, Decision, Image, Right, Verdict,
    event::PATH_BYTES,
    files,
    image::{CLASSES, header},
};

use super::{
    Answer, Comparison, MAX_DIFFERENCES, Subject,
    product::{self, Form, MAX_PAIRS, Trail},
};
use crate::{boundary::Digests, compile::Tables, question};

/// Adds the differences about paths.
pub(super) fn compare(old: &Tables, new: &Tables, comparison: &mut Comparison) {
    let mut found = Found::default();
    let (old_image, new_image) = (&*old.image, &*new.image);
    let at = |old_state, new_state, trail: &Trail<'_>| {
        for ask in Ask::all() {
            let old = (ask.decide(old_image, old_state), ask.content(old, old_state));
            let new = (ask.decide(new_image, new_state), ask.content(new, new_state));
            found.add(ask, old, new, || trail.text());
        }
    };
    let mut room = MAX_PAIRS;
    let is_complete = (are_same(old_image, new_image) && old.pins == new.pins)
        || product::walk::<KernelPath>(old_image, new_image, &mut room, at);
    comparison.is_complete &= is_complete && !found.is_full;
    compare_names(old, new, &mut room, comparison);
    found.list.sort_by_key(|one| one.ask);
    for one in &found.list {
        let subject = match one.ask {
            Ask::Right(Right::Socket) if found.has_same_for_writing(one) => continue,
            Ask::Right(right) => Subject::Path { right, path: one.path.clone() },
            Ask::FirstProgram if found.has_same_for_later_programs(one) => continue,
            Ask::FirstProgram => Subject::FirstProgram { path: one.path.clone() },
        };
        let answer =
            |(decision, content), tables| Answer { content, ..Answer::of(decision, tables) };
        comparison.add(subject, answer(one.old, old), answer(one.new, new));
    }
    for right in Right::ALL {
        let path = [b"/".as_slice(), &[b'a'; PATH_BYTES]].concat();
        let about = |tables| question::about_path(tables, &path, right);
        let (old_answer, new_answer) = (about(old), about(new));
        let is_as_writing = right == Right::Socket
            && [(old, old_answer), (new, new_answer)].into_iter().all(|(tables, answer)| {
                question::about_path(tables, &path, Right::Write).verdict == answer.verdict
            });
        if !is_as_writing && !found.has_verdicts(right, old_answer.verdict, new_answer.verdict) {
            let subject = Subject::LongPath { right };
            comparison.add(subject, Answer::of(old_answer, old), Answer::of(new_answer, new));
        }
    }
}

/// Adds the differences about abstract Unix sockets.
fn compare_names(old: &Tables, new: &Tables, room: &mut usize, comparison: &mut Comparison) {
    let mut found = Found::default();
    let at = |old_state, new_state, trail: &Trail<'_>| {
        let old = (files::decide_abstract(&*old.image, old_state), None);
        let new = (files::decide_abstract(&*new.image, new_state), None);
        found.add(Ask::Right(Right::Socket), old, new, || trail.text());
    };
    comparison.is_complete &= product::walk::<AbstractName>(&old.image, &new.image, room, at);
    comparison.is_complete &= !found.is_full;
    for one in &found.list {
        let name = one.path.get(1..).unwrap_or_default().to_vec();
        let subject = Subject::AbstractSocket { name };
        comparison.add(subject, Answer::of(one.old.0, old), Answer::of(one.new.0, new));
    }
}

/// Whether all that decides about paths is the same in both images, byte for byte. Policies that
/// differ elsewhere need not be walked.
fn are_same(old: &[u8], new: &[u8]) -> bool {
    const WORDS: [u32; 7] = [
        header::GOVERNED_RIGHTS,
        header::STRIDE_SHIFT,
        header::START_STATE,
        header::ACCEPTS,
        header::ENTRIES,
        header::V4,
        header::EXEC_AFTER_START,
    ];
    // The path tables end where those for addresses begin.
    let tables = |image: &[u8]| image.word(header::V4).map(|end| CLASSES as usize..end as usize);
    let (old_tables, new_tables) = (tables(old), tables(new));
    WORDS.iter().all(|at| old.word(*at) == new.word(*at))
        && old_tables.and_then(|range| old.get(range))
            == new_tables.and_then(|range| new.get(range))
}

/// What is asked about a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Ask {
    Right(Right),
    FirstProgram,
}

impl Ask {
    fn all() -> impl Iterator<Item = Self> {
        Right::ALL.into_iter().map(Self::Right).chain([Self::FirstProgram])
    }

    fn decide(self, image: &[u8], state: u32) -> Decision {
        match self {
            Self::Right(right) => question::about_state(image, state, right, true),
            Self::FirstProgram => question::about_state(image, state, Right::Exec, false),
        }
    }

    /// The content that a file must have where the decision allows.
    fn content(self, tables: &Tables, state: u32) -> Option<Digests> {
        let is_exec = matches!(self, Self::FirstProgram | Self::Right(Right::Exec));
        let rule = files::content_rule(&*tables.image, state).filter(|_| is_exec)?;
        tables.content(rule)
    }
}

/// A decision, and the content that it asks for.
type Said = (Decision, Option<Digests>);

/// What is asked, and who answers it in either policy.
type Key = (Ask, Cell, Cell);

struct Example {
    ask: Ask,
    old: Said,
    new: Said,
    path: Vec<u8>,
}

/// The first path for each distinct pair of answers.
#[derive(Default)]
struct Found {
    list: Vec<Example>,
    known: HashSet<Key>,
    is_full: bool,
}

impl Found {
    fn add(&mut self, ask: Ask, old: Said, new: Said, path: impl FnOnce() -> Vec<u8>) {
        let is_same = (old.0.verdict, old.1) == (new.0.verdict, new.1);
        if is_same || self.known.contains(&key(ask, old, new)) {
            return;
        }
        if self.list.len() == MAX_DIFFERENCES {
            self.is_full = true;
            return;
        }
        self.known.insert(key(ask, old, new));
        self.list.push(Example { ask, old, new, path: path() });
    }

    /// Whether a program after the first is told of with the same answers.
    fn has_same_for_later_programs(&self, one: &Example) -> bool {
        self.known.contains(&key(Ask::Right(Right::Exec), one.old, one.new))
    }

    /// Whether writing to a path is told of with the same answers: it gives what sockets need.
    fn has_same_for_writing(&self, one: &Example) -> bool {
        self.known.contains(&key(Ask::Right(Right::Write), one.old, one.new))
    }

    fn has_verdicts(&self, right: Right, old: Verdict, new: Verdict) -> bool {
        let is_same = |one: &Example| (one.old.0.verdict, one.new.0.verdict) == (old, new);
        self.list.iter().any(|one| one.ask == Ask::Right(right) && is_same(one))
    }
}

fn key(ask: Ask, old: Said, new: Said) -> Key {
    let cell = |(decision, _): Said| Cell::new(decision.verdict, decision.rule);
    (ask, cell(old), cell(new))
}

/// A path as the kernel has it: absolute, without `//`, `.`, `..` or a slash at the end.
struct KernelPath;

impl KernelPath {
    const EMPTY: u8 = 0;
    /// `/`
    const ROOT: u8 = 1;
    const IN_NAME: u8 = 2;
    const AFTER_SLASH: u8 = 3;
    /// A name that is `.` so far.
    const DOT: u8 = 4;
    /// A name that is `..` so far.
    const DOTS: u8 = 5;
}

impl Form for KernelPath {
    const STATES: u8 = 6;
    const START: u8 = Self::EMPTY;
    const LONGEST: usize = PATH_BYTES;

    fn step(state: u8, byte: u8) -> Option<u8> {
        match (state, byte) {
            (_, 0) => None,
            (Self::EMPTY, b'/') => Some(Self::ROOT),
            (Self::EMPTY, _) => None,
            (Self::IN_NAME, b'/') => Some(Self::AFTER_SLASH),
            (_, b'/') => None,
            (Self::ROOT | Self::AFTER_SLASH, b'.') => Some(Self::DOT),
            (Self::DOT, b'.') => Some(Self::DOTS),
            _ => Some(Self::IN_NAME),
        }
    }

    fn may_end(state: u8) -> bool {
        matches!(state, Self::ROOT | Self::IN_NAME)
    }
}

/// An abstract name with `@` before it, as the tables have it. One with a NUL in it makes no
/// readable example.
struct AbstractName;

impl AbstractName {
    const EMPTY: u8 = 0;
    const BEGUN: u8 = 1;
    const IN_NAME: u8 = 2;
}

impl Form for AbstractName {
    const STATES: u8 = 3;
    const START: u8 = Self::EMPTY;
    const LONGEST: usize = 108;

    fn step(state: u8, byte: u8) -> Option<u8> {
        match (state, byte) {
            (_, 0) => None,
            (Self::EMPTY, b'@') => Some(Self::BEGUN),
            (Self::EMPTY, _) => None,
            _ => Some(Self::IN_NAME),
        }
    }

    fn may_end(state: u8) -> bool {
        state == Self::IN_NAME
    }
}

#[cfg(test)]
mod tests;
