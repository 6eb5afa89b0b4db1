//! What a file system keeps about a file: changed only where a rule allows it, by whatever call.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use libc::{EACCES, ENODATA, ENOSYS, ENOTTY, EOPNOTSUPP};

use crate::{
    attack::{Attack, By, Case, refused, works},
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, policy},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("metadata of files is changed only where a rule allows it", everywhere),
    ("metadata is judged by every name that a file has", mounts),
    ("metadata of an overlay is judged by the name that the user sees", overlays),
    ("programs keep metadata of files in the workspace", programs),
];

const POLICY: &str = r#"boundary: 1
io_uring: allow
files:
  - { path: "{room}/*/work", allow: [read] }
  - { path: "{room}/*/work/**", allow: [read, write] }
  - { path: "{room}/*/ro/**", allow: [read] }
  - { path: "{room}/*/work/fixed/**", deny: [write] }
"#;

/// The rule that denies changes below `work/fixed`.
const FIXED: By = By::Rule("fixed/**");
/// Nothing allows it.
const UNLISTED: By = By::Default("files:");

fn prepare(base: &Path) -> std::io::Result<()> {
    for folder in ["work", "work/fixed", "work/sub", "ro", "out"] {
        fs::create_dir_all(base.join(folder))?;
        fs::write(base.join(folder).join("file"), "something")?;
        symlink("file", base.join(folder).join("link"))?;
    }
    symlink("../ro/file", base.join("work/away"))
}

/// What changes metadata of the path that follows, and what the call says without a boundary.
const CHANGES: &[(&str, Option<i32>)] = &[
    ("set-times", None),
    ("set-modified", None),
    ("touch", None),
    ("set-times-link", None),
    ("set-times-descriptor", None),
    ("set-times-named", None),
    ("set-xattr", None),
    ("set-xattr-descriptor", None),
    ("set-xattr-named", None),
    ("set-xattr-at", None),
    ("remove-xattr", Some(ENODATA)),
    ("remove-xattr-link", Some(ENODATA)),
    ("remove-xattr-descriptor", Some(ENODATA)),
    ("set-acl", None),
    ("remove-acl", None),
    ("set-flags", None),
    ("set-flags-32", None),
    ("set-flags-at", None),
    ("uring-set-xattr", None),
    ("uring-set-xattr-later", None),
];

fn with(case: Case, control: Option<i32>) -> Case {
    let case = control.into_iter().fold(case, Case::control);
    case.unless_lacking(&[ENOSYS, ENOTTY, EOPNOTSUPP])
}

fn denied(act: &str, by: By) -> Case {
    refused(act, EACCES, "metadata", "fs_violation", by)
}

fn attack(context: &mut Context, observe: bool, cases: &[Case]) -> Result<(), Failure> {
    Attack { policy: POLICY, prepare, observe }.run(context, cases)
}

fn everywhere(context: &mut Context) -> Result<(), Failure> {
    let mut cases = vec![
        denied("set-times {ro}", UNLISTED),
        denied("set-times-link {ro}/link", UNLISTED).shows("/ro/link"),
        denied("set-xattr-link {ro}/link", UNLISTED).shows("/ro/link"),
        // The link is in the workspace, and what it leads to is not.
        denied("set-times {work}/away", UNLISTED).shows("/ro/file"),
        denied("set-xattr {work}/away", UNLISTED).shows("/ro/file"),
        works("set-times-link {work}/away"),
        works("set-xattr-pipe"),
        // What a write does to metadata by itself is no change of metadata.
        works("append {work}/file"),
        works("truncate {work}/file"),
        works("open-truncating {work}/file"),
        works("drop-privileges-by-write {work}/file"),
    ];
    for (act, control) in CHANGES {
        cases.push(with(works(format!("{act} {{work}}/file")), *control));
        cases.push(with(denied(&format!("{act} {{ro}}/file"), UNLISTED), *control));
        cases.push(with(denied(&format!("{act} {{work}}/fixed/file"), FIXED), *control));
    }
    for act in ["set-times", "set-xattr", "set-acl"] {
        cases.push(denied(&format!("{act} {{out}}/file"), UNLISTED));
        cases.push(works(format!("{act} {{work}}/sub")));
    }
    attack(context, true, &cases)
}

fn mount(options: &[&str], source: &Path, target: &Path) -> Result<(), Failure> {
    fs::create_dir_all(target)?;
    let status = Command::new("mount").args(options).arg(source).arg(target).status()?;
    ensure(status.success(), || format!("{} cannot be mounted", target.display()))
}

fn unmount(base: &Path, places: &[&str]) -> Result<(), Failure> {
    for place in places {
        Command::new("umount").arg(base.join(place)).status()?;
    }
    Ok(())
}

