//! What one kernel has for others, since an emulated processor is slow: in a usual run each has its
//! share of the tests that take minutes, and none of these is about what differs between kernels; and
//! 6.12 leaves some subjects to itself in its strictest mode. In a full run each has all.

use ringfence_tests::catalogue::Kernel::{self, Linux6_1, Linux6_12, Linux7, Lockdown};

use crate::{
    budgets,
    harness::{Failure, Test, Tests},
    names, service,
};

/// What each of them is called, and the kernel that has it in a usual run.
const SHARES: &[(&str, Kernel)] = &[
    ("kill -9 of ringfence at any moment never leaves the command ungoverned", Linux6_1),
    ("budgets of the agent's scopes are counted through kills and reloads", Linux6_1),
    ("an agent with other programs takes over without a moment between", Linux6_12),
    ("a control group that is made while the agent looks at all is governed at once", Linux6_12),
    ("the next start removes what a killed one left, once its command is gone", Linux7),
    ("a boundary that allows everything changes no result of a file operation", Linux7),
    ("the first scope loads the programs, others share them, and none stay", Lockdown),
    ("a reload under load never mixes two policies", Lockdown),
    ("of ten thousand names in a minute most are refused, and others go on", Lockdown),
];

/// Whose it is in a usual run, if it is not this kernel's.
pub(crate) fn of_another(name: &str, kernel: Kernel) -> Option<&'static str> {
    let share = SHARES.iter().find(|share| share.0 == name).map(|share| share.1);
    let whose = share.or_else(|| is_of_strictest(name).then_some(Lockdown))?;
    let is_here = whose == kernel || (share.is_none() && kernel != Linux6_12);
    (!is_here).then(|| whose.name())
}

/// Whether a test is of a subject that is the same where the kernel gives away less of itself.
fn is_of_strictest(name: &str) -> bool {
    let names = names::tests();
    let subjects = names.iter().chain(budgets::TESTS).chain(service::TESTS);
    subjects.into_iter().any(|test| test.0 == name)
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
