//! What is wrong with a glob, and at which character.

use globset::GlobBuilder;

use super::MAX_BYTES;
use crate::boundary::GlobSyntax;

/// How deep `{…}` may be nested.
const MAX_NESTING: usize = 8;

/// What is wrong with a glob.
pub(super) struct GlobError {
    /// The character that is wrong, counted from 0.
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// What is wrong with a glob, if anything.
pub(super) fn error(pattern: &str, syntax: GlobSyntax) -> Option<GlobError> {
    let error = |at, message: String, help| Some(GlobError { at, message, help });
    if pattern.len() > MAX_BYTES {
        let message = format!("the pattern is longer than {MAX_BYTES} bytes");
        return error(0, message, "no path is as long; shorten it");
    }
    let literal_separator = match syntax {
        GlobSyntax::Component => true,
        GlobSyntax::Crossing => false,
        GlobSyntax::Prefix => return None,
    };
    if let Some((at, fault)) = fault(pattern) {
        return error(at, fault.message(), fault.help());
    }
    if syntax == GlobSyntax::Component
        && let Some(at) = partial_double_star(pattern)
    {
        let message = "`**` must be a whole component of the path".to_owned();
        return error(at, message, "write `/**/` between slashes, or `*` inside a component");
    }
    // The scan above mirrors the parser's grammar; what it misses is still caught.
    let built = GlobBuilder::new(pattern).literal_separator(literal_separator).build();
    let kind = built.err()?.kind().to_string();
    error(
        0,
        format!("the pattern cannot be read: {kind}"),
        "put a `\\` before characters meant as such",
    )
}

/// What can be wrong in a glob.
#[derive(Clone, Copy)]
enum Fault {
    UnclosedClass,
    ReversedRange,
    UnclosedBrace,
    UnopenedBrace,
    TooDeep,
    DanglingEscape,
}

impl Fault {
    fn message(self) -> String {
        match self {
            Self::UnclosedClass => "this `[` is never closed".into(),
            Self::ReversedRange => "this range ends before it begins".into(),
            Self::UnclosedBrace => "this `{` is never closed".into(),
            Self::UnopenedBrace => "this `}` closes nothing".into(),
            Self::TooDeep => format!("braces are nested deeper than {MAX_NESTING}"),
            Self::DanglingEscape => "this `\\` escapes nothing".into(),
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::UnclosedClass => "close it with `]`, or write `\\[` for the character itself",
            Self::ReversedRange => "put the smaller character first, as in `[a-z]`",
            Self::UnclosedBrace => "close it with `}`, or write `\\{` for the character itself",
            Self::UnopenedBrace => "open it with `{`, or write `\\}` for the character itself",
            Self::TooDeep => "write several rules",
            Self::DanglingEscape => "write `\\\\` for the character itself",
        }
    }
}

/// The first fault in a glob, and the character where it stands.
fn fault(pattern: &str) -> Option<(usize, Fault)> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut braces = Vec::new();
    let mut at = 0;
    while let Some(c) = characters.get(at) {
        match c {
            '\\' if at + 1 == characters.len() => return Some((at, Fault::DanglingEscape)),
            '\\' => at += 1,
            '[' => match class_end(&characters, at) {
                Ok(end) => at = end,
                Err(fault) => return Some(fault),
            },
            '{' if braces.len() == MAX_NESTING => return Some((at, Fault::TooDeep)),
            '{' => braces.push(at),
            '}' if braces.pop().is_none() => return Some((at, Fault::UnopenedBrace)),
            _ => {}
        }
        at += 1;
    }
    braces.first().map(|at| (*at, Fault::UnclosedBrace))
}

/// Where the class that opens at `open` closes.
fn class_end(characters: &[char], open: usize) -> Result<usize, (usize, Fault)> {
    let mut at = open + 1;
    if matches!(characters.get(at), Some('!' | '^')) {
        at += 1;
    }
    let first = at;
    loop {
        match characters.get(at) {
            None => return Err((open, Fault::UnclosedClass)),
            Some(']') if at > first => return Ok(at),
            Some(low) => {
                if let (Some('-'), Some(high)) = (characters.get(at + 1), characters.get(at + 2))
                    && *high != ']'
                {
                    if low > high {
                        return Err((at, Fault::ReversedRange));
                    }
                    at += 2;
                }
            }
        }
        at += 1;
    }
}

/// The first `**` that is not a whole component: there, globset takes it for `*`, and the author
/// meant more.
fn partial_double_star(pattern: &str) -> Option<usize> {
    let characters: Vec<char> = pattern.chars().collect();
    let at_border = |c: Option<&char>| matches!(c, None | Some('/' | ',' | '{' | '}'));
    (1..characters.len()).find_map(|i| {
        let pair = characters[i - 1] == '*' && characters[i] == '*';
        let before = i.checked_sub(2).and_then(|before| characters.get(before));
        let is_escaped = before == Some(&'\\');
        let whole = at_border(before) && at_border(characters.get(i + 1));
        (pair && !whole && !is_escaped).then_some(i - 1)
    })
}
