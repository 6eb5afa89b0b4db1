//! Observe mode: all goes through that would be refused, and is told of.

use super::{
    POLICY,
    network::{Client, Network, ROGUE, public},
    trial::{Comes, closed, control, expect, observe, same, unlisted, unnamed},
};
use crate::harness::{Context, Failure, Test, ensure};

/// All of them.
pub(super) const TESTS: &[Test] =
    &[("in observe mode names and addresses go through and are told of", all)];

fn all(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let none = Comes::ToNothing;
    let name = "seen-{phase}.example.com";
    let cases = [
        same("reach tcp www.example.net 8080 4", "93.184.216.10"),
        closed(
            format!("ask udp 93.184.216.53 {name} A"),
            none.clone(),
            unnamed("seen-observe.example.com"),
        ),
        closed(
            format!("ask tcp 93.184.216.53 {name} TXT"),
            none.clone(),
            unnamed("seen-observe.example.com"),
        ),
        closed(
            format!("reach tcp {name} 8080 4"),
            none.clone(),
            unlisted("connect", "93.184.216.66"),
        ),
        closed("reach tcp 93.184.216.12 8080", none.clone(), unlisted("connect", "93.184.216.12")),
        closed("reach udp 93.184.216.12 5300", none.clone(), unlisted("connect", "93.184.216.12")),
        closed("reach tcp 93.184.216.10 8081", none.clone(), unlisted("connect", "8081")),
        closed("reach tcp 93.184.216.53 853", none.clone(), unlisted("connect", "853")),
        closed(
            "reach tcp rebind.example.net 8080 4",
            none,
            super::trial::Told { action: "resolve", reason: "special_address", shows: "rebind" },
        ),
    ];
    control(context, &cases[..1])?;
    let ended = observe(context, POLICY, &cases)?;
    let left = network.capture.gets("seen-observe");
    expect(&ended, left, "the name was not asked for")?;
    let denied = ended.with_verdict("deny");
    expect(&ended, denied.is_empty(), "something was refused")?;
    let rogue = network.count(public(ROGUE), None)?;
    ensure(rogue == 0, || format!("{rogue} packets came to a server that nobody named"))
}
