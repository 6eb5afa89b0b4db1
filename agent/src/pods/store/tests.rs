use super::*;
use crate::pods::testing::{id, pod, uid};

fn with_container(number: u16, name: &str, container: u16) -> Pod {
    let containers = [("main".to_owned(), Some(id(container)))].into();
    Pod { containers, ..pod(number, name) }
}

#[test]
fn a_pod_is_found_by_its_uid_and_by_its_containers() {
    let pods = Pods::fixed([with_container(1, "a", 11), with_container(2, "b", 12)]).unwrap();
    assert_eq!(pods.get(uid(1)).unwrap().name, "a");
    assert_eq!(pods.get(uid(3)), None);
    let (found, name) = pods.by_container(id(12)).unwrap();
    assert_eq!((found.name.as_str(), name.as_str()), ("b", "main"));
    assert_eq!(pods.by_container(id(13)), None);
    let health = pods.health();
    assert!(health.is_ready);
    assert_eq!((health.pods, health.staleness(Instant::now())), (2, None));
}

#[test]
fn a_change_is_told_and_the_same_again_is_not() {
    let pods = Pods::default();
    let first = with_container(1, "a", 11);
    assert_eq!(pods.apply(uid(1), first.clone()), Some(Change::Known(first.clone().into())));
    assert_eq!(pods.apply(uid(1), first), None);
    let second = with_container(1, "a", 12);
    assert_eq!(pods.apply(uid(1), second.clone()), Some(Change::Known(second.into())));
    assert_eq!(pods.by_container(id(11)), None);
    assert!(!pods.health().is_ready);
}

#[test]
fn a_deleted_pod_stays_known_for_a_minute_or_until_its_containers_are_gone() {
    let pods = Pods::default();
    let start = Instant::now();
    pods.apply(uid(1), pod(1, "a"));
    pods.apply(uid(2), pod(2, "b"));
    assert!(!pods.no_containers(uid(1)), "it was not deleted");
    pods.delete(uid(1), start);
    pods.delete(uid(2), start);
    // That it is told twice does not begin the minute anew.
    pods.delete(uid(1), start + GRACE / 2);
    assert_eq!(pods.sweep(start + GRACE - Duration::from_millis(1)), []);
    assert!(pods.get(uid(1)).is_some());
    assert!(pods.no_containers(uid(2)));
    assert_eq!(pods.get(uid(2)), None);
    assert_eq!(pods.sweep(start + GRACE), [Change::Gone(uid(1))]);
    assert_eq!(pods.get(uid(1)), None);
}

#[test]
fn a_pod_that_is_missing_from_a_list_was_deleted_and_one_that_is_back_was_not() {
    let pods = Pods::default();
    let start = Instant::now();
    pods.apply(uid(1), pod(1, "a"));
    pods.apply(uid(2), pod(2, "b"));
    pods.listed(&[uid(2)].into(), start);
    assert!(pods.health().is_ready);
    pods.delete(uid(2), start);
    assert!(pods.apply(uid(2), pod(2, "b")).is_some(), "it is told that it is back");
    assert_eq!(pods.sweep(start + GRACE), [Change::Gone(uid(1))]);
    assert!(pods.get(uid(2)).is_some());
}

#[test]
fn two_that_claim_one_identity_are_neither() {
    let pods = Pods::default();
    let start = Instant::now();
    // As static pods are told of: by objects with uids of their own.
    pods.apply(uid(1), with_container(9, "a", 11));
    pods.apply(uid(2), with_container(9, "b", 11));
    assert_eq!(pods.get(uid(9)), None);
    assert_eq!(pods.by_container(id(11)), None);
    // The one that is left counts, also while the other is only about to leave.
    pods.delete(uid(1), start);
    assert_eq!(pods.get(uid(9)).unwrap().name, "b");
    assert_eq!(pods.by_container(id(11)).unwrap().0.name, "b");
    pods.delete(uid(2), start);
    assert_eq!(pods.get(uid(9)), None);
    // Two that are known, beside one that was deleted, are two.
    pods.apply(uid(2), with_container(9, "b", 11));
    pods.apply(uid(3), with_container(9, "c", 11));
    assert_eq!(pods.get(uid(9)), None);
}

#[test]
fn what_does_not_fit_is_refused_and_is_not_known_by_what_it_was() {
    let pods = Pods::default();
    pods.apply(uid(1), pod(1, "a"));
    let mut large = pod(1, "a");
    large.labels.insert("app".into(), "x".repeat(MAX_TEXT));
    let refused = Change::Refused(uid(1), Refused::TooLarge);
    assert_eq!(pods.apply(uid(1), large), Some(refused));
    assert_eq!(pods.get(uid(1)), None);
    for number in 0..u16::try_from(MAX_PODS).unwrap() {
        assert!(matches!(pods.apply(uid(number), pod(number, "a")), Some(Change::Known(_))));
    }
    let refused = Change::Refused(uid(u16::MAX), Refused::TooMany);
    assert_eq!(pods.apply(uid(u16::MAX), pod(u16::MAX, "a")), Some(refused));
    // One that is there already may still change.
    assert!(matches!(pods.apply(uid(7), pod(7, "b")), Some(Change::Known(_))));
    assert_eq!(pods.health().refused, 2);
    assert_eq!(pods.health().pods, MAX_PODS);
}

#[test]
fn a_failure_is_told_until_the_source_is_heard_again() {
    let pods = Pods::default();
    let start = Instant::now();
    assert_eq!(pods.health().staleness(start), None);
    pods.failed("no route".into());
    assert_eq!(pods.health().error.as_deref(), Some("no route"));
    pods.heard(start);
    let health = pods.health();
    assert_eq!((health.error.as_deref(), health.failures), (None, 1));
    assert_eq!(health.staleness(start + GRACE), Some(GRACE));
    assert_eq!(health.refused, 0);
    pods.refused();
    assert_eq!(pods.health().refused, 1);
}
