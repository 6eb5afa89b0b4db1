//! `path_map`: where folders that documents name are found on this machine.
//!
//! The two documents of one SecAI appliance speak of the same folder by different paths, and
//! nothing in them maps one to the other. A boundary document that is given with them can.

use crate::{
    Document,
    boundary::{Boundary, GlobSyntax, Place},
    diagnostic::{Diagnostic, code, quoted},
    document::{Key, Spanned},
    lowering::Lowering,
    model::Field,
    pattern,
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

/// Reads the mappings of a boundary document.
pub(crate) fn lower(field: &Field<Vec<(Key, Spanned<String>)>>, lowering: &mut Lowering<'_>) {
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
    let mut findings = Vec::new();
    let mapped = |(index, document): (usize, &Document)| {
        let others = documents.iter().enumerate().filter(|(other, _)| *other != index);
        let map: Vec<&PathMapping> = others.flat_map(|(_, other)| &other.path_map).collect();
        let mut boundary = document.boundary.clone();
        apply(&map, &mut boundary, &mut findings);
        boundary
    };
    let boundaries = documents.iter().enumerate().map(mapped).collect();
    (boundaries, findings)
}

fn apply(map: &[&PathMapping], boundary: &mut Boundary, findings: &mut Vec<Diagnostic>) {
    if map.is_empty() {
        return;
    }
    for rule in &mut boundary.path_rules {
        let literal = match rule.syntax {
            GlobSyntax::Prefix => rule.pattern.as_str(),
            GlobSyntax::Component | GlobSyntax::Crossing => pattern::literal_start(&rule.pattern),
        };
        // The innermost folder says where the path is.
        let holds = |one: &&&PathMapping| holds(&one.from, literal, &rule.pattern, rule.syntax);
        if let Some(one) = map.iter().filter(holds).max_by_key(|one| one.from.len()) {
            let below = rule.pattern.get(one.from.len()..).unwrap_or_default();
            rule.pattern = match rule.syntax {
                GlobSyntax::Prefix => format!("{}{below}", one.to),
                GlobSyntax::Component | GlobSyntax::Crossing => {
                    format!("{}{below}", pattern::escaped(&one.to))
                }
            };
            continue;
        }
        let may_reach = |one: &&&PathMapping| {
            literal.len() < rule.pattern.len() && one.from.starts_with(literal)
        };
        // A rule about everything is about what is mapped as well, wherever that is.
        let is_total = pattern::matches_everything(&rule.pattern, rule.syntax);
        if let Some(one) = map.iter().find(may_reach).filter(|_| !is_total) {
            let message = format!(
                "`path_map` does not reach into {}: what it matches below `{}` stays as it is",
                quoted(&rule.pattern),
                one.from
            );
            let help = format!("write a rule for `{}` of its own", one.from);
            let length = u32::try_from(rule.pattern.chars().count()).unwrap_or(1);
            let finding =
                Diagnostic::warning(code::UNMAPPED_PATTERN, rule.place.clone(), length, message);
            findings.push(finding.with_help(help));
        }
    }
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
            ["/srv/v/in/**", "/srv/v", "/vaults", "/v*/x", "/vault*", "**"]
        );
        let places: Vec<_> = findings.iter().map(|found| (found.code, found.place.line)).collect();
        assert_eq!(places, [(code::UNMAPPED_PATTERN, 2); 2], "{findings:#?}");
    }

    #[test]
    fn the_innermost_folder_decides_and_a_target_is_no_pattern() {
        let (mapped, _) = boundaries(&[agent(), map("/vault: /a, /vault/in: \"/b (x)\"")]);
        assert_eq!(patterns(&mapped[0])[..2], ["/b (x)/**", "/a"]);
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
