use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::{
    stand_in::{PATIENCE, StandIn},
    *,
};
use crate::pods::{
    Health, Refused,
    testing::{id, uid},
};

/// So that tests do not wait for long.
const PACE: Pace = Pace {
    first: Duration::from_millis(2),
    most: Duration::from_millis(20),
    steady: Duration::from_secs(600),
    answer: Duration::from_secs(60),
    watch: Duration::from_secs(180),
};

/// What follows a stand-in.
struct Following {
    pods: Arc<Pods>,
    changes: mpsc::Receiver<Change>,
    task: JoinHandle<()>,
}

impl Following {
    async fn new(server: &StandIn) -> Self {
        Self::with(server, "http", PACE).await
    }

    async fn with(server: &StandIn, scheme: &str, pace: Pace) -> Self {
        let path = server.kubeconfig(scheme);
        let source = Source::of_kubeconfig("node-1", path).await.unwrap();
        let source = Source { pace, ..source };
        let pods = Arc::new(Pods::default());
        let (sender, changes) = mpsc::channel(1);
        let shared = Arc::clone(&pods);
        let task = tokio::spawn(async move { source.follow(&shared, &sender).await });
        Self { pods, changes, task }
    }

    async fn next(&mut self) -> Change {
        timeout(PATIENCE, self.changes.recv()).await.expect("nothing changed").expect("it ended")
    }

    /// The name of the pod that became known or changed next.
    async fn known(&mut self) -> String {
        match self.next().await {
            Change::Known(pod) => pod.name.clone(),
            other => panic!("{other:?}"),
        }
    }

    async fn ready(&mut self) {
        assert_eq!(self.next().await, Change::Ready);
    }

    /// Waits until the source's health is so.
    async fn until(&self, is_so: impl Fn(&Health) -> bool) {
        let wait = async {
            while !is_so(&self.pods.health()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{:?}", self.pods.health()));
    }
}

/// A pod as a server tells of it, with much that is not asked for.
fn pod(number: u16, name: &str, version: u32) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "agents", "uid": uid(number).to_string(),
            "resourceVersion": version.to_string(), "creationTimestamp": "2026-11-01T10:00:00Z",
            "generateName": null, "labels": { "app": "coder" },
            "annotations": { "ringfence.dev/policy": "coder", "example.com/notes": "x".repeat(9000) },
            "managedFields": [{ "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-01T10:00:01Z", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:status": { "f:phase": {} } } }],
        },
        "spec": {
            "nodeName": "node-1", "restartPolicy": "Always",
            "containers": [{ "name": "main", "image": "coder:1", "resources": {} }],
            "initContainers": [{ "name": "init", "image": "coder:1" }],
        },
        "status": { "phase": "Pending", "conditions": [], "qosClass": "BestEffort" },
    })
}

/// The pod, with its main container running.
fn running(number: u16, name: &str, version: u32, container: u16) -> Value {
    let mut pod = pod(number, name, version);
    pod["status"] = json!({
        "phase": "Running",
        "containerStatuses": [{ "name": "main", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{}", id(container)),
            "state": { "running": { "startedAt": "2026-11-01T10:00:02Z" } } }],
        "initContainerStatuses": [{ "name": "init", "containerID": "" }],
    });
    pod
}

fn gone() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 100 (200)", "reason": "Expired", "code": 410 })
}

