use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::{
    op::Query as Question,
    rr::rdata::{A, AAAA, CNAME, SOA},
};
use proptest::prelude::*;
use ringfence_policy::hosts::HostDecision;

use super::*;

/// Opens every address but one, and lists one private address itself.
struct Opens;

const CLOSED: Ipv4Addr = Ipv4Addr::new(4, 4, 4, 4);
const LISTED: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

impl Gate for Opens {
    type Grants = ();

    fn ask(&self, _: &str) -> HostDecision {
        HostDecision { verdict: Verdict::Deny, place: None }
    }

    fn grants(&self, name: &str, address: IpAddr) -> Option<()> {
        assert_eq!(name, "a.example", "grants are for the name that was asked for");
        (address != IpAddr::V4(CLOSED)).then_some(())
    }

    fn special(&self, _: &str, address: IpAddr) -> Verdict {
        if address == IpAddr::V4(LISTED) { Verdict::Allow } else { Verdict::Deny }
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn query(record: RecordType) -> Query {
    let mut message = Message::query();
    message.add_query(Question::query(name("A.example."), record));
    Query::parse(&message.to_vec().unwrap()).unwrap()
}

fn v4(owner: &str, ttl: u32, address: impl Into<Ipv4Addr>) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(address.into())))
}

fn alias(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::CNAME(CNAME(name(target))))
}

fn soa(zone: &str) -> Record {
    let soa = SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, 5);
    Record::from_rdata(name(zone), 86_400, RData::SOA(soa))
}

fn answer(answers: Vec<Record>) -> Message {
    let mut message = Message::query().into_response();
    message.add_query(Question::query(name("a.EXAMPLE."), RecordType::A));
    message.insert_answers(answers);
    message
}

fn checked(answers: Vec<Record>) -> Checked<()> {
    check(&answer(answers), &query(RecordType::A), &Opens).unwrap()
}

fn addresses(checked: &Checked<()>) -> Vec<String> {
    checked.addresses.iter().map(|(address, ())| address.to_string()).collect()
}

#[test]
fn addresses_at_the_end_of_aliases_are_passed_on_in_their_order() {
    let checked = checked(vec![
        v4("c.example.", 30, [8, 8, 8, 8]),
        alias("b.example.", "C.example."),
        v4("c.example.", 60, [1, 1, 1, 1]),
        alias("a.example.", "b.example."),
    ]);
    assert_eq!(addresses(&checked), ["8.8.8.8", "1.1.1.1"]);
    let owners: Vec<_> = checked.records.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(owners, ["A.example.", "b.example.", "c.example.", "c.example."]);
    assert!(checked.records.iter().all(|record| record.ttl == 30));
}

