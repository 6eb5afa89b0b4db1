//! Executing: by whatever way a program is started or mapped, its file is judged.

use super::{By, Family, Row, Stage, open, refused};

pub(super) const FAMILY: Family = Family {
    title: "Programs",
    test: "only listed programs are executed, however they are started",
    file: "exec",
    policy: POLICY,
    stage: Stage::Programs,
    rows: ROWS,
    works: &[
        "run /usr/bin/true",
        "run /bin/sh -c true",
        "run {base}/bin/program",
        "run {base}/bin/script",
        "run /lib64/ld-linux-x86-64.so.2 /usr/bin/true",
        "run-descriptor /usr/bin/true",
        "run-through-proc /usr/bin/true",
        "map-executable /usr/bin/true",
        "preload {base}/bin/library",
    ],
};

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/*/bin/**", allow: [read, write] }
exec:
  - { path: "/usr/bin/**", allow: true }
  - { path: "/usr/local/bin/**", allow: true }
  - { path: "{room}/*/bin/**", allow: true }
  - { path: "/usr/bin/id", allow: false }
"#;

const UNLISTED: By = By::Default("exec:");
const PROGRAM: &[&str] = &["bprm_check_security"];
const MAPPED: &[&str] = &["mmap_file"];

const fn denied(
    way: &'static str,
    closed_by: &'static [&'static str],
    acts: &'static [&'static str],
) -> Row {
    refused(way, closed_by, acts, "exec", "fs_violation", UNLISTED)
}

const fn unnamed(way: &'static str, acts: &'static [&'static str]) -> Row {
    refused(way, PROGRAM, acts, "exec", "unnamed_program", By::Nothing)
}

const ROWS: &[Row] = &[
    denied("A program that nothing allows", PROGRAM, &["run {work}/program"]),
    refused(
        "A program that a rule denies",
        PROGRAM,
        &["run /usr/bin/id"],
        "exec",
        "fs_violation",
        By::Rule("/usr/bin/id"),
    ),
    denied(
        "A script that nothing allows",
        PROGRAM,
        &["run {work}/script", "run {work}/script-own"],
    ),
    denied(
        "An allowed script whose interpreter is not",
        PROGRAM,
        &["run {base}/bin/script-to-work"],
    ),
    denied("A symbolic link in an allowed folder", PROGRAM, &["run {base}/bin/link"]),
    denied(
        "By descriptor: `execveat`, `/proc/self/fd`",
        PROGRAM,
        &["run-descriptor {work}/program", "run-through-proc {work}/program"],
    ),
    denied(
        "As an argument of the loader, `ld.so`",
        MAPPED,
        &["run /lib64/ld-linux-x86-64.so.2 {work}/program"],
    )
    .somehow(),
    denied("From an allowed shell", PROGRAM, &["run /bin/sh -c {work}/program"]).somehow(),
    denied("`LD_PRELOAD`", MAPPED, &["preload {work}/library"]).somehow(),
    denied(
        "`dlopen`",
        MAPPED,
        &["run /usr/bin/python3 -c import%20ctypes;ctypes.CDLL('{work}/library')"],
    )
    .somehow(),
    denied("`mmap` with `PROT_EXEC`", MAPPED, &["map-executable {work}/program"]),
    denied(
        "`mmap`, and `mprotect` with `PROT_EXEC` later",
        &["file_mprotect"],
        &["make-executable {work}/program"],
    ),
    denied(
        "Mapping to read under the personality `READ_IMPLIES_EXEC`",
        &["mmap_file", "file_mprotect"],
        &["map-implied {work}/program", "make-implied {work}/program"],
    ),
    denied(
        "`remap_file_pages` under `READ_IMPLIES_EXEC` (CVE-2024-47745)",
        MAPPED,
        &["remap-implied {work}/program"],
    ),
    unnamed("A memfd", &["run-memfd /usr/bin/true"]),
    unnamed("A file that is deleted before it is executed", &["run-unlinked {base}/bin/program"]),
    unnamed("`O_TMPFILE` in an allowed folder", &["run-tmpfile {base}/bin /usr/bin/true"]),
    refused(
        "A hard link in an allowed folder",
        &["path_link"],
        &["link {work}/program {base}/bin/linked"],
        "link",
        "rights_widened",
        UNLISTED,
    ),
    refused(
        "Moving a program to an allowed folder, or in a program's place",
        &["path_rename"],
        &[
            "rename {work}/program {base}/bin/moved",
            "rename {work}/program {base}/bin/program",
            "exchange {work}/program {base}/bin/program",
        ],
        "rename",
        "rights_widened",
        UNLISTED,
    ),
    open(
        "A script given to an allowed interpreter: `sh script`, `python3 -c`",
        &["run /bin/sh {work}/script", "run /usr/bin/python3 -c 1"],
        "To the kernel the interpreter reads a file, and no more. Allow no interpreter where that \
         matters: what the script does is held by the boundary all the same.",
    ),
    open(
        "Code written to memory: to anonymous memory, or over a private mapping of an allowed program",
        &["run-memory", "run-changed-copy /usr/bin/true"],
        "Just-in-time compilers do this all the time, Node's and Java's among them. What the code \
         does is held by the boundary all the same. `exec_anonymous: deny` refuses it.",
    ),
    refused(
        "A set-user-ID program, started by another user: it gives no rights",
        &["launch"],
        &["set-user-id {base}/bin/set-user-id"],
        "",
        "",
        By::Nothing,
    )
    .always(libc::EPERM),
];