fn mounts(context: &mut Context) -> Result<(), Failure> {
    let base = context.room.join("mounts");
    prepare(&base)?;
    mount(&["-o", "bind"], &base.join("ro"), &base.join("work/second"))?;
    mount(&["-o", "bind"], &base.join("work/sub"), &base.join("work/third"))?;
    mount(&["-t", "tmpfs"], Path::new("none"), &base.join("work/own"))?;
    mount(&["-t", "tmpfs"], Path::new("none"), &base.join("out/own"))?;
    for place in ["work/own/file", "out/own/file"] {
        fs::write(base.join(place), "something")?;
    }
    let below = "{room}/mounts";
    let mut cases = Vec::new();
    for act in ["set-times", "set-xattr", "set-acl"] {
        cases.extend([
            works(format!("{act} {below}/work/own/file")),
            works(format!("{act} {below}/work/own")),
            works(format!("{act} {below}/work/third/file")),
            works(format!("{act} {below}/work/sub/file")),
            denied(&format!("{act} {below}/out/own/file"), UNLISTED).shows("/out/own/file"),
            denied(&format!("{act} {below}/work/second/file"), UNLISTED).shows("/ro/file"),
            denied(&format!("{act} {below}/ro/file"), UNLISTED).shows("/ro/file"),
        ]);
    }
    let result = attack(context, true, &cases);
    unmount(&base, &["out/own", "work/own", "work/third", "work/second"])?;
    result
}

fn overlays(context: &mut Context) -> Result<(), Failure> {
    let (base, layers) = (context.room.join("mounts"), context.room.join("layers"));
    prepare(&base)?;
    mount(&["-t", "tmpfs"], Path::new("none"), &layers)?;
    let mut cases = Vec::new();
    for name in ["work", "ro"] {
        for layer in ["lower", "upper", "scratch"] {
            let folder = layers.join(format!("of-{name}")).join(layer);
            fs::create_dir_all(&folder)?;
            for file in ["file", "times", "xattr", "acl"] {
                if layer != "scratch" {
                    fs::write(folder.join(format!("{layer}-{file}")), "something")?;
                }
            }
        }
        let at = layers.join(format!("of-{name}")).display().to_string();
        let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/scratch");
        mount(
            &["-t", "overlay", "-o", &options],
            Path::new("overlay"),
            &base.join(name).join("merged"),
        )?;
    }
    for (act, file) in [("set-times", "times"), ("set-xattr", "xattr"), ("set-acl", "acl")] {
        // From below the file is copied up first.
        for layer in ["lower", "upper"] {
            let file = format!("merged/{layer}-{file}");
            cases.push(works(format!("{act} {{room}}/mounts/work/{file}")));
            let act = format!("{act} {{room}}/mounts/ro/{file}");
            cases.push(denied(&act, UNLISTED).shows("/ro/merged/"));
        }
        let act = format!("{act} {{room}}/layers/of-work/upper/upper-file");
        cases.push(denied(&act, UNLISTED).shows("/layers/of-work/upper/"));
    }
    cases.push(works("append {room}/mounts/work/merged/lower-file"));
    let result = attack(context, true, &cases);
    unmount(&base, &["ro/merged", "work/merged", "../layers"])?;
    result
}

const SCRIPT: &str = "
    echo text > one && touch one && touch -d @1000000 one && touch -r one two
    cp -p one three && cp -a one four && mkdir folder && cp -p one folder/
    tar cf all.tar folder && rm -r folder && tar xpf all.tar
    stat -c %Y one two three four folder/one | sort -u
";

const PYTHON: &str = r#"
import os, shutil
open("five", "w").close(); os.utime("five", (1, 2)); shutil.copystat("one", "five")
os.setxattr("five", "security.capability", b"\0\0\0\2\1" + bytes(15))
os.removexattr("five", "security.capability")
print(int(os.stat("five").st_mtime))
"#;

fn programs(context: &mut Context) -> Result<(), Failure> {
    let work = context.room.join("case/work");
    fs::create_dir_all(&work)?;
    let text = POLICY.replace("{room}", &context.room.to_string_lossy());
    let file = policy(context, "policy.yaml", &text)?;
    let mut script = format!("set -e; cd {}; {SCRIPT}", work.display());
    let mut expected = "1000000";
    if fs::exists("/usr/bin/python3")? {
        script += &format!("python3 -c '{PYTHON}'\n");
        expected = "1000000\n1000000";
    }
    let ended = Run::new(context, ["/bin/sh", "-c", &script]).policy(&file).end()?;
    let is_right = ended.code() == 0
        && ended.stdout.trim_end() == expected
        && ended.with_verdict("deny").is_empty();
    ensure(is_right, || ended.said())
}
