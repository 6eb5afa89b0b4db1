//! Slips in documents: a key too few or too many, another type, a number beyond its range.

use serde_json::{Map, Value, json};

use super::random::Random;

/// What a schema's values are made of, for slips that are near them.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    keys: Vec<String>,
    words: Vec<String>,
    /// Numbers at the ends of ranges, and beyond them by one.
    numbers: Vec<Value>,
}

impl Vocabulary {
    pub(crate) fn of(schema: &Value) -> Self {
        let mut found = Self::default();
        found.collect(schema);
        found.numbers.extend([json!(0), json!(-1), json!(1.5), json!(1e300), json!(3.0)]);
        found
    }

    /// Every key and every word of an enumeration.
    #[allow(dead_code, reason = "for the fuzz targets' dictionaries, which share this module")]
    pub(crate) fn words(&self) -> impl Iterator<Item = &String> {
        self.keys.iter().chain(&self.words)
    }

    fn collect(&mut self, schema: &Value) {
        match schema {
            Value::Object(members) => {
                for (word, value) in members {
                    match (word.as_str(), value) {
                        ("properties", Value::Object(properties)) => {
                            self.keys.extend(properties.keys().cloned());
                        }
                        ("enum", Value::Array(words)) => {
                            let words = words.iter().filter_map(Value::as_str);
                            self.words.extend(words.map(str::to_owned));
                        }
                        ("minimum" | "maximum", Value::Number(end)) => self.end(end),
                        _ => {}
                    }
                    self.collect(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            _ => {}
        }
    }

    fn end(&mut self, end: &serde_json::Number) {
        let near = match end.as_i64() {
            Some(end) => [json!(end - 1), json!(end), json!(end + 1)],
            None => [json!(end), json!(end), json!(end)],
        };
        self.numbers.extend(near.into_iter().chain(end.as_f64().map(|end| json!(end + 0.5))));
    }

    /// Changes one value of the document.
    pub(crate) fn mutate(&self, document: &mut Value, random: &mut Random) {
        // Most slips make sense for some values only.
        for _ in 0..16 {
            let mut pointers = Vec::new();
            collect_pointers(document, String::new(), &mut pointers);
            let Some(pointer) = random.of(&pointers) else { return };
            if let Some(value) = document.pointer_mut(pointer)
                && self.slip(value, random).is_some()
            {
                return;
            }
        }
    }

    /// `None` when the slip that was chosen does not make sense for the value.
    fn slip(&self, value: &mut Value, random: &mut Random) -> Option<()> {
        let new = match (random.below(12), &*value) {
            (0, Value::Object(object)) => without(object, random)?,
            (1 | 2, Value::Object(object)) => self.with_stranger(object, random)?,
            (3 | 4, _) => random.of(&others())?.clone(),
            (5 | 6, Value::Number(_)) => random.of(&self.numbers)?.clone(),
            (7, Value::String(_)) => json!(""),
            (7, Value::Array(_)) => json!([]),
            (7, Value::Object(_)) => json!({}),
            (7, _) => Value::Null,
            (8, Value::Number(number)) => json!(number.to_string()),
            (8, Value::Bool(truth)) => json!(truth.to_string()),
            (8, Value::String(text)) => serde_json::from_str(text).ok()?,
            (9 | 10, Value::String(word)) if self.words.contains(word) => match random.below(3) {
                0 => json!(random.of(&self.words)?),
                1 => json!(format!("{word}s")),
                _ => json!(word.to_uppercase()),
            },
            (11, Value::Array(items)) => {
                let mut items = items.clone();
                let item = items.first().cloned().filter(|_| random.chance(4));
                items.push(
                    item.unwrap_or_else(|| random.of(&others()).cloned().unwrap_or_default()),
                );
                Value::Array(items)
            }
            (11, value) => json!([value]),
            _ => return None,
        };
        let is_other = new != *value;
        *value = new;
        is_other.then_some(())
    }

    /// The mapping with a key that may be strange to it.
    fn with_stranger(&self, object: &Map<String, Value>, random: &mut Random) -> Option<Value> {
        let mut object = object.clone();
        let known: Vec<String> = object.keys().cloned().collect();
        let (key, value) = match random.below(4) {
            0 => ("zzz".to_owned(), random.of(&others())?.clone()),
            // A key that was misspelt.
            1 => {
                let key = random.of(&known)?;
                let value = object.remove(key)?;
                (if random.chance(4) { format!("{key}s") } else { key.to_uppercase() }, value)
            }
            _ => (random.of(&self.keys)?.clone(), random.of(&others())?.clone()),
        };
        object.insert(key, value);
        Some(Value::Object(object))
    }
}

fn without(object: &Map<String, Value>, random: &mut Random) -> Option<Value> {
    let keys: Vec<&String> = object.keys().collect();
    let key = *random.of(&keys)?;
    let rest = object.iter().filter(|(name, _)| *name != key);
    Some(Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

/// A value of each type.
fn others() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!("text"),
        json!(7),
        json!(1.5),
        json!([]),
        json!({}),
        json!([null]),
        json!(["text"]),
        json!({ "text": 1 }),
    ]
}

/// JSON pointers (RFC 6901) to every value.
fn collect_pointers(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect_pointers(value, format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect_pointers(value, format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(pointer);
}
