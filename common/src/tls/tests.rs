extern crate std;

use std::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;

/// A number in as many bytes, most significant first, and then what it is the length of.
fn with_length(bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[4 - bytes..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), with_length(2, content)].concat()
}

/// A `server_name` extension of entries, each a type and a name.
fn server_name(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(kind, name)| [vec![*kind], with_length(2, name)]);
    extension(0, &with_length(2, &entries.flatten().collect::<Vec<u8>>()))
}

/// Extensions as clients send them: GREASE, groups, signature algorithms, versions, a key share.
fn usual() -> [Vec<u8>; 5] {
    [
        extension(0x0a0a, &[]),
        extension(0x000a, &with_length(2, &[0x00, 0x1d, 0x00, 0x17])),
        extension(0x000d, &with_length(2, &[0x04, 0x03, 0x08, 0x04])),
        extension(0x002b, &with_length(1, &[0x03, 0x04])),
        extension(0x0033, &with_length(2, &[vec![0x00, 0x1d], with_length(2, &[7; 32])].concat())),
    ]
}

/// A message of some extensions; `None` for one that ends before them.
fn message(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
    let body = [
        vec![3, 3],
        vec![9; 32],
        with_length(1, &[8; 32]),
        with_length(2, &[0x13, 0x01, 0x13, 0x02]),
        with_length(1, &[0]),
        extensions.map(|list| with_length(2, &list.concat())).unwrap_or_default(),
    ];
    [vec![1], with_length(3, &body.concat())].concat()
}

/// A message in records, each of at most so many bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |part| [vec![22, 3, 1], with_length(2, part)].concat();
    message.chunks(most).flat_map(record).collect()
}

/// What a client sends that names a server.
fn naming(name: &[u8]) -> Vec<u8> {
    let mut extensions = usual().to_vec();
    extensions.insert(1, server_name(&[(0, name)]));
    records(&message(Some(&extensions)), 1 << 14)
}

fn read(bytes: &[u8]) -> Hello {
    hello(bytes)
}

/// The name that is found.
fn name(bytes: &[u8]) -> Option<&[u8]> {
    match hello(bytes) {
        Hello::Name { at, length, .. } => bytes.get(at as usize..(at + length) as usize),
        _ => None,
    }
}

#[test]
fn a_server_is_named_and_nothing_is_said_before_the_whole_message_is_there() {
    for server in ["a.b", "api.example.com", "xn--bcher-kva.example", "_dns.x-y.Example.COM"] {
        let bytes = naming(server.as_bytes());
        assert_eq!(name(&bytes), Some(server.as_bytes()));
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), Hello::More, "{length} bytes of {server}");
        }
    }
}

#[test]
fn what_is_no_host_name_is_refused() {
    let long_label = [[b'a'; 64].as_slice(), b".com"].concat();
    let long = [b"a.".repeat(126).as_slice(), b"com"].concat();
    let fits = [b"a.".repeat(125).as_slice(), b"com"].concat();
    assert_eq!((long.len(), name(&naming(&fits))), (255, Some(fits.as_slice())));
    for server in [
        b"example.com.".as_slice(),
        b".example.com",
        b"a..b",
        b".",
        b"example.com\0",
        b"example.com\0.evil.org",
        b"\0",
        b"example.com ",
        b"*.example.com",
        b"b\xc3\xbccher.example",
        b"93.184.216.34",
        b"1",
        b"a.1",
        b"2606:2800::1",
        b"[::1]",
        b"example.com:443",
        &long_label,
        &long,
    ] {
        assert_eq!(read(&naming(server)), Hello::NoName, "{}", server.escape_ascii());
    }
}

