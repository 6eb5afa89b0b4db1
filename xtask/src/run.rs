//! Child commands and places: the two things that every other module needs.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Exit code when xtask itself, or a virtual machine, failed: no verdict about the command.
pub(crate) const FAILED: u8 = 125;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where xtask keeps what it fetched or made: kernels, tools, virtual machines.
///
/// Always inside the repository, whatever `CARGO_TARGET_DIR` says, so that several cargo target
/// directories share one set of kernels.
pub(crate) fn store(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// The directory that cargo builds into.
pub(crate) fn cargo_target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// A cargo command that works in the repository, with the cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Set by the `cargo run` around us. It would make another package's build believe that it is
    // xtask's, and rebuild whatever looks at it.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `command` with our own input and output.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the message holds the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    succeeded(command, status)
}

/// Runs `command` and returns what it wrote to its standard output; its errors are shown.
///
/// # Errors
/// When it cannot be started, does not exit with 0, or writes something that is not UTF-8.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    succeeded(command, output.status)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote something that is not text", line(command)))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// The command line of `command`, quoted so that it can be pasted into a shell.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// `word` as a POSIX shell reads it back, unchanged.
pub(crate) fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The program `name`, if it is in one of the directories where programs are.
///
/// The system's own directories are searched after `PATH`: an ordinary user's lacks `/usr/sbin`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    std::env::split_paths(&path)
        .chain(system.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    let identity = Command::new("id").arg("-u").output();
    identity.is_ok_and(|output| output.stdout == b"0\n")
}

/// The rest of a command line, as it is.
pub(crate) fn remaining(arguments: &mut lexopt::Parser) -> Result<Vec<OsString>> {
    Ok(arguments.raw_args()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_reads_back_unchanged_from_a_shell() {
        let words = ["plain", "", "two words", "it's", "$HOME `id` \\ \"", "a\nb", "*", "-x=1"];
        for word in words {
            let script = format!("printf %s {}", quote(OsStr::new(word)));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
