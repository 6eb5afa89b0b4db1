//! Text to a tree, and what is wrong with text of which no tree can be made.

use super::*;
use crate::{
    Source,
    diagnostic::code,
    testing::{error, findings},
};

fn tree(text: &str) -> Node {
    let mut findings = Vec::new();
    let node = read(&Source::new("test.yaml", text), &mut findings);
    assert_eq!(findings, []);
    node.unwrap()
}

#[test]
fn every_value_and_key_knows_where_it_stands() {
    let root = tree("a: 1\nb:\n  - 'x y'\n  - { c: \"d\" }\n");
    let at = |node: &Node| (node.span.place.line, node.span.place.column, node.span.length);
    assert_eq!(at(root.get("a").unwrap()), (1, 4, 1));
    let items = root.get("b").unwrap().items();
    assert_eq!(at(&items[0]), (3, 5, 5));
    assert_eq!(at(items[1].get("c").unwrap()), (4, 10, 3));
    let key = &items[1].entry("c").unwrap().key;
    assert_eq!((key.span.place.line, key.span.place.column, key.span.length), (4, 7, 1));
}

#[test]
fn a_character_within_a_text_can_be_pointed_at_unless_it_is_written_otherwise() {
    let root = tree("[ab, 'ab', \"ab\", \"a\\x62\"]\n");
    let columns: Vec<(u32, u32)> = root
        .items()
        .iter()
        .map(|node| node.span.within(1))
        .map(|(place, length)| (place.column, length))
        .collect();
    assert_eq!(columns, [(3, 1), (8, 1), (14, 1), (18, 7)]);
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let root = tree("\"ü\": \"ä\"\n");
    let (entry, _) = (&root.entries()[0], ());
    assert_eq!((entry.value.span.place.column, entry.value.span.length), (6, 3));
}

#[test]
fn an_alias_stands_for_what_was_anchored() {
    let root = tree("a: &x [1, 2]\nb: *x\n");
    assert_eq!(root.get("a").unwrap().value, root.get("b").unwrap().value);
}

#[test]
fn text_that_is_no_document_is_refused_at_its_place() {
    for (text, code, line, column) in [
        ("", code::EMPTY, 1, 1),
        ("   \n\n", code::EMPTY, 1, 1),
        ("# only\n# comments\n", code::EMPTY, 1, 1),
        ("---\n...\n", code::EMPTY, 1, 1),
        ("null\n", code::EMPTY, 1, 1),
        ("- a\n- b\n", code::NOT_A_MAPPING, 1, 1),
        ("just text\n", code::NOT_A_MAPPING, 1, 1),
        ("boundary: 1\n---\nboundary: 1\n", code::SEVERAL_DOCUMENTS, 2, 1),
        ("boundary: 1\nfiles: [\n", code::SYNTAX, 2, 8),
        ("boundary: 1\n\tmode: enforce\n", code::SYNTAX, 2, 1),
        ("boundary: 1\nfiles:\n\t- { path: /a, allow: [read] }\n", code::SYNTAX, 3, 1),
        ("boundary: 1\nmode: \"enforce\n", code::SYNTAX, 2, 15),
        ("a: 'b\0c'\n", code::NOT_TEXT, 1, 6),
        ("boundary: 1\nmode: *enforce\n", code::ALIAS, 2, 7),
        ("boundary: &b { c: *b }\n", code::ALIAS, 1, 19),
    ] {
        assert_eq!(findings(text), [(code, line, column)], "{text:?}");
    }
}

#[test]
fn a_tab_gets_advice_about_tabs_and_a_star_about_quotes() {
    let (.., help) = error("boundary: 1\n\tmode: enforce\n");
    assert!(help.contains("replace the tab"), "{help}");
    let (.., help) = error("boundary: 1\negress:\n  - { host: *.example.com }\n");
    assert!(help.contains("\"*.example.com\""), "{help}");
}

#[test]
fn keys_must_be_text_of_their_own() {
    for (text, expected) in [
        ("boundary: 1\nmode: enforce\nmode: observe\n", (code::DUPLICATE_KEY, 3, 1)),
        ("boundary: 1\n[a, b]: 1\n", (code::KEY_NOT_TEXT, 2, 1)),
        ("boundary: 1\n<<: { mode: enforce }\n", (code::UNSUPPORTED_YAML, 2, 1)),
        ("boundary: 1\nmode: !secret enforce\n", (code::UNSUPPORTED_YAML, 2, 15)),
    ] {
        assert!(findings(text).contains(&expected), "{text}: {:?}", findings(text));
    }
}

#[test]
fn an_alias_bomb_is_refused_before_it_goes_off() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let items = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("a{i}: &a{i} [{items}]\n");
    }
    let (code, ..) = error(&text);
    assert_eq!(code, code::LIMIT);
}

#[test]
fn nesting_is_bounded() {
    for text in [format!("a: {}", "[".repeat(200_000)), format!("a: {}", "{b: ".repeat(200_000)), {
        (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()
    }] {
        let findings = findings(&text);
        assert_eq!(findings.len(), 1);
        assert!([code::LIMIT, code::SYNTAX].contains(&findings[0].0), "{findings:?}");
    }
}

#[test]
fn a_list_of_more_values_than_a_policy_has_is_refused() {
    let (code, ..) = error(&format!("a: [{}]", "1,".repeat(MAX_NODES + 1)));
    assert_eq!(code, code::LIMIT);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(findings("\u{feff}boundary: 2\n"), [(code::OUT_OF_RANGE, 1, 11)]);
}
