//! The name that a connection over TLS asks for: it must be one that the policy lets be looked up,
//! since many names share an address.

use super::{
    network::{Client, Network, public, public_v6},
    trial::{Case, Comes, Told, closed, control, expect, govern, observe, same},
};
use crate::harness::{Context, Failure, Test, ensure};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("a name that is allowed passes at a shared address, however it comes in pieces", allowed),
    ("another name at the same address, no name or no TLS is cut before the server sees any", cut),
    ("a socket that is connected anew to the same place is checked anew", again),
    ("a rule without the check of names lets through what is no TLS", off),
    ("in observe mode other names at a shared address pass and are told of", observed),
];

/// Both names are at the same address; the policy has one.
pub(super) const POLICY: &str = r#"boundary: 1
egress:
  - { host: "one.example.net", ports: [443, 8443] }
"#;

/// What is said after a connection is refused for its name.
pub(super) const TOLD: Told = Told {
    action: "connect|send",
    reason: "unlisted_server_name|no_server_name",
    shows: "93.184.216.40",
};

/// Bytes before the name, so that it lies in another segment; 0 is for none.
const BEFORE: [usize; 3] = [0, 700, 3000];

fn allowed(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let mut cases = Vec::new();
    for before in BEFORE {
        for size in [1, 3, 100, 1460, 100_000] {
            // As many segments as there are bytes take their time.
            if size * 1000 < before {
                continue;
            }
            cases.push(same(
                format!("tls one.example.net 443 one.example.net {before} {size}"),
                "hello one.example.net",
            ));
        }
    }
    cases.push(same("tls one.example.net 443 ONE.example.NET 0 100000", "hello ONE.example.NET"));
    // Only where TLS is usual the name is looked for.
    cases.push(same("reach tcp one.example.net 8443 4", "93.184.216.40"));
    super::trial::enforce(context, POLICY, &cases)?;
    drop(network);
    Ok(())
}

/// What is to be cut, over one address family.
pub(super) fn others(family: &str, told: Told) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["two.example.net", "-", "one.example.net.example.com", "xone.example.net"] {
        for (before, size) in [(0, 100_000), (0, 1), (0, 60), (3000, 1000)] {
            let act = format!("tls one.example.net 443 {name} {before} {size} {family}");
            cases.push(closed(act, Comes::ToNothing, told));
        }
    }
    for text in ["GET%20/%20HTTP/1.1%0D%0A%0D%0A", "SSH-2.0-x%0D%0A", "%00%00%00%00%00%00%00%00"] {
        let act = format!("tls-plain one.example.net 443 {text} {family}");
        cases.push(closed(act, Comes::ToNothing, told));
    }
    cases
}

fn cut(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Namespace)?;
    let cases = others("4", TOLD);
    control(context, &cases)?;
    let heard = network.notes.take().into_iter().any(|one| !one.bytes.is_empty());
    ensure(heard, || "the control was not heard".to_owned())?;
    let ended = govern(context, POLICY, &cases)?;
    let heard: Vec<_> = network.notes.take().into_iter().filter(can_act_on).collect();
    expect(&ended, heard.is_empty(), &format!("the server got {heard:?}"))
}

fn again(context: &mut Context) -> Result<(), Failure> {
    const OTHER: &[u8] = b"two.example.net";
    let network = Network::make(Client::Namespace)?;
    let act = "tls-again one.example.net 443 one.example.net two.example.net";
    let cases = [closed(act, Comes::ToNothing, TOLD)];
    let is_other = |one: &super::servers::Arrival| {
        is_of_tls(one) && one.bytes.windows(OTHER.len()).any(|bytes| bytes == OTHER)
    };
    control(context, &cases)?;
    let heard = network.notes.take().iter().any(is_other);
    ensure(heard, || "the control was not heard".to_owned())?;
    let ended = govern(context, POLICY, &cases)?;
    let heard = network.notes.take();
    let first = heard.iter().any(is_of_tls);
    expect(&ended, first && !heard.iter().any(is_other), &format!("the server got {heard:?}"))
}

/// Whether a server of TLS got any byte.
pub(super) fn is_of_tls(arrival: &super::servers::Arrival) -> bool {
    let is_shared = [public(40), public_v6(40)].contains(&arrival.to.ip());
    arrival.is_tcp && is_shared && !arrival.bytes.is_empty()
}

/// Whether a server of TLS got more than the beginning of a message that ends before the name.
/// TCP may have cut that off where the client was slow to write the rest, and must send it to get
/// on; a whole message would have been answered, which no case lets pass.
pub(super) fn can_act_on(arrival: &super::servers::Arrival) -> bool {
    let bytes = &arrival.bytes;
    // Plain text has at most eight zeros.
    let is_padding = bytes.len() > 8 && bytes.iter().all(|byte| *byte == 0);
    let has_name = bytes.windows(7).any(|bytes| bytes == b"example");
    let is_begun = (bytes.first() == Some(&22) || is_padding) && !has_name;
    is_of_tls(arrival) && !is_begun
}

fn off(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let policy = POLICY.replace("[443, 8443]", "[443, 8443], tls_name_check: off");
    let passes: Vec<Case> = others("4", TOLD).into_iter().map(Case::unrefused).collect();
    super::trial::enforce(context, &policy, &passes)?;
    drop(network);
    Ok(())
}

fn observed(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    observe(context, POLICY, &others("4", TOLD))?;
    drop(network);
    Ok(())
}
