//! A stand-in for an API server: each request is handed to the test, which answers it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// For what must happen: a test that waits longer has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The server.
pub(super) struct StandIn {
    pub(super) listener: TcpListener,
    pub(super) folder: tempfile::TempDir,
}

impl StandIn {
    /// One on loopback, at a free port or at this one.
    pub(super) async fn start(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(address).await.unwrap();
        Self { listener, folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// A file that says how to reach it, by `http` or `https`. It is there as long as the server.
    pub(super) fn kubeconfig(&self, scheme: &str) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: test\n  cluster:\n    server: \
             {scheme}://127.0.0.1:{}\nusers:\n- name: test\n  user:\n    token: secret\n\
             contexts:\n- name: test\n  context: {{ cluster: test, user: test }}\n\
             current-context: test\n",
            self.port()
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The next request.
    pub(super) async fn next(&self) -> Asked {
        let asked = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            Asked { head: String::from_utf8(head).unwrap(), stream }
        };
        timeout(PATIENCE, asked).await.expect("no request came")
    }

    /// The next request, which is for a list, answered with these pods.
    pub(super) async fn lists(&self, version: &str, pods: &[serde_json::Value]) -> String {
        let asked = self.next().await;
        assert!(!asked.is_watch(), "{}", asked.head);
        let list = serde_json::json!({
            "kind": "PodList", "apiVersion": "v1",
            "metadata": { "resourceVersion": version }, "items": pods,
        });
        asked.answer("200 OK", &list.to_string()).await
    }

    /// The next request, which is to watch from this version, answered.
    pub(super) async fn watches(&self, version: &str) -> Watched {
        let asked = self.next().await;
        assert!(asked.is_watch(), "{}", asked.head);
        assert!(asked.head.contains(&format!("resourceVersion={version}")), "{}", asked.head);
        asked.watch().await
    }
}

/// A request that waits for its answer.
pub(super) struct Asked {
    pub(super) head: String,
    stream: TcpStream,
}

impl Asked {
    pub(super) fn is_watch(&self) -> bool {
        self.head.contains("watch=true")
    }

    /// Answers, and returns the request.
    pub(super) async fn answer(mut self, status: &str, body: &str) -> String {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: \
             {length}\r\nConnection: close\r\n\r\n{body}"
        );
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.head
    }

    /// Begins to answer what asks for a stream of events.
    pub(super) async fn watch(mut self) -> Watched {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: \
                    chunked\r\nConnection: close\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await.unwrap();
        Watched { head: self.head, stream: self.stream }
    }
}

/// A stream of events, which breaks off when it is dropped.
pub(super) struct Watched {
    pub(super) head: String,
    stream: TcpStream,
}

impl Watched {
    /// Sends text as it is.
    pub(super) async fn text(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.stream.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// Sends an event.
    pub(super) async fn event(&mut self, kind: &str, object: &serde_json::Value) {
        let event = serde_json::json!({ "type": kind, "object": object });
        self.text(&format!("{event}\n")).await;
    }

    /// Ends it as the server does when the time is over.
    pub(super) async fn end(mut self) {
        self.stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
}
