//! A Debian system for guests: a disk with systemd, podman and Prometheus, made once.
//!
//! The packages come from the mirror that this machine is configured for, and are unpacked without
//! their maintainer scripts, which would need a system to run in. What those would have made, and
//! the system needs, is written here. Everything that starts is listed here too: an emulated
//! processor takes about a second to start a service.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{apt::Apt, image, run, tree::busybox_applets};

/// Debian 13: the first release whose systemd knows `Type=notify-reload`, and whose podman and
/// crun know each of the kernels that are tested.
const SUITES: &[&str] = &["trixie", "trixie-security"];

/// What is asked for; what these depend on comes with them.
const PACKAGES: &[&str] = &[
    "aardvark-dns",
    "base-files",
    "bash",
    "busybox-static",
    "conmon",
    "coreutils",
    "crun",
    "curl",
    "dash",
    "dbus",
    "dbus-user-session",
    "diffutils",
    "debconf",
    "dpkg",
    "findutils",
    "grep",
    "init-system-helpers",
    "iproute2",
    "libc-bin",
    "libpam-systemd",
    "login",
    "mawk",
    "mount",
    "netavark",
    "passwd",
    // What maintainer scripts of packages are written in.
    "perl-base",
    "podman",
    "procps",
    "prometheus",
    "python3",
    "sed",
    "systemd-sysv",
    "tar",
    "util-linux",
];

/// What a system in use starts with a target, and this one does too. The rest of what Debian
/// starts is for hardware, for upgrades, or for people at a terminal.
const STARTED: &[&str] = &[
    "dbus.service",
    "dbus.socket",
    "run-lock.mount",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "sys-fs-bpf.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "tmp.mount",
];

/// Where systemd reads what a target starts, besides the links in `/etc`.
const UNITS: &str = "usr/lib/systemd/system";

/// Kernel modules that the system needs: the disk it is on, and what containers are made with.
pub(crate) const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "overlay", "veth", "bridge"];

/// What packages bring that nothing in a guest reads.
const UNREAD: &[&str] = &[
    "boot",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/javascript",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/nodejs",
    // They look for what this system does not have: partitions, terminals, init.d.
    "usr/lib/systemd/system-generators",
    "etc/init.d",
];

/// Files that the packages' scripts would have made, and the configuration of the guest.
const FILES: &[(&str, u32, &str)] = &[
    (
        "etc/passwd",
        0o644,
        concat!(
            "root:x:0:0:root:/root:/bin/sh\n",
            "messagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n",
            "user:x:1000:1000:user:/home/user:/bin/sh\n",
            "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
        ),
    ),
    (
        "etc/group",
        0o644,
        concat!(
            "root:x:0:\nadm:x:4:\ntty:x:5:\nutmp:x:43:\nsystemd-journal:x:101:\n",
            "messagebus:x:100:\nuser:x:1000:\nnogroup:x:65534:\n",
        ),
    ),
    ("etc/machine-id", 0o444, "72696e6766656e636500000000000001\n"),
    ("etc/fstab", 0o644, ""),
    (
        "etc/pam.d/systemd-user",
        0o644,
        concat!(
            "account required pam_permit.so\n",
            "session required pam_permit.so\n",
            "session optional pam_systemd.so\n",
        ),
    ),
    (
        "etc/pam.d/other",
        0o644,
        concat!(
            "auth required pam_permit.so\naccount required pam_permit.so\n",
            "password required pam_permit.so\nsession required pam_permit.so\n",
        ),
    ),
    ("etc/systemd/system.conf", 0o644, "[Manager]\nDefaultTimeoutStartSec=600\nLogColor=no\n"),
    ("etc/systemd/journald.conf", 0o644, "[Journal]\nStorage=volatile\nRateLimitBurst=0\n"),
    // An emulated processor is silent for long.
    ("etc/systemd/system/service.d/patience.conf", 0o644, "[Service]\nTimeoutStopSec=300\n"),
    (
        "etc/containers/containers.conf",
        0o644,
        concat!(
            "[containers]\nlog_driver = \"k8s-file\"\n",
            "[engine]\ncgroup_manager = \"systemd\"\nevents_logger = \"file\"\nruntime = \"crun\"\n",
        ),
    ),
    (
        "etc/containers/policy.json",
        0o644,
        "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n",
    ),
    ("etc/systemd/system/ringfence-vm.service", 0o644, include_str!("system/ringfence-vm.service")),
    ("usr/local/sbin/ringfence-vm", 0o755, include_str!("system/command.sh")),
];

/// Links that make the guest what it is.
const LINKS: &[(&str, &str)] = &[
    ("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target"),
    (
        "etc/systemd/system/multi-user.target.wants/ringfence-vm.service",
        "/etc/systemd/system/ringfence-vm.service",
    ),
    ("etc/mtab", "/proc/self/mounts"),
    ("usr/bin/awk", "mawk"),
    // Started by systemd itself, and not by a link.
    ("etc/systemd/system/proc-sys-fs-binfmt_misc.automount", "/dev/null"),
    ("etc/systemd/system/systemd-remount-fs.service", "/dev/null"),
    ("etc/systemd/system/systemd-update-utmp.service", "/dev/null"),
    ("etc/systemd/system/systemd-user-sessions.service", "/dev/null"),
];

