//! What `deploy/` says to Kubernetes and to systemd, held against what they and we understand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{ConfigMap, Namespace, PodSpec, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use ringfence_policy::{Source, configuration};
use serde_json::{Value, json};

use crate::run;

fn deploy(path: &str) -> PathBuf {
    run::root().join("deploy").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a file.
fn documents(path: &str) -> Vec<Value> {
    let read = |text: &str| serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{path}: {e}"));
    text(path).split("\n---\n").map(read).collect()
}

/// Every document below `kubernetes/`, with its file.
fn all() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for folder in ["kubernetes", "kubernetes/monitored"] {
        for entry in fs::read_dir(deploy(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".yaml") {
                let path = format!("{folder}/{name}");
                found.extend(documents(&path).into_iter().map(|one| (path.clone(), one)));
            }
        }
    }
    found
}

fn the(kind: &str, path: &str) -> Value {
    documents(path).into_iter().find(|one| one["kind"] == kind).unwrap()
}

/// What is left of a document that was read as a `T`: a field that `T` does not have is lost.
fn as_read<T: DeserializeOwned + Serialize>(document: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

fn understood(document: &Value) -> Result<(), String> {
    let read = match document["kind"].as_str().unwrap_or_default() {
        "Namespace" => as_read::<Namespace>(document),
        "ServiceAccount" => as_read::<ServiceAccount>(document),
        "ClusterRole" => as_read::<ClusterRole>(document),
        "ClusterRoleBinding" => as_read::<ClusterRoleBinding>(document),
        "ConfigMap" => as_read::<ConfigMap>(document),
        // A patch of a DaemonSet is none, but its pods are.
        "DaemonSet" if document["spec"].get("selector").is_none() => {
            let pods = &document["spec"]["template"]["spec"];
            return same(pods, &as_read::<PodSpec>(pods)?);
        }
        "DaemonSet" => as_read::<DaemonSet>(document),
        other => return Err(format!("{other} has no type here")),
    }?;
    same(document, &read)
}

fn same(given: &Value, read: &Value) -> Result<(), String> {
    if given == read { Ok(()) } else { Err(format!("{given} is read as {read}")) }
}

#[test]
fn kubernetes_understands_every_field_of_the_manifests() {
    let others = ["Kustomization", "PodMonitor"];
    let mut kinds = BTreeSet::new();
    for (path, document) in all() {
        let kind = document["kind"].as_str().unwrap().to_owned();
        if !others.contains(&kind.as_str()) {
            understood(&document).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");

    let mut misspelt = the("DaemonSet", "kubernetes/daemonset.yaml");
    misspelt["spec"]["template"]["spec"]["hostPid"] = json!(true);
    assert!(understood(&misspelt).unwrap_err().contains("hostPid"));
}

#[test]
fn kustomizations_name_every_file_and_no_other() {
    for folder in ["kubernetes", "kubernetes/monitored"] {
        let list = &documents(&format!("{folder}/kustomization.yaml"))[0];
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let patches = list["patches"].as_array().into_iter().flatten();
        let patches = Value::Array(patches.map(|patch| patch["path"].clone()).collect());
        let named: BTreeSet<_> =
            [names(&list["resources"]), names(&patches)].concat().into_iter().collect();
        let mut there: BTreeSet<_> = fs::read_dir(deploy(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml")
            .collect();
        if folder != "kubernetes" {
            there.insert("..".into());
        }
        assert_eq!(named, there, "{folder}");
    }
}

#[test]
fn the_agent_may_look_at_pods_and_do_nothing_else() {
    let role = the("ClusterRole", "kubernetes/access.yaml");
    let rules =
        json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] }]);
    assert_eq!(role["rules"], rules);
    let binding = the("ClusterRoleBinding", "kubernetes/access.yaml");
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let account = &binding["subjects"][0]["name"];
    assert_eq!(*account, the("ServiceAccount", "kubernetes/access.yaml")["metadata"]["name"]);
    let agent = the("DaemonSet", "kubernetes/daemonset.yaml");
    assert_eq!(agent["spec"]["template"]["spec"]["serviceAccountName"], *account);
}

#[test]
fn each_volume_is_mounted_and_each_mount_has_its_volume() {
    let agent = the("DaemonSet", "kubernetes/daemonset.yaml");
    let pod = &agent["spec"]["template"]["spec"];
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(names(&pod["volumes"]), names(&pod["containers"][0]["volumeMounts"]));
    for (path, place) in [("/sys/fs/bpf", "bpf"), ("/sys/fs/cgroup", "cgroup")] {
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == place).unwrap();
        assert_eq!(volume["hostPath"]["path"], path);
    }
}

