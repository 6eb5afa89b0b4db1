//! Which server a connection names, told from its first bytes in whatever pieces they come, and
//! whether the policy lets it go on.

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_common::{
    Reason, Verdict,
    server_name::{Check, Progress, Stream},
    tls::Bytes,
};
use ringfence_policy::{
    boundary::{Effect, Mode, Target},
    compile::compile,
};

use crate::support::{Dice, egress};

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const EARLY_DATA: u16 = 42;

/// A packet, and nothing of what came before.
struct Piece<'a> {
    table: &'a [u8],
    offset: u32,
    content: &'a [u8],
}

impl Bytes for Piece<'_> {
    fn byte(&self, at: u32) -> Option<u8> {
        self.content.get(at.checked_sub(self.offset)? as usize).copied()
    }
}

impl Stream for Piece<'_> {
    type Table = [u8];

    fn table(&self) -> &[u8] {
        self.table
    }
}

fn image(mode: Mode) -> Vec<u8> {
    let host = |name: &str| Target::Host(name.to_owned());
    let rules = vec![
        (Effect::Deny, host("bad.example"), vec![]),
        (Effect::Allow, host("*.example"), vec![]),
        (Effect::Allow, host("one.org"), vec![]),
    ];
    compile(&[egress("a.yaml", mode, rules)], &Default::default()).unwrap().image
}

fn read(check: &mut Check, table: &[u8], bytes: &[u8], from: usize, to: usize) -> Progress {
    let content = &bytes[from..to];
    check.read(&Piece { table, offset: from as u32, content }, from as u32, content.len() as u32)
}

fn at_once(table: &[u8], bytes: &[u8]) -> Progress {
    read(&mut { Check::START }, table, bytes, 0, bytes.len())
}

fn long(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], long(content).as_slice()].concat()
}

/// A message that names a server, with further extensions.
fn message(name: &str, further: &[(u16, usize)]) -> Vec<u8> {
    let entry = [&[0], long(name.as_bytes()).as_slice()].concat();
    let mut extensions = [&[0, 0], long(&long(&entry)).as_slice()].concat();
    for (kind, length) in further {
        extensions.extend([kind.to_be_bytes().as_slice(), &long(&vec![0; *length])].concat());
    }
    let body =
        [[3, 3].as_slice(), &[7; 32], &[0], &long(&[0x13, 0x01]), &[1, 0], &long(&extensions)]
            .concat();
    [&[1], &(body.len() as u32).to_be_bytes()[1..], &body].concat()
}

fn hello(name: &str) -> Vec<u8> {
    record(HANDSHAKE, &message(name, &[(43, 3)]))
}

/// The reason of a refusal.
fn reason(progress: Progress) -> Option<Reason> {
    match progress {
        Progress::Refused(decision) => Some(decision.reason),
        _ => None,
    }
}

#[test]
fn a_server_may_be_named_that_the_policy_lets_be_looked_up_and_no_other() {
    let table = image(Mode::Enforce);
    for name in ["a.example", "A.Example", "x.y.example", "one.org"] {
        assert_eq!(at_once(&table, &hello(name)), Progress::Between, "{name}");
    }
    for name in ["bad.example", "BAD.example", "example", "two.org", "one.org.uk", "xone.org", "a"]
    {
        let mut check = Check::START;
        let bytes = hello(name);
        let progress = read(&mut check, &table, &bytes, 0, bytes.len());
        assert_eq!(reason(progress), Some(Reason::UnlistedServerName), "{name}");
        let (room, length) = check.name();
        assert_eq!(&room[room.len() - length as usize..], name.as_bytes());
    }
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        &hello("192.0.2.1"),
        &record(HANDSHAKE, &message("one.org", &[(21, 9000)])),
        &record(ALERT, &[1, 0]),
        &record(APPLICATION_DATA, &[1]),
    ] {
        assert_eq!(reason(at_once(&table, bytes)), Some(Reason::NoServerName), "{bytes:02x?}");
    }
}

#[test]
fn in_observe_mode_a_refusal_says_so() {
    let table = image(Mode::Observe);
    for (bytes, reason) in
        [(hello("two.org"), Reason::UnlistedServerName), (vec![0; 9], Reason::NoServerName)]
    {
        let Progress::Refused(decision) = at_once(&table, &bytes) else { panic!("{reason:?}") };
        assert_eq!((decision.verdict, decision.reason), (Verdict::Observe, reason));
    }
}

#[test]
fn what_is_beyond_what_was_seen_is_missing_and_what_was_seen_comes_to_the_same() {
    let table = image(Mode::Enforce);
    let bytes = hello("one.org");
    let mut check = Check::START;
    assert_eq!(read(&mut check, &table, &bytes, 1, 9), Progress::Missing);
    assert_eq!(read(&mut check, &table, &bytes, 0, 20), Progress::Inside);
    assert_eq!(read(&mut check, &table, &bytes, 21, 40), Progress::Missing);
    for (from, to) in [(0, 20), (3, 9), (0, 1), (20, 20), (10, 30)] {
        assert_eq!(read(&mut check, &table, &bytes, from, to), Progress::Inside, "{from}..{to}");
    }
    assert_eq!(read(&mut check, &table, &bytes, 30, bytes.len()), Progress::Between);
    assert_eq!(read(&mut check, &table, &bytes, 0, bytes.len()), Progress::Between);
}

