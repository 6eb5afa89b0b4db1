//! Documents of other generations of the languages: recognised by keys that no valid document of
//! the generation that is read can have, and refused by name. Half of a policy must not be taken
//! for the whole.

use crate::{
    diagnostic::{Diagnostic, code},
    document::{Key, Node, Value},
};

/// A key by which another generation is known.
struct Mark {
    /// The keys that lead to it; `[]` stands for every item of a list.
    path: &'static [&'static str],
    /// What such a document is.
    name: &'static str,
    /// Outermost keys of the generation that is read and that the other does not have: a document
    /// with one of them has a slip and is no other generation.
    unless: &'static [&'static str],
}

const LATER_SECAI: &str = "SecAI policy of a later schema";
const OLDER_SECAI: &str = "SecAI policy of an older form";
const COREAX: &str = "CoreAX policy, which is a later generation of Sec0 policies";
const GATEWAY: &str = "Sec0 gateway policy, which is another language";
const NESTED_AGENT: &str = "SecAI agent.yaml of another form, nested under `agent`";

const SEC0_ONLY: &[&str] = &["tenant", "default_retention", "signing", "sec0_export"];

const fn mark(path: &'static [&'static str], name: &'static str) -> Mark {
    Mark { path, name, unless: &[] }
}

const fn coreax(path: &'static [&'static str]) -> Mark {
    Mark { path, name: COREAX, unless: SEC0_ONLY }
}

/// The most telling first. The keys that generations have were compared one by one: those that
/// are only missing in another generation are no marks, since a document may leave them out.
const MARKS: &[Mark] = &[
    coreax(&["enforcement", "denyOn"]),
    coreax(&["tools", "requirePinnedVersions"]),
    coreax(&["security", "egressAllowlist"]),
    coreax(&["security", "filesystemAllowlist"]),
    coreax(&["privacy", "redactOutputs"]),
    coreax(&["agentGuard"]),
    mark(&["tools", "allow", "[]", "args"], LATER_SECAI),
    mark(&["models", "require_modelaudit"], LATER_SECAI),
    mark(&["airlock", "max_response_size"], LATER_SECAI),
    mark(&["tools", "default_policy"], OLDER_SECAI),
    mark(&["defaults", "log_level"], OLDER_SECAI),
    mark(&["agent", "always_deny"], NESTED_AGENT),
    mark(&["agent", "hard_approval"], NESTED_AGENT),
    mark(&["agent", "allowed_tools"], NESTED_AGENT),
    mark(&["agent", "workspace"], NESTED_AGENT),
    Mark { path: &["enforcement", "mode"], name: GATEWAY, unless: SEC0_ONLY },
    Mark { path: &["brokers"], name: GATEWAY, unless: SEC0_ONLY },
    Mark { path: &["entitlements"], name: GATEWAY, unless: SEC0_ONLY },
];

/// The finding that a document is of another generation.
pub(crate) fn other(document: &Node) -> Option<Diagnostic> {
    let is_ours = |mark: &&Mark| mark.unless.iter().any(|key| document.get(key).is_some());
    let found = |mark: &Mark| Some((mark.name, mark.path, key_at(document, mark.path)?));
    let (name, path, key) = MARKS.iter().filter(|mark| !is_ours(mark)).find_map(found)?;
    let shown = path.join(".").replace(".[]", "[]");
    let message = format!("this is a {name}: it has `{shown}`");
    let help = "it is not read, not even in part: read are Sec0 policies of the schema of \
                sec0-sdk 0.2.3, the first public schema of SecAI policies, agent.yaml, and \
                `boundary` documents, in which this boundary can be written";
    let (place, length) = (key.span.place.clone(), key.span.length);
    Some(Diagnostic::error(code::UNSUPPORTED_VERSION, place, length, message).with_help(help))
}

/// The key at the end of a path, the first where lists lead to several.
fn key_at<'a>(node: &'a Node, path: &[&str]) -> Option<&'a Key> {
    match path {
        [] => None,
        ["[]", rest @ ..] => node.items().iter().find_map(|item| key_at(item, rest)),
        [name] => node.entry(name).map(|entry| &entry.key),
        [name, rest @ ..] => key_at(node.get(name)?, rest),
    }
}

/// Adds to the finding that `privacy.artifact_retention` is missing what its absence may mean: of
/// the generation after ours that is the only sign, and a slip looks the same.
pub(crate) fn hint(document: &Node, diagnostics: &mut [Diagnostic]) {
    let Some(privacy) = document.get("privacy") else { return };
    let is_mapping = matches!(privacy.value, Value::Mapping(_));
    if !is_mapping || privacy.get("artifact_retention").is_some() {
        return;
    }
    let is_about_it = |finding: &&mut Diagnostic| {
        finding.code == code::MISSING_KEY && finding.message.contains("`artifact_retention`")
    };
    if let Some(finding) = diagnostics.iter_mut().find(is_about_it) {
        let help = finding.help.take().unwrap_or_default();
        let more = "; a policy for an SDK after 0.2.3 leaves it out, and is not read";
        finding.help = Some(help + more);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        diagnostic::code,
        testing::{error, errors},
    };

    #[test]
    fn other_generations_are_refused_by_name_at_the_key_that_tells() {
        for (text, name, line, column) in [
            (
                "version: 1\ntools: { allow: [x] }\nenforcement: { denyOn: [] }\n",
                "CoreAX policy",
                3,
                16,
            ),
            ("version: 1\nagentGuard: {}\ntools: {}\n", "CoreAX policy", 2, 1),
            (
                "version: 1\ntools:\n  allow:\n    - { name: a }\n    - { name: b, args: [] }\n",
                "SecAI policy of a later schema",
                5,
                18,
            ),
            ("models: { require_modelaudit: true }\n", "SecAI policy of a later schema", 1, 11),
            ("airlock: { max_response_size: 1 }\n", "SecAI policy of a later schema", 1, 12),
            ("tools: { default_policy: deny }\n", "SecAI policy of an older form", 1, 10),
            ("agent: { workspace: {} }\n", "nested under `agent`", 1, 10),
            ("authn: {}\nbrokers: {}\n", "gateway policy", 2, 1),
        ] {
            let errors = errors(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
            let error = &errors[0];
            assert_eq!(error.code, code::UNSUPPORTED_VERSION, "{text}");
            assert!(error.message.contains(name), "{text}: {error}");
            assert_eq!((error.place.line, error.place.column), (line, column), "{text}");
        }
    }

    #[test]
    fn a_slip_in_a_document_of_ours_is_a_slip() {
        let errors = errors("tenant: a\ndefault_retention: 30d\nenforcement: { denyOn: [] }\n");
        assert!(errors.len() > 1);
        assert!(
            errors.iter().any(|error| error.help.as_deref() == Some("did you mean `deny_on`?"))
        );
    }

    #[test]
    fn what_later_generations_only_leave_out_is_told_as_a_hint() {
        let privacy = "privacy: { redact_outputs: true, store_raw_payloads: false }\n";
        let text = format!("tenant: a\ndefault_retention: 30d\n{privacy}");
        let errors = errors(&text);
        let hint = |finding: &crate::Diagnostic| {
            finding.help.as_deref().is_some_and(|help| help.contains("after 0.2.3"))
        };
        assert_eq!(errors.iter().filter(|finding| hint(finding)).count(), 1, "{errors:#?}");
        let (code, ..) = error("boundary: 1\nagentGuard: {}\n");
        assert_eq!(code, code::UNKNOWN_KEY, "a boundary document is one");
    }
}
