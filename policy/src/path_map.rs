//! `path_map`: where folders that documents name are found on this machine.
//!
//! The two documents of one SecAI appliance speak of the same folder by different paths, and
//! nothing in them maps one to the other. A boundary document that is given with them can.

use std::collections::HashMap;

use crate::{
    Document,
    boundary::{Boundary, Effect, GlobSyntax, PathRule, Place, Rights},
    diagnostic::{Diagnostic, code, quoted},
    document::{Key, Spanned},
    lowering::Lowering,
    model::Field,
    pattern, together,
};

/// A folder that documents name, and where it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMapping {
    /// The folder as documents name it: absolute, without a final slash.
    pub from: String,
    /// The folder as the kernel has it: absolute, without a final slash.
    pub to: String,
    /// Where the mapping stands.
    pub place: Place,
}

/// How many folders a document may map: each rule is held against each.
const MAX_FOLDERS: usize = 64;
/// How many pairs of a rule and a folder all documents together may have.
const MAX_PAIRS: usize = 1 << 18;
/// The longest folder in bytes: as long as a key may be without `?` (YAML 1.2.2, section 7.4.3).
const MAX_FOLDER_BYTES: usize = 1000;

/// Reads the mappings of a boundary document.
pub(crate) fn lower(field: &Field<Vec<(Key, Spanned<String>)>>, lowering: &mut Lowering<'_>) {
    if field.value.as_ref().is_some_and(|entries| entries.len() > MAX_FOLDERS) {
        let message = format!("more than {MAX_FOLDERS} folders are mapped");
        let help = "map the folder around them";
        return lowering.error(code::BAD_PATH_MAP, &field.key, message, help);
    }
    for (key, Spanned { value: to, span }) in field.value.iter().flatten() {
        let from = &key.name;
        let fault = |path: &str| folder_fault(path);
        if let Some((message, help)) = fault(from) {
            lowering.error(code::BAD_PATH_MAP, &key.span, message, &help);
        } else if let Some((message, help)) = fault(to) {
            lowering.error(code::BAD_PATH_MAP, span, message, &help);
        } else if from == to {
            let message = format!("{} is mapped to itself", quoted(from));
            lowering.error(code::BAD_PATH_MAP, span, message, "remove the entry");
        } else {
            let (from, to) = (from.clone(), to.clone());
            lowering.path_map.push(PathMapping { from, to, place: key.span.place.clone() });
        }
    }
}

/// Why a path cannot be mapped, and what to write.
fn folder_fault(path: &str) -> Option<(String, String)> {
    if !path.starts_with('/') {
        let message = format!("the folder {} is not absolute", quoted(path));
        return Some((message, format!("write `/{}`", path.trim_start_matches("./"))));
    }
    if path.len() > MAX_FOLDER_BYTES {
        let message = format!("the folder is longer than {MAX_FOLDER_BYTES} bytes");
        return Some((message, "map a folder around it".to_owned()));
    }
    if path == "/" {
        let message = "the root cannot be mapped".to_owned();
        return Some((message, "name the folders, as `/vault: /srv/vault`".to_owned()));
    }
    if path.contains('\0') || path != pattern::cleaned(path) {
        let message = format!("{} is not a path that the kernel has", quoted(path));
        return Some((message, format!("write `{}`", pattern::cleaned(path).replace('\0', ""))));
    }
    if path.contains(['*', '?', '[', '{', '\\']) {
        let message = format!("{} is a pattern, and only folders are mapped", quoted(path));
        return Some((message, "name the folder alone: what is below it goes with it".to_owned()));
    }
    None
}

