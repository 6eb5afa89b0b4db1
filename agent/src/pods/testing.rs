//! Pods for tests.

use std::collections::BTreeMap;

use super::{ContainerId, Pod, PodUid};

/// The uid that ends with this number.
pub(crate) fn uid(number: u16) -> PodUid {
    format!("1b4e28ba-2fa1-11d2-883f-00000000{number:04x}").parse().unwrap()
}

/// The container's identifier that ends with this number.
pub(crate) fn id(number: u16) -> ContainerId {
    format!("{number:064x}").parse().unwrap()
}

/// A pod in the namespace `agents`, with nothing else.
pub(crate) fn pod(number: u16, name: &str) -> Pod {
    Pod {
        uid: uid(number),
        namespace: "agents".into(),
        name: name.into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        containers: BTreeMap::new(),
    }
}
