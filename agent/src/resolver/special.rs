//! Addresses that no public name leads to.
//!
//! Whoever answers for a name would otherwise choose which inner machine a rule about the name
//! opens. From the IANA special-purpose registries (RFC 6890 and what updates it), with multicast
//! (RFC 5771, RFC 4291) and what carries another address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is for special use. An IPv4 address inside NAT64's well-known prefix (RFC
/// 6052) counts as itself.
pub fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let lies_in = |(network, prefix): &([u8; 4], u32)| {
        let free = 32 - prefix;
        address.to_bits() >> free == Ipv4Addr::from(*network).to_bits() >> free
    };
    V4.iter().any(lies_in)
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    if bits >> 32 == NAT64 {
        return is_special_v4(Ipv4Addr::from_bits(bits as u32));
    }
    !is_within(bits, UNICAST) || V6.iter().any(|network| is_within(bits, *network))
}

fn is_within(bits: u128, (network, prefix): (u128, u32)) -> bool {
    let free = 128 - prefix;
    bits >> free == network >> free
}

/// `64:ff9b::/96`, without its 32 last bits.
const NAT64: u128 = 0x0064_ff9b << 64;

/// The only unicast addresses that are given out: `2000::/3` (RFC 4291, section 2.4). Outside lie
/// `::/8` (unspecified, loopback, mapped, compatible, local NAT64 `64:ff9b:1::/48` of RFC 8215),
/// `100::/64` (discard, RFC 6666), `5f00::/16` (segment routing, RFC 9602), `fc00::/7` (private,
/// RFC 4193), `fe80::/10` (link-local), `fec0::/10` (site-local, RFC 3879) and `ff00::/8`
/// (multicast).
const UNICAST: (u128, u32) = (0x2000 << 112, 3);

#[rustfmt::skip]
const V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),          // this network, RFC 791
    ([10, 0, 0, 0], 8),         // private, RFC 1918
    ([100, 64, 0, 0], 10),      // shared with a carrier, RFC 6598
    ([127, 0, 0, 0], 8),        // loopback, RFC 1122
    ([169, 254, 0, 0], 16),     // link-local, RFC 3927; cloud metadata
    ([172, 16, 0, 0], 12),      // private, RFC 1918
    ([192, 0, 0, 0], 24),       // protocol assignments, RFC 6890
    ([192, 0, 2, 0], 24),       // documentation, RFC 5737
    ([192, 31, 196, 0], 24),    // AS112, RFC 7535
    ([192, 52, 193, 0], 24),    // AMT relays, RFC 7450
    ([192, 88, 99, 0], 24),     // 6to4 relays, RFC 7526
    ([192, 168, 0, 0], 16),     // private, RFC 1918
    ([192, 175, 48, 0], 24),    // AS112, RFC 7534
    ([198, 18, 0, 0], 15),      // benchmarks, RFC 2544
    ([198, 51, 100, 0], 24),    // documentation, RFC 5737
    ([203, 0, 113, 0], 24),     // documentation, RFC 5737
    ([224, 0, 0, 0], 4),        // multicast, RFC 5771
    ([240, 0, 0, 0], 4),        // reserved, RFC 1112; limited broadcast, RFC 919
];

/// Inside of [`UNICAST`].
#[rustfmt::skip]
const V6: &[(u128, u32)] = &[
    (0x2001 << 112, 23),                    // protocol assignments, RFC 2928; Teredo, RFC 4380
    (0x2001_0db8 << 96, 32),                // documentation, RFC 3849
    (0x2002 << 112, 16),                    // 6to4, RFC 3056: an IPv4 address is inside
    (0x2620_004f_8000 << 80, 48),           // AS112, RFC 7534
    (0x3fff << 112, 20),                    // documentation, RFC 9637
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_special_use_are_told_from_public_ones_at_both_ends_of_each_range() {
        for (public, special) in [
            ("1.0.0.0", "0.255.255.255"),
            ("9.255.255.255", "10.0.0.0"),
            ("11.0.0.0", "10.255.255.255"),
            ("100.63.255.255", "100.64.0.0"),
            ("100.128.0.0", "100.127.255.255"),
            ("128.0.0.0", "127.0.0.53"),
            ("169.253.255.255", "169.254.169.254"),
            ("172.15.255.255", "172.16.0.0"),
            ("172.32.0.0", "172.31.255.255"),
            ("192.0.1.0", "192.0.2.1"),
            ("192.167.255.255", "192.168.0.1"),
            ("198.17.255.255", "198.18.0.0"),
            ("198.20.0.0", "198.19.255.255"),
            ("198.51.101.0", "198.51.100.0"),
            ("203.0.114.0", "203.0.113.7"),
            ("223.255.255.255", "224.0.0.1"),
            ("8.8.8.8", "255.255.255.255"),
            ("2606:4700::1", "::"),
            ("2600::", "::1"),
            ("64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1"),
            ("64:ff9b::101:101", "64:ff9b::a9fe:a9fe"),
            ("2001:200::", "2001:1ff:ffff::"),
            ("2001:4860:4860::8888", "2001::1"),
            ("2001:db7::1", "2001:db8::1"),
            ("2003::1", "2002:7f00:1::"),
            ("3ffe::1", "3fff:fff::1"),
            ("2a00::1", "64:ff9b:1::1"),
            ("3fff:1000::", "fd00:ec2::254"),
            ("2000::", "fe80::1"),
            ("2400::", "ff02::1"),
            ("2800::", "::ffff:8.8.8.8"),
            ("2c00::", "::8.8.8.8"),
            ("2620:4f:8001::", "2620:4f:8000::1"),
            ("3f00::", "100::1"),
            ("2004::", "4000::1"),
        ] {
            assert!(!is_special(public.parse().unwrap()), "{public}");
            assert!(is_special(special.parse().unwrap()), "{special}");
        }
    }
}
