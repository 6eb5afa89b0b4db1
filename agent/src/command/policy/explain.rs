//! `ringfence policy explain`: what a finding's code means.

use std::{
    ffi::OsStr,
    io::{self, Write},
    process::ExitCode,
};

use ringfence_policy::diagnostic::{
    pages::{self, Page},
    visible,
};

use super::{ExplainArguments, ExplainFormat, PolicyFiles, explain_files};

/// Exit code for a code that does not exist, as for other slips on the command line.
const UNKNOWN: u8 = 2;

/// Prints the page of a code, or all codes.
pub(super) fn run(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let ExplainArguments { what, list, dialect, format } = arguments;
    let mut out = io::stdout().lock();
    match what.as_slice() {
        _ if *list => list_codes(*format, &mut out)?,
        [one] if looks_like_code(one) => {
            let code = one.to_string_lossy();
            let Some(page) = pages::page(&code) else {
                tell!("ringfence: {}", unknown(&code));
                return Ok(ExitCode::from(UNKNOWN));
            };
            print(page, *format, &mut out)?;
        }
        files => {
            let files = files.iter().map(Into::into).collect();
            return explain_files::run(&PolicyFiles { files, dialect: *dialect }, *format);
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// `RF` and four digits, in any case. A file of such a name is given as `./RF0203`.
fn looks_like_code(text: &OsStr) -> bool {
    let Some((letters, digits)) = text.as_encoded_bytes().split_at_checked(2) else { return false };
    letters.eq_ignore_ascii_case(b"RF")
        && digits.len() == 4
        && digits.iter().all(u8::is_ascii_digit)
}

fn unknown(code: &str) -> String {
    let help = match pages::nearest(code) {
        Some(Page { code, title, .. }) => format!("did you mean {code}: {title}?"),
        None => "`ringfence policy explain --list` has all codes".to_owned(),
    };
    format!("no finding has the code {}; {help}", visible(code))
}

fn print(page: &Page, format: ExplainFormat, out: &mut impl Write) -> io::Result<()> {
    match format {
        ExplainFormat::Text | ExplainFormat::Markdown => writeln!(out, "{page}"),
        ExplainFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, page)?;
            writeln!(out)
        }
    }
}

fn list_codes(format: ExplainFormat, out: &mut impl Write) -> io::Result<()> {
    match format {
        ExplainFormat::Text | ExplainFormat::Markdown => {
            for Page { code, title, .. } in pages::all() {
                writeln!(out, "{code}  {title}")?;
            }
            Ok(())
        }
        ExplainFormat::Json => {
            let pages: Vec<&Page> = pages::all().collect();
            serde_json::to_writer_pretty(&mut *out, &pages)?;
            writeln!(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rf_and_four_digits_are_a_code() {
        for text in ["RF0203", "rf0203", "Rf9999"] {
            assert!(looks_like_code(text.as_ref()), "{text}");
        }
        for text in
            ["", "R", "RF", "RF203", "RF02033", "RF02o3", "./RF0203", "RF0203.yaml", "é0203"]
        {
            assert!(!looks_like_code(text.as_ref()), "{text}");
        }
    }

    #[test]
    fn an_unknown_code_is_told_its_neighbour_or_where_all_are() {
        assert!(unknown("RF0230").contains("did you mean RF0203: A path pattern"));
        assert!(unknown("RF9999").contains("--list"));
    }

    #[test]
    fn the_list_has_each_code_on_a_line_and_json_has_all_of_a_page() {
        let mut out = Vec::new();
        list_codes(ExplainFormat::Text, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().any(|line| line == "RF0005  The text is not YAML"), "{text}");
        let mut out = Vec::new();
        print(pages::page("RF0307").unwrap(), ExplainFormat::Json, &mut out).unwrap();
        let page: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(page["code"], "RF0307");
        assert_eq!(page["wrong"]["dialect"], "agent");
        assert!(page["right"]["text"].as_str().unwrap().contains("readable"));
    }
}
