//! What a field comes to in a certain document, where its declaration alone does not tell.

use crate::{
    Content, Document, coverage::Part, diagnostic::quoted, document::Node, model::value, secai,
};

/// What is known about a field in a document.
#[derive(Default)]
pub(super) struct Note {
    /// A narrower part than that of the declaration.
    pub(super) part: Option<Part>,
    /// Why the field changes nothing.
    pub(super) no_effect: Option<String>,
    /// What else there is to say.
    pub(super) remark: Option<String>,
    /// Whether the field is what leaves its part free, where it is free.
    pub(super) sets_free: bool,
}

impl Note {
    fn no_effect(why: impl Into<String>) -> Self {
        Self { no_effect: Some(why.into()), ..Self::default() }
    }

    fn sets_free() -> Self {
        Self { sets_free: true, ..Self::default() }
    }
}

/// The note on a field. `path` has `[]` for items of lists; `parent` is the mapping that holds the
/// field, where it is a single one.
pub(super) fn note(document: &Document, path: &str, parent: Option<&Node>) -> Note {
    match (&document.content, path) {
        (Content::SecaiPolicy(policy), _) => of_secai(policy, document, path, parent),
        (Content::SecaiAgent(_), "default_mode") => Note {
            remark: document
                .leaves_network_to_airlock
                .as_ref()
                .map(|_| "left to the airlock of the policy.yaml".to_owned()),
            ..Note::sets_free()
        },
        (Content::Boundary(_), "exec_after_start" | "exec_anonymous" | "io_uring") => {
            Note::sets_free()
        }
        (Content::Boundary(_), "path_map") => Note {
            remark: Some("acts on the paths of the documents that are given with it".to_owned()),
            ..Note::sets_free()
        },
        _ => Note::default(),
    }
}

fn of_secai(
    policy: &secai::Policy,
    document: &Document,
    path: &str,
    parent: Option<&Node>,
) -> Note {
    let firewall = secai::Firewall::new(value(&policy.tools));
    let name = || parent.and_then(|rule| rule.get("name")).and_then(Node::text);
    match path {
        "defaults.network.runtime_egress" => Note::sets_free(),
        "airlock.enabled" | "airlock.allowed_destinations"
            if document.boundary.egress.is_some() =>
        {
            let airlock = value(&policy.airlock);
            let is_on = airlock.and_then(|airlock| value(&airlock.enabled)) == Some(&true);
            if firewall.denied("network.fetch").is_some() {
                Note::no_effect("`tools.deny` has `network.fetch`")
            } else if !is_on && path == "airlock.allowed_destinations" {
                Note::no_effect("`airlock.enabled` is not `true`")
            } else {
                Note::default()
            }
        }
        "tools.deny[].name" => {
            name().map_or_else(Note::default, |name| denied(name, &firewall, document))
        }
        "tools.allow[].name" | "tools.allow[].paths_allowlist" | "tools.allow[].paths_denylist" => {
            match (parent, name()) {
                (Some(rule), Some(name)) => allowed(rule, name, path, &firewall),
                _ => Note::default(),
            }
        }
        _ => Note::default(),
    }
}

/// The part that the kernel knows a tool to need.
fn part_of(tool: &str) -> Option<Part> {
    match tool {
        "filesystem.read" | "filesystem.list" | "filesystem.write" | "filesystem.delete" => {
            Some(Part::Files)
        }
        "shell.exec" | "process.spawn" => Some(Part::Programs),
        "network.fetch" => Some(Part::Destinations),
        _ => None,
    }
}

fn unknown(tool: &str) -> Note {
    Note::no_effect(format!(
        "the kernel does not know what {} does; the decision service acts",
        quoted(tool)
    ))
}

fn denied(tool: &str, firewall: &secai::Firewall<'_>, document: &Document) -> Note {
    let Some(part) = part_of(tool) else { return unknown(tool) };
    let is_free = document.boundary.no_exec_after_start.is_none();
    if part == Part::Programs && is_free {
        let other = if tool == "shell.exec" { "process.spawn" } else { "shell.exec" };
        if firewall.is_permitted(other) {
            return Note::no_effect(format!("`{other}` may be called, which needs programs too"));
        }
    }
    Note { part: Some(part), ..Note::default() }
}

fn allowed(rule: &Node, tool: &str, path: &str, firewall: &secai::Firewall<'_>) -> Note {
    let Some(part) = part_of(tool) else { return unknown(tool) };
    if firewall.denied(tool).is_some() {
        return Note::no_effect(format!("`tools.deny` has {}, and deny wins", quoted(tool)));
    }
    if firewall.allowed(tool).is_some_and(|first| first.span.place != rule.span.place) {
        return Note::no_effect(format!("only the first rule for {} counts", quoted(tool)));
    }
    if part == Part::Destinations {
        return Note::no_effect("the destinations of the airlock are open with and without it");
    }
    if part == Part::Programs && path != "tools.allow[].name" {
        return Note::no_effect("the kernel knows the folders of `filesystem.*` only");
    }
    if tool == "filesystem.delete" && !firewall.is_permitted("filesystem.write") {
        return Note::no_effect("deleting needs `filesystem.write` too");
    }
    Note { part: Some(part), sets_free: part == Part::Programs, ..Note::default() }
}
