//! Reads the message a field at a time.

use super::{Bytes, MAX_EARLY, MAX_EXTENSIONS, MAX_HELLO, NAME_ROOM, end, field};

/// `change_cipher_spec` (RFC 8446, section 5.1).
const CHANGE_CIPHER_SPEC: u32 = 20;
/// `alert`.
const ALERT: u32 = 21;
/// `application_data`.
const APPLICATION_DATA: u32 = 23;
/// `handshake`.
const HANDSHAKE: u32 = 22;
/// Bytes of a record's header.
const RECORD_HEADER: u32 = 5;
/// Bytes of the longest record (RFC 8446, section 5.1).
const MAX_RECORD: u32 = 1 << 14;
/// Bytes of the longest message that any server takes, and more than most of random numbers.
const MAX_ANY: u32 = 1 << 17;
/// `client_hello` (RFC 8446, section 4).
const CLIENT_HELLO: u32 = 1;
/// `server_name` (RFC 6066, section 1.1).
const SERVER_NAME: u32 = 0;
/// `early_data` (RFC 8446, section 4.2).
const EARLY_DATA: u32 = 42;
/// `encrypted_client_hello` (RFC 9849).
const ENCRYPTED_CLIENT_HELLO: u32 = 0xfe0d;
/// `host_name` (RFC 6066, section 3).
const HOST_NAME: u32 = 0;
/// Bytes of the longest label of a host name (RFC 1035, section 2.3.4).
const MAX_LABEL: u32 = 63;

/// Where reading stands. What was read is not needed again, so that it goes on with what arrives.
///
/// In the kernel programs it lies in a map, where every number is any number to the verifier: see
/// [`Image::repeat`](crate::Image::repeat).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Parser {
    /// The next byte.
    pub(crate) at: u32,
    /// How far a message may go.
    limit: u32,
    /// The record's type.
    kind: u32,
    /// Bytes of its header that were read, when there are more.
    header: u32,
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
    /// What was read of the record's length.
    length: u32,
    extensions: u32,
    extension_type: u32,
    pub(super) name_at: u32,
    /// 0 when there is none yet.
    pub(crate) name_length: u32,
    /// Bytes of the name's label.
    label: u32,
    /// How it ended.
    pub(crate) end: u32,
    /// The label has digits only.
    is_number: bool,
    pub(super) is_encrypted: bool,
    /// A message came before, and was fine: the server may have asked for another.
    is_again: bool,
    /// Data may come that the server passes over.
    is_early: bool,
    /// The name, at the end.
    pub(crate) name: [u8; NAME_ROOM],
}

impl Parser {
    pub(crate) const START: Self = Self {
        at: 0,
        limit: MAX_HELLO,
        kind: 0,
        header: 0,
        record: 0,
        offset: 0,
        message_end: 0,
        extension_end: 0,
        field: field::TYPE,
        need: 1,
        number: 0,
        length: 0,
        extensions: 0,
        extension_type: 0,
        name_at: 0,
        name_length: 0,
        label: 0,
        end: end::GOES_ON,
        is_number: true,
        is_encrypted: false,
        is_again: false,
        is_early: false,
        name: [0; NAME_ROOM],
    };

    /// Sets what is all zero to the start.
    #[inline(always)]
    pub(crate) const fn begin(&mut self) {
        self.limit = MAX_HELLO;
        self.need = 1;
        self.is_number = true;
    }

    /// Goes on after a message that was fine. A server may answer it by asking for another (RFC
    /// 8446, section 4.1.4), and some take the name that is in that one.
    #[inline(always)]
    pub(crate) const fn again(&mut self) {
        let early = if self.is_early { MAX_EARLY } else { 0 };
        self.limit = self.at.wrapping_add(MAX_HELLO + early);
        self.offset = 0;
        self.message_end = 0;
        self.extensions = 0;
        self.name_length = 0;
        self.label = 0;
        self.is_number = true;
        self.is_again = true;
        self.end = end::GOES_ON;
        self.expect(field::TYPE, 1);
    }

    /// Nothing was read of a message, nor of a record's header, after one that was fine.
    #[inline(always)]
    pub(crate) const fn is_between(&self) -> bool {
        self.is_again && self.is_at_type() && self.header == 0 && self.record == 0
    }

    #[inline(always)]
    const fn is_at_type(&self) -> bool {
        self.field == field::TYPE && self.need == 1
    }

    /// One thing: the end of a field, a byte of a record's header, of a number or of the name, or
    /// as much of another field as the record holds. False at the end.
    #[inline(always)]
    pub(crate) fn turn<B: Bytes + ?Sized>(&mut self, bytes: &B) -> bool {
        if self.need == 0 {
            self.finish(bytes);
        } else if self.at >= self.limit {
            let is_over = self.is_again && self.is_at_type();
            self.end = if is_over { end::DONE } else { end::TOO_LONG };
        } else if self.record == 0 {
            self.header(bytes);
        } else if self.kind != HANDSHAKE {
            self.at = self.at.wrapping_add(self.record);
            self.record = 0;
        } else if self.is_skipped() {
            let part = if self.need < self.record { self.need } else { self.record };
            self.consume(part);
        } else {
            self.read(bytes);
        }
        self.end == end::GOES_ON
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

    /// A byte of a record's header: type, version, length.
    #[inline(always)]
    fn header<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        let Some(byte) = bytes.byte(self.at) else {
            self.end = end::MORE;
            return;
        };
        let byte = byte as u32;
        match self.header {
            0 => {
                self.kind = byte;
                if byte != HANDSHAKE {
                    self.end = self.other_record(byte);
                }
            }
            1 if byte != 3 => self.end = end::NOT_TLS,
            3 => self.length = byte,
            4 => {
                self.record = self.length << 8 | byte;
                // What is encrypted is longer by at most as much.
                let most = if self.kind == HANDSHAKE { MAX_RECORD } else { MAX_RECORD + 256 };
                if self.record == 0 || self.record > most {
                    self.end = end::NOT_TLS;
                }
            }
            _ => {}
        }
        self.header = if self.header >= RECORD_HEADER - 1 { 0 } else { self.header + 1 };
        self.at = self.at.wrapping_add(1);
    }

