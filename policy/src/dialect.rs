//! Which policy language a document is written in.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    Source, agent_yaml, boundary_document,
    diagnostic::{Diagnostic, code, quoted},
    document::Node,
    model::Model as _,
    schema::Shape,
    sec0, secai,
    suggestion::{listed, nearest},
};

/// A policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// A Sec0 policy.
    Sec0,
    /// A SecAI `policy.yaml`.
    SecaiPolicy,
    /// A SecAI `agent.yaml`.
    SecaiAgent,
    /// Our own `boundary` document.
    Boundary,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 4] = [Self::Sec0, Self::SecaiPolicy, Self::SecaiAgent, Self::Boundary];

    /// The word for the dialect on the command line: `sec0`, `secai`, `agent`, `boundary`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sec0 => "sec0",
            Self::SecaiPolicy => "secai",
            Self::SecaiAgent => "agent",
            Self::Boundary => "boundary",
        }
    }

    /// What a document in this dialect is called in messages.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sec0 => "Sec0 policy",
            Self::SecaiPolicy => "SecAI policy.yaml",
            Self::SecaiAgent => "SecAI agent.yaml",
            Self::Boundary => "boundary document",
        }
    }

    /// What a document in this dialect looks like.
    pub(crate) const fn shape(self) -> Shape {
        match self {
            Self::Sec0 => sec0::Policy::SHAPE,
            Self::SecaiPolicy => secai::Policy::SHAPE,
            Self::SecaiAgent => agent_yaml::Agent::SHAPE,
            Self::Boundary => boundary_document::Document::SHAPE,
        }
    }

    fn has(self, key: &str) -> bool {
        self.shape().properties().iter().any(|field| field.name == key)
    }

    /// Whether no other dialect has this key, so that it tells the dialect.
    fn is_told_by(self, key: &str) -> bool {
        self.has(key) && Self::ALL.iter().all(|other| *other == self || !other.has(key))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Dialect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == word).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            match nearest(word, names) {
                Some(meant) => format!("no such dialect; did you mean `{meant}`?"),
                None => format!("no such dialect; it is one of {}", listed(&names)),
            }
        })
    }
}

/// Recognises the dialect of a document from its outermost keys.
///
/// A dialect is recognised by the keys that only it has: by two of them, or by one when no more
/// keys are strange to it than that. Otherwise a file that is no policy at all, and happens to
/// share a word with one, would be taken for a policy full of errors.
pub(crate) fn recognise(source: &Source, document: &Node) -> Result<Dialect, Box<Diagnostic>> {
    let keys: Vec<&str> = document.entries().iter().map(|entry| entry.key.name.as_str()).collect();
    if keys.contains(&"boundary") {
        return Ok(Dialect::Boundary);
    }
    let count = |test: &dyn Fn(&str) -> bool| keys.iter().filter(|key| test(key)).count();
    let telling = |dialect: Dialect| count(&|key| dialect.is_told_by(key));
    let strange = |dialect: Dialect| count(&|key| !dialect.has(key));
    let [mut best, others @ ..] = Dialect::ALL;
    for other in others {
        let score = |dialect| (telling(dialect), keys.len() - strange(dialect));
        if score(other) > score(best) {
            best = other;
        }
    }
    if telling(best) >= 2 || telling(best) > strange(best) {
        return Ok(best);
    }
    let known: Vec<&str> = keys.iter().copied().filter(|key| best.has(key)).collect();
    let message = match document.entries().first() {
        Some(entry) => format!("no policy language has these keys: {}, …", quoted(&entry.key.name)),
        None => "the document is an empty mapping".to_owned(),
    };
    let closest = match known.as_slice() {
        [] => String::new(),
        known => format!("closest is `{best}`, which has {} as well; ", listed(known)),
    };
    let all = Dialect::ALL.into_iter().flat_map(|dialect| dialect.shape().properties());
    let meant = keys.first().and_then(|key| nearest(key, all.map(|property| property.name)));
    let slip = meant.filter(|meant| !keys.contains(meant));
    let closest = slip.map_or(closest, |meant| format!("did you mean `{meant}`? "));
    let help = format!(
        "{closest}a Sec0 policy has `tenant`, `default_retention`, `enforcement`, …; a SecAI \
         policy.yaml `defaults`, `models`, `quarantine`, …; an agent.yaml `default_mode`, \
         `workspace`, …; a boundary document `boundary: 1`. Force one with `--dialect`"
    );
    let (place, length) = match document.entries().first() {
        Some(entry) => (entry.key.span.place.clone(), entry.key.span.length),
        None => (source.place(document.span.place.line, document.span.place.column), 1),
    };
    Err(Box::new(Diagnostic::error(code::UNKNOWN_DIALECT, place, length, message).with_help(help)))
}
