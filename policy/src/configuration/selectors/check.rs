//! What a selector must not be: unreadable, or so wide that it takes the machine itself.

use globset::{GlobBuilder, GlobMatcher};

use crate::{
    boundary::GlobSyntax,
    diagnostic::{code, quoted},
    document::Span,
    lowering::Lowering,
    pattern,
};

/// Checks a glob. Whether it may be used.
pub(super) type Check = fn(&Span, &str, &mut Lowering<'_>) -> bool;

/// Control groups that no selector may take, and what they are. What ringfence itself runs in
/// stands for all that is in `/ringfence`, and for all of `/system.slice`.
const RESERVED: &[(&str, &str)] = &[
    ("/init.scope", "the first process of the system"),
    ("/ringfence", "where ringfence keeps what it governs already"),
    ("/ringfence/scope", "where ringfence keeps what it governs already"),
    ("/system.slice", "every service of the system"),
    ("/system.slice/ringfence.service", "ringfence itself"),
    ("/user.slice", "every session of every user"),
    ("/", "every process"),
];

/// Checks a glob over the paths of control groups.
pub(super) fn cgroup(span: &Span, glob: &str, lowering: &mut Lowering<'_>) -> bool {
    if !glob.starts_with('/') {
        let message = format!("the path {} does not begin with `/`", quoted(glob));
        let help = "write the path below the root of cgroup v2, as `/machine.slice/coder.scope`: \
                    what `/proc/PID/cgroup` has behind `0::`";
        lowering.error(code::RELATIVE_PATH, span, message, help);
        return false;
    }
    if let Some(below) = below_mount_point(glob) {
        let message = format!("{} is a path in the file system", quoted(glob));
        let help = format!("write the path below the root of cgroup v2: `{below}`");
        lowering.error(code::BAD_SELECTOR, span, message, &help);
        return false;
    }
    pattern::check_strictly(span, glob, GlobSyntax::Component, lowering)
        && is_free(span, glob, glob, lowering)
}

/// Checks a glob over the names of systemd units.
pub(super) fn unit(span: &Span, glob: &str, lowering: &mut Lowering<'_>) -> bool {
    if !part(span, glob, lowering) {
        return false;
    }
    let is_literal = pattern::literal_start(glob) == glob;
    if is_literal && !KINDS.iter().any(|kind| glob.ends_with(kind)) {
        let message = format!("no systemd unit is called {}", quoted(glob));
        let help = format!("a unit's name ends in what it is: write `{glob}.service`");
        lowering.error(code::BAD_SELECTOR, span, message, &help);
        return false;
    }
    is_free(span, glob, &format!("/**/{glob}"), lowering)
}

/// How the names of units end that have control groups (systemd.unit(5)).
const KINDS: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];

/// Checks a glob over the paths of programs.
pub(super) fn exe(span: &Span, glob: &str, lowering: &mut Lowering<'_>) -> bool {
    if !glob.starts_with(['/', '~', '$']) {
        let message = format!("the path {} is not absolute", quoted(glob));
        let help = "write the program's path from the root on, as `/opt/agent/bin/agent`";
        lowering.error(code::RELATIVE_PATH, span, message, help);
        return false;
    }
    if !pattern::check_strictly(span, glob, GlobSyntax::Component, lowering) {
        return false;
    }
    if glob == "/" || pattern::matches_everything(glob, GlobSyntax::Component) {
        let what = if glob == "/" { "no program" } else { "every program" };
        let message = format!("{} selects {what}", quoted(glob));
        let help = "write the path of a program, as `/opt/agent/bin/agent`";
        lowering.error(code::BAD_SELECTOR, span, message, help);
        return false;
    }
    true
}

/// Checks a glob over names without slashes.
pub(super) fn part(span: &Span, glob: &str, lowering: &mut Lowering<'_>) -> bool {
    let fault = if glob.is_empty() {
        Some(("the name is empty".to_owned(), "write a name, or a glob as `coder-*`"))
    } else if glob.contains('/') {
        let message = format!("the name {} has a slash", quoted(glob));
        Some((message, "write the name alone; the path of a control group is selected by `cgroup`"))
    } else if glob.contains("**") {
        Some((format!("{} has `**`, and a name has one component", quoted(glob)), "write `*`"))
    } else {
        None
    };
    if let Some((message, help)) = fault {
        lowering.error(code::BAD_SELECTOR, span, message, help);
        return false;
    }
    pattern::check_glob(span, glob, GlobSyntax::Component, lowering)
}

/// Whether a glob takes no reserved control group. `shown` is what the user wrote.
fn is_free(span: &Span, shown: &str, glob: &str, lowering: &mut Lowering<'_>) -> bool {
    // What cannot be built has been told.
    let Some(matcher) = matcher(glob) else { return false };
    let all = pattern::matches_everything(glob, GlobSyntax::Component);
    let is_taken = |(path, _): &&(&str, &str)| match *path {
        // Whatever begins so is about what is below, in whatever depth.
        "/ringfence/scope" => glob.starts_with("/ringfence/") || matcher.is_match(path),
        path => matcher.is_match(path),
    };
    let Some((path, what)) = RESERVED.iter().find(is_taken) else { return true };
    let message = match () {
        () if all || glob == "/" => format!("{} selects every process", quoted(shown)),
        () if shown == *path || path.starts_with("/ringfence/") => {
            format!("{} selects {what}", quoted(shown))
        }
        () => format!("{} selects `{path}` too, {what}", quoted(shown)),
    };
    let help = "name what you start: the scope or the service of a container or of an agent";
    lowering.error(code::BAD_SELECTOR, span, message, help);
    false
}

fn matcher(glob: &str) -> Option<GlobMatcher> {
    let glob = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}

/// The path below the root of cgroup v2, where a glob begins with where that is mounted.
fn below_mount_point(glob: &str) -> Option<String> {
    let below = glob.strip_prefix("/sys/fs/cgroup")?;
    let below = below.strip_prefix("/unified").unwrap_or(below);
    let is_whole = below.is_empty() || below.starts_with('/');
    is_whole
        .then(|| if below.is_empty() { "/machine.slice/…".to_owned() } else { below.to_owned() })
}
