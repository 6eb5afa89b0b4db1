//! Path patterns: what is wrong with one, and what it can match.

mod glob;

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

/// Bytes of the longest abstract name: `sun_path` (unix(7)) without the NUL before it.
const MAX_NAME_BYTES: usize = 107;

/// Checks a pattern of Unix sockets: paths, or abstract names with `@` before them. Whether it may
/// be used.
pub(crate) fn check_socket(span: &Span, pattern: &str, lowering: &mut Lowering<'_>) -> bool {
    let Some(name) = pattern.strip_prefix('@') else {
        return check_strictly(span, pattern, GlobSyntax::Component, lowering);
    };
    let is_literal = literal_start(name) == name;
    let fault = if name.is_empty() {
        Some("a socket without a name cannot be listed")
    } else if is_literal && name.len() > MAX_NAME_BYTES {
        Some("an abstract name has at most 107 bytes")
    } else {
        None
    };
    if let Some(message) = fault {
        let help = "write an abstract name as `@/tmp/.X11-unix/X0`";
        lowering.error(code::ABNORMAL_PATH, span, message.to_owned(), help);
        return false;
    }
    check_glob(span, pattern, GlobSyntax::Component, lowering)
}

/// Whether a pattern of Unix sockets is about abstract names. No pattern of paths is.
pub(crate) fn is_of_names(pattern: &str) -> bool {
    pattern.starts_with('@')
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

/// Checks that a pattern can be read. Whether it can.
pub(crate) fn check_glob(
    span: &Span,
    pattern: &str,
    syntax: GlobSyntax,
    lowering: &mut Lowering<'_>,
) -> bool {
    let Some(error) = glob::error(pattern, syntax) else { return true };
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

/// For a pattern that is about the last name of a path, whatever stands before it: which names
/// those are. As `/**/*.key`.
pub(crate) fn of_last_names(pattern: &str, syntax: GlobSyntax) -> Option<impl Fn(&str) -> bool> {
    let name = pattern.strip_prefix("/**/").filter(|_| syntax == GlobSyntax::Component)?;
    let is_one_name = !name.contains(['/', '{', '[', '\\']) && name != "**";
    let glob = GlobBuilder::new(name).literal_separator(true).build().ok();
    let matcher = glob.filter(|_| is_one_name)?.compile_matcher();
    Some(move |name: &str| matcher.is_match(name))
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
