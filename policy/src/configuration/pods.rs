//! Where the agent learns of pods.

use std::path::{Path, PathBuf};

use super::keys::{Document, PodsKeys, SourceKeys, UnidentifiedWord};
use crate::{
    diagnostic::{code, quoted},
    document::Value,
    lowering::Lowering,
    model::{Field, items, value},
    suggestion::nearest,
};

/// Where the agent learns of pods, and what it does with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Where it learns of them.
    pub source: PodSource,
    /// The folder of the policies that pods choose by an annotation, if they may.
    pub policies: Option<PathBuf>,
    /// What becomes of a container whose pod is not known yet.
    pub unidentified: Unidentified,
}

/// Where the agent learns of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodSource {
    /// From Kubernetes.
    Kubernetes {
        /// The name of this node; `None` leaves it to the environment.
        node: Option<String>,
    },
    /// From a file that lists them.
    File(PathBuf),
}

/// What becomes of a container whose pod is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unidentified {
    /// It cannot start its first program.
    #[default]
    Hold,
    /// It starts, and is not governed until its pod is known.
    Allow,
}

/// The word for learning of pods from Kubernetes.
const KUBERNETES: &str = "kubernetes";
/// What else may stand there.
const SOURCES: &str = "it is `kubernetes`, or a file: `{ file: /etc/ringfence/pods.yaml }`";

/// Reads `pods`; paths are relative to `folder`. `None` when it cannot be used.
pub(super) fn lower(
    field: &Field<PodsKeys>,
    folder: &Path,
    lowering: &mut Lowering<'_>,
) -> Option<Pods> {
    let keys = field.value.as_ref()?;
    let source = keys.source.as_ref()?;
    let file = match source.value.as_ref() {
        Some(written) => file(written, lowering)?,
        None => {
            let message = "`pods.source` is nothing".to_owned();
            lowering.error(code::WRONG_TYPE, &source.span, message, SOURCES);
            return None;
        }
    };
    let node = value(&keys.node).filter(|node| !node.is_empty()).cloned();
    if file.is_some()
        && node.is_some()
        && let Some(field) = &keys.node
    {
        let message = "`node` has no meaning where pods are read from a file".to_owned();
        lowering.error(
            code::CONFLICT,
            &field.key,
            message,
            "remove it, or write `source: kubernetes`",
        );
    }
    let source = match file {
        Some(file) => PodSource::File(folder.join(file)),
        None => PodSource::Kubernetes { node },
    };
    let policies = value(&keys.policies).map(|path| folder.join(path));
    let unidentified = match value(&keys.unidentified) {
        None | Some(UnidentifiedWord::Hold) => Unidentified::Hold,
        Some(UnidentifiedWord::Allow) => Unidentified::Allow,
    };
    Some(Pods { source, policies, unidentified })
}

/// The file that is named as the source, `Some(None)` for Kubernetes, or `None` with a finding.
fn file(written: &SourceKeys, lowering: &mut Lowering<'_>) -> Option<Option<String>> {
    let node = &written.0;
    match &node.value {
        Value::Text(word) if word == KUBERNETES => Some(None),
        Value::Text(word) => {
            let message = format!("`pods.source` cannot be {}", quoted(word));
            let help = match nearest(word, [KUBERNETES]) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if word.contains(['/', '.']) => {
                    format!("write a file as a mapping: `{{ file: {word} }}`")
                }
                None => SOURCES.to_owned(),
            };
            lowering.error(code::UNKNOWN_VALUE, &node.span, message, &help);
            None
        }
        Value::Mapping(entries) => {
            for entry in entries.iter().filter(|entry| entry.key.name != "file") {
                let message = format!("unknown key {} in `pods.source`", quoted(&entry.key.name));
                lowering.error(
                    code::UNKNOWN_KEY,
                    &entry.key.span,
                    message,
                    "the only key here is `file`",
                );
            }
            let Some(file) = node.get("file") else {
                if entries.is_empty() {
                    let message = "`pods.source` needs the key `file`".to_owned();
                    lowering.error(code::MISSING_KEY, &node.span, message, SOURCES);
                }
                return None;
            };
            match file.text().filter(|path| !path.is_empty()) {
                Some(path) => Some(Some(path.to_owned())),
                None => {
                    let message =
                        format!("`pods.source.file` must be a path, and is {}", file.describe());
                    let help = "write it as `{ file: /etc/ringfence/pods.yaml }`";
                    lowering.error(code::WRONG_TYPE, &file.span, message, help);
                    None
                }
            }
        }
        _ => {
            let message = format!("`pods.source` cannot be {}", node.describe());
            lowering.error(code::WRONG_TYPE, &node.span, message, SOURCES);
            None
        }
    }
}

/// Checks that pods are selected where the agent learns of them, and only there.
pub(super) fn check_use(document: &Document, lowering: &mut Lowering<'_>) {
    let selectors = document.scopes.iter().flat_map(|scopes| scopes.items());
    let selectors = selectors.flat_map(|scope| items(&scope.value.selectors));
    let mut selecting = selectors.filter_map(|selector| selector.value.pod.as_ref()).peekable();
    match &document.pods {
        None => {
            for field in selecting {
                let message = "`pod` is selected, and the agent knows of no pods".to_owned();
                let help = "add `pods: { source: kubernetes }` beside `scopes`";
                lowering.error(code::CONFLICT, &field.key, message, help);
            }
        }
        Some(field) => {
            let chooses = field.value.as_ref().is_none_or(|pods| pods.policies.is_some());
            if selecting.peek().is_none() && !chooses {
                let message = "`pods` has no use: no scope selects pods, and pods can choose no \
                               policy"
                    .to_owned();
                let help = "add a selector `pod` to a scope, or `policies` here, or remove `pods`";
                lowering.warning(code::SURPRISING, &field.key, message, help);
            }
        }
    }
}
