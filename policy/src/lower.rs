//! Documents as the `boundary` documents that mean the same: what `ringfence policy lower` prints.
//!
//! Compiled, they give the same image, byte for byte: rules and groups keep their order.

use std::fmt::{self, Write as _};

use ringfence_common::budget::Kind;

use crate::{
    Document, PathMapping,
    boundary::{
        Baseline, Boundary, Budget, Budgets, Effect, Egress, EgressRule, GlobSyntax, Mode,
        PathRule, Place, Protocol, Rights, Rings, Target, hexadecimal,
    },
    boundary_document::RIGHTS,
    diagnostic::visible,
    path_map,
};

/// Documents that govern together, as a stream of `boundary` documents: their intersection, with
/// the paths mapped.
pub fn text(documents: &[Document]) -> String {
    let (boundaries, _) = path_map::boundaries(documents);
    let mut out = String::new();
    // A map of paths has done its work, unless there is nothing else.
    let is_alone = boundaries.iter().all(Boundary::is_empty) || documents.len() == 1;
    for (document, boundary) in documents.iter().zip(&boundaries) {
        if !is_alone && boundary.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push_str("---\n");
        }
        let path_map = if is_alone { document.path_map.as_slice() } else { &[] };
        let title = document.dialect.title();
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "# What {}, a {title}, means to the kernel.", visible(&boundary.file));
        let _ = write(boundary, path_map, &mut out);
    }
    out
}

fn write(boundary: &Boundary, path_map: &[PathMapping], out: &mut String) -> fmt::Result {
    let mode = main_mode(boundary);
    writeln!(out, "boundary: 1\nmode: {}", mode_word(mode))?;
    match boundary.baseline {
        Baseline::None => writeln!(out, "baseline: none")?,
        Baseline::Libraries => writeln!(out, "baseline: system")?,
        Baseline::Programs => writeln!(out, "baseline: programs")?,
    }
    if !path_map.is_empty() {
        writeln!(out, "path_map:")?;
        for PathMapping { from, to, place } in path_map {
            writeln!(out, "  {}: {}{}", quoted(from), quoted(to), Origin(place))?;
        }
    }
    let write_paths = |out: &mut String, name: &str, part: Rights| {
        let is_of = |rights: Rights| !rights.common(part).is_empty();
        let group = boundary.path_groups.iter().find(|group| is_of(group.rights));
        let Some(group) = group else { return Ok(()) };
        let rules = boundary.path_rules.iter().filter(|rule| is_of(rule.rights));
        write_group(out, name, group.mode, mode, rules, path_rule)
    };
    write_paths(out, "files", Rights::ABOUT_FILES)?;
    write_paths(out, "exec", Rights::EXEC)?;
    if let Some((_, place)) = &boundary.no_exec_after_start {
        writeln!(out, "exec_after_start: deny{}", Origin(place))?;
    }
    if let Some((_, place)) = &boundary.no_anonymous_code {
        writeln!(out, "exec_anonymous: deny{}", Origin(place))?;
    }
    if let Some(Rings { refused, place }) = &boundary.io_uring {
        let word = refused.map_or("allow", |_| "deny");
        writeln!(out, "io_uring: {word}{}", Origin(place))?;
    }
    if let Some(Egress { mode: own, rules, .. }) = &boundary.egress {
        write_group(out, "egress", *own, mode, rules, egress_rule)?;
    }
    if let Some(listen) = &boundary.listen {
        write_group(out, "listen", listen.mode, mode, &listen.rules, |rule| {
            let protocol = rule.protocol.map(protocol_word).unwrap_or_default();
            format!("{{ port: {}{protocol} }}{}", rule.port, Origin(&rule.place))
        })?;
    }
    write_paths(out, "sockets", Rights::SOCKET)?;
    write_budgets(&boundary.budgets, out)
}

/// The mode of the document: groups of another name it.
fn main_mode(boundary: &Boundary) -> Mode {
    let groups = boundary.path_groups.iter().map(|group| group.mode);
    let egress = boundary.egress.iter().map(|egress| egress.mode);
    let listen = boundary.listen.iter().map(|listen| listen.mode);
    // Neither these nor what is said in one word can have a mode of their own.
    let budgets = (!boundary.budgets.limits.is_empty()).then_some(boundary.budgets.mode);
    let single = boundary.single_modes().chain(budgets);
    let modes = single.chain(groups).chain(egress).chain(listen);
    modes.into_iter().next().unwrap_or(Mode::Enforce)
}

