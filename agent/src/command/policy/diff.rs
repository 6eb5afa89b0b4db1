//! `ringfence policy diff`: what one policy allows and another does not, found on the tables.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};

use ringfence_common::{Right, egress::Protocol, event::PATH_BYTES};
use ringfence_policy::{
    compare::{self, Answer, Change, Comparison, Difference, Side, Subject},
    diagnostic::visible,
};
use serde_json::{Value, json};

use super::{DiffArguments, Format, NO, Policies, PolicyFiles};

/// Prints every difference. The exit code is 0 when there is none and everything was compared.
pub(super) fn run(arguments: &DiffArguments) -> anyhow::Result<ExitCode> {
    let (old, new) = (read(arguments, &arguments.old), read(arguments, &arguments.new));
    let (Some(old_tables), Some(new_tables)) = (&old.tables, &new.tables) else {
        let ours = old.set.findings.iter().filter(|finding| finding.is_error());
        let theirs = new.set.findings.iter().filter(|finding| finding.is_error());
        // What is wrong with a file of both sides is told once.
        for finding in ours.chain(theirs.filter(|finding| !old.set.findings.contains(finding))) {
            tell!("{finding}\n");
        }
        return Ok(ExitCode::from(NO));
    };
    let comparison = compare::differences(
        Side { boundaries: &old.set.boundaries, tables: old_tables },
        Side { boundaries: &new.set.boundaries, tables: new_tables },
    );
    let mut out = io::stdout().lock();
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &in_json(&comparison))?;
            writeln!(out)?;
        }
        Format::Text => {
            let names = [&arguments.old, &arguments.new].map(|path| name(path));
            write!(out, "{}", in_words(&comparison, &names))?;
        }
    }
    out.flush()?;
    if !comparison.is_complete {
        tell!("ringfence: {INCOMPLETE}");
    }
    let is_same = comparison.is_complete && comparison.differences.is_empty();
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

const INCOMPLETE: &str = "THE COMPARISON IS NOT COMPLETE: the policies are too large or differ in \
                          too much. There may be differences that are not told.";

fn read(arguments: &DiffArguments, file: &Path) -> Policies {
    let files = std::iter::once(file.to_owned()).chain(arguments.with.iter().cloned()).collect();
    Policies::read(&PolicyFiles { files, dialect: arguments.dialect })
}

fn name(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

/// One block for each way in which policies differ.
fn in_words(comparison: &Comparison, [old, new]: &[String; 2]) -> String {
    if comparison.differences.is_empty() {
        return match comparison.is_complete {
            true => "no difference: both decide alike about every path, address, and name\n".into(),
            false => "no difference was found\n".into(),
        };
    }
    let blocks = [
        (Change::Widened, format!("{new} allows what {old} does not")),
        (Change::Narrowed, format!("{new} does not allow what {old} does")),
        (Change::Mode, "denied by one and only observed by the other".to_owned()),
    ];
    let mut text = String::new();
    for (change, heading) in blocks {
        let lines = lines(comparison.differences.iter().filter(|one| one.change() == change));
        if !lines.is_empty() {
            let lead = if text.is_empty() { "" } else { "\n" };
            text += &format!("{lead}{heading}: {}\n", lines.len());
            for line in lines {
                let (acts, object) = (line.acts.join(", "), line.object);
                let answers = [line.old, line.new].map(answer_in_words);
                text += &format!("  {acts} {object}: {} → {}\n", answers[0], answers[1]);
            }
        }
    }
    text
}

/// What can be done with one object and is answered alike.
struct Line<'a> {
    acts: Vec<&'static str>,
    object: String,
    old: &'a Answer,
    new: &'a Answer,
}

fn lines<'a>(differences: impl Iterator<Item = &'a Difference>) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for Difference { subject, old, new } in differences {
        let (act, object) = in_two_words(subject);
        let place = |answer: &'a Answer| (answer.verdict as u8, answer.rule.as_ref());
        let places = [place(old), place(new)]
            .map(|(verdict, rule)| (verdict, rule.map(|rule| (&rule.place, &rule.text))));
        let at = *known.entry((object.clone(), places)).or_insert_with(|| {
            lines.push(Line { acts: Vec::new(), object, old, new });
            lines.len() - 1
        });
        lines[at].acts.push(act);
    }
    lines
}

/// The act and its object.
fn in_two_words(subject: &Subject) -> (&'static str, String) {
    let of_path = |path: &[u8]| visible(&String::from_utf8_lossy(path));
    match subject {
        Subject::Path { right, path } => (act(*right), of_path(path)),
        Subject::FirstProgram { path } => {
            ("exec", format!("{} as the first program", of_path(path)))
        }
        Subject::LongPath { right } => {
            (act(*right), format!("any path of more than {PATH_BYTES} bytes"))
        }
        Subject::Address { address, port, protocol } => {
            (connect(*protocol), SocketAddr::new(*address, *port).to_string())
        }
        Subject::AbstractSocket { name } => (act(Right::Socket), format!("@{}", of_path(name))),
        Subject::Serve { port, protocol } => {
            let act = match protocol {
                Protocol::Tcp => "listen (tcp)",
                Protocol::Udp => "listen (udp)",
            };
            (act, format!("on port {port} for others than the scope"))
        }
        Subject::Host { name, port, protocol } => (connect(*protocol), format!("{name}:{port}")),
        Subject::Lookup { name } => ("resolve", name.clone()),
        Subject::ExecAfterStart => (Right::Exec.name(), "any program after the first".into()),
        Subject::ExecAnonymous => (Right::Exec.name(), "anonymous memory".into()),
        Subject::Ring => ("uring", "any io_uring".into()),
        Subject::OtherSocket => ("socket", "of any kind that no policy lists".into()),
        Subject::Guard => {
            ("any act", "against the boundary itself (mounts, processes outside, …)".into())
        }
    }
}

