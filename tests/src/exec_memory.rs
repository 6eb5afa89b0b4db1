//! Memory that becomes executable, where a policy says `exec_anonymous: deny`.

use std::{fs, path::Path};

use libc::EACCES;

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("no anonymous memory becomes executable where the policy says so", denied),
    ("anonymous memory is refused where programs are not governed too", without_programs),
    ("ordinary programs run without anonymous executable memory", programs),
    ("anonymous memory may become executable where the policy says nothing", allowed),
];

const POLICY: &str = r#"boundary: 1
baseline: programs
files:
  - { path: "{room}/*/work/**", allow: [read, write] }
exec:
  - { path: "{room}/*/work/**", allow: true }
exec_anonymous: deny
"#;

/// Programs are not governed.
const ALONE: &str = "boundary: 1\nexec_anonymous: deny\n";

fn prepare(base: &Path) -> std::io::Result<()> {
    fs::create_dir_all(base.join("work"))?;
    fs::copy("/usr/bin/true", base.join("work/program")).map(drop)
}

fn code(act: &str) -> Case {
    refused(act, EACCES, "exec", "anonymous_code", By::Rule("exec_anonymous:"))
}

fn memory() -> Vec<Case> {
    [
        "code-anonymous",
        "code-anonymous-shared",
        "code-from-data",
        "code-from-shared-data",
        "code-on-heap",
        "code-on-stack",
        "code-by-personality",
        "code-in-shared-memory",
        "code-in-memfd",
        "code-in-memfd-later",
        "code-in-copy /usr/bin/true",
        "code-in-written-copy /usr/bin/true",
        "code-in-written-copy {work}/program",
        "code-made-writable /usr/bin/true",
    ]
    .map(code)
    .into()
}

/// What stays: what is executed is what a file holds, and the rules about files decide.
fn files() -> Vec<Case> {
    [
        "map-executable /usr/bin/true",
        "make-executable /usr/bin/true",
        "code-in-shared-file {work}/program",
        "code-in-written-file {work}/program",
    ]
    .map(works)
    .into()
}

fn denied(context: &mut Context) -> Result<(), Failure> {
    let zeroes = refused("code-of-zeroes", EACCES, "exec", "fs_violation", By::Default("exec:"));
    let cases = [memory(), files(), vec![zeroes]].concat();
    Attack { policy: POLICY, prepare, observe: true }.run(context, &cases)
}

fn without_programs(context: &mut Context) -> Result<(), Failure> {
    let more = vec![code("code-of-zeroes"), code("run-memfd /usr/bin/true")];
    let cases = [memory(), files(), more].concat();
    Attack { policy: ALONE, prepare, observe: false }.run(context, &cases)
}

fn programs(context: &mut Context) -> Result<(), Failure> {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    let mut cases = vec![
        works("run /usr/bin/true"),
        works("run /bin/sh -c true|true"),
        works(format!("run {LOADER} /usr/bin/true")),
        works("run {work}/program"),
    ];
    for program in ["/usr/bin/python3 -c import%20ctypes,sqlite3", "/usr/bin/gcc --version"] {
        let path = program.split(' ').next().unwrap_or_default();
        if Path::new(path).exists() {
            cases.push(works(format!("run {program}")));
        } else {
            context.skip(program, "this machine has no such program");
        }
    }
    Attack { policy: POLICY, prepare, observe: false }.run(context, &cases)
}

fn allowed(context: &mut Context) -> Result<(), Failure> {
    let policy = POLICY.replace("exec_anonymous: deny\n", "");
    let cases: Vec<Case> = memory().iter().map(Case::unrefused).collect();
    Attack { policy: &policy, prepare, observe: false }.run(context, &cases)
}
