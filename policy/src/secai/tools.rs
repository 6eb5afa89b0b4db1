//! The tool firewall's rules about paths and programs.
//!
//! The kernel sees what a process does and not which tool it does it for, so that a right is
//! given when any tool that needs it is allowed, and taken when any tool's denylist takes it.

use std::collections::HashSet;

use crate::{
    boundary::{Effect, GlobSyntax, Mode, PathGroup, Place, Rights},
    diagnostic::{code, quoted},
    document::{Span, Spanned},
    lowering::Lowering,
    model::{items, value},
    pattern,
};
use ringfence_common::Right;

use super::model::{self, AllowOrDeny, AllowedTool, DeniedTool};

/// The `tools` section.
pub(crate) struct Tools<'a> {
    default: Option<AllowOrDeny>,
    allow: &'a [Spanned<AllowedTool>],
    deny: &'a [Spanned<DeniedTool>],
}

const DELETE: Rights = Rights(Right::Delete.bit());
const WRITE_WITHOUT_DELETE: Rights = Rights::WRITE.without(DELETE);

impl<'a> Tools<'a> {
    pub(crate) fn new(section: Option<&'a model::Tools>) -> Self {
        match section {
            None => Self { default: None, allow: &[], deny: &[] },
            Some(section) => Self {
                default: value(&section.default).copied(),
                allow: items(&section.allow),
                deny: items(&section.deny),
            },
        }
    }

    /// The first rule that allows a tool; the firewall looks at no other.
    pub(crate) fn allowed(&self, tool: &str) -> Option<&'a Spanned<AllowedTool>> {
        self.allow.iter().find(|rule| value(&rule.value.name).is_some_and(|name| name == tool))
    }

    /// The entry that denies a tool by name.
    pub(crate) fn denied(&self, tool: &str) -> Option<&'a Spanned<DeniedTool>> {
        self.deny.iter().find(|rule| value(&rule.value.name).is_some_and(|name| name == tool))
    }

    /// Whether a tool may be used: deny wins, then the allow list, then the default.
    pub(crate) fn is_permitted(&self, tool: &str) -> bool {
        let by_default = self.default == Some(AllowOrDeny::Allow);
        self.denied(tool).is_none() && (self.allowed(tool).is_some() || by_default)
    }

    /// The entries of a permitted tool's denylist.
    fn denylist(&self, tool: &str) -> &'a [Spanned<String>] {
        self.allowed(tool).map_or(&[], |rule| items(&rule.value.paths_denylist))
    }

    /// Adds the groups and rules that the section stands for.
    pub(super) fn lower(&self, key: &Span, lowering: &mut Lowering<'_>) {
        lowering.boundary.path_groups.push(PathGroup {
            rights: Rights::READ.and(Rights::WRITE),
            mode: Mode::Enforce,
            place: key.place.clone(),
            is_rule: false,
        });
        self.warn_of_shadowed(lowering);
        for tool in ["filesystem.read", "filesystem.list"] {
            self.lower_tool(tool, Rights::READ, &key.place, lowering);
        }
        self.lower_tool("filesystem.write", WRITE_WITHOUT_DELETE, &key.place, lowering);
        self.lower_delete(&key.place, lowering);
        if !self.is_permitted("shell.exec") && !self.is_permitted("process.spawn") {
            let entry = self.denied("shell.exec").or_else(|| self.denied("process.spawn"));
            let place = entry.map_or(&key.place, |entry| &entry.span.place).clone();
            lowering.boundary.no_exec_after_start = Some((Mode::Enforce, place));
        }
    }

    fn lower_tool(&self, tool: &str, rights: Rights, section: &Place, lowering: &mut Lowering<'_>) {
        if !self.is_permitted(tool) {
            return;
        }
        for path in self.paths(tool, section) {
            path.add(Effect::Allow, rights, lowering);
        }
        for Spanned { value, span } in self.denylist(tool) {
            if let Some(path) = usable(span, value, lowering) {
                lowering.path_rule(span, &path, GlobSyntax::Prefix, Effect::Deny, rights);
            }
        }
    }

    /// Deleting is changing a folder: it needs the place to be writable, and `filesystem.delete`
    /// to be permitted there.
    fn lower_delete(&self, section: &Place, lowering: &mut Lowering<'_>) {
        const TOOL: &str = "filesystem.delete";
        if !self.is_permitted(TOOL) || !self.is_permitted("filesystem.write") {
            return;
        }
        let deletable = self.paths(TOOL, section);
        let writable = self.paths("filesystem.write", section);
        // What is in both is in both lists as it is, or is an entry of one within one of the other.
        let folders = |paths: &[Path<'_>]| paths.iter().map(Path::folder).collect::<HashSet<_>>();
        let (in_deletable, in_writable) = (folders(&deletable), folders(&writable));
        let inner = deletable.iter().filter(|path| path.is_within(&in_writable));
        let others = writable
            .iter()
            .filter(|path| path.is_within(&in_deletable) && !in_deletable.contains(&path.folder()));
        for path in inner.chain(others) {
            path.add(Effect::Allow, DELETE, lowering);
        }
        for tool in [TOOL, "filesystem.write"] {
            for Spanned { value, span } in self.denylist(tool) {
                let path = Some(value).filter(|text| !text.contains("..")).map(|text| normal(text));
                if let Some(path) = path.filter(|path| pattern::is_usable(path)) {
                    lowering.path_rule(span, &path, GlobSyntax::Prefix, Effect::Deny, DELETE);
                }
            }
        }
    }

    /// Where a permitted tool may be used; without an allowlist, anywhere.
    fn paths(&self, tool: &str, section: &Place) -> Vec<Path<'a>> {
        let rule = self.allowed(tool);
        let list = rule.map_or(&[][..], |rule| items(&rule.value.paths_allowlist));
        if list.is_empty() {
            let place = rule.map_or(section, |rule| &rule.span.place).clone();
            return vec![Path { span: None, place, pattern: "/**".into() }];
        }
        let path = |item: &'a Spanned<String>| Path {
            span: Some(&item.span),
            place: item.span.place.clone(),
            pattern: item.value.clone(),
        };
        list.iter().map(path).collect()
    }

    fn warn_of_shadowed(&self, lowering: &mut Lowering<'_>) {
        let denied: HashSet<&str> =
            self.deny.iter().filter_map(|rule| Some(value(&rule.value.name)?.as_str())).collect();
        let mut seen = HashSet::new();
        for Spanned { value: rule, span } in self.allow {
            let Some(name) = value(&rule.name) else { continue };
            let is_first = seen.insert(name);
            if denied.contains(name.as_str()) {
                let message = format!("{} is denied as well, and deny wins", quoted(name));
                let help = "remove it from `tools.deny`, or this rule";
                lowering.warning(code::NEVER_MATCHES, span, message, help);
            } else if !is_first {
                let message =
                    format!("{} has a rule already, and only the first counts", quoted(name));
                lowering.warning(code::NEVER_MATCHES, span, message, "put both into one rule");
            }
        }
    }
}

