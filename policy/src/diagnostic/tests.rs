//! How findings look.

use super::*;

fn place(line: u32, column: u32) -> Place {
    Place { file: "coder.yaml".into(), line, column }
}

#[test]
fn a_finding_shows_its_line_and_underlines_what_it_is_about() {
    let finding = Diagnostic::error(code::UNKNOWN_KEY, place(2, 3), 6, "unknown key `tennat`")
        .with_help("did you mean `tenant`?")
        .with_line_of("# a policy\n  tennat: x\n");
    let expected = "\
error[RF0101]: unknown key `tennat`
 --> coder.yaml:2:3
  |
2 |   tennat: x
  |   ^^^^^^
  |
  = help: did you mean `tenant`?";
    assert_eq!(finding.to_string(), expected);
}

#[test]
fn a_finding_about_the_whole_file_shows_no_line() {
    let finding = Diagnostic::error(code::UNREADABLE, place(0, 0), 0, "no such file");
    assert_eq!(finding.to_string(), "error[RF0001]: no such file\n --> coder.yaml");
}

#[test]
fn a_tab_keeps_the_underline_below_its_text() {
    let finding = Diagnostic::warning(code::SYNTAX, place(1, 2), 1, "x").with_line_of("\tb: 1");
    assert!(finding.to_string().ends_with("\n1 | \tb: 1\n  | \t^"), "{finding}");
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let line = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
    let finding = Diagnostic::error(code::SYNTAX, place(1, 5001), 1, "x").with_line_of(&line);
    let text = finding.to_string();
    let shown = text.lines().nth(3).unwrap().trim_start_matches("1 | ");
    let underline = text.lines().nth(4).unwrap().trim_start_matches("  | ");
    assert!(shown.chars().count() < 200);
    assert_eq!(shown.chars().nth(underline.chars().count() - 1), Some('X'));
}

#[test]
fn nothing_in_a_document_reaches_the_terminal_as_a_command() {
    let line = "key: \u{1b}[2J\u{202e}evil\u{7}";
    let finding = Diagnostic::error(code::SYNTAX, place(1, 6), 3, quoted("\u{1b}[2J"))
        .with_line_of(line)
        .with_help("\u{1b}]0;title\u{7}");
    assert!(!finding.to_string().contains(['\u{1b}', '\u{7}', '\u{202e}']));
}
