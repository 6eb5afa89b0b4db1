//! Pods from a real API server, which `tests/kubernetes/apiserver.sh` runs.
#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{process::Command, sync::Arc, time::Duration};

use ringfence_agent::pods::{Change, Pods, api::Source};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// For what must happen: a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(300);
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Runs the script that runs the server.
fn script(arguments: &[&str]) -> Vec<u8> {
    let script = std::env::var("RINGFENCE_APISERVER").expect("run tests/kubernetes/apiserver.sh");
    let mut words = script.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

/// Makes a pod, and returns it as the server has it.
fn make(name: &str, node: &str) -> Value {
    let pod = json!({
        "metadata": { "name": name, "labels": { "app": "coder" },
            "annotations": { "ringfence.dev/policy": "coder", "example.com/note": "x" } },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "coder:1" }] },
    });
    serde_json::from_slice(&script(&["ask", "POST", PODS, &pod.to_string()])).unwrap()
}

async fn known(changes: &mut mpsc::Receiver<Change>, name: &str) {
    let wait = async {
        loop {
            match changes.recv().await.expect("it ended") {
                Change::Known(pod) if pod.name == name => return,
                other => println!("{other:?}"),
            }
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{name} did not become known"));
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test]
#[ignore = "needs an API server: tests/kubernetes/apiserver.sh runs one"]
async fn a_real_server_tells_of_the_pods_of_a_node() {
    make("first", "node-1");
    make("elsewhere", "node-2");
    let source = Source::open("node-1").await.unwrap();
    let pods = Arc::new(Pods::default());
    let (sender, mut changes) = mpsc::channel(1);
    let shared = Arc::clone(&pods);
    let task = tokio::spawn(async move { source.follow(&shared, &sender).await });
    known(&mut changes, "first").await;
    let ready = timeout(PATIENCE, changes.recv()).await.unwrap();
    assert_eq!(ready, Some(Change::Ready));
    assert_eq!(pods.health().pods, 1, "{:?}", pods.health());

    // A pod that is made, and whose container runs.
    let uid = make("second", "node-1")["metadata"]["uid"].as_str().unwrap().parse().unwrap();
    known(&mut changes, "second").await;
    let pod = pods.get(uid).unwrap();
    assert_eq!(pod.containers, [("main".to_owned(), None)].into());
    assert_eq!(pod.policy(), Ok(Some("coder")));
    assert_eq!((pod.annotations.len(), pod.labels.len()), (1, 1));
    let id = "f00dfeed".repeat(8);
    let status = json!({ "status": { "phase": "Running", "containerStatuses": [{
        "name": "main", "containerID": format!("containerd://{id}"), "image": "coder:1",
        "imageID": "", "ready": true, "restartCount": 0 }] } });
    let path = format!("{PODS}/second/status");
    script(&["ask", "PATCH", &path, &status.to_string(), "application/merge-patch+json"]);
    known(&mut changes, "second").await;
    let (pod, name) = pods.by_container(id.parse().unwrap()).unwrap();
    assert_eq!((pod.uid, name.as_str()), (uid, "main"));

    // The server goes away, and comes back.
    script(&["stop"]);
    until(|| pods.health().failures > 1).await;
    println!("{:?}", pods.health());
    assert!(pods.get(uid).is_some());
    script(&["start"]);
    make("third", "node-1");
    known(&mut changes, "third").await;
    assert_eq!(pods.health().error, None);

    // A pod that is deleted stays known until its containers are gone.
    let path = format!("{PODS}/second?gracePeriodSeconds=0");
    script(&["ask", "DELETE", &path]);
    make("fourth", "node-1");
    known(&mut changes, "fourth").await;
    assert!(pods.get(uid).is_some());
    assert!(pods.no_containers(uid));
    assert_eq!(pods.get(uid), None);
    assert_eq!(pods.health().pods, 3);
    task.abort();
}
