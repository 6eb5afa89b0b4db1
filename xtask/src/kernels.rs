//! The kernels that ringfence is tested on, from Debian's packages.
//!
//! Each is unpacked once into `target/kernels/<series>`: `vmlinuz`, `modules/`, and `packages`, a
//! note of where it came from. The directory appears under its name only when it is whole.

use std::{
    cmp::Ordering,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{apt::Apt, run};

/// The kernel series that are tested, oldest first.
pub(crate) const SERIES: &[&str] = &["6.1", "6.12", "7"];

/// Releases with these series: 6.1 is bookworm's, 6.12 trixie's, 7 comes as a backport.
const SUITES: &[&str] =
    &["bookworm", "bookworm-security", "trixie", "trixie-security", "trixie-backports"];

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// The compressed kernel image.
    pub(crate) image: PathBuf,
    /// What `modprobe` calls `/lib/modules/<release>`.
    pub(crate) modules: PathBuf,
}

/// `cargo xtask kernels`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected().into());
    }
    for kernel in fetch(SERIES)? {
        println!("{}", kernel.image.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernels of `wanted`, in that order, downloaded unless they are here already.
///
/// # Errors
/// When one is not here and cannot be downloaded.
pub(crate) fn fetch(wanted: &[&str]) -> Result<Vec<Kernel>> {
    let store = run::store("kernels");
    fs::create_dir_all(&store)?;
    // Two xtasks at once would both download, and one would remove what the other unpacks.
    let lock = File::create(store.join("lock"))?;
    lock.lock().context("cannot lock target/kernels")?;

    let missing: Vec<_> =
        wanted.iter().filter(|series| !store.join(series).is_dir()).copied().collect();
    if !missing.is_empty() {
        eprintln!("kernels: fetching {} from Debian", missing.join(", "));
        let apt = Apt::open(&store.join("apt"), SUITES)?;
        for series in missing {
            download(&apt, series, &store)
                .with_context(|| format!("cannot get a kernel of series {series}"))?;
        }
    }
    let kernel = |series: &&str| {
        let directory = store.join(series);
        Kernel { image: directory.join("vmlinuz"), modules: directory.join("modules") }
    };
    Ok(wanted.iter().map(kernel).collect())
}

fn download(apt: &Apt, series: &str, store: &Path) -> Result<()> {
    let packages = packages_of(series, |prefix| apt.package_names(prefix))?;
    eprintln!("kernels: {series} is {}", packages.join(" + "));

    let partial = store.join(format!("{series}.partial"));
    let tree = partial.join("tree");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&tree)?;
    apt.download(&packages, &partial)?;
    for entry in fs::read_dir(&partial)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run::run(Command::new("dpkg").arg("-x").arg(&package).arg(&tree))?;
            fs::remove_file(&package)?;
        }
    }

    // Before and after Debian moved /lib into /usr; before and after it moved vmlinuz beside the
    // modules.
    let modules = ["usr/lib/modules", "lib/modules"]
        .iter()
        .find_map(|place| fs::read_dir(tree.join(place)).ok()?.next()?.ok())
        .context("the packages hold no modules")?
        .path();
    let boot = fs::read_dir(tree.join("boot")).into_iter().flatten();
    let image = boot
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")))
        .or_else(|| Some(modules.join("vmlinuz")).filter(|path| path.is_file()))
        .context("the packages hold no vmlinuz")?;
    fs::rename(&image, partial.join("vmlinuz"))?;
    fs::rename(&modules, partial.join("modules"))?;
    fs::remove_dir_all(&tree)?;
    fs::write(partial.join("packages"), packages.join("\n") + "\n")?;
    fs::rename(&partial, store.join(series))?;
    Ok(())
}

