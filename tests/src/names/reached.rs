//! What an allowed name opens: the addresses that it leads to, once it has been asked for.

use libc::EPERM;

use super::{
    POLICY,
    network::{Client, LISTED, Network, ROGUE, TRUSTED, public, public_v6},
    trial::{Case, Comes, but, closed, enforce, same, says, unlisted},
};
use crate::harness::{Context, Failure, Test, ensure};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("a host that a wildcard allows is reached at first try, by TCP, UDP and IPv6", |context| {
        first_try(context, Client::Machine)
    }),
    ("the same in a network namespace of its own", |context| first_try(context, Client::Namespace)),
    ("whichever name server is named seems to be the one that answers", any_server),
    ("an address is reached only after its name was asked for, at listed ports only", only_asked),
    ("a name server that a rule lists gives its own answers, and no other does", listed_server),
];

fn first_try(context: &mut Context, client: Client) -> Result<(), Failure> {
    let network = Network::make(client)?;
    let cases = [
        same("reach tcp www.example.net 8080 4", "93.184.216.10"),
        same("reach udp api.example.net 5300 4", "93.184.216.11"),
        same("reach tcp v6.example.net 8080", "2606:2800:220:1::15"),
        same("reach udp chain.example.net 5300 6", "2606:2800:220:1::e"),
        same("reach tcp v4.example.net 8080", "93.184.216.20"),
        same("reach tcp www.example.net 8080", "2606:2800:220:1::a"),
        same("look-up WWW.Example.NET 8080", "93.184.216.10 2606:2800:220:1::a"),
        but("look-up gone.example.net 8080", Comes::ToNothing, Comes::ToNothing),
    ];
    enforce(context, POLICY, &cases)?;
    drop(network);
    Ok(())
}

/// Ways to ask.
const WAYS: [&str; 3] = ["udp", "udp-connected", "tcp"];

fn any_server(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let mut cases = Vec::new();
    for way in WAYS {
        // There is no such server.
        for nowhere in ["9.9.9.9", "2620:fe::fe"] {
            let from = if nowhere.contains(':') { format!("[{nowhere}]") } else { nowhere.into() };
            cases.push(but(
                format!("ask {way} {nowhere} www.example.net A"),
                Comes::ToNothing,
                says(format!("noerror 93.184.216.10 from {from}:53")),
            ));
        }
        cases.push(same(
            format!("ask {way} 93.184.216.53 www.example.net AAAA"),
            "noerror 2606:2800:220:1::a from 93.184.216.53:53",
        ));
        cases.push(same(
            format!("ask {way} 2606:2800:220:1::35 www.example.net A"),
            "noerror 93.184.216.10 from [2606:2800:220:1::35]:53",
        ));
        cases.push(same(
            format!("ask {way} 93.184.216.53 gone.example.net A"),
            "nxdomain from 93.184.216.53:53",
        ));
    }
    // One socket, bound to a port of its own before, that asks two servers.
    cases.push(same(
        "ask-from-port udp 93.184.216.53 www.example.net A 20053 93.184.216.54",
        "noerror 93.184.216.10 from 93.184.216.53:53 after 93.184.216.54",
    ));
    enforce(context, POLICY, &cases)?;
    drop(network);
    Ok(())
}

fn only_asked(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let refused = |act: &str, told| closed(act, Comes::Errno(EPERM), told);
    let connect = |act, shows| refused(act, unlisted("connect", shows));
    let both = |from| says(format!("noerror 93.184.216.12 from {from}:53"));
    let cases = [
        connect("reach tcp 93.184.216.12 8080", "93.184.216.12"),
        connect("reach udp 93.184.216.12 5300", "93.184.216.12"),
        connect("reach tcp 2606:2800:220:1::c 8080", "2606:2800:220:1::c"),
        but(
            "ask udp 93.184.216.53 unasked.example.net A",
            both("93.184.216.53"),
            both("93.184.216.53"),
        ),
        same("reach tcp 93.184.216.12 8080", "93.184.216.12"),
        same("reach udp 93.184.216.12 5300", "93.184.216.12"),
        connect("reach tcp 93.184.216.12 8081", "8081"),
        connect("reach udp 93.184.216.12 5301", "5301"),
        connect("reach tcp 93.184.216.12 853", "853"),
        connect("reach udp 93.184.216.12 443", "443"),
        // Its other address was not asked for yet, nor was its neighbour.
        connect("reach tcp 2606:2800:220:1::c 8080", "2606:2800:220:1::c"),
        connect("reach tcp 93.184.216.13 8080", "93.184.216.13"),
        // Nobody listens there: the port is open to this scope, and closed at the other end.
        nobody_listens(),
    ];
    enforce(context, POLICY, &cases)?;
    let ports = "boundary: 1\negress:\n  - { host: \"www.example.net\", ports: [853, 9000] }\n";
    let cases = [
        same("reach tcp www.example.net 853 4", "93.184.216.10"),
        same("reach tcp www.example.net 9000 4", "93.184.216.10"),
        connect("reach tcp 93.184.216.10 8080", "8080"),
    ];
    enforce(context, ports, &cases)?;
    drop(network);
    Ok(())
}

fn nobody_listens() -> Case {
    let refused = Comes::Errno(libc::ECONNREFUSED);
    but("reach tcp 93.184.216.12 5300", refused.clone(), refused)
}

fn listed_server(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let policy = format!("{POLICY}  - {{ cidr: \"{}/32\", ports: [53] }}\n", public(LISTED));
    let answer =
        |by: u8, from: u8| format!("noerror {} from {}:53", public(by + 100), public(from));
    let mut cases = Vec::new();
    for way in WAYS {
        let ask = |server: u8| format!("ask {way} {} who.example.net A", public(server));
        cases.extend([
            same(ask(TRUSTED), answer(TRUSTED, TRUSTED)),
            same(ask(LISTED), answer(LISTED, LISTED)),
            but(ask(ROGUE), says(answer(ROGUE, ROGUE)), says(answer(TRUSTED, ROGUE))),
        ]);
    }
    let before = network.count(public(ROGUE), Some(53))?;
    ensure(before == 0, || "somebody asked before the test".to_owned())?;
    super::trial::control(context, &cases)?;
    let free = network.count(public(ROGUE), Some(53))?;
    ensure(free > 0, || "the control did not reach the server".to_owned())?;
    network.capture.clear();
    super::trial::govern(context, &policy, &cases)?;
    let seen = network.count(public(ROGUE), Some(53))?;
    ensure(seen == 0, || format!("{seen} packets came to a server that nobody trusts"))?;
    ensure(network.count(public_v6(ROGUE), None)? == 0, || "over IPv6 too".to_owned())
}
