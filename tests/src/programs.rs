//! Programs that people use, under a boundary that is meant for them: nothing is refused.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use crate::{
    harness::{Context, Failure, Test},
    ringfence::{Run, policy},
};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("a shell, coreutils, tar, Python and curl do their work without a refusal", programs)];

const POLICY: &str = r#"boundary: 1
files:
  - { path: "{room}/work", allow: [read] }
  - { path: "{room}/work/**", allow: [read, write] }
exec:
  - { path: "/usr/**", allow: true }
egress:
  - { cidr: "127.0.0.1/32", ports: [8080], protocol: tcp }
"#;

/// Runs a shell script in the workspace; it must end well, say `expected`, and meet no refusal.
fn must_work(context: &Context, script: &str, expected: &str) -> Result<(), Failure> {
    let work = context.room.join("work");
    fs::create_dir_all(&work)?;
    let text = POLICY.replace("{room}", &context.room.to_string_lossy());
    let file = policy(context, "policy.yaml", &text)?;
    let work = work.display();
    let script = format!("set -e; cd {work}; export TMPDIR={work} HOME={work}; {script}");
    let ended = Run::new(context, ["/bin/sh", "-c", &script]).policy(&file).end()?;
    let fail = |reason: &str| Err(Failure::new(reason).with(ended.said()));
    if ended.code() != 0 {
        return fail("it does not end well");
    }
    if ended.stdout.trim_end() != expected {
        return fail("it says something else");
    }
    if !ended.with_verdict("deny").is_empty() {
        return fail("something was refused");
    }
    Ok(())
}

const SHELL: &str = "
    printf 'b\\na\\nc\\n' | sort | tr a-z A-Z > list
    mkdir -p one/two && cp list one/two/ && mv one/two/list one/two/copy && ln -s copy one/two/link
    ln one/two/copy one/two/hard
    tar cf all.tar one && mkdir other && tar xf all.tar -C other
    find other -type f | wc -l | tr -d ' ' > count
    chmod 600 list && touch -d @0 list && rm -r one
    head -c 1000 /dev/urandom | cksum > /dev/null
    echo $(cat list) $(cat count) $(id -un) $(ls -a other/one/two | grep -c .)
    sleep 0.01 & wait
";

const PYTHON: &str = r#"
import concurrent.futures, json, os, sqlite3, subprocess, tempfile, threading, socket, hashlib
from multiprocessing.connection import Client, Listener
with tempfile.NamedTemporaryFile() as file:
    file.write(b"text"); file.flush()
    assert open(file.name, "rb").read() == b"text"
base = sqlite3.connect("base.sqlite")
base.execute("create table t (n integer)")
base.executemany("insert into t values (?)", [(n,) for n in range(100)])
base.commit()
assert base.execute("select sum(n) from t").fetchone()[0] == 4950
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(lambda n: n * n, range(10))) == 285
out = subprocess.run(["echo", "child"], capture_output=True, text=True).stdout
assert out == "child\n"
left, right = socket.socketpair(); left.send(b"x"); assert right.recv(1) == b"x"
for at in ("own.sock", "\0ringfence-own"):
    with Listener(at) as listener:
        client = threading.Thread(target=lambda: Client(at).send("x")); client.start()
        assert listener.accept().recv() == "x"; client.join()
os.rename("base.sqlite", "moved.sqlite")
hashlib.sha256(b"x").hexdigest(); json.dumps({})
print("fine")
"#;

fn programs(context: &mut Context) -> Result<(), Failure> {
    let (mut script, mut expected) = (SHELL.to_owned(), "A B C 2 root 5".to_owned());
    if fs::exists("/usr/bin/python3")? {
        script += &format!("python3 -c '{PYTHON}'\n");
        expected += "\nfine";
    } else {
        context.skip("Python", "there is no python3 here");
    }
    if fs::exists("/usr/bin/curl")? {
        serve()?;
        script += "curl -sS http://127.0.0.1:8080/\n";
        expected += "\nserved";
    } else {
        context.skip("curl", "there is no curl here");
    }
    must_work(context, &script, &expected)
}

/// Answers over HTTP.
fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nserved";
            // A client that went away is told of by the client's own failure.
            let _ = stream.read(&mut request).and_then(|_| stream.write_all(answer));
        }
    });
    Ok(())
}
