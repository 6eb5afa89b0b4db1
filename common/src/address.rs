//! Network addresses, normalised before any rule sees them.

use core::net::IpAddr;

/// An IPv4 or IPv6 address in one form: IPv4 is kept IPv4-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The upper 64 bits, as a number.
    pub high: u64,
    /// The lower 64 bits, as a number.
    pub low: u64,
}

/// `::ffff:0:0/96`: the lower half of an IPv4-mapped address, above its 32 bits.
const MAPPED: u64 = 0xffff;
/// `64:ff9b::/96` (RFC 6052, section 2.1).
const NAT64_HIGH: u64 = 0x0064_ff9b_0000_0000;
const LOOPBACK_V4: u32 = 0x7f00_0001;

impl Address {
    /// An IPv4 address given as a number (`1.2.3.4` is `0x01020304`).
    #[inline(always)]
    pub const fn v4(number: u32) -> Self {
        Self { high: 0, low: (MAPPED << 32) | number as u64 }.normalised()
    }

    /// An IPv6 address given as two numbers.
    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        Self { high, low }.normalised()
    }

    /// The address that the kernel would really talk to: NAT64 (RFC 6052) becomes the IPv4
    /// address inside, and the unspecified address becomes loopback, as connecting to it does.
    #[inline(always)]
    const fn normalised(self) -> Self {
        let mut this = self;
        if this.high == NAT64_HIGH && this.low >> 32 == 0 {
            this = Self { high: 0, low: (MAPPED << 32) | this.low };
        }
        if this.high == 0 && this.low == 0 {
            this.low = 1;
        } else if this.high == 0 && this.low == MAPPED << 32 {
            this.low = (MAPPED << 32) | LOOPBACK_V4 as u64;
        }
        this
    }

    /// The IPv4 address as a number, when it is one.
    #[inline(always)]
    pub const fn as_v4(self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == MAPPED { Some(self.low as u32) } else { None }
    }

    /// Whether the address never leaves the machine: 127.0.0.0/8 or ::1.
    #[inline(always)]
    pub const fn is_loopback(self) -> bool {
        match self.as_v4() {
            Some(number) => number >> 24 == 127,
            None => self.high == 0 && self.low == 1,
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.to_bits()),
            IpAddr::V6(address) => {
                let number = address.to_bits();
                Self::v6((number >> 64) as u64, number as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_ipv4_address_is_the_same_address() {
        let plain = Address::v4(0x0102_0304);
        assert_eq!(Address::v6(0, 0xffff_0102_0304), plain, "::ffff:1.2.3.4");
        assert_eq!(Address::v6(NAT64_HIGH, 0x0102_0304), plain, "64:ff9b::1.2.3.4");
        assert_eq!(plain.as_v4(), Some(0x0102_0304));
    }

    #[test]
    fn the_unspecified_address_is_loopback() {
        assert_eq!(Address::v4(0), Address::v4(LOOPBACK_V4));
        assert_eq!(Address::v6(0, 0), Address::v6(0, 1));
        assert_eq!(Address::v6(0, MAPPED << 32), Address::v4(LOOPBACK_V4));
        assert!(Address::v4(0x7f12_3456).is_loopback());
        assert!(!Address::v4(0x0800_0001).is_loopback());
        assert_eq!(Address::v6(0, 0x0102_0304).as_v4(), None, "IPv4-compatible is IPv6");
    }
}
