//! From policy files to the tables that are loaded.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ringfence_common::{budget::Kind, scope::About};
use ringfence_policy::{
    Boundary, Document, Mode, Place, PolicySet, Source,
    boundary::{Budget, Effect, GlobSyntax, PathRule, Rights, hexadecimal},
    compile::Tables,
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

/// What policies may lack, and still come into force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// Whether what is not enforced is accepted.
    pub(crate) allow_degraded: bool,
    /// What this kernel cannot enforce for any policy.
    pub(crate) lacking: &'a [String],
}

/// Reads, checks and compiles policies. Findings are told. For a scope of the long-running agent,
/// `protected` are files that no process under a policy about files may change, whatever that says;
/// such a scope has no end, and so no time.
///
/// # Errors
///
/// When a document has errors, asks for what is not enforced (unless `allow_degraded`), or cannot
/// be compiled. Nothing is half applied.
pub(crate) fn load(
    files: &[PathBuf],
    mode: Option<Mode>,
    terms: Terms<'_>,
    protected: Option<&[PathBuf]>,
    tell: &mut dyn FnMut(String),
) -> Result<Policy> {
    let mut set = match files {
        [] => PolicySet::read([workspace_only()?], None),
        files => PolicySet::of_files(files, None),
    };
    for finding in set.findings.iter().filter(|finding| finding.is_error()) {
        tell(finding.to_string());
    }
    if set.has_errors() {
        bail!("the policy has errors: correct it first");
    }
    let mut unenforced: Vec<_> =
        set.documents.iter().flat_map(Document::unenforced).cloned().collect();
    if protected.is_some() {
        set.boundaries.iter_mut().for_each(|one| unenforced.extend(without_time(one)));
    }
    let unenforced = unenforced.iter().map(|(place, what)| format!("{place}: {what}"));
    let unenforced: Vec<String> = unenforced.chain(terms.lacking.iter().cloned()).collect();
    refuse_unenforced(&unenforced, terms.allow_degraded, tell)?;
    if let Some(mode) = mode {
        set.boundaries =
            set.boundaries.into_iter().map(|boundary| boundary.with_mode(mode)).collect();
    }
    set.boundaries.iter_mut().for_each(|one| protect(one, protected.unwrap_or_default()));
    let (resolved, unknown) = resolve::hosts(&set.boundaries);
    for (place, name) in unknown {
        tell(format!(
            "ringfence: warning: {place}: {name} is denied and no address of it is known: it \
             cannot be looked up, but who knows an address that another rule opens may use it"
        ));
    }
    let tables = set.compile(&resolved).map_err(|finding| {
        tell(finding.to_string());
        anyhow::anyhow!("the policy cannot be compiled for the kernel")
    })?;
    for (host, address) in &tables.dropped {
        tell(format!(
            "ringfence: warning: {host} has the address {address}, which is private or special: \
             it stays closed unless a rule lists the address itself"
        ));
    }
    let digest = tables.sha256();
    let about = about::of(files, &set.boundaries, &unenforced, digest);
    Ok(Policy { boundaries: set.boundaries, tables, sha256: hexadecimal(&digest), about })
}

/// Takes the budgets of time out of what a scope without an end is governed by; yields which.
fn without_time(boundary: &mut Boundary) -> Vec<(Place, String)> {
    let times = boundary.budgets.limits.extract_if(.., |one| one.kind == Kind::WallClock);
    let why = |one: Budget| {
        let what = "`wall_clock` of a scope without an end: only `ringfence run` enforces it";
        (one.place, what.to_owned())
    };
    times.map(why).collect()
}

/// Nothing is half enforced: a rule that this version does not know how to enforce stops the
/// start.
fn refuse_unenforced(
    all: &[String],
    allow_degraded: bool,
    tell: &mut dyn FnMut(String),
) -> Result<()> {
    for what in all {
        let severity = if allow_degraded { "warning: NOT ENFORCED" } else { "error" };
        tell(format!("ringfence: {severity}: {what}"));
    }
    if !all.is_empty() && !allow_degraded {
        bail!(
            "the policy asks for what is not enforced here; take it out, or accept it \
             with --allow-degraded, or `allow_degraded: true` in the agent's configuration"
        );
    }
    Ok(())
}