/// A path or folder that a tool may use.
#[derive(Clone)]
struct Path<'a> {
    /// Where it is written, when it is from an allowlist.
    span: Option<&'a Span>,
    place: Place,
    pattern: String,
}

impl Path<'_> {
    /// The folder at the top of the subtree; empty for the whole tree.
    fn folder(&self) -> String {
        let path = normal(&self.pattern);
        path.strip_suffix("/**").unwrap_or(&path).trim_end_matches('/').to_owned()
    }

    /// Whether one of the folders is this one or holds it.
    fn is_within(&self, folders: &HashSet<String>) -> bool {
        let folder = self.folder();
        let mut rest = folder.as_str();
        loop {
            if folders.contains(rest) {
                return true;
            }
            match rest.rfind('/') {
                Some(slash) => rest = &rest[..slash],
                None => return false,
            }
        }
    }

    fn add(&self, effect: Effect, rights: Rights, lowering: &mut Lowering<'_>) {
        let place = self.place.clone();
        match self.span {
            Some(span) => {
                if let Some(path) = usable(span, &self.pattern, lowering) {
                    lowering.path_rule(span, &path, GlobSyntax::Prefix, effect, rights);
                }
            }
            None => lowering.whole_tree(place, effect, rights),
        }
    }
}

/// A path without doubled and final slashes and `.`: a literal folder means the same with them.
fn normal(path: &str) -> String {
    match path.starts_with('/') && !path.split('/').any(|part| part == "..") {
        true => pattern::cleaned(path),
        false => path.to_owned(),
    }
}

/// The path as a rule has it; `None`, with a finding, when nothing can match it.
fn usable(span: &Span, text: &str, lowering: &mut Lowering<'_>) -> Option<String> {
    let path = normal(text);
    if path.split('/').any(|part| part == "..") {
        let message = format!(
            "nothing matches {}: the kernel's paths hold no `..`, so that nothing gets past a rule \
             by it either",
            quoted(text)
        );
        lowering.warning(code::NEVER_MATCHES, span, message, "remove it; it is not needed");
        return None;
    }
    if path.strip_suffix("/**").unwrap_or(&path).contains(['*', '?', '[', '{']) {
        let message = format!("only a `/**` at the end of {} is special", quoted(text));
        let help = "every other character means itself in this language; name the folders";
        lowering.warning(code::SURPRISING, span, message, help);
    }
    pattern::check_leniently(span, &path, GlobSyntax::Prefix, lowering).then_some(path)
}
