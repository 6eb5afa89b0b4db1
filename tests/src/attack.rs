//! An attack is tried three times: without a boundary, where it must succeed or proves nothing;
//! in enforce mode, where it must be refused as expected and recorded; and in observe mode, where
//! it must succeed and be recorded.

mod judge;

use std::{fs, path::Path, process::Command};

pub(crate) use ringfence_tests::catalogue::By;
use ringfence_tests::catalogue::Refusal;

use crate::{
    act::Outcome,
    harness::{Context, Failure},
    ringfence::{Ended, Run, policy},
};
use judge::Judge;

/// A thing to try.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    act: String,
    /// Without a boundary it succeeds, or fails with this error, which comes later than any check.
    control: Option<i32>,
    /// Without a boundary these errors say that the kernel has no such thing.
    lacking: Vec<i32>,
    /// This kernel cannot have it, so that it must fail without a boundary.
    is_impossible: bool,
    refusal: Option<Refusal>,
}

/// A thing that must go on working. The act is a line for `act`, in which `{work}`, `{out}`, …
/// are folders of this case alone.
pub(crate) fn works(act: impl Into<String>) -> Case {
    Case {
        act: act.into(),
        control: None,
        lacking: Vec::new(),
        is_impossible: false,
        refusal: None,
    }
}

/// A thing that must be refused, with an event of this action and reason. Several are separated
/// by `|`; where there is no action, there is no event.
pub(crate) fn refused(
    act: impl Into<String>,
    errno: i32,
    actions: &'static str,
    reasons: &'static str,
    by: By,
) -> Case {
    let (errno, always) = (Some(errno), false);
    as_refused(act, Refusal { errno, actions, reasons, by, shows: None, always })
}

/// A thing that must be refused in this way.
pub(crate) fn as_refused(act: impl Into<String>, refusal: Refusal) -> Case {
    Case { refusal: Some(refusal), ..works(act) }
}

impl Case {
    /// The same, and it must go on working.
    pub(crate) fn unrefused(&self) -> Self {
        Self { refusal: None, ..self.clone() }
    }

    /// However it fails.
    pub(crate) fn somehow(mut self) -> Self {
        if let Some(refusal) = &mut self.refusal {
            refusal.errno = None;
        }
        self
    }

    /// The event's object has this text in it.
    pub(crate) fn shows(mut self, text: &'static str) -> Self {
        if let Some(refusal) = &mut self.refusal {
            refusal.shows = Some(text);
        }
        self
    }

    /// Without a boundary it fails with this error.
    pub(crate) const fn control(mut self, errno: i32) -> Self {
        self.control = Some(errno);
        self
    }

    /// Skipped where the kernel has no such thing.
    pub(crate) fn unless_lacking(mut self, errors: &[i32]) -> Self {
        self.lacking = errors.to_vec();
        self
    }

    /// This kernel cannot have it.
    pub(crate) const fn impossible(mut self) -> Self {
        self.is_impossible = true;
        self
    }

    fn succeeds(&self, outcome: &Outcome) -> bool {
        match (self.control, outcome) {
            (None, Outcome::Done(_)) => true,
            (Some(expected), Outcome::Errno(errno)) => expected == *errno,
            _ => false,
        }
    }
}

/// What is tried, and under which policy.
pub(crate) struct Attack<'a> {
    /// The text of the policy, in which `{room}` is the folder above those of the cases.
    pub(crate) policy: &'a str,
    /// Puts into the folder of a case what it needs.
    pub(crate) prepare: fn(&Path) -> std::io::Result<()>,
    /// Whether to try in observe mode too.
    pub(crate) observe: bool,
}

/// What came of all cases.
pub(crate) struct Tried {
    /// What is wrong, with the number of the case.
    pub(crate) problems: Vec<(usize, String)>,
    /// What may explain it.
    summary: String,
}

