//! `cargo xtask docs`: the pages of `docs/` that come from the source.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use lexopt::Arg::Long;

use crate::run;

const USAGE: &str = "\
cargo xtask docs [--check]

Writes the pages of docs/ that come from the source: agent.md, coverage.md, evasions.md.

  --check           write nothing, and fail when a page is not what would be written
";

/// A page that comes from the source.
struct Page {
    /// Its name under `docs/`.
    name: &'static str,
    /// What it holds.
    text: fn() -> String,
}

const PAGES: &[Page] = &[
    Page { name: "agent.md", text: ringfence_policy::configuration::markdown },
    Page { name: "coverage.md", text: ringfence_policy::coverage::markdown },
    Page { name: "evasions.md", text: ringfence_tests::catalogue::markdown },
];

/// `cargo xtask docs`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut is_check = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("check") => is_check = true,
            Long("help") => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if is_check {
        check()?;
    } else {
        for page in PAGES {
            let path = path(page);
            fs::write(&path, (page.text)()).with_context(|| path.display().to_string())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the pages with what would be written.
///
/// # Errors
/// When a page is another, missing, or cannot be read.
pub(crate) fn check() -> Result<()> {
    PAGES.iter().try_for_each(|page| compare(&path(page), &(page.text)()))
}

fn path(page: &Page) -> PathBuf {
    run::root().join("docs").join(page.name)
}

fn compare(path: &Path, expected: &str) -> Result<()> {
    let found = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        found => found.with_context(|| path.display().to_string())?,
    };
    if found == expected {
        return Ok(());
    }
    let same = found.lines().zip(expected.lines()).take_while(|(found, new)| found == new).count();
    let (path, line) = (path.display(), same + 1);
    bail!("{path} is stale from line {line} on; run `cargo xtask docs`")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ringfence_tests::catalogue::{End, FAMILIES, Kernel};

    use super::*;

    /// The tests in virtual machines are made from the table, a family each: an entry without a
    /// test cannot be written. What is left to check is that each says something.
    #[test]
    fn every_evasion_is_tried_has_a_test_of_its_own_family_and_says_what_closes_it() {
        let mut tests = BTreeSet::new();
        let mut ways = BTreeSet::new();
        for family in FAMILIES {
            assert!(tests.insert(family.test), "two families have the test {}", family.test);
            let file = format!("tests/src/catalogue/{}.rs", family.file);
            assert!(run::root().join(&file).is_file(), "{file}");
            for row in family.rows {
                let way = row.way;
                assert!(ways.insert((family.title, way)), "{way} is there twice");
                assert!(!row.acts.is_empty(), "{way} is not tried");
                let is_open = matches!(row.end, End::Open(_));
                assert_eq!(is_open, row.closed_by.is_empty(), "{way}: what closes it?");
                assert!(row.lacking.len() < Kernel::ALL.len(), "{way} is tried nowhere");
            }
        }
    }

    #[test]
    fn a_stale_or_missing_page_is_told_with_its_line_and_the_remedy() {
        let path = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        let message = |expected| compare(&path, expected).map_err(|error| error.to_string());
        assert!(message("a\nb\n").unwrap_err().contains("stale from line 1"));
        fs::write(&path, "a\nc\n").unwrap();
        let stale = message("a\nb\n").unwrap_err();
        assert!(stale.contains("line 2 on; run `cargo xtask docs`"), "{stale}");
        assert_eq!(message("a\nc\n"), Ok(()));
        fs::remove_file(&path).unwrap();
    }
}
