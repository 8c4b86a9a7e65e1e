//! The key of a request: typed parts, each with its length.

use std::{fmt, net::IpAddr};

use smallvec::SmallVec;

/// Who a request counts against: one part, or several [joined](RequestKey::and).
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
    /// This key, then all parts of `other`.
    #[must_use]
    pub fn and(mut self, other: impl Into<Self>) -> Self {
        self.0.extend_from_slice(&other.into().0);
        self
    }

    /// A credential, of which only a digest is kept.
    pub(crate) fn digest(digest: &[u8; 16]) -> Self {
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

/// What a part is. Stores that outlive the process hold these numbers: they keep their meaning.
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

/// Bytes as they are; other bytes than the same in a text.
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
        match address.to_canonical() {
            IpAddr::V4(address) => Self::part(Kind::Address, &address.octets()),
            IpAddr::V6(address) => Self::part(Kind::Address, &address.octets()),
        }
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
