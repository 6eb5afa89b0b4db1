//! The pages are complete, and their examples are what they say.

use super::*;
use crate::{
    PolicySet, Source, configuration,
    diagnostic::code::{
        NOT_COMPILED, NOT_ENFORCED, NOT_TEXT, SEVERAL_DOCUMENTS, TOO_LARGE, UNREADABLE,
    },
};

/// Codes that no text can show here: of files that are no text, or too much of it.
const NOT_SHOWN: &[&str] = &[UNREADABLE, TOO_LARGE, NOT_TEXT, SEVERAL_DOCUMENTS, NOT_ENFORCED];

/// Codes as the module `code` declares them, by its own text, so that none can be forgotten here.
fn declared() -> Vec<&'static str> {
    let constants = include_str!("../code.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const "));
    let code = |line: &'static str| line.split('"').nth(1);
    constants.map(|line| code(line).unwrap_or_else(|| panic!("no code in {line}"))).collect()
}

/// All findings about an example of a page, up to its tables, and whether any is an error.
fn read(page: &Page, example: Example) -> (Vec<&'static str>, bool) {
    let source = Source::new("example.yaml", example.text);
    if page.code.starts_with("RF06") {
        let findings = configuration::read(&source).diagnostics;
        let has_errors = findings.iter().any(|finding| finding.is_error());
        return (findings.iter().map(|finding| finding.code).collect(), has_errors);
    }
    let set = PolicySet::read([source], example.dialect);
    let mut codes: Vec<&str> = set.findings.iter().map(|finding| finding.code).collect();
    if !set.has_errors() {
        match set.compile(&Default::default()) {
            Ok(tables) => codes.extend(set.idle(&tables).iter().map(|finding| finding.code)),
            Err(_) => codes.push(NOT_COMPILED),
        }
    }
    // A right example is told by its keys, too.
    let source = Source::new("example.yaml", example.text);
    (codes, PolicySet::read([source], None).has_errors())
}

/// Whether both examples are as they should be.
fn holds(page: &Page) -> bool {
    let is_right =
        |(codes, has_errors): (Vec<&str>, bool)| !has_errors && !codes.contains(&page.code);
    page.wrong.is_none_or(|wrong| read(page, wrong).0.contains(&page.code))
        && page.right.is_none_or(|right| is_right(read(page, right)))
}

#[test]
fn every_code_has_one_page_and_the_pages_are_in_order() {
    let codes: Vec<&str> = all().map(|page| page.code).collect();
    assert!(codes.len() > 40);
    assert_eq!(codes, declared());
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
}

#[test]
fn wrong_examples_have_the_finding_and_right_ones_have_not() {
    for page in all() {
        let read = |example| read(page, example);
        let found = || (page.wrong.map(read), page.right.map(read));
        assert!(holds(page), "{}: {:?}", page.code, found());
    }
}

#[test]
fn every_page_has_both_examples_unless_no_text_can_have_the_finding() {
    for page in all() {
        assert_eq!(page.wrong.is_none(), NOT_SHOWN.contains(&page.code), "{}", page.code);
        assert!(page.right.is_some() || page.wrong.is_none(), "{}", page.code);
    }
}

#[test]
fn a_page_is_found_in_any_case_and_a_slip_finds_its_neighbour() {
    assert_eq!(page("rf0203").unwrap().code, "RF0203");
    assert_eq!(page("RF0299"), None);
    assert_eq!(page("0203"), None);
    assert_eq!(nearest("RF0230").unwrap().code, "RF0203");
    assert_eq!(nearest("RF9999"), None);
    assert_eq!(nearest(&"9".repeat(1 << 20)), None);
}

#[test]
fn on_a_terminal_lines_are_short_and_examples_are_indented() {
    for page in all() {
        let shown = page.to_string();
        let too_long = shown.lines().find(|line| line.chars().count() > WIDTH);
        assert_eq!(too_long, None, "{}", page.code);
        assert!(shown.lines().all(|line| line.trim_end() == line), "{shown}");
        assert!(!page.title.ends_with('.') && page.text.ends_with('.'), "{}", page.code);
    }
    let expected = "\
RF0104: A value that is not among those allowed

The key takes one of a few words, and this is none of them. Taking an unknown word for the
default could switch off what was meant to be switched on.

The finding names the word that was most likely meant, or all that there are. Case counts.

Wrong:

    boundary: 1
    mode: enfroce

Right:

    boundary: 1
    mode: enforce";
    assert_eq!(page("RF0104").unwrap().to_string(), expected);
}

#[test]
fn what_stands_in_backquotes_is_not_torn_apart() {
    let long = format!("{} `a b c d` end", "x".repeat(85));
    assert_eq!(wrapped(&long)[1], "`a b c d` end");
}
