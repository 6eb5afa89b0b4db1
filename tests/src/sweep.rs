//! A boundary that allows everything changes nothing: every system call on files, on every kind of
//! object, by root and by a user, gives the same result, errno and state with and without it.

/// A system call by its number, as 64-bit words.
macro_rules! raw {
    ($name:ident $(, $argument:expr)*) => {{
        // SAFETY: pointers among the arguments are to variables of the caller, to constants, or
        // meant to be bad, which the kernel finds out.
        unsafe { libc::syscall(libc::$name $(, $argument as i64)*) }
    }};
}

mod calls;
mod descriptors;
mod objects;
mod pairs;
mod paths;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::AsRawFd as _,
    path::Path,
    process::{Child, Command, ExitCode},
};

use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{ACTOR, Run, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("a boundary that allows everything changes no result of a file operation", sweep)];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "/", allow: [read, write, device] }
  - { path: "/**", allow: [read, write, device] }
exec:
  - { path: "/**", allow: true }
"#;

/// What a record must hold at least, so that it cannot agree by being empty.
const CALLS: usize = 10_000;
const ERRORS: usize = 25;

/// A difference that is meant: what governed root is refused whatever its boundary says.
struct Meant {
    /// How the call's name begins.
    call: &'static str,
    /// The start of the governed result.
    governed: &'static str,
    /// Every kernel makes it.
    is_everywhere: bool,
}

/// A difference on every kernel.
const fn meant(call: &'static str, governed: &'static str) -> Meant {
    Meant { call, governed, is_everywhere: true }
}

/// See "Always refused to a governed process" in `docs/semantics.md`.
const MEANT: &[Meant] = &[
    // CAP_MKNOD: a device node is a way to the machine's memory and disks.
    meant("root mknod-device", "EPERM"),
    // CAP_SYS_ADMIN, without which the `trusted.` attributes are not there and those of other
    // security modules cannot be set.
    meant("root setxattr-trusted", "EPERM"),
    // Linux 6.1 asks for no capability there when the BPF LSM is on: its `inode_setxattr` hook
    // stands in for that of the capabilities.
    Meant { call: "root setxattr-security", governed: "EPERM", is_everywhere: false },
    meant("root removexattr-trusted", "EPERM"),
    // no_new_privs: a set-user-ID program runs as who starts it. The program exits with its user.
    meant("root execve setuid", "0;"),
    meant("root execveat setuid", "0;"),
    meant("root execveat-nofollow setuid", "0;"),
    meant("root execute-of-read setuid", "0;"),
    meant("root execute-of-path setuid", "0;"),
];

/// What the worker is told: makes the calls in a folder and prints a line for each.
pub(crate) fn worker(arguments: &[Vec<u8>]) -> ExitCode {
    let [folder] = arguments else { return ExitCode::from(2) };
    match work(Path::new(&*String::from_utf8_lossy(folder))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sweep: {error}");
            ExitCode::from(1)
        }
    }
}

fn work(folder: &Path) -> std::io::Result<()> {
    objects::be_ready(folder)?;
    let mut record = String::new();
    for user in [0, 1000] {
        calls::all(user, &mut record)?;
        pairs::all(user, &mut record)?;
    }
    use std::io::Write as _;
    std::io::stdout().lock().write_all(record.as_bytes())
}

/// What only root outside of a boundary can make; see [`objects`].
struct Fixed<'a> {
    folder: &'a Path,
    running: Child,
}

impl<'a> Fixed<'a> {
    fn make(folder: &'a Path) -> Result<Self, Failure> {
        let at = |name: &str| folder.join(name).display().to_string();
        fs::create_dir_all(folder.join("tree"))?;
        fs::write(folder.join("program"), objects::PROGRAM)?;
        fs::copy("/bin/busybox", folder.join("sleep"))?;
        let script = format!(
            "set -e; chmod 755 {program}; chmod 1777 {tree}
             mknod {null} c 1 3; chmod 666 {null}
             mkdir {frozen} {ro} {small} {mounted}; echo text > {immutable}
             echo text > {ro}/file; mount --bind {ro} {ro}; mount -o remount,bind,ro {ro}
             mount -t tmpfs -o size=4k,nr_inodes=3,mode=777 none {small}; head -c 4096 /dev/zero > {small}/full
             mount -t tmpfs -o size=64k none {mounted}; : > {small}/last",
            program = at("program"),
            tree = at("tree"),
            null = at("null"),
            frozen = at("frozen"),
            immutable = at("immutable"),
            ro = at("ro"),
            small = at("small"),
            mounted = at("mounted"),
        );
        let made = Command::new("/bin/sh").args(["-c", &script]).output()?;
        for name in ["immutable", "frozen"] {
            // Where the file system has no such attribute, these are like any others.
            let _ = set_immutable(&folder.join(name), true);
        }
        let running = Command::new(folder.join("sleep")).arg("100000").spawn()?;
        let fixed = Self { folder, running };
        ensure(made.status.success(), || String::from_utf8_lossy(&made.stderr).into_owned())?;
        Ok(fixed)
    }
}