/// Keeps files from being changed, whatever a document allows: rules that deny it. Where a document
/// says nothing of files, the scope may do with them what it likes.
fn protect(boundary: &mut Boundary, files: &[PathBuf]) {
    if !boundary.governs_files() {
        return;
    }
    let patterns = files.iter().flat_map(|file| patterns(file));
    let place = Place { file: "the agent's own files".into(), line: 1, column: 1 };
    boundary.path_rules.extend(patterns.map(|pattern| PathRule {
        pattern,
        syntax: GlobSyntax::Component,
        effect: Effect::Deny,
        rights: Rights::WRITE.and(Rights::SOCKET),
        content: None,
        place: place.clone(),
    }));
}

/// The patterns that take a file, and all that is below if it is a folder. The kernel's paths never
/// lead through a link; but in the root of a container something else may have its name.
fn patterns(file: &Path) -> Vec<String> {
    let name = file.to_str().map(escaped);
    let below = name.clone().filter(|_| !file.is_symlink()).map(|name| format!("{name}/**"));
    [name, below].into_iter().flatten().collect()
}

/// A pattern that takes a path and no other.
fn escaped(path: &str) -> String {
    let mut pattern = String::new();
    for character in path.chars() {
        if "*?[]{}\\".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
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
    // JSON's strings are YAML's: this quotes whatever stands in the name.
    let pattern = serde_json::to_string(&format!("{}/**", escaped(folder)))?;
    let text = format!(
        "boundary: 1\nfiles:\n  - {{ path: {pattern}, allow: [read, write] }}\nexec:\n  \
         - {{ path: {pattern}, allow: true }}\n  - {{ path: \"/usr/**\", allow: true }}\n  \
         - {{ path: \"/bin/**\", allow: true }}\n  - {{ path: \"/sbin/**\", allow: true }}\n\
         egress: []\n"
    );
    Ok(Source::new("built-in", text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ringfence_common::budget::limit;

    use super::*;

    #[test]
    fn a_link_is_kept_and_not_what_has_its_name_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (log, link) = (folder.path().join("log*"), folder.path().join("link"));
        fs::create_dir(&log).unwrap();
        std::os::unix::fs::symlink(&log, &link).unwrap();
        let name = folder.path().display();
        assert_eq!(patterns(&log), [format!("{name}/log\\*"), format!("{name}/log\\*/**")]);
        assert_eq!(patterns(&link), [format!("{name}/link")]);
    }

    #[test]
    fn only_what_ends_has_a_budget_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        fs::write(&file, "boundary: 1\nbudgets: { wall_clock: 5s, connections: 2 }\n").unwrap();
        let load = |allow_degraded, protected: Option<&[PathBuf]>| {
            let terms = Terms { allow_degraded, lacking: &[] };
            let mut told = Vec::new();
            let tell = &mut |line| told.push(line);
            let files = [file.clone()];
            (load(&files, None, terms, protected, tell), told.join("\n"))
        };
        let has = |policy: &Policy, kind| limit(&policy.tables.image[..], kind).is_some();
        let run = load(false, None).0.unwrap();
        assert!(has(&run, Kind::WallClock) && run.about.missing == 0);
        let (refused, told) = load(false, Some(&[]));
        assert!(refused.is_err() && told.contains("policy.yaml:2: `wall_clock`"), "{told}");
        let (degraded, told) = load(true, Some(&[]));
        let degraded = degraded.unwrap();
        assert!(!has(&degraded, Kind::WallClock) && has(&degraded, Kind::Connections));
        assert!(degraded.about.missing == 1 && told.contains("NOT ENFORCED"), "{told}");
    }

    #[test]
    fn what_the_kernel_lacks_is_accepted_or_refused_like_what_a_policy_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        fs::write(&file, "boundary: 1\negress: []\n").unwrap();
        let lacking =
            ["this kernel cannot enforce user namespaces (hook `userns_create`)".to_owned()];
        let load = |allow_degraded| {
            let mut told = Vec::new();
            let terms = Terms { allow_degraded, lacking: &lacking };
            let policy =
                load(std::slice::from_ref(&file), None, terms, None, &mut |line| told.push(line));
            (policy, told.join("\n"))
        };
        let (refused, told) = load(false);
        assert!(
            refused.is_err() && told.contains("error: this kernel cannot enforce user"),
            "{told}"
        );
        let (degraded, told) = load(true);
        let about = degraded.unwrap().about;
        assert!(about.missing == 1 && told.contains("NOT ENFORCED"), "{told}");
        assert_eq!(about::text(&about.pieces), lacking[0]);
    }
}
