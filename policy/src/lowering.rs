//! What all dialects need to be lowered: the boundary that is being built, and the findings.

use std::sync::Arc;

use crate::{
    Dialect, Document, Source,
    boundary::{Boundary, Effect, Egress, EgressRule, GlobSyntax, PathRule, Place, Rights, Target},
    destination::{Destination, Fault},
    diagnostic::{Diagnostic, code, quoted},
    document::{Key, Node},
    pattern,
};
use ringfence_common::Right;

/// A boundary in the making.
pub(crate) struct Lowering<'a> {
    dialect: Dialect,
    /// What has been lowered so far.
    pub(crate) boundary: Boundary,
    /// See [`Document::unenforced`].
    pub(crate) unenforced: Vec<(Place, String)>,
    /// See [`Document`].
    pub(crate) leaves_network_to_airlock: Option<Place>,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
    told_of_lookups: bool,
}

impl<'a> Lowering<'a> {
    /// An empty boundary with the baseline.
    pub(crate) fn new(
        source: &Source,
        dialect: Dialect,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        let boundary = Boundary {
            file: Arc::clone(&source.name),
            path_groups: Vec::new(),
            path_rules: Vec::new(),
            baseline: true,
            no_exec_after_start: None,
            egress: None,
        };
        Self {
            dialect,
            boundary,
            unenforced: Vec::new(),
            leaves_network_to_airlock: None,
            diagnostics,
            told_of_lookups: false,
        }
    }

    /// The document, with a warning when it governs nothing.
    pub(crate) fn finish(mut self, root: &Node) -> Option<Document> {
        // A document with errors may govern more than could be read of it.
        if self.diagnostics.iter().any(Diagnostic::is_error) {
            return None;
        }
        if self.boundary.is_empty() && self.leaves_network_to_airlock.is_none() {
            let place = Place { line: 1, column: 1, ..root.place.clone() };
            let message = format!(
                "the kernel has nothing to enforce in this {}: every file and destination is free",
                self.dialect.title()
            );
            let finding = Diagnostic::warning(code::NOTHING_ENFORCED, place, 0, message);
            self.diagnostics.push(match self.dialect {
                Dialect::Sec0 => {
                    finding.with_help("add `security.fs_allowlist` and `security.egress_allowlist`")
                }
                _ => finding.with_help("add a `files`, `exec` or `egress` group"),
            });
        }
        self.warn_of_ungoverned(root);
        let Self { dialect, boundary, unenforced, leaves_network_to_airlock, .. } = self;
        Some(Document { dialect, boundary, leaves_network_to_airlock, unenforced })
    }

    /// Says which groups are absent, where a language leaves it to the document to have them.
    fn warn_of_ungoverned(&mut self, root: &Node) {
        let boundary = &self.boundary;
        let has = |right| boundary.path_groups.iter().any(|group| group.rights.has(right));
        let groups = match self.dialect {
            Dialect::Boundary => vec![
                ("files", "files", has(Right::Read)),
                ("exec", "programs", has(Right::Exec)),
                ("egress", "destinations", boundary.egress.is_some()),
            ],
            Dialect::Sec0 => vec![
                ("security.fs_allowlist", "files and programs", has(Right::Read)),
                ("security.egress_allowlist", "destinations", boundary.egress.is_some()),
            ],
            Dialect::SecaiPolicy | Dialect::SecaiAgent => return,
        };
        if boundary.is_empty() {
            return;
        }
        for (key, what, is_governed) in groups {
            if is_governed {
                continue;
            }
            let place = Place { line: 1, column: 1, ..root.place.clone() };
            let message = format!("`{key}` is not given: {what} are not governed");
            let finding = Diagnostic::warning(code::NOT_GOVERNED, place, 0, message);
            let help =
                format!("write `{}: []` to allow none", key.rsplit('.').next().unwrap_or(key));
            self.diagnostics.push(finding.with_help(help));
        }
    }