/// What documents that govern together mean to the kernel: the boundary of each, its paths mapped
/// as the others say. What cannot be mapped is a finding, without its source line.
pub(crate) fn boundaries(documents: &[Document]) -> (Vec<Boundary>, Vec<Diagnostic>) {
    let mut findings = conflicts(documents);
    let rules: usize = documents.iter().map(|document| document.boundary.path_rules.len()).sum();
    let maps: usize = documents.iter().map(|document| document.path_map.len()).sum();
    let one = documents.iter().flat_map(|document| &document.path_map).next();
    if let Some(one) = one.filter(|_| maps.saturating_mul(rules) > MAX_PAIRS) {
        let message = format!(
            "{maps} folders are mapped for {rules} rules: more than can be held against each other"
        );
        let finding = Diagnostic::error(code::BAD_PATH_MAP, one.place.clone(), 1, message);
        findings.push(finding.with_help("map the folder around them"));
        let plain = documents.iter().map(|document| document.boundary.clone());
        return (plain.collect(), findings);
    }
    let mapped = |(index, document): (usize, &Document)| {
        let others = documents.iter().enumerate().filter(|(other, _)| *other != index);
        let map: Vec<&PathMapping> = others.flat_map(|(_, other)| &other.path_map).collect();
        let mut boundary = document.boundary.clone();
        apply(&map, &mut boundary, &mut findings);
        boundary.egress =
            boundary.egress.or_else(|| together::without_airlock(document, documents));
        boundary
    };
    let boundaries = documents.iter().enumerate().map(mapped).collect();
    (boundaries, findings)
}

/// Two documents that map one folder to two: neither is right, and a rule can be in one place only.
fn conflicts(documents: &[Document]) -> Vec<Diagnostic> {
    let mut known: HashMap<&str, &PathMapping> = HashMap::new();
    let mut findings = Vec::new();
    for one in documents.iter().flat_map(|document| &document.path_map) {
        let first = known.entry(&one.from).or_insert(one);
        if first.to != one.to {
            let message = format!(
                "{} is mapped to {} at {}, and to {} here",
                quoted(&one.from),
                quoted(&first.to),
                first.place,
                quoted(&one.to)
            );
            let finding = Diagnostic::error(code::BAD_PATH_MAP, one.place.clone(), 1, message);
            findings.push(finding.with_help("map the folder once"));
        }
    }
    findings
}

fn apply(map: &[&PathMapping], boundary: &mut Boundary, findings: &mut Vec<Diagnostic>) {
    if map.is_empty() {
        return;
    }
    for mut rule in std::mem::take(&mut boundary.path_rules) {
        let written = rule.pattern.clone();
        let literal = match rule.syntax {
            GlobSyntax::Prefix => written.as_str(),
            GlobSyntax::Component | GlobSyntax::Crossing => pattern::literal_start(&written),
        };
        // The innermost folder says where the path is.
        let is_around = |one: &&&PathMapping| holds(&one.from, literal, &written, rule.syntax);
        let own = map.iter().filter(is_around).max_by_key(|one| one.from.len()).copied();
        let moved = |one: &PathMapping| {
            let below = written.get(one.from.len()..).unwrap_or_default();
            match rule.syntax {
                GlobSyntax::Prefix => format!("{}{below}", one.to),
                GlobSyntax::Component | GlobSyntax::Crossing => {
                    format!("{}{below}", pattern::escaped(&one.to))
                }
            }
        };
        // What is denied stays denied by every name that it has or had: a folder may be found at
        // its old place as well, and a wider rule may allow that.
        if rule.effect == Effect::Deny && own.is_some() {
            let outer = map
                .iter()
                .filter(is_around)
                .filter(|one| !own.is_some_and(|own| std::ptr::eq(own, **one)));
            let names = outer.map(|one| moved(one)).chain([written.clone()]);
            let also = names.map(|pattern| PathRule { pattern, ..rule.clone() });
            boundary.path_rules.extend(also.collect::<Vec<_>>());
        }
        if let Some(one) = own {
            rule.pattern = moved(one);
        }
        // What else is mapped within the folder that the pattern is about.
        let is_other = |one: &&&PathMapping| own.is_none_or(|own| !std::ptr::eq(own, **one));
        let mut is_told = false;
        for one in map.iter().filter(is_other) {
            if pattern::is_about_all_below(&written, rule.syntax, &one.from) {
                let (pattern, syntax) = match rule.rights {
                    // Rules about sockets have no other syntax, and no folder is a socket.
                    Rights::SOCKET => {
                        (format!("{}/**", pattern::escaped(&one.to)), GlobSyntax::Component)
                    }
                    _ => (format!("{}/**", one.to), GlobSyntax::Prefix),
                };
                boundary.path_rules.push(PathRule { pattern, syntax, ..rule.clone() });
            } else if let Some(matches) = pattern::of_last_names(&written, rule.syntax) {
                // It matches below the folder wherever that is; the folder itself has a new name.
                if one.from.rsplit('/').next().is_some_and(matches) {
                    let (pattern, syntax) = (pattern::escaped(&one.to), GlobSyntax::Component);
                    boundary.path_rules.push(PathRule { pattern, syntax, ..rule.clone() });
                }
            } else if literal.len() < written.len() && may_reach(literal, &one.from) && !is_told {
                is_told = true;
                findings
                    .push(unmapped(&PathRule { pattern: written.clone(), ..rule.clone() }, one));
            }
        }
        boundary.path_rules.push(rule);
    }
}

