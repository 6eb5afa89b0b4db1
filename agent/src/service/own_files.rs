//! The files of the agent that no governed process may change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ringfence_policy::configuration::{Configuration, Events, Metrics, PodSource};

/// Links that are followed, as many as the kernel does (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Those of the agent whose configuration this is, by the names that they have for it, with each
/// link on the way, and where that leads: whoever turns a link decides what the agent reads.
pub(super) fn of(file: &Path, configuration: &Configuration) -> Vec<PathBuf> {
    let mut all = vec![file.to_owned(), configuration.control.clone()];
    all.extend(configuration.scopes.iter().flat_map(|scope| scope.policies.clone()));
    if let Some(Events::Folder(folder)) = &configuration.events {
        all.push(folder.clone());
    }
    if let Some(Metrics::Socket(socket)) = &configuration.metrics {
        all.push(socket.clone());
    }
    if let Some(pods) = &configuration.pods {
        all.extend(pods.policies.clone());
        if let PodSource::File(file) = &pods.source {
            all.push(file.clone());
        }
    }
    all.extend(std::env::current_exe());
    let further: Vec<_> = all.iter().flat_map(|file| names(file)).collect();
    all.extend(further);
    all.sort();
    all.dedup();
    all
}

/// The links on the way to a file, and its name without any, as the kernel has them.
fn names(file: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = file.canonicalize().into_iter().collect();
    let mut path = file.to_owned();
    for _ in 0..MAX_LINKS {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        let first = above.into_iter().find_map(|link| Some((link, fs::read_link(link).ok()?)));
        let Some((link, target)) = first else { break };
        let folder = link.parent().unwrap_or(Path::new("/"));
        if let (Ok(folder), Some(name)) = (folder.canonicalize(), link.file_name()) {
            names.push(folder.join(name));
        }
        path = match path.strip_prefix(link) {
            Ok(rest) if rest != Path::new("") => folder.join(target).join(rest),
            _ => folder.join(target),
        };
    }
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_to_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        // As Kubernetes mounts a `ConfigMap`, by a link to where it is.
        fs::create_dir_all(root.join("volume/..2026")).unwrap();
        fs::write(root.join("volume/..2026/policy.yaml"), "").unwrap();
        symlink("..2026", root.join("volume/..data")).unwrap();
        symlink("..data/policy.yaml", root.join("volume/policy.yaml")).unwrap();
        symlink(root.join("volume/../volume"), root.join("policies")).unwrap();
        let mut found = names(&root.join("policies/policy.yaml"));
        found.sort();
        let wanted =
            ["policies", "volume/..2026/policy.yaml", "volume/..data", "volume/policy.yaml"];
        assert_eq!(found, wanted.map(|name| root.join(name)));
        symlink("loop", root.join("loop")).unwrap();
        assert!(names(&root.join("loop")).contains(&root.join("loop")));
        assert_eq!(names(&root.join("none/file")), Vec::<PathBuf>::new());
    }
}