/// Where a root file system for containers is in the guest: busybox under each of its names.
const CONTAINER: &str = "srv/container";

/// The disk, made unless it is here and still right.
///
/// # Errors
/// When the packages cannot be had, or the disk not be made of them.
pub(crate) fn disk() -> Result<PathBuf> {
    let store = run::store("system");
    fs::create_dir_all(&store)?;
    let lock = File::create(store.join("lock"))?;
    lock.lock().context("cannot lock target/system")?;
    let (disk, note) = (store.join("disk.ext4"), store.join("disk.key"));
    let key = key();
    if disk.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == key) {
        return Ok(disk);
    }
    eprintln!("vm: making a Debian system of packages from the mirror");
    let _ = fs::remove_file(&note);
    let packages = download(&store)?;
    let root = store.join("root");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root)?;
    unpack(&packages, &root)?;
    configure(&root)?;
    make_disk(&root, &disk)?;
    fs::remove_dir_all(&root)?;
    fs::write(note, key)?;
    Ok(disk)
}

/// Changes when what this module makes changes. New packages on the mirror do not count: whoever
/// wants those removes `target/system`.
fn key() -> String {
    format!("{SUITES:?}{PACKAGES:?}{STARTED:?}{UNREAD:?}{FILES:?}{LINKS:?}{:?}", image::FILES)
}

fn download(store: &Path) -> Result<Vec<PathBuf>> {
    let apt = Apt::open(&store.join("apt"), SUITES)?;
    apt.download_with_dependencies(PACKAGES)
}

/// Unpacks each package, and notes it in the database of dpkg, so that packages can be installed
/// in the guest that depend on it.
fn unpack(packages: &[PathBuf], root: &Path) -> Result<()> {
    let mut status = String::new();
    let database = root.join("var/lib/dpkg");
    fs::create_dir_all(database.join("info"))?;
    fs::write(database.join("info/format"), "1\n")?;
    for package in packages {
        run::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(root))?;
        let fields = run::capture(Command::new("dpkg-deb").arg("-f").arg(package))?;
        let field = |name: &str| {
            let value = fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_default()
        };
        let name = match field("Multi-Arch") {
            "same" => format!("{}:{}", field("Package"), field("Architecture")),
            _ => field("Package").to_owned(),
        };
        // The scripts never ran, and none is there to be run.
        fs::write(database.join(format!("info/{name}.list")), "")?;
        let (first, rest) = fields.split_once('\n').unwrap_or((&fields, ""));
        status.push_str(&format!("{first}\nStatus: install ok installed\n{rest}\n"));
    }
    fs::write(database.join("status"), status)?;
    fs::write(database.join("available"), "")?;
    Ok(())
}

fn configure(root: &Path) -> Result<()> {
    for place in UNREAD {
        let _ = fs::remove_dir_all(root.join(place));
    }
    start_little(&root.join(UNITS))?;
    for (path, mode, content) in image::FILES
        .iter()
        .map(|(path, mode, content)| (path.trim_start_matches('/'), *mode, *content))
        .chain(FILES.iter().copied())
    {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    for (path, target) in LINKS {
        replace_by_link(&root.join(path), Path::new(target))?;
    }
    for directory in ["home/user", "var/lib/containers", "var/log/journal", "srv", "mnt"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let _ = fs::remove_dir(root.join("var/log/journal"));

    let container = root.join(CONTAINER);
    for directory in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(container.join(directory))?;
    }
    let busybox = root.join("usr/bin/busybox");
    fs::copy(&busybox, container.join("bin/busybox"))?;
    fs::write(container.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    for applet in busybox_applets(&busybox)? {
        let place = container.join("bin").join(applet);
        if !place.exists() {
            symlink("busybox", place)?;
        }
    }
    Ok(())
}

/// Removes the links by which targets start what is not in [`STARTED`].
fn start_little(units: &Path) -> Result<()> {
    let started: BTreeSet<&str> = STARTED.iter().copied().collect();
    for target in fs::read_dir(units)? {
        let target = target?.path();
        if target.extension().is_none_or(|extension| extension != "wants") {
            continue;
        }
        for link in fs::read_dir(&target)? {
            let link = link?;
            if !started.contains(link.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(link.path())?;
            }
        }
    }
    Ok(())
}

fn replace_by_link(path: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let _ = fs::remove_file(path);
    symlink(target, path).with_context(|| path.display().to_string())
}

/// Makes an ext4 file system of a folder. Whoever makes it, its files are root's.
fn make_disk(root: &Path, disk: &Path) -> Result<()> {
    let partial = disk.with_extension("partial");
    let mut file = File::create(&partial)?;
    // Sparse: room for what tests write.
    file.set_len(3 << 30)?;
    file.flush()?;
    let mke2fs = run::find_program("mke2fs")
        .context("mke2fs is not installed; `cargo xtask setup` installs e2fsprogs")?;
    let mut command = match run::is_root() {
        true => Command::new(mke2fs),
        false => {
            let mut command = Command::new("unshare");
            command.arg("--map-root-user").arg(mke2fs);
            command
        }
    };
    // Without a journal: nothing outlives a boot.
    command.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]);
    run::run(command.arg(root).arg(&partial))?;
    fs::rename(partial, disk)?;
    Ok(())
}