#[test]
fn a_second_message_is_read_too_and_anything_else_ends_the_check() {
    let table = image(Mode::Enforce);
    let unlisted = Some(Reason::UnlistedServerName);
    let early = record(HANDSHAKE, &message("one.org", &[(EARLY_DATA, 0)]));
    let data = record(APPLICATION_DATA, &[9; 3000]);
    let both = record(HANDSHAKE, &[message("one.org", &[]), message("two.org", &[])].concat());
    let first = hello("one.org");
    let change = record(CHANGE_CIPHER_SPEC, &[1]);
    let alert = record(ALERT, &[1, 90]);
    let key_exchange = record(HANDSHAKE, &[16, 0, 0, 2, 1, 1]);
    for (parts, expected) in [
        (vec![&first, &hello("a.example")], Ok(Progress::Between)),
        (vec![&first, &hello("two.org")], Err(unlisted)),
        (vec![&first, &hello("a.example"), &hello("two.org")], Err(unlisted)),
        (vec![&both], Err(unlisted)),
        (vec![&first, &change], Ok(Progress::Between)),
        (vec![&first, &change, &hello("two.org")], Err(unlisted)),
        (vec![&first, &alert, &change, &alert, &hello("two.org")], Err(unlisted)),
        (vec![&first, &hello("1.2.3.4")], Err(Some(Reason::NoServerName))),
        // TLS 1.3 without, and with, data of before the server's answer; TLS 1.2.
        (vec![&first, &change, &data], Ok(Progress::Done)),
        (vec![&early, &data, &data], Ok(Progress::Between)),
        (vec![&early, &data, &change, &data, &hello("two.org")], Err(unlisted)),
        (vec![&first, &key_exchange], Ok(Progress::Done)),
        // A message that is encrypted, of TLS 1.2.
        (vec![&first, &change, &record(HANDSHAKE, &[1; 40])], Ok(Progress::Done)),
        (
            vec![
                &first,
                &change,
                &record(HANDSHAKE, &[[1, 0, 0, 9].as_slice(), &[1; 36]].concat()),
            ],
            Ok(Progress::Done),
        ),
        // One that is too long to be read, and would be taken by some.
        (
            vec![&first, &record(HANDSHAKE, &message("two.org", &[(21, 9000)]))],
            Err(Some(Reason::NoServerName)),
        ),
    ] {
        let bytes = parts.into_iter().flatten().copied().collect::<Vec<u8>>();
        let progress = at_once(&table, &bytes);
        match expected {
            Ok(expected) => assert_eq!(progress, expected, "{bytes:02x?}"),
            Err(expected) => assert_eq!(reason(progress), expected, "{bytes:02x?}"),
        }
    }
    // Data of before the server's answer is passed over for as long as servers do.
    let many = [early.as_slice(), &data.repeat(40)].concat();
    assert_eq!(at_once(&table, &many), Progress::Done);
}

#[test]
fn the_answer_is_the_same_however_the_bytes_come() {
    let table = image(Mode::Enforce);
    let names = ["one.org", "two.org", "a.example", "bad.example", "1.2.3.4", "x."];
    let config = ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() };
    let strategy = (
        0..names.len(),
        0..names.len(),
        any::<bool>(),
        1_usize..400,
        prop::option::of((0_usize..600, any::<u8>())),
        1_u64..,
    );
    TestRunner::new(config)
        .run(&strategy, |(first, second, changes, most, change, seed)| {
            let cut = |message: &[u8]| {
                message.chunks(most).flat_map(|part| record(HANDSHAKE, part)).collect::<Vec<u8>>()
            };
            let mut bytes = cut(&message(names[first], &[(43, 3), (21, 100)]));
            if changes {
                bytes.extend(record(CHANGE_CIPHER_SPEC, &[1]));
            }
            bytes.extend(cut(&message(names[second], &[(21, 50)])));
            bytes.extend(record(APPLICATION_DATA, &[5; 20]));
            if let Some((at, value)) = change {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let whole = at_once(&table, &bytes);
            let mut dice = Dice(seed);
            let (mut check, mut seen) = (Check::START, 0);
            let mut progress = Progress::Inside;
            while seen < bytes.len() && !matches!(progress, Progress::Done | Progress::Refused(_)) {
                let from = seen - (dice.below(2) * dice.below(50)).min(seen);
                let to = (from + dice.below(80)).min(bytes.len());
                progress = read(&mut check, &table, &bytes, from, to);
                prop_assert_ne!(progress, Progress::Missing);
                seen = seen.max(to);
            }
            prop_assert_eq!(progress, whole);
            Ok(())
        })
        .unwrap();
}
