//! `cargo xtask`: everything a developer of ringfence types.
//!
//! - [`setup`] makes a machine ready, [`kernels`] fetches the kernels that are tested;
//! - [`vm`] boots one of them and runs a command in it;
//! - [`docs`] writes the pages that come from the source;
//! - [`lint`], [`test`], [`demo`], [`bench`] and [`package`] are what they are called.
//!
//! Nothing here is needed by a user at run time.

mod apt;
mod bench;
mod console;
mod cpio;
mod demo;
mod docs;
mod guest;
mod image;
mod kernel_modules;
mod kernels;
mod lint;
mod machine;
#[cfg(test)]
mod manifests;
mod package;
mod products;
mod report;
mod run;
mod setup;
mod sources;
mod system;
mod test;
mod tree;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::Arg::{Long, Short, Value};

const USAGE: &str = "\
cargo xtask COMMAND

  setup                 install what building and testing need (as root; once)
  kernels               download the kernels that are tested into target/kernels
  vm    [OPTION]… -- CMD [ARG…]
                        boot a virtual machine, run CMD in it as root, exit with its code
  docs  [--check]       write the pages of docs/ that come from the source, or compare them
  lint                  cargo fmt, clippy, those pages, and cargo-deny when it is installed
  test  [OPTION]…       everything: lint, tests on this host, tests in virtual machines
  demo  [OPTION]…       what ringfence refuses, shown on this host or in a virtual machine
  bench [OPTION]…       what it costs, compared with nothing, Landlock and AppArmor
  package KIND          what a release consists of: deb

`cargo xtask COMMAND --help` lists the options of one command.
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(run::FAILED)
        }
    }
}

fn dispatch() -> Result<ExitCode> {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next()? {
        Some(Value(command)) => match command.to_str() {
            Some("setup") => setup::main(arguments),
            Some("kernels") => kernels::main(arguments),
            Some("vm") => vm::main(arguments),
            Some("docs") => docs::main(arguments),
            Some("lint") => lint::main(arguments),
            Some("test") => test::main(arguments),
            Some("demo") => demo::main(arguments),
            Some("bench") => bench::main(arguments),
            Some("package") => package::main(arguments),
            _ => bail!("there is no command {command:?}\n\n{USAGE}"),
        },
        Some(Long("help") | Short('h')) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => Err(other.unexpected().into()),
        None => bail!("which command?\n\n{USAGE}"),
    }
}
