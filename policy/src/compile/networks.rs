//! The networks that egress rules name, in the one form of each address that lookups use.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use ringfence_common::Address;

use super::rules::EgressLayer;
use crate::boundary::{Effect, Resolved, Target};

/// A network in one address family. The fields order outer networks before the inner ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Network {
    pub(crate) family: Family,
    /// The first address, as a number.
    pub(crate) first: u128,
    /// Bits that are fixed.
    pub(crate) prefix: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

/// `::ffff:0:0/96` and `64:ff9b::/96`, without their 32 last bits: IPv4 in other words.
const V4_INSIDE: [u128; 2] = [0xffff, 0x0064_ff9b << 64];

impl Network {
    /// A network as a rule names it. One inside the IPv4-mapped or NAT64 range is the IPv4
    /// network inside, and the unspecified address is loopback, as for [`Address`].
    pub(crate) fn of(network: &IpNetwork) -> Self {
        match network {
            IpNetwork::V4(network) => Self::v4(network.network().to_bits(), network.prefix()),
            IpNetwork::V6(network) => {
                let (first, prefix) = (network.network().to_bits(), network.prefix());
                match prefix.checked_sub(96) {
                    Some(prefix) if V4_INSIDE.contains(&(first >> 32)) => {
                        Self::v4(first as u32, prefix)
                    }
                    Some(32) if first == 0 => Self { family: Family::V6, first: 1, prefix },
                    _ => Self { family: Family::V6, first, prefix },
                }
            }
        }
    }

    const fn v4(first: u32, prefix: u8) -> Self {
        let first = match (first, prefix) {
            (0, 32) => 0x7f00_0001,
            (first, _) => first,
        };
        Self { family: Family::V4, first: first as u128, prefix }
    }

    /// The last address.
    pub(super) fn last(&self) -> u128 {
        let free = self.family.bits().saturating_sub(self.prefix.into());
        self.first | 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1)
    }

    /// The network of a prefix length that an address is in; `None` when the length is not one of
    /// its family.
    pub(crate) fn around((family, number): (Family, u128), prefix: u8) -> Option<Self> {
        let free = family.bits().checked_sub(prefix.into())?;
        let outside = u128::MAX.checked_shl(free).unwrap_or(0);
        Some(Self { family, first: number & outside, prefix })
    }

    /// Whether another network lies wholly inside.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.first && other.last() <= self.last()
    }

    fn contains(&self, (family, number): (Family, u128)) -> bool {
        self.family == family && self.first <= number && number <= self.last()
    }
}

/// An address in the one form that lookups use, as a number.
pub(crate) fn number(address: IpAddr) -> (Family, u128) {
    let address = Address::from(address);
    match address.as_v4() {
        Some(number) => (Family::V4, number.into()),
        None => (Family::V6, u128::from(address.high) << 64 | u128::from(address.low)),
    }
}

/// The network of addresses that must be named literally that an address is in.
pub(crate) fn special(number: (Family, u128)) -> Option<&'static Network> {
    NEVER_INCLUDED.iter().find(|network| network.contains(number))
}

impl Family {
    fn bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network::v4(u32::from_be_bytes([a, b, c, d]), prefix)
}

const fn v6(first: u128, prefix: u8) -> Network {
    Network { family: Family::V6, first, prefix }
}

/// What an allow rule does not include unless it lies wholly inside: addresses that mean this
/// link or no one machine, and the services that hand out a machine's credentials. `0.0.0.0/0`
/// is meant to open the internet, not these.
pub(super) const NEVER_INCLUDED: &[Network] = &[
    v4(0, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16), // link-local, and 169.254.169.254
    v4(224, 0, 0, 0, 4),    // multicast
    v4(255, 255, 255, 255, 32),
    v6(0xfe80 << 112, 10),              // link-local
    v6(0xff00 << 112, 8),               // multicast
    v6(0xfd00_0ec2 << 96 | 0x254, 128), // a cloud's metadata service
];

/// Where the answer to a public name never leads: whoever answers for the name would otherwise
/// choose which inner machine a rule opens. Documentation ranges are absent: they lead nowhere.
const NEVER_RESOLVED: &[Network] = &[
    v4(10, 0, 0, 0, 8),    // private
    v4(100, 64, 0, 0, 10), // carrier-grade NAT
    v4(127, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),  // private
    v4(192, 0, 0, 0, 24),   // protocol assignments
    v4(192, 88, 99, 0, 24), // 6to4 relays
    v4(192, 168, 0, 0, 16), // private
    v4(198, 18, 0, 0, 15),  // benchmarks of inner networks
    v4(240, 0, 0, 0, 4),    // reserved
    v6(1, 128),
    v6(0x0064_ff9b_0001 << 80, 48), // local NAT64
    v6(0x0100 << 112, 64),          // discard
    v6(0x2001 << 112, 32),          // Teredo: an IPv4 address is inside
    v6(0x2002 << 112, 16),          // 6to4: an IPv4 address is inside
    v6(0, 96),                      // IPv4-compatible
    v6(0xfc00 << 112, 7),           // private
    v6(0xfec0 << 112, 10),          // site-local
];

