//! Files of this machine that go into a guest, together with the libraries that they need.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{cpio::Archive, run};

/// What stands at one path of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// A copy of this file of the host.
    File(PathBuf),
    /// A symbolic link that says this.
    Link(PathBuf),
    /// A directory, which may be empty.
    Directory,
}

/// Paths of the guest, and what stands there.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// Whether something stands at `path`.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(&guest_path(Path::new(path)))
    }

    /// Puts a symbolic link at `path`.
    pub(crate) fn link(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        self.entries.insert(guest_path(path.as_ref()), Entry::Link(target.into()));
    }

    /// Takes a file of the host to the same path of the guest; a link brings what it points to.
    pub(crate) fn take(&mut self, path: &Path) -> Result<()> {
        let place = guest_path(path);
        if self.entries.contains_key(&place) {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
        if metadata.is_symlink() {
            let target = fs::read_link(path)?;
            let parent = path.parent().unwrap_or(Path::new("/"));
            self.entries.insert(place, Entry::Link(target.clone()));
            self.take(&parent.join(target))?;
        } else if metadata.is_file() {
            self.entries.insert(place, Entry::File(path.to_owned()));
        }
        Ok(())
    }

    /// Takes a file, or a directory with all that is below it, to `place` in the guest.
    pub(crate) fn take_as(&mut self, path: &Path, place: &Path) -> Result<()> {
        let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
        let place = guest_path(place);
        if !metadata.is_dir() {
            self.entries.insert(place, Entry::File(path.to_owned()));
            return Ok(());
        }
        self.entries.insert(place.clone(), Entry::Directory);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let below = place.join(entry.file_name());
            if entry.file_type()?.is_symlink() {
                self.entries.insert(below, Entry::Link(fs::read_link(entry.path())?));
            } else {
                self.take_as(&entry.path(), &below)?;
            }
        }
        Ok(())
    }

    /// Takes the libraries and program interpreters of all files so far.
    ///
    /// # Errors
    /// When this machine lacks one of them.
    pub(crate) fn take_libraries(&mut self) -> Result<()> {
        let mut programs = Vec::new();
        for entry in self.entries.values() {
            if let Entry::File(path) = entry
                && is_elf(path)?
            {
                programs.push(path.clone());
            }
        }
        // One ldd for many files: it costs more to start than to work.
        for some in programs.chunks(100) {
            // It fails when one of them is static, which is no failure to us.
            let output = Command::new("ldd")
                .args(some)
                .env("LC_ALL", "C")
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output()
                .context("cannot start `ldd`")?;
            for library in parse_ldd(&String::from_utf8_lossy(&output.stdout))? {
                self.take(&library)?;
            }
        }
        Ok(())
    }

    /// Writes everything into `archive`.
    pub(crate) fn write<W: Write>(&self, archive: &mut Archive<W>) -> Result<()> {
        for (place, entry) in &self.entries {
            match entry {
                Entry::Link(target) => archive.symlink(place, target)?,
                Entry::Directory => archive.directory(place)?,
                Entry::File(path) => {
                    let failed = || format!("cannot read {}", path.display());
                    let content = fs::read(path).with_context(failed)?;
                    let metadata = fs::metadata(path).with_context(failed)?;
                    let modified = u32::try_from(metadata.mtime()).unwrap_or(0);
                    let mode = metadata.permissions().mode();
                    archive.dated_file(place, mode, modified, &content)?;
                }
            }
        }
        Ok(())
    }
}

/// The files that a Debian package put on this machine; `None` when it is not installed.
pub(crate) fn files_of_package(package: &str) -> Option<Vec<PathBuf>> {
    let mut command = Command::new("dpkg");
    let output = command.args(["-L", package]).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| {
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        list.lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
    })
}

/// The libraries in what `ldd` prints about one or several programs.
fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines().map(str::trim) {
        let path = match line.split_once(" => ") {
            Some((name, place)) if place.starts_with("not found") => {
                bail!("the library {name} is not on this machine");
            }
            Some((_, place)) => place,
            None => line,
        };
        // `/lib64/ld-linux-x86-64.so.2 (0x00007f…)`; the name of a program ends with a colon.
        if let Some((path, _)) = path.split_once(" (0x")
            && path.starts_with('/')
        {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = file.take(4).read(&mut magic)?;
    Ok(magic[..read] == *b"\x7fELF")
}

/// `path` without `..`, and in `/usr` where Debian has only links to `/usr`.
pub(crate) fn guest_path(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    for merged in MERGED {
        if let Ok(rest) = clean.strip_prefix(Path::new("/").join(merged)) {
            // Joining the empty path would end the name with a slash.
            if !rest.as_os_str().is_empty() {
                return Path::new("/usr").join(merged).join(rest);
            }
        }
    }
    clean
}

/// The directories that are links into `/usr` in the guest, as on Debian.
pub(crate) const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];

/// Reads `HOST[:GUEST]`; the guest's path is the host's unless given.
pub(crate) fn parse_addition(text: &str) -> Result<(PathBuf, PathBuf)> {
    let (host, guest) = match text.split_once(':') {
        Some((host, guest)) => (host, Some(guest)),
        None => (text, None),
    };
    let host = std::path::absolute(host).with_context(|| format!("cannot find `{host}`"))?;
    if !host.exists() {
        bail!("there is no {} to add to the virtual machine", host.display());
    }
    let guest = guest.map_or_else(|| host.clone(), PathBuf::from);
    if !guest.is_absolute() {
        bail!("`{}`: a path in the virtual machine starts with a slash", guest.display());
    }
    Ok((host, guest))
}

/// The names of the programs that busybox can be.
pub(crate) fn busybox_applets(busybox: &Path) -> Result<Vec<String>> {
    let list = run::capture(Command::new(busybox).arg("--list"))?;
    Ok(list.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let text = "\
/usr/bin/one:
\tlinux-vdso.so.1 (0x00007f1919e97000)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f1919da6000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1919e99000)
/usr/bin/two:
\tnot a dynamic executable
\tstatically linked
";
        let expected =
            ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse_ldd(text).unwrap(), expected);
        let missing = parse_ldd("\tlibgone.so.1 => not found\n").unwrap_err();
        assert_eq!(missing.to_string(), "the library libgone.so.1 is not on this machine");
    }

    #[test]
    fn a_path_of_the_guest_is_clean_and_merged() {
        for (given, expected) in [
            ("/bin/sh", "/usr/bin/sh"),
            ("/lib/x86_64-linux-gnu/../y", "/usr/lib/y"),
            ("/lib64/ld.so", "/usr/lib64/ld.so"),
            ("/library/x", "/library/x"),
            ("/bin", "/bin"),
            ("/../etc/./hosts", "/etc/hosts"),
        ] {
            assert_eq!(guest_path(Path::new(given)), Path::new(expected), "{given}");
        }
    }

    #[test]
    fn an_addition_names_a_path_here_and_one_there() {
        let (host, guest) = parse_addition("/etc/hosts:/a/b").unwrap();
        assert_eq!((host.as_path(), guest.as_path()), (Path::new("/etc/hosts"), Path::new("/a/b")));
        assert_eq!(parse_addition("/etc/hosts").unwrap().1, Path::new("/etc/hosts"));
        assert!(parse_addition("/etc/hosts:b").unwrap_err().to_string().contains("slash"));
        assert!(parse_addition("/no/such").unwrap_err().to_string().contains("there is no"));
    }
}
