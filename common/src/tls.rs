//! The server that a TLS connection names: the `server_name` of the first message that a client
//! sends (RFC 8446, section 4.1.2; RFC 6066, section 3).
//!
//! The message may be spread over several records, and the bytes may arrive in any pieces: the
//! question is asked again with more of them, until it has an answer. What a server might read in
//! two ways is no name here.

/// Bytes of a connection that are looked at. Longer messages are refused: those of browsers, with
/// keys for post-quantum exchange, have about 2,000.
pub const MAX_HELLO: u32 = 8192;
/// Extensions of a message that are looked at; browsers send about 20.
const MAX_EXTENSIONS: u32 = 128;
/// Turns of the parser: more than any message of [`MAX_HELLO`] bytes and [`MAX_EXTENSIONS`] takes,
/// if each record held one byte.
const MAX_TURNS: u32 = 8192;

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
#[inline(always)]
pub fn hello<B: Bytes + ?Sized>(bytes: &B) -> Hello {
    let mut parser = Parser::START;
    bytes.repeat(MAX_TURNS, &mut parser, |bytes, parser| {
        parser.turn(bytes);
        parser.end == GOES_ON
    });
    match parser.end {
        NAME => Hello::Name {
            at: parser.name_at,
            length: parser.name_length,
            is_encrypted: parser.is_encrypted,
        },
        NO_NAME => Hello::NoName,
        NOT_TLS => Hello::NotTls,
        MORE => Hello::More,
        _ => Hello::TooLong,
    }
}

// How the parser ended. Numbers, since to the verifier a choice among names is a branch each.
const GOES_ON: u32 = 0;
const NAME: u32 = 1;
const NO_NAME: u32 = 2;
const NOT_TLS: u32 = 3;
const MORE: u32 = 4;
const TOO_LONG: u32 = 5;

/// A field of the message.
mod field {
    pub(super) const TYPE: u32 = 0;
    pub(super) const LENGTH: u32 = 1;
    pub(super) const VERSION: u32 = 2;
    pub(super) const RANDOM: u32 = 3;
    pub(super) const SESSION_LENGTH: u32 = 4;
    pub(super) const SESSION: u32 = 5;
    pub(super) const SUITES_LENGTH: u32 = 6;
    pub(super) const SUITES: u32 = 7;
    pub(super) const METHODS_LENGTH: u32 = 8;
    pub(super) const METHODS: u32 = 9;
    pub(super) const EXTENSIONS_LENGTH: u32 = 10;
    pub(super) const EXTENSION_TYPE: u32 = 11;
    pub(super) const EXTENSION_LENGTH: u32 = 12;
    pub(super) const EXTENSION: u32 = 13;
    pub(super) const LIST_LENGTH: u32 = 14;
    pub(super) const NAME_TYPE: u32 = 15;
    pub(super) const NAME_LENGTH: u32 = 16;
    pub(super) const NAME: u32 = 17;
}

/// `handshake` (RFC 8446, section 5.1).
const HANDSHAKE: u32 = 22;
/// Bytes of a record's header.
const RECORD_HEADER: u32 = 5;
/// Bytes of the longest record (RFC 8446, section 5.1).
const MAX_RECORD: u32 = 1 << 14;
/// `client_hello` (RFC 8446, section 4).
const CLIENT_HELLO: u32 = 1;
/// `server_name` (RFC 6066, section 1.1).
const SERVER_NAME: u32 = 0;
/// `encrypted_client_hello` (RFC 9849).
const ENCRYPTED_CLIENT_HELLO: u32 = 0xfe0d;
/// `host_name` (RFC 6066, section 3).
const HOST_NAME: u32 = 0;
/// Bytes of the longest label of a host name (RFC 1035, section 2.3.4).
const MAX_LABEL: u32 = 63;

/// Where reading stands.
struct Parser {
    /// The next byte.
    at: u32,
    /// Bytes of the record that follow.
    record: u32,
    /// Bytes of the message that were read.
    offset: u32,
    /// Where the message ends, in such bytes.
    message_end: u32,
    /// Where the extension ends.
    extension_end: u32,
    field: u32,
    /// Bytes of the field that follow.
    need: u32,
    /// What was read of the field, where it is a number.
    number: u32,
    extensions: u32,
    extension_type: u32,
    name_at: u32,
    /// 0 when there is none yet.
    name_length: u32,
    /// Bytes of the name's label.
    label: u32,
    /// The label has digits only.
    is_number: bool,
    is_encrypted: bool,
    end: u32,
}

