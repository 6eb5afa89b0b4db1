//! What a container's runtime has written of it: its name in the pod, before the API server knows.
//!
//! The API server learns which name belongs to which container only once that runs. The runtime was
//! told by the kubelet, and keeps it in a file that nobody but root on the machine can write.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::ContainerId;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// What the runtime says a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The pod's sandbox (`pause`), which holds its namespaces and runs nothing of its own.
    Sandbox,
    /// The container of this name.
    Named(String),
}

/// How a runtime tells.
struct Form {
    /// Its file, with `{}` for the container's identifier, from the root of the machine.
    file: &'static str,
    /// Where in the file the annotations or labels are.
    at: &'static str,
    /// The key that tells the kind, and what that is for a sandbox.
    kind: (&'static str, &'static str),
    /// The key that tells the name.
    name: &'static str,
}

/// containerd's own folder of state, and that of K3s.
const CONTAINERD: Form = Form {
    file: "run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json",
    at: "/annotations",
    kind: ("io.kubernetes.cri.container-type", "sandbox"),
    name: "io.kubernetes.cri.container-name",
};
const K3S: Form = Form {
    file: "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json",
    ..CONTAINERD
};
/// CRI-O's folders: of what runs, and of what is stored.
const CRIO: Form = Form {
    file: "run/containers/storage/overlay-containers/{}/userdata/config.json",
    at: "/annotations",
    kind: ("io.kubernetes.cri-o.ContainerType", "sandbox"),
    name: "io.kubernetes.container.name",
};
const CRIO_STORED: Form =
    Form { file: "var/lib/containers/storage/overlay-containers/{}/userdata/config.json", ..CRIO };
/// Docker Engine, through cri-dockerd.
const DOCKER: Form = Form {
    file: "var/lib/docker/containers/{}/config.v2.json",
    at: "/Config/Labels",
    kind: ("io.kubernetes.docker.type", "podsandbox"),
    name: "io.kubernetes.container.name",
};

const FORMS: [Form; 5] = [CONTAINERD, CRIO, K3S, CRIO_STORED, DOCKER];

/// What the runtime of a machine whose root is there says a container is; `None` where no runtime
/// says anything that can be understood.
pub fn role(root: &Path, id: ContainerId) -> Option<Role> {
    FORMS.iter().find_map(|form| {
        let file: PathBuf = root.join(form.file.replace("{}", &id.to_string()));
        form.role(&read(&file)?)
    })
}

fn read(file: &Path) -> Option<Value> {
    let mut text = Vec::new();
    let length = File::open(file).ok()?.take(MAX_BYTES + 1).read_to_end(&mut text).ok()?;
    (length as u64 <= MAX_BYTES).then(|| serde_json::from_slice(&text).ok()).flatten()
}

impl Form {
    fn role(&self, value: &Value) -> Option<Role> {
        let said = value.pointer(self.at)?;
        let text = |key: &str| said.get(key).and_then(Value::as_str);
        if text(self.kind.0)? == self.kind.1 {
            return Some(Role::Sandbox);
        }
        let name = text(self.name).filter(|name| !name.is_empty())?;
        Some(Role::Named(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::pods::testing::id;

    #[test]
    fn each_runtime_tells_a_container_from_the_sandbox() {
        for form in FORMS {
            let root = tempfile::tempdir().unwrap();
            let said = |kind: &str, name: Option<&str>| {
                let file = root.path().join(form.file.replace("{}", &id(1).to_string()));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                let mut value = json!({ form.kind.0: kind });
                if let Some(name) = name {
                    value[form.name] = name.into();
                }
                for part in form.at.rsplit('/').filter(|part| !part.is_empty()) {
                    value = json!({ part: value });
                }
                fs::write(file, value.to_string()).unwrap();
                role(root.path(), id(1))
            };
            assert_eq!(said(form.kind.1, None), Some(Role::Sandbox));
            assert_eq!(said("container", Some("main")), Some(Role::Named("main".into())));
            assert_eq!(said("container", None), None);
            assert_eq!(said("container", Some("")), None);
            assert_eq!(role(root.path(), id(2)), None);
        }
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(CONTAINERD.file.replace("{}", &id(1).to_string()));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for text in ["", "{", "[]", "null", r#"{"annotations": []}"#, r#"{"annotations": {}}"#] {
            fs::write(&file, text).unwrap();
            assert_eq!(role(root.path(), id(1)), None, "{text}");
        }
    }
}
