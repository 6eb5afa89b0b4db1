//! One event as a line of JSON, as users' scripts read it.

use std::{
    borrow::Cow,
    fs,
    net::Ipv6Addr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
};

use ringfence_common::{
    Action, Reason, Verdict,
    budget::{self, Kind},
    event::{EXE_BYTES, Event, Record},
};
use serde::Serialize;

use super::{Audit, names};
use crate::{budgets::WallClock, names::Lookup, policies::Policy, service::Held};

/// One event.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    ts: String,
    seq: u64,
    scope: &'a str,
    policy: String,
    mode: &'static str,
    pub(super) action: &'static str,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Where no rule decided: the list in which none matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<&'static str>,
    subject: Subject<'a>,
    object: Object<'a>,
}

#[derive(Debug, Serialize)]
struct Subject<'a> {
    pid: u32,
    ppid: u32,
    uid: u32,
    comm: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Cow<'a, str>>,
    cgroup: String,
}

/// What the act was about; what does not apply is left out.
#[derive(Debug, Default, Serialize)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_path: Option<Cow<'a, str>>,
    /// The name that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    /// The type of record that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<Cow<'static, str>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// The budget that is spent or nearly so, how much of it is used, and how much there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

impl Line<'_> {
    /// The line.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The act and its rule, for people.
    pub(super) fn in_words(&self) -> String {
        let object = &self.object;
        let mut words = self.action.to_owned();
        for word in [&object.host, &object.path, &object.capability, &object.family] {
            words.extend(word.iter().flat_map(|word| [" ", word]));
        }
        if let Some(path) = &object.new_path {
            words.extend([" to ", path]);
        }
        if let (Some(address), Some(port)) = (&object.address, object.port) {
            words.push_str(&format!(" {address} port {port}"));
        }
        if let (Some(budget), Some(used), Some(limit)) = (object.budget, object.used, object.limit)
        {
            words.push_str(&format!(" {budget} {used} of {limit}"));
        }
        let rule = self.rule.as_ref().or(self.default.as_ref());
        let by = rule.map_or_else(String::new, |place| format!(", {place}"));
        format!("{words} ({}{by})", self.reason)
    }
}

/// Makes the line of a record, which was decided by a policy; `None` for one that is not known.
pub(super) fn line<'a>(
    record: &Record<'a>,
    audit: &'a Audit,
    policy: Option<&'a Policy>,
    seq: u64,
) -> Line<'a> {
    let event = record.event;
    let action = Action::from_number(event.action);
    let rule = policy.and_then(|policy| policy.tables.rule(event.rule));
    let place = |is_default| {
        rule.filter(|rule| rule.is_default == is_default).map(|rule| rule.place.to_string())
    };
    let is_observed = event.verdict == Verdict::Observe as u8;
    Line {
        ts: audit.clock.wall(event.time),
        seq,
        scope: &audit.scope,
        policy: hash(policy),
        mode: if is_observed { "observe" } else { "enforce" },
        action: action.map_or("unknown", Action::name),
        verdict: match event.verdict {
            0 => Verdict::Allow.name(),
            1 => Verdict::Observe.name(),
            _ => Verdict::Deny.name(),
        },
        reason: Reason::from_number(event.reason).map_or("unknown", Reason::name),
        rule: place(false),
        default: place(true),
        errno: names::errno(event.errno),
        subject: subject(record, audit),
        object: object(record, action),
    }
}

