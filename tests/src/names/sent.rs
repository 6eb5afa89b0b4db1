//! The check of a server's name, in whatever way the message is sent: over IPv6, with the packet
//! that opens the connection, from pages that stay the sender's, and a second time.

use std::fs;

use super::{
    network::{Client, Network},
    tls::{POLICY, TOLD, can_act_on, is_of_tls, others},
    trial::{Case, Comes, Told, closed, control, expect, govern, same},
};
use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::Ended,
};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("over IPv6 a name that is allowed passes, and what else there is is cut", over_v6),
    ("a name in the packet that opens a connection is checked before it leaves", fast_open),
    ("pages that may change after the check, and bytes out of turn, are refused", in_place),
    ("after a server's answer another name is checked like the first", second),
];

/// A name that is at the same address, and that the policy does not have.
const OTHER: &[u8] = b"two.example.net";

/// What is said over IPv6.
const SHARED_V6: &str = "2606:2800:220:1::28";
const TOLD_V6: Told = Told { shows: SHARED_V6, ..TOLD };

fn over_v6(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let cases = others("6", TOLD_V6);
    control(context, &cases)?;
    let heard = network.notes.take().iter().any(is_of_tls);
    ensure(heard, || "the control was not heard".to_owned())?;
    let ended = govern(context, POLICY, &cases)?;
    let heard: Vec<_> = network.notes.take().into_iter().filter(can_act_on).collect();
    expect(&ended, heard.is_empty(), &format!("the server got {heard:?}"))?;
    let mut cases: Vec<Case> = [(0, 1), (0, 100_000), (700, 60), (3000, 1460), (3000, 100_000)]
        .into_iter()
        .map(|(before, size)| {
            let act = format!("tls one.example.net 443 one.example.net {before} {size} 6");
            same(act, "hello one.example.net")
        })
        .collect();
    let act = "tls-again one.example.net 443 one.example.net one.example.net 6";
    cases.push(same(act, "hello one.example.net, hello one.example.net"));
    super::trial::enforce(context, POLICY, &cases).map(drop)
}

/// Tries what ends in another name, without a boundary, where the name arrives, and within, where
/// it does not.
fn kept(context: &Context, network: &Network, cases: &[Case]) -> Result<Ended, Failure> {
    control(context, cases)?;
    ensure(hears_other(network), || "the control was not heard".to_owned())?;
    let ended = govern(context, POLICY, cases)?;
    expect(&ended, !hears_other(network), "the server got the other name")?;
    Ok(ended)
}

/// Whether the server has got the other name, in whatever pieces.
fn hears_other(network: &Network) -> bool {
    let heard = network.notes.take().into_iter().filter(is_of_tls);
    let bytes: Vec<u8> = heard.flat_map(|arrival| arrival.bytes).collect();
    bytes.windows(OTHER.len()).any(|bytes| bytes == OTHER)
}

fn fast_open(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    // As a client and as a server; outside each server does it.
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3")?;
    let mut cases = Vec::new();
    for (family, told) in [("4", TOLD), ("6", TOLD_V6)] {
        let act = |name: &str, before| {
            format!("tls-fast-open one.example.net 443 one.example.net {name} {before} {family}")
        };
        let hello = "hello one.example.net, hello one.example.net at once";
        // The first packet has no room for 3000 bytes.
        for before in [0, 3000] {
            cases.push(same(act("one.example.net", before), hello));
            cases.push(closed(act("two.example.net", before), Comes::ToNothing, told));
            cases.push(closed(act("-", before), Comes::ToNothing, told));
        }
    }
    kept(context, &network, &cases).map(drop)
}

fn in_place(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let told = Told { reason: "no_server_name", ..TOLD };
    let mut cases = Vec::new();
    for (family, shows) in [("4", TOLD.shows), ("6", SHARED_V6)] {
        let told = Told { shows, ..told };
        let act =
            |way: &str, name: &str| format!("tls-by {way} one.example.net 443 {name} {family}");
        cases.push(same(act("write", "one.example.net"), "hello one.example.net"));
        for way in ["sendfile", "write-and-sendfile", "splice", "vmsplice", "zerocopy", "urgent"] {
            for name in ["one.example.net", "two.example.net"] {
                cases.push(closed(act(way, name), Comes::ToNothing, told));
            }
        }
    }
    let ended = kept(context, &network, &cases)?;
    let refusals = ended.with_verdict("deny").len();
    let expected = cases.len() - 2;
    expect(&ended, refusals == expected, &format!("{refusals} refusals, and not {expected}"))
}

fn second(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let mut cases = Vec::new();
    // What clients send before it, for old machines on the way.
    for between in ["%", "%14%03%03%00%01%01"] {
        for size in [1, 60, 100_000] {
            let act = |name: &str| {
                let names = format!("one.example.net {name}");
                format!("tls-retry one.example.net 443 {names} {size} {between}")
            };
            let hello = "hello one.example.net, hello one.example.net";
            cases.push(same(act("one.example.net"), hello));
            for (name, reason) in
                [("two.example.net", "unlisted_server_name"), ("-", "no_server_name")]
            {
                let told = Told { reason, ..TOLD };
                cases.push(closed(act(name), Comes::ToNothing, told));
            }
        }
    }
    kept(context, &network, &cases).map(drop)
}
