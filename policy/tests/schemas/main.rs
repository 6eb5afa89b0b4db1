//! Our check and our JSON schemas say the same of any document: an independent validator runs the
//! schemas on thousands of documents, right ones and wrong ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod configuration;
mod generate;
mod mutate;
mod random;
mod verdict;
mod yaml;

use std::collections::BTreeMap;

use generate::Generator;
use mutate::Vocabulary;
use ringfence_policy::{Dialect, diagnostic::code, json_schema::json_schema};
use serde_json::{Value, json};
use verdict::{Outcome, Validator, errors, outcome};

/// Documents of each dialect.
const DOCUMENTS: usize = 6000;

/// Errors of `boundary` documents that its schema has as well: the other languages' schemas are
/// not ours to make.
const OF_OUR_LANGUAGE: &[&str] =
    &[code::BAD_PORT, code::BAD_AMOUNT, code::BAD_PATH_MAP, code::BAD_DIGEST];

/// What is checked further than schemas can say, and is a deliberate difference: texts that are
/// patterns, destinations and networks.
const BEYOND: &[&str] = &[
    code::RELATIVE_PATH,
    code::ABNORMAL_PATH,
    code::BAD_GLOB,
    code::URL_FOR_HOST,
    code::BAD_HOST,
    code::BAD_NETWORK,
    code::BAD_PORT,
];

fn of_shapes(dialect: Dialect) -> &'static [&'static str] {
    if dialect == Dialect::Boundary { OF_OUR_LANGUAGE } else { &[] }
}

fn compare(dialect: Dialect) {
    let schema = json_schema(dialect);
    let validator = Validator::new(&schema).unwrap();
    let vocabulary = Vocabulary::of(&schema);
    let mut generator = Generator::new(&schema, 1);
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for number in 0..DOCUMENTS {
        let mut document = generator.document();
        let mutations = number % 4;
        for _ in 0..mutations {
            vocabulary.mutate(&mut document, &mut generator.random);
        }
        let text = yaml::text(&document, &mut generator.random);
        let errors = errors(&text, dialect);
        let outcome = outcome(validator.accepts(&document), &errors, of_shapes(dialect));
        let is_expected = match &outcome {
            Outcome::Accepted => true,
            Outcome::Refused => mutations > 0,
            Outcome::RefusedBeyond(code) => mutations > 0 && BEYOND.contains(code),
            Outcome::OnlyWeRefuse(_) | Outcome::OnlyWeAccept => false,
        };
        assert!(is_expected, "{dialect} {number}: {outcome:?}\n{text}\n{errors:#?}");
        *counts.entry(outcome).or_default() += 1;
    }
    // Otherwise the comparison shows nothing.
    assert!(counts[&Outcome::Accepted] > DOCUMENTS / 4, "{counts:?}");
    assert!(counts[&Outcome::Refused] > DOCUMENTS / 4, "{counts:?}");
}

#[test]
fn sec0_documents_are_valid_in_the_schema_exactly_when_they_are_to_us() {
    compare(Dialect::Sec0);
}

#[test]
fn secai_policies_are_valid_in_the_schema_exactly_when_they_are_to_us() {
    compare(Dialect::SecaiPolicy);
}

#[test]
fn agent_files_are_valid_in_the_schema_exactly_when_they_are_to_us() {
    compare(Dialect::SecaiAgent);
}

#[test]
fn boundary_documents_are_valid_in_the_schema_exactly_when_they_are_to_us() {
    compare(Dialect::Boundary);
}

/// What the schema of our own language cannot say, all of it.
#[test]
fn only_these_boundary_documents_are_valid_in_the_schema_and_not_to_us() {
    let validator = Validator::new(&json_schema(Dialect::Boundary)).unwrap();
    let both = |document: Value| {
        let errors = errors(&document.to_string(), Dialect::Boundary);
        (validator.accepts(&document), errors.first().map(|error| error.code))
    };
    let egress =
        |ports: Value| json!({ "boundary": 1, "egress": [{ "host": "a", "ports": ports }] });
    let budget = |key: &str, value: Value| json!({ "boundary": 1, "budgets": { key: value } });
    // A range that ends before it begins.
    assert_eq!(both(egress(json!(["80-79"]))), (true, Some(code::BAD_PORT)));
    assert_eq!(both(egress(json!([" 080 - 81 ", "65535"]))), (true, None));
    assert_eq!(both(egress(json!(["65536"]))), (false, Some(code::BAD_PORT)));
    assert_eq!(both(egress(json!(["0-1"]))), (false, Some(code::BAD_PORT)));
    // Amounts that are more than can be counted.
    for (key, value) in [
        ("wall_clock", json!("9999999999999999999h")),
        ("wall_clock", json!("99999999999999999999s")),
        ("output_bytes", json!("9999999999999999999TiB")),
        ("output_bytes", json!(1e19)),
    ] {
        assert_eq!(both(budget(key, value.clone())), (true, Some(code::BAD_AMOUNT)), "{value}");
    }
    assert_eq!(both(budget("output_bytes", json!(u64::MAX))), (true, None));
    assert_eq!(both(budget("output_bytes", json!(1e20))), (false, Some(code::BAD_AMOUNT)));
    // Folders that are the same, or are none.
    for (from, to) in [("/a", "/a"), ("/", "/a"), ("/a/", "/b"), ("/a", "/b/../c"), ("/a*", "/b")] {
        let document = json!({ "boundary": 1, "path_map": { from: to } });
        assert_eq!(both(document), (true, Some(code::BAD_PATH_MAP)), "{from} {to}");
    }
    let relative = json!({ "boundary": 1, "path_map": { "a": "/a" } });
    assert_eq!(both(relative), (false, Some(code::BAD_PATH_MAP)));
}

/// JSON has no such numbers, so that no schema can speak of them.
#[test]
fn numbers_that_are_none_are_refused() {
    for (dialect, text) in [
        (Dialect::Sec0, "security: { limits: { max_payload_kb: NUMBER } }"),
        (Dialect::Sec0, "side_effects: { max_retries: NUMBER }"),
        (Dialect::SecaiPolicy, "search: { differential_privacy: { batch_window: NUMBER } }"),
        (Dialect::SecaiPolicy, "version: NUMBER"),
        (Dialect::Boundary, "budgets: { connections: NUMBER }"),
    ] {
        for number in [".inf", "-.inf", ".nan", "1e999"] {
            let text = text.replace("NUMBER", number);
            let is_about_it = |error: &ringfence_policy::Diagnostic| {
                matches!(error.code, code::WRONG_TYPE | code::OUT_OF_RANGE)
                    && error.place.column >= 10
            };
            assert!(errors(&text, dialect).iter().any(is_about_it), "{text}");
        }
    }
}
