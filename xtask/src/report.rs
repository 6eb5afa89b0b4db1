//! What tests printed, counted; and the table and the line at the end.

use std::process::ExitCode;

/// The outcome of one suite of tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Suite {
    /// What the table calls it.
    pub(crate) name: String,
    /// How many tests passed.
    pub(crate) passed: usize,
    /// Tests that failed, and why. A suite that broke counts as a failed test.
    pub(crate) failed: Vec<(String, String)>,
    /// Tests that were skipped, and why.
    pub(crate) skipped: Vec<(String, String)>,
}

impl Suite {
    /// A suite in which nothing has run.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Counts a failure of the suite itself.
    pub(crate) fn broke(&mut self, reason: impl Into<String>) {
        self.failed.push(("(the suite itself)".into(), reason.into()));
    }

    fn ran(&self) -> usize {
        self.passed + self.failed.len() + self.skipped.len()
    }
}

/// Reads what `cargo test` printed.
///
/// `ended_well` is whether its exit code was 0: a test program that is killed prints no result.
pub(crate) fn of_libtest(name: &str, output: &str, ended_well: bool) -> Suite {
    let mut suite = Suite::new(name);
    let mut counted = (0, 0);
    for line in output.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |what: &str| count_before(result, what).unwrap_or(0);
            suite.passed += count(" passed");
            counted = (counted.0 + count(" failed"), counted.1 + count(" ignored"));
        } else if let Some((test, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            if outcome.starts_with("FAILED") {
                suite.failed.push((test.into(), "see above".into()));
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.strip_prefix(", ").unwrap_or("no reason given");
                suite.skipped.push((test.into(), reason.into()));
            }
        }
    }
    // A test that prints may cut its own line; the counts stand.
    for (list, count) in [(&mut suite.failed, counted.0), (&mut suite.skipped, counted.1)] {
        while list.len() < count {
            list.push(("(a test)".into(), "see above".into()));
        }
    }
    if !ended_well && suite.failed.is_empty() {
        suite.broke("cargo test failed without a failed test: see above");
    }
    suite
}