#[test]
fn there_is_one_name_or_none() {
    let names: &[(&[Vec<u8>], Hello)] = &[
        (&[], Hello::NoName),
        (&[server_name(&[(0, b"a.com"), (0, b"b.com")])], Hello::NoName),
        (&[server_name(&[(0, b"a.com"), (1, b"b.com")])], Hello::NoName),
        (&[server_name(&[(1, b"a.com")])], Hello::NoName),
        (&[server_name(&[(1, b"b.com"), (0, b"a.com")])], Hello::NoName),
        (&[server_name(&[(0, b"a.com")]), server_name(&[(0, b"a.com")])], Hello::NoName),
        (&[server_name(&[])], Hello::NotTls),
        (&[server_name(&[(0, b"")])], Hello::NotTls),
        (&[extension(0, &[])], Hello::NotTls),
        (&[extension(0, &[0])], Hello::NotTls),
        // The list ends before, and after, its extension does.
        (&[extension(0, &[0, 5, 0, 0, 2, b'a', b'b', 0])], Hello::NotTls),
        (&[extension(0, &[0, 7, 0, 0, 2, b'a', b'b'])], Hello::NotTls),
        // The name ends after its list does.
        (&[extension(0, &[0, 5, 0, 0, 3, b'a', b'b']), extension(1, b"c")], Hello::NotTls),
    ];
    for (extensions, expected) in names {
        let mut extensions = extensions.to_vec();
        extensions.extend(usual());
        let bytes = records(&message(Some(&extensions)), 1 << 14);
        assert_eq!(read(&bytes), *expected, "{extensions:02x?}");
    }
    assert_eq!(read(&records(&message(None), 1 << 14)), Hello::NoName, "SSL 3.0");
    assert_eq!(read(&records(&message(Some(&[])), 1 << 14)), Hello::NoName);
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.6\r\n",
        // SSL 2.0: a length, CLIENT-HELLO, and a version.
        b"\x80\x2e\x01\x03\x01",
        b"\x00\x00",
        // An alert, and records of no version that there is.
        b"\x15\x03\x01\x00\x02",
        b"\x16\x02\x00",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        // ServerHello.
        b"\x16\x03\x03\x00\x7a\x02",
    ] {
        assert_eq!(read(bytes), Hello::NotTls, "{}", bytes.escape_ascii());
    }
    assert_eq!(read(b""), Hello::More);
    assert_eq!(read(b"\x16\x03"), Hello::More);
}

#[test]
fn lengths_that_contradict_each_other_are_no_message() {
    let good = naming(b"a.example");
    // The record's and message's types, and the message's length.
    let message_length = good.len() - 9;
    for (at, value) in [(0, 23), (1, 2), (5, 2), (9, 2), (43, 33), (77, 3), (82, 0)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(read(&bytes), Hello::NotTls, "byte {at}");
    }
    for length in [0, 1, 2, 33, message_length - 1] {
        let mut bytes = good.clone();
        bytes[6..9].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
        assert_eq!(read(&bytes), Hello::NotTls, "{length} bytes");
    }
    // Another record goes between the pieces of a message.
    let mut pieces = records(&message(Some(&usual())), 50);
    pieces[55] = 20;
    assert_eq!(read(&pieces), Hello::NotTls);
}

#[test]
fn a_message_may_be_spread_over_records_but_not_its_name() {
    let mut extensions = usual().to_vec();
    extensions.insert(3, server_name(&[(0, b"api.example.com")]));
    let message = message(Some(&extensions));
    let start = message.windows(3).position(|three| three == b"api").unwrap();
    let (mut whole, mut cut) = (0, 0);
    for most in 1..message.len() {
        let bytes = records(&message, most);
        if start / most == (start + 14) / most {
            assert_eq!(name(&bytes), Some(b"api.example.com".as_slice()), "records of {most}");
            whole += 1;
        } else {
            assert_eq!(read(&bytes), Hello::NoName, "records of {most}");
            cut += 1;
        }
    }
    assert!(whole > 50 && cut > 20, "{whole} {cut}");
}

