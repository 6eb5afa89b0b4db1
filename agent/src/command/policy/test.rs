//! `ringfence policy test`: the decision that the kernel would take, by the code and the tables
//! that the kernel runs.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use ringfence_common::{Action, Decision, Reason, Right, Verdict, egress::Protocol};
use ringfence_policy::{
    Boundary,
    boundary::{Egress, Target},
    compile::Tables,
    diagnostic::visible,
    hosts::{self, HostDecision},
    question::{about_address, about_path},
};

use super::{
    NO, Policies, TestArguments,
    question::{Endpoint, Host, Question},
};

/// Prints the answer in one line: verdict, act, object, reason, and the rule.
pub(super) fn run(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let policies = Policies::read(&arguments.policies);
    let Some(tables) = &policies.tables else {
        for finding in policies.findings.iter().filter(|finding| finding.is_error()) {
            tell!("{finding}\n");
        }
        return Ok(ExitCode::from(NO));
    };
    let protocol = if arguments.udp { Protocol::Udp } else { Protocol::Tcp };
    let answer = answer(&arguments.question, protocol, tables, &policies.boundaries());
    let mut out = io::stdout().lock();
    writeln!(out, "{}", answer.text)?;
    out.flush()?;
    Ok(if answer.verdict == Verdict::Deny { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

struct Answer {
    verdict: Verdict,
    text: String,
}

fn answer(
    question: &Question,
    protocol: Protocol,
    tables: &Tables,
    boundaries: &[Boundary],
) -> Answer {
    let paths = [
        (&question.read, Action::Read, Right::Read),
        (&question.write, Action::Write, Right::Write),
        (&question.exec, Action::Exec, Right::Exec),
    ];
    for (path, action, right) in paths {
        if let Some(path) = path {
            let decision = about_path(tables, &path.0, right);
            let object = visible(&String::from_utf8_lossy(&path.0));
            return by_tables(action, &object, decision, tables, "");
        }
    }
    if let Some(Endpoint { host, port }) = &question.connect {
        let (word, action) = match protocol {
            Protocol::Tcp => ("tcp", Action::Connect),
            Protocol::Udp => ("udp", Action::Send),
        };
        return match host {
            Host::Address(address) => {
                let decision = about_address(tables, *address, *port, protocol);
                let object = format!("{} {word}", std::net::SocketAddr::new(*address, *port));
                by_tables(action, &object, decision, tables, names_not_looked_up(boundaries))
            }
            Host::Name(name) => {
                let decision = hosts::decide(boundaries, name, *port, protocol);
                let object = format!("{}:{port} {word}", visible(name));
                by_name(action, &object, &decision, Reason::EgressViolation, tables)
            }
        };
    }
    let name = question.resolve.as_deref().unwrap_or_default();
    let decision = hosts::decide_lookup(boundaries, name);
    by_name(Action::Resolve, &visible(name), &decision, Reason::UnlistedName, tables)
}

fn by_tables(
    action: Action,
    object: &str,
    decision: Decision,
    tables: &Tables,
    note: &str,
) -> Answer {
    let Decision { verdict, reason, .. } = decision;
    let rule = match tables.rule(decision.rule) {
        Some(rule) => format!("{}: {}", visible(&rule.place.to_string()), visible(&rule.text)),
        None if verdict == Verdict::Allow => "not governed".to_owned(),
        None => "no rule decides".to_owned(),
    };
    sentence(verdict, action, object, reason, &format!("{rule}{note}"))
}

fn by_name(
    action: Action,
    object: &str,
    decision: &HostDecision,
    reason: Reason,
    tables: &Tables,
) -> Answer {
    let rule = match &decision.place {
        None => "not governed".to_owned(),
        Some(place) => {
            let text = tables.rules.iter().find(|rule| rule.place == *place);
            let text = text.map_or("", |rule| rule.text.as_str());
            format!("{}: {}", visible(&place.to_string()), visible(text))
        }
    };
    sentence(decision.verdict, action, object, reason, &rule)
}

fn sentence(verdict: Verdict, action: Action, object: &str, reason: Reason, rule: &str) -> Answer {
    let (word, act) = (verdict.name(), action.name());
    let text = match verdict {
        Verdict::Allow => format!("{word} {act} {object} ({rule})"),
        Verdict::Deny => format!("{word} {act} {object}: {} ({rule})", reason.name()),
        Verdict::Observe => {
            let reason = reason.name();
            format!("{word} {act} {object}: {reason}; allowed, and denied once enforced ({rule})")
        }
    };
    Answer { verdict, text }
}

/// An address may belong to a name that a rule has, which only a running scope knows.
fn names_not_looked_up(boundaries: &[Boundary]) -> &'static str {
    let has_names =
        |egress: &Egress| egress.rules.iter().any(|rule| matches!(rule.target, Target::Host(_)));
    match boundaries.iter().filter_map(|boundary| boundary.egress.as_ref()).any(has_names) {
        true => "; host names are not looked up here",
        false => "",
    }
}
