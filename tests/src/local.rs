//! Unix sockets and serving where a document says little: what is free then, and what is not.

use std::{os::unix::net::UnixListener, path::Path};

use libc::{EACCES, EPERM};

use crate::{
    attack::{Attack, By, refused, works},
    harness::{Context, Failure, Test},
    ways::{start_passing_listener, start_services},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("Unix sockets with a path are free where nothing is said about paths", free_paths),
    ("a list of Unix sockets holds without rules about files", sockets_alone),
    ("ports are listed without rules about destinations", ports_alone),
];

fn nothing(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn free_paths(context: &mut Context) -> Result<(), Failure> {
    start_services(&context.room)?;
    let unlisted = By::Default("egress:");
    let closed = |act: &str, action| refused(act, EPERM, action, "egress_violation", unlisted);
    let cases = [
        works("unix-connect {room}/closed.sock"),
        works("unix-send {room}/closed-log.sock"),
        works("unix-own @rf-test-own{base}"),
        works("unix-pair-of-datagrams"),
        closed("unix-connect @rf-test/closed", "connect"),
        closed("unix-send @rf-test/closed-log", "send"),
    ];
    let policy = "boundary: 1\negress: []\n";
    Attack { policy, prepare: nothing, observe: true }.run(context, &cases)?;
    let free = [works("unix-connect @rf-test/closed"), works("unix-connect {room}/closed.sock")];
    let policy = "boundary: 1\nexec_after_start: deny\n";
    Attack { policy, prepare: nothing, observe: false }.run(context, &free)
}

fn sockets_alone(context: &mut Context) -> Result<(), Failure> {
    start_services(&context.room)?;
    let unlisted = By::Default("sockets:");
    let cases = [
        works("unix-connect {room}/listed.sock"),
        works("unix-send {room}/listed-log.sock"),
        works("unix-own @rf-test-own{base}"),
        refused("unix-connect {room}/closed.sock", EPERM, "connect", "fs_violation", unlisted),
        refused("unix-send {room}/closed-log.sock", EPERM, "send", "fs_violation", unlisted),
        refused("unix-connect @rf-test/closed", EPERM, "connect", "egress_violation", unlisted),
    ];
    let policy = "boundary: 1\nsockets:\n  - { path: \"{room}/listed*\" }\n";
    Attack { policy, prepare: nothing, observe: true }.run(context, &cases)?;
    // A listed name would let everybody in.
    let moved = "rename {room}/moving.sock {room}/listed-too.sock";
    let moved = refused(moved, EACCES, "rename", "rights_widened", unlisted);
    let linked = "link {room}/moving.sock {room}/listed-second.sock";
    let linked = refused(linked, EACCES, "link", "rights_widened", unlisted);
    for case in [linked, moved] {
        Attack { policy, prepare: movable, observe: false }.run(context, &[case])?;
    }
    Ok(())
}

/// Has a service at a path that may be moved.
fn movable(base: &Path) -> std::io::Result<()> {
    let room = base.parent().unwrap_or(base);
    for name in ["moving.sock", "listed-too.sock", "listed-second.sock"] {
        let _ = std::fs::remove_file(room.join(name));
    }
    // It serves until the test's process ends.
    std::mem::forget(UnixListener::bind(room.join("moving.sock"))?);
    Ok(())
}

fn ports_alone(context: &mut Context) -> Result<(), Failure> {
    start_passing_listener(&context.room)?;
    let taken = "serve-taken {room}/listener.sock";
    let unlisted = By::Default("listen:");
    let cases = [
        works("serve-self 0.0.0.0 127.0.0.1"),
        refused(taken, EPERM, "listen", "egress_violation", unlisted),
    ];
    let policy = "boundary: 1\nlisten:\n  - { port: 20100 }\n";
    Attack { policy, prepare: nothing, observe: true }.run(context, &cases)
}
