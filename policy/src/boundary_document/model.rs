//! The fields of a `boundary` document: our own language, `docs/policies.md` describes it.

use crate::{
    coverage::{
        Coverage::{Fields, Kernel, Language},
        Part,
    },
    document::{Key, Node, Span, Spanned, Value},
    model::{Field, Model, Scalar, model, words},
    schema::{
        Form,
        Shape::{self, Dependent, Group, List, Whole},
    },
};

/// An absolute path, or a pattern of paths.
const PATTERN: Shape = Shape::Form(&Form {
    name: "a path or a pattern of paths",
    example: "/srv/work/**",
    takes_numbers: false,
    json: r#"{"type": "string", "minLength": 1}"#,
});
const SOCKET: Shape = Shape::Form(&Form {
    name: "the path or abstract name of a Unix socket, or a pattern",
    example: "/run/dbus/system_bus_socket",
    takes_numbers: false,
    json: r#"{"type": "string", "minLength": 1}"#,
});
/// A folder.
const FOLDER: Shape = Shape::Form(&Form {
    name: "the path of a folder",
    example: "/srv/work",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^/"}"#,
});
const HOST: Shape = Shape::Form(&Form {
    name: "a host name",
    example: "api.example.com",
    takes_numbers: false,
    json: r#"{"type": "string", "minLength": 1}"#,
});
const NETWORK: Shape = Shape::Form(&Form {
    name: "an address or a network",
    example: "10.0.0.0/8",
    takes_numbers: false,
    json: r#"{"type": "string", "minLength": 1}"#,
});
const PORT: Shape = Shape::Form(&Form {
    name: "a port or a range of ports",
    example: "443",
    takes_numbers: true,
    json: r#"{"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535},
                        {"type": "string", "pattern": "^ *0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]) *(- *0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]) *)?$"}]}"#,
});
const RIGHT: Shape = Shape::Form(&Form {
    name: "a right over files",
    example: "read",
    takes_numbers: false,
    json: r#"{"enum": ["read", "write", "content", "create", "delete", "metadata", "device"]}"#,
});
const DURATION: Shape = Shape::Form(&Form {
    name: "a duration",
    example: "600s",
    takes_numbers: true,
    json: r#"{"type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h)$"}"#,
});
const BYTES: Shape = Shape::Form(&Form {
    name: "an amount of bytes",
    example: "1MiB",
    takes_numbers: true,
    json: r#"{"anyOf": [{"type": "integer", "minimum": 0, "maximum": 18446744073709551615},
                        {"type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$"}]}"#,
});
const FILE: Shape = Dependent(
    &FileRule::SHAPE,
    r#"{"anyOf": [{"required": ["allow"]}, {"required": ["deny"]}],
        "allOf": [{"properties": {"allow": {"minItems": 1}, "deny": {"minItems": 1}}}]}"#,
);
/// With a digest, a rule is about one file that may be executed.
const PROGRAM: Shape = Dependent(
    &ProgramRule::SHAPE,
    r#"{"oneOf": [
        {"not": {"anyOf": [{"required": ["sha256"]}, {"required": ["fsverity"]}]}},
        {"required": ["sha256"], "not": {"required": ["fsverity"]},
         "properties": {"allow": {"const": true}, "syntax": {"enum": ["component", "crossing"]},
                        "path": {"pattern": "^[^*?\\[{\\\\]*$"}}},
        {"required": ["fsverity"],
         "properties": {"allow": {"const": true}, "syntax": {"enum": ["component", "crossing"]},
                        "path": {"pattern": "^[^*?\\[{\\\\]*$"}}}]}"#,
);
const DESTINATION: Shape = Dependent(
    &DestinationRule::SHAPE,
    r#"{"oneOf": [{"required": ["host"]}, {"required": ["cidr"]}],
        "allOf": [{"properties": {"ports": {"minItems": 1}}}]}"#,
);
const SHA256: Shape = Shape::Form(&Form {
    name: "a SHA-256 in hexadecimal",
    example: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}"#,
});
const FSVERITY: Shape = Shape::Form(&Form {
    name: "an fs-verity digest",
    example: "sha256:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^sha256:[0-9A-Fa-f]{64}$"}"#,
});
const PATH_MAP: Shape =
    Dependent(&Shape::Record(&FOLDER), r#"{"propertyNames": {"pattern": "^/"}}"#);

model! {
    /// A `boundary` document.
    pub struct Document {
        /// Version of the language: 1.
        required boundary: u64 [Whole(1.0, 1.0)] => Language,
        /// `enforce` (the default): what is not allowed is refused; `observe`: it is let through
        /// and recorded.
        optional mode: ModeWord => Kernel(Part::All),
        /// What every program needs: `system` (the default), `programs`, which has the system's
        /// programs executed even beside an `exec` group, or `none`.
        optional baseline: BaselineWord => Kernel(Part::Paths),
        /// Where folders that documents given together name are found on this machine: each
        /// folder, and what stands in its place.
        optional path_map: Vec<(Key, Spanned<String>)> [PATH_MAP] => Kernel(Part::Paths),
        /// Files and folders.
        optional files: Rules<FileRule> [Group(&FILE)] => Kernel(Part::Files),
        /// Programs and libraries.
        optional exec: Rules<ProgramRule> [Group(&PROGRAM)] => Kernel(Part::Programs),
        /// `deny`: no program may be executed after the first; `allow` is the default.
        optional exec_after_start: AfterStart => Kernel(Part::LaterPrograms),
        /// `deny`: memory may become executable only as what an executable file holds; `allow` is
        /// the default.
        optional exec_anonymous: AnonymousCode => Kernel(Part::AnonymousCode),
        /// `allow`: io_urings may be made, each of whose operations is judged like the system call;
        /// `deny` is the default.
        optional io_uring: RingWord => Kernel(Part::Rings),
        /// Destinations.
        optional egress: Rules<DestinationRule> [Group(&DESTINATION)]
            => Kernel(Part::Destinations),
        /// Ports on which others than the scope itself are served.
        optional listen: Rules<ListenRule> => Kernel(Part::Serving),
        /// Unix sockets outside the files that may be written.
        optional sockets: Rules<SocketRule> => Kernel(Part::Sockets),
        /// What a scope may use up.
        optional budgets: Budgets => Fields,
    }

    /// A rule about files and folders.
    pub struct FileRule {
        /// The path, or a pattern of paths.
        required path: String [PATTERN] => Kernel(Part::Files),
        /// How the pattern is read.
        optional syntax: Syntax => Kernel(Part::Files),
        /// Rights that it gives: `read`; `write`, which is `content`, `create`, `delete` and
        /// `metadata` together; `device`, which opening a device node takes besides.
        optional allow: Vec<Spanned<String>> [List(&RIGHT)] => Kernel(Part::Files),
        /// Rights that it takes, whatever else gives them.
        optional deny: Vec<Spanned<String>> [List(&RIGHT)] => Kernel(Part::Files),
    }

    /// A rule about programs and libraries.
    pub struct ProgramRule {
        /// The path, or a pattern of paths.
        required path: String [PATTERN] => Kernel(Part::Programs),
        /// How the pattern is read.
        optional syntax: Syntax => Kernel(Part::Programs),
        /// Whether they may be executed; `false` wins.
        required allow: bool => Kernel(Part::Programs),
        /// The SHA-256 of the only content that may be executed by this path.
        optional sha256: String [SHA256] => Kernel(Part::Programs),
        /// The fs-verity digest of the only content that may be executed by this path, as
        /// `fsverity measure` prints it: `sha256:` and 64 digits.
        optional fsverity: String [FSVERITY] => Kernel(Part::Programs),
    }

    /// A rule about destinations.
    pub struct DestinationRule {
        /// A host name, or a pattern in which `*` stands for any characters. This or `cidr`.
        optional host: String [HOST] => Kernel(Part::Destinations),
        /// An address or a network. This or `host`.
        optional cidr: String [NETWORK] => Kernel(Part::Destinations),
        /// Ports, and ranges as `"8000-8100"`; without it, every port.
        optional ports: Vec<Spanned<Scalar>> [List(&PORT)] => Kernel(Part::Destinations),
        /// Without it, TCP and UDP.
        optional protocol: ProtocolWord => Kernel(Part::Destinations),
        /// `on` (the default): a connection over TCP to port 443 that is open by the name must name
        /// a server that may be looked up, in the first message of TLS. `off`: it need not. For
        /// rules that allow a `host`.
        optional tls_name_check: NameCheckWord => Kernel(Part::Destinations),
        /// Whether the rule takes, whatever else gives.
        optional deny: bool => Kernel(Part::Destinations),
    }

    /// A port on which others are served.
    pub struct ListenRule {
        /// The port.
        required port: u64 [Whole(1.0, 65535.0)] => Kernel(Part::Serving),
        /// Without it, TCP and UDP.
        optional protocol: ProtocolWord => Kernel(Part::Serving),
    }

    /// A Unix socket that may be connected to.
    pub struct SocketRule {
        /// Its path or a pattern of paths, or `@` and an abstract name or a pattern of those.
        required path: String [SOCKET] => Kernel(Part::Sockets),
    }

    /// What a scope may use up.
    pub struct Budgets {
        /// Time on the clock, as `600s`, `10m` or `2h`.
        optional wall_clock: Scalar [DURATION] => Kernel(Part::Budgets),
        /// Distinct files opened by a rule of the document, not only by the baseline's.
        optional files_touched: u64 => Kernel(Part::Budgets),
        /// Bytes written, as `1MiB`.
        optional output_bytes: Scalar [BYTES] => Kernel(Part::Budgets),
        /// Connections begun.
        optional connections: u64 => Kernel(Part::Budgets),
        /// Processes at a time, threads included.
        optional processes: u64 => Kernel(Part::Budgets),
        /// Bytes sent over the network, as `1MiB`.
        optional sent_bytes: Scalar [BYTES] => Kernel(Part::Budgets),
    }
}

words! {
    /// What becomes of an act that is not allowed.
    pub enum ModeWord {
        /// It is refused.
        Enforce = "enforce",
        /// It is let through and recorded.
        Observe = "observe",
    }

    /// Which rules are added to those of the document.
    pub enum BaselineWord {
        /// What every program needs; of programs, only libraries where the document has an `exec`
        /// group.
        System = "system",
        /// What every program needs, and the system's programs.
        Programs = "programs",
        /// None.
        None = "none",
    }

    /// Whether a program may be executed after the first.
    pub enum AfterStart {
        /// It may.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
    }

    /// Whether memory that no file stands behind may become executable.
    pub enum AnonymousCode {
        /// It may: just-in-time compilers need it.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
    }

    /// Whether an io_uring may be made.
    pub enum RingWord {
        /// It may.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
    }

    /// How a pattern is read.
    pub enum Syntax {
        /// `*` and `?` stay inside a component of the path, `**` crosses.
        Component = "component",
        /// `*` and `?` stand for slashes too, as in Sec0 and `agent.yaml`.
        Crossing = "crossing",
        /// A folder and all below it; no character is special but `/**` at the end, as in
        /// `policy.yaml`.
        Prefix = "prefix",
    }

    /// Whether connections must name a server that may be looked up.
    pub enum NameCheckWord {
        /// They must.
        On = "on",
        /// They need not.
        Off = "off",
    }

    /// A transport protocol.
    pub enum ProtocolWord {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

/// A group of rules: a list, or a mapping with a mode of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules<T> {
    /// The mode of the group, where it has one of its own.
    pub mode: Option<Field<ModeWord>>,
    /// The rules.
    pub rules: Vec<Spanned<T>>,
    /// Where the list of rules is written.
    pub span: Span,
    /// Whether the list has no items, not even such as are no rules.
    pub is_empty: bool,
}

impl<T: Model> Model for Rules<T> {
    const SHAPE: Shape = Group(&T::SHAPE);

    fn read(node: &Node) -> Option<Self> {
        let list = match &node.value {
            Value::List(_) => node,
            Value::Mapping(_) => node.get("rules")?,
            _ => return None,
        };
        let mode = Field::read(node, "mode");
        let is_empty = list.items().is_empty();
        Some(Self { mode, rules: Vec::read(list)?, span: list.span.clone(), is_empty })
    }
}