/// Makes the line of a decision of the resolver. Where the name came to an address that was not
/// told, the object has this one, else the server that was asked.
pub(super) fn line_of_lookup<'a>(lookup: &'a Lookup, audit: &'a Audit, seq: u64) -> Line<'a> {
    let place = |is_default| {
        let place = lookup.place.as_ref().filter(|place| place.1 == is_default);
        place.map(|place| place.0.clone())
    };
    let pid = lookup.asker.map_or(0, |asker| asker.pid);
    let comm = lookup.asker.as_ref().map_or(&[][..], |asker| &asker.comm);
    let comm = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let server = (lookup.server.ip(), Some(lookup.server.port()));
    let (address, port) = lookup.address.map_or(server, |address| (address, None));
    Line {
        ts: audit.clock.wall_now(),
        seq,
        scope: &audit.scope,
        policy: hash(audit.policy(None)),
        mode: if lookup.verdict == Verdict::Observe { "observe" } else { "enforce" },
        action: Action::Resolve.name(),
        verdict: lookup.verdict.name(),
        reason: lookup.reason,
        rule: place(false),
        default: place(true),
        errno: None,
        subject: Subject {
            pid,
            ppid: 0,
            uid: lookup.asker.map_or(0, |asker| asker.uid),
            comm: text(comm),
            exe: exe_of(pid).map(Cow::Owned),
            cgroup: cgroup_of(pid)
                .or_else(|| audit.cgroup.as_ref().map(|(_, name)| name.clone()))
                .unwrap_or_default(),
        },
        object: Object {
            host: Some(Cow::Borrowed(&lookup.host)),
            record: Some(Cow::Borrowed(&lookup.record)),
            address: Some(address.to_string()),
            port,
            protocol: Some(names::protocol(lookup.protocol.number())),
            ..Object::default()
        },
    }
}

/// Makes the line of a scope's time: `used` milliseconds of it are over.
pub(super) fn line_of_time(clock: WallClock, used: u64, audit: &Audit, seq: u64) -> Line<'_> {
    let verdict = match (used < clock.limit, clock.is_enforced) {
        (true, _) => Verdict::Allow,
        (false, true) => Verdict::Deny,
        (false, false) => Verdict::Observe,
    };
    let policy = audit.policy(None);
    let rule = policy.and_then(|policy| policy.tables.rule(clock.rule));
    Line {
        ts: audit.clock.wall_now(),
        seq,
        scope: &audit.scope,
        policy: hash(policy),
        mode: if clock.is_enforced { "enforce" } else { "observe" },
        action: Action::Budget.name(),
        verdict: verdict.name(),
        reason: Reason::BudgetExceeded.name(),
        rule: rule.map(|rule| rule.place.to_string()),
        default: None,
        errno: None,
        subject: Subject {
            pid: 0,
            ppid: 0,
            uid: 0,
            comm: Cow::Borrowed(""),
            exe: None,
            cgroup: audit.cgroup.as_ref().map_or_else(String::new, |(_, name)| name.clone()),
        },
        object: Object {
            budget: Some(Kind::WallClock.name()),
            used: Some(used),
            limit: Some(clock.limit),
            ..Object::default()
        },
    }
}

/// Why an open file or connection is told: it was open before the policy held for the process.
const OPEN_BEFORE: &str = "open_before";

/// Makes the line of something that a process had open when it came under the scope. Only a
/// connection that was ended was refused.
pub(super) fn line_of_held<'a>(
    process: u32,
    held: &'a Held,
    audit: &'a Audit,
    seq: u64,
) -> Line<'a> {
    let policy = audit.policy(None);
    let (action, decision, ended, object) = match held {
        Held::File { path, right, decision } => {
            let path = Some(text(path.as_os_str().as_bytes()));
            (right.name(), decision, false, Object { path, ..Object::default() })
        }
        Held::Connection { to, ended, decision } => {
            let object = Object {
                address: Some(to.ip().to_string()),
                port: Some(to.port()),
                protocol: Some(Cow::Borrowed("tcp")),
                ..Object::default()
            };
            (Action::Connect.name(), decision, *ended, object)
        }
    };
    let rule = policy.and_then(|policy| policy.tables.rule(decision.rule));
    let place = |is_default| {
        rule.filter(|rule| rule.is_default == is_default).map(|rule| rule.place.to_string())
    };
    let comm = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Line {
        ts: audit.clock.wall_now(),
        seq,
        scope: &audit.scope,
        policy: hash(policy),
        mode: if decision.verdict == Verdict::Observe { "observe" } else { "enforce" },
        action,
        verdict: if ended { Verdict::Deny.name() } else { Verdict::Observe.name() },
        reason: OPEN_BEFORE,
        rule: place(false),
        default: place(true),
        errno: None,
        subject: Subject {
            pid: process,
            ppid: 0,
            uid: fs::metadata(format!("/proc/{process}")).map_or(0, |folder| folder.uid()),
            comm: Cow::Owned(comm.trim_end().to_owned()),
            exe: exe_of(process).map(Cow::Owned),
            cgroup: cgroup_of(process).unwrap_or_default(),
        },
        object,
    }
}