/// Whether a pattern of which this is the literal start may match a folder or what is below it.
fn may_reach(literal: &str, folder: &str) -> bool {
    let is_within = literal.strip_prefix(folder).is_some_and(|below| below.starts_with('/'));
    folder.starts_with(literal) || literal.starts_with(folder) && !is_within
}

/// What is said of a rule that may be about a mapped folder, and cannot be mapped. One that denies
/// would deny less than its author wrote: that stops the documents from being used.
fn unmapped(rule: &PathRule, one: &PathMapping) -> Diagnostic {
    let message = format!(
        "`path_map` does not reach into {}: what it matches below `{}` stays as it is",
        quoted(&rule.pattern),
        one.from
    );
    let help = match rule.effect {
        Effect::Allow => format!("write a rule for `{}` of its own", one.from),
        Effect::Deny => {
            format!("write it as rules that begin with a folder, of which one is `{}/…`", one.from)
        }
    };
    let length = u32::try_from(rule.pattern.chars().count()).unwrap_or(1);
    let (place, code) = (rule.place.clone(), code::UNMAPPED_PATTERN);
    let finding = match rule.effect {
        Effect::Allow => Diagnostic::warning(code, place, length, message),
        Effect::Deny => Diagnostic::error(code, place, length, message),
    };
    finding.with_help(help)
}

