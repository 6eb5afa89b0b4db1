//! Destinations as policies write them: host names and patterns, addresses, networks, each with
//! a port or without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::{
    boundary::Target,
    diagnostic::{code, quoted},
};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Any address, by any name.
    Everything,
    /// A host name, or a pattern of names, in lower case.
    Host(String),
    /// Addresses.
    Network(IpNetwork),
}

/// Why text is no destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// One of [`code`].
    pub(crate) code: &'static str,
    /// The character that is wrong, counted from 0.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) help: String,
}

impl Destination {
    /// Whether this is every address.
    pub(crate) fn is_everything(&self) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => network.prefix() == 0,
            Self::Host(_) => false,
        }
    }

    /// The targets that a rule about this destination is made of.
    pub(crate) fn targets(self) -> Vec<Target> {
        match self {
            Self::Host(host) => vec![Target::Host(host)],
            Self::Network(network) => vec![Target::Network(network)],
            Self::Everything => {
                [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
                    .into_iter()
                    .filter_map(|address| IpNetwork::new(address, 0).ok().map(Target::Network))
                    .collect()
            }
        }
    }
}

/// Reads `host`, `*.host`, `address` or `network`, each with an optional `:port`.
pub(crate) fn with_port(text: &str) -> Result<(Destination, Option<u16>), Fault> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, after)) = rest.split_once(']') else {
            return Err(host_fault(
                0,
                "this `[` is never closed",
                "close it, as in `[2001:db8::1]:443`",
            ));
        };
        let network = network(inside).map_err(|fault| Fault { at: fault.at + 1, ..fault })?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((Destination::Network(network), Some(self::port(port, text)?))),
            None if after.is_empty() => Ok((Destination::Network(network), None)),
            None => {
                let at = text.chars().count() - after.chars().count();
                Err(host_fault(at, "only `:port` may follow the `]`", "write `[2001:db8::1]:443`"))
            }
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 && !text.contains("://") {
        return network(text).map(|network| (Destination::Network(network), None));
    }
    no_url(text, |host, port| format!("write `{host}{port}`"))?;
    let (name, port) = match text.rsplit_once(':') {
        Some((name, digits)) => (name, Some(port(digits, text)?)),
        None => (text, None),
    };
    let is_network = name.contains('/') || name.parse::<Ipv4Addr>().is_ok();
    let destination = if is_network { Destination::Network(network(name)?) } else { host(name)? };
    Ok((destination, port))
}

/// Reads a host name or pattern without a port. Upper case is folded, and the dot of a complete
/// name dropped.
pub(crate) fn host(text: &str) -> Result<Destination, Fault> {
    no_url(text, |host, port| match host.split_once(':') {
        Some((host, port)) => format!("write `{host}`, with `ports: [{port}]`"),
        None if port.is_empty() => format!("write `{host}`"),
        None => format!("write `{host}`, with `ports: [{}]`", port.trim_start_matches(':')),
    })?;
    if text == "*" {
        return Ok(Destination::Everything);
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let advice = "write a name as `api.example.com` or `*.example.com`";
    if name.ends_with('.') || name == "*" {
        let at = text.chars().count().saturating_sub(1);
        return Err(host_fault(at, "nothing stands before the last dot of this host name", advice));
    }
    if name.is_empty() {
        return Err(host_fault(0, "the host name is empty", advice));
    }
    if let Some(at) = name.chars().position(|c| !c.is_ascii()) {
        let help = "write the name in its ASCII form, punycode: `xn--…`";
        return Err(host_fault(at, &format!("the host name {} is not ASCII", quoted(text)), help));
    }
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    if let Some((at, c)) = name.chars().enumerate().find(|(_, c)| !is_known(*c)) {
        let message = format!("a host name cannot hold {}", quoted(&c.to_string()));
        let help = match c {
            '?' | '[' | '{' => "only `*` is special in a host pattern".to_owned(),
            ':' => "a port does not belong to the name: give it in `ports`".to_owned(),
            c if c.is_whitespace() => format!("write `{}`", name.replace(char::is_whitespace, "")),
            _ => advice.to_owned(),
        };
        return Err(host_fault(at, &message, &help));
    }
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        let message = "a host name has at most 253 characters, 63 between dots";
        return Err(host_fault(0, message, advice));
    }
    if let Some(at) = empty_label(&name) {
        return Err(host_fault(at, "nothing stands between two dots of this host name", advice));
    }
    // RFC 1123, section 2.1: a name's last part is never a number, an address's always is.
    let last = name.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("{} is neither an IPv4 address nor a host name", quoted(text));
        let help = "an address has four numbers from 0 to 255; a network is `10.0.0.0/8`";
        return Err(Fault { code: code::BAD_NETWORK, ..host_fault(0, &message, help) });
    }
    Ok(Destination::Host(name))
}