fn hash(policy: Option<&Policy>) -> String {
    policy.map_or_else(String::new, |policy| format!("sha256:{}", policy.sha256))
}

/// The program of a process that is still there.
fn exe_of(process: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{process}/exe")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

fn subject<'a>(record: &Record<'a>, audit: &Audit) -> Subject<'a> {
    let event = record.event;
    let cgroup = match &audit.cgroup {
        Some((id, name)) if *id == event.cgroup => name.clone(),
        _ => cgroup_of(event.pid).unwrap_or_else(|| format!("#{}", event.cgroup)),
    };
    Subject {
        pid: event.pid,
        ppid: event.ppid,
        uid: event.uid,
        comm: text(record.comm()),
        exe: exe(record),
        cgroup,
    }
}

/// The program's path, as the kernel recorded it at exec; of one longer than the record's room
/// its end, with what is missing marked.
fn exe<'a>(record: &Record<'a>) -> Option<Cow<'a, str>> {
    let exe = record.exe();
    if exe.is_empty() {
        return exe_of(record.event.pid).map(Cow::Owned);
    }
    let exe_text = text(exe);
    Some(if exe.len() == EXE_BYTES { Cow::Owned(format!("…{exe_text}")) } else { exe_text })
}

fn cgroup_of(process: u32) -> Option<String> {
    let lines = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    lines.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn object<'a>(record: &Record<'a>, action: Option<Action>) -> Object<'a> {
    let event @ Event { destination: to, .. } = record.event;
    let path = |bytes: &'a [u8]| (!bytes.is_empty()).then(|| text(bytes));
    let mut object =
        Object { path: path(record.path), new_path: path(record.new_path), ..Object::default() };
    match action {
        Some(Action::Socket) => {
            object.family = Some(names::family(to.family));
            object.kind = Some(names::socket_type(to.detail));
            object.protocol = Some(Cow::Owned(to.port.to_string()));
        }
        _ if event.reason == Reason::BudgetExceeded.number()
            && to.family == 0
            && to.detail != 0 =>
        {
            let (used, limit) = budget::from_bytes(to.address);
            object.budget = Kind::from_number(to.detail - 1).map(Kind::name);
            (object.used, object.limit) = (Some(used), Some(limit));
        }
        Some(Action::Capability) => object.capability = Some(names::capability(to.detail)),
        Some(Action::Signal | Action::Ptrace) if to.detail != 0 => object.pid = Some(to.detail),
        _ if to.family != 0 => {
            if event.reason == Reason::UnlistedServerName.number() {
                // The name that the connection's first bytes have.
                object.host = object.path.take();
            }
            let address = Ipv6Addr::from(to.address);
            object.address =
                Some(address.to_ipv4_mapped().map_or(address.to_string(), |v4| v4.to_string()));
            object.port = Some(to.port);
            object.protocol = Some(names::protocol(to.protocol));
        }
        _ => {}
    }
    object
}

/// Bytes as text: what is not UTF-8 is written as `\xNN`.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_are_written_in_hexadecimal() {
        assert_eq!(text(b"/a/b"), "/a/b");
        assert_eq!(text(b"/a\xff\n\xc3\xa4"), "/a\\xff\n\u{e4}");
    }
}