fn write_group<'a, T: 'a>(
    out: &mut String,
    name: &str,
    own: Mode,
    outer: Mode,
    rules: impl IntoIterator<Item = &'a T>,
    text: impl Fn(&T) -> String,
) -> fmt::Result {
    let mut rules = rules.into_iter().peekable();
    let is_empty = rules.peek().is_none();
    let indent = if own == outer {
        write!(out, "{name}:")?;
        ""
    } else {
        write!(out, "{name}:\n  mode: {}\n  rules:", mode_word(own))?;
        "  "
    };
    writeln!(out, "{}", if is_empty { " []" } else { "" })?;
    for rule in rules {
        writeln!(out, "{indent}  - {}", text(rule))?;
    }
    Ok(())
}

fn path_rule(rule: &PathRule) -> String {
    if rule.rights == Rights::SOCKET {
        return format!("{{ path: {} }}{}", quoted(&rule.pattern), Origin(&rule.place));
    }
    let syntax = match rule.syntax {
        GlobSyntax::Component => "",
        GlobSyntax::Crossing => ", syntax: crossing",
        GlobSyntax::Prefix => ", syntax: prefix",
    };
    let what = match (rule.rights == Rights::EXEC, rule.effect) {
        (true, Effect::Allow) => "allow: true".to_owned(),
        (true, Effect::Deny) => "allow: false".to_owned(),
        (false, Effect::Allow) => format!("allow: [{}]", right_words(rule.rights)),
        (false, Effect::Deny) => format!("deny: [{}]", right_words(rule.rights)),
    };
    let digest = |name: &str, lead: &str, digest: Option<[u8; 32]>| match digest {
        Some(digest) => format!(", {name}: \"{lead}{}\"", hexadecimal(&digest)),
        None => String::new(),
    };
    let content = rule.content.map(|content| {
        digest("sha256", "", content.sha256) + &digest("fsverity", "sha256:", content.fsverity)
    });
    let content = content.unwrap_or_default();
    format!("{{ path: {}{syntax}, {what}{content} }}{}", quoted(&rule.pattern), Origin(&rule.place))
}

/// The words for rights over files: the widest that fit.
pub(crate) fn right_words(mut rights: Rights) -> String {
    let mut words = Vec::new();
    for (word, meant) in RIGHTS {
        if meant.without(rights).is_empty() {
            words.push(word);
            rights = rights.without(meant);
        }
    }
    words.join(", ")
}

fn egress_rule(rule: &EgressRule) -> String {
    let target = match &rule.target {
        Target::Host(host) => format!("host: {}", quoted(host)),
        Target::Network(network) => format!("cidr: {}", quoted(&network.to_string())),
    };
    let port = |ports: &std::ops::RangeInclusive<u16>| match (ports.start(), ports.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("\"{first}-{last}\""),
    };
    let ports: Vec<String> = rule.ports.iter().map(port).collect();
    let ports = match ports.as_slice() {
        [] => String::new(),
        ports => format!(", ports: [{}]", ports.join(", ")),
    };
    let protocol = rule.protocol.map(protocol_word).unwrap_or_default();
    let check = if rule.tls_name_check { "" } else { ", tls_name_check: off" };
    let deny = if rule.effect == Effect::Deny { ", deny: true" } else { "" };
    format!("{{ {target}{ports}{protocol}{check}{deny} }}{}", Origin(&rule.place))
}

fn write_budgets(budgets: &Budgets, out: &mut String) -> fmt::Result {
    if budgets.limits.is_empty() {
        return Ok(());
    }
    writeln!(out, "budgets:")?;
    for Budget { kind, amount, place } in &budgets.limits {
        let (amount, unit) = match kind {
            Kind::WallClock if amount % 1000 == 0 => (amount / 1000, "s"),
            Kind::WallClock => (*amount, "ms"),
            _ => (*amount, ""),
        };
        writeln!(out, "  {}: {amount}{unit}{}", kind.name(), Origin(place))?;
    }
    Ok(())
}

const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

const fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => ", protocol: tcp",
        Protocol::Udp => ", protocol: udp",
    }
}

/// Where a rule comes from, as a comment.
struct Origin<'a>(&'a Place);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  # {}", visible(&self.0.to_string()))
    }
}

/// A text in double quotes (YAML 1.2.2, section 7.3.1), what is not a letter or plain sign
/// escaped.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
