//! How the API server is reached.

use std::{env, path::PathBuf};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// The longest name of a node, in bytes: that of a domain name.
const MAX_NODE: usize = 253;

/// Why the API server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file that says where it is and who asks.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is no such file, and this is no pod with a service account.
    #[error(
        "$KUBECONFIG names no file, and this does not run in a pod with a service account: {0}"
    )]
    InCluster(#[from] InClusterError),
    /// What they say makes no client.
    #[error("{0}")]
    Client(#[source] Box<kube::Error>),
    /// The node's name.
    #[error("`{0}` is not the name of a node: letters in lower case, digits, - and .")]
    Node(String),
}

/// Where it is said how to reach the server.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Files, of which the first that says something counts.
    Kubeconfig(Vec<PathBuf>),
    /// The service account of the pod that this runs in.
    InCluster,
}

impl Access {
    pub(super) fn of_environment() -> Self {
        let files = env::var_os("KUBECONFIG").unwrap_or_default();
        let files: Vec<_> =
            env::split_paths(&files).filter(|path| !path.as_os_str().is_empty()).collect();
        if files.is_empty() { Self::InCluster } else { Self::Kubeconfig(files) }
    }

    /// Reads the files, and makes what asks the server.
    pub(super) async fn client(&self) -> Result<Client, AccessError> {
        let mut config = match self {
            Self::InCluster => Config::incluster()?,
            Self::Kubeconfig(paths) => {
                let mut all = Kubeconfig::default();
                for path in paths {
                    all = all.merge(Kubeconfig::read_from(path)?)?;
                }
                Config::from_custom_kubeconfig(all, &KubeConfigOptions::default()).await?
            }
        };
        // Whoever asks tries again, and tells that.
        config.default_retry = false;
        Client::try_from(config).map_err(|error| AccessError::Client(error.into()))
    }
}

/// The name of this node: the configured one, else `$NODE_NAME`, else the host's name in lower case,
/// as the kubelet takes it.
pub fn node_name(configured: &str) -> String {
    let of_environment = || env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let of_host = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    match configured {
        "" => of_environment().unwrap_or_else(of_host),
        name => name.to_owned(),
    }
}

/// A name that can be part of what is asked for.
pub(super) fn check_node(name: &str) -> Result<String, AccessError> {
    let is_fit = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    if (1..=MAX_NODE).contains(&name.len()) && name.bytes().all(is_fit) {
        Ok(name.to_owned())
    } else {
        Err(AccessError::Node(name.to_owned()))
    }
}