#[test]
fn messages_are_read_up_to_their_largest_length_and_no_further() {
    let of = |padding: usize| {
        let mut extensions = usual().to_vec();
        extensions.push(server_name(&[(0, b"a.example")]));
        extensions.push(extension(21, &vec![0; padding]));
        records(&message(Some(&extensions)), 1 << 14)
    };
    let room = MAX_HELLO as usize - of(0).len();
    assert_eq!(name(&of(room)), Some(b"a.example".as_slice()));
    for more in [1, 2, 5, 100, 5000] {
        let bytes = of(room + more);
        assert_eq!(read(&bytes), Hello::TooLong, "{more} more");
        for length in 0..bytes.len() {
            let answer = read(&bytes[..length]);
            assert!(matches!(answer, Hello::More | Hello::TooLong), "{answer:?} of {length}");
        }
    }
    let many = |count| {
        let extensions = vec![extension(0x0a0a, &[]); count];
        read(&records(&message(Some(&extensions)), 1 << 14))
    };
    assert_eq!(many(MAX_EXTENSIONS as usize), Hello::NoName);
    assert_eq!(many(MAX_EXTENSIONS as usize + 1), Hello::TooLong);
    // One byte to a record is as far as it goes.
    let bytes = records(&message(Some(&vec![extension(9, &[0; 12]); 100])), 1);
    assert_eq!((bytes.len() > MAX_HELLO as usize, read(&bytes)), (true, Hello::TooLong));
    let bytes = records(&message(Some(&vec![extension(9, &[0; 4]); 100])), 1);
    assert_eq!((bytes.len() < MAX_HELLO as usize, read(&bytes)), (true, Hello::NoName));
}

#[test]
fn an_encrypted_message_beside_it_is_told() {
    for (kind, expected) in [(0xfe0d, true), (0xfe0c, false)] {
        let extensions = [server_name(&[(0, b"a.com")]), extension(kind, &[0; 40])];
        let bytes = records(&message(Some(&extensions)), 1 << 14);
        let Hello::Name { is_encrypted, .. } = read(&bytes) else { panic!("{:?}", read(&bytes)) };
        assert_eq!(is_encrypted, expected);
    }
}

proptest! {
    #[test]
    fn an_answer_stands_whatever_follows_and_more_is_asked_for_before(
        labels in prop::collection::vec("[a-z0-9]{0,3}[a-z.\\x00\\x80]{1,9}", 1..4),
        before in 0_usize..6,
        most in 1_usize..600,
        change in prop::option::of((0_usize..400, any::<u8>())),
    ) {
        let server = labels.join(".");
        let mut extensions = usual().to_vec();
        extensions.insert(before.min(5), server_name(&[(0, server.as_bytes())]));
        let mut bytes = records(&message(Some(&extensions)), most);
        if let Some((at, value)) = change {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let whole = read(&bytes);
        let answers: Vec<Hello> = (0..=bytes.len()).map(|end| read(&bytes[..end])).collect();
        let asked = answers.iter().take_while(|answer| **answer == Hello::More).count();
        for answer in &answers[asked.min(bytes.len())..] {
            prop_assert_eq!(*answer, whole);
        }
        if let Hello::Name { at, length, .. } = whole {
            prop_assert_eq!(asked, bytes.len(), "the last byte is needed");
            let found = &bytes[at as usize..(at + length) as usize];
            if change.is_none() {
                prop_assert_eq!(found, server.as_bytes());
            }
            prop_assert!(found.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c)));
            prop_assert!(!found.ends_with(b".") && !found.starts_with(b"."));
        }
    }

    #[test]
    fn any_bytes_have_an_answer_that_stands(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        start in 0_usize..120,
    ) {
        // Most of these begin as messages do.
        let good = naming(b"a.example");
        let bytes = [&good[..start], &bytes].concat();
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            let answer = read(&bytes[..end]);
            prop_assert!(answer == whole || answer == Hello::More, "{answer:?}, then {whole:?}");
        }
    }
}
