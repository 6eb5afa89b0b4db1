//! The `boundary` document: our own language, in which everything that the kernel enforces can
//! be said.

mod amounts;
mod groups;

use crate::{
    boundary::Mode,
    diagnostic::code,
    document::{Entry, Node},
    lowering::Lowering,
    schema::{
        Field,
        Shape::{self, Any, Boolean, Group, List, Mapping, OneOf, Text, Whole},
        optional, required,
    },
};

const PROTOCOL: Shape = OneOf(&["tcp", "udp"]);
const COUNT: Shape = Whole(0.0, f64::INFINITY);

/// The outermost keys.
pub(crate) const FIELDS: &[Field] = &[
    required("boundary", Whole(1.0, 1.0)),
    optional("mode", OneOf(&["enforce", "observe"])),
    optional("baseline", OneOf(&["system", "none"])),
    optional("files", Group(&FILE)),
    optional("egress", Group(&DESTINATION)),
    optional("listen", Group(&LISTENER)),
    optional("sockets", Group(&SOCKET)),
    optional("exec", Group(&PROGRAM)),
    optional("budgets", BUDGETS),
];

const FILE: Shape = Mapping(&[
    required("path", Text),
    optional("allow", List(&Text)),
    optional("deny", List(&Text)),
]);

const DESTINATION: Shape = Mapping(&[
    optional("host", Text),
    optional("cidr", Text),
    optional("ports", List(&Any)),
    optional("protocol", PROTOCOL),
    optional("deny", Boolean),
]);

const LISTENER: Shape =
    Mapping(&[required("port", Whole(1.0, 65535.0)), optional("protocol", PROTOCOL)]);

const SOCKET: Shape = Mapping(&[required("path", Text)]);

const PROGRAM: Shape = Mapping(&[required("path", Text), required("allow", Boolean)]);

const BUDGETS: Shape = Mapping(&[
    optional("wall_clock", Any),
    optional("files_touched", COUNT),
    optional("output_bytes", Any),
    optional("connections", COUNT),
    optional("processes", COUNT),
]);

/// Lowers a document.
pub(crate) fn lower(document: &Node, lowering: &mut Lowering<'_>) {
    let word = |name| document.get(name).and_then(Node::text);
    let mode = mode_of(document.get("mode")).unwrap_or(Mode::Enforce);
    lowering.boundary.baseline = word("baseline") != Some("none");
    for (name, lower) in groups::ENFORCED {
        if let Some(entry) = document.entry(name) {
            lower(&Rules::of(entry, mode), lowering);
        }
    }
    for (name, check) in groups::UNENFORCED {
        if let Some(entry) = document.entry(name) {
            let rules = Rules::of(entry, mode);
            check(&rules, lowering);
            if !rules.items.is_empty() {
                not_enforced(entry, lowering);
            }
        }
    }
    if let Some(budgets) = document.entry("budgets") {
        amounts::check(&budgets.value, lowering);
        if !budgets.value.entries().is_empty() {
            not_enforced(budgets, lowering);
        }
    }
}

/// A group: its key, its mode, and its rules.
struct Rules<'a> {
    entry: &'a Entry,
    mode: Mode,
    items: &'a [Node],
}

impl<'a> Rules<'a> {
    /// A group is a list of rules, or a mapping with a `mode` of its own and `rules`.
    fn of(entry: &'a Entry, outer: Mode) -> Self {
        let mode = mode_of(entry.value.get("mode")).unwrap_or(outer);
        let items = entry.value.get("rules").unwrap_or(&entry.value).items();
        Self { entry, mode, items }
    }
}

fn mode_of(node: Option<&Node>) -> Option<Mode> {
    match node?.text()? {
        "enforce" => Some(Mode::Enforce),
        "observe" => Some(Mode::Observe),
        _ => None,
    }
}

fn not_enforced(entry: &Entry, lowering: &mut Lowering<'_>) {
    let name = &entry.key.name;
    let message = format!("`{name}` is not enforced by this version");
    let help = "`ringfence run` refuses to start with it, unless `--allow-degraded` is given";
    lowering.warn_key(code::NOT_ENFORCED, &entry.key, &message, help);
    lowering.unenforced.push((entry.key.place.clone(), message));
}

#[cfg(test)]
mod tests;