impl Parser {
    const START: Self = Self {
        at: 0,
        record: 0,
        offset: 0,
        message_end: 0,
        extension_end: 0,
        field: field::TYPE,
        need: 1,
        number: 0,
        extensions: 0,
        extension_type: 0,
        name_at: 0,
        name_length: 0,
        label: 0,
        is_number: true,
        is_encrypted: false,
        end: GOES_ON,
    };

    /// One thing: the end of a field, a record's header, a byte of a number or of the name, or as
    /// much of another field as the record holds.
    #[inline(always)]
    fn turn<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        if self.need == 0 {
            self.finish(bytes);
        } else if self.at >= MAX_HELLO {
            self.end = TOO_LONG;
        } else if self.record == 0 {
            self.header(bytes);
        } else if self.is_skipped() {
            let part = if self.need < self.record { self.need } else { self.record };
            self.consume(part);
        } else {
            self.read(bytes);
        }
    }

    #[inline(always)]
    const fn is_skipped(&self) -> bool {
        matches!(
            self.field,
            field::RANDOM | field::SESSION | field::SUITES | field::METHODS | field::EXTENSION
        )
    }

    /// Goes on over bytes of the record, of which there are as many, and of the field.
    #[inline(always)]
    const fn consume(&mut self, bytes: u32) {
        self.at = self.at.wrapping_add(bytes);
        self.record = self.record.wrapping_sub(bytes);
        self.need = self.need.wrapping_sub(bytes);
        self.offset = self.offset.wrapping_add(bytes);
    }

    #[inline(always)]
    fn header<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        if self.at > MAX_HELLO - RECORD_HEADER {
            self.end = TOO_LONG;
            return;
        }
        let byte = |further: u32| bytes.byte(self.at.wrapping_add(further)).map(u32::from);
        let (kind, major) = (byte(0), byte(1));
        if kind.is_some_and(|kind| kind != HANDSHAKE) || major.is_some_and(|major| major != 3) {
            self.end = NOT_TLS;
            return;
        }
        let (Some(high), Some(low)) = (byte(3), byte(4)) else {
            self.end = MORE;
            return;
        };
        let length = high << 8 | low;
        if length == 0 || length > MAX_RECORD {
            self.end = NOT_TLS;
        }
        self.record = length;
        self.at = self.at.wrapping_add(RECORD_HEADER);
    }

    /// A byte of a number or of the name.
    #[inline(always)]
    fn read<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        let Some(byte) = bytes.byte(self.at) else {
            self.end = MORE;
            return;
        };
        if self.field == field::NAME {
            self.read_name(byte);
        } else {
            self.number = self.number << 8 | byte as u32;
        }
        self.consume(1);
    }

    #[inline(always)]
    fn read_name(&mut self, byte: u8) {
        if self.name_length == 0 {
            self.name_length = self.need;
            self.name_at = self.at;
            // No client cuts a name in two. A reader of packets is lost between the pieces.
            if self.need > self.record {
                self.end = NO_NAME;
            }
        }
        match byte {
            b'.' if self.label > 0 => {
                self.label = 0;
                self.is_number = true;
                return;
            }
            b'0'..=b'9' => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => self.is_number = false,
            _ => self.end = NO_NAME,
        }
        self.label = self.label.wrapping_add(1);
        if self.label > MAX_LABEL {
            self.end = NO_NAME;
        }
    }

    #[inline(always)]
    const fn expect(&mut self, field: u32, need: u32) {
        self.field = field;
        self.need = need;
        self.number = 0;
    }

    /// At the end of a field: what follows it.
    #[inline(always)]
    fn finish<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        let number = self.number;
        // Malformed, if it does not hold.
        let mut is_fine = true;
        match self.field {
            field::TYPE => {
                is_fine = number == CLIENT_HELLO;
                self.expect(field::LENGTH, 3);
            }
            field::LENGTH => {
                self.message_end = self.offset.wrapping_add(number);
                if number > MAX_HELLO {
                    self.end = TOO_LONG;
                }
                self.expect(field::VERSION, 2);
            }
            field::VERSION => {
                is_fine = number >> 8 == 3;
                self.expect(field::RANDOM, 32);
            }
            field::RANDOM => self.expect(field::SESSION_LENGTH, 1),
            field::SESSION_LENGTH => {
                is_fine = number <= 32;
                self.expect(field::SESSION, number);
            }
            field::SESSION => self.expect(field::SUITES_LENGTH, 2),
            field::SUITES_LENGTH => {
                is_fine = number >= 2 && number & 1 == 0;
                self.expect(field::SUITES, number);
            }
            field::SUITES => self.expect(field::METHODS_LENGTH, 1),
            field::METHODS_LENGTH => {
                is_fine = number >= 1;
                self.expect(field::METHODS, number);
            }
            field::METHODS if self.offset == self.message_end => self.end = NO_NAME,
            field::METHODS => self.expect(field::EXTENSIONS_LENGTH, 2),
            field::EXTENSIONS_LENGTH => {
                is_fine = self.offset.wrapping_add(number) == self.message_end;
                self.next_extension(bytes);
            }
            field::EXTENSION_TYPE => {
                self.extension_type = number;
                self.expect(field::EXTENSION_LENGTH, 2);
            }
            field::EXTENSION_LENGTH => {
                self.extension_end = self.offset.wrapping_add(number);
                is_fine = self.extension_end <= self.message_end;
                self.extension(number);
            }
            field::LIST_LENGTH => {
                // One entry at least: a type, a length of two bytes, and a name.
                let fills = self.offset.wrapping_add(number) == self.extension_end;
                is_fine = fills && number > 3;
                self.expect(field::NAME_TYPE, 1);
            }
            field::NAME_TYPE => {
                if number != HOST_NAME {
                    self.end = NO_NAME;
                }
                self.expect(field::NAME_LENGTH, 2);
            }
            field::NAME_LENGTH => {
                let end = self.offset.wrapping_add(number);
                // Another entry follows, or the name is none.
                if end < self.extension_end || number == 0 || number > crate::names::MAX_NAME {
                    self.end = NO_NAME;
                }
                is_fine = end <= self.extension_end;
                self.expect(field::NAME, number);
            }
            field::NAME => {
                // A dot at the end, or an IPv4 address (RFC 1123, section 2.1).
                if self.label == 0 || self.is_number {
                    self.end = NO_NAME;
                }
                self.next_extension(bytes);
            }
            _ => self.next_extension(bytes),
        }
        // Every field lies inside the message.
        let is_inside = self.offset.wrapping_add(self.need) <= self.message_end;
        if !is_fine || !(is_inside || self.field <= field::LENGTH) {
            self.end = NOT_TLS;
        }
    }

    /// The beginning of an extension's content.
    #[inline(always)]
    const fn extension(&mut self, length: u32) {
        if self.extension_type == SERVER_NAME {
            if self.name_length != 0 {
                self.end = NO_NAME;
            }
            self.expect(field::LIST_LENGTH, 2);
            return;
        }
        if self.extension_type == ENCRYPTED_CLIENT_HELLO {
            self.is_encrypted = true;
        }
        self.expect(field::EXTENSION, length);
    }

    /// After an extension: the next one, or the end of the message.
    #[inline(always)]
    fn next_extension<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        self.extensions = self.extensions.wrapping_add(1);
        if self.offset != self.message_end {
            if self.extensions > MAX_EXTENSIONS && self.end == GOES_ON {
                self.end = TOO_LONG;
            }
            self.expect(field::EXTENSION_TYPE, 2);
        } else if self.end == GOES_ON {
            // What was passed over may not have arrived.
            self.end = if self.at > MAX_HELLO {
                TOO_LONG
            } else if bytes.byte(self.at.wrapping_sub(1)).is_none() {
                MORE
            } else if self.name_length == 0 {
                NO_NAME
            } else {
                NAME
            };
        }
    }
}

#[cfg(test)]
mod tests;
