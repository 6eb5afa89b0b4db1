//! What would change the boundary itself, or reach processes beyond it.

use std::{fs, path::Path, process::Command};

use libc::{EACCES, EINVAL, ENODEV, ENOENT, ENOEXEC, ENOSYS, ENOTTY, EPERM};

use crate::{
    attack::{Attack, By, Case, refused, works},
    files,
    harness::{Context, Failure, Test, ensure},
    ringfence::{ACTOR, Run, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("mounts, roots and namespaces are not changed", mounts),
    ("processes outside are neither signalled nor looked into", outsiders),
    ("the kernel's keys, log, clock and modules are out of reach", the_kernel),
    ("an io_uring does no more than its task may", rings),
    ("a process is not traced from outside the scope", traced),
];

/// Every path may be read and written: nothing but the guard refuses.
const POLICY: &str = r#"boundary: 1
files:
  - { path: "/**", allow: [read, write] }
"#;

fn prepare(base: &Path) -> std::io::Result<()> {
    fs::create_dir_all(base.join("work"))?;
    fs::create_dir_all(base.join("out"))
}

fn changed(act: &str) -> Case {
    // Where a call has no hook of its own, the capability that it needs is refused.
    let reasons = "forbidden_mount|forbidden_capability";
    refused(act, EPERM, "mount|capability|namespace", reasons, By::Any)
}

fn mounts(context: &mut Context) -> Result<(), Failure> {
    // Namespaces by their CLONE_NEW… number.
    let namespaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUSER | libc::CLONE_NEWNS,
    ];
    let capability = |act: &str| refused(act, EPERM, "capability", "forbidden_capability", By::Any);
    let mut cases = vec![
        changed("mount {work}"),
        changed("bind {work} {out}"),
        changed("remount /tmp"),
        changed("make-private /tmp"),
        changed("pivot-root {work}"),
        changed("chroot {work}"),
        changed("setns /proc/self/ns/mnt"),
        changed("setns /proc/self/ns/net"),
        changed("open-tree /etc"),
        changed("move-mount {out} {work}"),
        changed("fsopen"),
        changed("snapshot {work}").control(ENOTTY),
        capability("set-host-name"),
        capability("unload-module").control(ENOENT),
        // Linux 6.1 asks for a capability first.
        refused("bpf", EPERM, "bpf|capability", "self_protection|forbidden_capability", By::Any)
            .always(),
        // Debian's kernel asks for a capability first, and says EACCES.
        refused(
            "perf-event",
            EPERM,
            "ptrace|capability",
            "self_protection|forbidden_capability",
            By::Any,
        )
        .somehow(),
    ];
    cases.extend(namespaces.map(|flags| changed(&format!("unshare {flags}"))));
    if !context.is_locked_down {
        cases.push(capability("load-module").control(ENOEXEC));
    }
    Attack { policy: POLICY, prepare, observe: false }.run(context, &cases)?;

    // In observe mode bpf() is refused too, since it could switch ringfence off.
    let file = policy(context, "observe.yaml", &format!("{POLICY}mode: observe\n"))?;
    let acts = ["bpf".to_owned(), "unshare 67108864".to_owned()];
    let ended = Run::acts(context, &acts, false).policy(&file).end()?;
    let reports = ended.reports(2)?;
    let refused = reports[0].outcome == crate::act::Outcome::Errno(EPERM);
    ensure(refused, || format!("in observe mode bpf() gives {}", reports[0].outcome))?;
    let done = matches!(reports[1].outcome, crate::act::Outcome::Done(_));
    ensure(done, || format!("in observe mode unshare() gives {}", reports[1].outcome))
}

