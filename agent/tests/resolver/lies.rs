//! What a server, or somebody in its place, says that is not to be believed.

use std::net::UdpSocket;

use super::*;

/// What a resolver that checks nothing makes of a server: the addresses in the first datagram that
/// comes, wherever they stand. This is what each lie does where nothing is in its way.
async fn believe(server: &Liar) -> Vec<[u8; 4]> {
    let address = server.address;
    let first = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&bytes(&question("a.example.com.", RecordType::A)), address).unwrap();
        let mut reply = [0; 4_096];
        let (length, _) = socket.recv_from(&mut reply).unwrap();
        Message::from_vec(&reply[..length]).unwrap()
    });
    addresses(&first.await.unwrap())
}

fn truth(question: &Message) -> Say {
    let owner = question.queries[0].name.to_ascii();
    Say::Send(bytes(&answer(question, vec![v4(&owner, GOOD)])))
}

fn evil(question: &Message) -> Message {
    let owner = question.queries[0].name.to_ascii();
    answer(question, vec![v4(&owner, EVIL)])
}

/// The lie stands before the truth, and then alone.
async fn is_not_believed(lie: fn(&Message) -> Say) {
    let first_a_lie = Liar::start(move |question, _| vec![lie(question), truth(question)]);
    assert_eq!(believe(&first_a_lie).await, [EVIL]);
    let (patient, state) = resolver(&[&first_a_lie], patient());
    assert_eq!(addresses(&ask(&patient, "a.example.com.").await), [GOOD]);
    assert_eq!(state.addresses(), [GOOD].map(IpAddr::from));

    let only_a_lie = Liar::start(move |question, _| vec![lie(question)]);
    let (hasty, state) = resolver(&[&only_a_lie], hasty());
    let reply = ask(&hasty, "a.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(addresses(&reply).is_empty() && state.addresses().is_empty());
    assert_eq!(state.reasons(), [(Verdict::Allow, Some(Reason::NoAnswer))]);
}

#[tokio::test]
async fn an_answer_with_another_id_is_waited_past() {
    is_not_believed(|question| {
        let mut message = evil(question);
        message.metadata.id = message.metadata.id.wrapping_add(1);
        Say::Send(bytes(&message))
    })
    .await;
}

#[tokio::test]
async fn an_answer_from_another_port_is_waited_past() {
    is_not_believed(|question| Say::SendFromElsewhere(bytes(&evil(question)))).await;
}

#[tokio::test]
async fn an_answer_to_another_question_is_waited_past() {
    is_not_believed(|question| {
        let mut message = evil(question);
        message.queries[0].name = name("b.example.com.");
        Say::Send(bytes(&message))
    })
    .await;
    is_not_believed(|question| {
        let mut message = evil(question);
        message.queries[0].query_type = RecordType::AAAA;
        Say::Send(bytes(&message))
    })
    .await;
}

#[tokio::test]
async fn a_question_sent_back_is_no_answer() {
    is_not_believed(|question| {
        let mut message = evil(question);
        message.metadata.message_type = hickory_proto::op::MessageType::Query;
        Say::Send(bytes(&message))
    })
    .await;
}

#[tokio::test]
async fn an_answer_in_other_letters_is_asked_for_again_by_tcp() {
    let guess = Liar::start(|question, protocol| match protocol {
        Protocol::Udp => {
            let mut message = evil(question);
            message.queries[0].name = message.queries[0].name.to_lowercase();
            vec![Say::Send(bytes(&message))]
        }
        Protocol::Tcp => vec![truth(question)],
    });
    assert_eq!(believe(&guess).await, [EVIL]);
    let (resolver, state) = resolver(&[&guess], patient());
    for _ in 0..5 {
        let reply = ask(&resolver, "abcdefghijklmnop.example.com.").await;
        assert_eq!(addresses(&reply), [GOOD]);
    }
    assert!(!state.addresses().contains(&EVIL.into()));

    // A server that knows lower case only is understood all the same.
    let plain = Liar::start(|question, _| {
        let mut question = question.clone();
        question.queries[0].name = question.queries[0].name.to_lowercase();
        vec![truth(&question)]
    });
    let (resolver, _) = super::resolver(&[&plain], patient());
    assert_eq!(addresses(&ask(&resolver, "abcdefghijklmnop.example.com.").await), [GOOD]);
}

#[tokio::test]
async fn records_of_other_names_are_dropped_wherever_they_stand() {
    let server = Liar::start(|question, _| {
        let owner = question.queries[0].name.to_ascii();
        let mut message = answer(question, vec![v4("b.example.com.", EVIL), v4(&owner, GOOD)]);
        message.add_authority(v4("a.example.com.", EVIL));
        message.add_additional(v4("a.example.com.", EVIL));
        vec![Say::Send(bytes(&message))]
    });
    assert_eq!(believe(&server).await, [EVIL, GOOD, EVIL, EVIL]);
    let (resolver, state) = resolver(&[&server], patient());
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
    assert_eq!(state.addresses(), [GOOD].map(IpAddr::from));
}

#[tokio::test]
async fn aliases_in_a_circle_are_no_answer() {
    let server = Liar::honest(vec![
        alias("a.example.com.", "b.example.com."),
        alias("b.example.com.", "a.example.com."),
    ]);
    let (resolver, state) = resolver(&[&server], patient());
    let reply = ask(&resolver, "a.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(state.reasons(), [(Verdict::Allow, Some(Reason::NoAnswer))]);
}

#[tokio::test]
async fn of_three_hundred_addresses_those_that_are_installed_are_told_by_tcp() {
    let many: Vec<_> =
        (0..300_u16).map(|i| v4("a.example.com.", [8, 1, (i >> 8) as u8, i as u8])).collect();
    let server = Liar::start(move |question, protocol| {
        let mut message = answer(question, many.clone());
        if protocol == Protocol::Udp {
            message.answers.clear();
            message.metadata.truncation = true;
        }
        vec![Say::Send(bytes(&message))]
    });
    let (resolver, state) = resolver(&[&server], patient());
    let asked = question("a.example.com.", RecordType::A);
    let short = ask_with(&resolver, &asked, client(Protocol::Udp, server.address)).await;
    assert!(short.metadata.truncation && addresses(&short).is_empty());
    assert!(state.addresses().is_empty(), "nothing is told, so nothing is opened");
    let whole = ask_with(&resolver, &asked, client(Protocol::Tcp, server.address)).await;
    assert!(!whole.metadata.truncation);
    let told: Vec<IpAddr> = addresses(&whole).into_iter().map(IpAddr::from).collect();
    assert_eq!((told.len(), &told), (128, &state.addresses()));
    assert_eq!(told[127], IpAddr::from([8, 1, 0, 127]));
}

#[tokio::test]
async fn an_answer_cut_short_is_asked_for_by_tcp() {
    let server = Liar::start(|question, protocol| {
        let Say::Send(mut whole) = truth(question) else { return vec![] };
        if protocol == Protocol::Udp {
            whole.truncate(whole.len() - 3);
        }
        vec![Say::Send(whole)]
    });
    let (resolver, _) = resolver(&[&server], patient());
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
    let ways: Vec<_> = server.asked().into_iter().map(|(_, protocol)| protocol).collect();
    assert_eq!(ways, [Protocol::Udp, Protocol::Tcp]);
}

#[tokio::test]
async fn garbage_is_waited_past() {
    let server = Liar::start(|question, _| {
        let garbage = [vec![], vec![0; 5], vec![0xff; 600], vec![0; 4_096]];
        garbage.into_iter().map(Say::Send).chain([truth(question)]).collect()
    });
    let (resolver, _) = resolver(&[&server], patient());
    // An id that happens to be that of the garbage is asked for by TCP.
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
}

#[tokio::test]
async fn a_server_that_is_silent_or_unwilling_is_followed_by_the_next() {
    let (silent, good) = (Liar::silent(), Liar::honest(vec![v4("a.example.com.", GOOD)]));
    let unwilling = Liar::start(|question, _| {
        let mut message = evil(question);
        message.metadata.response_code = ResponseCode::Refused;
        vec![Say::Send(bytes(&message))]
    });
    let options = Options { one_server: Duration::from_secs(3), ..patient() };
    let (resolver, state) = resolver(&[&silent, &unwilling, &good], options);
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
    assert_eq!(state.addresses(), [GOOD].map(IpAddr::from));
    silent.wait_for(1);
    assert_eq!(unwilling.asked().len(), 1);
}

#[tokio::test]
async fn when_all_are_silent_there_is_an_end() {
    let servers = [Liar::silent(), Liar::silent()];
    let (resolver, state) = resolver(&[&servers[0], &servers[1]], hasty());
    let reply = ask(&resolver, "a.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(servers.map(|server| server.wait_for(2).len()), [2, 2]);
    assert_eq!(state.reasons(), [(Verdict::Allow, Some(Reason::NoAnswer))]);
    let (alone, _) = super::resolver(&[], patient());
    assert_eq!(ask(&alone, "a.example.com.").await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let server =
        Liar::start(|question, _| vec![Say::Wait(Duration::from_millis(300)), truth(question)]);
    let (resolver, _) = resolver(&[&server], patient());
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without() {
    let server = Liar::start(|question, _| {
        if question.edns.is_none() {
            return vec![truth(question)];
        }
        let mut message = answer(question, vec![]);
        message.metadata.response_code = ResponseCode::FormErr;
        vec![Say::Send(bytes(&message))]
    });
    let (resolver, _) = resolver(&[&server], patient());
    assert_eq!(addresses(&ask(&resolver, "a.example.com.").await), [GOOD]);
}

#[tokio::test]
async fn the_server_that_the_process_named_is_asked_first_if_it_is_trusted() {
    let [first, second, stranger] =
        [(); 3].map(|()| Liar::honest(vec![v4("a.example.com.", GOOD)]));
    let (resolver, _) = resolver(&[&first, &second], patient());
    let asked = question("a.example.com.", RecordType::A);
    ask_with(&resolver, &asked, client(Protocol::Udp, second.address)).await;
    ask_with(&resolver, &asked, client(Protocol::Udp, stranger.address)).await;
    let counts = [first, second, stranger].map(|server| server.asked().len());
    assert_eq!(counts, [1, 1, 0]);
}
