//! Compares our check of a policy language with any JSON schema, on random documents and on those
//! that are given: `compare_schema DIALECT SCHEMA.json [--documents N] [DOCUMENT.yaml…]`.
//!
//! Exit code 1 when the two disagree on what a schema can say.
#![expect(clippy::print_stdout, reason = "it is what the program is for")]

#[path = "../tests/schemas/generate.rs"]
mod generate;
#[path = "../tests/schemas/mutate.rs"]
mod mutate;
#[path = "../tests/schemas/random.rs"]
mod random;
#[path = "../tests/schemas/verdict.rs"]
mod verdict;
#[path = "../tests/schemas/yaml.rs"]
mod yaml;

use std::{collections::BTreeMap, env, fs, path::Path, process::ExitCode};

use generate::Generator;
use mutate::Vocabulary;
use ringfence_policy::{
    Diagnostic, Dialect, document, document::Node, json_schema::json_schema, read_source,
};
use serde_json::Value;
use verdict::{Outcome, Validator, errors, outcome};

/// Documents of an outcome that are shown.
const SHOWN: usize = 3;

fn main() -> Result<ExitCode, String> {
    let arguments = Arguments::read(env::args().skip(1))?;
    let text = fs::read_to_string(&arguments.schema).map_err(|error| error.to_string())?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let own_schema = json_schema(arguments.dialect);
    let (validator, own) = (Validator::new(&schema)?, Validator::new(&own_schema)?);
    // Documents of either schema: each may have keys that the other has not.
    let mut makers =
        [&schema, &own_schema].map(|schema| (Generator::new(schema, 1), Vocabulary::of(schema)));
    let mut tally = Tally::default();
    for number in 0..arguments.documents {
        let (generator, vocabulary) = &mut makers[number / 4 % 2];
        let given = generator.random.of(&arguments.given).cloned();
        let mut document = match given.filter(|_| generator.random.chance(3)) {
            Some(document) => document,
            None => generator.document(),
        };
        for _ in 0..number % 4 {
            vocabulary.mutate(&mut document, &mut generator.random);
        }
        let text = yaml::text(&document, &mut generator.random);
        let errors = errors(&text, arguments.dialect);
        let is_valid = validator.accepts(&document);
        let is_mistaken = errors.is_empty() && !own.accepts(&document);
        tally.add(outcome(is_valid, &errors, &[]), is_mistaken, &text, &errors);
    }
    Ok(tally.tell())
}

struct Arguments {
    dialect: Dialect,
    schema: String,
    documents: usize,
    /// Documents that slips are made in, besides the random ones.
    given: Vec<Value>,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let usage = "compare_schema DIALECT SCHEMA.json [--documents N] [DOCUMENT.yaml…]";
        let dialect = words.next().ok_or(usage)?.parse()?;
        let schema = words.next().ok_or(usage)?;
        let (mut documents, mut given) = (20_000, Vec::new());
        while let Some(word) = words.next() {
            if word == "--documents" {
                documents = words.next().and_then(|number| number.parse().ok()).ok_or(usage)?;
            } else {
                given.push(read_document(&word)?);
            }
        }
        Ok(Self { dialect, schema, documents, given })
    }
}

fn read_document(file: &str) -> Result<Value, String> {
    let source = read_source(Path::new(file)).map_err(|finding| finding.to_string())?;
    let mut findings = Vec::new();
    let node = document::read(&source, &mut findings);
    node.map(|node| value(&node)).ok_or_else(|| format!("{file} is not read: {findings:?}"))
}

fn value(node: &Node) -> Value {
    match &node.value {
        document::Value::Null => Value::Null,
        document::Value::Boolean(truth) => Value::Bool(*truth),
        document::Value::Number(number) => match number.whole() {
            Some(whole) => whole.into(),
            None => number.value.into(),
        },
        document::Value::Text(text) => text.as_str().into(),
        document::Value::List(items) => items.iter().map(value).collect(),
        document::Value::Mapping(entries) => {
            let entry = |entry: &document::Entry| (entry.key.name.clone(), value(&entry.value));
            Value::Object(entries.iter().map(entry).collect())
        }
    }
}

#[derive(Default)]
struct Tally {
    counts: BTreeMap<Outcome, usize>,
    /// Documents that we accept and our own schema does not.
    mistaken: usize,
}

impl Tally {
    fn add(&mut self, outcome: Outcome, is_mistaken: bool, text: &str, errors: &[Diagnostic]) {
        let count = self.counts.entry(outcome.clone()).or_default();
        *count += 1;
        self.mistaken += usize::from(is_mistaken);
        let is_agreement = matches!(outcome, Outcome::Accepted | Outcome::Refused);
        if !is_agreement && *count <= SHOWN || is_mistaken {
            println!("--- {outcome:?}\n{text}");
            for error in errors {
                println!("{error}");
            }
        }
    }

    fn tell(&self) -> ExitCode {
        for (outcome, count) in &self.counts {
            println!("{count:>8} {outcome:?}");
        }
        println!("{:>8} accepted, and not by our own schema", self.mistaken);
        let differs =
            |outcome: &Outcome| matches!(outcome, Outcome::OnlyWeRefuse(_) | Outcome::OnlyWeAccept);
        match self.counts.keys().any(differs) || self.mistaken > 0 {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}
