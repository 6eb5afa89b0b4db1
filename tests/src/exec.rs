//! Programs, under policies of other languages: what of theirs is about executing.

use std::fs;

use libc::EACCES;

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test},
    ways::programs as prepare,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("a policy without programs of its own executes what the baseline has", baseline),
    ("under a SecAI policy without shell and spawn no second program starts", after_start),
];

fn denied(act: &str, by: By) -> Case {
    refused(act, EACCES, "exec", "fs_violation", by)
}

fn baseline(context: &mut Context) -> Result<(), Failure> {
    let example = fs::read_to_string("/examples/sec0-coder.yaml")?;
    // With this test's folder in place of its own.
    let text = example.replace("/tmp/sec0-*", "{room}/*/work/*");
    let by = By::Rule("fs_allowlist:");
    Attack { policy: &text, prepare, observe: false }.run(
        context,
        &[
            works("run /usr/bin/true"),
            works("run {work}/program"),
            denied("run {base}/bin/program", by),
            denied("map-executable /etc/passwd", by).somehow(),
        ],
    )
}

fn after_start(context: &mut Context) -> Result<(), Failure> {
    let example = fs::read_to_string("/examples/secai-policy.yaml")?;
    // With this test's folder in place of its own, and without a name that must be looked up.
    let text =
        example.replace("/srv/documents", "{room}").replace("enabled: true", "enabled: false");
    let by = By::Any;
    let late = |act: &str| refused(act, EACCES, "exec", "exec_after_start", by);
    Attack { policy: &text, prepare, observe: false }.run(
        context,
        &[
            works("open-read {work}/program"),
            late("run /usr/bin/true"),
            late("run /bin/sh -c true"),
            late("run-descriptor /usr/bin/true"),
            refused("open-write {work}/program", EACCES, "write", "fs_violation", by),
        ],
    )
}
