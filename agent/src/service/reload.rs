//! Another configuration and other policies in place of those in force, as a whole or not at all.

use std::{pin::pin, time::SystemTime};

use anyhow::{Result, bail};

use super::{
    ROUND, Service,
    containers::Containers,
    governed::{Governed, Left},
    metrics::{self, Outcome, Outcomes},
    notify, own_files,
    plan::Plan,
    watcher::Watcher,
};
use crate::{kernel::programs::Programs, scopes::Ownership};

impl Service {
    /// Reloads without anybody who waits for the answer.
    pub(super) async fn reload_by_itself(&mut self, watcher: &mut Watcher) {
        match self.reload(watcher).await {
            Ok(report) => tell!("ringfence: {report}"),
            Err(lines) => lines.iter().for_each(|line| tell!("{line}")),
        }
    }

    /// Reads everything anew and puts it in force. Where anything is wrong, nothing changes.
    pub(super) async fn reload(&mut self, watcher: &mut Watcher) -> Result<String, Vec<String>> {
        notify::reloading();
        let begun = SystemTime::now();
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (mut lines, mut outcomes) = (Vec::new(), Outcomes::new());
            let plan = Plan::read(&file, &mut |line| lines.push(line), &mut |name| {
                outcomes.insert(name.to_owned(), Outcome::Failed);
            });
            (plan, lines, outcomes)
        });
        let mut read = pin!(read);
        let mut rounds = tokio::time::interval(ROUND);
        let read = loop {
            tokio::select! {
                read = &mut read => break read,
                // Name servers may keep it waiting for long.
                _ = rounds.tick() => notify::alive(),
            }
        };
        let (plan, mut lines, mut outcomes) = match read {
            Ok(read) => read,
            Err(error) => (Err(error.into()), Vec::new(), Outcomes::new()),
        };
        let files = plan.as_ref().map(Plan::files).unwrap_or_default();
        let result = match plan {
            Ok(plan) => self.apply(plan, &mut outcomes).await,
            Err(error) => Err(error),
        };
        self.board.show(&self.scopes);
        self.board.count_reload(outcomes, result.is_err());
        let files = [files, self.files()].concat();
        watcher.watch(&self.file, &files);
        watcher.look_back(begun, &[files, vec![self.file.clone()]].concat());
        notify::ready();
        match result {
            Ok(changed) => {
                self.reloads.0 += 1;
                self.problem = None;
                lines.push(format!("reloaded: {changed}"));
                Ok(lines.join("\n"))
            }
            Err(error) => {
                self.reloads.1 += 1;
                let problem = format!("{error:#}");
                lines.push(format!("ringfence: not reloaded, what was in force is: {problem}"));
                self.problem = Some(problem);
                Err(lines)
            }
        }
    }

    /// Puts a plan in force in place of the one before; says what changed.
    async fn apply(&mut self, plan: Plan, outcomes: &mut Outcomes) -> Result<String> {
        let Plan { configuration, selectors, scopes, containers } = plan;
        for prepared in &scopes {
            let room = self.set.image_bytes() as usize;
            if prepared.image_bytes() > room || selectors.image.len() > room {
                if prepared.image_bytes() > room {
                    outcomes.insert(prepared.rule.name.clone(), Outcome::Failed);
                }
                bail!(
                    "scope `{}` needs more room than the {room} bytes that were set aside: \
                     restart the agent, nothing is ungoverned meanwhile",
                    prepared.rule.name
                );
            }
        }
        for (field, is_other) in [
            ("events", configuration.events != self.configuration.events),
            ("control", configuration.control != self.configuration.control),
        ] {
            if is_other {
                bail!(
                    "`{field}` is another place now: restart the agent, nothing is ungoverned \
                     meanwhile"
                );
            }
        }
        let is_elsewhere = configuration.metrics != self.configuration.metrics;
        let listener = is_elsewhere.then(|| metrics::bind(configuration.metrics.as_ref()));
        let listener = listener.transpose()?;
        let containers = match containers {
            Some(planned) => Some(Containers::next(planned, self.containers.as_ref()).await?),
            None => None,
        };
        self.selection.keep_own(&own_files::of(&self.file, &configuration))?;
        let _machine = Ownership::of_machine()?;
        let names: Vec<String> = self.scopes.iter().map(|scope| scope.name.clone()).collect();
        let mut old = std::mem::take(&mut self.scopes);
        let (mut changed, mut failure) = (Vec::new(), None);
        for prepared in scopes {
            let name = prepared.rule.name.clone();
            let at = old.iter().position(|scope| scope.name == name);
            let outcome = match at.map(|at| old.remove(at)) {
                Some(mut scope) => {
                    let replaced = scope.replace(prepared);
                    self.scopes.push(scope);
                    replaced.map(|is_new| is_new.then_some("has a new policy"))
                }
                None => {
                    let (sink, durations) = (self.sink.clone(), self.board.durations());
                    let left = Left::Nothing;
                    let begun = Governed::begin(&self.set, prepared, left, sink, durations);
                    begun.map(|scope| {
                        self.scopes.push(scope);
                        Some("is new")
                    })
                }
            };
            let outcome = match outcome {
                Ok(Some(what)) => {
                    changed.push(format!("`{name}` {what}"));
                    Outcome::Ok
                }
                Ok(None) => Outcome::Unchanged,
                Err(error) => {
                    failure.get_or_insert(error);
                    Outcome::Failed
                }
            };
            outcomes.insert(name, outcome);
        }
        if let Some(error) = failure {
            // What is not named any more stays until all else is well.
            self.scopes.extend(old);
            // The selectors that are in force number them as they were.
            let place = |scope: &Governed| names.iter().position(|name| *name == scope.name);
            self.scopes.sort_by_key(|scope| place(scope).unwrap_or(names.len()));
            // What has new budgets counts the tasks that are there.
            self.selection.ask();
            return Err(error);
        }
        (self.configuration, self.selectors) = (configuration, selectors);
        self.containers = containers.and_then(|next| next.after(self.containers.take()));
        if let Some(listener) = listener {
            self.serve_metrics(listener);
        }
        self.select()?;
        for scope in old {
            changed.push(format!("`{}` is no more", scope.name));
            self.selection.forget(scope.number())?;
            scope.end()?;
        }
        self.selection.keep_no_others()?;
        // Once every task that was counted has been seen to.
        Programs::unload_idle(&self.set)?;
        Ok(if changed.is_empty() { "nothing has changed".to_owned() } else { changed.join(", ") })
    }
}
