//! JSON schemas of the policy languages and of the agent's configuration, for editors and for whoever checks documents by other
//! means: draft 2020-12, made of the same declarations as our own check.
//!
//! A schema says what keys and types can say. Paths, patterns, hosts and networks are checked
//! further when a document is read.

use serde_json::{Map, Value, json};

use crate::{
    Dialect,
    configuration::keys,
    model::Model as _,
    schema::{GROUP, Property, Shape},
};

/// The JSON schema of a language's documents.
///
/// # Examples
/// ```
/// use ringfence_policy::{Dialect, json_schema::json_schema};
///
/// let schema = json_schema(Dialect::Boundary);
/// assert_eq!(schema["required"][0], "boundary");
/// assert_eq!(schema["additionalProperties"], false);
/// ```
pub fn json_schema(dialect: Dialect) -> Value {
    document(dialect.shape(), dialect.name(), dialect.title())
}

/// The JSON schema of the agent's configuration.
pub fn of_configuration() -> Value {
    document(keys::Document::SHAPE, "configuration", "ringfence agent configuration")
}

fn document(shape: Shape, name: &str, title: &str) -> Value {
    let mut schema = self::shape(shape);
    if let Value::Object(members) = &mut schema {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        members.insert("$schema".into(), draft.into());
        members.insert("$id".into(), format!("urn:ringfence:schema:{name}:1").into());
        members.insert("title".into(), title.into());
    }
    schema
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::Any => Value::Bool(true),
        Shape::Text => json!({ "type": "string" }),
        Shape::NonEmptyText => json!({ "type": "string", "minLength": 1 }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Number(low, high) => range("number", low, high),
        Shape::Whole(low, high) => range("integer", low, high),
        Shape::OneOf(words) => json!({ "enum": words }),
        Shape::List(item) => json!({ "type": "array", "items": self::shape(*item) }),
        Shape::Group(item) => group(*item),
        Shape::Mapping(properties) => mapping(properties, |property| self::shape(property.shape)),
        Shape::Dependent(inner, members) => with_members(self::shape(*inner), parsed(members)),
        Shape::Form(form) => parsed(form.json),
        Shape::Record(value) => {
            json!({ "type": "object", "additionalProperties": self::shape(*value) })
        }
    }
}

/// Numbers in a range; an end that is infinite is none.
fn range(kind: &str, low: f64, high: f64) -> Value {
    let mut schema = json!({ "type": kind });
    for (name, end) in [("minimum", low), ("maximum", high)] {
        if end.is_finite() {
            // Written as 1 and not as 1.0 where that is the same.
            let is_whole = end.fract() == 0.0 && end.abs() < f64::from(u32::MAX);
            schema[name] = if is_whole { json!(end as i64) } else { json!(end) };
        }
    }
    schema
}

/// A group of rules: a list, or a mapping with the list in it.
fn group(item: Shape) -> Value {
    let rules = json!({ "type": "array", "items": shape(item) });
    let inside = mapping(GROUP, |property| match property.name {
        "rules" => rules.clone(),
        _ => shape(property.shape),
    });
    json!({ "anyOf": [rules, inside] })
}

fn mapping(properties: &[Property], shape: impl Fn(&Property) -> Value) -> Value {
    let described = |property: &Property| {
        let doc = property.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let schema = with_members(shape(property), json!({ "description": doc }));
        (property.name.to_owned(), schema)
    };
    let required = properties.iter().filter(|property| property.is_required);
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required.map(|property| property.name).collect::<Vec<_>>(),
        "properties": properties.iter().map(described).collect::<Map<_, _>>(),
    })
}

/// A schema with members added to its own.
fn with_members(schema: Value, members: Value) -> Value {
    match (schema, members) {
        (Value::Object(mut schema), Value::Object(members)) => {
            schema.extend(members);
            Value::Object(schema)
        }
        // The schema that anything fits.
        (Value::Bool(true), members) => members,
        (schema, _) => schema,
    }
}

/// A piece of a schema that a dialect gives as text. All of them are parsed in the tests.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shapes of all documents that have a schema.
    fn shapes() -> impl Iterator<Item = Shape> {
        Dialect::ALL.into_iter().map(Dialect::shape).chain([keys::Document::SHAPE])
    }

    /// Every piece of JSON text in a shape.
    fn texts(shape: Shape, found: &mut Vec<&'static str>) {
        match shape {
            Shape::List(inner) | Shape::Group(inner) | Shape::Record(inner) => {
                texts(*inner, found);
            }
            Shape::Dependent(inner, text) => {
                found.push(text);
                texts(*inner, found);
            }
            Shape::Form(form) => found.push(form.json),
            Shape::Mapping(properties) => {
                for property in properties {
                    texts(property.shape, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_pieces_of_schemas_that_are_text_are_json_objects() {
        let mut found = Vec::new();
        for shape in shapes() {
            texts(shape, &mut found);
        }
        assert!(found.len() > 10);
        for text in found {
            assert!(serde_json::from_str::<Map<String, Value>>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn members_that_are_added_replace_none() {
        fn check(shape: Shape) {
            if let Shape::Dependent(inner, text) = shape {
                let (own, added) = (self::shape(*inner), parsed(text));
                for name in added.as_object().unwrap().keys() {
                    assert!(own.get(name).is_none(), "{name}");
                }
            }
            match shape {
                Shape::List(inner)
                | Shape::Group(inner)
                | Shape::Record(inner)
                | Shape::Dependent(inner, _) => check(*inner),
                Shape::Mapping(fields) => fields.iter().for_each(|field| check(field.shape)),
                _ => {}
            }
        }
        shapes().for_each(check);
    }

    #[test]
    fn shapes_become_what_they_are_called_in_json_schema() {
        let schema = json_schema(Dialect::Sec0);
        assert_eq!(schema["$id"], "urn:ringfence:schema:sec0:1");
        let properties = &schema["properties"];
        assert_eq!(properties["tenant"]["minLength"], 1);
        assert_eq!(properties["default_retention"]["enum"], json!(["30d", "90d", "180d"]));
        let retries = &properties["side_effects"]["properties"]["max_retries"];
        assert_eq!((&retries["minimum"], &retries["maximum"]), (&json!(0), &json!(10)));
        let latency = &properties["enforcement"]["properties"]["circuit_breakers"]["properties"]["p95_latency_ms"];
        assert_eq!((&latency["minimum"], latency.get("maximum")), (&json!(0), None));
        let description = properties["tenant"]["description"].as_str().unwrap();
        assert_eq!(description, "Whose policy this is. Source: schema `tenant`.");
        let schema = json_schema(Dialect::Boundary);
        let [list, inside] = &schema["properties"]["files"]["anyOf"].as_array().unwrap()[..] else {
            panic!("{schema}")
        };
        assert_eq!(list["items"], inside["properties"]["rules"]["items"]);
        assert_eq!(inside["required"], json!(["rules"]));
    }
}