/// The packages that make up the newest kernel of a series.
fn packages_of(series: &str, names: impl Fn(&str) -> Result<Vec<String>>) -> Result<Vec<String>> {
    // Until 7.1 one signed package held everything; since then it is split, and `linux-image`
    // only pulls the parts in.
    let parts = names(&format!("linux-binary-{series}."))?;
    if let Some(release) = newest(&parts, &format!("linux-binary-{series}.")) {
        let part = |kind: &str| format!("linux-{kind}-{series}.{release}-cloud-amd64");
        let base = part("base");
        let modules = part("modules");
        if names(&modules)?.contains(&modules) {
            let mut packages = vec![part("binary"), modules];
            // Holds the list of built-in modules; a kernel boots without it.
            packages.extend(names(&base)?.into_iter().filter(|name| *name == base));
            return Ok(packages);
        }
    }
    let prefix = format!("linux-image-{series}.");
    match newest(&names(&prefix)?, &prefix) {
        Some(release) => Ok(vec![format!("{prefix}{release}-cloud-amd64")]),
        None => bail!("the Debian mirror has no package {prefix}*-cloud-amd64"),
    }
}

/// The newest release among `names`: what stands between `prefix` and the flavour.
fn newest<'a>(names: &'a [String], prefix: &str) -> Option<&'a str> {
    names
        .iter()
        .filter_map(|name| name.strip_prefix(prefix)?.strip_suffix("-cloud-amd64"))
        .max_by(|a, b| compare_releases(a, b))
}

/// Compares by the numbers in the names: `12.9+deb13` comes before `12.10+deb12`.
fn compare_releases(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect::<Vec<u64>>()
    };
    numbers(a).cmp(&numbers(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(series: &str, offered: &[&str]) -> Option<Vec<String>> {
        let names = |prefix: &str| {
            let matching = offered.iter().filter(|name| name.starts_with(prefix));
            Ok(matching.map(|name| (*name).to_owned()).collect())
        };
        packages_of(series, names).ok()
    }

    #[test]
    fn the_newest_kernel_of_a_series_is_chosen() {
        type Case = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);
        let cases: &[Case] = &[
            ("6.1", &[], None),
            ("6.1", &["linux-image-6.1.0-9-amd64", "linux-image-6.12.1-cloud-amd64"], None),
            (
                "6.1",
                &[
                    "linux-image-6.1.0-9-cloud-amd64",
                    "linux-image-6.1.0-10-cloud-amd64",
                    "linux-image-6.1.0-11-cloud-amd64-unsigned",
                    "linux-image-6.1.0-11-cloud-amd64-dbg",
                ],
                Some(&["linux-image-6.1.0-10-cloud-amd64"]),
            ),
            (
                "6.12",
                &[
                    "linux-image-6.12-cloud-amd64",
                    "linux-image-6.12.95+deb13-cloud-amd64",
                    "linux-image-6.12.101+deb12-cloud-amd64",
                    "linux-image-6.12.101+deb13-cloud-amd64",
                    "linux-image-6.12.101+deb13.1-cloud-amd64",
                ],
                Some(&["linux-image-6.12.101+deb13.1-cloud-amd64"]),
            ),
            // One package that holds everything, and its unsigned part.
            (
                "7",
                &["linux-image-7.0.4+deb13-cloud-amd64", "linux-binary-7.0.4+deb13-cloud-amd64"],
                Some(&["linux-image-7.0.4+deb13-cloud-amd64"]),
            ),
            (
                "7",
                &[
                    "linux-image-7.3.4+deb13-cloud-amd64",
                    "linux-binary-7.3.4+deb13-cloud-amd64",
                    "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
                    "linux-modules-7.3.4+deb13-cloud-amd64",
                    "linux-base-7.3.4+deb13-cloud-amd64",
                ],
                Some(&[
                    "linux-binary-7.3.4+deb13-cloud-amd64",
                    "linux-modules-7.3.4+deb13-cloud-amd64",
                    "linux-base-7.3.4+deb13-cloud-amd64",
                ]),
            ),
        ];
        for (series, offered, expected) in cases {
            let expected = expected.map(|list| list.iter().map(|s| (*s).to_owned()).collect());
            assert_eq!(chosen(series, offered), expected, "{series} of {offered:?}");
        }
    }
}
