//! Messages to and from name servers (RFC 1035), as much as the tests need. Written apart from the
//! product's library, so that what one reads wrongly the other need not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of record.
pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;

/// Codes of answers.
pub(crate) const NO_ERROR: u8 = 0;
pub(crate) const NO_SUCH_NAME: u8 = 3;

const INTERNET: u16 = 1;
const HEADER: usize = 12;
/// Flags in the third byte of the header.
const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    id: u16,
    /// In lower case, without the last dot.
    pub(crate) name: String,
    /// The type of record.
    pub(crate) record: u16,
    /// As it came: name in its own letters, type and class.
    section: Vec<u8>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Address(IpAddr),
    Alias(String),
    Text(String),
    /// Of a type that is not read.
    Other(u16),
}

/// A record: its owner, how long it is good for in seconds, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) id: u16,
    pub(crate) code: u8,
    pub(crate) truncated: bool,
    pub(crate) answers: Vec<Record>,
    /// What is beside the answer, where nothing should count.
    pub(crate) additional: Vec<Record>,
}

/// The name of a type, or its number.
pub(crate) fn type_called(name: &str) -> Option<u16> {
    match name {
        "A" => Some(A),
        "AAAA" => Some(AAAA),
        "TXT" => Some(TXT),
        "CNAME" => Some(CNAME),
        number => number.parse().ok(),
    }
}

impl Question {
    /// A question, with a number that the answer must have too.
    pub(crate) fn new(id: u16, name: &str, record: u16) -> Self {
        let mut section = encoded(name);
        section.extend(record.to_be_bytes());
        section.extend(INTERNET.to_be_bytes());
        Self { id, name: name.to_ascii_lowercase(), record, section }
    }

    /// The message that asks it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend([RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&self.section);
        bytes
    }

    /// Reads a message that asks one question.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || bytes[2] & RESPONSE != 0 || bytes[4..6] != [0, 1] {
            return None;
        }
        let mut at = HEADER;
        let name = name_at(bytes, &mut at)?.to_ascii_lowercase();
        let section = bytes.get(HEADER..at + 4)?.to_vec();
        let record = number(bytes, at)?;
        Some(Self { id: number(bytes, 0)?, name, record, section })
    }

    /// The number, to be put in an answer.
    pub(crate) const fn id(&self) -> u16 {
        self.id
    }
}

impl Answer {
    /// The message that answers a question.
    pub(crate) fn bytes(&self, question: &Question) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        let truncated = if self.truncated { TRUNCATED } else { 0 };
        bytes.extend([RESPONSE | RECURSION_DESIRED | truncated, 0x80 | self.code, 0, 1]);
        bytes.extend((self.answers.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend((self.additional.len() as u16).to_be_bytes());
        bytes.extend(&question.section);
        for record in self.answers.iter().chain(&self.additional) {
            bytes.extend(encoded(&record.name));
            let (kind, data) = match &record.data {
                Data::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
                Data::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
                Data::Alias(target) => (CNAME, encoded(target)),
                Data::Text(text) => (TXT, [&[text.len() as u8], text.as_bytes()].concat()),
                Data::Other(kind) => (*kind, Vec::new()),
            };
            bytes.extend(kind.to_be_bytes());
            bytes.extend(INTERNET.to_be_bytes());
            bytes.extend(record.ttl.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    /// Reads a message that answers.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || bytes[2] & RESPONSE == 0 {
            return None;
        }
        let mut at = HEADER;
        for _ in 0..number(bytes, 4)? {
            name_at(bytes, &mut at)?;
            at += 4;
        }
        let mut section = |count: u16| -> Option<Vec<Record>> {
            (0..count).map(|_| record_at(bytes, &mut at)).collect()
        };
        let answers = section(number(bytes, 6)?)?;
        section(number(bytes, 8)?)?;
        let additional = section(number(bytes, 10)?)?;
        let truncated = bytes[2] & TRUNCATED != 0;
        Some(Self { id: number(bytes, 0)?, code: bytes[3] & 0xf, truncated, answers, additional })
    }

    /// The code in words.
    pub(crate) fn code_name(&self) -> String {
        match self.code {
            0 => "noerror".into(),
            1 => "formerr".into(),
            2 => "servfail".into(),
            3 => "nxdomain".into(),
            5 => "refused".into(),
            other => format!("code {other}"),
        }
    }
}

impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Alias(name) => write!(f, "{name}"),
            Self::Text(text) => write!(f, "{text}"),
            Self::Other(kind) => write!(f, "type {kind}"),
        }
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The name at a place, which is moved behind it.
fn name_at(bytes: &[u8], at: &mut usize) -> Option<String> {
    let mut labels: Vec<String> = Vec::new();
    let mut place = *at;
    let mut end = None;
    // More than any name has: pointers in a circle end here.
    for _ in 0..256 {
        let length = usize::from(*bytes.get(place)?);
        match length {
            0 => {
                *at = end.unwrap_or(place + 1);
                return Some(labels.join("."));
            }
            1..=63 => {
                let label = bytes.get(place + 1..place + 1 + length)?;
                labels.push(String::from_utf8_lossy(label).into_owned());
                place += 1 + length;
            }
            _ => {
                end = end.or(Some(place + 2));
                place = usize::from(number(bytes, place)? & 0x3fff);
            }
        }
    }
    None
}

fn record_at(bytes: &[u8], at: &mut usize) -> Option<Record> {
    let name = name_at(bytes, at)?;
    let kind = number(bytes, *at)?;
    let ttl = u32::from_be_bytes(bytes.get(*at + 4..*at + 8)?.try_into().ok()?);
    let length = usize::from(number(bytes, *at + 8)?);
    let start = *at + 10;
    let data = bytes.get(start..start + length)?;
    *at = start + length;
    let data = match kind {
        A => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        AAAA => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        CNAME => Data::Alias(name_at(bytes, &mut start.clone())?),
        TXT => Data::Text(String::from_utf8_lossy(data.get(1..)?).into_owned()),
        other => Data::Other(other),
    };
    Some(Record { name, ttl, data })
}
