//! How acts and their arguments are written down: words separated by spaces, with bytes that are
//! not plain as `%XX`. A path may hold any byte but NUL.

/// A word as it stands in a line. The empty word is `%`.
pub(crate) fn encode(word: &[u8]) -> String {
    if word.is_empty() {
        return "%".to_owned();
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    word.iter()
        .map(|&byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The bytes that a word stands for.
pub(crate) fn decode(word: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        let number = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, number.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'%', None) => rest = after,
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// The words of a line.
pub(crate) fn split(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').filter(|word| !word.is_empty()).map(decode).collect()
}
