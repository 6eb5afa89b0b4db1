//! The schema of the agent's configuration, beside our own check.

use ringfence_policy::{Source, configuration, json_schema::of_configuration};
use serde_json::{Value, json};

use crate::verdict::Validator;

/// A configuration in which one thing is set: `key` of the file, of its only scope, or of the only
/// selector in that.
fn with(part: &str, key: &str, value: Value) -> Value {
    let mut selector = json!({ "unit": "a.service" });
    let mut scope = json!({ "name": "a", "policy": ["a.yaml"] });
    let mut file = json!({ "agent": 1 });
    match part {
        "selector" => selector = json!({ key: value }),
        "scope" => scope[key] = value,
        _ => file[key] = value,
    }
    if scope.get("match").is_none() {
        scope["match"] = json!([selector]);
    }
    if file.get("scopes").is_none() {
        file["scopes"] = json!([scope]);
    }
    if file.get("pods").is_none() && key == "pod" {
        file["pods"] = json!({ "source": "kubernetes" });
    }
    file
}

#[test]
fn configurations_are_valid_in_the_schema_exactly_when_they_are_to_us() {
    let validator = Validator::new(&of_configuration()).unwrap();
    let cases = [
        ("file", "agent", json!(1), true),
        ("file", "agent", json!(2), false),
        ("file", "agent", json!("1"), false),
        ("file", "surprise", json!(1), false),
        ("file", "scopes", json!([]), false),
        ("file", "events", json!("-"), true),
        ("file", "events", json!("/var/log/ringfence"), true),
        ("file", "events", json!("log"), false),
        ("file", "control", json!("/run/a.sock"), true),
        ("file", "control", json!("a.sock"), false),
        ("file", "metrics", json!("127.0.0.1:9464"), true),
        ("file", "metrics", json!("[::1]:9464"), true),
        ("file", "metrics", json!("/run/m.sock"), true),
        ("file", "metrics", json!("0.0.0.0:9464"), false),
        ("file", "metrics", json!(9464), false),
        ("file", "pods", json!({ "source": "kubernetes", "node": "n", "policies": "p" }), true),
        ("file", "pods", json!({ "source": { "file": "pods.yaml" }, "policies": "p" }), true),
        ("file", "pods", json!({ "source": { "file": "" } }), false),
        ("file", "pods", json!({ "source": { "file": "a", "x": 1 } }), false),
        ("file", "pods", json!({ "source": "docker" }), false),
        ("file", "pods", json!({ "source": null }), false),
        ("file", "pods", json!({ "node": "n" }), false),
        ("file", "pods", json!({ "source": "kubernetes", "unidentified": "deny" }), false),
        ("scope", "name", json!("A-b_c.9"), true),
        ("scope", "name", json!(".a"), false),
        ("scope", "name", json!("a b"), false),
        ("scope", "name", json!("a".repeat(64)), true),
        ("scope", "name", json!("a".repeat(65)), false),
        ("scope", "policy", json!([]), false),
        ("scope", "policy", json!([""]), false),
        ("scope", "policy", json!("a.yaml"), false),
        ("scope", "mode", json!("observe"), true),
        ("scope", "mode", json!("watch"), false),
        ("scope", "unlisted_names", json!("nxdomain"), true),
        ("scope", "unlisted_names", json!("refuse"), false),
        ("scope", "allow_degraded", json!(true), true),
        ("scope", "allow_degraded", json!("yes"), false),
        ("scope", "match", json!([]), false),
        ("scope", "match", json!([{}]), false),
        ("scope", "match", json!([{ "unit": "a.service", "exe": "/a" }]), false),
        ("selector", "cgroup", json!("/machine.slice/a*.scope"), true),
        ("selector", "cgroup", json!("a"), false),
        ("selector", "unit", json!("a/b.service"), false),
        ("selector", "unit", json!(""), false),
        ("selector", "exe", json!("/opt/**/agent"), true),
        ("selector", "exe", json!("agent"), false),
        ("selector", "pod", json!({ "namespace": "a" }), true),
        ("selector", "pod", json!({ "labels": { "app": "a" }, "container": "b-*" }), true),
        ("selector", "pod", json!({ "labels": { "app": 1 } }), false),
        ("selector", "pod", json!({ "namespace": "a/b" }), false),
        ("selector", "pod", json!({}), false),
    ];
    for (part, key, value, is_valid) in cases {
        let document = with(part, key, value);
        let parsed = configuration::read(&Source::new("a.yaml", document.to_string()));
        assert_eq!(
            parsed.configuration.is_some(),
            is_valid,
            "{document}: {:#?}",
            parsed.diagnostics
        );
        assert_eq!(validator.accepts(&document), is_valid, "{document}");
    }
}
