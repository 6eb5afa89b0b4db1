//! Which kernel modules a wanted module needs, and in which order they load.
//!
//! Debian's packages hold no `modules.dep` (it is made at installation), so the dependencies are
//! read from the modules themselves, as depmod does.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// A kernel module, decompressed.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its name, with underscores.
    pub(crate) name: String,
    /// The ELF file with its signature at the end.
    pub(crate) content: Vec<u8>,
}

/// The modules to load for `wanted`, each after what it depends on.
///
/// A module that is built into the kernel needs no loading and is left out. One that is wanted
/// with a `?` behind its name is left out where the kernel has no such module.
///
/// # Errors
/// When the kernel has no such module.
pub(crate) fn resolve(directory: &Path, wanted: &[String]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(directory, &mut files)?;
    let built_in = fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
    let built_in: Vec<_> = built_in.lines().filter_map(|l| name_of(Path::new(l))).collect();
    let mut order = Vec::new();
    for name in wanted {
        let name = match name.strip_suffix('?') {
            Some(name) if !files.contains_key(&name.replace('-', "_")) => continue,
            Some(name) => name,
            None => name,
        };
        visit(&name.replace('-', "_"), &files, &built_in, &mut order)
            .with_context(|| format!("cannot load the kernel module `{name}`"))?;
    }
    Ok(order)
}

fn visit(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    built_in: &[String],
    order: &mut Vec<Module>,
) -> Result<()> {
    if built_in.iter().any(|known| known == name) || order.iter().any(|m| m.name == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else {
        bail!("this kernel has no module `{name}`");
    };
    let content = read(file)?;
    for dependency in dependencies(&content) {
        visit(&dependency, files, built_in, order)?;
    }
    order.push(Module { name: name.to_owned(), content });
    Ok(())
}

fn index(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            index(&entry.path(), files)?;
        } else if let Some(name) = name_of(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `…/dm-mod.ko.xz` is the module `dm_mod`.
fn name_of(path: &Path) -> Option<String> {
    let (name, rest) = path.file_name()?.to_str()?.split_once('.')?;
    matches!(rest, "ko" | "ko.xz" | "ko.zst" | "ko.gz").then(|| name.replace('-', "_"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| file.display().to_string()),
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(file)
        .output()
        .with_context(|| format!("cannot start `{program}`; is it installed?"))?;
    if !output.status.success() {
        bail!("`{program}` cannot decompress {}", file.display());
    }
    Ok(output.stdout)
}

/// The `depends=` entry of the `.modinfo` section, which is a row of NUL-terminated strings.
fn dependencies(module: &[u8]) -> Vec<String> {
    let entry = module.split(|&byte| byte == 0).find_map(|text| text.strip_prefix(b"depends="));
    let list = String::from_utf8_lossy(entry.unwrap_or_default()).into_owned();
    let names = list.split(',').map(|name| name.trim().replace('-', "_"));
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        for (module, expected) in [
            (&b"\x7fELF\0license=GPL\0depends=\0intree=Y\0"[..], &[][..]),
            (b"\0depends=stp,llc\0", &["stp", "llc"]),
            (b"\0depends=dm-mod\0x", &["dm_mod"]),
            (b"no such entry, xdepends=a\0", &[]),
        ] {
            assert_eq!(dependencies(module), expected);
        }
    }

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let directory = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        fs::create_dir_all(directory.join("kernel/net")).unwrap();
        for (file, content) in [
            ("kernel/net/bridge.ko", "\0depends=stp,llc\0"),
            ("kernel/net/stp.ko", "\0depends=llc\0"),
            ("kernel/net/llc.ko", "\0depends=\0"),
            ("modules.builtin", "kernel/fs/ext4/ext4.ko\n"),
        ] {
            fs::write(directory.join(file), content).unwrap();
        }
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let modules = resolve(&directory, &wanted)?;
            anyhow::Ok(modules.into_iter().map(|module| module.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["bridge", "ext4", "stp"]).unwrap(), ["llc", "stp", "bridge"]);
        assert!(format!("{:#}", names(&["nothing"]).unwrap_err()).contains("no module `nothing`"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
