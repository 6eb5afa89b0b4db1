//! The answers, each by the code that the kernel programs call for the act.

use std::net::SocketAddr;

use ringfence_common::{
    Action, Address, Decision, Reason, Right, Verdict,
    egress::{self, Protocol},
    event::PATH_BYTES,
    files::{self, Move, Walker},
    guard, serving, socket,
};
use ringfence_policy::{
    Boundary,
    boundary::{Egress, Target},
    compile::Tables,
    hosts,
    question::{about_abstract, about_address, about_first_program, about_path, content_of},
};

use super::{
    super::question::{Ask, Capability, Endpoint, Host, SocketKind, UnixSocket, Whereabouts},
    answer::Answer,
};

/// The note on what the rules cannot give.
const NO_RULE_ALLOWS: &str = "no rule can allow it";
/// The note on what the kernel programs do not look at.
const NOT_GOVERNED: &str = "not governed";

/// Answers one question.
pub(super) fn answer(ask: &Ask, tables: &Tables, boundaries: &[Boundary]) -> Answer {
    let image = &*tables.image;
    match ask {
        Ask::Path(action, right, path) => {
            let control = control(image, &path.0, right.bit());
            let decision = control.unwrap_or_else(|| about_path(tables, &path.0, *right));
            let answer = noted(Answer::by_tables(*action, lossy(&path.0), decision, tables));
            if *right == Right::Exec { of_content(answer, &path.0, tables) } else { answer }
        }
        Ask::FirstProgram(path) => {
            let decision = about_first_program(tables, &path.0);
            let answer = Answer::by_tables(Action::Exec, lossy(&path.0), decision, tables);
            of_content(answer, &path.0, tables)
        }
        Ask::AnonymousCode => {
            let decision = files::decide_anonymous(image);
            Answer::by_tables(Action::Exec, "anonymous memory", decision, tables)
        }
        Ask::Ring => {
            let decision = guard::decide_ring(image);
            Answer::by_tables(Action::Uring, "an io_uring", decision, tables)
        }
        Ask::Rename { old, new, is_folder, replaces, exchanges } => {
            let decide = |old, new| {
                let (is_folder, replaces, exchanges) = (*is_folder, *replaces, *exchanges);
                files::decide_rename(image, Move { old, new, is_folder, replaces, exchanges })
            };
            let rights = Right::Delete.bit() | Right::Create.bit();
            let decision = about_pair(image, &old.0, &new.0, rights, decide);
            let answer = Answer::by_tables(Action::Rename, lossy(&old.0), decision, tables);
            noted(answer.with_new(lossy(&new.0)))
        }
        Ask::Link { old, new } => {
            let decide = |old, new| files::decide_link(image, old, new);
            let rights = Right::Write.bit() | Right::Create.bit();
            let decision = about_pair(image, &old.0, &new.0, rights, decide);
            let answer = Answer::by_tables(Action::Link, lossy(&old.0), decision, tables);
            noted(answer.with_new(lossy(&new.0)))
        }
        Ask::Connect(endpoint, protocol) => connect(endpoint, *protocol, tables, boundaries),
        Ask::Resolve(name) => {
            let decision = hosts::decide_lookup(boundaries, name);
            Answer::by_name(Action::Resolve, name, &decision, Reason::UnlistedName, tables)
                .with_note("this version does not judge names, only where packets go")
        }
        Ask::ConnectUnix(socket) => connect_unix(socket, tables),
        Ask::Listen(port, protocol) => {
            let decision = serving::decide(image, *protocol, *port);
            let object = format!("{port} {}", word(*protocol));
            let answer = Answer::by_tables(Action::Listen, object, decision, tables);
            match decision.verdict {
                Verdict::Allow => answer,
                _ => answer.with_note("the scope itself is served on every port"),
            }
        }
        Ask::Socket(SocketKind { name, family, kind, protocol }) => {
            let decision = socket::decide(image, *family, *kind, *protocol);
            let note = match decision.verdict {
                Verdict::Allow if !egress::governs(image) => NOT_GOVERNED,
                Verdict::Allow => "where it may go is another question",
                _ => NO_RULE_ALLOWS,
            };
            Answer::fixed(Action::Socket, *name, decision, note)
        }
        Ask::Capability(capability) => about_capability(image, *capability),
        Ask::Boundary(action) => {
            Answer::fixed(*action, "", guard::decide(image, *action), NO_RULE_ALLOWS)
        }
        Ask::Process(action, Whereabouts::Outside) => {
            let decision = guard::decide(image, *action);
            Answer::fixed(*action, "outside", decision, NO_RULE_ALLOWS)
        }
        Ask::Process(action, Whereabouts::Inside) => {
            Answer::fixed(*action, "inside", Decision::ALLOW, NOT_GOVERNED)
        }
    }
}