#[tokio::test]
async fn pods_are_listed_and_then_watched() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    let mut over = pod(9, "over", 90);
    over["status"]["phase"] = "Succeeded".into();
    let head = server.lists("100", &[running(1, "a", 80, 11), over]).await;
    assert!(head.starts_with("GET /api/v1/pods?"), "{head}");
    assert!(head.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{head}");
    assert!(head.contains("resourceVersion=0"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer secret"), "{head}");
    assert_eq!(following.known().await, "a");
    following.ready().await;
    let found = following.pods.by_container(id(11)).unwrap();
    assert_eq!((found.0.uid, found.1.as_str()), (uid(1), "main"));
    assert_eq!(found.0.annotations.len(), 1);
    assert_eq!(following.pods.get(uid(9)), None);

    let mut watch = server.watches("100").await;
    assert!(watch.head.contains("allowWatchBookmarks=true"), "{}", watch.head);
    assert!(watch.head.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{}", watch.head);
    watch.event("ADDED", &pod(2, "b", 101)).await;
    assert_eq!(following.known().await, "b");
    let b = following.pods.get(uid(2)).unwrap();
    assert_eq!(b.containers, [("init".into(), None), ("main".into(), None)].into());
    // Of this nothing is asked for, and nothing is told.
    let mut same = pod(2, "b", 102);
    same["status"]["conditions"] = json!([{ "type": "Ready", "status": "False" }]);
    watch.event("MODIFIED", &same).await;
    watch.event("MODIFIED", &running(2, "b", 103, 12)).await;
    assert_eq!(following.known().await, "b");
    assert_eq!(following.pods.by_container(id(12)).unwrap().0.uid, uid(2));

    watch.event("DELETED", &running(2, "b", 104, 12)).await;
    watch.event("ADDED", &pod(3, "c", 105)).await;
    assert_eq!(following.known().await, "c");
    assert!(following.pods.get(uid(2)).is_some(), "its containers may still run");
    assert!(following.pods.no_containers(uid(2)));
    assert!(!following.pods.no_containers(uid(1)));
    let health = following.pods.health();
    assert_eq!((health.is_ready, health.pods, health.failures, health.refused), (true, 2, 0, 0));
    assert!(health.staleness(Instant::now()).is_some());
}

#[tokio::test]
async fn a_watch_goes_on_where_the_last_event_or_bookmark_was() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    server.lists("100", &[]).await;
    following.ready().await;
    let mut watch = server.watches("100").await;
    watch.event("ADDED", &pod(1, "a", 120)).await;
    assert_eq!(following.known().await, "a");
    // What is broken off in the middle of a line is not read.
    watch.text("{\"type\":\"DELETED\",\"object\":{\"metadata\":").await;
    drop(watch);
    let mut watch = server.watches("120").await;
    let bookmark = json!({ "kind": "Pod", "apiVersion": "v1",
        "metadata": { "resourceVersion": "150", "creationTimestamp": null },
        "spec": { "containers": null }, "status": {} });
    watch.event("BOOKMARK", &bookmark).await;
    watch.end().await;
    server.watches("150").await;
    assert!(following.pods.get(uid(1)).is_some());
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_listed_again() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    server.lists("100", &[pod(1, "a", 80), pod(2, "b", 81)]).await;
    assert_eq!((following.known().await, following.known().await), ("a".into(), "b".into()));
    following.ready().await;
    let mut watch = server.watches("100").await;
    watch.event("ERROR", &gone()).await;
    // It must not be older than what was known: no `resourceVersion=0`.
    let head = server.lists("200", &[pod(2, "b", 81), pod(3, "c", 190)]).await;
    assert!(!head.contains("resourceVersion="), "{head}");
    assert_eq!(following.known().await, "c");
    following.ready().await;
    assert!(following.pods.no_containers(uid(1)), "it was deleted meanwhile");
    assert!(!following.pods.no_containers(uid(2)));
    // The same, as an answer instead of an event.
    server.watches("200").await.end().await;
    server.next().await.answer("410 Gone", &gone().to_string()).await;
    server.lists("300", &[]).await;
    following.ready().await;
    assert!(following.pods.no_containers(uid(2)));
    server.watches("300").await;
    assert_eq!(following.pods.health().error, None);
    assert_eq!(following.pods.health().failures, 2);
}

#[tokio::test]
async fn a_server_that_goes_away_is_found_again() {
    let server = StandIn::start(0).await;
    let port = server.port();
    let mut following = Following::new(&server).await;
    server.lists("100", &[pod(1, "a", 80)]).await;
    assert_eq!(following.known().await, "a");
    following.ready().await;
    let watch = server.watches("100").await;
    let StandIn { listener, folder } = server;
    drop((listener, watch));
    following.until(|health| health.failures >= 3 && health.error.is_some()).await;
    let error = following.pods.health().error.unwrap();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(following.pods.get(uid(1)).is_some(), "what is known stays known");
    assert!(following.pods.health().is_ready);
    let server = StandIn::start(port).await;
    let mut watch = server.watches("100").await;
    watch.event("ADDED", &pod(2, "b", 101)).await;
    assert_eq!(following.known().await, "b");
    following.until(|health| health.error.is_none()).await;
    drop(folder);
}

#[tokio::test]
async fn what_cannot_be_read_makes_the_whole_be_listed_again() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    for (status, body) in [
        ("200 OK", "<html>captive portal</html>"),
        ("200 OK", "{\"items\":[]}"),
        ("200 OK", "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[7]}"),
        ("500 Internal Server Error", "etcd is away"),
    ] {
        server.next().await.answer(status, body).await;
    }
    server.lists("100", &[]).await;
    following.ready().await;
    let health = following.pods.health();
    assert_eq!((health.failures, health.pods), (4, 0));
    let nameless = json!({ "metadata": { "resourceVersion": "5" } }).to_string();
    let garbage = [
        "garbage\n".to_owned(),
        "\u{0}\u{1}\u{2}\n".to_owned(),
        "{\"type\":\"RENAMED\",\"object\":{}}\n".to_owned(),
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":[]}}\n".to_owned(),
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}\n".to_owned(),
        format!("{{\"type\":\"ADDED\",\"object\":{nameless}}}\ngarbage\n"),
    ];
    for (number, line) in (1..).zip(&garbage) {
        let mut watch = server.watches("100").await;
        watch.text(line).await;
        let head = server.lists("100", &[pod(number, "a", 80)]).await;
        assert!(!head.contains("resourceVersion="), "{line}: {head}");
        assert_eq!(following.known().await, "a");
        following.ready().await;
    }
    assert_eq!(following.pods.health().refused, 2);
    server.watches("100").await;
}

