//! Where pods are learnt of: a file, or the API server of Kubernetes.

use std::sync::Arc;

use anyhow::Result;
use ringfence_agent::pods::{Change, Pods};
use ringfence_policy::configuration::PodSource;
use tokio::{sync::mpsc, task::AbortHandle};

/// Changes that wait to be looked at.
const WAITING: usize = 256;

/// A source of pods.
pub(super) struct Source {
    /// As the configuration has it.
    named: PodSource,
    pods: Arc<Pods>,
    follower: Option<Follower>,
}

/// What follows the API server.
struct Follower {
    changes: mpsc::Receiver<Change>,
    task: AbortHandle,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    /// Opens the source that is named; `pods` are those of a file, which was read with the
    /// configuration.
    ///
    /// # Errors
    ///
    /// When there is no access to the API server.
    pub(super) async fn open(named: &PodSource, pods: Option<Pods>) -> Result<Self> {
        let is_followed = pods.is_none();
        let pods = Arc::new(pods.unwrap_or_default());
        let follower = match named {
            PodSource::Kubernetes { node } if is_followed => {
                Some(follow(node.as_deref(), Arc::clone(&pods)).await?)
            }
            _ => None,
        };
        Ok(Self { named: named.clone(), pods, follower })
    }

    /// Whether this is the API server that is named.
    pub(super) fn is(&self, named: &PodSource) -> bool {
        matches!(named, PodSource::Kubernetes { .. }) && self.named == *named
    }

    /// What is known.
    pub(super) const fn pods(&self) -> &Arc<Pods> {
        &self.pods
    }

    /// What has changed, as soon as something has. A file does not change by itself.
    pub(super) async fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(follower) = &mut self.follower {
            follower.changes.recv_many(&mut changes, WAITING).await;
        }
        if changes.is_empty() {
            return std::future::pending().await;
        }
        changes
    }
}

#[cfg(feature = "kubernetes")]
async fn follow(node: Option<&str>, pods: Arc<Pods>) -> Result<Follower> {
    use anyhow::Context as _;
    use ringfence_agent::pods::api;

    let node = api::node_name(node.unwrap_or_default());
    let source = api::Source::open(&node).await.context("`pods.source`")?;
    let (tell, changes) = mpsc::channel(WAITING);
    let follow = async move { source.follow(&pods, &tell).await };
    Ok(Follower { changes, task: tokio::task::spawn_local(follow).abort_handle() })
}

#[cfg(not(feature = "kubernetes"))]
#[expect(clippy::unused_async, reason = "as where Kubernetes is built in")]
async fn follow(_: Option<&str>, _: Arc<Pods>) -> Result<Follower> {
    anyhow::bail!(
        "`pods.source`: this build of ringfence does not know Kubernetes: build it with the feature \
         `kubernetes`, or name a file"
    )
}
