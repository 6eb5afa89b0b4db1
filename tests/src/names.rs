//! Names that are long, deep or odd: judged rightly, or refused with the reason.

use std::{
    ffi::CString,
    fs,
    io::{self, Write as _},
    path::Path,
};

use libc::EACCES;

use crate::{
    attack::{Attack, By, refused, works},
    harness::{Context, Failure, Test},
    sys,
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("long, deep and odd names are judged rightly, or refused as too long", odd_names)];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/*/work/**", allow: [read, write] }
"#;

fn prepare(base: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    for folder in ["work", "out"] {
        let folder = base.join(folder);
        fs::create_dir_all(&folder)?;
        for name in [&b"a\nb"[..], b"a\xffb", b"a\\x41b", b" ", b"%2e", &[b'n'; 255]] {
            fs::write(folder.join(std::ffi::OsStr::from_bytes(name)), "something")?;
        }
    }
    Ok(())
}

/// Makes `levels` folders called `name` in each other below `top`, and in the last a file called
/// `leaf`. No path is as long as these may be, so that one step is made after the other.
fn make_deep(top: &Path, name: &str, levels: usize, leaf: &str) -> io::Result<()> {
    fs::create_dir_all(top)?;
    let name = CString::new(name)?;
    let enter = |folder: &CString| {
        // SAFETY: the path is a NUL-terminated string.
        sys::check(unsafe { libc::chdir(folder.as_ptr()) })
    };
    enter(&sys::path(top)?)?;
    for _ in 0..levels {
        // SAFETY: as above.
        let made = sys::check(unsafe { libc::mkdir(name.as_ptr(), 0o755) });
        made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(0),
            _ => Err(error),
        })?;
        enter(&name)?;
    }
    let leaf = sys::open(leaf.as_bytes(), libc::O_WRONLY | libc::O_CREAT, 0o644)?;
    fs::File::from(leaf).write_all(b"something")?;
    enter(&c"/".to_owned()).map(drop)
}

fn odd_names(context: &mut Context) -> Result<(), Failure> {
    let long = "l".repeat(255);
    // As long as a path can be, whose NUL is the 4,096th byte: what 15 long names leave over.
    let fit = |top: &Path| "f".repeat(4095 - top.as_os_str().len() - 15 * 256 - 1);
    let mut names = Vec::new();
    for side in ["work", "out"] {
        let top = context.room.join("deep").join(side);
        let leaf = fit(&top);
        make_deep(&top, &long, 15, &leaf)?;
        make_deep(&top, &long, 18, "leaf")?;
        make_deep(&top, "d", 2000, "leaf")?;
        names.push(leaf);
    }
    let denied = |act: String, reason, by| refused(act, EACCES, "read", reason, by);
    let outside = |act: &str| denied(act.into(), "fs_violation", By::Default("files:"));
    let (work, out) = ("{room}/deep/work", "{room}/deep/out");
    Attack { policy: POLICY, prepare, observe: false }.run(
        context,
        &[
            works(format!("deep-read {work} {long} 15 {}", names[0])),
            outside(&format!("deep-read {out} {long} 15 {}", names[1])).shows("f"),
            works(format!("deep-read {work} d 2000 leaf")),
            outside(&format!("deep-read {out} d 2000 leaf")).shows("/d/d/d/leaf"),
            denied(format!("deep-read {work} {long} 18 leaf"), "path_too_long", By::Nothing),
            denied(format!("deep-read {out} {long} 18 leaf"), "path_too_long", By::Nothing),
            works(format!("open-both {{work}}/{}", "n".repeat(255))),
            outside(&format!("open-read {{out}}/{}", "n".repeat(255))),
            works("open-both {work}/a%0Ab"),
            works("open-both {work}/a%FFb"),
            works("open-both {work}/a\\x41b"),
            works("open-both {work}/%20"),
            works("open-both {work}/%252e"),
            outside("open-read {out}/a%0Ab"),
            outside("open-read {out}/a%FFb").shows("a\\xffb"),
            outside("open-read {out}/a\\x41b"),
            outside("open-read {out}/%20"),
            outside("open-read {out}/%252e").shows("/%2e"),
            works("create {work}/new%FF%01%7F"),
            refused("create {out}/new%FF%01", EACCES, "create", "fs_violation", By::Any),
        ],
    )
}
