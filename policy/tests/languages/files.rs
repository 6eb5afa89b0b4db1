//! Files that are no policies.

use std::{fs, path::PathBuf, time::Instant};

use ringfence_policy::{Diagnostic, Source, diagnostic::code, parse, read_source};
use tempfile::TempDir;

fn refused(name: &str, write: impl FnOnce(&PathBuf)) -> Diagnostic {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    write(&path);
    *read_source(&path).unwrap_err()
}

#[test]
fn a_file_that_is_missing_or_a_folder_is_refused_by_name() {
    let missing = refused("missing.yaml", |_| {});
    assert_eq!((missing.code, missing.place.line), (code::UNREADABLE, 0));
    assert!(missing.to_string().contains("No such file or directory"), "{missing}");
    assert!(missing.to_string().ends_with("/missing.yaml"), "{missing}");
    let folder = refused("folder", |path| fs::create_dir(path).unwrap());
    assert_eq!(folder.code, code::UNREADABLE);
    assert!(folder.message.contains("folder"));
}

#[test]
fn a_file_that_is_not_text_is_refused_at_the_first_byte_that_is_not() {
    let binary = refused("a", |path| fs::write(path, b"a: 1\nb: \xff\xfe").unwrap());
    assert_eq!((binary.code, binary.place.line, binary.place.column), (code::NOT_TEXT, 2, 4));
    let utf16 = refused("a", |path| fs::write(path, b"\xff\xfea\0:\0").unwrap());
    assert!(utf16.message.contains("UTF-16"), "{utf16}");
    let elf = refused("a", |path| fs::write(path, b"\x7fELF\x02\x01\x01\0\0\x80").unwrap());
    assert_eq!(elf.code, code::NOT_TEXT);
}

#[test]
fn a_rule_cannot_be_hidden_behind_a_comment_by_a_carriage_return() {
    let text = "boundary: 1\r\n# nothing to see\regress: []\nmode: observe\r\n";
    let parsed = parse(&Source::new("mac.yaml", text), None);
    let [finding] = &parsed.diagnostics[..] else { panic!("{:#?}", parsed.diagnostics) };
    assert_eq!(finding.code, code::UNSUPPORTED_YAML);
    assert_eq!((finding.place.line, finding.place.column), (2, 17));
    let text = text.replace("see\r", "see\r\n");
    assert!(parse(&Source::new("dos.yaml", text), None).document.is_some());
}

#[test]
fn a_huge_file_is_refused_without_being_read() {
    let start = Instant::now();
    let huge = refused("huge.yaml", |path| {
        fs::File::create(path).unwrap().set_len(100 << 20).unwrap();
    });
    assert_eq!(huge.code, code::TOO_LARGE);
    assert!(start.elapsed().as_secs() < 2);
    let endless = read_source("/dev/zero".as_ref()).unwrap_err();
    assert_eq!(endless.code, code::TOO_LARGE);
}

#[test]
fn an_empty_file_is_read_and_then_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("empty.yaml");
    fs::write(&path, "").unwrap();
    let parsed = parse(&read_source(&path).unwrap(), None);
    assert!(parsed.document.is_none());
    assert_eq!(parsed.diagnostics[0].code, code::EMPTY);
}
