//! The groups of a `boundary` document, rule by rule.

use std::{collections::HashSet, ops::RangeInclusive};

use super::{
    DestinationRule, FileRule, Group, ListenRule, NameCheckWord, ProgramRule, ProtocolWord,
    SocketRule, Syntax,
};
use crate::{
    boundary::{
        self, Digests, Effect, Egress, EgressRule, GlobSyntax, Listen, PathGroup, Protocol, Rights,
        Target,
    },
    destination::{self, Destination, Fault},
    diagnostic::{code, quoted},
    document::Spanned,
    lowering::Lowering,
    model::{Field, Scalar, items, value},
    pattern,
    suggestion::nearest,
};
use ringfence_common::Right;

/// The words for rights over files.
pub(crate) const RIGHTS: [(&str, Rights); 7] = [
    ("read", Rights::READ),
    ("write", Rights::WRITE),
    ("content", Rights(Right::Write.bit())),
    ("create", Rights(Right::Create.bit())),
    ("delete", Rights(Right::Delete.bit())),
    ("metadata", Rights(Right::Metadata.bit())),
    ("device", Rights::DEVICE),
];

pub(super) fn files(group: &Group<'_, FileRule>, lowering: &mut Lowering<'_>) {
    add_path_group(group, Rights::FILES, lowering);
    warn_of_open_folders(group, lowering);
    for Spanned { value: rule, .. } in group.rules {
        let Some(path) = &rule.path else { continue };
        let Some(pattern) = &path.value else { continue };
        let syntax = syntax(&rule.syntax);
        let is_usable = pattern::check_strictly(&path.span, pattern, syntax, lowering);
        if rule.allow.is_none() && rule.deny.is_none() {
            let message = "a rule about files needs `allow` or `deny`".to_owned();
            let help = "add `allow: [read]`, `allow: [read, write]`, or `deny: [write]`";
            lowering.error(code::MISSING_KEY, &path.span, message, help);
        }
        for (words, effect) in [(&rule.allow, Effect::Allow), (&rule.deny, Effect::Deny)] {
            let rights = rights(words.as_ref(), lowering);
            if is_usable && !rights.is_empty() {
                lowering.path_rule(&path.span, pattern, syntax, effect, rights);
            }
        }
    }
}

/// Warns of a name that looks like a folder's and may not be read, where all below it may be: to
/// deny what is in it takes a rule of its own.
fn warn_of_open_folders(group: &Group<'_, FileRule>, lowering: &mut Lowering<'_>) {
    let names_read = |words: &Option<Field<Vec<Spanned<String>>>>| {
        items(words).iter().any(|word| word.value == "read")
    };
    let is_plain = |rule: &&FileRule| syntax(&rule.syntax) == GlobSyntax::Component;
    let rules = || group.rules.iter().map(|rule| &rule.value).filter(is_plain);
    let path = |rule: &'_ FileRule| rule.path.as_ref().and_then(|path| path.value.clone());
    let allowed: HashSet<String> =
        rules().filter(|rule| names_read(&rule.allow)).filter_map(path).collect();
    let denied: Vec<String> =
        rules().filter(|rule| names_read(&rule.deny)).filter_map(path).collect();
    if allowed.len().saturating_mul(denied.len()) > pattern::MAX_PAIRS {
        return;
    }
    let denied: HashSet<String> = denied.into_iter().collect();
    for rule in rules().filter(|rule| names_read(&rule.deny)) {
        let Some(field) = &rule.path else { continue };
        let Some(name) = &field.value else { continue };
        let last = name.rsplit('/').next().unwrap_or_default();
        // A name such as `key.pem` is hardly a folder's, and `.ssh` may well be.
        let may_be_folder = !last.is_empty() && !last.trim_start_matches('.').contains('.');
        let all_below = format!("{name}/**");
        if !may_be_folder || pattern::literal_start(name) != name || denied.contains(&all_below) {
            continue;
        }
        let is_open = |one: &String| {
            *one == all_below || pattern::is_about_all_below(one, GlobSyntax::Component, name)
        };
        if allowed.iter().any(is_open) {
            let message =
                format!("if {} is a folder, what is in it may still be read", quoted(name));
            let help = format!("deny `{all_below}` as well");
            lowering.warning(code::SURPRISING, &field.span, message, &help);
        }
    }
}