impl Drop for Fixed<'_> {
    fn drop(&mut self) {
        // What fails here was not made.
        let _ = self.running.kill();
        let _ = self.running.wait();
        for name in ["ro", "small", "mounted"] {
            let _ = Command::new("umount").arg("-l").arg(self.folder.join(name)).output();
        }
        for name in ["immutable", "frozen"] {
            let _ = set_immutable(&self.folder.join(name), false);
        }
        let _ = fs::remove_dir_all(self.folder);
    }
}

/// Sets or clears the attribute by which not even root changes a file.
fn set_immutable(path: &Path, on: bool) -> std::io::Result<()> {
    /// `FS_IMMUTABLE_FL` (`linux/fs.h`).
    const IMMUTABLE: libc::c_int = 0x10;
    let file = fs::File::open(path)?;
    let flags = if on { IMMUTABLE } else { 0 };
    // SAFETY: the call reads a number, and the pointer is to one.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
    sys::check(done).map(drop)
}

/// The record of one run in a folder that is made anew, in the same place.
fn record(context: &Context, file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let folder = context.room.join("sweep");
    let fixed = Fixed::make(&folder)?;
    let run = Run::new(context, [ACTOR, "sweep", &folder.to_string_lossy()]);
    let ended = match file {
        Some(file) => run.policy(file).end()?,
        None => run.free().end()?,
    };
    drop(fixed);
    ensure(ended.code() == 0, || format!("the sweep fails: {}", ended.stderr))?;
    Ok(ended.stdout.lines().map(str::to_owned).collect())
}

fn sweep(context: &mut Context) -> Result<(), Failure> {
    let file = policy(context, "policy.yaml", POLICY)?;
    let free = record(context, None)?;
    let governed = record(context, Some(&file))?;
    ensure(free.len() == governed.len(), || {
        format!("{} calls were made, and {} under the boundary", free.len(), governed.len())
    })?;
    ensure(free.len() >= CALLS, || format!("only {} calls were made", free.len()))?;
    let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &free {
        let result = result_of(line).split([' ', ';']).next().unwrap_or_default();
        if result.starts_with('E') {
            *errors.entry(result).or_default() += 1;
        }
    }
    ensure(errors.len() >= ERRORS, || format!("only these errors occur: {errors:?}"))?;

    let mut problems = Vec::new();
    let mut met = BTreeSet::new();
    for (free, governed) in free.iter().zip(&governed) {
        if free == governed {
            continue;
        }
        let is_meant = |meant: &Meant| {
            governed.starts_with(meant.call) && result_of(governed).starts_with(meant.governed)
        };
        match MEANT.iter().position(is_meant) {
            Some(index) => drop(met.insert(index)),
            None => problems.push(format!("{free}\n    under the boundary: {governed}")),
        }
    }
    for (index, meant) in MEANT.iter().enumerate() {
        if meant.is_everywhere && !met.contains(&index) {
            problems.push(format!("{} differs no more: take it off the list", meant.call));
        }
    }
    crate::harness::note(&format!(
        "{} calls, {} different errors ({}), {} listed differences met",
        free.len(),
        errors.len(),
        errors.keys().copied().collect::<Vec<_>>().join(" "),
        met.len(),
    ));
    problems.truncate(200);
    Failure::of_all(problems)
}

/// What follows `=` in a line of the record.
fn result_of(line: &str) -> &str {
    line.split_once(" = ").map_or("", |(_, result)| result)
}

/// The result of a system call, or its error's name.
fn answer(result: impl Into<i64>) -> Result<i64, i32> {
    sys::check(result).map_err(|error| error.raw_os_error().unwrap_or(0))
}
