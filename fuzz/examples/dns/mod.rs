//! Questions with answers, as the target `dns_message` takes them.

use std::{error::Error, fs, path::Path};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, CNAME, HTTPS, MX, SOA, SRV, SVCB, TXT,
            svcb::{Alpn, EchConfigList, IpHint, Mandatory, SvcParamKey, SvcParamValue},
        },
    },
};

/// Writes a seed for each kind of answer below the folder.
pub(crate) fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let corpus = folder.join("corpus/dns_message");
    fs::create_dir_all(&corpus)?;
    let name = |text: &str| Name::from_ascii(text);
    let (asked, other) = (name("a.example.com.")?, name("b.example.net.")?);
    let record = |owner: &Name, data| Record::from_rdata(owner.clone(), 300, data);
    let alias = record(&asked, RData::CNAME(CNAME(other.clone())));
    let binding = SVCB::new(
        1,
        Name::root(),
        vec![
            (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::Port]))),
            (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".into(), "h3".into()]))),
            (SvcParamKey::Port, SvcParamValue::Port(443)),
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(8, 8, 8, 8)]))),
            (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![0; 40]))),
        ],
    );
    let addresses = |owner: &Name, count: u32| -> Vec<Record> {
        (0..count).map(|i| record(owner, RData::A(A((0x0808_0800 + i).into())))).collect()
    };
    let soa = RData::SOA(SOA::new(other.clone(), asked.clone(), 1, 2, 3, 4, 5));
    let mut aliased = addresses(&other, 3);
    aliased.insert(0, alias.clone());
    let v6 = [0x2600_u128 << 112 | 2, 1, 0xfe80 << 112, 0x0064_ff9b << 96 | 0x0808_0808];
    let v6 = v6.map(|bits| record(&asked, RData::AAAA(AAAA(bits.into()))));
    let answers = [
        (RecordType::A, aliased),
        (RecordType::A, addresses(&asked, 90)),
        (RecordType::A, vec![alias]),
        (RecordType::AAAA, v6.to_vec()),
        (RecordType::HTTPS, vec![record(&asked, RData::HTTPS(HTTPS(binding)))]),
        (RecordType::MX, vec![record(&asked, RData::MX(MX::new(1, other.clone())))]),
        (RecordType::SRV, vec![record(&asked, RData::SRV(SRV::new(1, 2, 3, other.clone())))]),
        (RecordType::TXT, vec![record(&asked, RData::TXT(TXT::new(vec!["text".into()])))]),
        (RecordType::SOA, vec![record(&asked, soa.clone())]),
    ];
    for (number, (kind, records)) in answers.into_iter().enumerate() {
        let mut question = Message::query();
        question.add_query(Query::query(asked.clone(), kind));
        question.set_edns(Edns::new());
        let mut answer = question.clone();
        answer.metadata.message_type = MessageType::Response;
        if records.len() == 1 && kind == RecordType::A {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.answers = records;
        answer.add_authority(record(&name("net.")?, soa.clone()));
        let question = question.to_vec()?;
        let length = u16::try_from(question.len())?.to_be_bytes();
        let seed = [&length[..], &question, &answer.to_vec()?, &[number as u8]].concat();
        fs::write(corpus.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
