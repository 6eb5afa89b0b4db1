//! What the name servers of the test network say. All that a policy of the tests allows lies below
//! `example.net`; `example.com` is the attacker's.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    dns::{A, AAAA, Answer, CNAME, Data, NO_ERROR, NO_SUCH_NAME, Question, Record, TXT},
    network::{FORBIDDEN, public, public_v6},
};

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As it should.
    Plain,
    /// By UDP only the notice that it does not fit.
    Cut,
    /// Not at all.
    Silent,
    /// Once it is let go ([`RELEASE`]).
    Held,
    /// Behind one with another number, which says something else.
    AfterForeign,
    /// With an address that the process must not see, of names that nobody asked for.
    Poisoned,
}

/// What is said of a name.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manner: Manner,
    ttl: u32,
    addresses: Vec<IpAddr>,
    /// The names between the one that is asked for and the one that has the addresses.
    chain: Vec<&'static str>,
}

impl Entry {
    fn of(addresses: Vec<IpAddr>) -> Self {
        Self { manner: Manner::Plain, ttl: 300, addresses, chain: Vec::new() }
    }

    /// One address of each family, which end in the same number.
    fn both(last: u8) -> Self {
        Self::of(vec![public(last), public_v6(last)])
    }

    fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

/// Addresses that no name may open: cloud metadata, this machine, an inner network.
pub(super) const INNER: [&str; 5] =
    ["169.254.169.254", "127.0.0.1", "10.66.0.1", "fd00:ec2::254", "::1"];

fn inner() -> Vec<IpAddr> {
    INNER.iter().filter_map(|text| text.parse().ok()).collect()
}

/// What is said of a name by the server with this address; `None` if there is no such name.
fn entry(name: &str, server: IpAddr) -> Option<Entry> {
    let (first, domain) = name.split_once('.')?;
    if domain == "example.com" || domain.ends_with(".example.com") {
        return Some(Entry::both(FORBIDDEN));
    }
    if domain != "example.net" {
        return None;
    }
    Some(match first {
        "www" => Entry::both(10),
        "api" => Entry::both(11),
        "unasked" => Entry::both(12),
        "brief" => Entry { ttl: 1, ..Entry::both(13) },
        "chain" => Entry {
            chain: vec!["edge.example.com", "a.edge.example.com", "b.edge.example.com"],
            ..Entry::both(14)
        },
        "poison" => Entry::both(15).manner(Manner::Poisoned),
        "guessed" => Entry::both(16).manner(Manner::AfterForeign),
        "cut" => Entry::both(17).manner(Manner::Cut),
        "silent" => Entry::both(18).manner(Manner::Silent),
        "late" => Entry::both(22).manner(Manner::Held),
        "release" => Entry::both(23),
        "mixed" => Entry::of([inner(), vec![public(19), public_v6(19)]].concat()),
        "rebind" => Entry::of(inner()),
        "v4" => Entry::of(vec![public(20)]),
        "v6" => Entry::of(vec![public_v6(21)]),
        // Each server says another thing, which shows who answered.
        "who" => match server {
            IpAddr::V4(address) => Entry::of(vec![public(address.octets()[3] + 100)]),
            IpAddr::V6(_) => Entry::of(vec![public(200)]),
        },
        "many" => Entry::of((100..130).map(public).collect()),
        "one" | "two" => Entry::both(40),
        "git" | "web" => Entry::of(vec![public(30), public_v6(30)]),
        other => {
            let (number, count) = other.strip_prefix("fill")?.split_once('-')?;
            let number = number.parse().ok()?;
            let addresses = (0..count.parse().ok()?).map(|nth| filling(number, nth)).collect();
            Entry { ttl: 3600, ..Entry::of(addresses) }.manner(Manner::Cut)
        }
    })
}

/// An address of the name `fill{number}-{count}`, which has as many as it says.
pub(crate) fn filling(number: u16, nth: u8) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(20, high, low, nth).into()
}

/// Asking for this name lets answers go that are held.
pub(super) const RELEASE: &str = "release.example.net";

/// Whether a question is answered only once that is let go.
pub(super) fn is_held(question: &Question, server: IpAddr) -> bool {
    entry(&question.name, server).is_some_and(|entry| entry.manner == Manner::Held)
}

/// The messages that answer a question, in their order.
pub(super) fn answers(question: &Question, server: IpAddr, by_tcp: bool) -> Vec<Vec<u8>> {
    let id = question.id();
    let Some(entry) = entry(&question.name, server) else {
        let answer = Answer { id, code: NO_SUCH_NAME, ..Answer::default() };
        return vec![answer.bytes(question)];
    };
    let mut answer = Answer { id, code: NO_ERROR, ..Answer::default() };
    answer.answers = records(question, &entry);
    let record = |name: &str, address| Record {
        name: name.to_owned(),
        ttl: entry.ttl,
        data: Data::Address(address),
    };
    let is_v4 = question.record == A;
    let forbidden = if is_v4 { public(FORBIDDEN) } else { public_v6(FORBIDDEN) };
    match entry.manner {
        Manner::Plain | Manner::Held => vec![answer.bytes(question)],
        Manner::Silent => Vec::new(),
        Manner::Cut if by_tcp => vec![answer.bytes(question)],
        Manner::Cut => {
            let cut = Answer { id, truncated: true, ..Answer::default() };
            vec![cut.bytes(question)]
        }
        Manner::AfterForeign => {
            let answers = vec![record(&question.name, forbidden)];
            let foreign = Answer { id: id ^ 1, answers, ..Answer::default() };
            vec![foreign.bytes(question), answer.bytes(question)]
        }
        Manner::Poisoned => {
            answer.additional = vec![
                record("www.example.net", forbidden),
                record(&question.name, forbidden),
                record("bank.example.com", forbidden),
            ];
            // In the answer itself, of another name.
            answer.answers.push(record("www.example.net", forbidden));
            vec![answer.bytes(question)]
        }
    }
}

/// The records of the type that is asked for, behind their aliases.
fn records(question: &Question, entry: &Entry) -> Vec<Record> {
    let mut owner = question.name.clone();
    let mut records = Vec::new();
    let mut add = |name: &str, data| {
        records.push(Record { name: name.to_owned(), ttl: entry.ttl, data });
    };
    for target in &entry.chain {
        add(&owner, Data::Alias((*target).to_owned()));
        owner = (*target).to_owned();
    }
    if question.record == TXT {
        // The other half of a tunnel.
        add(&owner, Data::Text("heard".to_owned()));
    }
    for address in &entry.addresses {
        let fits = match address {
            IpAddr::V4(_) => question.record == A,
            IpAddr::V6(_) => question.record == AAAA,
        };
        if fits {
            add(&owner, Data::Address(*address));
        }
    }
    let is_alias = question.record == CNAME;
    records.retain(|record| !is_alias || matches!(record.data, Data::Alias(_)));
    records
}