    /// Adds an error about a node.
    pub(crate) fn error(&mut self, code: &'static str, node: &Node, message: String, help: &str) {
        let (place, length) = (node.place.clone(), node.length.max(1));
        self.diagnostics.push(Diagnostic::error(code, place, length, message).with_help(help));
    }

    /// Adds the finding that a node's text is no destination.
    pub(crate) fn destination_fault(&mut self, node: &Node, fault: Fault) {
        let (place, length) = match fault.at {
            0 => (node.place.clone(), node.length.max(1)),
            at => node.within(at),
        };
        let finding = Diagnostic::error(fault.code, place, length, fault.message);
        self.diagnostics.push(finding.with_help(fault.help));
    }

    /// Adds a warning about a node.
    pub(crate) fn warning(&mut self, code: &'static str, node: &Node, message: String, help: &str) {
        let (place, length) = (node.place.clone(), node.length.max(1));
        self.diagnostics.push(Diagnostic::warning(code, place, length, message).with_help(help));
    }

    /// Adds a warning about a key.
    pub(crate) fn warn_key(&mut self, code: &'static str, key: &Key, message: &str, help: &str) {
        let finding = Diagnostic::warning(code, key.place.clone(), key.length, message);
        self.diagnostics.push(finding.with_help(help));
    }

    /// Warns of a list that is there and empty.
    pub(crate) fn warn_empty(&mut self, key: &Key) {
        let message = format!("`{}` is empty: nothing is allowed", key.name);
        let help = "this is stricter than leaving the key out, which governs nothing";
        self.warn_key(code::EMPTY_ALLOWLIST, key, &message, help);
    }

    /// Adds a rule for a path pattern that has been checked.
    pub(crate) fn path_rule(
        &mut self,
        node: &Node,
        pattern: &str,
        syntax: GlobSyntax,
        effect: Effect,
        rights: Rights,
    ) {
        let rule = PathRule {
            pattern: pattern.to_owned(),
            syntax,
            effect,
            rights,
            place: node.place.clone(),
        };
        if effect == Effect::Allow && pattern::matches_everything(pattern, syntax) {
            let message = format!("{} allows every path", quoted(pattern));
            let help = "name the folders that are needed";
            self.warning(code::ALLOWS_EVERYTHING, node, message, help);
        }
        self.boundary.path_rules.push(rule);
    }

    /// Adds a rule about every path, where a document means that by saying nothing.
    pub(crate) fn whole_tree(&mut self, place: Place, effect: Effect, rights: Rights) {
        let pattern = "/**".to_owned();
        let syntax = GlobSyntax::Prefix;
        self.boundary.path_rules.push(PathRule { pattern, syntax, effect, rights, place });
    }

    /// Adds rules for a destination, with the warnings that names deserve.
    pub(crate) fn egress_rule(&mut self, node: &Node, destination: Destination, rule: EgressRule) {
        let allows = rule.effect == Effect::Allow;
        if destination.is_everything() && allows && rule.ports.is_empty() {
            let message = "every destination is allowed".to_owned();
            let help = "name the hosts that are needed";
            self.warning(code::ALLOWS_EVERYTHING, node, message, help);
        }
        for target in destination.targets() {
            if let Target::Host(host) = &target {
                self.warn_of_name(node, host);
            }
            if let Some(Egress { rules, .. }) = &mut self.boundary.egress {
                rules.push(EgressRule { target, ..rule.clone() });
            }
        }
    }

    fn warn_of_name(&mut self, node: &Node, host: &str) {
        if host.contains('*') {
            let message = format!(
                "no address is known for the pattern {}: this version looks names up once, at \
                 the start, and a pattern cannot be looked up",
                quoted(host)
            );
            let help = "list the names that are used, or their addresses";
            self.warning(code::WILDCARD_HOST, node, message, help);
        } else if !self.told_of_lookups {
            self.told_of_lookups = true;
            let message = "host names are looked up once, at the start; addresses that a name \
                           gets later are not known"
                .to_owned();
            let help = "give the network as a CIDR where the addresses change often";
            self.warning(code::RESOLVED_ONCE, node, message, help);
        }
    }
}
