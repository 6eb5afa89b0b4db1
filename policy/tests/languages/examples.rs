//! The examples are valid, and decide as they say.

use std::path::Path;

use ringfence_common::{
    Address, Right, Verdict,
    egress::{self, Protocol},
    files::{self, Execution, Walker},
};
use ringfence_policy::{
    Document, PolicySet,
    compile::{Tables, compile},
    hosts, read_source,
};

use Protocol::{Tcp, Udp};
use Right::{Create, Delete, Exec, Metadata, Read, Write};
use Verdict::{Allow, Deny, Observe};

fn documents(names: &[&str]) -> Vec<Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let sources = names.iter().map(|name| read_source(&folder.join(name)).unwrap());
    let set = PolicySet::read(sources, None);
    assert!(!set.has_errors(), "{:#?}", set.findings);
    let together = set.findings.iter().filter(|finding| finding.code.starts_with("RF04"));
    assert_eq!(together.count(), 0, "{:#?}", set.findings);
    set.documents
}

fn tables(documents: &[Document]) -> Tables {
    let boundaries: Vec<_> = documents.iter().map(|document| document.boundary.clone()).collect();
    compile(&boundaries, &Default::default()).unwrap()
}

fn on_path(tables: &Tables, right: Right, path: &str) -> Verdict {
    let image = &*tables.image;
    let state = Walker::new(image).unwrap().walk(image, path.as_bytes());
    match right {
        Exec => {
            files::decide_exec(image, state, Execution { started: true, ..Execution::default() })
                .verdict
        }
        right => files::decide(image, state, right.bit()).verdict,
    }
}

fn on_address(tables: &Tables, address: [u8; 4], port: u16, protocol: Protocol) -> Verdict {
    egress::decide(&*tables.image, Address::v4(u32::from_be_bytes(address)), protocol, port).verdict
}

fn assert_paths(tables: &Tables, cases: &[(Right, &str, Verdict)]) {
    for (right, path, verdict) in cases {
        assert_eq!(on_path(tables, *right, path), *verdict, "{right:?} {path}");
    }
}

#[test]
fn the_sec0_coder_stays_in_its_folders_and_talks_to_its_hosts() {
    let documents = documents(&["sec0-coder.yaml"]);
    let tables = tables(&documents);
    assert_paths(
        &tables,
        &[
            (Write, "/tmp/sec0-a", Allow),
            (Create, "/tmp/sec0-a/b/c", Allow),
            (Exec, "/tmp/sec0-a/tool", Allow),
            (Read, "/tmp/sec0", Deny),
            (Read, "/tmp/SEC0-a", Deny),
            (Read, "/tmp/other", Deny),
            (Read, "/etc/shadow", Deny),
            (Read, "/etc/passwd", Allow),
            (Write, "/etc/passwd", Deny),
            (Exec, "/usr/bin/python3", Allow),
            (Write, "/usr/bin/python3", Deny),
            (Write, "/dev/null", Allow),
            (Metadata, "/dev/null", Deny),
        ],
    );
    assert_eq!(on_address(&tables, [192, 0, 2, 9], 80, Udp), Allow);
    assert_eq!(on_address(&tables, [198, 51, 100, 9], 443, Tcp), Deny);
    let boundaries = [documents[0].boundary.clone()];
    let to = |host, port| hosts::decide(&boundaries, host, port, Tcp).verdict;
    assert_eq!(to("api.example.com", 443), Allow);
    assert_eq!(to("API.example.com.", 443), Allow);
    assert_eq!(to("api.example.com", 80), Deny);
    assert_eq!(to("example.com", 443), Deny);
    assert_eq!(hosts::decide_lookup(&boundaries, "api.example.com").verdict, Allow);
    assert_eq!(hosts::decide_lookup(&boundaries, "evil.example").verdict, Deny);
}

#[test]
fn the_sec0_observer_refuses_nothing() {
    let tables = tables(&documents(&["sec0-observe.yaml"]));
    assert_paths(
        &tables,
        &[(Write, "/tmp/sec0-a", Allow), (Read, "/etc/shadow", Observe), (Exec, "/tmp/x", Observe)],
    );
    assert_eq!(on_address(&tables, [198, 51, 100, 9], 443, Tcp), Observe);
}

#[test]
fn the_secai_agent_reads_documents_and_writes_reports() {
    let tables = tables(&documents(&["secai-policy.yaml", "secai-agent.yaml"]));
    assert_paths(
        &tables,
        &[
            (Read, "/srv/documents", Allow),
            (Read, "/srv/documents/a.pdf", Allow),
            (Read, "/srv/documents/private/a.pdf", Deny),
            (Write, "/srv/documents/a.pdf", Deny),
            (Create, "/srv/reports/r.md", Allow),
            (Delete, "/srv/reports/r.md", Deny),
            (Read, "/srv/other", Deny),
            (Exec, "/usr/bin/ls", Deny),
        ],
    );
    assert_eq!(on_address(&tables, [127, 0, 0, 1], 80, Tcp), Deny);
}

#[test]
fn the_boundary_coder_works_in_its_folder_with_the_systems_programs() {
    let tables = tables(&documents(&["boundary-coder.yaml"]));
    assert_paths(
        &tables,
        &[
            (Read, "/srv/work", Allow),
            (Delete, "/srv/work/src/main.rs", Allow),
            (Read, "/srv/work/.git/hooks/pre-commit", Allow),
            (Create, "/srv/work/.git/hooks/pre-commit", Deny),
            (Write, "/srv/work/.git/config", Deny),
            (Exec, "/srv/work/built", Deny),
            (Exec, "/usr/bin/git", Allow),
            (Exec, "/usr/bin/sudo", Deny),
            (Exec, "/usr/lib/x86_64-linux-gnu/libc.so.6", Allow),
            (Read, "/home/user/.ssh/id_ed25519", Deny),
        ],
    );
    for (address, port, protocol, verdict) in [
        ([192, 0, 2, 1], 443, Tcp, Allow),
        ([192, 0, 2, 1], 443, Udp, Deny),
        ([192, 0, 2, 1], 80, Tcp, Deny),
        ([192, 0, 2, 66], 443, Tcp, Deny),
        ([127, 0, 0, 53], 53, Udp, Allow),
    ] {
        assert_eq!(on_address(&tables, address, port, protocol), verdict, "{address:?}:{port}");
    }
}

#[test]
fn the_demo_allows_its_folder_its_port_and_no_program_of_its_own() {
    let tables = tables(&documents(&["demo.yaml"]));
    assert_paths(
        &tables,
        &[
            (Write, "/tmp/ringfence-demo/work/a", Allow),
            (Exec, "/tmp/ringfence-demo/work/a", Deny),
            (Read, "/tmp/ringfence-demo/secret", Deny),
            (Exec, "/usr/bin/curl", Allow),
            (Exec, "/usr/local/bin/x", Allow),
        ],
    );
    assert_eq!(on_address(&tables, [127, 0, 0, 1], 8080, Tcp), Allow);
    assert_eq!(on_address(&tables, [127, 0, 0, 1], 8080, Udp), Deny);
    assert_eq!(on_address(&tables, [127, 0, 0, 1], 8081, Tcp), Deny);
    assert_eq!(on_address(&tables, [127, 0, 0, 2], 8080, Tcp), Deny);
}
