//! `cargo xtask setup`: makes a Debian 12 machine with rustup's stable Rust ready.
//!
//! What is here already is left alone. The kernel programs need a compiler with a `core` for BPF:
//! Debian's `rustc-web`, or a rustup nightly with `rust-src`; the machine gets the former unless
//! it has the latter.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{kernels, run};

/// What virtual machines need: the emulator, the shell of PID 1, the decompressor for modules, and
/// what makes disks.
const MACHINES: &[&str] = &["qemu-system-x86", "busybox-static", "xz-utils", "e2fsprogs"];

/// Programs that guests get a copy of, for tests with real programs. The baseline is measured with
/// those in the later lines.
const GUESTS: &[&str] = &[
    "bash",
    "curl",
    "iproute2",
    "python3",
    "bind9-dnsutils",
    "bzip2",
    "ca-certificates",
    "diffutils",
    "findutils",
    "git",
    "grep",
    "gzip",
    "make",
    "mawk",
    "media-types",
    "netbase",
    "nodejs",
    "openssh-client",
    "openssl",
    "python3-venv",
    "rsync",
    "sed",
    "tar",
];

/// A linker for host programs.
const HOST: &[&str] = &["gcc", "libc6-dev"];

/// Compiles for BPF, and the LLVM that bpf-linker is built with: of the version that `rustc-web`
/// has, whose bitcode it reads. It links LLVM dynamically, so no other library is needed.
const KERNEL_SIDE: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev"];
const LLVM: &str = "/usr/lib/llvm-22";

/// The number of steps that [`prepare`] announces.
const STEPS: u32 = 4;

/// `cargo xtask setup`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected().into());
    }
    match prepare() {
        Ok(()) => {
            println!("setup: this machine is ready; next: cargo xtask test");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("setup: {error:#}");
            Ok(ExitCode::from(1))
        }
    }
}

/// Installs and downloads everything that building and testing need, unless it is here.
///
/// # Errors
/// When something cannot be had; the message says what to do.
pub(crate) fn prepare() -> Result<()> {
    let compiler = compiler();
    let mut packages = [MACHINES, GUESTS, HOST].concat();
    if compiler == Compiler::Debian {
        packages.extend(KERNEL_SIDE);
    }
    step(1, "Debian packages");
    install(&packages)?;

    step(2, "cargo's own parts: rustfmt, clippy");
    for (part, program) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !works(run::cargo().args([program, "--version"])) {
            run::run(Command::new("rustup").args(["component", "add", part]))
                .with_context(|| format!("cargo {program} is missing"))?;
        }
    }

    step(3, "compiler and linker for the kernel programs");
    match compiler {
        Compiler::Nightly => println!("      rustup's nightly, bpf-linker on PATH"),
        Compiler::Debian => {
            let linker = bpf_linker()?;
            println!("      Debian's rustc-web, {}", linker.display());
        }
    }

    step(4, "kernels to test on");
    kernels::fetch(kernels::SERIES)?;
    Ok(())
}

fn step(number: u32, what: &str) {
    println!("setup [{number}/{STEPS}] {what}");
}

/// Installs what virtual machines need, unless it is here.
pub(crate) fn require_virtual_machines() -> Result<()> {
    install(MACHINES)
}

/// Which compiler makes the kernel programs. `agent/build.rs` decides for itself, the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compiler {
    /// rustup's nightly with `rust-src`, which builds `core` itself.
    Nightly,
    /// Debian's `rustc-web`, which comes with `core` for BPF.
    Debian,
}

fn compiler() -> Compiler {
    let sources = Command::new("rustup")
        .args(["+nightly", "component", "list", "--installed"])
        // Listing must not become a download.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .stderr(Stdio::null())
        .output();
    let has_sources = sources.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("rust-src")
    });
    if has_sources && run::find_program("bpf-linker").is_some() {
        Compiler::Nightly
    } else {
        Compiler::Debian
    }
}

/// Installs those of `packages` that are missing.
fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if run::find_program("apt-get").is_none() {
        bail!("this is not Debian: install what Debian calls {missing:?}, and start again");
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "--no-install-recommends"])
            // Somebody else may be installing.
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    };
    if !run::is_root() {
        let names: Vec<_> = missing.iter().map(|package| **package).collect();
        bail!(
            "packages are missing; as root, type\n\n    \
             apt-get update && apt-get install -y --no-install-recommends {}\n",
            names.join(" ")
        );
    }
    // Often the package lists are good; when they are missing or old, this fails at once.
    if run::run(&mut install()).is_ok() {
        return Ok(());
    }
    run::run(Command::new("apt-get").arg("update").stdin(Stdio::null()))?;
    run::run(&mut install()).context("this machine's apt sources do not offer a needed package")
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

/// The bpf-linker in `target/tools`, built unless it is there.
fn bpf_linker() -> Result<PathBuf> {
    let tools = run::store("tools");
    let linker = tools.join("bin/bpf-linker");
    if works(Command::new(&linker).arg("--version")) {
        return Ok(linker);
    }
    println!("      building bpf-linker (about two minutes)");
    let build = tools.join("build");
    // No `run::cargo`: this builds another project, outside of our workspace.
    let mut command = Command::new("cargo");
    command
        .args(["install", "bpf-linker", "--version", "^0.13", "--locked", "--force"])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(&tools)
        .env("LLVM_PREFIX", LLVM)
        .env("CARGO_TARGET_DIR", &build)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(Path::new("/"));
    run::run(&mut command).context("cannot build bpf-linker")?;
    // 500 MB that nothing needs again; a failure to remove them is no failure of the set-up.
    let _ = std::fs::remove_dir_all(build);
    Ok(linker)
}

fn works(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