/// The number that stands before `what`, as in `12 passed`.
fn count_before(text: &str, what: &str) -> Option<usize> {
    let before = &text[..text.find(what)?];
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Reads what `ringfence-vm-tests` printed, which exited with `code`; `None`: its machine failed,
/// so that only the tests until then count.
///
/// A line a test (`ok NAME`, `FAILED NAME: reason`, `skipped NAME: reason`), and at the end
/// `vm-tests: N passed, N failed, N skipped`. The count is demanded and compared: a run that ended
/// early must not look like a good one.
pub(crate) fn of_vm_tests(name: &str, output: &str, code: Option<u8>) -> Suite {
    let mut suite = Suite::new(name);
    let mut summaries = Vec::new();
    for line in output.lines().map(str::trim_end) {
        let with_reason = |rest: &str| {
            let (test, reason) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
            (test.to_owned(), reason.to_owned())
        };
        if line.strip_prefix("ok ").is_some() {
            suite.passed += 1;
        } else if let Some(rest) = line.strip_prefix("FAILED ") {
            suite.failed.push(with_reason(rest));
        } else if let Some(rest) = line.strip_prefix("skipped ") {
            suite.skipped.push(with_reason(rest));
        } else if let Some(rest) = line.strip_prefix("vm-tests: ") {
            summaries.push(rest);
        }
    }
    let Some(code) = code else { return suite };
    let fits = (code == 0) == suite.failed.is_empty();
    let last = output.lines().map(str::trim_end).rfind(|line| !line.is_empty());
    let counts = format!(
        "{} passed, {} failed, {} skipped",
        suite.passed,
        suite.failed.len(),
        suite.skipped.len()
    );
    match summaries[..] {
        [] => suite.broke("it ended before its last line"),
        [summary] if summary != counts => {
            suite.broke(format!("it says `{summary}`, and printed {counts}"));
        }
        [summary] if last != Some(&format!("vm-tests: {summary}")) => {
            suite.broke("something was printed after its last line");
        }
        [_] if !fits => {
            suite.broke(format!("its exit code is {code}, which does not fit what it printed"));
        }
        [_] => {}
        _ => suite.broke("it printed more than one last line"),
    }
    suite
}

/// Prints the table, what was skipped and what failed, and as the last line the sum.
///
/// Success only when nothing failed, and something ran.
pub(crate) fn conclude(suites: &[Suite]) -> ExitCode {
    print!("{}", render(suites));
    let good = suites.iter().all(|suite| suite.failed.is_empty());
    if good && suites.iter().any(|suite| suite.passed > 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn render(suites: &[Suite]) -> String {
    let mut text = format!("\n{:<16}{:>8}{:>8}{:>8}\n", "suite", "passed", "failed", "skipped");
    for suite in suites {
        let (failed, skipped) = (suite.failed.len(), suite.skipped.len());
        text += &format!("{:<16}{:>8}{failed:>8}{skipped:>8}\n", suite.name, suite.passed);
    }
    for (title, list) in [
        ("skipped", (|suite| &suite.skipped) as fn(&Suite) -> &Vec<(String, String)>),
        ("FAILED", |suite| &suite.failed),
    ] {
        for suite in suites {
            for (test, reason) in list(suite) {
                // A machine's failure comes with its kernel's messages, which were printed then.
                let reason = reason.lines().next().unwrap_or_default();
                text += &format!("{title} {} {test}: {reason}\n", suite.name);
            }
        }
    }
    if suites.iter().all(|suite| suite.ran() == 0) {
        text += "no test ran\n";
    }
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    text += &format!(
        "\nringfence: {} passed, {} failed, {} skipped\n",
        sum(|suite| suite.passed),
        sum(|suite| suite.failed.len()),
        sum(|suite| suite.skipped.len())
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passed, failed, skipped.
    fn counts(suite: &Suite) -> (usize, usize, usize) {
        (suite.passed, suite.failed.len(), suite.skipped.len())
    }

    #[test]
    fn libtest_is_counted() {
        let good = "\
test a::b ... ok
test a::c ... ignored, needs root
test a::d ... ignored
test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.1s
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s
";
        let bad = "\
test a ... FAILED
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s
";
        for (output, ended_well, expected) in [
            ("", true, (0, 0, 0)),
            ("error: could not compile", false, (0, 1, 0)),
            (good, true, (13, 0, 2)),
            // One of the programs was killed, and only the exit code tells.
            (good, false, (13, 1, 2)),
            (bad, false, (3, 2, 0)),
        ] {
            assert_eq!(counts(&of_libtest("x", output, ended_well)), expected, "{output}");
        }
        let skipped = of_libtest("x", good, true).skipped;
        assert_eq!(skipped[0], ("a::c".to_owned(), "needs root".to_owned()));
    }

    #[test]
    fn vm_tests_are_counted_and_their_count_is_compared() {
        let good = "ok a\nskipped b: no such hook\nvm-tests: 1 passed, 0 failed, 1 skipped\n";
        let bad = "ok a\nFAILED b: x: y\n  detail\nvm-tests: 1 passed, 1 failed, 0 skipped\n";
        for (output, code, expected, said) in [
            (good, 0, (1, 0, 1), ""),
            (&good.replace('\n', "\r\n"), 0, (1, 0, 1), ""),
            (bad, 1, (1, 1, 0), ""),
            (good, 1, (1, 1, 1), "exit code is 1"),
            (bad, 0, (1, 2, 0), "exit code is 0"),
            ("ok a\nok b\n", 0, (2, 1, 0), "before its last line"),
            ("", 0, (0, 1, 0), "before its last line"),
            ("ok a\nvm-tests: 2 passed, 0 failed, 0 skipped\n", 0, (1, 1, 0), "it says `2 passed"),
            (&format!("{good}ok c\n"), 0, (2, 1, 1), "it says"),
            (&format!("{good}noise\n"), 0, (1, 1, 1), "after its last line"),
            (&format!("{good}{good}"), 0, (2, 1, 2), "more than one"),
        ] {
            let suite = of_vm_tests("6.1", output, Some(code));
            assert_eq!(counts(&suite), expected, "{output} {code}");
            let reason = suite.failed.last().map_or("", |(_, reason)| reason.as_str());
            assert!(reason.contains(said), "{output} {code}: {reason}");
        }
        assert_eq!(counts(&of_vm_tests("6.1", "ok a\nok b\nok", None)), (2, 0, 0));
        let failed = of_vm_tests("6.1", bad, Some(1)).failed;
        assert_eq!(failed, [("b".to_owned(), "x: y".to_owned())]);
    }

    #[test]
    fn the_last_line_is_the_sum() {
        let suite = of_vm_tests("6.1", "ok a\nvm-tests: 1 passed, 0 failed, 0 skipped\n", Some(0));
        let mut broken = Suite::new("7");
        broken.broke("it was silent\n  and more");
        let text = render(&[suite, broken]);
        assert!(text.ends_with("\nringfence: 1 passed, 1 failed, 0 skipped\n"), "{text}");
        assert!(text.contains("\nFAILED 7 (the suite itself): it was silent\n"), "{text}");
        assert!(text.contains("\n6.1                    1       0       0\n"), "{text}");
        assert!(render(&[]).contains("no test ran"));
    }
}
