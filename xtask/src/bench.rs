//! `cargo xtask bench`: what enforcement costs, as ratios that repeat on every machine.
//!
//! The virtual machine's clock counts instructions, so that a figure does not depend on what else
//! the host is doing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lexopt::{
    Arg::{Long, Value},
    ValueExt as _,
};

use crate::{kernels::SERIES, machine::Machine, products::Products, run, setup, vm};

const USAGE: &str = "\
cargo xtask bench fs [--kernel 6.1|6.12|7|all] [--rounds N]

Opens and closes files at several depths: alone, under Landlock, under AppArmor, under ringfence,
and beside a scope of ringfence; prints the ratios and writes them to docs/benchmarks/fs.md.
Kernel 6.12 and 3 rounds unless given; the page has the kernels that were measured.
";

const DEPTHS: [&str; 5] = ["1", "2", "4", "12", "32"];
/// The case that all others are compared with.
const ALONE: &str = "nothing";

/// Instructions of one act at each depth, of every round, by case.
type Figures = BTreeMap<String, BTreeMap<String, Vec<[u64; 3]>>>;

/// `cargo xtask bench`
pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let (mut series, mut rounds, mut subject) = (vec!["6.12"], 3_u32, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("kernel") => {
                let text = arguments.value()?.string()?;
                series = match text.as_str() {
                    "all" => SERIES.to_vec(),
                    one => vec![vm::parse_series(one)?],
                };
            }
            Long("rounds") => rounds = arguments.value()?.parse()?,
            Long("help") => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            Value(word) if subject.is_none() => subject = Some(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if subject.as_deref() != Some("fs") {
        bail!("what is to be measured?\n\n{USAGE}");
    }
    setup::prepare()?;
    let products = Products::build()?;
    let profile = apparmor_profile()?;
    let mut page = String::from(INTRODUCTION);
    for series in series {
        println!("bench: Linux {series}");
        let figures = measure(&products, &profile, series, rounds)?;
        let section = section(series, rounds, &figures)?;
        println!("{section}");
        page += &section;
    }
    let path = run::root().join("docs/benchmarks/fs.md");
    fs::create_dir_all(path.parent().context("a folder")?)?;
    fs::write(&path, page).with_context(|| path.display().to_string())?;
    println!("bench: written to {}", path.display());
    Ok(ExitCode::SUCCESS)
}

const INTRODUCTION: &str = "\
# What opening a file costs

Written by `cargo xtask bench fs`. One act is `open(2)` for reading and `close(2)` of a file that
exists, by a path of so many components. The figures are instructions of the guest, user and
kernel, counted by QEMU's clock (`-icount`), and ratios to the same kernel with nothing attached.
Each case runs in a cgroup of the same depth, since the kernel accounts for files by cgroup.

A governed process opens each file many times, so that its verdict is remembered after the first:
what does not change between two opens of a name in a folder is judged once.
";

fn measure(
    products: &Products,
    profile: &Path,
    series: &'static str,
    rounds: u32,
) -> Result<Figures> {
    let mut figures = Figures::new();
    let suite = |words: &[&str]| {
        let words = ["/usr/local/bin/ringfence-bench", "suite"].iter().chain(words);
        let mut machine = Machine::new(series, words.map(Into::into).collect());
        machine.counts_instructions = true;
        machine.silence = Duration::from_secs(600);
        machine.memory = "2G".into();
        machine.additions = products.additions();
        machine.additions.push((profile.to_owned(), "/apparmor.bin".into()));
        machine
    };
    let rounds = rounds.to_string();
    let plain = suite(&[&rounds]);
    let mut confined = suite(&[&rounds, "/apparmor.bin"]);
    confined.security_modules = "lockdown,capability,yama,apparmor";
    for machine in [plain, confined] {
        let mut text = Vec::new();
        let code = machine.boot(&mut |bytes| text.extend_from_slice(bytes))?;
        let text = String::from_utf8_lossy(&text);
        if code != 0 {
            bail!("the benchmark failed with {code}:\n{text}");
        }
        text.lines().filter_map(parse).for_each(|(case, depth, figure)| {
            figures.entry(case).or_default().entry(depth).or_default().push(figure);
        });
    }
    Ok(figures)
}

/// `CASE: DEPTH MIDDLE SMALLEST LARGEST`
fn parse(line: &str) -> Option<(String, String, [u64; 3])> {
    let (case, rest) = line.trim_end().rsplit_once(": ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [depth, numbers @ ..] = &words[..] else { return None };
    let numbers: Vec<u64> = numbers.iter().map_while(|word| word.parse().ok()).collect();
    Some((case.to_owned(), (*depth).to_owned(), numbers.try_into().ok()?))
}

fn middle(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

fn section(series: &str, rounds: u32, figures: &Figures) -> Result<String> {
    let alone = figures.get(ALONE).context("the case without anything is missing")?;
    let at = |case: &BTreeMap<String, Vec<[u64; 3]>>, depth: &str| {
        let rounds = case.get(depth).with_context(|| format!("nothing at depth {depth}"))?;
        Ok::<_, anyhow::Error>(middle(rounds.iter().map(|figure| figure[0]).collect()))
    };
    let mut text = format!("\n## Linux {series}\n\n| {rounds} rounds; components |");
    for depth in DEPTHS {
        write!(text, " {depth} |")?;
    }
    text += " largest spread |\n|---|---|---|---|---|---|---|\n";
    let others = figures.iter().filter(|(name, _)| *name != ALONE);
    for (name, case) in std::iter::once((&ALONE.to_owned(), alone)).chain(others) {
        write!(text, "| {name} |")?;
        for depth in DEPTHS {
            let (own, base) = (at(case, depth)?, at(alone, depth)?);
            match name == ALONE {
                true => write!(text, " {own} |")?,
                false => write!(text, " {:.3} |", own as f64 / base as f64)?,
            }
        }
        let spread = case.values().map(|rounds| {
            let ends = rounds.iter().map(|figure| figure[0]);
            let (low, high) = (ends.clone().min().unwrap_or(1), ends.max().unwrap_or(1));
            (high - low) as f64 / low as f64
        });
        writeln!(text, " {:.1} % |", 100.0 * spread.fold(0.0, f64::max))?;
    }
    Ok(text)
}

/// An AppArmor profile of ten rules, compiled as its kernel module reads it, by the parser of
/// Debian's package, which is unpacked beside the kernels and not installed.
fn apparmor_profile() -> Result<PathBuf> {
    let store = run::store("bench");
    fs::create_dir_all(&store)?;
    let parser = store.join("apparmor/sbin/apparmor_parser");
    if !parser.is_file() {
        println!("bench: fetching the AppArmor parser");
        run::run(Command::new("apt-get").args(["-q", "download", "apparmor"]).current_dir(&store))?;
        let packages = fs::read_dir(&store)?.filter_map(Result::ok).map(|entry| entry.path());
        let package = packages
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .last()
            .context("apt-get downloaded no package")?;
        run::run(Command::new("dpkg").arg("-x").arg(package).arg(store.join("apparmor")))?;
    }
    let (text, binary) = (store.join("profile.txt"), store.join("profile.bin"));
    fs::write(&text, PROFILE)?;
    run::run(Command::new(parser).args(["-Q", "-K", "-q", "-o"]).arg(&binary).arg(&text))?;
    Ok(binary)
}

const PROFILE: &str = "\
profile bench {
  /usr/** mrix,
  /content.txt r,
  /folder01/** r,
  /srv/project-2/** rw,
  /srv/project-3/** rw,
  /srv/project-4/** rw,
  /srv/project-5/** rw,
  /srv/project-6/** rw,
  /srv/project-7/** rw,
  /srv/project-8/** rw,
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_figures_is_read_and_others_are_not() {
        let read = parse("Landlock, 10 rules: 12 3 2 4\r");
        assert_eq!(read, Some(("Landlock, 10 rules".into(), "12".into(), [3, 2, 4])));
        for other in ["", "ringfence: 12 acts were refused", "x: 1 2 3", "x: 1 2 3 4 5"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn ratios_are_to_the_case_without_anything_and_of_the_middle_round() {
        let rounds = |middles: [u64; 3]| middles.map(|middle| [middle, 0, 0]).to_vec();
        let case = |middles| DEPTHS.map(|depth| (depth.to_owned(), rounds(middles))).into();
        let figures =
            [(ALONE.to_owned(), case([100, 100, 100])), ("x".to_owned(), case([150, 110, 120]))];
        let text = section("6.12", 3, &figures.into()).unwrap();
        assert!(text.contains("| x | 1.200 | 1.200 | 1.200 | 1.200 | 1.200 | 36.4 % |"), "{text}");
    }
}
