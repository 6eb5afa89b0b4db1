//! What of a server's answer is passed on.
//!
//! Records count only where they lead from the name that was asked for: along its aliases to the
//! records of the type. Whatever else stands in the message is dropped, wherever it stands.

use std::{mem::take, net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{HTTPS, SVCB},
    },
};
use ringfence_common::{Verdict, egress::Protocol};

use super::{
    Gate,
    query::{Query, text},
    reply::compose,
    service,
    special::is_special,
};

pub use super::reply::Reply;

/// Aliases that are followed. Chains in use have up to about eight.
const MAX_ALIASES: usize = 16;
/// Records of one answer that are passed on, and so addresses that one answer opens.
pub const MAX_RECORDS: usize = 128;
/// Shortest time that an answer is good for: a process must have the time to connect.
pub const MIN_TTL: u32 = 5;
/// Longest time that an answer is good for: a name that moves is asked for again.
pub const MAX_TTL: u32 = 3_600;
/// How long addresses stay reachable after the answer has run out, since programs keep addresses a
/// little longer than they may.
pub const GRACE: Duration = Duration::from_secs(60);

/// An answer that may be passed on, once its addresses are installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<G> {
    pub(super) code: ResponseCode,
    /// The aliases, and the records of the type, in the server's order.
    pub(super) records: Vec<Record>,
    /// The zone's record that says for how long there is nothing.
    pub(super) authority: Option<Record>,
    /// Each address among the records, and what it is given.
    pub addresses: Vec<(IpAddr, G)>,
    /// Special-use addresses that were met, and what became of them.
    pub special: Vec<(IpAddr, Verdict)>,
    /// How long the answer is good for, in seconds.
    pub ttl: u32,
}

/// An answer that cannot be right: its aliases go in a circle, or too far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless;

/// Reads a server's message: an answer to at most one question.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    // Looked at before room is made for as many questions as there are said to be.
    if bytes.get(4) != Some(&0) || bytes.get(5).is_none_or(|count| *count > 1) {
        return None;
    }
    let message = Message::from_vec(bytes).ok()?;
    let metadata = &message.metadata;
    let is_answer =
        metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Query;
    is_answer.then_some(message)
}

/// Takes from a server's answer what belongs to the question and what the policy lets through.
///
/// # Errors
///
/// When the aliases have no end.
pub fn check<G: Gate>(
    message: &Message,
    query: &Query,
    gate: &G,
) -> Result<Checked<G::Grants>, Endless> {
    let (mut records, end) = follow(message, query)?;
    let code = message.metadata.response_code;
    let mut checked = Checked {
        code,
        records: vec![],
        authority: None,
        addresses: vec![],
        special: vec![],
        ttl: 0,
    };
    let aliases = records.len();
    let mut is_filtered = false;
    if code == ResponseCode::NoError {
        for record in of_type(message, &end, query.record) {
            if records.len() - aliases == MAX_RECORDS {
                break;
            }
            match checked.filter(record, query, gate) {
                Some(record) => records.push(record),
                None => is_filtered = true,
            }
        }
    }
    let is_empty = records.len() == aliases;
    if is_empty && is_filtered {
        // Nothing is left of what there was: not what the zone says, so nothing to remember.
        records.clear();
    } else if is_empty {
        checked.authority = authority(message, &end);
    }
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    checked.ttl = ttl.clamp(MIN_TTL, MAX_TTL);
    for record in &mut records {
        record.ttl = checked.ttl;
        if record.name == query.name {
            record.name = query.name.clone();
        }
    }
    checked.records = records;
    Ok(checked)
}

impl<G> Checked<G> {
    /// The message that tells the process. Takes the records out; `None` if they cannot be
    /// written.
    pub fn reply(&mut self, query: &Query, protocol: Protocol) -> Option<Reply> {
        compose(query, protocol, self.code, take(&mut self.records), self.authority.take())
    }

    /// The record as a process may see it; `None` if it may not.
    fn filter(
        &mut self,
        record: &Record,
        query: &Query,
        gate: &impl Gate<Grants = G>,
    ) -> Option<Record> {
        let bound = |binding: &SVCB| {
            service::cleaned(binding, &record.name, |target| {
                let (host, is_plain) = text(target);
                is_plain && gate.ask(&host).verdict != Verdict::Deny
            })
        };
        let data = match &record.data {
            RData::A(address) => {
                self.reachable(address.0.into(), query, gate).then(|| record.data.clone())
            }
            RData::AAAA(address) => {
                self.reachable(address.0.into(), query, gate).then(|| record.data.clone())
            }
            RData::SVCB(binding) => bound(binding).map(RData::SVCB),
            RData::HTTPS(HTTPS(binding)) => {
                bound(binding).map(|binding| RData::HTTPS(HTTPS(binding)))
            }
            other => Some(other.clone()),
        };
        data.map(|data| Record::from_rdata(record.name.clone(), record.ttl, data))
    }

    /// Whether the process may be told an address, which is to be installed then.
    fn reachable(&mut self, address: IpAddr, query: &Query, gate: &impl Gate<Grants = G>) -> bool {
        if is_special(address) {
            let verdict = gate.special(&query.host, address);
            self.special.push((address, verdict));
            if verdict == Verdict::Deny {
                return false;
            }
        }
        let Some(grants) = gate.grants(&query.host, address) else { return false };
        self.addresses.push((address, grants));
        true
    }
}

/// The aliases from the name that was asked for, and the name at their end. A `DNAME` is dropped:
/// servers give the alias that follows from it beside it (RFC 6672, section 3.1).
fn follow(message: &Message, query: &Query) -> Result<(Vec<Record>, Name), Endless> {
    let mut aliases: Vec<Record> = vec![];
    let mut name = query.name.clone();
    while of_type(message, &name, query.record).next().is_none() {
        let Some(alias) = of_type(message, &name, RecordType::CNAME).next() else { break };
        let RData::CNAME(target) = &alias.data else { break };
        let is_known = target.0 == query.name || aliases.iter().any(|alias| alias.name == target.0);
        if is_known || aliases.len() == MAX_ALIASES {
            return Err(Endless);
        }
        name = target.0.clone();
        aliases.push(Record::from_rdata(alias.name.clone(), alias.ttl, alias.data.clone()));
    }
    Ok((aliases, name))
}

/// The records of a name and type in the answer section.
fn of_type<'m>(
    message: &'m Message,
    name: &Name,
    record: RecordType,
) -> impl Iterator<Item = &'m Record> {
    message.answers.iter().filter(move |one| {
        one.record_type() == record && one.dns_class == DNSClass::IN && one.name == *name
    })
}

/// The start-of-authority record of a zone that the name lies in.
fn authority(message: &Message, name: &Name) -> Option<Record> {
    let mut records = message.authorities.iter();
    let record = records.find(|record| {
        matches!(record.data, RData::SOA(_))
            && record.dns_class == DNSClass::IN
            && record.name.zone_of(name)
    })?;
    let ttl = record.ttl.min(MAX_TTL);
    Some(Record::from_rdata(record.name.clone(), ttl, record.data.clone()))
}

#[cfg(test)]
mod tests;
