//! The groups of a `boundary` document, rule by rule.

use std::ops::RangeInclusive;

use super::Rules;
use crate::{
    boundary::{Effect, Egress, EgressRule, GlobSyntax, PathGroup, Protocol, Rights, Target},
    destination::{self, Destination, Fault},
    diagnostic::{code, quoted},
    document::{Node, Value},
    lowering::Lowering,
    pattern,
    suggestion::nearest,
};
use ringfence_common::Right;

type Lower = fn(&Rules<'_>, &mut Lowering<'_>);

/// The groups that the kernel enforces.
pub(super) const ENFORCED: &[(&str, Lower)] =
    &[("files", files), ("exec", exec), ("egress", egress)];

/// The groups that are read and checked only.
pub(super) const UNENFORCED: &[(&str, Lower)] = &[("listen", listen), ("sockets", sockets)];

fn files(rules: &Rules<'_>, lowering: &mut Lowering<'_>) {
    add_group(rules, Rights::FILES, lowering);
    for rule in rules.items {
        let Some((node, path)) = path_of(rule) else { continue };
        let is_usable = pattern::check_strictly(node, path, lowering);
        if rule.get("allow").is_none() && rule.get("deny").is_none() && is_mapping(rule) {
            let message = "a rule about files needs `allow` or `deny`".to_owned();
            let help = "add `allow: [read]`, `allow: [read, write]`, or `deny: [write]`";
            lowering.error(code::MISSING_KEY, node, message, help);
        }
        for (key, effect) in [("allow", Effect::Allow), ("deny", Effect::Deny)] {
            let rights = rights(rule.get(key), lowering);
            if is_usable && !rights.is_empty() {
                lowering.path_rule(node, path, GlobSyntax::Component, effect, rights);
            }
        }
    }
}

