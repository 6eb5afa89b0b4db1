//! The programs in a guest: an archive that is the same for every boot, made once.

use std::{
    fs::{self, File},
    io::BufWriter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cpio::Archive,
    run,
    tree::{MERGED, Tree, busybox_applets, files_of_package},
};

/// How many of this machine's programs a guest gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Programs {
    /// busybox alone.
    None,
    /// Also real shells, coreutils, Python, curl and ip.
    Basic,
    /// Also what the baseline is measured with: git, a C compiler, node, venv, rsync, …, and the
    /// configuration in `/etc` that comes with packages. Needs about 2 GiB more memory.
    Full,
    /// None of this machine's: a Debian system on a disk, with systemd, podman and Prometheus
    /// ([`crate::system`]).
    System,
}

impl Programs {
    /// Reads the value of `--programs`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "basic" => Ok(Self::Basic),
            "full" => Ok(Self::Full),
            "system" => Ok(Self::System),
            _ => bail!("`--programs {text}`: it is none, basic, full or system"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            // The system's own are on its disk.
            Self::None | Self::System => "none",
            Self::Basic => "basic",
            Self::Full => "full",
        }
    }

    /// The Debian packages whose files go in, if they are installed here.
    fn packages(self) -> Vec<String> {
        // `/usr/bin/python3` is a link to the version that Debian chose.
        let python = fs::read_link("/usr/bin/python3").unwrap_or_else(|_| "python3".into());
        let python = python.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut packages: Vec<String> = Vec::new();
        if matches!(self, Self::Basic | Self::Full) {
            packages.extend(["bash", "dash", "coreutils", "curl", "iproute2"].map(String::from));
            packages.push("python3-minimal".into());
            for part in ["{}-minimal", "lib{}-minimal", "lib{}-stdlib"] {
                packages.push(part.replace("{}", &python));
            }
        }
        if self == Self::Full {
            packages.extend(FULL.iter().map(|package| (*package).to_owned()));
            packages.extend(["", "-venv"].map(|part| format!("{python}{part}")));
            packages.extend(compiler_packages());
            // Debian's own node has parts of itself there; other packages of it are whole.
            let is_here = |package: &&&str| files_of_package(package).is_some();
            packages.extend(NODE_PARTS.iter().filter(is_here).map(|&part| part.to_owned()));
        }
        packages
    }
}

/// Packages of [`Programs::Full`] besides the compiler's and Python's.
const FULL: &[&str] = &[
    "binutils",
    "bzip2",
    "base-files",
    "bind9-dnsutils",
    "ca-certificates",
    "diffutils",
    "findutils",
    "gcc",
    "git",
    "grep",
    "gzip",
    "libc-bin",
    "libc6-dev",
    "linux-libc-dev",
    "make",
    "mawk",
    "media-types",
    "netbase",
    "nodejs",
    "openssh-client",
    "openssl",
    "python3-distutils",
    "python3-lib2to3",
    "python3-pip-whl",
    "python3-setuptools-whl",
    "python3-venv",
    "rsync",
    "sed",
    "tar",
    "xz-utils",
];

const NODE_PARTS: &[&str] =
    &["node-acorn", "node-busboy", "node-cjs-module-lexer", "node-undici", "node-xtend"];

/// Files that no package lists, since they are made at installation.
const MADE: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/timezone",
    "/usr/bin/awk",
    "/usr/bin/cc",
    "/usr/lib/locale/locale-archive",
];

/// The versioned packages that `gcc` stands for, as in `gcc-12`.
fn compiler_packages() -> Vec<String> {
    let compiler = fs::read_link("/usr/bin/gcc").unwrap_or_default();
    let name = compiler.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((_, version)) = name.rsplit_once('-') else { return Vec::new() };
    let versioned = ["gcc-{}", "cpp-{}", "libgcc-{}-dev"];
    let mut packages: Vec<_> = versioned.iter().map(|p| p.replace("{}", version)).collect();
    packages.push("binutils-x86-64-linux-gnu".into());
    packages.push("libcrypt-dev".into());
    packages
}