#[test]
fn records_that_do_not_belong_to_the_name_are_dropped() {
    let mut message = answer(vec![
        v4("evil.example.", 60, [6, 6, 6, 6]),
        v4("a.example.", 60, [1, 1, 1, 1]),
        alias("evil.example.", "a.example."),
        Record::from_rdata(name("a.example."), 60, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
    ]);
    let mut chaos = v4("a.example.", 60, [6, 6, 6, 7]);
    chaos.dns_class = DNSClass::CH;
    message.add_answer(chaos);
    message.add_authority(v4("a.example.", 60, [6, 6, 6, 8]));
    message.add_additional(v4("a.example.", 60, [6, 6, 6, 9]));
    let checked = check(&message, &query(RecordType::A), &Opens).unwrap();
    assert_eq!(addresses(&checked), ["1.1.1.1"]);
    assert_eq!(checked.records.len(), 1);
    assert_eq!(checked.authority, None);
}

#[test]
fn aliases_without_an_end_make_no_answer() {
    let circle = vec![alias("a.example.", "b.example."), alias("b.example.", "a.example.")];
    assert_eq!(check(&answer(circle), &query(RecordType::A), &Opens), Err(Endless));
    let inner = vec![
        alias("a.example.", "b.example."),
        alias("b.example.", "c.example."),
        alias("c.example.", "B.example."),
    ];
    assert_eq!(check(&answer(inner), &query(RecordType::A), &Opens), Err(Endless));
    for (aliases, is_answered) in [(MAX_ALIASES, true), (MAX_ALIASES + 1, false)] {
        let owner = |i| if i == 0 { "a.example.".to_owned() } else { format!("n{i}.example.") };
        let mut records: Vec<_> = (0..aliases).map(|i| alias(&owner(i), &owner(i + 1))).collect();
        records.push(v4(&owner(aliases), 60, [1, 1, 1, 1]));
        let checked = check(&answer(records), &query(RecordType::A), &Opens);
        assert_eq!(checked.is_ok(), is_answered, "{aliases}");
    }
}

#[test]
fn special_addresses_are_dropped_unless_they_are_listed() {
    let checked = checked(vec![
        v4("a.example.", 60, [127, 0, 0, 1]),
        v4("a.example.", 60, LISTED),
        v4("a.example.", 60, [169, 254, 169, 254]),
        v4("a.example.", 60, CLOSED),
        v4("a.example.", 60, [1, 1, 1, 1]),
    ]);
    assert_eq!(addresses(&checked), ["10.9.9.9", "1.1.1.1"]);
    assert_eq!(checked.records.len(), 2);
    let met: Vec<_> = checked.special.iter().map(|(address, _)| address.to_string()).collect();
    assert_eq!(met, ["127.0.0.1", "10.9.9.9", "169.254.169.254"]);
}

#[test]
fn when_nothing_is_left_the_answer_is_empty_and_not_to_be_remembered() {
    let mut message =
        answer(vec![alias("a.example.", "b.example."), v4("b.example.", 60, [10, 0, 0, 1])]);
    message.add_authority(soa("example."));
    let mut checked = check(&message, &query(RecordType::A), &Opens).unwrap();
    assert_eq!(checked.code, ResponseCode::NoError);
    assert!(checked.records.is_empty() && checked.addresses.is_empty());
    let reply = checked.reply(&query(RecordType::A), Protocol::Udp).unwrap();
    let reply = Message::from_vec(&reply.bytes).unwrap();
    assert!(reply.answers.is_empty() && reply.authorities.is_empty());
}

#[test]
fn nothing_is_passed_on_with_the_record_of_its_zone_and_of_no_other() {
    for (code, zone, is_kept) in [
        (ResponseCode::NXDomain, "example.", true),
        (ResponseCode::NoError, "b.example.", true),
        (ResponseCode::NoError, ".", true),
        (ResponseCode::NXDomain, "a.example.", false),
        (ResponseCode::NXDomain, "evil.", false),
    ] {
        let mut message = answer(vec![alias("a.example.", "b.example.")]);
        message.metadata.response_code = code;
        message.add_authority(v4("b.example.", 60, [6, 6, 6, 6]));
        message.add_authority(soa(zone));
        let checked = check(&message, &query(RecordType::A), &Opens).unwrap();
        assert_eq!((checked.code, checked.records.len()), (code, 1));
        assert_eq!(checked.authority.is_some(), is_kept, "{code} {zone}");
        assert!(checked.authority.is_none_or(|record| record.ttl == MAX_TTL));
    }
}

#[test]
fn a_name_that_does_not_exist_has_no_addresses() {
    let mut message = answer(vec![v4("a.example.", 60, [1, 1, 1, 1])]);
    message.metadata.response_code = ResponseCode::NXDomain;
    let checked = check(&message, &query(RecordType::A), &Opens).unwrap();
    assert!(checked.records.is_empty() && checked.addresses.is_empty());
}

#[test]
fn times_are_kept_within_bounds() {
    for (given, kept) in [(0, MIN_TTL), (4, MIN_TTL), (77, 77), (u32::MAX, MAX_TTL)] {
        let checked = checked(vec![v4("a.example.", given, [1, 1, 1, 1])]);
        assert_eq!((checked.ttl, checked.records[0].ttl), (kept, kept));
    }
}

#[test]
fn more_addresses_than_are_installed_are_not_told() {
    let many = (0..300_u32).map(|i| v4("a.example.", 60, Ipv4Addr::from_bits(0x0800_0000 + i)));
    let checked = checked(many.collect());
    assert_eq!(checked.records.len(), MAX_RECORDS);
    assert_eq!(checked.addresses.len(), MAX_RECORDS);
    assert_eq!(checked.addresses[MAX_RECORDS - 1].0, Ipv4Addr::new(8, 0, 0, 127));
}

#[test]
fn an_alias_itself_can_be_asked_for() {
    let message =
        answer(vec![alias("a.example.", "b.example."), v4("b.example.", 9, [1, 1, 1, 1])]);
    let checked = check(&message, &query(RecordType::CNAME), &Opens).unwrap();
    assert_eq!(checked.records.len(), 1);
    assert!(checked.addresses.is_empty());
}

/// Owners, most of which lie on some chain.
fn owner() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a.example.", "A.Example.", "b.example.", "c.example.", "evil.org."])
        .prop_map(str::to_owned)
}

