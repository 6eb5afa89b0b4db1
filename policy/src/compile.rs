//! Compiles boundaries to the one block of bytes that the kernel decides by.
//!
//! Everything that can be computed before an act is: which rule wins, what several documents say
//! together, what an observe mode turns a refusal into. What is left for the kernel is one walk
//! over a table for a path, or two binary searches for a destination, and an answer that is a
//! verdict and the number of the rule that gives it. `docs/tables.md` has the layout and its
//! reasons.

mod addresses;
mod automaton;
mod blame;
mod cells;
mod globs;
mod header;
mod idle;
mod image;
mod minimise;
mod names;
pub(crate) mod networks;
mod nfa;
pub(crate) mod ports;
pub(crate) mod rules;
mod subsets;

use std::net::IpAddr;

use ringfence_common::{Cell, Verdict};
use sha2::{Digest, Sha256};

use crate::boundary::{Boundary, Digests, Place, Resolved};

pub use idle::{Idle, Why};
pub use image::{Malformed, verify};

/// Largest image that is made, in bytes: it lives in kernel memory that cannot be swapped out.
pub const MAX_IMAGE_BYTES: usize = 32 << 20;

/// What boundaries compile to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The bytes that [`ringfence_common::image`] describes.
    pub image: Vec<u8>,
    /// What the rule numbers in the image stand for: number n is `rules[n - 1]`.
    pub rules: Vec<RuleInfo>,
    /// Addresses that a host name resolved to and that were left out, since a public name must
    /// not open a private or special-use address.
    pub dropped: Vec<(String, IpAddr)>,
    /// Rules of documents that could be removed, in order of number: none of them decides
    /// anything in its document. Not all such rules are found. Rules about host names are not
    /// judged, nor is a policy that would take too long.
    pub idle: Vec<Idle>,
    /// The rules that ask for a content, in order of number.
    pub pins: Vec<Pin>,
    /// How large the parts of the image are.
    pub summary: Summary,
    /// How many numbers the rules about paths have: those about destinations follow.
    pub(crate) path_rules: u32,
}

/// A rule that asks for the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its number in [`Tables::rules`].
    pub rule: u32,
    /// The file.
    pub path: String,
    /// What its content must be.
    pub content: Digests,
    /// What becomes of other content.
    pub refusal: Verdict,
}

/// What a rule number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Where the rule stands.
    pub place: Place,
    /// The rule in words.
    pub text: String,
    /// Set for the answer of a list that no rule of it matched. An event with this number names
    /// no rule, since none decided.
    pub is_default: bool,
}

/// How large the parts of an image are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Distinct path patterns.
    pub patterns: usize,
    /// States of the path automaton, the dead one included.
    pub states: usize,
    /// Classes of bytes that the path automaton tells apart.
    pub classes: usize,
    /// Distinct answers to paths: a cell for each right.
    pub entries: usize,
    /// States of the automaton of host names, the dead one included.
    pub name_states: usize,
    /// Intervals of IPv4 addresses.
    pub v4_intervals: usize,
    /// Intervals of IPv6 addresses.
    pub v6_intervals: usize,
    /// Distinct answers to addresses: a port table for each protocol.
    pub leaves: usize,
    /// Length of the image.
    pub bytes: usize,
}

impl Tables {
    /// SHA-256 of the image.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.image).into()
    }

    /// The content that a rule asks for, if it does.
    pub fn content(&self, rule: u32) -> Option<Digests> {
        let at = self.pins.binary_search_by_key(&rule, |pin| pin.rule).ok()?;
        self.pins.get(at).map(|pin| pin.content)
    }

    /// For the answer to addresses that must be named literally, the list's answer to others.
    pub(crate) fn list_of(&self, cell: Cell) -> Option<Cell> {
        let unnamed = self.rule(cell.rule()).filter(|rule| rule.text == rules::UNNAMED)?;
        let is_list = |rule: &RuleInfo| rule.place == unnamed.place && rule.text == rules::NO_RULE;
        let at = self.rules.iter().position(is_list)?;
        Some(Cell::new(cell.verdict(), u32::try_from(at + 1).ok()?))
    }

    /// What a rule number stands for; `None` for 0 and for numbers of another policy.
    pub fn rule(&self, number: u32) -> Option<&RuleInfo> {
        self.rules.get((number as usize).checked_sub(1)?)
    }
}

