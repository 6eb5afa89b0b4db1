//! The end of the log of events, where an agent was killed: what it had written and not noted yet,
//! and a line that it had not written to its end.
//!
//! Events of one scope are written, then it is noted how far they are told. So what is not noted is
//! of one scope, and at the end of the newest file.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ringfence_common::scope::Told;
use ringfence_policy::configuration::Events;
use serde_json::Value;

use crate::{clock::Clock, kernel::programs::Programs};

/// Bytes of the end that are read first.
const FIRST: u64 = 1 << 16;

/// The newest file of a log, if there is any.
pub(super) struct Log(Option<PathBuf>);

impl Log {
    /// The log in the place that a configuration names; what of its last line was not written to
    /// its end is taken away.
    pub(super) fn of(events: Option<&Events>) -> Self {
        let newest = match events {
            Some(Events::Folder(folder)) => newest(folder),
            _ => None,
        };
        // Where that cannot be done, opening it for what comes next tells why.
        if let Some(path) = &newest
            && let Ok(mut file) = File::options().read(true).write(true).open(path)
        {
            let _ = mend(&mut file);
        }
        Self(newest)
    }

    /// How far the events of a scope are told: as it was noted, or further.
    ///
    /// # Errors
    ///
    /// When that cannot be read.
    pub(super) fn told(&self, scope: &str, programs: &Programs) -> Result<Told> {
        let noted = programs.told()?;
        let Some(path) = &self.0 else { return Ok(noted) };
        // Before the machine was started anew the numbers were others.
        let since = Clock::now().wall(programs.since()?);
        let told = File::open(path).and_then(|file| told(file, scope, noted, &since));
        told.with_context(|| path.display().to_string())
    }
}

/// The newest file of a folder: their names have the day.
fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "ndjson");
    entries.filter(is_log).max()
}

/// Looks from the end for lines of a scope that are not noted, as long as all are such.
fn told(mut file: File, scope: &str, noted: Told, since: &str) -> io::Result<Told> {
    let length = file.metadata()?.len();
    let mut window = FIRST;
    loop {
        let window_start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(window_start))?;
        let mut bytes = Vec::new();
        (&mut file).take(length - window_start).read_to_end(&mut bytes)?;
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        if window_start > 0 && !lines.is_empty() {
            // Its beginning is elsewhere.
            lines.remove(0);
        }
        let mut told = noted;
        for line in lines.iter().rev() {
            let Some((first, last, is_lost)) = numbers(line, scope, since) else {
                return Ok(told);
            };
            if last <= noted.last {
                return Ok(told);
            }
            told.last = told.last.max(last);
            told.lost += if is_lost { last - first + 1 } else { 0 };
        }
        if window_start == 0 {
            return Ok(told);
        }
        window = window.saturating_mul(4);
    }
}

/// The first and the last number of a line of that scope, and whether it tells of a loss; `None`
/// for any other line.
fn numbers(line: &[u8], scope: &str, since: &str) -> Option<(u64, u64, bool)> {
    let value: Value = serde_json::from_slice(line).ok()?;
    if value.get("scope")?.as_str()? != scope || value.get("ts")?.as_str()? < since {
        return None;
    }
    let first = value.get("seq")?.as_u64()?;
    match value.pointer("/lost/last_seq") {
        Some(last) => Some((first, last.as_u64()?, true)),
        None => Some((first, first, false)),
    }
}

/// Takes away what was written of a last line that has no end: the next would be broken too.
///
/// # Errors
///
/// When the file cannot be changed.
pub(super) fn mend(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(());
    }
    let mut window = FIRST;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut *file).take(length - start).read_to_end(&mut bytes)?;
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => return file.set_len(start + last as u64 + 1),
            None if start == 0 => return file.set_len(0),
            None => window = window.saturating_mul(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        let path = std::env::temp_dir().join(format!(
            "ringfence-log-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::write(&path, text).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
        file
    }

    fn event(scope: &str, seq: u64) -> String {
        format!("{{\"ts\":\"2026-11-22T00:00:00.5Z\",\"seq\":{seq},\"scope\":\"{scope}\"}}\n")
    }

    fn lost(scope: &str, first: u64, last: u64) -> String {
        let lost = format!("{{\"first_seq\":{first},\"last_seq\":{last}}}");
        event(scope, first).replace("}\n", &format!(",\"lost\":{lost}}}\n"))
    }

    const SINCE: &str = "2026-11-22T00:00:00.000000000Z";

    fn found(text: &str, noted: u64) -> (u64, u64) {
        let noted = Told { last: noted, lost: 2 };
        let told = told(file(text), "a", noted, SINCE).unwrap();
        (told.last, told.lost)
    }

    #[test]
    fn what_was_written_and_not_noted_is_found() {
        let text = [event("a", 4), event("b", 9), event("a", 5), lost("a", 6, 8), event("a", 9)];
        assert_eq!(found(&text.concat(), 4), (9, 5));
        assert_eq!(found(&text.concat(), 5), (9, 5));
        assert_eq!(found(&text.concat(), 9), (9, 2));
        assert_eq!(found("", 3), (3, 2));
        assert_eq!(found(&[event("a", 8), event("b", 1)].concat(), 3), (3, 2));
    }

    #[test]
    fn more_than_the_first_look_takes_is_found() {
        let text: String = (1..=5000).map(|seq| event("a", seq)).collect();
        assert!(text.len() as u64 > 3 * FIRST);
        assert_eq!(found(&text, 100), (5000, 2));
        let with_losses = format!("{}{}{text}", event("a", 1), lost("a", 0, 0));
        assert_eq!(found(&with_losses, 0).0, 5000);
    }

    #[test]
    fn numbers_from_before_the_scope_began_are_others() {
        let text = event("a", 7).replace("11-22", "11-21");
        assert_eq!(found(&text, 3), (3, 2));
    }

    #[test]
    fn a_line_without_an_end_is_taken_away() {
        for (before, after) in [
            (String::new(), String::new()),
            ("{\"ts".to_owned(), String::new()),
            (event("a", 1), event("a", 1)),
            (format!("{}{{\"ts", event("a", 1)), event("a", 1)),
            (format!("{}{}", event("a", 1), "x".repeat(200_000)), event("a", 1)),
        ] {
            let mut file = file(&before);
            mend(&mut file).unwrap();
            let mut text = String::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, after);
        }
    }
}
