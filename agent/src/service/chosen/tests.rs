use std::collections::BTreeMap;

use ringfence_agent::pods::POLICY;
use ringfence_policy::{Source, configuration};

use super::*;

/// Rules of a configuration with these scopes' selectors and this rest, and the scopes that pods
/// may choose.
fn rules(scopes: &[&str], rest: &str) -> Result<Option<(Rules, Vec<configuration::Scope>)>> {
    let mut text = "agent: 1\nscopes:\n".to_owned();
    for (index, selector) in scopes.iter().enumerate() {
        text += &format!("  - {{ name: s{index}, policy: [a.yaml], match: [{selector}] }}\n");
    }
    let parsed = configuration::read(&Source::new("/etc/ringfence/agent.yaml", text + rest));
    let configuration = parsed.configuration.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    Rules::read(&configuration, &mut |_| {})
}

fn pod(labels: &[(&str, &str)], annotation: Option<&str>) -> Pod {
    let pairs = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Pod {
        uid: "1b4e28ba-2fa1-11d2-883f-000000000001".parse().unwrap(),
        namespace: "agents".into(),
        name: "coder-0".into(),
        labels: pairs.collect(),
        annotations: annotation
            .map(|name| (POLICY.to_owned(), name.to_owned()))
            .into_iter()
            .collect(),
        containers: BTreeMap::new(),
    }
}

fn named(name: &str) -> Option<Role> {
    Some(Role::Named(name.to_owned()))
}

const PODS: &str = "pods: { source: kubernetes }\n";

#[test]
fn the_first_scope_in_the_file_that_selects_a_container_has_it() {
    let scopes = [
        "{ pod: { labels: { app: coder }, container: main } }",
        "{ cgroup: /kubepods.slice/** }",
        "{ pod: { namespace: agents } }",
    ];
    let (rules, _) = rules(&scopes, PODS).unwrap().unwrap();
    let coder = pod(&[("app", "coder")], None);
    let other = pod(&[], None);
    let to = Belongs::To;
    let unknown = |why: &str| Belongs::Unknown(why.to_owned());
    let table = [
        (Some(&coder), named("main"), Some(1), to(0)),
        (Some(&coder), named("main"), None, to(0)),
        (Some(&coder), named("side"), Some(1), to(1)),
        (Some(&coder), named("side"), None, to(2)),
        (Some(&other), None, Some(1), to(1)),
        (Some(&other), None, None, to(2)),
        (Some(&other), Some(Role::Sandbox), None, Belongs::Nowhere),
        (Some(&other), Some(Role::Sandbox), Some(1), to(1)),
        (Some(&coder), None, Some(1), unknown("its name in the pod is not known")),
        (None, named("main"), Some(1), unknown("its pod is not known")),
        (None, named("main"), Some(0), to(0)),
    ];
    for (index, (pod, role, by_path, expected)) in table.into_iter().enumerate() {
        assert_eq!(rules.belongs(pod, || role, by_path), expected, "row {index}");
    }
}

#[test]
fn a_pod_that_no_scope_selects_may_choose_a_policy_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["coder.yaml", "b.yaml", "README", ".hidden.yaml", "bad name.yaml"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let rest = format!(
        "pods: {{ source: kubernetes, policies: {:?}, unidentified: allow }}\n",
        folder.path()
    );
    let (rules, scopes) = rules(&["{ pod: { labels: { app: coder } } }"], &rest).unwrap().unwrap();
    let names: Vec<&str> = scopes.iter().map(|scope| scope.name.as_str()).collect();
    assert_eq!(names, ["pod-b", "pod-coder"]);
    assert!(!rules.holds());
    let belongs =
        |labels, annotation| rules.belongs(Some(&pod(labels, annotation)), || named("main"), None);
    assert_eq!(belongs(&[], Some("coder")), Belongs::To(2));
    assert_eq!(belongs(&[("app", "coder")], Some("b")), Belongs::To(0));
    assert_eq!(belongs(&[], None), Belongs::Nowhere);
    for name in ["other", "../../etc/passwd", ""] {
        assert!(matches!(belongs(&[], Some(name)), Belongs::Unknown(_)), "{name}");
    }
}

#[test]
fn without_a_use_for_pods_there_are_no_rules() {
    let rest = "pods: { source: kubernetes }\n";
    assert!(rules(&["{ exe: /opt/a }"], rest).unwrap().is_none());
    assert!(rules(&["{ exe: /opt/a }"], "").unwrap().is_none());
    let rest = "pods: { source: kubernetes, policies: /nowhere/at/all }\n";
    let (rules, scopes) = rules(&["{ exe: /opt/a }"], rest).unwrap().unwrap();
    assert!(rules.holds() && scopes.is_empty());
}

#[test]
fn two_scopes_of_one_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("coder.yaml"), "").unwrap();
    let text = format!(
        "agent: 1\nscopes:\n  - {{ name: pod-coder, policy: [a.yaml], match: [{{ exe: /a }}] }}\n\
         pods: {{ source: kubernetes, policies: {:?} }}\n",
        folder.path()
    );
    let parsed = configuration::read(&Source::new("/etc/ringfence/agent.yaml", text));
    let error = Rules::read(&parsed.configuration.unwrap(), &mut |_| {}).map(drop).unwrap_err();
    assert!(error.to_string().contains("`pod-coder`"), "{error}");
}
