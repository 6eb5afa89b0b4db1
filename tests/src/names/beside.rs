//! Scopes beside each other and after each other: what a name has opened for one is open to no
//! other, whatever number the kernel programs know it by.

use std::{collections::BTreeSet, fs};

use libc::EPERM;

use super::{
    POLICY,
    network::{Client, Network},
    parts::Parts,
    trial::{Case, Comes, closed, control, govern, same, unlisted, unnamed},
};
use crate::{
    act::Outcome,
    harness::{Context, Failure, Test, ensure},
    ringfence::policy,
};

/// All of them.
pub(super) const TESTS: &[Test] = &[
    ("what a name opens for one scope is closed to the scopes beside it", neighbours),
    ("a scope that has the number of one before inherits none of its addresses", successors),
];

/// A policy that has no name of what the other scope opens.
const OTHER: &str = r#"boundary: 1
egress:
  - { host: "api.example.net", ports: [8080, 5300] }
"#;

/// Reaches what a name stands for.
const OPEN: &str = "reach tcp www.example.net 8080 4";
/// Goes there without having asked for the name.
const GO: &str = "reach tcp 93.184.216.10 8080";
const WHERE: &str = "93.184.216.10";

/// What a scope that has not asked for the name is refused.
fn shut() -> Vec<Case> {
    let told = |action| unlisted(action, WHERE);
    vec![
        closed(GO, Comes::Errno(EPERM), told("connect")),
        closed(format!("reach udp {WHERE} 5300"), Comes::Errno(EPERM), told("connect")),
        closed("reach tcp 2606:2800:220:1::a 8080", Comes::Errno(EPERM), unlisted("connect", "a")),
    ]
}

fn said(text: &str) -> Outcome {
    Outcome::Done(text.to_owned())
}

fn neighbours(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    let unasked = "reach tcp 93.184.216.11 8080";
    let first: [String; 2] = [OPEN.into(), "reach udp www.example.net 5300 4".into()];
    let then: [String; 2] = [GO.into(), unasked.into()];
    let file = policy(context, "one.yaml", POLICY)?;
    let one = Parts::start(context, "one", &[&first, &then], |run| run.policy(&file))?;
    let opened = one.finish(0)?;
    ensure(opened == [said(WHERE), said(WHERE)], || format!("one: {opened:?}"))?;

    // Another policy, which opens what is its own.
    let mut cases = shut();
    cases.push(closed(OPEN, Comes::ToNothing, unnamed("www.example.net")));
    cases.push(same("reach tcp api.example.net 8080 4", "93.184.216.11"));
    control(context, &cases)?;
    govern(context, OTHER, &cases)?;
    // The same policy: the name is to be asked for in each scope, and then is open.
    govern(context, POLICY, &shut())?;
    govern(context, POLICY, &[same(OPEN, WHERE), same(GO, WHERE)])?;

    // All the while it is open to the one, and what the others have opened is not.
    let after = one.finish(1)?;
    ensure(after == [said(WHERE), Outcome::Errno(EPERM)], || format!("one: {after:?}"))?;
    one.end()?;
    drop(network);
    Ok(())
}

/// The numbers of the scopes that the kernel programs know.
fn numbers() -> Result<BTreeSet<String>, Failure> {
    let mut numbers = BTreeSet::new();
    for set in fs::read_dir("/sys/fs/bpf/ringfence")? {
        for scope in fs::read_dir(set?.path().join("scopes"))? {
            numbers.insert(scope?.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(numbers)
}

fn successors(context: &mut Context) -> Result<(), Failure> {
    let network = Network::make(Client::Machine)?;
    control(context, &shut())?;
    let (open, go): ([String; 1], [String; 2]) =
        ([OPEN.into()], [GO.into(), "reach tcp api.example.net 8080 4".into()]);
    let [own, other] = [("own", POLICY), ("other", OTHER)]
        .map(|(name, text)| policy(context, &format!("{name}.yaml"), text));
    let (own, other) = (own?, other?);
    let mut problems = Vec::new();
    for is_killed in [false, true] {
        let name = |what: &str| format!("{what}-{is_killed}");
        let before = Parts::start(context, &name("before"), &[&open, &[]], |run| run.policy(&own));
        let mut before = before?;
        let opened = before.finish(0)?;
        ensure(opened == [said(WHERE)], || format!("before: {opened:?}"))?;
        let had = numbers()?;
        if is_killed {
            before.kill()?;
            before.finish(1)?;
            before.vanish()?;
        } else {
            before.begin(1)?;
            before.end()?;
        }

        let after = Parts::start(context, &name("after"), &[&[], &go], |run| run.policy(&other))?;
        after.finish(0)?;
        let has = numbers()?;
        if has != had {
            problems.push(format!("the scopes had the numbers {had:?}, and then {has:?}"));
        }
        let outcomes = after.finish(1)?;
        if outcomes != [Outcome::Errno(EPERM), said("93.184.216.11")] {
            problems.push(format!("killed before: {is_killed}; after: {outcomes:?}"));
        }
        after.end()?;
    }
    drop(network);
    Failure::of_all(problems)
}