impl Attack<'_> {
    /// Tries each case.
    ///
    /// # Errors
    ///
    /// When anything comes out otherwise than expected.
    pub(crate) fn run(&self, context: &mut Context, cases: &[Case]) -> Result<(), Failure> {
        self.try_all(context, cases)?.result()
    }

    /// Tries each case, and gives what is wrong.
    ///
    /// # Errors
    ///
    /// When not all could be tried.
    pub(crate) fn try_all(&self, context: &mut Context, cases: &[Case]) -> Result<Tried, Failure> {
        let text = self.policy.replace("{room}", &context.room.to_string_lossy());
        let file = policy(context, "policy.yaml", &text)?;
        let mut judge = Judge { policy: &text, problems: Vec::new() };

        let acts = self.prepare(context, "case", cases)?;
        let control = Run::acts(context, &acts, false).free().end()?;
        let control = control.reports(acts.len())?;
        unmount_all(&context.room);
        let mut possible = Vec::new();
        for (number, (case, report)) in cases.iter().zip(control).enumerate() {
            let lacking = matches!(report.outcome, Outcome::Errno(n) if case.lacking.contains(&n));
            let mut problem = |what: &str| {
                let act = judge::words_of(&acts[number]);
                judge.problems.push((number, format!("{act}: {what} {}", report.outcome)));
            };
            if case.is_impossible {
                if case.succeeds(&report.outcome) {
                    problem("said to be lacking here, and without ringfence there is");
                }
            } else if case.succeeds(&report.outcome) {
                possible.push((number, case.clone()));
            } else if lacking {
                context.skip(&case.act, format!("without ringfence: {}", report.outcome));
            } else {
                problem("proves nothing, since without ringfence there is");
            }
        }

        // Both at a time: a run spends much of its time waiting for the kernel.
        let (numbers, possible): (Vec<_>, Vec<_>) = possible.into_iter().unzip();
        let acts = self.prepare(context, "case", &possible)?;
        let enforcing = Run::acts(context, &acts, false).policy(&file).start()?;
        let mut observing = None;
        if self.observe {
            let acts = self.prepare(context, "seen", &possible)?;
            let run = Run::acts(context, &acts, false).policy(&file).observing().start()?;
            observing = Some((acts, run));
        }
        let ended = enforcing.end()?;
        let observed = observing.map(|(acts, run)| run.end().map(|ended| (acts, ended)));
        let told = judge.problems.len();
        judge.all("enforce", "case", &possible, &acts, &ended)?;
        if let Some((acts, ended)) = observed.transpose()? {
            judge.all("observe", "seen", &possible, &acts, &ended)?;
        }
        for (number, _) in &mut judge.problems[told..] {
            *number = numbers[*number];
        }
        unmount_all(&context.room);
        Ok(Tried { problems: judge.problems, summary: ended_summary(&ended) })
    }

    /// Makes the folders of all cases anew, and gives the acts with their names filled in.
    fn prepare(
        &self,
        context: &Context,
        prefix: &str,
        cases: &[Case],
    ) -> Result<Vec<String>, Failure> {
        unmount_all(&context.room);
        let mut acts = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let base = context.room.join(format!("{prefix}{number}"));
            if base.exists() {
                fs::remove_dir_all(&base)?;
            }
            fs::create_dir_all(&base)?;
            (self.prepare)(&base)?;
            let mut act = case.act.replace("{room}", &context.room.to_string_lossy());
            for name in ["work", "out", "ro", "base"] {
                let folder = if name == "base" { base.clone() } else { base.join(name) };
                act = act.replace(&format!("{{{name}}}"), &folder.to_string_lossy());
            }
            acts.push(act);
        }
        Ok(acts)
    }
}

impl Tried {
    /// Fails when anything is wrong.
    pub(crate) fn result(self) -> Result<(), Failure> {
        let problems = self.problems.into_iter().map(|(_, problem)| problem).collect();
        Failure::of_all(problems).map_err(|failure| failure.with(self.summary))
    }
}

/// Removes what acts have mounted in the folders of cases.
fn unmount_all(room: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = ["case", "seen"].map(|prefix| room.join(prefix).display().to_string());
    for place in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if below.iter().any(|prefix| place.starts_with(prefix)) {
            // What does not go shows when the folder is removed.
            let _ = Command::new("umount").arg(place).status();
        }
    }
}

fn ended_summary(ended: &Ended) -> String {
    let lost = ended.events.iter().filter(|event| event.get("lost").is_some());
    format!("({} events, {} of them tell of lost ones)", ended.events.len(), lost.count())
}
