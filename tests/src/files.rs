//! Files: what may be opened and changed, by whatever name.

use std::{
    fs,
    os::{
        fd::AsFd as _,
        unix::{fs::symlink, net::UnixListener},
    },
    path::Path,
    process::Command,
    thread,
};

use libc::EACCES;

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("files outside the workspace are neither read nor changed", outside),
    ("no other name of a file gives more than its own", other_names),
    ("names are not moved across the boundary", moving),
    ("descriptors from outside are worth nothing", descriptors),
    ("a mounted tree is judged by where it is mounted", mounts),
];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/*/work", allow: [read] }
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/*/ro/**", allow: [read] }
  - { path: "{room}/*/work/denied/**", deny: [read, write] }
  - { path: "{room}/*/work/unread/**", deny: [read] }
  - { path: "{room}/pass.sock", allow: [read, write] }
"#;

/// The rule that denies everything below `work/denied`.
const DENIED: By = By::Rule("denied/**");
/// The rule that denies reading below `work/unread`.
const UNREAD: By = By::Rule("unread/**");
/// Nothing allows it.
const UNLISTED: By = By::Default("files:");

fn prepare(base: &Path) -> std::io::Result<()> {
    for folder in ["work/sub", "work/denied", "work/unread", "ro", "out/empty", "out/folder"] {
        fs::create_dir_all(base.join(folder))?;
    }
    for file in [
        "work/file",
        "work/sub/file",
        "work/denied/secret",
        "work/unread/secret",
        "ro/file",
        "out/secret",
        "out/folder/file",
    ] {
        fs::write(base.join(file), "something")?;
    }
    symlink("../out/secret", base.join("work/link"))?;
    symlink("../out", base.join("work/folder-link"))?;
    symlink("../out/made", base.join("work/dangling"))
}

fn attack(context: &mut Context, observe: bool, cases: &[Case]) -> Result<(), Failure> {
    Attack { policy: POLICY, prepare, observe }.run(context, cases)
}

fn denied(act: &str, action: &'static str, by: By) -> Case {
    refused(act, EACCES, action, "fs_violation", by)
}

fn outside(context: &mut Context) -> Result<(), Failure> {
    let cases = [
        works("open-both {work}/file"),
        works("create {work}/new"),
        works("mkdir {work}/new"),
        works("unlink {work}/file"),
        works("list {work}"),
        works("chmod {work}/file"),
        works("truncate {work}/file"),
        works("rename {work}/file {work}/sub/moved"),
        works("rename {work}/sub {work}/moved"),
        works("link {work}/file {work}/sub/linked"),
        works("exchange {work}/file {work}/sub/file"),
        works("symlink /etc/shadow {work}/symlink"),
        works("tmpfile-link {work} {work}/named"),
        works("open-read {ro}/file"),
        denied("open-read {out}/secret", "read", UNLISTED),
        denied("list {out}", "read", UNLISTED),
        denied("open-write {out}/secret", "write", UNLISTED),
        denied("open-both {out}/secret", "write", UNLISTED),
        denied("open-append {out}/secret", "write", UNLISTED),
        denied("truncate {out}/secret", "write", UNLISTED),
        denied("create {out}/new", "create", UNLISTED),
        denied("mkdir {out}/new", "create", UNLISTED),
        denied("mknod {out}/new", "create", UNLISTED),
        denied("symlink {work}/file {out}/new", "create", UNLISTED),
        denied("unlink {out}/secret", "delete", UNLISTED),
        denied("rmdir {out}/empty", "delete", UNLISTED),
        denied("chmod {out}/secret", "metadata", UNLISTED),
        denied("chown {out}/secret", "metadata", UNLISTED),
        denied("tmpfile {out}", "write", UNLISTED),
        denied("open-write {ro}/file", "write", UNLISTED),
        denied("open-truncating {ro}/file", "write", UNLISTED),
        denied("truncate {ro}/file", "write", UNLISTED),
        denied("unlink {ro}/file", "delete", UNLISTED),
        denied("chmod {ro}/file", "metadata", UNLISTED),
        denied("open-read {work}/denied/secret", "read", DENIED),
        denied("open-write {work}/denied/secret", "write", DENIED),
        denied("create {work}/denied/new", "create", DENIED),
        denied("mkdir {work}/denied/new", "create", DENIED),
        denied("unlink {work}/denied/secret", "delete", DENIED),
        denied("chmod {work}/denied/secret", "metadata", DENIED),
        denied("chown {work}/denied/secret", "metadata", DENIED),
        denied("truncate {work}/denied/secret", "write", DENIED),
        denied("open-read {work}/unread/secret", "read", UNREAD),
    ];
    attack(context, true, &cases)
}

fn other_names(context: &mut Context) -> Result<(), Failure> {
    let victim = Command::new("/bin/sleep").arg("300").spawn()?;
    let other = format!("/proc/{}", victim.id());
    let result = attack(
        context,
        false,
        &[
            works("openat {work} file"),
            works("reopen {work}/file"),
            works("read-in-cwd {work} file"),
            works("open-read /proc/self/root{work}/file"),
            works("open-read /proc/self/status"),
            works("open-read /proc/self/environ"),
            works("open-read /proc/thread-self/status"),
            works("list /proc/self/fd"),
            works("memfd-reopen"),
            works("pipe-reopen"),
            denied("open-read {work}/link", "read", UNLISTED),
            denied("open-read {work}/folder-link/secret", "read", UNLISTED),
            denied("create-through {work}/dangling", "create", UNLISTED),
            denied("open-read {work}/../out/secret", "read", UNLISTED),
            denied("open-read {work}/sub/../../out/secret", "read", UNLISTED),
            denied("open-read /proc/self/root{out}/secret", "read", UNLISTED),
            denied("open-read /proc/self/root/../proc/self/cwd{out}/secret", "read", UNLISTED),
            denied("read-in-cwd {out} secret", "read", UNLISTED),
            denied("read-in-cwd {work} ../out/secret", "read", UNLISTED),
            denied("reopen {out}/secret", "read", UNLISTED),
            denied("openat {out} secret", "read", UNLISTED),
            denied("openat {work} ../out/secret", "read", UNLISTED),
            denied("uring-open {out}/secret now", "read", UNLISTED),
            denied("uring-open {out}/secret async", "read", UNLISTED),
            works("uring-open {work}/file now"),
            works("uring-open {work}/file async"),
            denied(&format!("open-read {other}/environ"), "read", UNLISTED),
            denied(&format!("open-read {other}/mem"), "read", UNLISTED),
            refused(
                format!("open-read {other}/root{{out}}/secret"),
                EACCES,
                "ptrace",
                "self_protection",
                By::Any,
            ),
            denied("open-read /proc/1/environ", "read", UNLISTED),
            denied("reopen {work}/unread/secret", "read", UNREAD),
            denied("unlink-reopen {work}/unread/secret", "read", UNREAD),
            // In observe mode the new name may be read, and it is the renaming that is told of.
            refused(
                "rename-reopen {work}/unread/secret {work}/readable",
                EACCES,
                "read|rename",
                "fs_violation|rights_widened",
                UNREAD,
            ),
        ]
        .map(|case| case.unless_lacking(&[libc::ENOSYS])),
    );
    end(victim);
    result
}

/// Ends a process that a test has started, and waits for it.
pub(crate) fn end(mut child: std::process::Child) {
    // It may have ended, and there is nobody to be told.
    let _ = child.kill();
    let _ = child.wait();
}

fn moving(context: &mut Context) -> Result<(), Failure> {
    let widened = |act: &str, action, by| refused(act, EACCES, action, "rights_widened", by);
    let cases = [
        denied("link {out}/secret {work}/linked", "link", UNLISTED),
        denied("link-descriptor {out}/secret {work}/linked", "link", UNLISTED),
        denied("link {ro}/file {work}/linked", "link", UNLISTED),
        denied("link {work}/file {out}/linked", "link", UNLISTED),
        denied("link {work}/denied/secret {work}/linked", "link", DENIED),
        denied("tmpfile-link {work} {out}/named", "link", UNLISTED),
        denied("rename {work}/file {out}/moved", "rename", UNLISTED),
        denied("rename {work}/file {out}/secret", "rename", UNLISTED),
        denied("rename {out}/secret {work}/moved", "rename", UNLISTED),
        denied("rename {out}/secret {work}/file", "rename", UNLISTED),
        denied("rename {work}/denied/secret {work}/moved", "rename", DENIED),
        denied("rename {work}/file {work}/denied/secret", "rename", DENIED),
        denied("exchange {work}/file {out}/secret", "rename", UNLISTED),
        denied("exchange {out}/secret {work}/file", "rename", UNLISTED),
        denied("exchange {work}/file {work}/denied/secret", "rename", DENIED),
        denied("rename {work}/sub {out}/moved", "rename", UNLISTED),
        denied("rename {out}/folder {work}/moved", "rename", UNLISTED),
        denied("rename {work} {base}/moved", "rename", UNLISTED),
        widened("link {work}/unread/secret {work}/linked", "link", UNREAD),
        widened("rename {work}/unread/secret {work}/moved", "rename", UNREAD),
        widened("rename {work}/unread/secret {work}/file", "rename", UNREAD),
        widened("exchange {work}/unread/secret {work}/file", "rename", UNREAD),
        widened("exchange {work}/file {work}/unread/secret", "rename", UNREAD),
        widened("rename {work}/unread {work}/moved", "rename", By::Nothing),
        widened("rename {work}/denied {work}/moved", "rename", By::Nothing),
        widened("exchange {work}/unread {work}/sub", "rename", By::Nothing),
        widened("exchange {work}/sub {work}/denied", "rename", By::Nothing),
    ];
    attack(context, false, &cases)
}

/// Gives a file of outside to whoever connects.
fn serve_descriptors(context: &Context) -> Result<(), Failure> {
    let secret = context.room.join("passed");
    fs::write(&secret, "something")?;
    let listener = UnixListener::bind(context.room.join("pass.sock"))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(file) = fs::File::open(&secret) else { continue };
            // Who takes it not is none of the server's business.
            let _ = sys::send_descriptor(stream.as_fd(), file.as_fd());
        }
    });
    Ok(())
}

fn descriptors(context: &mut Context) -> Result<(), Failure> {
    serve_descriptors(context)?;
    let passed = denied("receive {room}/pass.sock", "read", UNLISTED).shows("/passed");
    attack(context, false, &[passed])?;

    // A descriptor that ringfence itself was started with.
    let secret = fs::File::open(context.room.join("passed"))?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&secret);
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })?;
    let act = [format!("read-descriptor {number}")];
    let control = Run::acts(context, &act, false).free().end()?;
    ensure(control.stdout.contains("something"), || "the control reads nothing".into())?;
    let text = POLICY.replace("{room}", &context.room.to_string_lossy());
    let file = policy(context, "policy.yaml", &text)?;
    let ended = Run::acts(context, &act, false).policy(&file).end()?;
    let report = ended.reports(1)?.remove(0);
    let is_closed = report.outcome == crate::act::Outcome::Errno(libc::EBADF);
    ensure(is_closed, || format!("an inherited descriptor gives {}", report.outcome))
}

fn mounts(context: &mut Context) -> Result<(), Failure> {
    let base = context.room.join("mounts");
    prepare(&base)?;
    for folder in ["work/in", "out/tmpfs", "out/bound"] {
        fs::create_dir_all(base.join(folder))?;
    }
    let mount = |arguments: &[&str], at: &str| {
        Command::new("mount").args(arguments).arg(base.join(at)).status()
    };
    let (work, folder) = (base.join("work"), base.join("out/folder"));
    mount(&["-o", "bind", &folder.to_string_lossy()], "work/in")?;
    mount(&["-t", "tmpfs", "none"], "out/tmpfs")?;
    mount(&["-o", "bind", &work.to_string_lossy()], "out/bound")?;
    fs::write(base.join("out/tmpfs/secret"), "something")?;
    let below = "{room}/mounts";
    let result = attack(
        context,
        false,
        &[
            works(format!("open-both {below}/work/in/file")),
            denied(&format!("open-read {below}/out/folder/file"), "read", UNLISTED),
            denied(&format!("open-read {below}/out/tmpfs/secret"), "read", UNLISTED)
                .shows("/out/tmpfs/secret"),
            denied(&format!("open-read {below}/out/bound/file"), "read", UNLISTED)
                .shows("/out/bound/file"),
        ],
    );
    for at in ["out/bound", "out/tmpfs", "work/in"] {
        Command::new("umount").arg(base.join(at)).status()?;
    }
    result
}
