//! The words in questions: paths, destinations, kinds of socket, capabilities.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::OsStringExt,
};

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use ringfence_common::socket::family;

use crate::audit::names;

/// An absolute path as the kernel has it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AskedPath(pub(crate) Vec<u8>);

/// A Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnixSocket {
    /// Bound to a path.
    Path(AskedPath),
    /// Bound to an abstract name, which is without the NUL before it.
    Abstract(Vec<u8>),
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// A host by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

/// A kind of socket: what `socket(2)` is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketKind {
    pub(crate) name: &'static str,
    pub(crate) family: u32,
    pub(crate) kind: u32,
    pub(crate) protocol: u32,
}

/// A capability, as `capability(7)` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability(pub(crate) u32);

pub(super) fn path_parser() -> impl TypedValueParser<Value = AskedPath> {
    OsStringValueParser::new().try_map(path)
}

/// The kernel judges paths that are absolute and have been resolved; no other can be asked about.
fn path(text: OsString) -> Result<AskedPath, String> {
    let bytes = text.into_vec();
    let Some(below) = bytes.strip_prefix(b"/") else {
        return Err("the path must be absolute".into());
    };
    let abnormal = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    if !below.is_empty() && below.split(|byte| *byte == b'/').any(abnormal) {
        return Err(
            "the path must be as the kernel has it, without `//`, `.`, `..` or a slash at \
                    the end; `realpath` prints it"
                .into(),
        );
    }
    Ok(AskedPath(bytes))
}

pub(super) fn unix_socket_parser() -> impl TypedValueParser<Value = UnixSocket> {
    OsStringValueParser::new().try_map(unix_socket)
}

fn unix_socket(text: OsString) -> Result<UnixSocket, String> {
    match text.as_encoded_bytes().strip_prefix(b"@") {
        Some(b"") => Err("a socket without a name cannot be asked about".into()),
        Some(name) => Ok(UnixSocket::Abstract(name.to_vec())),
        None => path(text).map(UnixSocket::Path),
    }
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = "write HOST:PORT, as `api.example.com:443`, `192.0.2.7:443` or `[2001:db8::7]:443`";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or("the port must be a number from 1 to 65535")?;
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => Host::Address(inside.parse::<Ipv6Addr>().map_err(|_| wrong)?.into()),
        None if host.is_empty() || host.contains(['/', ':', '*', '[']) => return Err(wrong.into()),
        None => host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Address),
    };
    Ok(Endpoint { host, port })
}

const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const RAW: u32 = 3;
const SEQUENCED: u32 = 5;

/// Kinds of socket by the words that people have for them: family, type, protocol
/// (`linux/socket.h`, `linux/in.h`, `linux/netlink.h`).
const KINDS: &[SocketKind] = &[
    kind("tcp", family::INET, STREAM, 6),
    kind("tcp6", family::INET6, STREAM, 6),
    kind("udp", family::INET, DATAGRAM, 17),
    kind("udp6", family::INET6, DATAGRAM, 17),
    kind("unix", family::UNIX, STREAM, 0),
    kind("ping", family::INET, DATAGRAM, 1),
    kind("raw", family::INET, RAW, 255),
    kind("mptcp", family::INET, STREAM, 262),
    kind("sctp", family::INET, STREAM, 132),
    kind("udplite", family::INET, DATAGRAM, 136),
    kind("packet", 17, RAW, 0x0300),
    kind("netlink-route", family::NETLINK, RAW, 0),
    kind("netlink-audit", family::NETLINK, RAW, 9),
    kind("netlink-netfilter", family::NETLINK, RAW, 12),
    kind("netlink-kobject-uevent", family::NETLINK, RAW, 15),
    kind("netlink-generic", family::NETLINK, RAW, 16),
    kind("can", 29, RAW, 1),
    kind("tipc", 30, STREAM, 0),
    kind("bluetooth", 31, SEQUENCED, 0),
    kind("alg", 38, SEQUENCED, 0),
    kind("vsock", 40, STREAM, 0),
    kind("smc", 43, STREAM, 0),
    kind("xdp", 44, RAW, 0),
];

const fn kind(name: &'static str, family: u32, kind: u32, protocol: u32) -> SocketKind {
    SocketKind { name, family, kind, protocol }
}

pub(super) fn socket_kind() -> impl TypedValueParser<Value = SocketKind> {
    let find = |name: String| {
        KINDS.iter().copied().find(|kind| kind.name == name).ok_or("no such kind of socket")
    };
    PossibleValuesParser::new(KINDS.iter().map(|kind| kind.name)).try_map(find)
}

pub(super) fn capability(text: &str) -> Result<Capability, String> {
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    let known = names::CAPABILITIES.iter().find(|(_, known)| *known == name);
    let (number, _) = known.ok_or("no such capability; capabilities(7) has them all")?;
    Ok(Capability(*number))
}

impl Capability {
    /// The name, as capabilities(7) has it.
    pub(crate) fn name(self) -> std::borrow::Cow<'static, str> {
        names::capability(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_the_kernel_could_have_are_asked_about() {
        for text in ["/", "/etc/shadow", "/tmp/a b", "/.hidden", "/a/..b"] {
            assert_eq!(path(text.into()), Ok(AskedPath(text.into())), "{text}");
        }
        for text in ["", "etc", "~/x", "/etc/", "//", "/a//b", "/a/./b", "/a/..", "./x"] {
            assert!(path(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_hosts_or_addresses_with_a_port() {
        let named = |name: &str, port| Endpoint { host: Host::Name(name.into()), port };
        let at =
            |address: &str, port| Endpoint { host: Host::Address(address.parse().unwrap()), port };
        assert_eq!(endpoint("api.example.com:443"), Ok(named("api.example.com", 443)));
        assert_eq!(endpoint("192.0.2.7:22"), Ok(at("192.0.2.7", 22)));
        assert_eq!(endpoint("[2001:db8::7]:443"), Ok(at("2001:db8::7", 443)));
        for text in ["api.example.com", "a:0", "a:65536", ":443", "::1:443", "https://a:443", "*:1"]
        {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn capabilities_are_known_by_their_names_in_any_case_and_with_or_without_cap() {
        for (text, number) in
            [("CAP_SYS_ADMIN", 21), ("sys_admin", 21), ("Chown", 0), ("checkpoint_restore", 40)]
        {
            assert_eq!(capability(text), Ok(Capability(number)), "{text}");
        }
        for text in ["", "cap_", "root", "cap_cap_chown", "21"] {
            assert!(capability(text).is_err(), "{text}");
        }
        assert_eq!(Capability(38).name(), "CAP_PERFMON");
    }

    #[test]
    fn every_kind_of_socket_has_a_name_of_its_own() {
        for (index, kind) in KINDS.iter().enumerate() {
            assert!(KINDS[index + 1..].iter().all(|other| other.name != kind.name), "{kind:?}");
        }
    }
}