/// Where a process keeps its stack, which can be read.
fn stack_of(process: u32) -> Result<u64, Failure> {
    // A process that was only just started may be between its old memory and its new.
    for _ in 0..200 {
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        let stack = maps.lines().find(|line| line.ends_with("[stack]"));
        let end = stack.and_then(|line| line.split(['-', ' ']).nth(1));
        if let Some(end) = end.and_then(|text| u64::from_str_radix(text, 16).ok()) {
            return Ok(end - 4096);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(Failure::new("a process without a stack"))
}

fn outsiders(context: &mut Context) -> Result<(), Failure> {
    let victim = Command::new("/bin/sleep").arg("300").spawn()?;
    // It has executed `sleep` once its stack is that program's.
    while fs::read_to_string(format!("/proc/{}/comm", victim.id()))?.trim() != "sleep" {
        std::thread::yield_now();
    }
    let (process, address) = (victim.id(), stack_of(victim.id())?);
    let protected = |act: String, action| refused(act, EPERM, action, "self_protection", By::Any);
    let cases = [
        works("signal-child"),
        works("trace-child"),
        protected(format!("signal {process} 0"), "signal"),
        protected(format!("signal {process} 18"), "signal"),
        protected(format!("signal-by-descriptor {process}"), "signal"),
        protected("signal 1 0".into(), "signal"),
        protected(format!("seize {process}"), "ptrace"),
        protected(format!("peek {process} {address}"), "ptrace"),
        protected(format!("take-descriptor {process}"), "ptrace"),
        refused(
            format!("open-read /proc/{process}/environ"),
            EACCES,
            "ptrace",
            "self_protection",
            By::Any,
        ),
    ];
    let result = Attack { policy: POLICY, prepare, observe: false }.run(context, &cases);
    files::end(victim);
    result
}

/// Makes a key that belongs to the user, as a login or a mount would, and gives its number.
fn key_of_the_user() -> Result<i64, Failure> {
    /// `KEY_SPEC_USER_KEYRING`.
    const USER_KEYRING: i64 = -4;
    let (kind, name) = (c"user".as_ptr() as i64, c"ringfence-test".as_ptr() as i64);
    let secret = c"something".as_ptr() as i64;
    // SAFETY: all that is pointed to lives for ever.
    Ok(unsafe { sys::call(libc::SYS_add_key, [kind, name, secret, 9, USER_KEYRING, 0]) }?)
}

fn the_kernel(context: &mut Context) -> Result<(), Failure> {
    let key = key_of_the_user()?;
    // Else a capability is asked for first.
    let restriction = "/proc/sys/kernel/dmesg_restrict";
    let restricted = fs::read(restriction)?;
    fs::write(restriction, "0")?;
    let reserved = |act: &str, action, reason| refused(act, EPERM, action, reason, By::Any);
    let capability = |act: &str| reserved(act, "capability", "forbidden_capability");
    let mut cases = vec![
        reserved("add-key", "key", "self_protection"),
        // There is no program to make the key with: it was looked for, outside the scope.
        reserved("request-key", "key", "self_protection").control(ENOENT).somehow(),
        // The kernel says ENOKEY whatever the reason.
        reserved(&format!("read-key {key}"), "key", "self_protection").somehow(),
        reserved("new-session-keyring", "key", "self_protection"),
        reserved("read-kernel-log", "kernel", "kernel_control"),
        reserved("type-into-terminal", "terminal", "self_protection")
            .unless_lacking(&[ENOENT, ENODEV]),
        reserved("type-into-terminal-32", "terminal", "self_protection")
            .unless_lacking(&[ENOENT, ENODEV, ENOSYS]),
        capability("set-clock"),
        capability("swap-on /etc/hostname").control(EINVAL).unless_lacking(&[ENOENT, ENOSYS]),
    ];
    if !context.is_locked_down {
        cases.push(capability("load-module-file").control(ENOEXEC));
    }
    let result = Attack { policy: POLICY, prepare, observe: false }.run(context, &cases);
    fs::write(restriction, restricted)?;
    result?;

    // Where the capability is only observed, what is loaded is seen by its own hook.
    let file = policy(context, "observe.yaml", &format!("{POLICY}mode: observe\n"))?;
    let acts = ["load-module", "load-module-file"].map(str::to_owned);
    let ended = Run::acts(context, &acts, false).policy(&file).end()?;
    for report in ended.reports(2)? {
        let is_seen = ended.events.iter().any(|event| {
            event["subject"]["pid"] == u64::from(report.process)
                && event["action"] == "kernel"
                && event["verdict"] == "observe"
        });
        ensure(is_seen || context.is_locked_down, || ended.said())?;
    }
    Ok(())
}

fn rings(context: &mut Context) -> Result<(), Failure> {
    let forbidden = |act: &str| refused(act, EPERM, "uring", "forbidden_uring", By::Any);
    let cases = [
        works("uring-setup"),
        works("uring-open /etc/passwd now"),
        works("uring-open /etc/passwd async"),
        forbidden("uring-sqpoll"),
        forbidden("uring-personality"),
        forbidden("uring-command"),
    ];
    Attack { policy: POLICY, prepare, observe: true }.run(context, &cases)
}

fn traced(context: &mut Context) -> Result<(), Failure> {
    // The command itself is a child of ringfence, which is not in the scope.
    let run = || Run::new(context, [ACTOR, "act-one", "trace-me"]);
    let control = run().free().end()?;
    ensure(control.code() == 0, || control.said())?;
    let file = policy(context, "policy.yaml", POLICY)?;
    let ended = run().policy(&file).end()?;
    let denied = ended.with_verdict("deny");
    let is_told = denied
        .iter()
        .any(|event| event["action"] == "ptrace" && event["reason"] == "self_protection");
    ensure(ended.code() == EPERM && is_told, || ended.said())?;
    let observed = run().policy(&file).observing().end()?;
    let is_seen = !observed.with_verdict("observe").is_empty();
    ensure(observed.code() == 0 && is_seen, || observed.said())?;
    // Its own parent may trace a process.
    Attack { policy: POLICY, prepare, observe: false }.run(context, &[works("trace-me")])
}
