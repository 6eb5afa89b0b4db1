//! The gated resolver between a process that asks and servers that lie.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

#[path = "resolver/host.rs"]
mod host;
#[path = "resolver/liar.rs"]
mod liar;
#[path = "resolver/lies.rs"]
mod lies;
#[path = "resolver/sockets.rs"]
mod sockets;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{HTTPS, SOA, SVCB, opt::EdnsOption, svcb},
    },
};
use host::{Host, State, policy};
use liar::{Liar, Say, alias, answer, bytes, name, v4};
use ringfence_agent::resolver::{Client, NotInstalled, Options, Reason, Resolver};
use ringfence_common::{Verdict, egress::Protocol};

const POLICY: &str = "\
boundary: 1
egress:
  - { host: \"*.example.com\", ports: [443] }
  - { host: localhost.example.org }
  - { cidr: 10.0.0.7/32 }
";
const GOOD: [u8; 4] = [8, 8, 8, 8];
const EVIL: [u8; 4] = [6, 6, 6, 6];

/// A resolver that asks the servers, and what came of it.
fn resolver(servers: &[&Liar], options: Options) -> (Resolver<Host>, Arc<State>) {
    let host = Host::default();
    *host.0.policy.lock().unwrap() = policy(POLICY);
    let state = Arc::clone(&host.0);
    let servers = servers.iter().map(|server| server.address).collect();
    (Resolver::new(host, servers, options), state)
}

/// Waits long for what comes, since the machine may be busy.
fn patient() -> Options {
    Options {
        one_server: Duration::from_secs(60),
        all_servers: Duration::from_secs(120),
        idle: Duration::from_secs(120),
        ..Options::default()
    }
}

/// For what never comes.
fn hasty() -> Options {
    Options { one_server: Duration::from_millis(100), ..patient() }
}

fn question(text: &str, record: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), record));
    message
}

fn client(protocol: Protocol, original: SocketAddr) -> Client {
    Client { network: 0, address: "127.0.0.1:9".parse().unwrap(), protocol, original }
}

async fn ask_with(resolver: &Resolver<Host>, question: &Message, client: Client) -> Message {
    let reply = resolver.answer(&bytes(question), client).await.unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, question.metadata.id);
    assert!(reply.queries[0].name.eq_case(&question.queries[0].name), "the process's own letters");
    reply
}

async fn ask(resolver: &Resolver<Host>, text: &str) -> Message {
    let nobody = client(Protocol::Udp, "192.0.2.1:53".parse().unwrap());
    ask_with(resolver, &question(text, RecordType::A), nobody).await
}

fn addresses(message: &Message) -> Vec<[u8; 4]> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(address.0.octets()),
        _ => None,
    };
    message.all_sections().filter_map(address).collect()
}

#[tokio::test]
async fn an_allowed_name_is_answered_when_its_addresses_are_installed() {
    let server = Liar::honest(vec![
        alias("api.example.com.", "cdn.evil.org."),
        v4("cdn.evil.org.", GOOD),
        v4("cdn.evil.org.", [8, 8, 4, 4]),
    ]);
    let (resolver, state) = resolver(&[&server], patient());
    let reply = ask(&resolver, "Api.Example.COM.").await;
    assert_eq!(addresses(&reply), [GOOD, [8, 8, 4, 4]]);
    assert!(reply.metadata.recursion_available && !reply.metadata.authentic_data);
    let expected = [GOOD, [8, 8, 4, 4]].map(|one| ("api.example.com".to_owned(), one.into(), 360));
    assert_eq!(*state.installed.lock().unwrap(), expected);
    let told = state.told.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].verdict, told[0].reason, told[0].line), (Verdict::Allow, None, Some(3)));
}

