//! What a JSON schema and our check say of the same document.

use ringfence_policy::{Diagnostic, Dialect, Source, diagnostic::code, parse};
use serde_json::Value;

/// Errors about what a schema can say: keys, types, words, ranges, and keys that need each other.
const OF_SHAPES: &[&str] = &[
    code::EMPTY,
    code::NOT_A_MAPPING,
    code::UNSUPPORTED_VERSION,
    code::UNKNOWN_KEY,
    code::MISSING_KEY,
    code::WRONG_TYPE,
    code::UNKNOWN_VALUE,
    code::OUT_OF_RANGE,
    code::CONFLICT,
];

/// How the two verdicts go together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Both accept.
    Accepted,
    /// Both refuse.
    Refused,
    /// Only we refuse, for what is beyond a schema; the code of the first such error.
    RefusedBeyond(&'static str),
    /// Only we refuse, for what a schema could say; the code of the first such error.
    OnlyWeRefuse(&'static str),
    /// Only the schema refuses.
    OnlyWeAccept,
}

/// A schema that documents are validated with.
pub(crate) struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    /// The schema itself is validated with the schema of its draft.
    pub(crate) fn new(schema: &Value) -> Result<Self, String> {
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        let name = "urn:ringfence:compared";
        compiler.set_default_draft(boon::Draft::V2020_12);
        compiler.add_resource(name, schema.clone()).map_err(|error| format!("{error:#}"))?;
        let index = compiler.compile(name, &mut schemas).map_err(|error| format!("{error:#}"))?;
        Ok(Self { schemas, index })
    }

    pub(crate) fn accepts(&self, document: &Value) -> bool {
        self.schemas.validate(document, self.index).is_ok()
    }
}

/// Our errors about a text.
pub(crate) fn errors(text: &str, dialect: Dialect) -> Vec<Diagnostic> {
    let parsed = parse(&Source::new("compared.yaml", text), Some(dialect));
    parsed.diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

/// Compares the verdicts. `further` has codes that count as being about shapes as well.
pub(crate) fn outcome(is_valid: bool, errors: &[Diagnostic], further: &[&'static str]) -> Outcome {
    let is_of_shapes =
        |error: &&Diagnostic| OF_SHAPES.contains(&error.code) || further.contains(&error.code);
    let of_shapes = errors.iter().find(is_of_shapes);
    match (is_valid, of_shapes, errors.first()) {
        (true, None, None) => Outcome::Accepted,
        (true, None, Some(error)) => Outcome::RefusedBeyond(error.code),
        (true, Some(error), _) => Outcome::OnlyWeRefuse(error.code),
        (false, _, Some(_)) => Outcome::Refused,
        (false, _, None) => Outcome::OnlyWeAccept,
    }
}