/// The rights that a list of words names.
fn rights(words: Option<&Node>, lowering: &mut Lowering<'_>) -> Rights {
    const WORDS: [(&str, Rights); 5] = [
        ("read", Rights::READ),
        ("write", Rights::WRITE),
        ("create", Rights(Right::Create.bit())),
        ("delete", Rights(Right::Delete.bit())),
        ("metadata", Rights(Right::Metadata.bit())),
    ];
    let Some(words) = words else { return Rights::NONE };
    if matches!(&words.value, Value::List(items) if items.is_empty()) {
        let message = "the list of rights is empty".to_owned();
        lowering.error(
            code::OUT_OF_RANGE,
            words,
            message,
            "add `read` or `write`, or remove the rule",
        );
    }
    let mut rights = Rights::NONE;
    for item in words.items() {
        let Some(word) = item.text() else { continue };
        if let Some((_, right)) = WORDS.iter().find(|(name, _)| *name == word) {
            rights = rights.and(*right);
            continue;
        }
        let message = format!("{} is no right over files", quoted(word));
        let help = match nearest(word, WORDS.map(|(name, _)| name)) {
            _ if matches!(word, "exec" | "execute") => {
                "execution has a group of its own: `exec: [{ path: …, allow: true }]`".to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "it is one of `read`, `write`, `create`, `delete` and `metadata`".to_owned(),
        };
        lowering.error(code::UNKNOWN_VALUE, item, message, &help);
    }
    rights
}

fn exec(rules: &Rules<'_>, lowering: &mut Lowering<'_>) {
    add_group(rules, Rights::EXEC, lowering);
    for rule in rules.items {
        let Some((node, path)) = path_of(rule) else { continue };
        if !pattern::check_strictly(node, path, lowering) {
            continue;
        }
        let effect = match rule.get("allow").and_then(Node::boolean) {
            Some(true) => Effect::Allow,
            Some(false) => Effect::Deny,
            None => continue,
        };
        lowering.path_rule(node, path, GlobSyntax::Component, effect, Rights::EXEC);
    }
}

fn egress(rules: &Rules<'_>, lowering: &mut Lowering<'_>) {
    let place = rules.entry.key.place.clone();
    lowering.boundary.egress =
        Some(Egress { mode: rules.mode, place, is_rule: false, rules: Vec::new() });
    warn_if_empty(rules, lowering);
    for rule in rules.items.iter().filter(|rule| is_mapping(rule)) {
        let ports = ports(rule.get("ports"), lowering);
        let destination = match (rule.get("host"), rule.get("cidr")) {
            (Some(node), None) => node.text().map(|text| (node, host(text))),
            (None, Some(node)) => node.text().map(|text| (node, network(text))),
            (host, _) => {
                let (message, help) = match host {
                    Some(_) => ("a rule has `host` or `cidr`, not both", "make two rules of it"),
                    None => ("a rule needs `host` or `cidr`", "add `host: api.example.com`"),
                };
                lowering.error(code::CONFLICT, rule, message.to_owned(), help);
                continue;
            }
        };
        let protocol = match rule.get("protocol").and_then(Node::text) {
            Some("tcp") => Some(Protocol::Tcp),
            Some("udp") => Some(Protocol::Udp),
            _ => None,
        };
        let denies = rule.get("deny").and_then(Node::boolean) == Some(true);
        match destination {
            Some((node, Ok(destination))) => {
                let effect = if denies { Effect::Deny } else { Effect::Allow };
                let target = Target::Host(String::new());
                let place = node.place.clone();
                let rule = EgressRule { effect, target, ports, protocol, place };
                lowering.egress_rule(node, destination, rule);
            }
            Some((node, Err(fault))) => lowering.destination_fault(node, fault),
            None => {}
        }
    }
}

/// A host name; an address is turned away, since `cidr` is the one way to write it.
fn host(text: &str) -> Result<Destination, Fault> {
    let address = text.trim_matches(['[', ']']);
    match destination::network(address) {
        Ok(network) => Err(Fault {
            code: code::BAD_HOST,
            at: 0,
            message: format!("{} is an address", quoted(text)),
            help: format!("write `cidr: {network}`"),
        }),
        Err(_) => destination::host(text),
    }
}

fn network(text: &str) -> Result<Destination, Fault> {
    destination::network(text).map(Destination::Network)
}

/// Ports and ranges of ports. Without the key, every port.
fn ports(list: Option<&Node>, lowering: &mut Lowering<'_>) -> Vec<RangeInclusive<u16>> {
    let Some(list) = list else { return Vec::new() };
    if matches!(&list.value, Value::List(items) if items.is_empty()) {
        let message = "the list of ports is empty".to_owned();
        lowering.error(code::BAD_PORT, list, message, "leave `ports` out for every port");
    }
    let mut ranges = Vec::new();
    for item in list.items() {
        match port_range(item) {
            Some(range) => ranges.push(range),
            None => {
                let message = format!("{} is no port and no range of ports", item.describe());
                let help = "a port is from 1 to 65535, a range is written \"8000-8100\"";
                lowering.error(code::BAD_PORT, item, message, help);
            }
        }
    }
    ranges
}

fn port_range(item: &Node) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| {
        let digits = text.trim();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten().filter(|port: &u16| *port > 0)
    };
    match &item.value {
        Value::Number(number) => {
            let port = u16::try_from(number.whole()?).ok().filter(|port| *port > 0)?;
            Some(port..=port)
        }
        Value::Text(text) => match text.split_once('-') {
            Some((low, high)) => {
                let (low, high) = (port(low)?, port(high)?);
                (low <= high).then_some(low..=high)
            }
            None => port(text).map(|port| port..=port),
        },
        _ => None,
    }
}

fn listen(_: &Rules<'_>, _: &mut Lowering<'_>) {}

fn sockets(rules: &Rules<'_>, lowering: &mut Lowering<'_>) {
    for (node, path) in rules.items.iter().filter_map(path_of) {
        pattern::check_strictly(node, path, lowering);
    }
}

fn add_group(rules: &Rules<'_>, rights: Rights, lowering: &mut Lowering<'_>) {
    let place = rules.entry.key.place.clone();
    let group = PathGroup { rights, mode: rules.mode, place, is_rule: false };
    lowering.boundary.path_groups.push(group);
    warn_if_empty(rules, lowering);
}

fn warn_if_empty(rules: &Rules<'_>, lowering: &mut Lowering<'_>) {
    let list = rules.entry.value.get("rules").unwrap_or(&rules.entry.value);
    if matches!(&list.value, Value::List(items) if items.is_empty()) {
        lowering.warn_empty(&rules.entry.key);
    }
}

fn path_of(rule: &Node) -> Option<(&Node, &str)> {
    let node = rule.get("path")?;
    Some((node, node.text()?))
}

fn is_mapping(node: &Node) -> bool {
    matches!(node.value, Value::Mapping(_))
}
