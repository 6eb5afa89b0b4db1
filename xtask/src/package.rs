//! `cargo xtask package`: what a release consists of.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use lexopt::{
    Arg::{Long, Value},
    ValueExt as _,
};

use crate::{products, run};

const USAGE: &str = "\
cargo xtask package deb

  deb    a package for Debian and its relatives, in target/deb; the program in it is static

`DEBFULLNAME` and `DEBEMAIL` say who makes it, as for Debian's own tools.
";

/// `cargo xtask package`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    match arguments.next()? {
        Some(Value(kind)) if kind == "deb" => {
            println!("{}", deb(&products::ringfence()?)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Some(Value(kind)) => bail!("there is no package {:?}\n\n{USAGE}", kind.string()?),
        Some(Long("help")) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => Err(other.unexpected().into()),
        None => bail!("which package?\n\n{USAGE}"),
    }
}

/// Files of the repository, and what they are in the package.
const FILES: &[(&str, &str, u32)] = &[
    ("deploy/systemd/ringfence.service", "usr/lib/systemd/system/ringfence.service", 0o644),
    ("deploy/debian/copyright", "usr/share/doc/ringfence/copyright", 0o644),
    ("deploy/debian/lintian-overrides", "usr/share/lintian/overrides/ringfence", 0o644),
    ("README.md", "usr/share/doc/ringfence/README.md", 0o644),
    ("deploy/debian/postinst", "DEBIAN/postinst", 0o755),
    ("deploy/debian/prerm", "DEBIAN/prerm", 0o755),
    ("deploy/debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Makes the package of a program that is built, and gives its file.
///
/// # Errors
/// When a file is missing, or `dpkg-deb` does not take them.
pub(crate) fn deb(program: &Path) -> Result<PathBuf> {
    let store = run::store("deb");
    let root = store.join("root");
    let _ = fs::remove_dir_all(&root);
    for (from, to, mode) in FILES {
        let content = fs::read(run::root().join(from)).with_context(|| (*from).to_owned())?;
        write(&root.join(to), *mode, &content)?;
    }
    write(&root.join("usr/bin/ringfence"), 0o755, &fs::read(program)?)?;
    strip(&root.join("usr/bin/ringfence"))?;
    let examples = root.join("usr/share/doc/ringfence/examples");
    for example in fs::read_dir(run::root().join("examples"))? {
        let example = example?;
        if example.path().extension().is_some_and(|extension| extension == "yaml") {
            write(&examples.join(example.file_name()), 0o644, &fs::read(example.path())?)?;
        }
    }
    fs::create_dir_all(root.join("etc/ringfence"))?;

    let version = env!("CARGO_PKG_VERSION");
    let changelog = format!(
        "ringfence ({version}) unstable; urgency=medium\n\n  * See the history of the source.\n\n \
         -- {}  {}\n",
        maintainer(),
        last_change("%aD")?
    );
    write(&root.join("usr/share/doc/ringfence/changelog.gz"), 0o644, &gzip(&changelog)?)?;
    let control = fs::read_to_string(run::root().join("deploy/debian/control"))?
        .replace("@VERSION@", version)
        .replace("@MAINTAINER@", &maintainer())
        .replace("@SIZE@", &(size(&root)? / 1024).to_string());
    write(&root.join("DEBIAN/control"), 0o644, control.as_bytes())?;
    write(&root.join("DEBIAN/md5sums"), 0o644, sums(&root)?.as_bytes())?;

    let package = store.join(format!("ringfence_{version}_amd64.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&package);
    // The same source gives the same package.
    build.env("SOURCE_DATE_EPOCH", last_change("%at")?).stdout(Stdio::null());
    run::run(&mut build)?;
    fs::remove_dir_all(root)?;
    Ok(package)
}

fn write(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
        // Whatever the umask is: dpkg-deb refuses folders that only we may enter.
        for above in directory.ancestors().take_while(|above| above.starts_with(run::store("deb")))
        {
            fs::set_permissions(above, fs::Permissions::from_mode(0o755))?;
        }
    }
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Takes the names of functions out of a program, where this machine can.
fn strip(program: &Path) -> Result<()> {
    match run::find_program("strip") {
        Some(strip) => run::run(Command::new(strip).arg("--strip-unneeded").arg(program)),
        None => Ok(()),
    }
}

fn maintainer() -> String {
    let word = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let name = word("DEBFULLNAME", "The ringfence authors");
    format!("{name} <{}>", word("DEBEMAIL", "root@localhost"))
}

/// When the source was changed last, in a format of `git log`.
fn last_change(format: &str) -> Result<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(run::root()).args(["log", "-1", &format!("--format={format}")]);
    Ok(run::capture(&mut git)?.trim_end().to_owned())
}

fn gzip(text: &str) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = gzip.spawn().context("cannot start `gzip`")?;
    child.stdin.take().context("gzip has no input")?.write_all(text.as_bytes())?;
    Ok(child.wait_with_output()?.stdout)
}

/// The regular files below a folder that go onto a system.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "DEBIAN"));
    found.sort();
    Ok(found)
}

fn size(root: &Path) -> Result<u64> {
    files(root)?.iter().map(|file| Ok(File::open(file)?.metadata()?.len())).sum()
}

fn sums(root: &Path) -> Result<String> {
    let mut command = Command::new("md5sum");
    for file in files(root)? {
        command.arg(file.strip_prefix(root)?);
    }
    run::capture(command.current_dir(root))
}