    /// How reading ends at a record that is none of the handshake; it goes on where a server that
    /// asked for another message takes the record, or passes it over.
    #[inline(always)]
    const fn other_record(&self, kind: u32) -> u32 {
        if !self.is_again || !self.is_at_type() {
            return end::NOT_TLS;
        }
        let is_passed = kind == CHANGE_CIPHER_SPEC
            || kind == ALERT
            || kind == APPLICATION_DATA && self.is_early;
        if is_passed { end::GOES_ON } else { end::DONE }
    }

    /// A byte of a number or of the name.
    #[inline(always)]
    fn read<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        let Some(byte) = bytes.byte(self.at) else {
            self.end = end::MORE;
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
                self.end = end::NO_NAME;
            }
        }
        let at = (NAME_ROOM as u32).wrapping_sub(self.need) as usize % NAME_ROOM;
        self.name[at] = byte;
        match byte {
            b'.' if self.label > 0 => {
                self.label = 0;
                self.is_number = true;
                return;
            }
            b'0'..=b'9' => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => self.is_number = false,
            _ => self.end = end::NO_NAME,
        }
        self.label = self.label.wrapping_add(1);
        if self.label > MAX_LABEL {
            self.end = end::NO_NAME;
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
        // After a message that was fine: not encrypted, as far as one can tell.
        let mut is_clear = true;
        match self.field {
            field::TYPE => {
                is_fine = number == CLIENT_HELLO;
                if self.is_again {
                    self.limit = self.at.wrapping_add(MAX_HELLO);
                    is_clear &= is_fine;
                }
                self.expect(field::LENGTH, 3);
            }
            field::LENGTH => {
                self.message_end = self.offset.wrapping_add(number);
                is_clear &= number <= MAX_ANY;
                self.expect(field::VERSION, 2);
            }
            field::VERSION => {
                is_fine = number >> 8 == 3;
                is_clear &= is_fine;
                if self.message_end > MAX_HELLO {
                    self.end = end::TOO_LONG;
                }
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
            field::METHODS if self.offset == self.message_end => self.end = end::NO_NAME,
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
                    self.end = end::NO_NAME;
                }
                self.expect(field::NAME_LENGTH, 2);
            }
            field::NAME_LENGTH => {
                let end = self.offset.wrapping_add(number);
                // Another entry follows, or the name is none.
                if end < self.extension_end || number == 0 || number > crate::names::MAX_NAME {
                    self.end = end::NO_NAME;
                }
                is_fine = end <= self.extension_end;
                self.expect(field::NAME, number);
            }
            field::NAME => {
                // A dot at the end, or an IPv4 address (RFC 1123, section 2.1).
                if self.label == 0 || self.is_number {
                    self.end = end::NO_NAME;
                }
                self.next_extension(bytes);
            }
            _ => self.next_extension(bytes),
        }
        // Every field lies inside the message.
        let is_inside = self.offset.wrapping_add(self.need) <= self.message_end;
        if !is_fine || !(is_inside || self.field <= field::LENGTH) {
            self.end = end::NOT_TLS;
        }
        if self.is_again && !is_clear {
            self.end = end::DONE;
        }
    }

    /// The beginning of an extension's content.
    #[inline(always)]
    const fn extension(&mut self, length: u32) {
        if self.extension_type == SERVER_NAME {
            if self.name_length != 0 {
                self.end = end::NO_NAME;
            }
            self.expect(field::LIST_LENGTH, 2);
            return;
        }
        if self.extension_type == ENCRYPTED_CLIENT_HELLO {
            self.is_encrypted = true;
        }
        if self.extension_type == EARLY_DATA {
            self.is_early = true;
        }
        self.expect(field::EXTENSION, length);
    }

    /// After an extension: the next one, or the end of the message.
    #[inline(always)]
    fn next_extension<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        self.extensions = self.extensions.wrapping_add(1);
        if self.offset != self.message_end {
            if self.extensions > MAX_EXTENSIONS && self.end == end::GOES_ON {
                self.end = end::TOO_LONG;
            }
            self.expect(field::EXTENSION_TYPE, 2);
        } else if self.end == end::GOES_ON {
            // What was passed over may not have arrived.
            self.end = if self.at > self.limit {
                end::TOO_LONG
            } else if bytes.byte(self.at.wrapping_sub(1)).is_none() {
                end::MORE
            } else if self.name_length == 0 {
                end::NO_NAME
            } else {
                end::NAME
            };
        }
    }
}
