//! Runs the evasion catalogue: a test a family, its rows together.

mod scene;
mod server;
mod stage;

use ringfence_tests::catalogue::{End, FAMILIES, Family, Row};

use crate::{
    attack::{Attack, Case, as_refused, works},
    harness::{Context, Failure, Test},
};
use scene::Scene;
pub(crate) use server::{start_passing_listener, start_services};
pub(crate) use stage::programs;

/// All of them: the catalogue has as many families as there are tests here, or this does not
/// compile.
pub(crate) const TESTS: [Test; FAMILIES.len()] = [
    test::<0>(),
    test::<1>(),
    test::<2>(),
    test::<3>(),
    test::<4>(),
    test::<5>(),
    test::<6>(),
    test::<7>(),
    test::<8>(),
    test::<9>(),
    test::<10>(),
    test::<11>(),
    test::<12>(),
    test::<13>(),
    test::<14>(),
    test::<15>(),
    test::<16>(),
];

const fn test<const N: usize>() -> Test {
    (FAMILIES[N].test, |context| try_family(context, FAMILIES[N]))
}

fn try_family(context: &mut Context, family: &Family) -> Result<(), Failure> {
    let scene = Scene::set(context, family.stage)?;
    let mut cases: Vec<Case> = family.works.iter().map(|act| works(scene.fill(act))).collect();
    // Which cases are whose.
    let mut ranges = Vec::new();
    for row in family.rows {
        let from = cases.len();
        cases.extend(row.acts.iter().map(|act| case(context, row, scene.fill(act))));
        ranges.push(from..cases.len());
    }
    let attack = Attack { policy: family.policy, prepare: stage::of(family.stage), observe: true };
    let tried = attack.try_all(context, &cases)?;
    for (row, range) in family.rows.iter().zip(ranges) {
        let is_wrong = tried.problems.iter().any(|(number, _)| range.contains(number));
        let result = match (is_wrong, row.lacking_on(context.kernel), &row.end) {
            (true, ..) => "FAILED".to_owned(),
            (false, Some(why), _) => format!("– ({why})"),
            (false, None, End::Open(_)) => "not closed".to_owned(),
            (false, None, End::Refused(refusal)) if refusal.actions.is_empty() => "refused".into(),
            (false, None, End::Refused(refusal)) => {
                format!("refused ({}, {})", refusal.actions, refusal.reasons)
            }
        };
        context.row(format!("{}: {}: {result}", family.title, row.way));
    }
    drop(scene);
    tried.result()
}

/// An act of a row, and what must come of it here.
fn case(context: &Context, row: &Row, act: String) -> Case {
    let mut case = match row.end {
        End::Refused(refusal) => as_refused(act, refusal),
        End::Open(_) => works(act),
    };
    if let Some(errno) = row.control {
        case = case.control(errno);
    }
    match row.lacking_on(context.kernel) {
        Some(_) => case.impossible(),
        None => case,
    }
}
