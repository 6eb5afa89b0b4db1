//! `ringfence doctor`: what this kernel can and cannot enforce, found by trying.

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use ringfence_policy::{PolicySet, Source};
use serde::Serialize;

use crate::{
    about,
    cgroup::{self, Cgroup},
    kernel::{
        probe::{self, KERNEL_BTF},
        programs::{Loaded, Programs},
        set::{Part, Set},
        symbols,
    },
    launch,
    names::Ports,
    scopes::{self, Ownership},
};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// One thing that enforcement needs.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    ok: bool,
    /// What was found, or what to do.
    detail: String,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether `ringfence run` works here.
    can_enforce: bool,
    kernel: String,
    findings: Vec<Finding>,
}

/// Tries everything and prints what came of it: exit code 0 when a policy can be enforced.
///
/// # Errors
///
/// When the report cannot be written.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<ExitCode> {
    let findings = examine();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let report = Report { can_enforce: findings.iter().all(|one| one.ok), kernel, findings };
    match arguments.format {
        Format::Json => say!("{}", serde_json::to_string_pretty(&report)?),
        Format::Text => print(&report),
    }
    Ok(if report.can_enforce { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(report: &Report) {
    say!("Linux {}", report.kernel);
    for finding in &report.findings {
        let mark = if finding.ok { "ok  " } else { "FAIL" };
        say!("{mark}  {:<34} {}", finding.name, finding.detail);
    }
    let verdict = if report.can_enforce { "can" } else { "cannot" };
    say!("This machine {verdict} enforce every policy that this version compiles.");
}

fn finding(name: &str, result: Result<String>) -> Finding {
    let (ok, detail) = match result {
        Ok(detail) => (true, detail),
        Err(error) => (false, format!("{error:#}")),
    };
    Finding { name: name.to_owned(), ok, detail }
}

fn examine() -> Vec<Finding> {
    let is_root = rustix::process::geteuid().is_root();
    let mut findings = vec![
        finding(
            "root",
            if is_root {
                Ok("yes".into())
            } else {
                Err(anyhow::anyhow!("no: attaching programs to the kernel needs root"))
            },
        ),
        finding("cgroup v2", cgroup::hierarchy().map(|path| path.display().to_string())),
        finding("bpffs", scopes::check_bpffs().map(|()| "/sys/fs/bpf".into())),
        finding(
            "kernel types (BTF)",
            fs::metadata(KERNEL_BTF)
                .map(|_| KERNEL_BTF.to_owned())
                .map_err(|_| anyhow::anyhow!("the kernel was built without them")),
        ),
    ];
    if findings.iter().all(|one| one.ok) {
        examine_kernel(&mut findings);
    }
    findings
}

/// Has rules for which programs have parts of their own, which the verifier takes out without.
const EVERYTHING: &str = "boundary: 1\negress: [{ host: doctor.invalid }]\n";

/// Loads every program into a scope of its own that nothing runs in, and starts one process there
/// to see whether the kernel calls them.
fn examine_kernel(findings: &mut Vec<Finding>) {
    findings.push(finding("memory under lockdown", probe::reading_method()));
    let locks = symbols::path_locks().map(|_| "judged whatever is renamed meanwhile".into());
    findings.push(finding("paths", locks));
    let name = format!("doctor-{}", std::process::id());
    let trial = || -> Result<Vec<Finding>> {
        let Some(_ownership) = Ownership::take_in_time(&name)? else {
            anyhow::bail!("another doctor of the same number is at work");
        };
        let _machine = Ownership::of_machine()?;
        let text = PolicySet::read([Source::new("doctor", EVERYTHING)], None);
        let tables = text.compile(&Default::default()).map_err(|finding| anyhow!("{finding}"))?;
        let about = about::of(&[], &text.boundaries, &[], tables.sha256());
        let ports = Ports { network: 0, v4: 1, v6: 1 };
        let policy = Loaded { image: &tables.image, contents: &[], resolver: ports, about };
        // A set of its own: that another is loaded says nothing of what could be loaded now.
        let set = Set::for_trial(scopes::sets().join(&name));
        let mut found = vec![];
        let loaded = set.load_each(&Part::ALL, |hook, result| {
            let name = format!("{} ({})", hook.purpose, hook.name);
            found.push(finding(&name, result.map(str::to_owned)));
        });
        let is_whole = found.iter().all(|one| one.ok);
        match loaded {
            Ok(()) if is_whole => {
                found.push(finding("programs are called", is_called(set, &name, policy)));
            }
            Ok(()) => set.remove()?,
            Err(error) => {
                found.push(finding("loading programs", Err(error)));
                set.remove()?;
            }
        }
        Ok(found)
    };
    match trial() {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(finding("a scope", Err(error))),
    }
}

/// Puts a scope into the set and starts a process in it, which checks that it is governed before it
/// runs. Removes both.
fn is_called(set: Set, name: &str, policy: Loaded<'_>) -> Result<String> {
    let cgroup = Cgroup::create(name)?;
    let (programs, _) = match Programs::attach(set, name, &cgroup, policy) {
        Ok(attached) => attached,
        Err(error) => {
            cgroup.remove()?;
            return Err(error);
        }
    };
    let words = ["true".into()];
    let Some(command) = launch::command(&words, cgroup.entrance()?, None) else {
        anyhow::bail!("no command");
    };
    let mut command: Command = command;
    let called = match command.status() {
        Ok(_) => Ok("yes".into()),
        Err(error) => match launch::explain(&words, error) {
            // It came so far as to be governed; whether this machine has `true` is no matter.
            launch::LaunchError::Refused { .. } => Ok("yes".into()),
            error => Err(error.into()),
        },
    };
    programs.members().end(|| cgroup.end())?;
    programs.release()?;
    cgroup.remove()?;
    called
}
