//! For how long an answer opens an address.

use super::{
    POLICY,
    network::{Client, Network},
    trial::{but, enforce, expect, says},
};
use crate::harness::{Context, Failure, Test};

/// All of them.
pub(super) const TESTS: &[Test] = &[(
    "after its time and the grace an address is closed to new connections, and old ones go on",
    runs_out,
)];

/// The answer is good for a second, which is taken for five, and the grace is a minute.
fn runs_out(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let at = "93.184.216.13";
    let free = format!("{at}, {at}; new: {at}, {at}; old: still, {at}; asked again: {at}");
    let governed = format!("{at}, {at}; new: EPERM, EPERM; old: still, {at}; asked again: {at}");
    let cases = [but("hold brief.example.net 8080 5300", says(free), says(governed))
        .told(super::trial::unlisted("connect", at))];
    let ended = enforce(context, POLICY, &cases)?;
    let datagram =
        ended.with_verdict("deny").iter().any(|event| event["object"]["protocol"] == "udp");
    expect(&ended, datagram, "no event tells of the datagram")?;
    drop(network);
    Ok(())
}