#[tokio::test]
async fn being_denied_access_is_told_and_tried_again() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "pods is forbidden:\nuser \"agent\" cannot list", "reason": "Forbidden",
        "code": 403 });
    server.next().await.answer("403 Forbidden", &status.to_string()).await;
    following.until(|health| health.error.is_some()).await;
    let error = following.pods.health().error.unwrap();
    assert_eq!(error, "403 Forbidden: pods is forbidden: user \"agent\" cannot list");
    let head = server.lists("100", &[]).await;
    assert!(head.contains("resourceVersion=0"), "{head}");
    following.ready().await;
    assert_eq!(following.pods.health().error, None);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let server = StandIn::start(0).await;
    let second = Duration::from_secs(1);
    let pace = Pace { answer: second, watch: second, ..PACE };
    let mut following = Following::with(&server, "http", pace).await;
    // Nothing comes, and then no more than a part.
    let first = server.next().await;
    let head = server.lists("100", &[]).await;
    assert!(head.contains("resourceVersion=0"), "{head}");
    following.ready().await;
    let watch = server.watches("100").await;
    assert!(watch.head.contains("timeoutSeconds=1"), "{}", watch.head);
    server.watches("100").await;
    assert_eq!(following.pods.health().failures, 2);
    drop((first, watch));
}

#[tokio::test]
async fn a_pod_that_does_not_fit_is_told() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    let mut large = pod(1, "a", 80);
    large["metadata"]["labels"]["app"] = "x".repeat(20_000).into();
    server.lists("100", &[large]).await;
    assert_eq!(following.next().await, Change::Refused(uid(1), Refused::TooLarge));
    following.ready().await;
    assert_eq!((following.pods.get(uid(1)), following.pods.health().refused), (None, 1));
}

