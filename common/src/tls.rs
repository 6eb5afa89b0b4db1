//! The server that a TLS connection names: the `server_name` of the first message that a client
//! sends (RFC 8446, section 4.1.2; RFC 6066, section 3).
//!
//! The message may be spread over several records, and the bytes may arrive in any pieces: the
//! question is asked again with more of them, until it has an answer. What a server might read in
//! two ways is no name here.

mod field;
mod parser;

pub(crate) use parser::Parser;

/// Bytes of a connection that are looked at. Longer messages are refused: those of browsers, with
/// keys for post-quantum exchange, have about 2,000.
pub const MAX_HELLO: u32 = 8192;
/// Extensions of a message that are looked at; browsers send about 20.
const MAX_EXTENSIONS: u32 = 128;
/// Turns of the parser: more than any message of [`MAX_HELLO`] bytes and [`MAX_EXTENSIONS`] takes,
/// if each record held one byte.
pub(crate) const MAX_TURNS: u32 = MAX_HELLO + 1024;
/// Bytes after a message that may be data sent before the server's answer (0-RTT), which a server
/// passes over that asks for another message. Servers take from 4,096 to 16,384.
const MAX_EARLY: u32 = 1 << 16;
/// Bytes that a name has room for: it stands at the end.
pub const NAME_ROOM: usize = 256;

/// The first bytes of a connection.
pub trait Bytes {
    /// The byte at `at`; `None` when it has not arrived.
    fn byte(&self, at: u32) -> Option<u8>;

    /// As [`Image::repeat`](crate::Image::repeat).
    #[inline(always)]
    fn repeat<S>(&self, turns: u32, state: &mut S, turn: impl Fn(&Self, &mut S) -> bool) {
        for _ in 0..turns {
            if !turn(self, state) {
                break;
            }
        }
    }
}

impl Bytes for [u8] {
    fn byte(&self, at: u32) -> Option<u8> {
        self.get(at as usize).copied()
    }
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// A whole message that names one server. The name is made of letters, digits, `-`, `_` and
    /// dots, has no dot at its end, and is no address.
    Name {
        /// Where the name begins.
        at: u32,
        /// Its bytes, from 1 to 253.
        length: u32,
        /// Another message goes with it, encrypted, that may name another server (the extension
        /// `encrypted_client_hello`), or something that looks like one.
        is_encrypted: bool,
    },
    /// A message that names no server, several, or what is no host name.
    NoName,
    /// Something else: another protocol, SSL before version 3, or a malformed message.
    NotTls,
    /// The beginning of a message: more bytes are needed.
    More,
    /// A message that goes beyond [`MAX_HELLO`] bytes, or has too many extensions.
    TooLong,
}

/// Reads the first bytes of a connection. An answer other than [`Hello::More`] stays the same
/// whatever follows.
pub fn hello<B: Bytes + ?Sized>(bytes: &B) -> Hello {
    let mut parser = Parser::START;
    bytes.repeat(MAX_TURNS, &mut parser, |bytes, parser| parser.turn(bytes));
    match parser.end {
        end::NAME => Hello::Name {
            at: parser.name_at,
            length: parser.name_length,
            is_encrypted: parser.is_encrypted,
        },
        end::NO_NAME => Hello::NoName,
        end::NOT_TLS => Hello::NotTls,
        end::MORE => Hello::More,
        _ => Hello::TooLong,
    }
}

/// How reading ended. Numbers, since to the verifier a choice among names is a branch each.
pub(crate) mod end {
    /// It did not.
    pub(crate) const GOES_ON: u32 = 0;
    pub(crate) const NAME: u32 = 1;
    pub(crate) const NO_NAME: u32 = 2;
    pub(crate) const NOT_TLS: u32 = 3;
    pub(crate) const MORE: u32 = 4;
    pub(crate) const TOO_LONG: u32 = 5;
    /// No message follows that names a server in the clear.
    pub(crate) const DONE: u32 = 6;
}

#[cfg(test)]
mod tests;
