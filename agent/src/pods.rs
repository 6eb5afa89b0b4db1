//! Who a container is: which pod of Kubernetes a cgroup belongs to, and what is known of that pod.
//!
//! [`Place::of`] reads pod and container from a cgroup's path. [`Pods`] says what the pod is; it is
//! filled from the API server ([`api`]) or from a file ([`file`]). [`role`] asks the runtime which of
//! the pod's containers it is. A [`Selector`] says whether a policy is meant for it.

#[cfg(feature = "kubernetes")]
pub mod api;
mod bundle;
mod cgroup;
pub mod file;
mod id;
mod pod;
mod selector;
mod store;
#[cfg(test)]
mod testing;

pub use bundle::{Role, role};
pub use cgroup::{Place, Runtime};
pub use id::{BadId, ContainerId, PodUid};
pub use pod::{POLICY, Pod, is_policy_name};
pub use selector::{Answer, BadSelector, Selector};
pub use store::{Change, GRACE, Health, Pods, Refused};