const fn act(right: Right) -> &'static str {
    match right {
        Right::Socket => "connect (unix)",
        right => right.name(),
    }
}

fn connect(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "connect (tcp)",
        Protocol::Udp => "send (udp)",
    }
}

fn answer_in_words(answer: &Answer) -> String {
    let verdict = answer.verdict.name();
    match &answer.rule {
        Some(rule) => {
            format!("{verdict} ({}: {})", visible(&rule.place.to_string()), visible(&rule.text))
        }
        None => verdict.to_owned(),
    }
}

/// An object with `is_complete` and the list of `differences`.
fn in_json(comparison: &Comparison) -> Value {
    let differences = comparison.differences.iter().map(|one| {
        let mut value = subject_in_json(&one.subject);
        value["change"] = match one.change() {
            Change::Widened => "widened",
            Change::Narrowed => "narrowed",
            Change::Mode => "mode",
        }
        .into();
        value["old"] = answer_in_json(&one.old);
        value["new"] = answer_in_json(&one.new);
        value
    });
    let differences: Vec<Value> = differences.collect();
    json!({ "is_complete": comparison.is_complete, "differences": differences })
}

fn subject_in_json(subject: &Subject) -> Value {
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let protocol_name = |protocol: &Protocol| match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    match subject {
        Subject::Path { right, path } => {
            json!({ "subject": "path", "right": right.name(), "path": text(path) })
        }
        Subject::FirstProgram { path } => json!({ "subject": "first_program", "path": text(path) }),
        Subject::LongPath { right } => json!({ "subject": "long_path", "right": right.name() }),
        Subject::Address { address, port, protocol } => json!({
            "subject": "address", "address": address, "port": port,
            "protocol": protocol_name(protocol),
        }),
        Subject::AbstractSocket { name } => {
            json!({ "subject": "abstract_socket", "name": text(name) })
        }
        Subject::Serve { port, protocol } => json!({
            "subject": "serve", "port": port, "protocol": protocol_name(protocol),
        }),
        Subject::Host { name, port, protocol } => json!({
            "subject": "host", "name": name, "port": port, "protocol": protocol_name(protocol),
        }),
        Subject::Lookup { name } => json!({ "subject": "lookup", "name": name }),
        Subject::ExecAfterStart => json!({ "subject": "exec_after_start" }),
        Subject::ExecAnonymous => json!({ "subject": "exec_anonymous" }),
        Subject::Ring => json!({ "subject": "io_uring" }),
        Subject::OtherSocket => json!({ "subject": "other_socket" }),
        Subject::Guard => json!({ "subject": "guard" }),
    }
}

fn answer_in_json(answer: &Answer) -> Value {
    let mut value = json!({ "verdict": answer.verdict.name() });
    if let Some(rule) = &answer.rule {
        value["file"] = (&*rule.place.file).into();
        value["line"] = rule.place.line.into();
        value["rule"] = rule.text.as_str().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_common::Verdict;
    use ringfence_policy::{Place, compile::RuleInfo};

    fn answer(verdict: Verdict, line: u32) -> Answer {
        let place = Place { file: "a.yaml".into(), line, column: 1 };
        let text = format!("rule {line}");
        Answer { verdict, rule: Some(RuleInfo { place, text, is_default: false }), content: None }
    }

    fn path(right: Right, path: &str, old: Verdict, new: Verdict) -> Difference {
        let subject = Subject::Path { right, path: path.into() };
        Difference { subject, old: answer(old, 1), new: answer(new, 2) }
    }

    fn told(differences: Vec<Difference>, is_complete: bool) -> String {
        let names = ["A".to_owned(), "B".to_owned()];
        in_words(&Comparison { differences, is_complete }, &names)
    }

    #[test]
    fn what_is_new_stands_first_and_acts_that_are_answered_alike_stand_together() {
        use Verdict::{Allow, Deny, Observe};
        let text = told(
            vec![
                path(Right::Read, "/n", Allow, Deny),
                path(Right::Write, "/w", Deny, Allow),
                path(Right::Create, "/w", Deny, Allow),
                path(Right::Create, "/m", Deny, Observe),
            ],
            true,
        );
        let expected = "\
B allows what A does not: 1
  write, create /w: deny (a.yaml:1: rule 1) → allow (a.yaml:2: rule 2)

B does not allow what A does: 1
  read /n: allow (a.yaml:1: rule 1) → deny (a.yaml:2: rule 2)

denied by one and only observed by the other: 1
  create /m: deny (a.yaml:1: rule 1) → observe (a.yaml:2: rule 2)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn only_a_complete_comparison_says_that_nothing_differs() {
        let all = "no difference: both decide alike about every path, address, and name\n";
        assert_eq!(told(Vec::new(), true), all);
        assert_eq!(told(Vec::new(), false), "no difference was found\n");
    }

    #[test]
    fn programs_are_told_the_act_and_both_answers() {
        let one = path(Right::Read, "/w", Verdict::Deny, Verdict::Allow);
        let value = in_json(&Comparison { differences: vec![one], is_complete: true });
        let answer = |verdict, line, rule| json!({ "verdict": verdict, "file": "a.yaml", "line": line, "rule": rule });
        let expected = json!({ "is_complete": true, "differences": [{
            "subject": "path", "right": "read", "path": "/w", "change": "widened",
            "old": answer("deny", 1, "rule 1"), "new": answer("allow", 2, "rule 2"),
        }] });
        assert_eq!(value, expected);
    }
}
