//! Path patterns: what is wrong with one, and what it can match.

use globset::GlobBuilder;

use crate::{
    boundary::GlobSyntax,
    diagnostic::{code, quoted},
    document::Span,
    lowering::Lowering,
};

/// How many pairs of patterns are compared for the sake of a warning: more than people write, and
/// few enough that a hostile document takes no time.
pub(crate) const MAX_PAIRS: usize = 1 << 20;

/// The longest pattern in bytes: as long as a path may be (`PATH_MAX`).
const MAX_BYTES: usize = 4096;
/// How deep `{…}` may be nested.
const MAX_NESTING: usize = 8;

/// Checks a pattern of our own dialect: what cannot match is an error. Whether it may be used.
pub(crate) fn check_strictly(
    span: &Span,
    pattern: &str,
    syntax: GlobSyntax,
    lowering: &mut Lowering<'_>,
) -> bool {
    let may_begin_freely = syntax == GlobSyntax::Crossing && begins_freely(pattern);
    let relative = if may_begin_freely { None } else { not_absolute(pattern) };
    if let Some((message, help)) = relative {
        lowering.error(code::RELATIVE_PATH, span, message, &help);
        return false;
    }
    if let Some((message, help)) = abnormal(pattern) {
        lowering.error(code::ABNORMAL_PATH, span, message, &help);
        return false;
    }
    check_glob(span, pattern, syntax, lowering)
}

/// Whether a pattern begins with a character that may stand for the first slash.
fn begins_freely(pattern: &str) -> bool {
    pattern.starts_with(['*', '?', '[', '{', '\\'])
}

/// Checks a pattern of a dialect whose own checks accept any text: what cannot match is only a
/// warning, what cannot be read is an error. Whether it may be used.
pub(crate) fn check_leniently(
    span: &Span,
    pattern: &str,
    syntax: GlobSyntax,
    lowering: &mut Lowering<'_>,
) -> bool {
    let may_begin_freely = syntax != GlobSyntax::Prefix && begins_freely(pattern);
    let relative = if may_begin_freely { None } else { not_absolute(pattern) };
    if let Some((message, help)) = relative.or_else(|| abnormal(pattern)) {
        lowering.warning(code::NEVER_MATCHES, span, format!("nothing matches: {message}"), &help);
        return false;
    }
    check_glob(span, pattern, syntax, lowering)
}

/// Whether a literal path can be one of the kernel's.
pub(crate) fn is_usable(path: &str) -> bool {
    not_absolute(path).is_none() && abnormal(path).is_none() && path.len() <= MAX_BYTES
}

fn check_glob(span: &Span, pattern: &str, syntax: GlobSyntax, lowering: &mut Lowering<'_>) -> bool {
    let Some(error) = glob_error(pattern, syntax) else { return true };
    let (place, length) = span.within(error.at);
    let finding = crate::Diagnostic::error(code::BAD_GLOB, place, length, error.message);
    lowering.diagnostics.push(finding.with_help(error.help));
    false
}

/// Why a pattern is not absolute, and what to write.
fn not_absolute(pattern: &str) -> Option<(String, String)> {
    let mut start = pattern.chars();
    let (first, second) = (start.next(), start.next());
    if first == Some('/') {
        return None;
    }
    let shown = quoted(pattern);
    if first.is_none() {
        return Some((
            "the path is empty".into(),
            "write an absolute path, as `/srv/work/**`".into(),
        ));
    }
    if pattern.starts_with("\\\\")
        || first.is_some_and(|c| c.is_ascii_alphabetic()) && second == Some(':')
    {
        let help = "write the path as Linux has it, as `/srv/work/**`".into();
        return Some((format!("{shown} is a Windows path"), help));
    }
    if pattern.starts_with('$') {
        let help = "write the folder out: a policy holds whatever the environment says".into();
        return Some((format!("a variable in {shown} has no meaning to the kernel"), help));
    }
    if let Some(rest) = pattern.strip_prefix('~') {
        let help = match rest.starts_with('/') {
            true => format!("a policy holds for every user: write `/home/NAME{rest}`"),
            false => "write the home folder out, as `/home/NAME`".into(),
        };
        return Some((format!("`~` in {shown} has no meaning to the kernel"), help));
    }
    let rest = pattern.trim_start_matches("./");
    Some((
        format!("the path {shown} is not absolute"),
        format!("write it from the root on, as `/srv/work/{rest}`"),
    ))
}

