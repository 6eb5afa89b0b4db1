//! From the path of a cgroup to the pod and the container that it belongs to.

use super::{ContainerId, PodUid};

/// The pod and the container that a cgroup's path names.
///
/// The kubelet and the container's runtime choose these paths. Whoever may make cgroups below
/// [`root`](Self::root) can make one that names any pod, so ask only with roots that are the
/// kubelet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The pod.
    pub pod: PodUid,
    /// The container, or the sandbox (`pause`) of the pod: the path does not tell which.
    pub container: ContainerId,
    /// What runs it; `None` where the path does not say, as with the kubelet's `cgroupfs` driver.
    pub runtime: Option<Runtime>,
    /// What the kubelet has as its root, without a `/` at the end. Empty is the root of the
    /// hierarchy, which is usual. Others come of `--cgroup-root`, and of a node that is
    /// a container itself, such as those of kind.
    pub root: &'a str,
}

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// containerd, through its interface for Kubernetes.
    Containerd,
    /// CRI-O.
    Crio,
    /// Docker Engine, through cri-dockerd.
    Docker,
}

/// The longest path that is read, in bytes: the kernel's limit for any path (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// What every pod is below, as a folder and as the end of a slice's name.
const PODS: &str = "kubepods";
/// The kubelet's classes of service that have a level of their own; guaranteed pods have none.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

impl<'a> Place<'a> {
    /// Reads the path of a cgroup, from the root of the hierarchy, as `/proc/PID/cgroup` has it.
    /// Paths below a container's own cgroup are that container's too.
    ///
    /// `None` for whatever is not the cgroup of a container in a pod for certain: a pod's own
    /// cgroup, CRI-O's monitor of a container (`crio-conmon-…`), Podman's containers (`libpod-…`).
    /// The outermost pod counts: what a container makes below its own cgroup cannot make it
    /// another's.
    pub fn of(path: &'a str) -> Option<Self> {
        if path.len() > MAX_PATH {
            return None;
        }
        let mut components = path.strip_prefix('/')?.split('/');
        let mut above = Vec::new();
        let pods = loop {
            let component = components.next()?;
            if slice(component).unwrap_or(component).split('-').any(|part| part == PODS) {
                break component;
            }
            above.push(component);
        };
        let root = &path[..above.iter().map(|component| component.len() + 1).sum()];
        let (pod, leaf) = match slice(pods) {
            Some(pods) => (slices(&above, pods, &mut components)?, Leaf::Scope),
            None => (folders(&above, pods, &mut components)?, Leaf::Folder),
        };
        let (container, runtime) = leaf.read(components.next()?)?;
        // `//`, `.` and `..` are in no path of the kernel's.
        let is_odd = |component: &str| matches!(component, "" | "." | "..");
        (!components.any(is_odd)).then_some(Self { pod, container, runtime, root })
    }
}

/// The pod of the systemd driver's `kubepods.slice/kubepods-CLASS.slice/kubepods-CLASS-podUID.slice`:
/// a slice's name has the names of all slices above it, with `-` between them.
fn slices<'a>(
    above: &[&str],
    pods: &str,
    components: &mut impl Iterator<Item = &'a str>,
) -> Option<PodUid> {
    let outside = match pods.strip_suffix(PODS)? {
        "" => above,
        root => without_slices(above, root.strip_suffix('-')?)?,
    };
    if !is_root_or_node(outside) {
        return None;
    }
    let mut below = |above: &str| slice(components.next()?)?.strip_prefix(above)?.strip_prefix('-');
    let first = below(pods)?;
    if !CLASSES.contains(&first) {
        return PodUid::read(first.strip_prefix("pod")?, '_');
    }
    PodUid::read(below(&format!("{pods}-{first}"))?.strip_prefix("pod")?, '_')
}

/// Takes the slices of `--cgroup-root` off the end: for `a-b`, these are `a.slice/a-b.slice`.
fn without_slices<'a, 'b>(above: &'b [&'a str], name: &str) -> Option<&'b [&'a str]> {
    let (last, rest) = above.split_last()?;
    // Users may make slices of their own below this one.
    if slice(last)? != name || name.split('-').any(str::is_empty) || name == "user" {
        return None;
    }
    match name.rsplit_once('-') {
        None => Some(rest),
        Some((parent, _)) => without_slices(rest, parent),
    }
}

/// The pod of the cgroupfs driver's `kubepods/CLASS/podUID`.
fn folders<'a>(
    above: &[&str],
    pods: &str,
    components: &mut impl Iterator<Item = &'a str>,
) -> Option<PodUid> {
    let is_plain = |component: &str| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !component.is_empty() && component.bytes().all(is_fit)
    };
    let outside =
        above.iter().rposition(|component| !is_plain(component)).map_or(0, |last| last + 1);
    if pods != PODS || !is_root_or_node(&above[..outside]) {
        return None;
    }
    let mut component = components.next()?;
    if CLASSES.contains(&component) {
        component = components.next()?;
    }
    PodUid::read(component.strip_prefix("pod")?, '-')
}

/// Whether this is the root of the hierarchy, or the cgroup of a container that is a node. Below
/// any other, such as a user's, somebody else than the kubelet could make up pods.
fn is_root_or_node(path: &[&str]) -> bool {
    let is_node = |scope: &str, prefix: &str| {
        let id = scope.strip_suffix(".scope").and_then(|scope| scope.strip_prefix(prefix));
        id.and_then(ContainerId::read).is_some()
    };
    match path {
        [] => true,
        ["docker", id] => ContainerId::read(id).is_some(),
        ["system.slice", scope] => is_node(scope, "docker-"),
        ["machine.slice", scope] | ["machine.slice", scope, "container"] => {
            is_node(scope, "libpod-")
        }
        _ => false,
    }
}

/// The name of a slice, without its ending.
fn slice(component: &str) -> Option<&str> {
    component.strip_suffix(".slice")
}

/// How a driver names a container's own cgroup.
enum Leaf {
    Scope,
    Folder,
}

impl Leaf {
    fn read(self, component: &str) -> Option<(ContainerId, Option<Runtime>)> {
        let (runtime, id) = match self {
            Self::Scope => {
                let name = component.strip_suffix(".scope")?;
                let mut runtimes = Runtime::ALL.into_iter();
                let is_of =
                    |runtime: Runtime| Some((runtime, name.strip_prefix(runtime.prefix())?));
                let (runtime, id) = runtimes.find_map(is_of)?;
                (Some(runtime), id)
            }
            Self::Folder => match component.strip_prefix(Runtime::Crio.prefix()) {
                Some(id) => (Some(Runtime::Crio), id),
                None => (None, component),
            },
        };
        Some((ContainerId::read(id)?, runtime))
    }
}

impl Runtime {
    const ALL: [Self; 3] = [Self::Containerd, Self::Crio, Self::Docker];

    /// What stands before the container's identifier.
    fn prefix(self) -> &'static str {
        match self {
            Self::Containerd => "cri-containerd-",
            Self::Crio => "crio-",
            Self::Docker => "docker-",
        }
    }
}

#[cfg(test)]
mod tests;
