//! Lists and mappings that need something in them and are empty.
//!
//! These are looked for in what is written and not in what was understood of it: a list of which
//! nothing could be read has its findings already, and is not empty.

use crate::{
    diagnostic::code,
    document::{Entry, Node, Value},
    lowering::Lowering,
};

/// Finds what is empty, and must not be.
pub(super) fn check(root: &Node, lowering: &mut Lowering<'_>) {
    list(root, "scopes", lowering);
    for scope in root.get("scopes").map(Node::items).unwrap_or_default() {
        list(scope, "policy", lowering);
        list(scope, "match", lowering);
        for selector in scope.get("match").map(Node::items).unwrap_or_default() {
            self::selector(selector, lowering);
        }
    }
}

fn list(mapping: &Node, key: &str, lowering: &mut Lowering<'_>) {
    let Some(list) = mapping.get(key) else { return };
    if !matches!(&list.value, Value::List(items) if items.is_empty()) {
        return;
    }
    let (what, help) = match key {
        "scopes" => ("a scope", "each has `name`, `policy` and `match`"),
        "policy" => ("the file of a policy", "as `policy: [coder.yaml]`"),
        _ => ("a selector", "as `match: [{ unit: \"coder-*.service\" }]`"),
    };
    let message = format!("`{key}` is empty, and needs at least {what}");
    lowering.error(code::OUT_OF_RANGE, &list.span, message, help);
}

fn selector(selector: &Node, lowering: &mut Lowering<'_>) {
    if is_empty_mapping(selector) {
        let message = "the selector says nothing".to_owned();
        let help = "give it one of `cgroup`, `unit`, `exe` and `pod`";
        lowering.error(code::MISSING_KEY, &selector.span, message, help);
    }
    let Some(pod) = selector.get("pod") else { return };
    let has_no_labels = || {
        let is_nothing =
            |entry: &Entry| entry.key.name == "labels" && is_empty_mapping(&entry.value);
        !pod.entries().is_empty() && pod.entries().iter().all(is_nothing)
    };
    if is_empty_mapping(pod) || has_no_labels() {
        let message = "this would select every pod".to_owned();
        let help = "give `namespace`, `labels` or `container`; `namespace: \"*\"` is every pod";
        lowering.error(code::BAD_SELECTOR, &pod.span, message, help);
    }
}

fn is_empty_mapping(node: &Node) -> bool {
    matches!(&node.value, Value::Mapping(entries) if entries.is_empty())
}
