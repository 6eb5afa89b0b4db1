//! Host names: a policy that allows names gives the addresses that they lead to, to whom asks for
//! them, and nothing else. The tests have a network of their own, with name servers that do as
//! they like ([`network`]), and look at both ends of the cable.

mod answers;
mod beside;
pub(crate) mod capture;
pub(crate) mod clients;
pub(crate) mod dns;
mod faults;
pub(crate) mod hello;
mod lifetime;
pub(crate) mod network;
mod observed;
mod parts;
mod reached;
mod refused;
mod sent;
mod servers;
mod tls;
mod trial;
pub(crate) mod zone;

use crate::harness::Test;

/// All of them, but those with real programs.
pub(crate) fn tests() -> Vec<Test> {
    [
        reached::TESTS,
        refused::TESTS,
        answers::TESTS,
        lifetime::TESTS,
        observed::TESTS,
        tls::TESTS,
        sent::TESTS,
        faults::TESTS,
        beside::TESTS,
    ]
    .concat()
}

/// What most of the tests allow.
const POLICY: &str = r#"boundary: 1
egress:
  - { host: "*.example.net", ports: [8080, 5300] }
"#;
