//! `cargo xtask bench net`: what connecting and sending cost, and how fast the resolver is.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result};

use super::{
    figures::{Figures, table, take},
    machine,
};
use crate::products::{Products, cargo_static};

/// The acts of `ringfence-bench net`, in the order in which it does them.
const ACTS: [&str; 10] = [
    "connect",
    "connect-name",
    "call",
    "call-name",
    "datagram",
    "datagram-name",
    "connected",
    "connected-name",
    "message",
    "refused",
];

const INTRODUCTION: &str = "\
# What connecting and sending cost

Written by `cargo xtask bench net`. The figures are instructions of the guest, user and kernel,
counted by QEMU's clock (`-icount`), and ratios to the same kernel with nothing attached. Client and
server are processes of one machine with one processor, and the figures are of both; only the client
is governed. No driver has a part in it, so that a ratio is larger than over a network card.

| Act | What is done |
|---|---|
| `connect` | a TCP connection: `socket`, `connect`; the server's `accept` and `close`; `read` to the end, `close` |
| `call` | `connect(2)` alone. Over loopback the whole handshake, of both sides, happens inside |
| `datagram` | 32 bytes by `sendto`; the server sends them back; `recv` |
| `connected` | the same by `send` on a connected socket |
| `message` | 32 bytes over a TCP connection that is open, and back |
| `refused` | `socket`, a `connect` that fails, `close`: without a boundary for want of a listener, under one by the policy, which is told. The agent takes what it is told many at a time, so that single measurements of this act differ |

With `-name` the address is open because a name that a rule about hosts allows stands for it, which
the client has asked the resolver for; without, because a rule lists it.

| Case | The policy |
|---|---|
| not governed | a scope is in force, and the client is outside |
| 10 rules | the rule about the address, the rule about the name, and 8 host patterns |
| 100,000 networks | networks of which none touches another: about 200,000 intervals |
| 10,000 host patterns | `*.host-N.example.org` |
| all of these, N addresses | both, and so many addresses installed by lookups inside the scope before |

A scope has room for 65,536 installed addresses, and the resolver looks up 1,000 names in a minute:
nearly as many were installed, by names with 64 addresses each. The 1,000,000 that a host is to bear
are so many scopes' tables beside each other, each of which is asked for its own scope alone; that
many were not measured.
";

/// The beginning of the page, with the resolver's figures.
///
/// # Errors
///
/// When the resolver's benchmark fails.
pub(super) fn introduction() -> Result<String> {
    println!("bench: the resolver, on this host");
    let mut cargo = cargo_static(&["bench", "--quiet", "-p", "ringfence", "--bench", "resolver"]);
    let output = cargo.output().context("cargo bench")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    print!("{said}");
    Ok(format!(
        "{INTRODUCTION}\n## The resolver\n\n`cargo bench -p ringfence --bench resolver`, on the \
         machine that wrote this page, by its clock: these depend on the machine and on what else \
         it did. The upstream is on loopback and always has the answer.\n\n```text\n{}\n```\n",
        said.trim_end()
    ))
}

/// Measures with a kernel: its part of the page.
///
/// # Errors
///
/// When a case cannot be run, or comes out otherwise than it should.
pub(super) fn section(products: &Products, series: &'static str, rounds: u32) -> Result<String> {
    let mut figures = Figures::new();
    let machine = machine(products, series, &["net", "suite", &rounds.to_string()]);
    take(&machine, &mut figures)?;
    let (mut hooks, mut cases) = (Figures::new(), Figures::new());
    for (case, figures) in figures {
        match case.strip_prefix("hook ") {
            Some(hook) => hooks.insert(hook.to_owned(), figures),
            None => cases.insert(case, figures),
        };
    }
    let mut text = table(&format!("{rounds} rounds"), &ACTS, &cases)?;
    text += "\nWhat each program takes, as the kernel counts it (`bpf_stats_enabled`): runs in one \
             act × instructions of one run, both clocks of which are in it.\n\n| Policy, program |";
    for act in ACTS {
        write!(text, " {act} |")?;
    }
    text += "\n|";
    text += &"---|".repeat(ACTS.len() + 1);
    text.push('\n');
    for (hook, acts) in &hooks {
        write!(text, "| {hook} |")?;
        for act in ACTS {
            write!(text, " {} |", product(acts, act).unwrap_or_default())?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// `RUNS × INSTRUCTIONS` of a program in an act; `None` where it does not run.
fn product(acts: &BTreeMap<String, Vec<[u64; 3]>>, act: &str) -> Option<String> {
    let [thousandths, instructions, _] = acts.get(act)?.first()?;
    Some(format!("{:.1} × {instructions}", *thousandths as f64 / 1000.0))
}