#[test]
fn labels_and_ports_that_name_each_other_agree() {
    let agent = the("DaemonSet", "kubernetes/daemonset.yaml");
    let labels = &agent["spec"]["template"]["metadata"]["labels"];
    assert_eq!(agent["spec"]["selector"]["matchLabels"], *labels);
    let monitor = the("PodMonitor", "kubernetes/monitored/podmonitor.yaml");
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], *labels);
    let proxy = the("DaemonSet", "kubernetes/monitored/proxy.yaml");
    assert_eq!(proxy["metadata"]["name"], agent["metadata"]["name"]);
    let proxy = &proxy["spec"]["template"]["spec"]["containers"][0];
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["port"], proxy["ports"][0]["name"]);
    let listens = format!("--secure-listen-address=:{}", proxy["ports"][0]["containerPort"]);
    assert_eq!(proxy["args"][0], listens);
}

/// Asserts that there is nothing to say of a configuration.
fn is_right(name: &str, text: &str) -> configuration::Configuration {
    let parsed = configuration::read(&Source::new(name, text));
    let said: Vec<_> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{name}: {said:?}");
    parsed.configuration.unwrap()
}

#[test]
fn the_configurations_are_right_and_their_policies_too() {
    let map = the("ConfigMap", "kubernetes/configuration.yaml");
    let files: BTreeMap<String, String> = serde_json::from_value(map["data"].clone()).unwrap();
    let agent = is_right("agent.yaml", &files["agent.yaml"]);
    for policy in agent.scopes.iter().flat_map(|scope| &scope.policies) {
        let text = &files[policy.to_str().unwrap()];
        let parsed = ringfence_policy::parse(&Source::new("policy", text.as_str()), None);
        let errors: Vec<_> = parsed.diagnostics.iter().filter(|one| one.is_error()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", policy.display());
    }
    assert!(text("kubernetes/monitored/proxy.yaml").contains("127.0.0.1:9464"));
    assert!(files["agent.yaml"].contains("metrics: 127.0.0.1:9464"));

    is_right("appliance", &text("systemd/secure-ai-ringfence.yaml"));
}

/// The lines of a unit that are settings.
fn settings(path: &str) -> Vec<String> {
    let text = text(path);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn the_appliances_unit_differs_from_the_other_in_places_alone() {
    let (usual, appliance) =
        (settings("systemd/ringfence.service"), settings("systemd/secure-ai-ringfence.service"));
    let differ = |these: &[String], those: &[String]| -> Vec<String> {
        let keys = these.iter().filter(|line| !those.contains(line));
        keys.map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect()
    };
    let places = [
        "Before",
        "ConfigurationDirectory",
        "ConfigurationDirectoryMode",
        "Description",
        "ExecStart",
        "LogsDirectory",
        "LogsDirectoryMode",
        "ReadOnlyPaths",
        "ReadWritePaths",
    ];
    let all = [differ(&usual, &appliance), differ(&appliance, &usual)].concat();
    assert!(!all.is_empty());
    assert!(all.iter().all(|key| places.contains(&key.as_str())), "{all:?}");
}
