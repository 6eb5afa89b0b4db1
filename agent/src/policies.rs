//! From policy files to the tables that are loaded.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use ringfence_common::scope::About;
use ringfence_policy::{
    Boundary, Document, Mode, Place, PolicySet, Source, boundary::hexadecimal, compile::Tables,
};

use crate::{about, resolve};

/// What a run is governed by.
#[derive(Debug)]
pub(crate) struct Policy {
    /// What its documents say.
    pub(crate) boundaries: Vec<Boundary>,
    /// The image, and what its rule numbers stand for.
    pub(crate) tables: Tables,
    /// SHA-256 of the image, in hexadecimal.
    pub(crate) sha256: String,
    /// What people may want to know of it while it is in force.
    pub(crate) about: About,
}

/// Reads, checks and compiles policies. Findings go to the standard error.
///
/// # Errors
///
/// When a document has errors, asks for what is not enforced (unless `allow_degraded`), or cannot
/// be compiled. Nothing is half applied.
pub(crate) fn load(files: &[PathBuf], mode: Option<Mode>, allow_degraded: bool) -> Result<Policy> {
    let mut set = match files {
        [] => PolicySet::read([workspace_only()?], None),
        files => PolicySet::of_files(files, None),
    };
    for finding in set.findings.iter().filter(|finding| finding.is_error()) {
        tell!("{finding}");
    }
    if set.has_errors() {
        bail!("the command was not started: correct the policy first");
    }
    let unenforced: Vec<_> = set.documents.iter().flat_map(Document::unenforced).cloned().collect();
    refuse_unenforced(&unenforced, allow_degraded)?;
    if let Some(mode) = mode {
        set.boundaries =
            set.boundaries.into_iter().map(|boundary| boundary.with_mode(mode)).collect();
    }
    let (resolved, unknown) = resolve::hosts(&set.boundaries);
    for (place, name) in unknown {
        tell!(
            "ringfence: warning: {place}: {name} is denied and no address of it is known: it \
             cannot be looked up, but who knows an address that another rule opens may use it"
        );
    }
    let tables = set.compile(&resolved).map_err(|finding| {
        tell!("{finding}");
        anyhow::anyhow!("the policy cannot be compiled for the kernel")
    })?;
    for (host, address) in &tables.dropped {
        tell!(
            "ringfence: warning: {host} has the address {address}, which is private or special: \
             it stays closed unless a rule lists the address itself"
        );
    }
    let digest = tables.sha256();
    let about = about::of(files, &set.boundaries, &unenforced, digest);
    Ok(Policy { boundaries: set.boundaries, tables, sha256: hexadecimal(&digest), about })
}

/// Nothing is half enforced: a rule that this version does not know how to enforce stops the
/// start.
fn refuse_unenforced(all: &[(Place, String)], allow_degraded: bool) -> Result<()> {
    for (place, what) in all {
        let severity = if allow_degraded { "warning: NOT ENFORCED" } else { "error" };
        tell!("ringfence: {severity}: {place}: {what}");
    }
    if !all.is_empty() && !allow_degraded {
        bail!(
            "the policy asks for what this version does not enforce; take it out, or accept it \
             with --allow-degraded"
        );
    }
    Ok(())
}

/// The policy of a run that names none: the folder it is started in, and no network.
fn workspace_only() -> Result<Source> {
    let folder = std::env::current_dir().context("the current folder")?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    if folder.parent().is_none() || Some(&folder) == home.as_ref() {
        bail!(
            "without --policy a command may use the folder it is started in, and {} is too much: \
             change to a project's folder, or give a policy",
            folder.display()
        );
    }
    let folder = folder.to_str().context("the current folder's name is not UTF-8")?;
    let mut pattern = String::new();
    for character in folder.chars() {
        if "*?[]{}\\".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    // JSON's strings are YAML's: this quotes whatever stands in the name.
    let pattern = serde_json::to_string(&format!("{pattern}/**"))?;
    let text = format!(
        "boundary: 1\nfiles:\n  - {{ path: {pattern}, allow: [read, write] }}\nexec:\n  \
         - {{ path: {pattern}, allow: true }}\n  - {{ path: \"/usr/**\", allow: true }}\n  \
         - {{ path: \"/bin/**\", allow: true }}\n  - {{ path: \"/sbin/**\", allow: true }}\n\
         egress: []\n"
    );
    Ok(Source::new("built-in", text))
}
