//! The rules by which containers of pods belong to scopes, and the policies that pods choose.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::pods::{Answer, Pod, Role, Selector, is_policy_name};
use ringfence_policy::configuration::{self, Configuration, Subject, Unidentified};

use super::containers::Belongs;

/// What the names of scopes begin with that come of policies which pods choose.
const PREFIX: &str = "pod-";

/// The rules, in the order of the configuration.
pub(super) struct Rules {
    /// Selectors of pods, each with the index of its scope.
    selectors: Vec<(u32, Selector)>,
    /// The indexes of the scopes that pods choose, by the name that they choose them by; `None`
    /// where they may choose none.
    chosen: Option<BTreeMap<String, u32>>,
    holds: bool,
}

impl Rules {
    /// The rules of a configuration, and the scopes that come with the policies which pods may
    /// choose: their indexes follow those of the configuration's. `None` where no container of a pod
    /// is governed.
    ///
    /// # Errors
    ///
    /// When a selector or the folder of policies cannot be read, or two scopes had one name.
    pub(super) fn read(
        configuration: &Configuration,
        tell: &mut dyn FnMut(String),
    ) -> Result<Option<(Self, Vec<configuration::Scope>)>> {
        let Some(pods) = &configuration.pods else { return Ok(None) };
        let mut selectors = Vec::new();
        for (index, scope) in (0..).zip(&configuration.scopes) {
            for selector in &scope.selectors {
                let Subject::Pod(pod) = &selector.subject else { continue };
                let (namespace, container) = (pod.namespace.as_deref(), pod.container.as_deref());
                let read = Selector::new(namespace, pod.labels.clone(), container);
                selectors.push((index, read.with_context(|| selector.place.to_string())?));
            }
        }
        let (mut chosen, mut scopes) = (None, Vec::new());
        if let Some(folder) = &pods.policies {
            let mut indexes = BTreeMap::new();
            for name in names(folder, tell)? {
                let scope = scope(configuration, folder, &name)?;
                indexes.insert(name, u32::try_from(configuration.scopes.len() + scopes.len())?);
                scopes.push(scope);
            }
            chosen = Some(indexes);
        }
        if selectors.is_empty() && chosen.is_none() {
            return Ok(None);
        }
        let holds = pods.unidentified == Unidentified::Hold;
        Ok(Some((Self { selectors, chosen, holds }, scopes)))
    }

    /// Whether nothing may be started in a container that is not known.
    pub(super) const fn holds(&self) -> bool {
        self.holds
    }

    /// What a container belongs to, of a pod that is perhaps known. `role` is asked where it
    /// matters; `by_path` is the scope that selects its control group.
    pub(super) fn belongs(
        &self,
        pod: Option<&Pod>,
        role: impl FnOnce() -> Option<Role>,
        by_path: Option<u32>,
    ) -> Belongs {
        let precedes = |scope: &u32| by_path.is_none_or(|by_path| *scope < by_path);
        let mut selectors = self.selectors.iter().filter(|(scope, _)| precedes(scope)).peekable();
        if let Some(by_path) = by_path
            && selectors.peek().is_none()
        {
            return Belongs::To(by_path);
        }
        let Some(pod) = pod else { return Belongs::Unknown("its pod is not known".to_owned()) };
        let name = match role() {
            Some(Role::Sandbox) => return by_path.map_or(Belongs::Nowhere, Belongs::To),
            Some(Role::Named(name)) => Some(name),
            None => None,
        };
        for (scope, selector) in selectors {
            match selector.answer(pod, name.as_deref()) {
                Answer::Yes => return Belongs::To(*scope),
                Answer::No => {}
                Answer::Unknown => {
                    return Belongs::Unknown("its name in the pod is not known".to_owned());
                }
            }
        }
        by_path.map_or_else(|| self.chosen_by(pod), Belongs::To)
    }

    /// The scope that a pod chooses itself.
    fn chosen_by(&self, pod: &Pod) -> Belongs {
        let Some(chosen) = &self.chosen else { return Belongs::Nowhere };
        match pod.policy() {
            Ok(None) => Belongs::Nowhere,
            Ok(Some(name)) => chosen.get(name).copied().map_or_else(
                || {
                    Belongs::Unknown(format!(
                        "the pod asks for the policy `{name}`, which is not there"
                    ))
                },
                Belongs::To,
            ),
            Err(text) => Belongs::Unknown(format!(
                "the pod asks for the policy {text:?}, which is not the name of one"
            )),
        }
    }
}

/// The names of the policies in a folder.
fn names(folder: &Path, tell: &mut dyn FnMut(String)) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tell(format!(
                "warning: `pods.policies`: there is no folder {}: pods that ask for a policy cannot \
                 start",
                folder.display()
            ));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context(format!("`pods.policies`: {}", folder.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| folder.display().to_string())?.file_name();
        let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".yaml")) else {
            continue;
        };
        // Kubernetes and editors keep files of their own, with a dot before them.
        if is_policy_name(name) {
            names.push(name.to_owned());
        } else if !name.starts_with('.') {
            tell(format!(
                "warning: {}: no pod can ask for this: names have ASCII letters, digits, `-`, `_` \
                 and `.`, at most 64",
                folder.join(file).display()
            ));
        }
    }
    names.sort();
    Ok(names)
}

/// The scope of a policy that pods may choose.
fn scope(
    configuration: &Configuration,
    folder: &Path,
    policy: &str,
) -> Result<configuration::Scope> {
    let file = folder.join(format!("{policy}.yaml"));
    let name = format!("{PREFIX}{policy}");
    if name.len() > ringfence_common::scope::NAME_BYTES {
        bail!("{}: the name is too long: at most 60 letters", file.display());
    }
    if let Some(other) = configuration.scopes.iter().find(|scope| scope.name == name) {
        bail!("{}: a scope named `{name}` would come of {}", other.place, file.display());
    }
    Ok(configuration::Scope {
        name,
        place: configuration.source.place(1, 1),
        policies: vec![file],
        mode: None,
        unlisted_names: configuration::UnlistedNames::default(),
        allow_degraded: false,
        selectors: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
