//! `docs/evasions.md`.

use std::fmt::Write as _;

use super::{BESIDES_HOOKS, End, FAMILIES, Family, Kernel, NETWORK, Refusal, Row, Tried};

const INTRODUCTION: &str = "\
# Ways out, and what closes them

What an attacker might try from inside a boundary, or what a program might do by accident: each row
is a way out that is known for kernels like these, and what becomes of it.

A row here is a row of the table that the tests run, under `tests/src/catalogue/`; `cargo xtask
docs` writes this page from it, and a test run compares it with the page. On each of the kernels,
in a virtual machine, as root, every row is tried three times:

1. **Without a boundary**, where it must succeed: what fails anyway proves nothing.
2. **In enforce mode**, where it must fail with the error that the row names, and an event must say
   so with this action, this reason, and the right rule.
3. **In observe mode**, where it must succeed, and the event must say that it would have been
   refused; but for those rows that say `always`.

`–` stands where a kernel cannot have the way, with the reason below the table. That is tested too:
the row must fail there without a boundary. A word such as `mount|capability` means that kernels
differ in which of their hooks comes first.
";

/// The page's text.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let rows = || FAMILIES.iter().flat_map(|family| family.rows);
    let acts: usize = rows().map(|row| row.acts.len()).sum();
    let is_closed = |row: &&Row| matches!(row.end, End::Refused(_));
    let (closed, all) = (rows().filter(is_closed).count(), rows().count());
    let _ = writeln!(
        page,
        "\n{all} ways, tried in {acts} variants; {closed} are closed, and [what is not](#what-is-\
         not-closed) stands at the end."
    );
    for family in FAMILIES {
        write_family(&mut page, family);
    }
    write_network(&mut page);
    page.push_str(
        "\n## What is not closed\n\nThe tests hold these to be open, so that this list \
                   is true: one that is closed is moved up.\n",
    );
    for family in FAMILIES {
        for row in family.rows {
            if let End::Open(why) = row.end {
                let _ = writeln!(page, "\n- **{}.** {why} ({})", row.way, place(family));
            }
        }
    }
    page.push_str(
        "\nBesides, what the README lists under \u{201c}What it does not protect against \
                   yet\u{201d}.\n\n## Closed by other means than a hook\n\n",
    );
    for (name, meaning) in BESIDES_HOOKS {
        let _ = writeln!(page, "- `{name}`: {meaning}.");
    }
    page
}

fn write_network(page: &mut String) {
    page.push_str(
        "\n## The network\n\nEach by a test of its own, which makes a network of namespaces or \
         servers on loopback for it, does the same without a boundary first, and runs on every \
         kernel above.\n\n| Way out | Closed by | Test |\n|---|---|---|\n",
    );
    for Tried { way, closed_by, test } in NETWORK {
        let _ = writeln!(page, "| {way} | {closed_by} | *{test}* |");
    }
}

fn place(family: &Family) -> String {
    format!("[`{0}.rs`](../tests/src/catalogue/{0}.rs)", family.file)
}

fn write_family(page: &mut String, family: &Family) {
    let Family { title, test, .. } = family;
    let _ = writeln!(page, "\n## {title}\n\nTest: *{test}* ({}).\n", place(family));
    let kernels = Kernel::ALL.map(heading).join(" | ");
    let _ = writeln!(page, "| Way out | Closed by | Answer | {kernels} |");
    let _ = writeln!(page, "|---|---|---|{}", "---|".repeat(Kernel::ALL.len()));
    for row in family.rows {
        let End::Refused(refusal) = &row.end else { continue };
        let hooks: Vec<String> = row.closed_by.iter().map(|name| format!("`{name}`")).collect();
        let results = Kernel::ALL.map(|kernel| match row.lacking_on(kernel) {
            Some(_) => "–",
            None => "refused",
        });
        let (way, hooks, answer) = (cell(row.way), hooks.join(", "), answer(refusal));
        let _ = writeln!(page, "| {way} | {hooks} | {answer} | {} |", results.join(" | "));
    }
    write_lacking(page, family);
}

fn write_lacking(page: &mut String, family: &Family) {
    let lacking = family.rows.iter().flat_map(|row| row.lacking.iter().map(move |one| (row, one)));
    for (number, (row, (kernel, why))) in lacking.enumerate() {
        let before = if number == 0 { "\n" } else { "" };
        let _ = writeln!(page, "{before}- – {} on {}: {why}.", row.way, heading(*kernel));
    }
}

const fn heading(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Linux6_1 => "6.1",
        Kernel::Linux6_12 => "6.12",
        Kernel::Linux7 => "7",
        Kernel::Lockdown => "6.12, lockdown",
    }
}

fn answer(refusal: &Refusal) -> String {
    let errno = refusal.errno.map_or("fails", errno_name);
    let always = if refusal.always { ", always" } else { "" };
    match (refusal.actions, refusal.reasons) {
        ("", _) => format!("{errno}{always}"),
        (actions, reasons) => cell(&format!("{errno}{always}: `{actions}`, `{reasons}`")),
    }
}

fn errno_name(number: i32) -> &'static str {
    match number {
        libc::EACCES => "EACCES",
        libc::EPERM => "EPERM",
        libc::EBADF => "EBADF",
        _ => "fails",
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
