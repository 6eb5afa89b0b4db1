//! A new name for a file never gives a right that its old name did not have.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{
    Decision, Reason, Right, Verdict,
    files::{Move, decide_link, decide_rename},
};
use ringfence_policy::{
    boundary::{Effect, GlobSyntax, Mode, Rights},
    compile::compile,
};

use crate::{
    boundaries::boundaries,
    support::{Dice, answer, nothing, walk, with_group, with_rule},
};

const CONTENT: [Right; 5] =
    [Right::Read, Right::Write, Right::Exec, Right::Metadata, Right::Device];

/// Kinds of renames; the states are filled in by [`decision`].
const FILE: Move = Move { old: 0, new: 0, is_folder: false, replaces: false, exchanges: false };
const REPLACING: Move = Move { replaces: true, ..FILE };
const FOLDER: Move = Move { is_folder: true, ..FILE };
const EXCHANGE: Move = Move { exchanges: true, ..FILE };

fn decision(image: &[u8], old: &[u8], new: &[u8], kind: Move) -> Decision {
    decide_rename(image, Move { old: walk(image, old), new: walk(image, new), ..kind })
}

fn verdict(image: &[u8], old: &[u8], new: &[u8], kind: Move) -> Verdict {
    decision(image, old, new, kind).verdict
}

/// Whether the new name gives what the old one has not: anything at all for an act that is
/// allowed, and what was truly refused for one that is only observed.
fn gains(image: &[u8], old: &[u8], new: &[u8], verdict: Verdict) -> Option<Right> {
    CONTENT.into_iter().find(|right| {
        let (before, after) = (answer(image, old, *right), answer(image, new, *right));
        match verdict {
            Verdict::Allow => after.verdict() < before.verdict(),
            Verdict::Observe => {
                before.verdict() == Verdict::Deny && after.verdict() < Verdict::Deny
            }
            Verdict::Deny => false,
        }
    })
}

#[test]
fn a_permitted_rename_or_link_widens_nothing() {
    let permitted = AtomicUsize::new(0);
    let config = ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() };
    TestRunner::new(config)
        .run(&(boundaries(), 1_u64..), |((boundaries, patterns), seed)| {
            let image = compile(&boundaries, &Default::default()).unwrap().image;
            let mut dice = Dice(seed);
            for _ in 0..100 {
                let (old, new) = (dice.path(&patterns), dice.path(&patterns));
                let (from, to) = (walk(&image, &old), walk(&image, &new));
                let shown = format!("{} to {}", old.escape_ascii(), new.escape_ascii());
                let link = decide_link(image.as_slice(), from, to).verdict;
                prop_assert_eq!(gains(&image, &old, &new, link), None, "link {}", &shown);
                for kind in [FILE, REPLACING, FOLDER, EXCHANGE] {
                    let rename = verdict(&image, &old, &new, kind);
                    let back = if kind.exchanges { rename } else { Verdict::Deny };
                    prop_assert_eq!(gains(&image, &old, &new, rename), None, "rename {}", &shown);
                    prop_assert_eq!(gains(&image, &new, &old, back), None, "swap {}", &shown);
                    permitted.fetch_add(usize::from(rename == Verdict::Allow), Relaxed);
                    for _ in 0..if kind.is_folder { 10 } else { 0 } {
                        let below = [b"/", dice.path(&patterns).as_slice()].concat();
                        let [old, new] =
                            [&old, &new].map(|path| [path.as_slice(), &below].concat());
                        let gained = gains(&image, &old, &new, rename);
                        prop_assert_eq!(gained, None, "{} below {}", &shown, below.escape_ascii());
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    let permitted = permitted.into_inner();
    println!("{permitted} permitted renames");
    assert!(permitted > 1000, "only {permitted} renames were permitted: nothing was tested");
}

/// An image that lets names come and go everywhere below /w, and gives `rights` for a pattern.
fn image(rights: Rights, pattern: &str) -> Vec<u8> {
    let names = Rights(Right::Create.bit() | Right::Delete.bit());
    let boundary = with_group(nothing("a.yaml"), Rights(0b11_1111), Mode::Enforce);
    let boundary = with_rule(boundary, Effect::Allow, names, GlobSyntax::Component, "/w/**");
    let boundary = with_rule(boundary, Effect::Allow, rights, GlobSyntax::Component, pattern);
    compile(&[boundary], &Default::default()).unwrap().image
}

#[test]
fn a_folder_is_not_renamed_to_where_it_could_be_listed() {
    let image = image(Rights::READ, "/w/open");
    let opened = decision(&image, b"/w/shut", b"/w/open", FOLDER);
    assert_eq!(opened.reason, Reason::RightsWidened);
    assert_eq!(verdict(&image, b"/w/shut", b"/w/other", FOLDER), Verdict::Allow);
}

#[test]
fn names_trade_places_only_when_neither_file_gains() {
    let image = image(Rights::READ, "/w/open");
    assert_eq!(verdict(&image, b"/w/open", b"/w/shut", EXCHANGE), Verdict::Deny);
    assert_eq!(verdict(&image, b"/w/shut", b"/w/open", EXCHANGE), Verdict::Deny);
    assert_eq!(verdict(&image, b"/w/shut", b"/w/other", EXCHANGE), Verdict::Allow);
}

#[test]
fn a_file_is_not_renamed_to_where_its_mode_could_be_changed() {
    let image = image(Rights(Right::Metadata.bit()), "/w/own/*");
    let rename = decision(&image, b"/w/a", b"/w/own/a", FILE);
    assert_eq!((rename.verdict, rename.reason), (Verdict::Deny, Reason::RightsWidened));
}

#[test]
fn the_strictest_of_the_refusals_that_a_new_name_lifts_counts() {
    let names = Rights(Right::Create.bit() | Right::Delete.bit());
    let boundary = with_group(nothing("a.yaml"), Rights::READ.and(names), Mode::Observe);
    let boundary = with_group(boundary, Rights::EXEC, Mode::Enforce);
    let boundary = with_rule(boundary, Effect::Allow, names, GlobSyntax::Component, "/w/**");
    let both = Rights::READ.and(Rights::EXEC);
    let boundary = with_rule(boundary, Effect::Allow, both, GlobSyntax::Component, "/w/bin/*");
    let image = compile(&[boundary], &Default::default()).unwrap().image;
    assert_eq!(verdict(&image, b"/w/a", b"/w/bin/a", FILE), Verdict::Deny);
}

#[test]
fn folders_under_equal_rules_may_be_renamed_though_the_rules_were_written_twice() {
    let names = Rights(Right::Create.bit() | Right::Delete.bit());
    let boundary = with_group(nothing("a.yaml"), names, Mode::Enforce);
    let boundary = with_rule(boundary, Effect::Allow, names, GlobSyntax::Component, "/w/**");
    let boundary = with_rule(boundary, Effect::Allow, names, GlobSyntax::Component, "/w/a/b/**");
    let image = compile(&[boundary], &Default::default()).unwrap().image;
    assert_eq!(verdict(&image, b"/w/a/b/c", b"/w/d", FOLDER), Verdict::Allow);
}