/// The archive with `programs`, made unless it is here and still right.
pub(crate) fn base(programs: Programs) -> Result<PathBuf> {
    let directory = run::store("vm");
    fs::create_dir_all(&directory)?;
    // Several machines may start at a time; one collects, the others wait for it.
    let lock = File::create(directory.join("lock"))?;
    lock.lock().context("cannot lock target/vm")?;
    let archive = directory.join(format!("base-{}.cpio", programs.name()));
    let note = archive.with_extension("key");
    let key = cache_key()?;
    if archive.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == key) {
        return Ok(archive);
    }
    eprintln!("vm: collecting the programs of the guest ({})", programs.name());
    // Under another name until it is whole.
    let partial = archive.with_extension("partial");
    build(programs, &partial).context("cannot collect the programs of the guest")?;
    fs::rename(&partial, &archive)?;
    fs::write(note, key)?;
    Ok(archive)
}

/// Changes when the programs may have changed: dpkg installed something, or xtask was rebuilt.
fn cache_key() -> Result<String> {
    let mut key = String::new();
    for file in [PathBuf::from("/var/lib/dpkg/status"), std::env::current_exe()?] {
        let metadata = fs::metadata(&file).with_context(|| file.display().to_string())?;
        key.push_str(&format!(
            "{} {} {}.{}\n",
            file.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ));
    }
    Ok(key)
}

fn build(programs: Programs, to: &Path) -> Result<()> {
    let mut tree = Tree::default();
    let busybox = run::find_program("busybox")
        .context("busybox is not installed; `cargo xtask setup` installs busybox-static")?;
    tree.take_as(&busybox, Path::new("/usr/bin/busybox"))?;
    for package in programs.packages() {
        match files_of_package(&package) {
            Some(files) => take_package(&mut tree, &files, programs)?,
            None => eprintln!("vm: {package} is not installed here, so the guest lacks it"),
        }
    }
    for file in MADE.iter().filter(|file| programs == Programs::Full && Path::new(file).exists()) {
        tree.take(Path::new(file))?;
    }
    tree.take_libraries()?;
    for applet in busybox_applets(&busybox)? {
        let places = ["/usr/bin", "/usr/sbin"].map(|place| format!("{place}/{applet}"));
        if !places.iter().any(|place| tree.contains(place)) {
            tree.link(&places[0], "busybox");
        }
    }

    let mut archive = Archive::new(BufWriter::new(File::create(to)?));
    for name in MERGED {
        archive.directory(&Path::new("/usr").join(name))?;
        archive.symlink(&Path::new("/").join(name), &Path::new("usr").join(name))?;
    }
    tree.write(&mut archive)?;
    archive.finish()?;
    Ok(())
}

fn take_package(tree: &mut Tree, files: &[PathBuf], programs: Programs) -> Result<()> {
    for file in files {
        if !is_needed(file, programs) || file.is_dir() || !file.exists() {
            continue;
        }
        tree.take(file)?;
        if let Some(compiled) = compiled_python(file) {
            tree.take(&compiled)?;
        }
    }
    Ok(())
}

/// Manuals and translations are most of a package. What is in `/etc` is taken for programs that
/// are to find what they find on a user's machine; the files of [`crate::image`] replace some.
fn is_needed(file: &Path, programs: Programs) -> bool {
    const SHARED: &[&str] =
        &["/usr/share/git-core/templates", "/usr/share/python-wheels", "/usr/share/nodejs"];
    // Other compilers and their libraries, and npm: as large as all the rest.
    const LARGE: &[&str] = &["/usr/include/node", "/usr/lib/node_modules"];
    const LARGE_NAMES: &[&str] = &["lto1", "lto-dump", "asan", "tsan", "lsan", "ubsan", "gprofng"];
    let starts = |places: &[&str]| places.iter().any(|place| file.starts_with(place));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if starts(&["/etc"]) {
        return programs == Programs::Full;
    }
    let is_large = starts(LARGE) || LARGE_NAMES.iter().any(|part| name.contains(part));
    !is_large && (starts(SHARED) || !starts(&["/usr/share", "/var"]))
}

/// What Debian compiled a Python source to, at installation.
///
/// Without these each start of Python in a guest compiles dozens of files, and tries to write
/// them into `/usr`, which a governed process is refused.
fn compiled_python(source: &Path) -> Option<PathBuf> {
    let stem = source.file_name()?.to_str()?.strip_suffix(".py")?;
    let cache = source.parent()?.join("__pycache__");
    let entry =
        fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix(".cpython-"));
            // `….cpython-311.opt-1.pyc` is for `python3 -O`.
            rest.is_some_and(|rest| {
                rest.trim_end_matches(".pyc").chars().all(|c| c.is_ascii_digit())
            })
        })?;
    Some(entry)
}
