//! The first message of TLS (RFC 8446, section 4.1.2), in which a client names the server that it
//! wants: written and read byte by byte, since no library would write it wrongly.

/// Of a record of the handshake.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// A record that clients send between their messages for old machines on the way.
const CHANGE_CIPHER_SPEC: u8 = 20;
/// The number of the extension that names a server, and of one that only makes the message longer.
const SERVER_NAME: u16 = 0;
const PADDING: u16 = 21;

/// A client's first message, in one record. `padding` bytes come before the name, so that the name
/// can be as far behind as one likes.
pub(crate) fn hello(name: Option<&str>, padding: usize) -> Vec<u8> {
    let mut extensions = Vec::new();
    if padding > 0 {
        extensions.extend(extension(PADDING, &vec![0; padding]));
    }
    // Supported versions: 1.3 and 1.2.
    extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    if let Some(name) = name {
        let entry = [&[0_u8][..], &long(name.as_bytes())].concat();
        extensions.extend(extension(SERVER_NAME, &long(&entry)));
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    // Cipher suites, and no compression.
    body.extend(long(&[0x13, 0x01, 0x13, 0x02, 0xc0, 0x2f]));
    body.extend([1, 0]);
    body.extend(long(&extensions));
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[CLIENT_HELLO], &length[1..], &body].concat();
    [&[HANDSHAKE, 3, 1][..], &long(&handshake)].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(number: u16, bytes: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &long(bytes)].concat()
}

/// What a server makes of the first message that it has got, and how many bytes it goes on over;
/// `None` if it waits for more.
pub(super) fn said(bytes: &[u8]) -> Option<(String, usize)> {
    let (&first, rest) = bytes.split_first()?;
    if first != HANDSHAKE && first != CHANGE_CIPHER_SPEC {
        return Some(("plain text".to_owned(), bytes.len()));
    }
    let length = usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?));
    let message = rest.get(4..4 + length)?;
    let said = match (first, message.first()) {
        (HANDSHAKE, Some(&CLIENT_HELLO)) => {
            let name = server_name(message);
            format!("hello {}", name.unwrap_or_else(|| "nobody".to_owned()))
        }
        _ => String::new(),
    };
    Some((said, 5 + length))
}

fn server_name(message: &[u8]) -> Option<String> {
    // Type and length, version, random bytes.
    let mut rest = message.get(4 + 2 + 32..)?;
    let session = usize::from(*rest.first()?);
    rest = rest.get(1 + session..)?;
    rest = rest.get(2 + length(rest)?..)?;
    let methods = usize::from(*rest.first()?);
    rest = rest.get(1 + methods + 2..)?;
    while let (Some(number), Some(size)) = (length(rest), rest.get(2..).and_then(length)) {
        let data = rest.get(4..4 + size)?;
        if number == usize::from(SERVER_NAME) {
            return Some(String::from_utf8_lossy(data.get(5..)?).into_owned());
        }
        rest = rest.get(4 + size..)?;
    }
    None
}

fn length(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?)))
}
