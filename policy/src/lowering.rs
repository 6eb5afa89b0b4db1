//! What all dialects need to be lowered: the boundary that is being built, and the findings.

use std::{net::Ipv6Addr, sync::Arc};

use ipnetwork::IpNetwork;

use crate::{
    Content, Dialect, Document, PathMapping, Source,
    boundary::{
        Boundary, Digests, Effect, Egress, EgressRule, GlobSyntax, PathRule, Place, Rights, Target,
    },
    destination::{Destination, Fault},
    diagnostic::{Diagnostic, code, quoted},
    document::{Node, Span},
    pattern,
};
use ringfence_common::Right;

/// Networks that stand for IPv4 addresses: mapped ones (RFC 4291, section 2.5.5.2) and those that
/// are translated (RFC 6052, section 2.1).
const IPV4_IN_IPV6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)];

/// A boundary in the making.
pub(crate) struct Lowering<'a> {
    dialect: Dialect,
    /// What has been lowered so far.
    pub(crate) boundary: Boundary,
    /// See [`Document::unenforced`].
    pub(crate) unenforced: Vec<(Place, String)>,
    /// See [`Document::path_map`].
    pub(crate) path_map: Vec<PathMapping>,
    /// See [`Document`].
    pub(crate) leaves_network_to_airlock: Option<Place>,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Lowering<'a> {
    /// An empty boundary with the baseline.
    pub(crate) fn new(
        source: &Source,
        dialect: Dialect,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            dialect,
            boundary: Boundary::new(Arc::clone(&source.name)),
            unenforced: Vec::new(),
            path_map: Vec::new(),
            leaves_network_to_airlock: None,
            diagnostics,
        }
    }

    /// The document, with a warning when it governs nothing.
    pub(crate) fn finish(mut self, content: Content, root: &Node) -> Option<Document> {
        // A document with errors may govern more than could be read of it.
        if self.diagnostics.iter().any(Diagnostic::is_error) {
            return None;
        }
        let says_nothing = self.boundary.is_empty() && self.path_map.is_empty();
        if says_nothing && self.leaves_network_to_airlock.is_none() {
            let place = Place { line: 1, column: 1, ..root.span.place.clone() };
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
        let Self { dialect, unenforced, path_map, leaves_network_to_airlock, .. } = self;
        let boundary = self.boundary.in_order();
        Some(Document {
            dialect,
            content,
            boundary,
            path_map,
            leaves_network_to_airlock,
            unenforced,
        })
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
            let place = Place { line: 1, column: 1, ..root.span.place.clone() };
            let message = format!("`{key}` is not given: {what} are not governed");
            let finding = Diagnostic::warning(code::NOT_GOVERNED, place, 0, message);
            let help =
                format!("write `{}: []` to allow none", key.rsplit('.').next().unwrap_or(key));
            self.diagnostics.push(finding.with_help(help));
        }
    }

    /// Adds an error about what is written somewhere.
    pub(crate) fn error(&mut self, code: &'static str, span: &Span, message: String, help: &str) {
        let (place, length) = (span.place.clone(), span.length.max(1));
        self.diagnostics.push(Diagnostic::error(code, place, length, message).with_help(help));
    }

    /// Adds the finding that a text is no destination.
    pub(crate) fn destination_fault(&mut self, span: &Span, fault: Fault) {
        let (place, length) = match fault.at {
            0 => (span.place.clone(), span.length.max(1)),
            at => span.within(at),
        };
        let finding = Diagnostic::error(fault.code, place, length, fault.message);
        self.diagnostics.push(finding.with_help(fault.help));
    }

    /// Adds a warning about what is written somewhere.
    pub(crate) fn warning(&mut self, code: &'static str, span: &Span, message: String, help: &str) {
        let (place, length) = (span.place.clone(), span.length.max(1));
        self.diagnostics.push(Diagnostic::warning(code, place, length, message).with_help(help));
    }

    /// Warns of a list that is there and empty. `span` is where its key is written.
    pub(crate) fn warn_empty(&mut self, name: &str, span: &Span) {
        let message = format!("`{name}` is empty: nothing is allowed");
        let help = "this is stricter than leaving the key out, which governs nothing";
        self.warning(code::EMPTY_ALLOWLIST, span, message, help);
    }

    /// Adds a rule for a path pattern that has been checked.
    pub(crate) fn path_rule(
        &mut self,
        span: &Span,
        pattern: &str,
        syntax: GlobSyntax,
        effect: Effect,
        rights: Rights,
    ) {
        self.path_rule_by_content(span, pattern, syntax, effect, rights, None);
    }

    /// The same, for a file that must have a certain content.
    pub(crate) fn path_rule_by_content(
        &mut self,
        span: &Span,
        pattern: &str,
        syntax: GlobSyntax,
        effect: Effect,
        rights: Rights,
        content: Option<Digests>,
    ) {
        if effect == Effect::Allow && pattern::matches_everything(pattern, syntax) {
            let message = format!("{} allows every path", quoted(pattern));
            let help = "name the folders that are needed";
            self.warning(code::ALLOWS_EVERYTHING, span, message, help);
        }
        self.boundary.path_rules.push(PathRule {
            pattern: pattern.to_owned(),
            syntax,
            effect,
            rights,
            content,
            place: span.place.clone(),
        });
    }

    /// Adds a rule about every path, where a document means that by saying nothing.
    pub(crate) fn whole_tree(&mut self, place: Place, effect: Effect, rights: Rights) {
        let pattern = "/**".to_owned();
        let syntax = GlobSyntax::Prefix;
        self.boundary.path_rules.push(PathRule {
            pattern,
            syntax,
            effect,
            rights,
            content: None,
            place,
        });
    }

    /// Adds rules for a destination, with the warnings that names deserve.
    pub(crate) fn egress_rule(&mut self, span: &Span, destination: Destination, rule: EgressRule) {
        let allows = rule.effect == Effect::Allow;
        if destination.is_everything() && allows && rule.ports.is_empty() {
            let message = "every destination is allowed".to_owned();
            let help = "name the hosts that are needed";
            self.warning(code::ALLOWS_EVERYTHING, span, message, help);
        }
        if let Destination::Network(IpNetwork::V6(network)) = &destination
            && !allows
            && (1..96).contains(&network.prefix())
            && IPV4_IN_IPV6.iter().any(|inside| network.contains(*inside))
        {
            let message = "IPv4 addresses in the form of IPv6 are judged as IPv4 addresses: this \
                           does not deny them"
                .to_owned();
            self.warning(code::SURPRISING, span, message, "deny the IPv4 networks as well");
        }
        for target in destination.targets() {
            if let Target::Host(host) = &target
                && !allows
                && host.contains('*')
            {
                self.warn_of_denied_pattern(span, host);
            }
            if let Some(Egress { rules, .. }) = &mut self.boundary.egress {
                // An address has no name to check.
                let is_name = matches!(target, Target::Host(_));
                let tls_name_check = rule.tls_name_check || !is_name || !allows;
                rules.push(EgressRule { target, tls_name_check, ..rule.clone() });
            }
        }
    }

    /// A pattern that is denied closes no address: none of its names is known.
    fn warn_of_denied_pattern(&mut self, span: &Span, host: &str) {
        let message = format!(
            "names like {} cannot be looked up; an address that another rule opens stays open to \
             who knows it",
            quoted(host)
        );
        let help = "deny the networks too that these names are in";
        self.warning(code::DENIED_PATTERN, span, message, help);
    }
}