#[tokio::test]
async fn nothing_leaves_for_a_name_that_is_not_allowed() {
    let server = Liar::honest(vec![v4("secret.evil.org.", EVIL)]);
    let (resolver, state) = resolver(&[&server], patient());
    for text in ["secret.evil.org.", "example.com.", "a.example.com.evil.org.", "."] {
        let reply = ask(&resolver, text).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused, "{text}");
        assert!(addresses(&reply).is_empty());
    }
    // Bytes that no host name has, where a rule's `*` would take them.
    for label in [&b"a.b"[..], b"\0", b"\"", b"*"] {
        let mut asked = question("a.example.com.", RecordType::A);
        asked.queries[0].name = Name::from_labels([label, b"example", b"com"]).unwrap();
        let nobody = client(Protocol::Udp, server.address);
        let reply = ask_with(&resolver, &asked, nobody).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused, "{label:?}");
    }
    let refused = (Verdict::Deny, Some(Reason::UnlistedName));
    assert_eq!(state.reasons(), [refused; 8]);
    assert!(state.addresses().is_empty());
    // The server is asked for what is allowed, and was for nothing before.
    ask(&resolver, "a.example.com.").await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn types_that_no_connection_needs_are_refused_and_not_forwarded() {
    let server = Liar::honest(vec![]);
    let (resolver, state) = resolver(&[&server], patient());
    let nobody = client(Protocol::Udp, server.address);
    for record in [RecordType::ANY, RecordType::AXFR, RecordType::NULL, RecordType::DNSKEY] {
        let reply = ask_with(&resolver, &question("a.example.com.", record), nobody).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused, "{record}");
    }
    assert_eq!(state.reasons(), [(Verdict::Deny, Some(Reason::UnlistedType)); 4]);
    for record in [RecordType::AAAA, RecordType::TXT, RecordType::SRV, RecordType::HTTPS] {
        let reply = ask_with(&resolver, &question("a.example.com.", record), nobody).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError, "{record}");
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_refused_name_of_a_search_domain_does_not_exist() {
    let server = Liar::honest(vec![]);
    let search = vec!["svc.local".to_owned()];
    let (searching, _) = resolver(&[&server], Options { search, ..patient() });
    for (text, code) in [
        ("api.example.com.svc.local.", ResponseCode::NXDomain),
        ("api.example.com.nosvc.local.", ResponseCode::Refused),
    ] {
        assert_eq!(ask(&searching, text).await.metadata.response_code, code, "{text}");
    }
    let (hiding, _) = resolver(&[&server], Options { refuse_as_nonexistent: true, ..patient() });
    assert_eq!(ask(&hiding, "evil.org.").await.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(&hiding, "a.example.com.").await.metadata.response_code, ResponseCode::NoError);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn special_addresses_are_kept_back_unless_a_rule_lists_them() {
    let records = [[127, 0, 0, 1], [10, 0, 0, 7], [169, 254, 169, 254], GOOD];
    let server = Liar::honest(records.map(|one| v4("a.example.com.", one)).to_vec());
    let (resolver, state) = resolver(&[&server], patient());
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [[10, 0, 0, 7], GOOD]);
    assert_eq!(state.addresses(), [[10, 0, 0, 7], GOOD].map(IpAddr::from));
    let kept_back = (Verdict::Deny, Some(Reason::SpecialAddress));
    assert_eq!(state.reasons(), [kept_back, kept_back, (Verdict::Allow, None)]);

    // What is only observed is not changed.
    *state.policy.lock().unwrap() =
        policy("boundary: 1\nmode: observe\negress:\n  - { host: b.example.com }\n");
    state.told.lock().unwrap().clear();
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), records);
    let observed = (Verdict::Observe, Some(Reason::SpecialAddress));
    let last = (Verdict::Observe, Some(Reason::UnlistedName));
    assert_eq!(state.reasons(), [observed, observed, observed, last]);
}

#[tokio::test]
async fn without_room_for_the_addresses_there_is_no_answer() {
    let server = Liar::honest(vec![v4("a.example.com.", GOOD)]);
    let (resolver, state) = resolver(&[&server], patient());
    for (failure, reason) in
        [(NotInstalled::Full, Reason::TableFull), (NotInstalled::Failed, Reason::NotInstalled)]
    {
        state.failures.lock().unwrap().push(failure);
        let reply = ask(&resolver, "a.example.com.").await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        assert!(addresses(&reply).is_empty() && state.addresses().is_empty());
        assert_eq!(state.told.lock().unwrap().pop().unwrap().reason, Some(reason));
    }
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
}

#[tokio::test]
async fn an_answer_that_comes_after_a_change_of_policy_is_judged_by_the_new_one() {
    let server = Liar::honest(vec![v4("a.example.com.", GOOD)]);
    let (resolver, state) = resolver(&[&server], patient());
    state.failures.lock().unwrap().push(NotInstalled::Stale);
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD], "still allowed");

    state.installed.lock().unwrap().clear();
    state.failures.lock().unwrap().push(NotInstalled::Stale);
    *state.next_policy.lock().unwrap() = Some(policy("boundary: 1\negress: []\n"));
    let reply = ask(&resolver, "a.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    assert!(addresses(&reply).is_empty() && state.addresses().is_empty());

    *state.policy.lock().unwrap() = policy(POLICY);
    state.failures.lock().unwrap().extend([NotInstalled::Stale; 10]);
    let reply = ask(&resolver, "a.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "changes without end");
}

#[tokio::test]
async fn ten_thousand_names_are_not_asked_for() {
    let server = Liar::honest(vec![]);
    let (resolver, state) = resolver(&[&server], Options { names_per_minute: 50, ..patient() });
    for i in 0..200 {
        ask(&resolver, &format!("secret-{i}.example.com.")).await;
    }
    let last = state.told.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.verdict, last.reason), (Verdict::Deny, Some(Reason::TooManyNames)));
    let known = ask(&resolver, "secret-1.example.com.").await;
    assert_eq!(known.metadata.response_code, ResponseCode::NoError);
    assert_eq!(server.asked().len(), 50 + 1);
}

