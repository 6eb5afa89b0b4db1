//! Questions as they are typed.

use clap::Parser;

use super::{super::TestArguments, *};

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    arguments: TestArguments,
}

/// The questions of a command line.
fn asks(words: &str) -> Result<Vec<Ask>, String> {
    let words = ["test", "a.yaml"].into_iter().chain(words.split_whitespace());
    let command = Command::try_parse_from(words).map_err(|error| error.to_string())?;
    let TestArguments { question, circumstances, .. } = command.arguments;
    question.asks(&circumstances).map_err(|error| error.to_string())
}

fn path(text: &str) -> AskedPath {
    AskedPath(text.into())
}

#[test]
fn each_option_is_a_question() {
    let rename = |is_folder, replaces, exchanges| Ask::Rename {
        old: path("/a"),
        new: path("/b"),
        is_folder,
        replaces,
        exchanges,
    };
    for (words, expected) in [
        ("--read /a", Ask::Path(Action::Read, Right::Read, path("/a"))),
        ("--list /a", Ask::Path(Action::Read, Right::Read, path("/a"))),
        ("--write /a", Ask::Path(Action::Write, Right::Write, path("/a"))),
        ("--create /a", Ask::Path(Action::Create, Right::Create, path("/a"))),
        ("--delete /a", Ask::Path(Action::Delete, Right::Delete, path("/a"))),
        ("--metadata /a", Ask::Path(Action::Metadata, Right::Metadata, path("/a"))),
        ("--device /a", Ask::Path(Action::Read, Right::Device, path("/a"))),
        ("--exec /a", Ask::Path(Action::Exec, Right::Exec, path("/a"))),
        ("--exec /a --first", Ask::FirstProgram(path("/a"))),
        ("--rename /a /b", rename(false, false, false)),
        ("--rename /a /b --folder --replaces", rename(true, true, false)),
        ("--rename /a /b --exchange", rename(false, false, true)),
        ("--link /a /b", Ask::Link { old: path("/a"), new: path("/b") }),
        ("--resolve a.example", Ask::Resolve("a.example".into())),
        ("--listen 8080", Ask::Listen(8080, Protocol::Tcp)),
        ("--listen 53 --udp", Ask::Listen(53, Protocol::Udp)),
        ("--connect-unix /a", Ask::ConnectUnix(UnixSocket::Path(path("/a")))),
        ("--connect-unix @a/b", Ask::ConnectUnix(UnixSocket::Abstract(b"a/b".to_vec()))),
        ("--capability chown", Ask::Capability(Capability(0))),
        ("--mount", Ask::Boundary(Action::Mount)),
        ("--namespace", Ask::Boundary(Action::Namespace)),
        ("--bpf", Ask::Boundary(Action::Bpf)),
        ("--terminal", Ask::Boundary(Action::Terminal)),
        ("--key", Ask::Boundary(Action::Key)),
        ("--kernel", Ask::Boundary(Action::Kernel)),
        ("--signal outside", Ask::Process(Action::Signal, Whereabouts::Outside)),
        ("--ptrace inside", Ask::Process(Action::Ptrace, Whereabouts::Inside)),
    ] {
        assert_eq!(asks(words), Ok(vec![expected]), "{words}");
    }
    let udp = asks("--connect 192.0.2.1:53 --udp").unwrap();
    assert!(matches!(udp.as_slice(), [Ask::Connect(_, Protocol::Udp)]), "{udp:?}");
    let sctp = asks("--socket sctp").unwrap();
    assert!(matches!(sctp.as_slice(), [Ask::Socket(kind)] if kind.protocol == 132), "{sctp:?}");
}

#[test]
fn several_questions_of_one_kind_keep_their_order() {
    let read = |text| Ask::Path(Action::Read, Right::Read, path(text));
    assert_eq!(asks("--read /b --read /a --list /c"), Ok(vec![read("/b"), read("/a"), read("/c")]));
    let link = |old, new| Ask::Link { old: path(old), new: path(new) };
    assert_eq!(asks("--link /a /b --link /c /d"), Ok(vec![link("/a", "/b"), link("/c", "/d")]));
}

#[test]
fn what_is_no_question_is_turned_away() {
    for words in [
        "",
        "--read /a --write /a",
        "--mount --bpf",
        "--rename /a",
        "--rename /a b",
        "--first",
        "--read /a --first",
        "--exec /a --folder",
        "--link /a /b --replaces",
        "--mount --exchange",
        "--read /a --udp",
        "--listen 0",
        "--listen 65536",
        "--socket token-ring",
        "--signal somewhere",
    ] {
        assert!(asks(words).is_err(), "{words}");
    }
}
