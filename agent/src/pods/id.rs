//! The identifiers of pods and of containers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// The identifier of a pod, as its cgroup has it: for a pod of the API server a UUID, for a static
/// one the kubelet's digest of its manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid {
    number: u128,
    is_static: bool,
}

impl PodUid {
    /// Whether the pod comes from a file on the node, and not from the API server: only these have
    /// 32 digits without dashes.
    pub fn is_static(self) -> bool {
        self.is_static
    }

    /// Reads it, with this in the place of each dash.
    pub(super) fn read(text: &str, dash: char) -> Option<Self> {
        let mut number = 0;
        let is_static = text.len() == 32;
        if !is_static && text.len() != 36 {
            return None;
        }
        for (place, character) in text.char_indices() {
            if !is_static && matches!(place, 8 | 13 | 18 | 23) {
                if character != dash {
                    return None;
                }
            } else {
                number = number << 4 | u128::from(digit(character)?);
            }
        }
        Some(Self { number, is_static })
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.number);
        if self.is_static {
            return f.write_str(&digits);
        }
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        f.write_str(&parts.join("-"))
    }
}

/// The identifier that a container's runtime gave it: 64 hexadecimal digits, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId([u8; 32]);

impl ContainerId {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return None;
        }
        for (place, character) in text.char_indices() {
            bytes[place / 2] = bytes[place / 2] << 4 | digit(character)?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The value of a hexadecimal digit in lower case.
fn digit(character: char) -> Option<u8> {
    let byte = u8::try_from(character).ok()?;
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A text that is no identifier of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Not a pod's.
    #[error(
        "not the uid of a pod: it has the form 1b4e28ba-2fa1-11d2-883f-0016d3cca427, or 32 \
         hexadecimal digits for a static pod, in lower case"
    )]
    Pod,
    /// Not a container's.
    #[error("not the identifier of a container: it has 64 hexadecimal digits in lower case")]
    Container,
}

/// What both identifiers are to people and to files: their text.
macro_rules! as_text {
    ($kind:ty, $read:expr, $bad:expr) => {
        impl FromStr for $kind {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                $read(text).ok_or($bad)
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(PodUid, |text| PodUid::read(text, '-'), BadId::Pod);
as_text!(ContainerId, ContainerId::read, BadId::Container);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";

    #[test]
    fn an_identifier_that_is_none_says_what_one_looks_like() {
        assert_eq!("1b4e28ba".parse::<PodUid>(), Err(BadId::Pod));
        assert_eq!(UID.replace('-', "_").parse::<PodUid>(), Err(BadId::Pod));
        assert_eq!(UID.to_uppercase().parse::<PodUid>(), Err(BadId::Pod));
        assert_eq!(UID.parse::<ContainerId>(), Err(BadId::Container));
        assert!(!UID.parse::<PodUid>().unwrap().is_static());
        assert!(UID.replace('-', "").parse::<PodUid>().unwrap().is_static());
    }

    proptest! {
        #[test]
        fn identifiers_that_are_printed_are_read_again(
            number in any::<u128>(),
            is_static in any::<bool>(),
            id in any::<[u8; 32]>(),
        ) {
            let uid = PodUid { number, is_static };
            prop_assert_eq!(uid.to_string().parse(), Ok(uid));
            let id = ContainerId(id);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn what_is_read_is_printed_as_it_was(text in "[0-9a-f-]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}|.*") {
            if let Ok(uid) = text.parse::<PodUid>() {
                prop_assert_eq!(uid.to_string(), text.as_str());
            }
            if let Ok(id) = text.parse::<ContainerId>() {
                prop_assert_eq!(id.to_string(), text.as_str());
            }
        }
    }
}
