//! Builds the kernel programs from source, with whichever toolchain for them is present, so that
//! `cargo build` alone makes the whole agent.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const TARGET: &str = "bpfel-unknown-none";

/// What to say when no toolchain is there.
const NOTHING_FOUND: &str = "\
no toolchain for the kernel programs was found. One of these is needed:
  - Debian: `cargo xtask setup` installs all of it (packages rustc-web and
    libstd-rust-web-dev-bpf, and bpf-linker into target/tools);
  - elsewhere: `rustup toolchain install nightly --component rust-src`
    and `cargo install bpf-linker`.";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ringfence: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = manifest.parent().ok_or("the package has no parent folder")?;
    for source in ["ebpf/src", "ebpf/Cargo.toml", "ebpf/Cargo.lock", "common/src"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo::rerun-if-env-changed=PATH");

    // One folder for all profiles of the agent: the programs are always built alike.
    let target = root.join("target/ebpf");
    let mut command = toolchain(root, &variable("CARGO_CFG_TARGET_ARCH")?)?;
    command
        .current_dir(root.join("ebpf"))
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&target)
        // What cargo tells its build scripts must not reach the inner cargo.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        return Err(format!("building the kernel programs failed: {command:?}"));
    }
    let object = target.join(TARGET).join("release/ringfence-ebpf");
    let copy = Path::new(&variable("OUT_DIR")?).join("ringfence-ebpf");
    fs::copy(&object, &copy).map_err(|error| format!("{}: {error}", object.display()))?;
    let bytes = fs::read(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    // Told apart are builds, and nothing is proven by it: any hash does.
    let mut hash = DefaultHasher::new();
    bytes.hash(&mut hash);
    println!("cargo::rustc-env=RINGFENCE_PROGRAMS={:016x}", hash.finish());
    Ok(())
}

/// A cargo command, ready to build for the kernel.
fn toolchain(root: &Path, architecture: &str) -> Result<Command, String> {
    let linker = linker(root).ok_or(NOTHING_FOUND)?;
    let flags = [
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        format!("-Clinker={}", linker.display()),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
    ]
    .join("\x1f");
    let mut command = if has_core(Path::new("/usr/bin/rustc")) {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // One unstable feature each in aya-ebpf and in our programs; for no other crate.
        command
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTC_BOOTSTRAP", "aya_ebpf,ringfence_ebpf")
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    } else if has_nightly_source() {
        let mut command = Command::new("rustup");
        command
            .args(["run", "nightly", "cargo", "-Zbuild-std=core"])
            .env_remove("RUSTC")
            .env_remove("CARGO")
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    } else {
        return Err(NOTHING_FOUND.into());
    };
    command.env("CARGO_ENCODED_RUSTFLAGS", flags);
    Ok(command)
}

fn linker(root: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin"));
    [root.join("target/tools/bin")]
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(home)
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
}

/// Whether a compiler comes with a prebuilt `core` for the kernel's target.
fn has_core(compiler: &Path) -> bool {
    output(Command::new(compiler).args(["--print", "sysroot"]))
        .is_some_and(|root| Path::new(root.trim()).join("lib/rustlib").join(TARGET).is_dir())
}

fn has_nightly_source() -> bool {
    output(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]))
        .is_some_and(|root| {
            Path::new(root.trim()).join("lib/rustlib/src/rust/library/core").is_dir()
        })
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}
