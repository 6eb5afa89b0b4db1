//! What a governed process is answered.

use hickory_proto::{
    op::{Edns, Message, OpCode, Query as Question, ResponseCode},
    rr::Record,
};
use ringfence_common::egress::Protocol;

use super::query::{MAX_DATAGRAM, Query};

/// A message for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// As it is sent.
    pub bytes: Vec<u8>,
    /// Set when the records did not fit and were left out: the process is to ask by TCP.
    pub is_truncated: bool,
}

/// An answer without records.
pub(super) fn failure(query: &Query, code: ResponseCode) -> Vec<u8> {
    // A name of 255 bytes and EDNS fit in any message, and both could be read.
    empty(query, code).to_vec().unwrap_or_default()
}

/// An answer with records, as short as the way back asks for; `None` if it cannot be written.
pub(super) fn compose(
    query: &Query,
    protocol: Protocol,
    code: ResponseCode,
    answers: Vec<Record>,
    authority: Option<Record>,
) -> Option<Reply> {
    let mut message = empty(query, code);
    message.answers = answers;
    message.authorities.extend(authority);
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= limit(query, protocol) {
        return Some(Reply { bytes, is_truncated: false });
    }
    let mut message = empty(query, code);
    message.metadata.truncation = true;
    Some(Reply { bytes: message.to_vec().ok()?, is_truncated: true })
}

/// Longest answer, in bytes.
fn limit(query: &Query, protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => usize::from(u16::MAX),
        Protocol::Udp => query.payload.unwrap_or(0).clamp(512, MAX_DATAGRAM).into(),
    }
}

fn empty(query: &Query, code: ResponseCode) -> Message {
    let mut message = Message::response(query.id, OpCode::Query);
    message.metadata.recursion_desired = query.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_query(Question::query(query.name.clone(), query.record));
    if query.payload.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_DATAGRAM);
        message.set_edns(edns);
    }
    message
}
