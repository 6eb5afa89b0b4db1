//! An answer, and how it is printed.

use std::fmt;

use ringfence_common::{Action, Decision, Reason, Verdict};
use ringfence_policy::{
    compile::{RuleInfo, Tables},
    diagnostic::visible,
    hosts::HostDecision,
};
use serde::Serialize;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) action: Action,
    /// What the act is about; empty where the act says it all.
    pub(super) object: String,
    /// The second name of a rename or link.
    pub(super) new: Option<String>,
    pub(super) reason: Reason,
    /// The rule that decides.
    pub(super) rule: Option<Rule>,
    /// What else is to be said about the decision.
    pub(super) notes: Vec<&'static str>,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) text: String,
}

impl Rule {
    fn of(info: &RuleInfo) -> Self {
        Self { file: info.place.file.to_string(), line: info.place.line, text: info.text.clone() }
    }
}

impl Answer {
    /// A decision that the tables took.
    pub(super) fn by_tables(
        action: Action,
        object: impl Into<String>,
        decision: Decision,
        tables: &Tables,
    ) -> Self {
        let Decision { verdict, reason, rule } = decision;
        let rule = tables.rule(rule).map(Rule::of);
        let answer = Self::of(verdict, action, object, reason);
        match (&rule, verdict) {
            (Some(_), _) => Self { rule, ..answer },
            (None, Verdict::Allow) => answer.with_note("not governed"),
            (None, _) => answer.with_note("no rule decides"),
        }
    }

    /// A decision that the rules about names took.
    pub(super) fn by_name(
        action: Action,
        object: impl Into<String>,
        decision: &HostDecision,
        reason: Reason,
        tables: &Tables,
    ) -> Self {
        let reason = if decision.verdict == Verdict::Allow { Reason::None } else { reason };
        let answer = Self::of(decision.verdict, action, object, reason);
        let Some(place) = &decision.place else { return answer.with_note("not governed") };
        let info = tables.rules.iter().find(|rule| rule.place == *place);
        let text = info.map_or(String::new(), |rule| rule.text.clone());
        let rule = Rule { file: place.file.to_string(), line: place.line, text };
        Self { rule: Some(rule), ..answer }
    }

    /// A decision that no rule can change.
    pub(super) fn fixed(
        action: Action,
        object: impl Into<String>,
        decision: Decision,
        note: &'static str,
    ) -> Self {
        Self::of(decision.verdict, action, object, decision.reason).with_note(note)
    }

    fn of(verdict: Verdict, action: Action, object: impl Into<String>, reason: Reason) -> Self {
        let object = object.into();
        Self { verdict, action, object, new: None, reason, rule: None, notes: Vec::new() }
    }

    /// The same answer with a second name.
    pub(super) fn with_new(self, new: String) -> Self {
        Self { new: Some(new), ..self }
    }

    /// The same answer with one thing more to say.
    pub(super) fn with_note(mut self, note: &'static str) -> Self {
        self.notes.push(note);
        self
    }

    /// The answer for programs.
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "verdict": self.verdict.name(),
            "action": self.action.name(),
            "object": (!self.object.is_empty()).then_some(&self.object),
            "new": self.new,
            "reason": self.reason.name(),
            "rule": self.rule,
            "note": (!self.notes.is_empty()).then(|| self.notes.join("; ")),
        })
    }
}

/// One line: verdict, act, object, reason, and the rule.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verdict.name(), self.action.name())?;
        if !self.object.is_empty() {
            write!(f, " {}", visible(&self.object))?;
        }
        if let Some(new) = &self.new {
            write!(f, " to {}", visible(new))?;
        }
        match self.verdict {
            Verdict::Allow => {}
            Verdict::Deny => write!(f, ": {}", self.reason.name())?,
            Verdict::Observe => {
                write!(f, ": {}; allowed, and denied once enforced", self.reason.name())?;
            }
        }
        let rule = self.rule.as_ref().map(|Rule { file, line, text }| {
            format!("{}:{line}: {}", visible(file), visible(text))
        });
        let notes = self.notes.iter().map(|note| (*note).to_owned());
        let because: Vec<String> = rule.into_iter().chain(notes).collect();
        write!(f, " ({})", because.join("; "))
    }
}