/// Changes to the kernel's own control files, which the kernel programs judge before any rule.
/// They know these file systems by their kind, wherever they are mounted; here they are taken to
/// be where they are on every system.
fn control(image: &[u8], path: &[u8], rights: u32) -> Option<Decision> {
    const CHANGES: [Right; 4] = [Right::Write, Right::Create, Right::Delete, Right::Metadata];
    let is_in = |folder: &[u8]| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    if CHANGES.iter().all(|right| rights & right.bit() == 0) {
        None
    } else if is_in(b"/sys/fs/bpf") {
        Some(Decision::deny(Reason::SelfProtection))
    } else {
        let is_own = is_in(b"/proc/self") || is_in(b"/proc/thread-self");
        (is_in(b"/sys") || is_in(b"/proc") && !is_own).then(|| guard::decide_control(image))
    }
}

/// Says that an answer holds for one content of the file, where it does.
fn of_content(answer: Answer, path: &[u8], tables: &Tables) -> Answer {
    match (answer.verdict, content_of(tables, path)) {
        (Verdict::Allow, Some(_)) => answer.with_note("with any other content: tool_code_changed"),
        _ => answer,
    }
}

/// Says what decided where it was the kind of file system and no rule.
fn noted(mut answer: Answer) -> Answer {
    if matches!(answer.reason, Reason::KernelControl | Reason::SelfProtection) {
        answer.notes = vec![NO_RULE_ALLOWS];
    }
    answer
}

/// A decision about two names, of which the old one is looked at first.
fn about_pair(
    image: &[u8],
    old: &[u8],
    new: &[u8],
    rights: u32,
    decide: impl Fn(u32, u32) -> Decision,
) -> Decision {
    let judged = |path| match control(image, path, rights) {
        Some(decision) => Err(decision),
        None => state(image, path),
    };
    match (judged(old), judged(new)) {
        (Ok(old), Ok(new)) => decide(old, new),
        (Err(decision), _) | (_, Err(decision)) => decision,
    }
}

/// The automaton's state for a path, or the decision when there is none.
fn state(image: &[u8], path: &[u8]) -> Result<u32, Decision> {
    let walker = Walker::new(image).ok_or(Decision::deny(Reason::TableCorrupt))?;
    if path.len() > PATH_BYTES {
        return Err(files::violation(image, Reason::PathTooLong));
    }
    Ok(walker.walk(image, path))
}

const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn connect_unix(socket: &UnixSocket, tables: &Tables) -> Answer {
    let (object, decision) = match socket {
        UnixSocket::Path(path) => (lossy(&path.0), about_path(tables, &path.0, Right::Socket)),
        UnixSocket::Abstract(name) => (format!("@{}", lossy(name)), about_abstract(tables, name)),
    };
    let answer = Answer::by_tables(Action::Connect, object, decision, tables);
    match decision.verdict {
        Verdict::Allow => answer,
        _ => answer.with_note("a process of the same scope that made it may be connected to"),
    }
}

fn connect(
    Endpoint { host, port }: &Endpoint,
    protocol: Protocol,
    tables: &Tables,
    boundaries: &[Boundary],
) -> Answer {
    let word = word(protocol);
    let action = match protocol {
        Protocol::Tcp => Action::Connect,
        Protocol::Udp => Action::Send,
    };
    match host {
        Host::Address(address) => {
            let decision = about_address(tables, *address, *port, protocol);
            let object = format!("{} {word}", SocketAddr::new(*address, *port));
            let mut answer = Answer::by_tables(action, object, decision, tables);
            if answer.verdict != Verdict::Allow
                && protocol == Protocol::Tcp
                && Address::from(*address).is_loopback()
            {
                answer = answer.with_note(
                    "a process of the same scope that listens there may be \
                                           connected to",
                );
            }
            // An address may belong to a name that a rule has, which only a running scope knows.
            match has_names(boundaries) {
                true => answer.with_note("host names are not looked up here"),
                false => answer,
            }
        }
        Host::Name(name) => {
            let decision = hosts::decide(boundaries, name, *port, protocol);
            let object = format!("{name}:{port} {word}");
            Answer::by_name(action, object, &decision, Reason::EgressViolation, tables)
        }
    }
}

fn has_names(boundaries: &[Boundary]) -> bool {
    let has_names =
        |egress: &Egress| egress.rules.iter().any(|rule| matches!(rule.target, Target::Host(_)));
    boundaries.iter().filter_map(|boundary| boundary.egress.as_ref()).any(has_names)
}

fn about_capability(image: &[u8], capability: Capability) -> Answer {
    let name = capability.name();
    if !guard::is_forbidden_capability(capability.0) {
        return Answer::fixed(Action::Capability, name, Decision::ALLOW, NOT_GOVERNED);
    }
    let decision = guard::decide(image, Action::Capability);
    Answer::fixed(Action::Capability, name, decision, NO_RULE_ALLOWS)
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