fn record() -> impl Strategy<Value = Record> {
    let first = prop::sample::select(vec![0_u8, 1, 4, 8, 10, 127, 169, 192, 224]);
    let v4_data = (first, any::<[u8; 3]>())
        .prop_map(|(first, [b, c, d])| RData::A(A(Ipv4Addr::new(first, b, c, d))));
    let high = prop::sample::select(vec![0_u16, 0x64, 0x2001, 0x2606, 0xfe80, 0xfd00, 0xff02]);
    let v6_data = (high, any::<u128>()).prop_map(|(high, low)| {
        RData::AAAA(AAAA(Ipv6Addr::from_bits(u128::from(high) << 112 | low >> 16)))
    });
    let alias_data = owner().prop_map(|target| RData::CNAME(CNAME(name(&target))));
    (owner(), any::<u32>(), prop_oneof![3 => v4_data, 2 => v6_data, 2 => alias_data])
        .prop_map(|(owner, ttl, data)| Record::from_rdata(name(&owner), ttl, data))
}

proptest! {
    #[test]
    fn no_address_is_told_that_is_not_installed(
        answers in prop::collection::vec(record(), 0..40),
        others in prop::collection::vec(record(), 0..5),
        is_v6 in any::<bool>(),
        is_tcp in any::<bool>(),
    ) {
        let query = query(if is_v6 { RecordType::AAAA } else { RecordType::A });
        let mut message = answer(answers);
        message.authorities = others.clone();
        message.additionals = others;
        let message = parse(&message.to_vec().unwrap()).unwrap();
        let Ok(mut checked) = check(&message, &query, &Opens) else { return Ok(()) };
        let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
        let reply = checked.reply(&query, protocol).unwrap();
        let read = Message::from_vec(&reply.bytes).unwrap();
        prop_assert_eq!(read.metadata.truncation, reply.is_truncated);
        let told: Vec<IpAddr> = read.all_sections().filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0.into()),
            RData::AAAA(address) => Some(address.0.into()),
            _ => None,
        }).collect();
        let installed: Vec<IpAddr> = checked.addresses.iter().map(|(address, ())| *address).collect();
        if reply.is_truncated {
            prop_assert!(told.is_empty());
        } else {
            prop_assert_eq!(&told, &installed);
        }
        for address in installed {
            prop_assert!(!is_special(address) || address == IpAddr::V4(LISTED));
            let was_answered = message.answers.iter().any(|record| match &record.data {
                RData::A(one) => address == one.0,
                RData::AAAA(one) => address == one.0,
                _ => false,
            });
            prop_assert!(was_answered);
        }
        prop_assert!(read.answers.iter().all(|record| (MIN_TTL..=MAX_TTL).contains(&record.ttl)));
        // Each record is of the name before it, or of the one that this leads to.
        let mut expected = name("a.example.");
        for record in &read.answers {
            prop_assert_eq!(&record.name, &expected);
            if let RData::CNAME(target) = &record.data {
                expected = target.0.clone();
            }
        }
    }

    #[test]
    fn bytes_that_were_tampered_with_open_nothing_untold_either(
        answers in prop::collection::vec(record(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = answer(answers).to_vec().unwrap();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        let query = query(RecordType::A);
        let Some(message) = parse(&bytes) else { return Ok(()) };
        let Ok(mut checked) = check(&message, &query, &Opens) else { return Ok(()) };
        let Some(reply) = checked.reply(&query, Protocol::Tcp) else { return Ok(()) };
        let read = Message::from_vec(&reply.bytes).unwrap();
        let told = read.all_sections().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(address.0.into()),
            _ => None,
        });
        let installed: Vec<IpAddr> = checked.addresses.iter().map(|(address, ())| *address).collect();
        prop_assert_eq!(told.collect::<Vec<_>>(), installed);
    }
}
