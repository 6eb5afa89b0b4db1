//! The fields of the message, in the order in which they come.

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