/// Whether a pattern is about a folder or what is below it. `literal` is the part of it that is
/// meant literally.
fn holds(folder: &str, literal: &str, pattern: &str, syntax: GlobSyntax) -> bool {
    let Some(below) = literal.strip_prefix(folder) else { return false };
    let ends_here = literal.len() == pattern.len() || syntax == GlobSyntax::Prefix;
    below.starts_with('/') || below.is_empty() && ends_here
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, testing::document};

    fn agent() -> Document {
        let text = "workspace:\n  readable: [\"/vault/in/**\", /vault, /vaults, \"/v*/x\", \
                    \"/vault*\", \"**\"]\n";
        document(text, Dialect::SecaiAgent)
    }

    fn map(entries: &str) -> Document {
        document(&format!("boundary: 1\npath_map: {{ {entries} }}\n"), Dialect::Boundary)
    }

    fn patterns(boundary: &Boundary) -> Vec<&str> {
        boundary.path_rules.iter().map(|rule| rule.pattern.as_str()).collect()
    }

    #[test]
    fn folders_of_other_documents_are_found_where_the_map_says() {
        let (mapped, findings) = boundaries(&[agent(), map("/vault: \"/srv/v\"")]);
        assert_eq!(
            patterns(&mapped[0]),
            [
                "/srv/v/in/**",
                "/srv/v",
                "/vaults",
                "/v*/x",
                "/srv/v/**",
                "/vault*",
                "/srv/v/**",
                "**"
            ]
        );
        let places: Vec<_> = findings.iter().map(|found| (found.code, found.place.line)).collect();
        assert_eq!(places, [(code::UNMAPPED_PATTERN, 2)], "{findings:#?}");
    }

    #[test]
    fn a_rule_about_a_folder_around_the_mapped_one_goes_on_to_hold_for_it() {
        let policy = |rules: &str| {
            let text = format!("boundary: 1\nfiles:\n{rules}");
            let documents = [document(&text, Dialect::Boundary), map("/data/vault: /srv/v")];
            let (mapped, findings) = boundaries(&documents);
            let errors = findings.iter().filter(|finding| finding.is_error()).count();
            (patterns(&mapped[0]).join(" "), findings.len(), errors)
        };
        for (rule, expected) in [
            ("path: /data/**, deny: [read]", ("/srv/v/** /data/**", 0, 0)),
            ("path: /data, syntax: prefix, deny: [read]", ("/srv/v/** /data", 0, 0)),
            ("path: '/da*', syntax: crossing, deny: [read]", ("/srv/v/** /da*", 0, 0)),
            ("path: /**, deny: [read]", ("/srv/v/** /**", 0, 0)),
            ("path: /data/vault/x, deny: [read]", ("/data/vault/x /srv/v/x", 0, 0)),
            ("path: /data/vault/x, allow: [read]", ("/srv/v/x", 0, 0)),
            ("path: '/**/*.key', deny: [read]", ("/**/*.key", 0, 0)),
            ("path: '/**/v*', deny: [read]", ("/srv/v /**/v*", 0, 0)),
            ("path: '/**/vault/x', deny: [read]", ("/**/vault/x", 1, 1)),
            ("path: /data, deny: [read]", ("/data", 0, 0)),
            ("path: /data/*, deny: [read]", ("/data/*", 1, 1)),
            ("path: '/data/v*/**', deny: [read]", ("/data/v*/**", 1, 1)),
            ("path: '/data/v*/**', allow: [read]", ("/data/v*/**", 1, 0)),
            ("path: '/other/*', deny: [read]", ("/other/*", 0, 0)),
        ] {
            let (patterns, findings, errors) = policy(&format!("  - {{ {rule} }}\n"));
            assert_eq!((&*patterns, findings, errors), expected, "{rule}");
        }
    }

    #[test]
    fn the_innermost_folder_decides_and_a_target_is_no_pattern() {
        let (mapped, _) = boundaries(&[agent(), map("/vault: /a, /vault/in: \"/b (x)\"")]);
        assert_eq!(patterns(&mapped[0])[..2], ["/b (x)/**", "/a"]);
        // A folder within a mapped one that is somewhere else is still within the rule.
        let text = "boundary: 1\nfiles: [{ path: /vault/**, deny: [read] }]\n";
        let all = document(text, Dialect::Boundary);
        let (mapped, _) = boundaries(&[all, map("/vault: /a, /vault/in: /b")]);
        assert_eq!(patterns(&mapped[0]), ["/vault/**", "/b/**", "/a/**"]);
        // What has been mapped is not mapped again.
        let all = document(text, Dialect::Boundary);
        let (mapped, findings) = boundaries(&[all, map("/vault: /a, /a/x: /b")]);
        assert_eq!((patterns(&mapped[0]), findings.len()), (vec!["/vault/**", "/a/**"], 0));
        // What is denied stays denied by every name that it has or had.
        let text = "boundary: 1\nfiles: [{ path: /vault/in/**, deny: [read] }]\n";
        let inner = document(text, Dialect::Boundary);
        let (mapped, _) = boundaries(&[inner, map("/vault: /a, /vault/in: /b")]);
        assert_eq!(patterns(&mapped[0]), ["/a/in/**", "/vault/in/**", "/b/**"]);
    }

    #[test]
    fn a_documents_own_paths_are_not_mapped() {
        let text = "boundary: 1\npath_map: { /a: /b }\nfiles: [{ path: /a, allow: [read] }]\n";
        let (mapped, _) = boundaries(&[document(text, Dialect::Boundary)]);
        assert_eq!(patterns(&mapped[0]), ["/a"]);
    }

    #[test]
    fn what_is_no_folder_cannot_be_mapped() {
        for entry in
            ["vault: /a", "/vault: a", "/vault/: /a", "/a: /a", "/a: /b/../c", "/a: /b*", "/: /a"]
        {
            let text = format!("boundary: 1\npath_map: {{ {entry} }}\n");
            let (found, ..) = crate::testing::error(&text);
            assert_eq!(found, code::BAD_PATH_MAP, "{entry}");
        }
    }
}