/// Why boundaries could not be compiled, and the rule at which it showed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
#[non_exhaustive]
pub struct CompileError {
    /// Where the rule stands.
    pub place: Place,
    /// The rule in words.
    pub rule: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with the rule that a [`CompileError`] names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// `[a`, `{a`, `[z-a]`: the pattern cannot be read.
    #[error("pattern `{pattern}` cannot be read: {reason}")]
    Pattern {
        /// The pattern as the user wrote it.
        pattern: String,
        /// What the pattern parser says.
        reason: String,
    },
    /// A pattern of more bytes or braces than any real one has.
    #[error("pattern is too long: at most {max} {unit} are read")]
    PatternTooLong {
        /// How many are read.
        max: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// `/**/*a*b*c????????/**`: together with the rules before it, the pattern needs more states
    /// than the kernel table has.
    #[error(
        "with pattern `{pattern}` the path rules become too complex for the kernel's table \
         ({} states)",
        ringfence_common::image::MAX_STATES
    )]
    PathsTooComplex {
        /// The pattern as the user wrote it.
        pattern: String,
    },
    /// `*a*b*c*`: together with the rules before it, the pattern needs more states than the
    /// kernel's table of names has.
    #[error(
        "with host `{pattern}` the egress rules become too complex for the kernel's table of names \
         ({} states)",
        ringfence_common::image::MAX_NAME_STATES
    )]
    NamesTooComplex {
        /// The pattern as the user wrote it.
        pattern: String,
    },
    /// More distinct ranges of addresses than a table holds.
    #[error(
        "with this destination the egress rules need more than {} address ranges",
        ringfence_common::image::MAX_INTERVALS
    )]
    TooManyIntervals,
    /// The image would be larger than [`MAX_IMAGE_BYTES`].
    #[error("with this rule the tables become larger than {} MiB", MAX_IMAGE_BYTES >> 20)]
    TooLarge,
}

impl Problem {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Pattern { .. } => {
                "close every `[` and `{`, and write `\\` before a character that stands for itself"
            }
            Self::PatternTooLong { .. } => "split the pattern into several rules",
            Self::PathsTooComplex { .. } => {
                "use fewer `*`, `**` and `?` in the middle of patterns, name a folder with `/**` \
                 instead of its files, or give programs with different needs different scopes"
            }
            Self::NamesTooComplex { .. } => {
                "name a domain with `*.` instead of its hosts, use fewer `*` in the middle of host \
                 names, or give programs with different needs different scopes"
            }
            Self::TooManyIntervals | Self::TooLarge => {
                "use wider networks and fewer different port lists, or give programs with \
                 different needs different scopes"
            }
        }
    }
}

/// Compiles boundaries to the image of their intersection: an act must be allowed by each
/// boundary that governs it, and an act that none governs is allowed.
///
/// `resolved` has the addresses of the host names in egress rules. A name that is missing there
/// stands for no address at all.
///
/// # Examples
/// ```
/// use ringfence_policy::compile::compile;
///
/// let tables = compile(&[], &Default::default())?;
/// assert!(tables.rules.is_empty());
/// # Ok::<_, ringfence_policy::compile::CompileError>(())
/// ```
///
/// # Errors
/// When a pattern cannot be read, or the tables become larger than the kernel programs can
/// search. The error names the rule that crossed the line.
pub fn compile(boundaries: &[Boundary], resolved: &Resolved) -> Result<Tables, CompileError> {
    let mut book = rules::RuleBook::default();
    let layers = rules::path_layers(boundaries, &mut book);
    let path_rules = book.last();
    let egress = rules::egress_layers(boundaries, &mut book);
    let serving = rules::serving_layers(boundaries, &mut book);
    let header = header::Header::new(boundaries, &layers, &egress, &mut book);
    let patterns = globs::Patterns::new(&layers);
    let mut judge = idle::Judge::new(&layers, &egress, &book);
    let paths = globs::build(&patterns, &layers, &book, &mut judge)?;
    let serving = ports::serving(&serving);
    let room = MAX_IMAGE_BYTES.saturating_sub(image::path_bytes(&paths));
    let names = names::build(&egress, room, &book)?;
    let room = room.saturating_sub(names.bytes() + image::serving_bytes(&serving));
    let mut dropped = Vec::new();
    let networks = networks::of_rules(&egress, resolved, &mut dropped);
    let addresses = addresses::build(&egress, &networks, room, &book, &mut judge)?;
    let image = image::write(&header, &paths, &addresses, &names, &serving);
    let summary = Summary {
        patterns: patterns.len(),
        states: paths.accepts.len(),
        classes: paths.class_count,
        entries: paths.entries.len(),
        name_states: names.states.len(),
        v4_intervals: addresses.v4.len(),
        v6_intervals: addresses.v6.len(),
        leaves: addresses.leaves.len(),
        bytes: image.len(),
    };
    let idle = judge.into_idle(&book);
    let pins = layers.into_iter().flat_map(|layer| layer.pins).collect();
    Ok(Tables { image, rules: book.into_rules(), dropped, idle, pins, summary, path_rules })
}
