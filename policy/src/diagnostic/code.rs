//! The stable names of findings. A number is never used for another finding again.

/// The file cannot be read.
pub const UNREADABLE: &str = "RF0001";
/// The file is larger than a policy may be.
pub const TOO_LARGE: &str = "RF0002";
/// The file is not UTF-8 text.
pub const NOT_TEXT: &str = "RF0003";
/// The file holds no document.
pub const EMPTY: &str = "RF0004";
/// The text is not YAML.
pub const SYNTAX: &str = "RF0005";
/// The file holds more documents than are read.
pub const SEVERAL_DOCUMENTS: &str = "RF0006";
/// The document is not a mapping.
pub const NOT_A_MAPPING: &str = "RF0007";
/// Nested too deep, or too many values once aliases are expanded.
pub const LIMIT: &str = "RF0008";
/// An alias that refers to nothing, or to what contains it.
pub const ALIAS: &str = "RF0009";
/// A key stands twice in one mapping.
pub const DUPLICATE_KEY: &str = "RF0010";
/// A mapping's key is not text.
pub const KEY_NOT_TEXT: &str = "RF0011";
/// A tag, a merge key, or a stray carriage return, which policies do not use.
pub const UNSUPPORTED_YAML: &str = "RF0012";
/// No dialect has these keys.
pub const UNKNOWN_DIALECT: &str = "RF0020";
/// A version of a dialect that is not read.
pub const UNSUPPORTED_VERSION: &str = "RF0021";

/// A key that the dialect does not have there.
pub const UNKNOWN_KEY: &str = "RF0101";
/// A key that must be there is not.
pub const MISSING_KEY: &str = "RF0102";
/// A value of the wrong type.
pub const WRONG_TYPE: &str = "RF0103";
/// A value that is not among those allowed.
pub const UNKNOWN_VALUE: &str = "RF0104";
/// A number outside its range, or a text or list shorter than it must be.
pub const OUT_OF_RANGE: &str = "RF0105";
/// Keys that exclude each other, or that need each other.
pub const CONFLICT: &str = "RF0106";

/// A path that is not absolute.
pub const RELATIVE_PATH: &str = "RF0201";
/// A path that the kernel never yields: `//`, `.`, `..`, a trailing slash.
pub const ABNORMAL_PATH: &str = "RF0202";
/// A path pattern that cannot be read.
pub const BAD_GLOB: &str = "RF0203";
/// A destination that is a URL, or has a path.
pub const URL_FOR_HOST: &str = "RF0210";
/// A destination that is no host name and no address.
pub const BAD_HOST: &str = "RF0211";
/// A network whose address has bits set beyond its prefix, or a prefix out of range.
pub const BAD_NETWORK: &str = "RF0212";
/// A port or range of ports that does not exist.
pub const BAD_PORT: &str = "RF0213";
/// A duration or an amount of bytes that cannot be read.
pub const BAD_AMOUNT: &str = "RF0220";
/// An entry of `path_map` that is no pair of folders, or maps a folder twice or to itself.
pub const BAD_PATH_MAP: &str = "RF0221";
/// A digest that is none.
pub const BAD_DIGEST: &str = "RF0222";

/// Nothing in the document concerns the kernel.
pub const NOTHING_ENFORCED: &str = "RF0301";
/// A list that is present and empty: nothing is allowed.
pub const EMPTY_ALLOWLIST: &str = "RF0302";
/// A rule that allows everything.
pub const ALLOWS_EVERYTHING: &str = "RF0303";
/// A pattern of host names is denied, which closes no address.
pub const DENIED_PATTERN: &str = "RF0304";
/// A rule that nothing can match.
pub const NEVER_MATCHES: &str = "RF0306";
/// A writable path that is not readable.
pub const WRITE_WITHOUT_READ: &str = "RF0307";
/// A part of the document that this version does not enforce.
pub const NOT_ENFORCED: &str = "RF0308";
/// A group that is absent and therefore not governed.
pub const NOT_GOVERNED: &str = "RF0309";
/// Two settings of one document of which the reader would expect something else together.
pub const SURPRISING: &str = "RF0310";
/// A deny rule that takes nothing: nothing that it names is allowed.
pub const DENY_TAKES_NOTHING: &str = "RF0311";
/// An allow rule of which everything is denied.
pub const SHADOWED: &str = "RF0312";
/// A rule that other rules cover already.
pub const REDUNDANT: &str = "RF0313";

/// A document that needs another beside it.
pub const MISSING_COMPANION: &str = "RF0401";
/// Documents that leave nothing allowed between them.
pub const DISJOINT: &str = "RF0402";
/// Two documents speak of what looks like one folder by different roots.
pub const DIFFERENT_ROOTS: &str = "RF0403";
/// A pattern that `path_map` cannot rewrite, though it may reach below a mapped folder.
pub const UNMAPPED_PATTERN: &str = "RF0404";

/// The boundary cannot be compiled to tables.
pub const NOT_COMPILED: &str = "RF0501";

/// The file is no configuration of the agent.
pub const NOT_A_CONFIGURATION: &str = "RF0601";
/// A name that cannot be a scope's, or that another scope has.
pub const BAD_SCOPE_NAME: &str = "RF0602";
/// A selector that selects what must not be governed, or nothing.
pub const BAD_SELECTOR: &str = "RF0603";
/// A selector that selects what one before it does.
pub const SELECTED_ALREADY: &str = "RF0604";
/// An address on which the agent does not serve.
pub const BAD_LISTENER: &str = "RF0605";