/// Reads an address or a network in CIDR notation.
pub(crate) fn network(text: &str) -> Result<IpNetwork, Fault> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let message = format!("{} is not an IP address", quoted(address));
        let help = match address.contains('%') {
            true => "leave out the zone: the kernel compares addresses",
            false => "an address is `192.0.2.7` or `2001:db8::7`, a network `192.0.2.0/24`",
        };
        return Err(Fault { code: code::BAD_NETWORK, at: 0, message, help: help.into() });
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else {
        return IpNetwork::new(address, longest).map_err(|_| prefix_fault(text, longest));
    };
    let at = text.find('/').map_or(0, |slash| slash + 1);
    let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let network = Some(prefix)
        .filter(|_| is_number)
        .and_then(|prefix| prefix.parse().ok())
        .and_then(|prefix| IpNetwork::new(address, prefix).ok())
        .ok_or_else(|| Fault { at, ..prefix_fault(text, longest) })?;
    if network.network() != address {
        let message = format!("the address in {} has bits set beyond its prefix", quoted(text));
        let whole = IpNetwork::new(network.network(), network.prefix());
        let help = match whole {
            Ok(whole) => {
                format!("the network is `{whole}`; the one address is `{address}/{longest}`")
            }
            Err(_) => format!("the one address is `{address}/{longest}`"),
        };
        return Err(Fault { code: code::BAD_NETWORK, at: 0, message, help });
    }
    Ok(network)
}

fn prefix_fault(text: &str, longest: u8) -> Fault {
    let message = format!("the prefix length in {} is not one from 0 to {longest}", quoted(text));
    let help = "as in `10.0.0.0/8` or `2001:db8::/32`; a netmask is not read".into();
    Fault { code: code::BAD_NETWORK, at: 0, message, help }
}

/// Reads a port. `text` is the whole destination, of which the port is the end.
fn port(digits: &str, text: &str) -> Result<u16, Fault> {
    let port = Some(digits)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|port| *port > 0);
    port.ok_or_else(|| Fault {
        code: code::BAD_PORT,
        at: text.chars().count() - digits.chars().count(),
        message: format!("{} is not a port", quoted(digits)),
        help: "a port is a number from 1 to 65535; without `:port` every port is meant".into(),
    })
}

/// Refuses a URL. `advice` says how to write its host, and its port where the scheme tells it.
fn no_url(text: &str, advice: impl Fn(&str, &str) -> String) -> Result<(), Fault> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let ends: &[char] = if scheme.is_some() { &['/', '?', '#'] } else { &['/'] };
    let authority = rest.split(ends).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_path = authority.len() < rest.len() && network_like(rest).is_none();
    if scheme.is_none() && !has_path {
        return Ok(());
    }
    let port = match scheme.map(str::to_ascii_lowercase).as_deref() {
        _ if host.contains(':') => "",
        Some("https" | "wss") => ":443",
        Some("http" | "ws") => ":80",
        _ => "",
    };
    let (at, message) = match scheme {
        Some(_) => (0, format!("{} is a URL, and the kernel knows hosts only", quoted(text))),
        None => {
            let at = authority.chars().count();
            (at, format!("{} has a path, and the kernel knows hosts only", quoted(text)))
        }
    };
    let help = match host.is_empty() {
        true => "write the host, as `api.example.com`".to_owned(),
        false => advice(host, port),
    };
    Err(Fault { code: code::URL_FOR_HOST, at, message, help })
}

/// The address before the slash of what is meant as a network.
fn network_like(text: &str) -> Option<IpAddr> {
    text.split_once('/')?.0.parse().ok()
}

/// Where two dots stand together, or one at the start.
fn empty_label(name: &str) -> Option<usize> {
    if name.starts_with('.') { Some(0) } else { name.find("..").map(|at| at + 1) }
}

fn host_fault(at: usize, message: &str, help: &str) -> Fault {
    Fault { code: code::BAD_HOST, at, message: message.into(), help: help.into() }
}

#[cfg(test)]
mod tests;