#[tokio::test]
async fn only_so_many_questions_wait_at_a_time() {
    let server = Liar::silent();
    let (resolver, state) = resolver(&[&server], Options { outstanding: 1, ..hasty() });
    tokio::join!(ask(&resolver, "a.example.com."), ask(&resolver, "b.example.com."));
    assert_eq!(state.reasons()[0], (Verdict::Deny, Some(Reason::TooManyQueries)));
    assert!(
        server.wait_for(1).iter().all(|(asked, _)| asked.queries[0].name == name("a.example.com."))
    );
}

#[tokio::test]
async fn what_does_not_exist_is_passed_on_with_the_record_of_its_zone() {
    let soa = SOA::new(name("ns.example.com."), name("root.example.com."), 1, 2, 3, 4, 60);
    let server = Liar::start(move |question, _| {
        let mut message = answer(question, vec![]);
        message.metadata.response_code = ResponseCode::NXDomain;
        let soa = RData::SOA(soa.clone());
        message.add_authority(Record::from_rdata(name("example.com."), 60, soa));
        vec![Say::Send(bytes(&message))]
    });
    let (resolver, _) = resolver(&[&server], patient());
    let reply = ask(&resolver, "none.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(reply.authorities.len(), 1);
}

#[tokio::test]
async fn only_what_cannot_identify_the_process_is_forwarded() {
    let server = Liar::honest(vec![v4("a.example.com.", GOOD)]);
    let (resolver, _) = resolver(&[&server], patient());
    let mut asked = question("a.example.com.", RecordType::A);
    asked.metadata.recursion_desired = false;
    asked.metadata.checking_disabled = true;
    asked.metadata.authentic_data = true;
    let mut edns = Edns::new();
    edns.set_max_payload(4_096);
    edns.set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Unknown(65_001, b"smuggled".to_vec()));
    asked.set_edns(edns);
    let nobody = client(Protocol::Udp, server.address);
    let reply = ask_with(&resolver, &asked, nobody).await;
    assert_eq!(reply.edns.map(|edns| edns.options().as_ref().len()), Some(0), "asked with EDNS");
    let plain = ask_with(&resolver, &question("a.example.com.", RecordType::A), nobody).await;
    assert_eq!(plain.edns, None, "asked without");

    let (first, second) = (server.asked()[0].0.clone(), server.asked()[1].0.clone());
    assert!(first.metadata.id != asked.metadata.id || second.metadata.id != asked.metadata.id);
    for sent in [first, second] {
        let flags = sent.metadata;
        assert!(flags.recursion_desired && !flags.checking_disabled && !flags.authentic_data);
        let edns = sent.edns.unwrap();
        assert!(edns.options().as_ref().is_empty() && !edns.flags().dnssec_ok);
        assert_eq!(edns.max_payload(), 1_232);
    }
}

#[tokio::test]
async fn the_letter_case_that_is_sent_is_random() {
    let server = Liar::honest(vec![]);
    let (resolver, _) = resolver(&[&server], patient());
    for _ in 0..20 {
        ask(&resolver, "abcdefghijklmnop.example.com.").await;
    }
    let names: std::collections::BTreeSet<String> =
        server.asked().iter().map(|(asked, _)| asked.queries[0].name.to_ascii()).collect();
    assert!(names.len() > 15, "{names:?}");
}

#[tokio::test]
async fn a_service_binding_loses_what_would_hide_the_name() {
    let params = vec![
        (svcb::SvcParamKey::Alpn, svcb::SvcParamValue::Alpn(svcb::Alpn(vec!["h2".into()]))),
        (
            svcb::SvcParamKey::EchConfigList,
            svcb::SvcParamValue::EchConfigList(svcb::EchConfigList(vec![1, 2, 3])),
        ),
    ];
    let https = RData::HTTPS(HTTPS(SVCB::new(1, name("."), params)));
    let server = Liar::honest(vec![Record::from_rdata(name("a.example.com."), 300, https)]);
    let (resolver, state) = resolver(&[&server], patient());
    let asked = question("a.example.com.", RecordType::HTTPS);
    let reply = ask_with(&resolver, &asked, client(Protocol::Udp, server.address)).await;
    let RData::HTTPS(HTTPS(binding)) = &reply.answers[0].data else { panic!("{reply}") };
    assert_eq!(binding.svc_params.len(), 1);
    assert!(state.addresses().is_empty());
}
