//! What belongs to the kernel or to everybody: keys, the log, the clock, modules; and what works for a
//! process without being it.

use std::{fs, path::Path};

use libc::{EINVAL, ENODEV, ENOENT, ENOEXEC, ENOSYS, EPERM};

use ringfence_tests::catalogue::Kernel;

use crate::{
    attack::{Attack, By, refused, works},
    harness::{Context, Failure, Test, ensure},
    ringfence::{ACTOR, Run, policy},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
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
        reserved("type-into-terminal-32", "terminal", "self_protection")
            .unless_lacking(&[ENOENT, ENODEV, ENOSYS]),
        capability("swap-on /etc/hostname").control(EINVAL).unless_lacking(&[ENOENT, ENOSYS]),
    ];
    let is_locked_down = context.kernel == Kernel::Lockdown;
    if !is_locked_down {
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
        ensure(is_seen || is_locked_down, || ended.said())?;
    }
    Ok(())
}

fn rings(context: &mut Context) -> Result<(), Failure> {
    let text = POLICY.replace("boundary: 1\n", "boundary: 1\nio_uring: allow\n");
    let forbidden = |act: &str| refused(act, EPERM, "uring", "forbidden_uring", By::Any);
    let cases = [
        works("uring-setup"),
        works("uring-open /etc/passwd now"),
        works("uring-open /etc/passwd async"),
        forbidden("uring-sqpoll"),
        forbidden("uring-personality"),
        forbidden("uring-command"),
    ];
    Attack { policy: &text, prepare, observe: true }.run(context, &cases)?;
    let denied = POLICY.replace("boundary: 1\n", "boundary: 1\nio_uring: deny\n");
    let by_rule = refused("uring-setup", EPERM, "uring", "forbidden_uring", By::Rule("io_uring:"));
    Attack { policy: &denied, prepare, observe: true }.run(context, &[by_rule])
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
