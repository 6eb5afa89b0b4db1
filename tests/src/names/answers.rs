//! Answers that are odd, or lie: what of them is told, and what they open.

use libc::EPERM;

use super::{
    POLICY,
    network::{Client, FORBIDDEN, Network, public},
    trial::{Comes, but, closed, control, enforce, govern, same, says, unlisted},
    zone::INNER,
};
use crate::harness::{Context, Failure, Test, ensure};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("an allowed name that leads to inner addresses opens none and tells none", rebinding),
    ("long answers and chains of aliases lead where they should", long_ones),
    ("what an answer says besides its answer, or another says in its place, opens nothing", lies),
    ("a name server that says nothing opens nothing, and the process is told", silence),
];

fn rebinding(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let v4 = "169.254.169.254 127.0.0.1 10.66.0.1";
    let from = "from 93.184.216.53:53";
    let told = |shows| super::trial::Told { action: "resolve", reason: "special_address", shows };
    let mut cases = Vec::new();
    for way in ["udp", "tcp"] {
        let ask = |name: &str| format!("ask {way} 93.184.216.53 {name}.example.net");
        cases.extend([
            but(
                ask("rebind") + " A",
                says(format!("noerror {v4} {from}")),
                says(format!("noerror {from}")),
            ),
            but(
                ask("rebind") + " AAAA",
                says(format!("noerror fd00:ec2::254 ::1 {from}")),
                says(format!("noerror {from}")),
            ),
            // What is beside them is told.
            but(
                ask("mixed") + " A",
                says(format!("noerror {v4} 93.184.216.19 {from}")),
                says(format!("noerror 93.184.216.19 {from}")),
            ),
        ]);
    }
    let mut cases: Vec<_> = cases.into_iter().map(|case| case.told(told("example.net"))).collect();
    let mixed = but("reach tcp mixed.example.net 8080 4", Comes::Off, says("93.184.216.19"));
    cases.push(mixed.told(told("mixed")));
    // Where the name has led is reached without a boundary; the machine itself does not serve.
    for inner in ["169.254.169.254", "10.66.0.1", "fd00:ec2::254"] {
        let act = format!("reach tcp {inner} 8080");
        cases.push(closed(act, Comes::Errno(EPERM), unlisted("connect", inner)));
    }
    let rebound = but("reach tcp rebind.example.net 8080", Comes::Off, Comes::ToNothing);
    cases.push(rebound.told(told("rebind")));
    control(context, &cases)?;
    network.capture.clear();
    govern(context, POLICY, &cases)?;
    for inner in INNER.iter().filter_map(|text| text.parse().ok()) {
        let count = network.count(inner, None)?;
        ensure(count == 0, || format!("{count} packets left to {inner}"))?;
    }
    Ok(())
}

fn long_ones(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let many: Vec<String> = (100..130).map(|last| public(last).to_string()).collect();
    let many = many.join(" ");
    let from = "from 93.184.216.53:53";
    let cut = "93.184.216.17";
    let cases = [
        // Within, what was truncated on its way to the resolver is whole on its way from it.
        but(
            "ask udp 93.184.216.53 cut.example.net A",
            says(format!("noerror truncated {from}")),
            says(format!("noerror {cut} {from}")),
        ),
        same("ask tcp 93.184.216.53 cut.example.net A", format!("noerror {cut} {from}")),
        same("reach tcp cut.example.net 8080 4", cut),
        same(
            "ask tcp 93.184.216.53 chain.example.net A",
            format!(
                "noerror edge.example.com a.edge.example.com b.edge.example.com 93.184.216.14 {from}"
            ),
        ),
        same("reach tcp chain.example.net 8080 4", "93.184.216.14"),
        same("reach tcp chain.example.net 8080 6", "2606:2800:220:1::e"),
        same("ask tcp 93.184.216.53 many.example.net A", format!("noerror {many} {from}")),
        same("look-up many.example.net 8080", many),
        same("reach tcp 93.184.216.100 8080", "93.184.216.100"),
        same("reach tcp 93.184.216.129 8080", "93.184.216.129"),
        // An alias on the way is not allowed itself.
        closed(
            "ask udp 93.184.216.53 edge.example.com A",
            says(format!("refused {from}")),
            super::trial::unnamed("edge.example.com"),
        ),
    ];
    enforce(context, POLICY, &cases)?;
    drop(network);
    Ok(())
}

fn lies(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let from = "from 93.184.216.53:53";
    let bad = public(FORBIDDEN);
    let cases = [
        but(
            "ask udp 93.184.216.53 poison.example.net A",
            says(format!(
                "noerror 93.184.216.15 {bad} beside:{bad} beside:{bad} beside:{bad} {from}"
            )),
            says(format!("noerror 93.184.216.15 {from}")),
        ),
        same("reach tcp poison.example.net 8080 4", "93.184.216.15"),
        // The C library waits for the right number too, and `ask` does not.
        but(
            "ask udp 93.184.216.53 guessed.example.net A",
            says(format!("noerror {bad} {from}")),
            says(format!("noerror 93.184.216.16 {from}")),
        ),
        same("reach tcp guessed.example.net 8080 4", "93.184.216.16"),
        closed(
            format!("reach tcp {bad} 8080"),
            Comes::Errno(EPERM),
            unlisted("connect", "93.184.216.66"),
        ),
    ];
    control(context, &cases)?;
    network.capture.clear();
    govern(context, POLICY, &cases)?;
    let count = network.count(bad, None)?;
    ensure(count == 0, || format!("{count} packets left to {bad}"))
}

fn silence(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let cases = [
        but(
            "ask udp 93.184.216.53 silent.example.net A",
            Comes::ToNothing,
            says("servfail from 93.184.216.53:53"),
        ),
        closed(
            "reach tcp 93.184.216.18 8080",
            Comes::Errno(EPERM),
            unlisted("connect", "93.184.216.18"),
        ),
        same("reach tcp www.example.net 8080 4", "93.184.216.10"),
    ];
    enforce(context, POLICY, &cases)?;
    drop(network);
    Ok(())
}
