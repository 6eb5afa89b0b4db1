//! The name servers that are trusted: those of the agent's own `resolv.conf`.
//!
//! What a governed process writes into a file of its own, or gives as a server's address, is not
//! asked: the answers would be the process's own choice.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::Path,
};

/// Where the system keeps it.
pub const SYSTEM_FILE: &str = "/etc/resolv.conf";
/// As many as the C library asks (`MAXNS` of resolv.h).
const MAX_SERVERS: usize = 3;
/// Port of name servers.
pub const PORT: u16 = 53;

/// What `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// The servers, in the order of the file; never none.
    pub addresses: Vec<SocketAddr>,
    /// The domains that short names are tried in, in lower case, without dots at their ends.
    pub search: Vec<String>,
}

impl Servers {
    /// Reads the file. Without one, or with no server in it, the server is the one on this
    /// machine, as resolv.conf(5) has it.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot be read.
    pub fn read(file: &Path) -> io::Result<Self> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(Self::parse(&text, interface)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::parse("", interface)),
            Err(error) => Err(error),
        }
    }

    /// Reads the file's text. `zone` gives the number of a network interface. Options are
    /// ignored, and so are lines that cannot be read, as the C library does.
    pub fn parse(text: &str, zone: impl Fn(&str) -> Option<u32>) -> Self {
        let mut servers = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if servers.addresses.len() < MAX_SERVERS => {
                    let server = words.next().and_then(|word| server(word, &zone));
                    servers.addresses.extend(server);
                }
                // The last such line counts.
                Some("search") => servers.search = words.filter_map(domain).collect(),
                Some("domain") => servers.search = words.take(1).filter_map(domain).collect(),
                _ => {}
            }
        }
        if servers.addresses.is_empty() {
            servers.addresses.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        servers
    }
}

fn server(word: &str, zone: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, interface)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = interface.parse().ok().or_else(|| zone(interface))?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

fn domain(word: &str) -> Option<String> {
    let domain = word.trim_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(domain)
}

/// The number of a network interface.
fn interface(name: &str) -> Option<u32> {
    let is_name = !name.contains('/') && name != "." && name != "..";
    let path = Path::new("/sys/class/net").join(name).join("ifindex");
    fs::read_to_string(path).ok().filter(|_| is_name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<String>, Vec<String>) {
        let servers = Servers::parse(text, |name| (name == "eth0").then_some(7));
        (servers.addresses.iter().map(ToString::to_string).collect(), servers.search)
    }

    #[test]
    fn the_servers_stand_in_the_order_of_the_file_and_at_most_three_count() {
        let text = "# nameserver 192.0.2.9\n\
            nameserver 10.0.0.1\n  \n;nameserver 192.0.2.8\n\
            nameserver\t2001:db8::53  # trailing words are no matter\n\
            nameserver not-an-address\n\
            nameserver fe80::1%eth0\n\
            nameserver 10.0.0.4\n";
        assert_eq!(parse(text).0, ["10.0.0.1:53", "[2001:db8::53]:53", "[fe80::1%7]:53"]);
    }

    #[test]
    fn zones_are_names_or_numbers_of_interfaces() {
        assert_eq!(parse("nameserver fe80::1%3").0, ["[fe80::1%3]:53"]);
        assert_eq!(parse("nameserver fe80::1%none").0, ["127.0.0.1:53"]);
        assert_eq!(parse("nameserver 10.0.0.1%eth0").0, ["127.0.0.1:53"]);
    }

    #[test]
    fn a_file_without_servers_means_the_one_on_this_machine() {
        assert_eq!(parse("").0, ["127.0.0.1:53"]);
        assert_eq!(parse("options ndots:5 use-vc\nnameservers 10.0.0.1").0, ["127.0.0.1:53"]);
        let missing = Servers::read(Path::new("/nonexistent/resolv.conf")).unwrap();
        assert_eq!(missing, Servers::parse("", |_| None));
    }

    #[test]
    fn the_last_list_of_search_domains_counts() {
        let text = "domain a.example\nsearch B.example. c.example .\n";
        assert_eq!(parse(text).1, ["b.example", "c.example"]);
        assert_eq!(parse("search b.example\ndomain a.example x").1, ["a.example"]);
    }

    #[test]
    fn a_server_that_was_read_is_read_again_from_what_is_printed() {
        for word in ["10.0.0.1", "2001:db8::53", "fe80::1%3"] {
            let address = Servers::parse(&format!("nameserver {word}\n"), |_| None).addresses[0];
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