/// The rights that a list of words names.
fn rights(words: Option<&Field<Vec<Spanned<String>>>>, lowering: &mut Lowering<'_>) -> Rights {
    let Some(words) = words else { return Rights::NONE };
    if words.is_empty_list() {
        let message = "the list of rights is empty".to_owned();
        let help = "add `read` or `write`, or remove the rule";
        lowering.error(code::OUT_OF_RANGE, &words.span, message, help);
    }
    let mut rights = Rights::NONE;
    for Spanned { value: word, span } in words.items() {
        if let Some((_, right)) = RIGHTS.iter().find(|(name, _)| name == word) {
            rights = rights.and(*right);
            continue;
        }
        let message = format!("{} is no right over files", quoted(word));
        let help = match nearest(word, RIGHTS.map(|(name, _)| name)) {
            _ if matches!(word.as_str(), "exec" | "execute") => {
                "execution has a group of its own: `exec: [{ path: …, allow: true }]`".to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "it is one of `read`, `write`, `content`, `create`, `delete`, `metadata` and \
                     `device`"
                .to_owned(),
        };
        lowering.error(code::UNKNOWN_VALUE, span, message, &help);
    }
    rights
}

fn syntax(field: &Option<Field<Syntax>>) -> GlobSyntax {
    match value(field) {
        None | Some(Syntax::Component) => GlobSyntax::Component,
        Some(Syntax::Crossing) => GlobSyntax::Crossing,
        Some(Syntax::Prefix) => GlobSyntax::Prefix,
    }
}

pub(super) fn exec(group: &Group<'_, ProgramRule>, lowering: &mut Lowering<'_>) {
    add_path_group(group, Rights::EXEC, lowering);
    for Spanned { value: rule, .. } in group.rules {
        let Some(path) = &rule.path else { continue };
        let Some(pattern) = &path.value else { continue };
        let syntax = syntax(&rule.syntax);
        if !pattern::check_strictly(&path.span, pattern, syntax, lowering) {
            continue;
        }
        let effect = match value(&rule.allow) {
            Some(true) => Effect::Allow,
            Some(false) => Effect::Deny,
            None => continue,
        };
        let content = match content(rule, lowering) {
            Ok(content) => content,
            Err(Wrong) => continue,
        };
        if content.is_some() {
            let fault = if effect == Effect::Deny {
                Some(("a digest says what may be executed", "write `allow: true` with it"))
            } else if syntax == GlobSyntax::Prefix || pattern::literal_start(pattern) != pattern {
                let help = "give each file a rule of its own, without `syntax: prefix` and `\\`";
                Some(("a digest is that of one file, and this is a pattern", help))
            } else {
                None
            };
            if let Some((message, help)) = fault {
                lowering.error(code::CONFLICT, &path.span, message.to_owned(), help);
                continue;
            }
        }
        let span = &path.span;
        lowering.path_rule_by_content(span, pattern, syntax, effect, Rights::EXEC, content);
    }
}

/// There is a digest that cannot be read.
struct Wrong;

/// The content that a rule asks for.
fn content(rule: &ProgramRule, lowering: &mut Lowering<'_>) -> Result<Option<Digests>, Wrong> {
    let sha256 = digest(&rule.sha256, "", lowering)?;
    let fsverity = digest(&rule.fsverity, "sha256:", lowering)?;
    let is_any = sha256.is_some() || fsverity.is_some();
    Ok(is_any.then_some(Digests { sha256, fsverity }))
}

fn digest(
    field: &Option<Field<String>>,
    lead: &str,
    lowering: &mut Lowering<'_>,
) -> Result<Option<[u8; 32]>, Wrong> {
    let Some(field) = field else { return Ok(None) };
    let Some(text) = &field.value else { return Err(Wrong) };
    if let Some(digest) = text.strip_prefix(lead).and_then(bytes) {
        return Ok(Some(digest));
    }
    let message = format!("{} is no SHA-256", quoted(text));
    let help = match lead {
        "" => "write 64 hexadecimal digits, as `sha256sum FILE` prints them",
        _ => "write `sha256:` and 64 hexadecimal digits, as `fsverity measure FILE` prints them",
    };
    lowering.error(code::BAD_DIGEST, &field.span, message, help);
    Err(Wrong)
}

/// The bytes that 64 hexadecimal digits stand for.
fn bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |c: &u8| char::from(*c).to_digit(16);
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(bytes)
}

