//! Documents that are valid in a JSON schema, with their optional parts at random.
//!
//! Nearly always: what a schema says in ways that no policy's schema does is not understood.

use serde_json::{Map, Value, json};

use super::random::Random;

/// Texts that are valid where a policy's own checks look further than its schema, by the name of
/// the key. A name that is not here is any text.
const TEXTS: &[(&[&str], &[&str])] = &[
    (
        &[
            "path",
            "readable",
            "writable",
            "paths_allowlist",
            "paths_denylist",
            "fs_allowlist",
            "filesystemAllowlist",
        ],
        &["/srv/work/**", "/usr/bin/*", "/etc/[a-c]?{x,yy}", "/tmp", "/srv/ü b/c"],
    ),
    (&["path_map"], &["/srv/a", "/mnt/b c/d"]),
    (&["sha256"], &["3D248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"]),
    (&["fsverity"], &["sha256:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"]),
    (&["host"], &["api.example.com", "*.example.com", "*", "Example.COM."]),
    (&["cidr"], &["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]),
    (
        &["egress_allowlist", "egressAllowlist"],
        &["api.example.com:443", "*.example.com", "10.0.0.0/8:53", "[2001:db8::1]:22", "::1", "*"],
    ),
    (&["allowed_destinations"], &["https://api.example.com/v1", "https://example.com:8443"]),
    (&["ports"], &["80", "8000-8100", "1-65535"]),
    (&["wall_clock"], &["600s", "10 m", "1500ms", "2h", "0s"]),
    (&["output_bytes", "sent_bytes"], &["1MiB", "64 KiB", "10", "0B", "2GiB"]),
    (&["allow", "deny"], &["read", "write"]),
    (&["default_retention"], &["30d", "90d", "180d"]),
    (&["retention"], &["30d"]),
];
const ANY_TEXTS: &[&str] = &[
    "a",
    "filesystem.read",
    "null",
    "true",
    "1",
    "0x1f",
    "-",
    "~",
    "a: b",
    "# c",
    "it's",
    "\"q\"",
    " x ",
    "ü",
    "mcp://server/tool@1",
    "line\nbreak",
    "\\",
    "[x",
    "{y",
    "&z",
    "*",
    "!t",
    "%",
];
const NAMES: &[&str] = &["server", "a b", "x.y", "ü", "1", "null"];
const FOLDERS: &[&str] = &["/vault", "/data/x y", "/opt/z"];

/// Makes documents from one schema.
#[derive(Debug)]
pub(crate) struct Generator<'a> {
    schema: &'a Value,
    pub(crate) random: Random,
    /// Share of the optional keys that are there, out of 8.
    share: usize,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(schema: &'a Value, seed: u64) -> Self {
        Self { schema, random: Random(seed), share: 0 }
    }

    /// The next document.
    pub(crate) fn document(&mut self) -> Value {
        self.share = [0, 1, 2, 3, 4, 6, 8][self.random.below(7)];
        self.value(self.schema, "")
    }

    /// A value that is valid in a schema, below the key `name`.
    fn value(&mut self, schema: &Value, name: &str) -> Value {
        let Value::Object(schema) = schema else { return json!("anything") };
        let schema = self.without_choices(schema.clone());
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(Value::Array(words)) = schema.get("enum") {
            return self.random.of(words).cloned().unwrap_or_default();
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(&schema, name),
            Some("array") => self.array(&schema, name),
            Some("string") => self.text(&schema, name),
            Some("number") => self.number(&schema, true),
            Some("integer") => self.number(&schema, false),
            Some("boolean") => json!(self.random.chance(4)),
            _ => json!("anything"),
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, name: &str) -> Value {
        let required = names(schema);
        let mut object = Map::new();
        for (key, property) in properties(schema) {
            if required.contains(&key.as_str()) || self.random.chance(self.share) {
                object.insert(key.clone(), self.value(property, key));
            }
        }
        if let Some(free @ Value::Object(_)) = schema.get("additionalProperties") {
            let keys = if name == "path_map" { FOLDERS } else { NAMES };
            for _ in 0..self.random.below(4) {
                let key = self.random.of(keys).copied().unwrap_or_default();
                object.insert(key.into(), self.value(free, name));
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Map<String, Value>, name: &str) -> Value {
        let number = |name| schema.get(name).and_then(Value::as_u64).map(|end| end as usize);
        let fewest = number("minItems").unwrap_or(0);
        let most = number("maxItems").unwrap_or(usize::MAX);
        let length = (fewest + self.random.below(4)).min(most);
        let item = schema.get("items").unwrap_or(&Value::Null);
        let mut items: Vec<Value> = (0..length).map(|_| self.value(item, name)).collect();
        if schema.get("uniqueItems") == Some(&json!(true)) {
            let mut seen: Vec<Value> = Vec::new();
            items.retain(|item| {
                !seen.contains(item) && {
                    seen.push(item.clone());
                    true
                }
            });
        }
        Value::Array(items)
    }

    fn text(&mut self, schema: &Map<String, Value>, name: &str) -> Value {
        let known = TEXTS.iter().find(|(names, _)| names.contains(&name));
        let texts = known.map_or(ANY_TEXTS, |(_, texts)| texts);
        let may_be_empty = known.is_none() && schema.get("minLength").is_none();
        if may_be_empty && self.random.chance(1) {
            return json!("");
        }
        // The only texts that have a pattern to keep to are paths that must not be patterns.
        let is_literal = name == "path" && schema.contains_key("pattern");
        let is_fit = |text: &&&str| !is_literal || !text.contains(['*', '?', '[', '{', '\\']);
        let texts: Vec<&str> = texts.iter().filter(is_fit).copied().collect();
        json!(self.random.of(&texts))
    }

    fn number(&mut self, schema: &Map<String, Value>, has_fractions: bool) -> Value {
        let end = |name| schema.get(name).and_then(Value::as_f64);
        let low = end("minimum").or_else(|| end("exclusiveMinimum").map(|low| low + 1.0));
        let low = low.unwrap_or(0.0);
        // Beyond this, numbers with and without a fraction are not told apart.
        let high = end("maximum").unwrap_or(low + 1e6).min(1e15);
        let middle = ((low + high) / 2.0).floor();
        let number = match self.random.below(4) {
            0 => low,
            1 => high,
            2 if has_fractions => (low + high) / 2.0,
            _ => middle.max(low),
        };
        let is_written_whole =
            number.fract() == 0.0 && number.abs() < 1e15 && !self.random.chance(1);
        if is_written_whole { json!(number as i64) } else { json!(number) }
    }

    /// The schema with one of its alternatives chosen.
    fn without_choices(&mut self, mut schema: Map<String, Value>) -> Map<String, Value> {
        while let Some(all) = schema.remove("allOf") {
            for part in all.as_array().into_iter().flatten() {
                merge(&mut schema, part);
            }
        }
        for word in ["anyOf", "oneOf"] {
            let Some(Value::Array(choices)) = schema.remove(word) else { continue };
            let chosen = self.random.below(choices.len());
            for other in choices.iter().enumerate().filter(|(at, _)| *at != chosen) {
                // What another alternative needs could make it hold as well.
                if let Some(Value::Object(properties)) = schema.get_mut("properties")
                    && let Value::Object(other) = other.1
                    && word == "oneOf"
                {
                    names(other).into_iter().for_each(|name| {
                        properties.remove(name);
                    });
                }
            }
            if let Some(choice) = choices.get(chosen) {
                merge(&mut schema, choice);
            }
            return self.without_choices(schema);
        }
        let parts = ["if", "then", "else"].map(|word| schema.remove(word).unwrap_or_default());
        let [condition, then, otherwise] = parts;
        if condition.is_null() {
            return schema;
        }
        if self.random.chance(4) {
            merge(&mut schema, &condition);
            merge(&mut schema, &then);
        } else {
            forbid(&mut schema, &condition);
            merge(&mut schema, &otherwise);
        }
        schema
    }
}

fn names(schema: &Map<String, Value>) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// Adds what another schema asks for besides.
fn merge(schema: &mut Map<String, Value>, more: &Value) {
    for (word, value) in more.as_object().into_iter().flatten() {
        match (schema.get_mut(word), value) {
            (Some(Value::Array(names)), Value::Array(more)) if word == "required" => {
                names.extend(more.iter().cloned());
            }
            (Some(Value::Object(properties)), Value::Object(_)) if word == "properties" => {
                merge_properties(properties, value);
            }
            _ => {
                schema.insert(word.clone(), value.clone());
            }
        }
    }
}

fn merge_properties(properties: &mut Map<String, Value>, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        // What a condition says of a key that is not there does not bring it there.
        if let Some(Value::Object(own)) = properties.get_mut(name) {
            merge(own, value);
        }
    }
}

/// Takes the words away that a condition asks for, so that it does not hold.
fn forbid(schema: &mut Map<String, Value>, condition: &Value) {
    let conditions = condition.get("properties").and_then(Value::as_object);
    for (name, condition) in conditions.into_iter().flatten() {
        let own = schema.get_mut("properties").and_then(|properties| properties.get_mut(name));
        let words = own.and_then(|own| own.get_mut("enum")).and_then(Value::as_array_mut);
        if let (Some(words), Some(word)) = (words, condition.get("const")) {
            words.retain(|other| other != word);
        }
    }
}
