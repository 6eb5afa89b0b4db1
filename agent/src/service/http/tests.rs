use std::{cell::Cell, future::pending};

use tokio::{
    net::UnixStream,
    sync::{Notify, Semaphore},
    task::LocalSet,
};

use super::*;

/// What a server with these limits says to some bytes, up to the end of the connection. The client
/// keeps its side open, so that the server ends it.
fn answer_to(limits: Limits, request: &[u8]) -> String {
    in_runtime(async {
        let (mut client, server) = UnixStream::pair().unwrap();
        spawn_local(converse(server, Rc::new(page), limits));
        client.write_all(request).await.unwrap();
        read_all(&mut client).await
    })
}

async fn page(path: &str) -> Option<Response> {
    match path {
        "/metrics" => Some(Response::page("text/plain; version=0.0.4", "a 1\n".to_owned())),
        "/never" => pending().await,
        _ => None,
    }
}

async fn read_all(client: &mut UnixStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

#[test]
fn a_request_gets_its_page_and_the_connection_is_closed() {
    let answer = answer_to(LIMITS, b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    for line in
        ["Content-Type: text/plain; version=0.0.4", "Content-Length: 4", "Connection: close"]
    {
        assert!(lines.contains(&line), "{head}");
    }
    assert_eq!(body, "a 1\n");
}

#[test]
fn every_request_gets_the_code_that_it_should() {
    for (request, code) in [
        ("GET /metrics HTTP/1.1\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
        ("GET /metrics?a=/b HTTP/1.1\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "200"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404"),
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("GET /%6detrics HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "405"),
        ("get /metrics HTTP/1.1\r\n\r\n", "405"),
        ("DELETE / HTTP/1.1\r\n\r\n", "405"),
        ("GET metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET http://a/metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET  /metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET /metrics HTTP/1.1 \r\n\r\n", "400"),
        ("GET /metrics\r\n\r\n", "400"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "400"),
        ("\r\n\r\n", "400"),
    ] {
        let answer = answer_to(LIMITS, request.as_bytes());
        assert_eq!(answer.split(' ').nth(1), Some(code), "{request:?}: {answer}");
    }
    let answer = answer_to(LIMITS, b"GET /\xff HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_method_that_there_is_not_is_told_which_there_is() {
    let answer = answer_to(LIMITS, b"PUT /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
}

#[test]
fn a_head_may_have_as_many_bytes_as_there_is_room_for() {
    let request = |length: usize| {
        let before = "GET /metrics HTTP/1.1\r\nX: ";
        format!("{before}{}\r\n\r\n", "x".repeat(length - before.len() - 4))
    };
    for (length, code) in [(LIMITS.head, "200"), (LIMITS.head + 1, "431")] {
        let answer = answer_to(LIMITS, request(length).as_bytes());
        assert_eq!(answer.split(' ').nth(1), Some(code), "{length}");
    }
}

#[test]
fn headers_without_end_are_not_read_without_end() {
    in_runtime(async {
        let (client, server) = UnixStream::pair().unwrap();
        spawn_local(converse(server, Rc::new(page), LIMITS));
        let (mut read, mut write) = client.into_split();
        let mut answer = String::new();
        let writes = async {
            write.write_all(b"GET /metrics HTTP/1.1\r\n").await?;
            loop {
                write.write_all(b"X: y\r\n").await?;
            }
        };
        let (written, read): (io::Result<()>, _) =
            tokio::join!(writes, read.read_to_string(&mut answer));
        let kind = written.unwrap_err().kind();
        assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
        // What was not read may end the connection before the answer is seen to the end.
        assert!(read.is_err() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    });
}

#[test]
fn a_client_that_asks_no_further_is_sent_away() {
    let patience = Duration::from_millis(20);
    let impatient = Limits { patience, ..LIMITS };
    for begun in ["", "GET /met", "GET /metrics HTTP/1.1\r\nHost: a\r\n"] {
        let answer = answer_to(impatient, begun.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 408 "), "{begun:?}: {answer}");
    }
}

#[test]
fn a_client_that_asks_byte_by_byte_is_answered() {
    in_runtime(async {
        let (mut client, server) = UnixStream::pair().unwrap();
        spawn_local(converse(server, Rc::new(page), LIMITS));
        for byte in b"GET /metrics HTTP/1.1\r\n\r\n" {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(read_all(&mut client).await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    in_runtime(async {
        let (mut client, server) = UnixStream::pair().unwrap();
        let much = async |_: &str| Some(Response::page("text/plain", "x".repeat(16 << 20)));
        let limits = Limits { patience: Duration::from_millis(20), ..LIMITS };
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        // Returns.
        converse(server, Rc::new(much), limits).await;
        let mut text = Vec::new();
        let read = client.read_to_end(&mut text).await;
        assert!(read.is_err() || text.len() < 16 << 20, "what was not read is not there");
    });
}

#[test]
fn a_page_that_is_never_made_is_given_up() {
    let impatient = Limits { patience: Duration::from_millis(20), ..LIMITS };
    let answer = answer_to(impatient, b"GET /never HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[test]
fn more_connections_than_places_wait_and_all_are_answered() {
    const MORE: usize = 7;
    in_runtime(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let limits = Limits { connections: 3, ..LIMITS };
        let (inside, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (came, gate) = (Rc::new(Notify::new()), Rc::new(Semaphore::new(0)));
        let respond = {
            let (inside, most) = (Rc::clone(&inside), Rc::clone(&most));
            let (came, gate) = (Rc::clone(&came), Rc::clone(&gate));
            async move |_: &str| {
                inside.set(inside.get() + 1);
                most.set(most.get().max(inside.get()));
                came.notify_one();
                let _open = gate.acquire().await.unwrap();
                inside.set(inside.get() - 1);
                Some(Response::ok())
            }
        };
        spawn_local(Socket::Unix(listener).accept(Rc::new(respond), limits));
        let mut clients = Vec::new();
        for _ in 0..limits.connections + MORE {
            let mut client = UnixStream::connect(&path).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            clients.push(client);
        }
        while inside.get() < limits.connections {
            came.notified().await;
        }
        // Others would come in now, if they could.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(inside.get(), limits.connections);
        gate.add_permits(1);
        for client in &mut clients {
            assert!(read_all(client).await.starts_with("HTTP/1.1 200 "));
            // Who has the answer goes, and makes room.
            client.shutdown().await.unwrap();
        }
        assert_eq!(most.get(), limits.connections);
    });
}

#[test]
fn an_address_and_a_path_can_be_served_and_given_up() {
    in_runtime(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        let listener = Listener::bind(&Metrics::Socket(path.clone())).unwrap();
        let endpoint = listener.serve(page);
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(read_all(&mut client).await.ends_with("\r\n\r\na 1\n"));
        drop(endpoint);
        assert!(!path.exists());

        let free = net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = Listener::bind(&Metrics::Address(free)).unwrap();
        let taken = Listener::bind(&Metrics::Address(free)).err().unwrap();
        assert!(format!("{taken:#}").contains(&free.to_string()), "{taken:#}");
        let _endpoint = listener.serve(page);
        let mut client = tokio::net::TcpStream::connect(free).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("\r\n\r\na 1\n"), "{text}");
    });
}
