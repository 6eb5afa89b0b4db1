use hickory_proto::{
    op::{Edns, MessageType, Query as Question},
    rr::{
        RData, Record,
        rdata::A,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use proptest::prelude::*;

use super::*;

fn question(name: &str) -> Message {
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message
}

fn record() -> Record {
    Record::from_rdata(Name::root(), 60, RData::A(A::new(1, 1, 1, 1)))
}

fn code(message: &Message) -> Option<ResponseCode> {
    code_of(&message.to_vec().unwrap())
}

/// The code that a message is answered with; `None` if it is ignored.
fn code_of(bytes: &[u8]) -> Option<ResponseCode> {
    match Query::parse(bytes) {
        Err(Unreadable::Answered(bytes)) => {
            let answer = Message::from_vec(&bytes).unwrap();
            assert_eq!(answer.metadata.message_type, MessageType::Response);
            assert!(answer.answers.is_empty());
            Some(answer.metadata.response_code)
        }
        Err(Unreadable::Ignored) => None,
        Ok(query) => panic!("was read: {query:?}"),
    }
}

#[test]
fn a_question_is_read_with_its_letters_kept_and_its_name_in_lower_case() {
    let mut message = question("Api.EXAMPLE.com.");
    message.metadata.recursion_desired = true;
    let query = Query::parse(&message.to_vec().unwrap()).unwrap();
    assert_eq!((query.id, query.recursion_desired), (4_711, true));
    assert_eq!((query.host(), query.is_plain), ("api.example.com", true));
    assert!(query.name.eq_case(&message.queries[0].name));
    assert_eq!(query.payload, None);
}

#[test]
fn what_is_no_single_question_is_answered_as_malformed() {
    let mut two = question("a.example.");
    two.add_query(two.queries[0].clone());
    let none = Message::new(1, MessageType::Query, OpCode::Query);
    let mut with_answer = question("a.example.");
    with_answer.add_answer(record());
    let mut with_authority = question("a.example.");
    with_authority.add_authority(record());
    let mut with_additional = question("a.example.");
    with_additional.add_additional(record());
    let mut truncated = question("a.example.");
    truncated.metadata.truncation = true;
    for message in [two, none, with_answer, with_authority, with_additional, truncated] {
        assert_eq!(code(&message), Some(ResponseCode::FormErr), "{message:?}");
    }
    let mut long = question("a.example.").to_vec().unwrap();
    assert!(Query::parse(&long).is_ok());
    long.resize(MAX_QUERY + 1, 0);
    assert_eq!(code_of(&long), Some(ResponseCode::FormErr));
}

#[test]
fn answers_and_fragments_are_ignored() {
    assert_eq!(code(&question("a.example.").into_response()), None);
    assert_eq!(code_of(&[0; HEADER - 1]), None);
    assert_eq!(code_of(&[]), None);
}

#[test]
fn other_operations_classes_and_versions_are_refused() {
    for (number, expected) in [(1, ResponseCode::NotImp), (5, ResponseCode::NotImp)] {
        let mut bytes = question("a.example.").to_vec().unwrap();
        bytes[2] |= number << 3;
        assert_eq!(code_of(&bytes), Some(expected), "operation {number}");
    }
    let mut chaos = question("version.bind.");
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(code(&chaos), Some(ResponseCode::Refused));
    let mut newer = question("a.example.");
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    // 16 has two names.
    assert_eq!(code(&newer).map(u16::from), Some(ResponseCode::BADVERS.into()));
}

#[test]
fn a_name_with_other_bytes_than_host_names_have_is_told_from_plain_ones() {
    for (labels, host) in [
        (vec![&b"a.example"[..], b"com"], "a\\x2eexample.com"),
        (vec![b"*", b"example", b"com"], "\\x2a.example.com"),
        (vec![b"a\0", b"com"], "a\\x00.com"),
        (vec!["ä".as_bytes(), b"com"], "\\xc3\\xa4.com"),
    ] {
        let name = Name::from_labels(labels).unwrap();
        assert_eq!(text(&name), (host.into(), false));
    }
    assert_eq!(text(&Name::root()), (String::new(), true));
    assert_eq!(
        text(&Name::from_ascii("_http._TCP.a-1.example.").unwrap()).0,
        "_http._tcp.a-1.example"
    );
}

#[test]
fn options_of_edns_do_not_matter() {
    let mut message = question("a.example.");
    let mut edns = Edns::new();
    edns.set_max_payload(4_096);
    edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), vec![1; 8]));
    message.set_edns(edns);
    let query = Query::parse(&message.to_vec().unwrap()).unwrap();
    assert_eq!(query.payload, Some(4_096));
}

proptest! {
    #[test]
    fn every_message_is_read_answered_by_a_message_or_ignored(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        is_question in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if is_question && bytes.len() >= HEADER {
            bytes[2..HEADER].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        if let Err(Unreadable::Answered(reply)) = Query::parse(&bytes) {
            prop_assert_eq!(&reply[..2], &bytes[..2]);
            prop_assert!(Message::from_vec(&reply).is_ok());
        }
    }

    #[test]
    fn a_question_that_is_printed_is_read_as_it_was(
        labels in prop::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..6),
        id in any::<u16>(),
        payload in prop::option::of(512..=u16::MAX),
    ) {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        let mut name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
        name.set_fqdn(true);
        message.add_query(Question::query(name.clone(), RecordType::AAAA));
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        let query = Query::parse(&message.to_vec().unwrap()).unwrap();
        prop_assert_eq!(query.id, id);
        prop_assert!(query.name.eq_case(&name));
        prop_assert_eq!(query.payload, payload);
        prop_assert_eq!(query.host, labels.join(".").to_ascii_lowercase());
        prop_assert!(query.is_plain);
    }
}
