//! Tests that take minutes on an emulated processor: in a usual run each kernel has its share of
//! them, in a full one all. None of them is about what differs between kernels.

use ringfence_tests::catalogue::Kernel::{self, Linux6_1, Linux6_12, Linux7, Lockdown};

use crate::harness::{Failure, Test, Tests};

/// What each of them is called, and the kernel that has it in a usual run.
const SHARES: &[(&str, Kernel)] = &[
    ("kill -9 of ringfence at any moment never leaves the command ungoverned", Linux6_1),
    ("budgets of the agent's scopes are counted through kills and reloads", Linux6_1),
    ("an agent with other programs takes over without a moment between", Linux6_12),
    ("the next start removes what a killed one left, once its command is gone", Linux7),
    ("a boundary that allows everything changes no result of a file operation", Linux7),
    ("the first scope loads the programs, others share them, and none stay", Lockdown),
    ("a reload under load never mixes two policies", Lockdown),
    ("of ten thousand names in a minute most are refused, and others go on", Lockdown),
];

/// Whose it is in a usual run, if it is not this kernel's.
pub(crate) fn of_another(name: &str, kernel: Kernel) -> Option<&'static str> {
    let (_, whose) = SHARES.iter().find(|share| share.0 == name)?;
    (*whose != kernel).then(|| whose.name())
}

/// A share of a test that is gone would be one that no kernel has.
pub(crate) const KNOWN: Test = ("every test that one kernel has for all is there", |_| {
    let tests: Tests = crate::tests();
    let is_there = |name: &str| tests.alone.iter().chain(&tests.others).any(|test| test.0 == name);
    let problems = SHARES.iter().filter(|share| !is_there(share.0));
    Failure::of_all(
        problems.map(|share| format!("there is no \u{201c}{}\u{201d}", share.0)).collect(),
    )
});
