//! Bad input: no command is started, and the reason is told.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::{PROGRAM, Run},
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("no command is started under a policy that cannot be read", bad_policies),
    ("without root no command is started, and one thing to do is told", not_root),
    ("the doctor says that this kernel can enforce", doctor),
];

/// Policies that cannot be read, and whether a line of theirs can be named.
fn policies(context: &Context) -> Result<Vec<(&'static str, PathBuf, bool)>, Failure> {
    let bomb = {
        let mut text = "boundary: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let row = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{row}]\n");
        }
        text
    };
    let rule = |rule: &str| format!("boundary: 1\nfiles:\n  - {rule}\n");
    let egress = |rule: &str| format!("boundary: 1\negress:\n  - {rule}\n");
    let texts = [
        ("empty", Vec::new(), false),
        ("binary", vec![0_u8, 255, 254, 1, 7, 0, 128, 200], false),
        ("large", vec![b'#'; 100 << 20], false),
        ("alias-bomb", bomb.into_bytes(), true),
        ("duplicate-key", b"boundary: 1\nmode: enforce\nmode: observe\n".to_vec(), true),
        ("unknown-key", b"boundary: 1\nfils: []\n".to_vec(), true),
        ("unknown-language", b"colour: blue\n".to_vec(), true),
        ("glob", rule("{ path: \"/srv/[a\", allow: [read] }").into_bytes(), true),
        ("scheme", egress("{ host: \"https://example.com\", ports: [443] }").into_bytes(), true),
        ("host-bits", egress("{ cidr: \"10.0.0.1/8\" }").into_bytes(), true),
        ("wrong-type", b"boundary: 1\nfiles: 7\n".to_vec(), true),
    ];
    let mut files = vec![("missing", context.folder.join("no-such.yaml"), false)];
    for (name, text, has_line) in texts {
        let file = context.folder.join(format!("{name}.yaml"));
        fs::write(&file, text)?;
        files.push((name, file, has_line));
    }
    Ok(files)
}

fn bad_policies(context: &mut Context) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (name, file, has_line) in policies(context)? {
        let ended = Run::new(context, ["/bin/echo", "started"]).policy(&file).end()?;
        if ended.code() != 125 || !ended.stdout.is_empty() || ended.stderr.is_empty() {
            problems.push(format!("{name}: `run`: {}", ended.said()));
        }
        let output = Command::new(PROGRAM).args(["policy", "check"]).arg(&file).output()?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let place = format!("{name}.yaml:");
        let names_line = said.lines().any(|line| {
            let after = line.split(&place).nth(1).unwrap_or_default();
            let number = |field: Option<&str>| field.is_some_and(|f| f.parse::<u32>().is_ok());
            let mut fields = after.split([':', ' ']);
            number(fields.next()) && number(fields.next())
        });
        if output.status.code() != Some(1) || (has_line && !names_line) {
            problems.push(format!("{name}: `policy check`: {}: {said}", output.status));
        }
    }
    Failure::of_all(problems)
}

fn not_root(context: &mut Context) -> Result<(), Failure> {
    let run = Run::new(context, ["/bin/echo", "started"]);
    let ended = run.policy("/examples/demo.yaml".as_ref()).by_user(1000).end()?;
    ensure(ended.code() == 125 && ended.stdout.is_empty(), || ended.said())?;
    ensure(ended.stderr.contains("root"), || ended.said())
}

fn doctor(_: &mut Context) -> Result<(), Failure> {
    let output = Command::new(PROGRAM).args(["doctor", "--format", "json"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: serde_json::Value = serde_json::from_str(&said)
        .map_err(|error| Failure::new(format!("no JSON: {error}")).with(said.clone()))?;
    ensure(report["can_enforce"] == true && output.status.success(), || said)
}
