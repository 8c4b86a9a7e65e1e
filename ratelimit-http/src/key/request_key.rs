//! The key of a request: typed parts, each with its length.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use smallvec::SmallVec;

/// The key that a request counts against: one part, or several [joined](RequestKey::and).
///
/// Each part is stored as a type, a length and bytes, so that keys are equal only if their parts
/// are, one by one: `a|b` and `c` is another key than `a` and `b|c`, the number 7 another than the
/// text `7`, and no text is the key of an address or of a credential.
///
/// Its `Debug` shows the length only.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct RequestKey(SmallVec<[u8; BYTES_INLINE]>);

/// Two parts of 16 bytes, such as an address and a digest.
const BYTES_INLINE: usize = 2 * (1 + 4 + 16);

impl RequestKey {
    /// Appends all parts of `other`.
    #[must_use]
    pub fn and(mut self, other: impl Into<Self>) -> Self {
        self.0.extend_from_slice(&other.into().0);
        self
    }

    /// The key of a client's address: an IPv6 address counts by its first `ipv6_prefix` bits.
    pub(super) fn network(address: IpAddr, ipv6_prefix: u8) -> Self {
        match network(address, ipv6_prefix) {
            IpAddr::V4(address) => Self::part(Kind::Address, &address.octets()),
            IpAddr::V6(address) => Self::part(Kind::Address, &address.octets()),
        }
    }

    /// The key of a credential, of which only a digest is kept.
    pub(super) fn digest(digest: &[u8; 16]) -> Self {
        Self::part(Kind::Digest, digest)
    }

    fn part(kind: Kind, bytes: &[u8]) -> Self {
        // A longer part makes a key that every limiter refuses, whatever its length says.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let [a, b, c, d] = length.to_be_bytes();
        let mut part = SmallVec::from_slice(&[kind as u8, a, b, c, d]);
        part.extend_from_slice(bytes);
        Self(part)
    }
}

/// The type of a part. Persistent stores hold these numbers, so they keep their meaning.
enum Kind {
    Text = 1,
    Bytes = 2,
    Number = 3,
    Address = 4,
    Digest = 5,
}

impl From<&str> for RequestKey {
    fn from(text: &str) -> Self {
        Self::part(Kind::Text, text.as_bytes())
    }
}

impl From<String> for RequestKey {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Bytes as they are: another key than a text of the same bytes.
impl From<&[u8]> for RequestKey {
    fn from(bytes: &[u8]) -> Self {
        Self::part(Kind::Bytes, bytes)
    }
}

impl From<u64> for RequestKey {
    fn from(number: u64) -> Self {
        Self::part(Kind::Number, &number.to_be_bytes())
    }
}

/// An IPv4 address in IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
impl From<IpAddr> for RequestKey {
    fn from(address: IpAddr) -> Self {
        Self::network(address.to_canonical(), 128)
    }
}

impl AsRef<[u8]> for RequestKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestKey({} bytes)", self.0.len())
    }
}

/// The bits of an IPv6 address that count: what a customer gets, at least.
pub(super) const IPV6_PREFIX: u8 = 64;

/// The IPv4 address that an IPv6 address stands for.
///
/// By its bits, and before any prefix is cut: all of IPv4 lies in one /64 otherwise.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address,
    }
}

/// The first address of the network that counts as one client.
fn network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let is_6to4 = v6.segments()[0] == 0x2002;
            let prefix = if is_6to4 { ipv6_prefix.min(SITE_6TO4) } else { ipv6_prefix };
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or_default();
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// One IPv4 address owns this much of 6to4.
const SITE_6TO4: u8 = 48;
