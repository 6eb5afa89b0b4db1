//! What the agent reads before it puts anything in force: the configuration, and all that it names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::pods::{self, Pods};
use ringfence_policy::{
    configuration::{self, Configuration, PodSource, selectors},
    diagnostic::Diagnostic,
};

use super::{Service, chosen::Rules, governed::Prepared, hierarchy::Hierarchy, own_files};
use crate::kernel::set;

/// What is ready to be put in force.
pub(super) struct Plan {
    pub(super) configuration: Configuration,
    pub(super) selectors: selectors::Tables,
    /// Those of the configuration, and after them those of policies that pods choose.
    pub(super) scopes: Vec<Prepared>,
    pub(super) containers: Option<Planned>,
}

/// How containers of pods are to be known.
pub(super) struct Planned {
    pub(super) rules: Rules,
    pub(super) source: PodSource,
    /// Those of a file.
    pub(super) pods: Option<Pods>,
    /// The control group of the agent.
    pub(super) own: PathBuf,
}

impl Plan {
    /// Reads the configuration, and all policies that it names. Findings are told, and the names of
    /// scopes whose policies cannot be put in force.
    ///
    /// # Errors
    ///
    /// When any of it cannot be put in force.
    pub(super) fn read(
        file: &Path,
        tell: &mut dyn FnMut(String),
        blame: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let file = std::path::absolute(file).with_context(|| file.display().to_string())?;
        let parsed = configuration::of_file(&file);
        for finding in &parsed.diagnostics {
            tell(finding.to_string());
        }
        let Some(configuration) = parsed.configuration else {
            bail!("the configuration has errors: correct it first");
        };
        let selectors =
            selectors::compile(&configuration).map_err(|finding: Box<Diagnostic>| {
                tell(finding.to_string());
                anyhow::anyhow!("the selectors cannot be compiled for the kernel")
            })?;
        let protected = own_files::of(&file, &configuration);
        let mut scopes = Vec::new();
        let mut failure = None;
        let lacking = set::lacking()?;
        let containers = Rules::read(&configuration, tell)?;
        let chosen = containers.as_ref().map_or(&[][..], |(_, scopes)| scopes);
        for rule in configuration.scopes.iter().chain(chosen) {
            match Prepared::read(rule, &protected, &lacking, tell) {
                Ok(prepared) => scopes.push(prepared),
                // All are read, so that everything that is wrong is told at once.
                Err(error) => {
                    blame(&rule.name);
                    failure.get_or_insert(error);
                }
            }
        }
        let own = Hierarchy::find()?.own()?;
        Service::check_self(&selectors, &own)?;
        let containers = match (&configuration.pods, containers) {
            (Some(pods), Some((rules, _))) => Some(Planned::new(rules, &pods.source, own)?),
            _ => None,
        };
        match failure {
            Some(error) => Err(error),
            None => Ok(Self { configuration, selectors, scopes, containers }),
        }
    }

    /// Bytes of the largest image.
    pub(super) fn image_bytes(&self) -> usize {
        let images = self.scopes.iter().map(Prepared::image_bytes);
        images.chain([self.selectors.image.len()]).max().unwrap_or(0)
    }

    /// Every file that it was read from, but the configuration.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let policies = self.scopes.iter().flat_map(Prepared::files).cloned();
        policies.chain(files_of_pods(&self.configuration)).collect()
    }
}

impl Planned {
    fn new(rules: Rules, source: &PodSource, own: PathBuf) -> Result<Self> {
        let pods = match source {
            PodSource::File(file) => Some(pods::file::read(file)?),
            PodSource::Kubernetes { .. } => None,
        };
        Ok(Self { rules, source: source.clone(), pods, own })
    }
}

/// The file that pods are read from, and a file in the folder of the policies that they choose, so
/// that the folder is watched though it is empty.
pub(super) fn files_of_pods(configuration: &Configuration) -> impl Iterator<Item = PathBuf> {
    let pods = configuration.pods.as_ref();
    let file = pods.and_then(|pods| match &pods.source {
        PodSource::File(file) => Some(file.clone()),
        PodSource::Kubernetes { .. } => None,
    });
    let any = pods.and_then(|pods| pods.policies.as_ref()).map(|folder| folder.join("any.yaml"));
    file.into_iter().chain(any)
}