/// Why no path that the kernel yields matches, and what to write.
fn abnormal(pattern: &str) -> Option<(String, String)> {
    let shown = quoted(pattern);
    if pattern.contains('\0') {
        return Some(("a path cannot hold a NUL".into(), "remove it".into()));
    }
    let part = pattern.split('/').skip(1).find(|part| matches!(*part, "." | ".."));
    let has_empty = pattern.contains("//");
    let ends_in_slash = pattern.len() > 1 && pattern.ends_with('/');
    let what = match part {
        Some(part) => format!("`{part}`"),
        None if has_empty => "`//`".into(),
        None if ends_in_slash => "a slash at the end".into(),
        None => return None,
    };
    let help = match (part, ends_in_slash && !has_empty) {
        (None, true) => {
            let path = pattern.trim_end_matches('/');
            format!("write `{path}` for the folder itself, `{path}/**` for all below it")
        }
        _ => format!("the kernel's paths hold none: write `{}`", cleaned(pattern)),
    };
    Some((format!("{shown} has {what}"), help))
}

/// The path without `.`, `..`, doubled and final slashes, by its letters alone.
pub(crate) fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether a pattern matches every path.
pub(crate) fn matches_everything(pattern: &str, syntax: GlobSyntax) -> bool {
    match syntax {
        GlobSyntax::Component => matches!(pattern, "/**" | "**" | "/**/*" | "/{,**}"),
        GlobSyntax::Crossing => matches!(pattern, "/**" | "**" | "/*" | "*" | "**/*" | "/**/*"),
        GlobSyntax::Prefix => matches!(pattern, "/**" | "/"),
    }
}

/// Whether everything that `inner` matches is matched by `outer`, as far as can be told from the
/// letters: `false` where it cannot.
pub(crate) fn covers(outer: &str, inner: &str, syntax: GlobSyntax) -> bool {
    if outer == inner || matches_everything(outer, syntax) {
        return true;
    }
    // A pattern that ends in a star which crosses covers whatever begins as it does.
    let folder = match syntax {
        GlobSyntax::Crossing => outer.strip_suffix("**").or_else(|| outer.strip_suffix('*')),
        GlobSyntax::Component | GlobSyntax::Prefix => outer.strip_suffix("**"),
    };
    folder.is_some_and(|folder| literal_start(folder) == folder && inner.starts_with(folder))
}

/// Whether a pattern matches a path and all below it, because it matches all that begins as it
/// does. `false` for a path that the pattern names itself.
pub(crate) fn is_about_all_below(pattern: &str, syntax: GlobSyntax, path: &str) -> bool {
    let start = match syntax {
        GlobSyntax::Prefix => {
            let folder = pattern.strip_suffix("/**").unwrap_or(pattern).trim_end_matches('/');
            let below = path.strip_prefix(folder);
            return below.is_some_and(|below| below.starts_with('/'));
        }
        GlobSyntax::Component => pattern.strip_suffix("**"),
        GlobSyntax::Crossing => {
            let start = pattern.trim_end_matches('*');
            Some(start).filter(|start| start.len() < pattern.len())
        }
    };
    start.is_some_and(|start| {
        let is_whole = syntax == GlobSyntax::Crossing || start.is_empty() || start.ends_with('/');
        is_whole && literal_start(start) == start && path.starts_with(start)
    })
}

/// The part of a pattern before the first character that is not meant literally.
pub(crate) fn literal_start(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or(pattern)
}

/// A path as a pattern that matches it alone.
pub(crate) fn escaped(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | ',' | '!' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

struct GlobError {
    /// The character that is wrong, counted from 0.
    at: usize,
    message: String,
    help: &'static str,
}

/// What is wrong with a glob, if anything.
fn glob_error(pattern: &str, syntax: GlobSyntax) -> Option<GlobError> {
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
