//! The tool firewall's rules about paths and programs.
//!
//! The kernel sees what a process does and not which tool it does it for, so that a right is
//! given when any tool that needs it is allowed, and taken when any tool's denylist takes it.

use std::collections::HashSet;

use crate::{
    boundary::{Effect, GlobSyntax, Mode, PathGroup, Place, Rights},
    diagnostic::{code, quoted},
    document::{Key, Node},
    lowering::Lowering,
    pattern,
};
use ringfence_common::Right;

/// The `tools` section.
pub(super) struct Tools<'a> {
    section: Option<&'a Node>,
}

const DELETE: Rights = Rights(Right::Delete.bit());
const WRITE_WITHOUT_DELETE: Rights = Rights::WRITE.without(DELETE);

impl<'a> Tools<'a> {
    pub(super) const fn new(section: Option<&'a Node>) -> Self {
        Self { section }
    }

    /// The first rule of a list with this name; the firewall looks at no other.
    fn rule(&self, list: &str, tool: &str) -> Option<&'a Node> {
        let items = self.section?.get(list)?.items();
        items.iter().find(|rule| rule.get("name").and_then(Node::text) == Some(tool))
    }

    /// The entry that denies a tool by name.
    pub(super) fn denied(&self, tool: &str) -> Option<&'a Node> {
        self.rule("deny", tool)
    }

    /// Whether a tool may be used: deny wins, then the allow list, then the default.
    pub(super) fn is_permitted(&self, tool: &str) -> bool {
        let by_default = || {
            let default = self.section.and_then(|section| section.get("default"));
            default.and_then(Node::text) == Some("allow")
        };
        self.denied(tool).is_none() && (self.rule("allow", tool).is_some() || by_default())
    }

    /// Adds the groups and rules that the section stands for.
    pub(super) fn lower(&self, key: &Key, lowering: &mut Lowering<'_>) {
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
            let place = entry.map_or(&key.place, |entry| &entry.place).clone();
            lowering.boundary.no_exec_after_start = Some((Mode::Enforce, place));
        }
    }

    fn lower_tool(&self, tool: &str, rights: Rights, section: &Place, lowering: &mut Lowering<'_>) {
        if !self.is_permitted(tool) {
            return;
        }
        let rule = self.rule("allow", tool);
        for path in self.paths(tool, section) {
            path.add(Effect::Allow, rights, lowering);
        }
        for item in rule.and_then(|rule| rule.get("paths_denylist")).map_or(&[][..], Node::items) {
            if let Some(path) = item.text().and_then(|text| usable(item, text, lowering)) {
                lowering.path_rule(item, &path, GlobSyntax::Prefix, Effect::Deny, rights);
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
            let denied = self.rule("allow", tool).and_then(|rule| rule.get("paths_denylist"));
            for item in denied.map_or(&[][..], Node::items) {
                let path = item.text().filter(|text| !text.contains("..")).map(normal);
                if let Some(path) = path.filter(|path| path.starts_with('/')) {
                    lowering.path_rule(item, &path, GlobSyntax::Prefix, Effect::Deny, DELETE);
                }
            }
        }
    }

    /// Where a permitted tool may be used; without an allowlist, anywhere.
    fn paths(&self, tool: &str, section: &Place) -> Vec<Path<'a>> {
        let rule = self.rule("allow", tool);
        let list = rule.and_then(|rule| rule.get("paths_allowlist")).map_or(&[][..], Node::items);
        if list.is_empty() {
            let place = rule.map_or(section, |rule| &rule.place).clone();
            return vec![Path { node: rule, place, pattern: "/**".into() }];
        }
        let path = |item: &'a Node| {
            let pattern = item.text()?.to_owned();
            Some(Path { node: Some(item), place: item.place.clone(), pattern })
        };
        list.iter().filter_map(path).collect()
    }

    fn warn_of_shadowed(&self, lowering: &mut Lowering<'_>) {
        let rules = |list| {
            let list = self.section.and_then(|section| section.get(list));
            list.map_or(&[][..], Node::items)
        };
        let name_of = |rule: &'a Node| rule.get("name").and_then(Node::text);
        let denied: HashSet<&str> = rules("deny").iter().filter_map(name_of).collect();
        let mut seen = HashSet::new();
        for rule in rules("allow") {
            let Some(name) = name_of(rule) else { continue };
            let is_first = seen.insert(name);
            if denied.contains(name) {
                let message = format!("{} is denied as well, and deny wins", quoted(name));
                let help = "remove it from `tools.deny`, or this rule";
                lowering.warning(code::NEVER_MATCHES, rule, message, help);
            } else if !is_first {
                let message =
                    format!("{} has a rule already, and only the first counts", quoted(name));
                lowering.warning(code::NEVER_MATCHES, rule, message, "put both into one rule");
            }
        }
    }
}

/// A path or folder that a tool may use.
#[derive(Clone)]
struct Path<'a> {
    /// The text in the document, when it is from an allowlist, or the tool's rule.
    node: Option<&'a Node>,
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
        match self.node.filter(|node| node.text().is_some()) {
            Some(node) => {
                if let Some(path) = usable(node, &self.pattern, lowering) {
                    lowering.path_rule(node, &path, GlobSyntax::Prefix, effect, rights);
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
fn usable(node: &Node, text: &str, lowering: &mut Lowering<'_>) -> Option<String> {
    let path = normal(text);
    if path.split('/').any(|part| part == "..") {
        let message = format!(
            "nothing matches {}: the kernel's paths hold no `..`, so that nothing gets past a rule \
             by it either",
            quoted(text)
        );
        lowering.warning(code::NEVER_MATCHES, node, message, "remove it; it is not needed");
        return None;
    }
    if path.strip_suffix("/**").unwrap_or(&path).contains(['*', '?', '[', '{']) {
        let message = format!("only a `/**` at the end of {} is special", quoted(text));
        let help = "every other character means itself in this language; name the folders";
        lowering.warning(code::SURPRISING, node, message, help);
    }
    pattern::check_leniently(node, &path, GlobSyntax::Prefix, lowering).then_some(path)
}