#[tokio::test]
async fn a_static_pod_is_known_by_the_uid_of_its_cgroup() {
    const STATIC: &str = "0123456789abcdef0123456789abcdef";
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    let mirror = |number, name: &str, mirror: &str, hash: &str| {
        let mut pod = running(number, name, 80, number);
        pod["metadata"]["annotations"] = json!({
            "kubernetes.io/config.mirror": mirror, "kubernetes.io/config.hash": hash,
            "kubernetes.io/config.source": "file" });
        pod
    };
    let other = uid(7).to_string();
    // A pod of the API server cannot take another one's uid, nor half an annotation.
    let pods = [
        mirror(1, "static", STATIC, STATIC),
        mirror(2, "liar", &other, &other),
        mirror(3, "half", STATIC, "x"),
    ];
    server.lists("100", &pods).await;
    for name in ["static", "liar", "half"] {
        assert_eq!(following.known().await, name);
    }
    following.ready().await;
    let found = following.pods.get(STATIC.parse().unwrap()).unwrap();
    assert_eq!((found.name.as_str(), found.annotations.len()), ("static", 0));
    assert_eq!(following.pods.get(uid(1)), None);
    assert_eq!(following.pods.get(uid(7)), None);
    assert_eq!(following.pods.get(uid(2)).unwrap().name, "liar");
    // When its object is gone, so is the pod.
    let mut watch = server.watches("100").await;
    watch.event("DELETED", &pods[0]).await;
    watch.event("ADDED", &pod(4, "next", 101)).await;
    assert_eq!(following.known().await, "next");
    assert!(following.pods.no_containers(STATIC.parse().unwrap()));
}

#[tokio::test]
async fn a_pod_that_ends_for_good_is_taken_for_deleted() {
    let server = StandIn::start(0).await;
    let mut following = Following::new(&server).await;
    server.lists("100", &[running(1, "a", 80, 11)]).await;
    assert_eq!(following.known().await, "a");
    following.ready().await;
    let mut watch = server.watches("100").await;
    let mut over = running(1, "a", 101, 11);
    over["status"]["phase"] = "Failed".into();
    watch.event("MODIFIED", &over).await;
    watch.event("ADDED", &pod(2, "b", 102)).await;
    assert_eq!(following.known().await, "b");
    assert!(following.pods.get(uid(1)).is_some());
    assert!(following.pods.no_containers(uid(1)));
}

#[tokio::test]
async fn a_server_without_tls_where_it_is_asked_for_is_a_failure() {
    let server = StandIn::start(0).await;
    let following = Following::with(&server, "https", PACE).await;
    let (mut stream, _) = server.listener.accept().await.unwrap();
    let mut hello = [0; 1];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut hello).await.unwrap();
    assert_eq!(hello, [22], "a handshake");
    drop(stream);
    following.until(|health| health.error.is_some()).await;
}

#[tokio::test]
async fn following_ends_when_nobody_takes_the_changes() {
    let server = StandIn::start(0).await;
    let Following { changes, task, .. } = Following::new(&server).await;
    drop(changes);
    timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_source_needs_a_nodes_name_and_a_server() {
    let server = StandIn::start(0).await;
    let path = server.kubeconfig("http");
    for node in ["", "Node", "a,spec.x=y", "a b", "a/b", "x".repeat(254).as_str()] {
        let error = Source::of_kubeconfig(node, path.clone()).await.unwrap_err();
        assert!(matches!(error, AccessError::Node(_)), "{error}");
    }
    let error = Source::of_kubeconfig("node-1", "/nowhere/kubeconfig".into()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/kubeconfig"), "{error}");
    std::fs::write(&path, "clusters: 7").unwrap();
    assert!(Source::of_kubeconfig("node-1", path).await.is_err());
    assert_eq!(node_name("node-7"), "node-7");
    assert!(!node_name("").is_empty());
}

#[test]
fn errors_are_short_and_without_control_characters() {
    let error = bounded(&format!("a\u{1b}[2Jb\n{}", "ä".repeat(1000)));
    assert!(error.starts_with("a [2Jb ä"));
    assert_eq!(error.chars().count(), MAX_ERROR);
    assert!((0..100).all(|_| {
        let wait = jittered(PACE.most);
        wait >= PACE.most / 2 && wait <= PACE.most
    }));
}
