//! Reading what a governed process asks.

use std::fmt::Write as _;

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};

/// Longest question that is read, in bytes: a name has 255, and padding options fill up the rest.
pub const MAX_QUERY: usize = 1_024;
/// Largest datagram that is sent and asked for, in bytes: it fits any path unfragmented.
pub(super) const MAX_DATAGRAM: u16 = 1_232;
/// Bytes of a message's header (RFC 1035, section 4.1.1).
pub(super) const HEADER: usize = 12;

/// The types of record that are asked for. The others carry nothing that a connection needs: of
/// `ANY` RFC 8482 lets a server refuse it, transfers give whole zones, and signatures are for the
/// trusted servers to check.
const FORWARDED: [RecordType; 11] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::HTTPS,
    RecordType::SVCB,
    RecordType::SRV,
    RecordType::MX,
    RecordType::TXT,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
];

/// A question that can be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub(super) id: u16,
    pub(super) recursion_desired: bool,
    /// The name in the letters that the process used.
    pub(super) name: Name,
    pub(super) record: RecordType,
    /// The longest datagram that the process takes, if it knows EDNS.
    pub(super) payload: Option<u16>,
    /// As [`super::Gate::ask`] wants it, with other bytes escaped.
    pub(super) host: String,
    /// Whether no byte had to be escaped.
    pub(super) is_plain: bool,
}

/// What cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// No question, and nothing to be said to it.
    Ignored,
    /// To be answered by this message.
    Answered(Vec<u8>),
}

impl Query {
    /// Reads a message: exactly one question of class IN, and nothing beside it but EDNS.
    ///
    /// # Errors
    ///
    /// When it is anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Err(Unreadable::Ignored) };
        let fault = |code| Err(Unreadable::Answered(fault(header, code)));
        if header[2] & RESPONSE != 0 {
            // Answering answers would make two resolvers talk to each other for ever.
            return Err(Unreadable::Ignored);
        }
        if header[2] & OPCODE != 0 {
            return fault(ResponseCode::NotImp);
        }
        // Looked at before anything is made room for: questions, answers, authorities, others.
        let is_question = header[4..10] == [0, 1, 0, 0, 0, 0] && header[10] == 0 && header[11] <= 1;
        if !is_question || header[2] & TRUNCATED != 0 || bytes.len() > MAX_QUERY {
            return fault(ResponseCode::FormErr);
        }
        let Ok(message) = Message::from_vec(bytes) else { return fault(ResponseCode::FormErr) };
        let [question] = message.queries.as_slice() else { return fault(ResponseCode::FormErr) };
        if !message.additionals.is_empty() || message.signature.is_some() {
            return fault(ResponseCode::FormErr);
        }
        let (host, is_plain) = text(&question.name);
        let query = Self {
            id: message.metadata.id,
            recursion_desired: message.metadata.recursion_desired,
            name: question.name.clone(),
            record: question.query_type,
            payload: message.edns.as_ref().map(|edns| edns.max_payload()),
            host,
            is_plain,
        };
        let refuse = |code| Err(Unreadable::Answered(super::reply::failure(&query, code)));
        if message.edns.is_some_and(|edns| edns.version() > 0) {
            return refuse(ResponseCode::BADVERS);
        }
        match question.query_class {
            DNSClass::IN if message.metadata.op_code == OpCode::Query => Ok(query),
            _ => refuse(ResponseCode::Refused),
        }
    }

    /// The name, in lower case and without the last dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether records of the type are asked for at all.
    pub(super) fn is_forwarded(&self) -> bool {
        FORWARDED.contains(&self.record)
    }
}

const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;

/// The answer to a message of which only the header is known.
fn fault(header: &[u8; HEADER], code: ResponseCode) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&header[..2]);
    reply[2] = RESPONSE | header[2] & (OPCODE | RECURSION_DESIRED);
    reply[3] = code.low();
    reply
}

/// A name in lower case, without the last dot, and whether it has only characters of host names.
/// A dot inside a label would look like two labels to a rule.
pub(super) fn text(name: &Name) -> (String, bool) {
    let mut text = String::with_capacity(name.len());
    let mut is_plain = true;
    for (i, label) in name.iter().enumerate() {
        if i > 0 {
            text.push('.');
        }
        for byte in label {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                text.push(char::from(byte.to_ascii_lowercase()));
            } else {
                is_plain = false;
                // Writing to a string does not fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    (text, is_plain)
}

#[cfg(test)]
mod tests;
