//! Pods as the API server tells of them. Only what is needed is read, so that the rest takes no
//! memory.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::pods::{Pod, PodUid};

/// What the annotations that are kept begin with.
const OURS: &str = "ringfence.dev/";
/// What the kubelet annotates the object with that tells of a static pod: the pod's uid. The object
/// has another.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The same, as the pod itself has it.
const HASH: &str = "kubernetes.io/config.hash";

/// All pods, at one time.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) items: Vec<Object>,
}

/// Of which time a list is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub(super) resource_version: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Object {
    metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "or_default")]
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    ephemeral_containers: Vec<Named>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    #[serde(deserialize_with = "or_default")]
    container_statuses: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    ephemeral_container_statuses: Vec<Named>,
}

/// A container, or its status.
#[derive(Clone, Debug, Deserialize)]
struct Named {
    name: String,
    /// `containerd://f00d…`
    #[serde(default, rename = "containerID")]
    id: Option<String>,
}

/// The server's `null` is the same as nothing.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// What an object tells.
pub(super) enum Read {
    /// A pod that may have containers.
    Live(PodUid, Pod),
    /// A pod that has ended for good.
    Over(PodUid),
    /// No pod that can be told from others.
    Bad,
}

impl Object {
    /// The version of the server's data when this was so.
    pub(super) fn version(&self) -> Option<String> {
        self.metadata.resource_version.clone()
    }

    /// The object's own uid.
    pub(super) fn key(&self) -> Option<PodUid> {
        self.metadata.uid.as_deref()?.parse().ok()
    }

    pub(super) fn read(self) -> Read {
        let key = self.key();
        let Self { metadata: Metadata { name, namespace, labels, annotations, .. }, spec, status } =
            self;
        let (Some(key), Some(name), Some(namespace)) = (key, name, namespace) else {
            return Read::Bad;
        };
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return Read::Over(key);
        }
        let uid = static_uid(&annotations).unwrap_or(key);
        let mut annotations = annotations;
        annotations.retain(|name, _| name.starts_with(OURS));
        let specs = [spec.containers, spec.init_containers, spec.ephemeral_containers];
        let statuses = [
            status.container_statuses,
            status.init_container_statuses,
            status.ephemeral_container_statuses,
        ];
        let mut containers = BTreeMap::new();
        // The statuses come last: they have the identifiers.
        for Named { name, id } in specs.into_iter().chain(statuses).flatten() {
            let id = id.and_then(|id| id.split_once("://")?.1.parse().ok());
            containers.insert(name, id);
        }
        Read::Live(key, Pod { uid, namespace, name, labels, annotations, containers })
    }
}

/// The uid of a static pod, by which no pod of the API server can be named: theirs have dashes.
fn static_uid(annotations: &BTreeMap<String, String>) -> Option<PodUid> {
    let uid = annotations.get(MIRROR).filter(|uid| annotations.get(HASH) == Some(uid))?;
    uid.parse().ok().filter(|uid: &PodUid| uid.is_static())
}
