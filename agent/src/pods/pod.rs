//! What is known of a pod.

use std::collections::BTreeMap;

use super::{ContainerId, PodUid};

/// The annotation that names the policy of a pod that the configuration does not name.
pub const POLICY: &str = "ringfence.dev/policy";
/// The longest name of a policy, in bytes.
const MAX_NAME: usize = 64;

/// A pod, as far as policies ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// What its cgroup is named after.
    pub uid: PodUid,
    /// The namespace that it is in.
    pub namespace: String,
    /// Its name, which is one of a kind in its namespace.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations; from the API server, those of ringfence alone.
    pub annotations: BTreeMap<String, String>,
    /// Its containers by their names. The identifier is known only after the container was made.
    pub containers: BTreeMap<String, Option<ContainerId>>,
}

impl Pod {
    /// The policy that its annotation names.
    ///
    /// # Errors
    ///
    /// The annotation's value, when it is not the name of a policy: whoever may annotate a pod must
    /// not reach files outside the folder of policies.
    pub fn policy(&self) -> Result<Option<&str>, &str> {
        match self.annotations.get(POLICY) {
            None => Ok(None),
            Some(name) if is_policy_name(name) => Ok(Some(name)),
            Some(name) => Err(name),
        }
    }

    /// The name of a container of this pod; `None` for its sandbox, and for a container that is not
    /// known yet.
    pub fn container(&self, id: &ContainerId) -> Option<&str> {
        let mut found = self.containers.iter().filter(|(_, known)| known.as_ref() == Some(id));
        let (name, _) = found.next()?;
        // One identifier with two names is a mistake, or a lie.
        found.next().is_none().then_some(name)
    }
}

/// Whether this may be the name of a policy: ASCII letters, digits, `-`, `_` and `.`, at most 64,
/// not beginning with a dot.
pub fn is_policy_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::testing::{id, pod};

    #[test]
    fn an_annotation_names_a_policy_and_no_other_file() {
        let mut pod = pod(1, "coder-0");
        assert_eq!(pod.policy(), Ok(None));
        for name in ["coder", "Coder-2_b.v1", "a..b", "x".repeat(64).as_str()] {
            pod.annotations.insert(POLICY.into(), name.into());
            assert_eq!(pod.policy(), Ok(Some(name)));
        }
        let long = "x".repeat(65);
        let refused =
            ["", ".", "..", ".hidden", "../coder", "a/b", "/etc/passwd", "a\\b", "a b", "a\0b"];
        for name in refused.into_iter().chain(["ä", "a\n", "~", "$(id)", long.as_str()]) {
            pod.annotations.insert(POLICY.into(), name.into());
            assert_eq!(pod.policy(), Err(name));
        }
    }

    #[test]
    fn a_container_is_found_by_its_identifier_and_not_when_two_claim_it() {
        let mut pod = pod(1, "coder-0");
        pod.containers.insert("main".into(), Some(id(1)));
        pod.containers.insert("side".into(), None);
        assert_eq!(pod.container(&id(1)), Some("main"));
        assert_eq!(pod.container(&id(2)), None);
        pod.containers.insert("side".into(), Some(id(1)));
        assert_eq!(pod.container(&id(1)), None);
    }
}