/// What `localhost` may stand for.
const LOOPBACK: &[Network] = &[v4(127, 0, 0, 0, 8), v6(1, 128)];

/// A rule at one of its networks.
pub(super) struct At {
    pub(super) network: Network,
    pub(super) layer: usize,
    /// Index of the rule in its layer.
    pub(super) rule: usize,
}

/// Every network that a rule of any layer names, outer networks before inner ones.
pub(super) fn of_rules(
    layers: &[EgressLayer<'_>],
    resolved: &Resolved,
    dropped: &mut Vec<(String, IpAddr)>,
) -> Vec<At> {
    let mut list = Vec::new();
    for (layer, rules) in layers.iter().enumerate() {
        for (rule, numbered) in rules.rules.iter().enumerate() {
            let egress = numbered.rule;
            let mut add = |network| list.push(At { network, layer, rule });
            match &egress.target {
                Target::Network(network) => add(Network::of(network)),
                Target::Host(pattern) => {
                    for (name, address) in answers(pattern, resolved) {
                        // Taking a special-use address away opens nothing, so it is taken.
                        if egress.effect == Effect::Deny || may_resolve(name, address) {
                            add(Network::of(&IpNetwork::from(address)));
                        } else {
                            dropped.push((name.to_owned(), address));
                        }
                    }
                }
            }
        }
    }
    // Stable, so that rules at one network stay in document order.
    list.sort_by_key(|at| at.network);
    dropped.sort();
    dropped.dedup();
    list
}

/// The addresses of a name, or of the names that a pattern stands for.
fn answers<'a>(
    pattern: &'a str,
    resolved: &'a Resolved,
) -> impl Iterator<Item = (&'a str, IpAddr)> {
    let exact = resolved.get_key_value(pattern).into_iter();
    let is_pattern = pattern.contains('*');
    let matching = is_pattern.then(|| {
        resolved.iter().filter(move |(name, _)| *name != pattern && stands_for(pattern, name))
    });
    exact
        .chain(matching.into_iter().flatten())
        .flat_map(|(name, addresses)| addresses.iter().map(|address| (name.as_str(), *address)))
}

/// Whether a name matches a pattern in which `*` stands for any characters.
fn stands_for(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    // The leftmost place for each part leaves the most for the others.
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

/// Whether a name may stand for an address.
pub(crate) fn may_resolve(name: &str, address: IpAddr) -> bool {
    let number = number(address);
    if name == "localhost" {
        return LOOPBACK.iter().any(|network| network.contains(number));
    }
    !NEVER_INCLUDED.iter().chain(NEVER_RESOLVED).any(|network| network.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(&text.parse().unwrap())
    }

    #[test]
    fn ipv4_in_other_words_is_ipv4() {
        let cases = [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("64:ff9b::10.1.0.0/112", "10.1.0.0/16"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("64:ff9b::1.2.3.4/128", "1.2.3.4/32"),
            ("0.0.0.0/32", "127.0.0.1/32"),
            ("::ffff:0.0.0.0/128", "127.0.0.1/32"),
            ("::/128", "::1/128"),
            ("10.1.2.3/8", "10.0.0.0/8"),
        ];
        for (written, meant) in cases {
            assert_eq!(network(written), network(meant), "{written}");
        }
        assert_eq!(network("::/0").family, Family::V6);
        assert_eq!(network("::ffff:0:0/95").family, Family::V6, "wider than the mapped range");
    }

    #[test]
    fn a_network_ends_at_its_last_address() {
        assert_eq!(network("::/0").last(), u128::MAX);
        assert_eq!(network("0.0.0.0/0").last(), u128::from(u32::MAX));
        assert_eq!(network("10.0.0.0/8").last(), 0x0aff_ffff);
        assert_eq!(network("1.2.3.4/32").last(), 0x0102_0304);
    }

    #[test]
    fn a_star_in_a_name_stands_for_any_characters() {
        let cases = [
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("*", "anything", true),
            ("**", "", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ];
        for (pattern, name, matches) in cases {
            assert_eq!(stands_for(pattern, name), matches, "{pattern} and {name}");
        }
    }

    #[test]
    fn a_public_name_never_leads_to_an_inner_address() {
        let inner = "127.0.0.1 10.1.2.3 172.31.0.1 192.168.1.1 169.254.169.254 100.64.0.1 \
            0.0.0.0 255.255.255.255 224.0.0.1 192.0.0.8 :: ::1 fe80::1 fc00::1 fd00:ec2::254 \
            ff02::1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::7f00:1";
        for address in inner.split(' ') {
            assert!(!may_resolve("example.com", address.parse().unwrap()), "{address}");
        }
        for address in ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"] {
            assert!(may_resolve("example.com", address.parse().unwrap()), "{address}");
        }
        assert!(may_resolve("localhost", "127.0.0.1".parse().unwrap()));
        assert!(may_resolve("localhost", "::1".parse().unwrap()));
        assert!(!may_resolve("localhost", "10.0.0.1".parse().unwrap()));
        assert!(!may_resolve("localhost", "93.184.216.34".parse().unwrap()));
    }
}