pub(super) fn egress(group: &Group<'_, DestinationRule>, lowering: &mut Lowering<'_>) {
    lowering.boundary.egress = Some(Egress {
        mode: group.mode,
        place: group.place(),
        is_rule: false,
        rules: Vec::with_capacity(group.rules.len()),
    });
    warn_if_empty(group, lowering);
    for Spanned { value: rule, span: rule_span } in group.rules {
        let ports = ports(rule.ports.as_ref(), lowering);
        let (field, destination) = match (&rule.host, &rule.cidr) {
            (Some(field), None) => (field, field.value.as_deref().map(host)),
            (None, Some(field)) => (field, field.value.as_deref().map(network)),
            (host, _) => {
                let (message, help) = match host {
                    Some(_) => ("a rule has `host` or `cidr`, not both", "make two rules of it"),
                    None => ("a rule needs `host` or `cidr`", "add `host: api.example.com`"),
                };
                lowering.error(code::CONFLICT, rule_span, message.to_owned(), help);
                continue;
            }
        };
        let denies = value(&rule.deny) == Some(&true);
        if let Some(check) = &rule.tls_name_check
            && (denies || rule.host.is_none())
        {
            let message = "`tls_name_check` has no effect here".to_owned();
            let help = "leave it out: only where a host is allowed by name is a name asked for";
            lowering.warning(code::SURPRISING, &check.key, message, help);
        }
        match destination {
            Some(Ok(destination)) => {
                let rule = EgressRule {
                    effect: if denies { Effect::Deny } else { Effect::Allow },
                    target: Target::Host(String::new()),
                    ports,
                    protocol: value(&rule.protocol).map(|word| protocol(*word)),
                    tls_name_check: value(&rule.tls_name_check) != Some(&NameCheckWord::Off),
                    place: field.span.place.clone(),
                };
                lowering.egress_rule(&field.span, destination, rule);
            }
            Some(Err(fault)) => lowering.destination_fault(&field.span, fault),
            None => {}
        }
    }
}

const fn protocol(word: ProtocolWord) -> Protocol {
    match word {
        ProtocolWord::Tcp => Protocol::Tcp,
        ProtocolWord::Udp => Protocol::Udp,
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
fn ports(
    list: Option<&Field<Vec<Spanned<Scalar>>>>,
    lowering: &mut Lowering<'_>,
) -> Vec<RangeInclusive<u16>> {
    let Some(list) = list else { return Vec::new() };
    if list.is_empty_list() {
        let message = "the list of ports is empty".to_owned();
        lowering.error(code::BAD_PORT, &list.span, message, "leave `ports` out for every port");
    }
    let mut ranges = Vec::new();
    for Spanned { value, span } in list.items() {
        match port_range(value) {
            Some(range) => ranges.push(range),
            None => {
                let message = format!("{} is no port and no range of ports", value.describe());
                let help = "a port is from 1 to 65535, a range is written \"8000-8100\"";
                lowering.error(code::BAD_PORT, span, message, help);
            }
        }
    }
    ranges
}

fn port_range(item: &Scalar) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| {
        let digits = text.trim();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten().filter(|port: &u16| *port > 0)
    };
    match item {
        Scalar::Number(number) => {
            let port = u16::try_from(number.whole()?).ok().filter(|port| *port > 0)?;
            Some(port..=port)
        }
        Scalar::Text(text) => match text.split_once('-') {
            Some((low, high)) => {
                let (low, high) = (port(low)?, port(high)?);
                (low <= high).then_some(low..=high)
            }
            None => port(text).map(|port| port..=port),
        },
    }
}

pub(super) fn listen(group: &Group<'_, ListenRule>, lowering: &mut Lowering<'_>) {
    let rule = |Spanned { value: rule, span }: &Spanned<ListenRule>| {
        Some(boundary::ListenRule {
            port: u16::try_from(*value(&rule.port)?).ok()?,
            protocol: value(&rule.protocol).map(|word| protocol(*word)),
            place: span.place.clone(),
        })
    };
    let rules = group.rules.iter().filter_map(rule).collect();
    lowering.boundary.listen = Some(Listen { mode: group.mode, place: group.place(), rules });
    if lowering.boundary.egress.is_none() {
        let message = "datagrams come in from everywhere: without `egress` all may be answers";
        let help = "add an `egress` group, by which answers are told from other datagrams";
        lowering.warning(code::SURPRISING, group.key, message.to_owned(), help);
    }
}

pub(super) fn sockets(group: &Group<'_, SocketRule>, lowering: &mut Lowering<'_>) {
    let (mode, place) = (group.mode, group.place());
    let rights = Rights::SOCKET;
    lowering.boundary.path_groups.push(PathGroup { rights, mode, place, is_rule: false });
    for Spanned { value: rule, .. } in group.rules {
        let Some(path) = &rule.path else { continue };
        let Some(pattern) = &path.value else { continue };
        if pattern::check_socket(&path.span, pattern, lowering) {
            let syntax = GlobSyntax::Component;
            lowering.path_rule(&path.span, pattern, syntax, Effect::Allow, rights);
        }
    }
}

fn add_path_group<T>(group: &Group<'_, T>, rights: Rights, lowering: &mut Lowering<'_>) {
    let (mode, place) = (group.mode, group.place());
    lowering.boundary.path_groups.push(PathGroup { rights, mode, place, is_rule: false });
    warn_if_empty(group, lowering);
}

fn warn_if_empty<T>(group: &Group<'_, T>, lowering: &mut Lowering<'_>) {
    if group.is_empty {
        lowering.warn_empty(group.name, group.key);
    }
}
