//! What leaves when it should not: questions for names that no rule lists, and whatever else
//! could be sent to port 53.

use libc::EPERM;

use super::{
    POLICY,
    network::{Client, Network, ROGUE, public, public_v6},
    trial::{
        Case, Comes, but, closed, control, enforce, expect, govern, same, says, unlisted, unnamed,
    },
};
use crate::{
    harness::{Context, Failure, Test, ensure},
    ringfence::Ended,
};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("a name that no rule lists is refused, and nothing of the question leaves", unlisted_names),
    ("a tunnel through questions carries nothing, whatever way is asked", tunnel),
    ("port 53 of whatever server carries nothing but questions and answers", port_53),
    ("names over TLS have no way past the resolver where their port is not listed", port_853),
];

/// What a question carries, in each phase its own.
const SECRET: &str = "secret-{phase}";

/// Tries all, without a boundary and within. What the secret is in must come over the cable
/// without, and not within. A question that may leave shows that the capture works to the end.
fn carried(context: &Context, network: &Network, cases: &[Case]) -> Result<Ended, Failure> {
    let secret = |phase| SECRET.replace("{phase}", phase);
    control(context, cases)?;
    ensure(network.capture.gets(&secret("control")), || "the control did not leave".to_owned())?;
    let allowed = same("look-up www.example.net 8080", "93.184.216.10 2606:2800:220:1::a");
    let cases = [cases, &[allowed]].concat();
    network.capture.clear();
    network.notes.take();
    let ended = govern(context, POLICY, &cases)?;
    expect(&ended, network.capture.gets("\x03www\x07example\x03net"), "nothing was captured")?;
    let (what, packets) = (secret("enforce"), network.capture.showing(&secret("enforce")));
    expect(&ended, packets.is_empty(), &format!("{what} left: {packets:?}"))?;
    let domain = network.capture.showing("\x07example\x03com");
    expect(&ended, domain.is_empty(), &format!("its domain was asked for: {domain:?}"))?;
    Ok(ended)
}

fn unlisted_names(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let name = format!("{SECRET}.example.com");
    let told = unnamed("secret-enforce.example.com");
    let refused = |from: &str| says(format!("refused from {from}:53"));
    let mut cases = vec![
        closed(format!("look-up {name} 8080"), Comes::ToNothing, told),
        closed(format!("reach tcp {name} 8080"), Comes::ToNothing, told),
        // What an answer would have opened stays closed.
        closed(
            "reach tcp 93.184.216.66 8080",
            Comes::Errno(EPERM),
            unlisted("connect", "93.184.216.66"),
        ),
    ];
    for way in ["udp", "udp-connected", "tcp"] {
        for kind in ["A", "AAAA", "TXT", "CNAME", "HTTPS", "ANY"] {
            let number = match kind {
                "HTTPS" => "65",
                "ANY" => "255",
                other => other,
            };
            let act = format!("ask {way} 93.184.216.53 {name} {number}");
            cases.push(closed(act, refused("93.184.216.53"), told));
        }
        let act = format!("ask {way} 2606:2800:220:1::35 {name} A");
        cases.push(closed(act, refused("[2606:2800:220:1::35]"), told));
        // The attacker's own server.
        let act = format!("ask {way} {} {name} TXT", public(ROGUE));
        cases.push(closed(act, refused(&public(ROGUE).to_string()), told));
    }
    // Only nearly names that are allowed.
    for (name, shows) in [
        (format!("{SECRET}.example.net.example.com"), "secret-enforce.example.net.example.com"),
        (format!("{SECRET}-example.net"), "secret-enforce-example.net"),
        ("example.net".to_owned(), "example.net"),
    ] {
        let act = format!("ask udp 93.184.216.53 {name} A");
        cases.push(closed(act, refused("93.184.216.53"), unnamed(shows)));
    }
    carried(context, &network, &cases).map(drop)
}

fn tunnel(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    // As long as labels and names may be.
    let label = "x".repeat(63);
    let long = format!("{label}.{label}.{SECRET}.example.com");
    let refused = || says("refused from 93.184.216.53:53");
    let mut cases = Vec::new();
    for way in ["udp", "udp-connected", "tcp"] {
        for number in 0..4 {
            let name = format!("chunk{number}.{long}");
            let told = unnamed("secret-enforce.example.com");
            cases.push(closed(format!("ask {way} 93.184.216.53 {name} TXT"), refused(), told));
        }
    }
    let ended = carried(context, &network, &cases)?;
    let told = ended.events.iter().filter(|event| event["reason"] == "unlisted_name").count();
    let enough = told >= cases.len();
    expect(&ended, enough, &format!("{told} events for {} questions", cases.len()))
}

fn port_53(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let mut cases = Vec::new();
    for to in [public(ROGUE), public(10), public_v6(53)] {
        for protocol in ["tcp", "udp"] {
            if protocol == "tcp" && to == public(10) {
                continue;
            }
            // Whether they are taken is no matter: the resolver gets them, and they go no further.
            cases.push(but(
                format!("send-raw {protocol} {to} 53 {SECRET}-in-bytes-that-are-no-question"),
                Comes::Off,
                Comes::Off,
            ));
        }
    }
    carried(context, &network, &cases)?;
    let arrived: Vec<_> =
        network.notes.take().into_iter().filter(|one| one.to.port() == 53).collect();
    let untrusted = arrived.iter().find(|one| one.to.ip() != public(super::network::TRUSTED));
    ensure(untrusted.is_none(), || format!("a server was reached: {untrusted:?}"))
}

fn port_853(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let connect = |act: String, shows| closed(act, Comes::Errno(EPERM), unlisted("connect", shows));
    let cases = [
        connect(format!("reach tcp {} 853", public(53)), "853"),
        connect(format!("reach tcp {} 853", public_v6(53)), "853"),
        connect(format!("reach tcp {} 853", public(ROGUE)), "853"),
        connect("reach tcp www.example.net 853 4".into(), "853"),
    ];
    control(context, &cases)?;
    network.capture.clear();
    govern(context, POLICY, &cases)?;
    for at in [public(53), public_v6(53), public(ROGUE), public(10)] {
        let count = network.count(at, Some(853))?;
        ensure(count == 0, || format!("{count} packets came to {at}, port 853"))?;
    }
    let listed = format!("{POLICY}  - {{ cidr: \"{}/32\", ports: [853] }}\n", public(53));
    let cases = [same(format!("reach tcp {} 853", public(53)), public(53).to_string())];
    govern(context, &listed, &cases)?;
    // A rule that lists no port has every port but this one.
    let any = "boundary: 1\negress:\n  - { host: \"www.example.net\" }\n";
    let cases = [
        same("reach tcp www.example.net 9000 4", "93.184.216.10"),
        connect("reach tcp www.example.net 853 4".into(), "853"),
    ];
    enforce(context, any, &cases).map(drop)
}
