//! What `ringfence policy test` can be asked, read from the command line.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::OsStringExt,
};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};

/// One question.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Question {
    /// May this file be opened for reading, or this folder listed?
    #[arg(long, value_name = "PATH", value_parser = path_parser())]
    pub(super) read: Option<AskedPath>,
    /// May the content of this file be changed?
    #[arg(long, value_name = "PATH", value_parser = path_parser())]
    pub(super) write: Option<AskedPath>,
    /// May this program be executed, by a program that is governed already?
    #[arg(long, value_name = "PATH", value_parser = path_parser())]
    pub(super) exec: Option<AskedPath>,
    /// May this host or address be connected to?
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    pub(super) connect: Option<Endpoint>,
    /// May the addresses of this name be asked for?
    #[arg(long, value_name = "NAME")]
    pub(super) resolve: Option<String>,
}

/// An absolute path as the kernel has it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AskedPath(pub(super) Vec<u8>);

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// A host by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

fn path_parser() -> impl TypedValueParser<Value = AskedPath> {
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

fn endpoint(text: &str) -> Result<Endpoint, String> {
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
}
