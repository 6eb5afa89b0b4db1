//! The archive format of a Linux initramfs: cpio "newc", as in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.
//!
//! An initramfs may be several archives one after the other; a later file replaces an earlier one
//! of the same name.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Writes one archive. Directories above a file are added by themselves.
pub(crate) struct Archive<W> {
    out: W,
    /// Numbers the entries: two entries with one inode number would be hard links.
    inode: u32,
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    /// An empty archive that is written to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds the directory `path` with mode 0755, and those above it.
    pub(crate) fn directory(&mut self, path: &Path) -> io::Result<()> {
        self.directory_with_mode(path, 0o755)
    }

    /// Adds the directory `path` with the permission bits `mode`.
    pub(crate) fn directory_with_mode(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let path = relative(path);
        if path.as_os_str().is_empty() || self.directories.contains(&path) {
            return Ok(());
        }
        self.parents(&path)?;
        self.entry(&path, DIRECTORY | mode, 0, (0, 0), &[])?;
        self.directories.insert(path);
        Ok(())
    }

    /// Adds a regular file with the permission bits `mode`, last changed at the epoch.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        self.dated_file(path, mode, 0, content)
    }

    /// Adds a regular file that was last changed `modified` seconds after the epoch.
    ///
    /// Python takes a compiled file only if it names the time and size of its source.
    pub(crate) fn dated_file(
        &mut self,
        path: &Path,
        mode: u32,
        modified: u32,
        content: &[u8],
    ) -> io::Result<()> {
        let path = relative(path);
        self.parents(&path)?;
        self.entry(&path, REGULAR | (mode & 0o7777), modified, (0, 0), content)
    }

    /// Adds a symbolic link at `path` that says `target`.
    pub(crate) fn symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let path = relative(path);
        self.parents(&path)?;
        self.entry(&path, SYMLINK | 0o777, 0, (0, 0), target.as_os_str().as_encoded_bytes())
    }

    /// Adds a character device.
    pub(crate) fn character_device(
        &mut self,
        path: &Path,
        mode: u32,
        device: (u32, u32),
    ) -> io::Result<()> {
        let path = relative(path);
        self.parents(&path)?;
        self.entry(&path, CHARACTER_DEVICE | mode, 0, device, &[])
    }

    /// Writes the end of the archive, and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry(Path::new("TRAILER!!!"), 0, 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &Path,
        mode: u32,
        modified: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        self.inode += 1;
        let name = path.as_os_str().as_encoded_bytes();
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{} is over 4 GiB", path.display())))?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // Owner root: the same input gives the same archive, byte for byte, whoever makes it.
        let fields =
            [self.inode, mode, 0, 0, links, modified, size, 0, 0, device.0, device.1, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name)?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Name and content each end on a multiple of four bytes; the header is 110 bytes long.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.wrapping_neg() % 4])
    }
}

/// `path` without the leading slash and without `.`: the kernel unpacks below its root.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/usr/bin/tool"), 0o755, b"#!/bin/sh\n").unwrap();
        archive.symlink(Path::new("/bin"), Path::new("usr/bin")).unwrap();
        archive.file(Path::new("/etc/empty"), 0o600, b"").unwrap();
        archive.directory_with_mode(Path::new("/tmp"), 0o1777).unwrap();
        archive.character_device(Path::new("/dev/console"), 0o600, (5, 1)).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn headers_and_contents_stand_on_multiples_of_four() {
        let bytes = sample();
        let (mut at, mut names) = (0, Vec::new());
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "at {at}");
            let field = |index: usize| {
                let from = at + 6 + index * 8;
                let text = std::str::from_utf8(&bytes[from..from + 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (size, name_size) = (field(6), field(11));
            let name = &bytes[at + 110..at + 110 + name_size - 1];
            assert_eq!(bytes[at + 110 + name_size - 1], 0);
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at = (at + 110 + name_size).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
            if name == b"TRAILER!!!" {
                break;
            }
        }
        assert_eq!(at, bytes.len());
        let expected = [
            "usr",
            "usr/bin",
            "usr/bin/tool",
            "bin",
            "etc",
            "etc/empty",
            "tmp",
            "dev",
            "dev/console",
            "TRAILER!!!",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_foreign_cpio_lists_what_was_put_in() {
        let mut busybox = Command::new("busybox");
        busybox.args(["cpio", "-tv"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = busybox.stderr(Stdio::null()).spawn() else {
            return println!("no busybox here: nothing to compare with");
        };
        child.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = child.wait_with_output().unwrap();
        let listing = String::from_utf8(output.stdout).unwrap();
        for (start, end) in [
            ("-rwxr-xr-x", "usr/bin/tool"),
            ("lrwxrwxrwx", "bin -> usr/bin"),
            ("-rw-------", "etc/empty"),
            ("drwxrwxrwt", "tmp"),
            ("crw-------", "dev/console"),
        ] {
            let found = listing.lines().any(|l| l.starts_with(start) && l.ends_with(end));
            assert!(found, "{start} {end} is not in\n{listing}");
        }
    }

    #[test]
    fn a_path_loses_its_root_and_its_dots() {
        for (given, expected) in [("/a/b", "a/b"), ("./a", "a"), ("a//b/", "a/b"), ("/", "")] {
            assert_eq!(relative(Path::new(given)), Path::new(expected));
        }
    }
}
