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
/// The key functions of this crate make keys of these constructors, so that a key made by hand is
/// the layer's. Whatever takes a key takes one of these: `peek`, `reset` and `block` of a limiter,
/// the lists of `ratelimit-resilience`, [`Tiers`](ratelimit_algorithms::Tiers). A plain text is no
/// key of a layer:
///
/// | key function | key made by hand |
/// |---|---|
/// | [`PeerAddr`](crate::PeerAddr), [`ClientIp`](crate::ClientIp) | [`RequestKey::ip`]; with another prefix, `ClientIp::key_of` |
/// | [`ApiKey`](crate::ApiKey) with a pepper | `RequestKey::api_key`, `ApiKey::key_of` |
/// | a text, `MatchedRoute`, [`MethodName`](crate::MethodName), [`TargetHost`](crate::TargetHost) | [`RequestKey::text`] |
/// | [`Extension`](crate::Extension), a function | what it returns, [into](From) a `RequestKey` |
/// | `a.and(b)` | [`RequestKey::parts`], [`RequestKey::and`] |
///
/// ```
/// use std::net::Ipv6Addr;
///
/// use http::Request;
/// use ratelimit_http::{KeyFn, Peer, PeerAddr, RequestKey};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = Request::get("/").extension(Peer("[2001:db8::7]:443".parse()?)).body(())?;
/// let layers = PeerAddr.key(&request.into_parts().0)?;
/// // Any address of the client's network is the client, as in `limiter.reset(&client)`.
/// let client = RequestKey::ip("2001:db8::1".parse::<Ipv6Addr>()?);
/// assert_eq!(client, layers);
/// # Ok(())
/// # }
/// ```
///
/// Its `Debug` shows the length only.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct RequestKey(SmallVec<[u8; BYTES_INLINE]>);

/// Two parts of 16 bytes, such as an address and a digest.
const BYTES_INLINE: usize = 2 * (1 + 4 + 16);

impl RequestKey {
    /// The key of a client's address, as [`PeerAddr`](crate::PeerAddr) and
    /// [`ClientIp`](crate::ClientIp) make it: an IPv6 address counts by its /64, and an IPv4
    /// address in IPv6 is the IPv4 address.
    #[must_use]
    pub fn ip(address: impl Into<IpAddr>) -> Self {
        Self::network(canonical(address.into()), IPV6_PREFIX)
    }

    /// The key of a text: of a route, a host, a user's name.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::part(Kind::Text, text.as_ref().as_bytes())
    }

    /// Joins keys into one, as [`KeyFn::and`](crate::KeyFn::and) does.
    ///
    /// ```
    /// use ratelimit_http::RequestKey;
    ///
    /// let [login, user] = [RequestKey::text("login"), RequestKey::from(7)];
    /// assert_eq!(RequestKey::parts([login.clone(), user.clone()]), login.and(user));
    /// ```
    #[must_use]
    pub fn parts<K: Into<Self>>(parts: impl IntoIterator<Item = K>) -> Self {
        parts.into_iter().fold(Self(SmallVec::new()), Self::and)
    }

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
        Self::text(text)
    }
}

impl From<String> for RequestKey {
    fn from(text: String) -> Self {
        Self::text(text)
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

/// [`RequestKey::ip`].
impl From<IpAddr> for RequestKey {
    fn from(address: IpAddr) -> Self {
        Self::ip(address)
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
        // Mapped, translated by SIIT, and NAT64.
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            Ipv4Addr::new(a, b, c, d).into()
        }
        [0, 0x64, 0xff, 0x9b, 0, 1, rest @ ..] => local_nat64(rest).map_or(address, IpAddr::V4),
        _ => address,
    }
}

/// The IPv4 address behind a local NAT64 (`64:ff9b:1::/48`), by the bits after that prefix.
///
/// An operator chooses a prefix of 48, 56, 64 or 96 bits in it (RFC 8215), which none of its
/// addresses tells. The address follows the prefix, around a byte of zero, and zeros follow the
/// address (RFC 6052), so its last byte that is not zero tells where it ends.
const fn local_nat64(rest: [u8; 10]) -> Option<Ipv4Addr> {
    Some(match rest {
        [a, b, 0, c, d, 0, 0, 0, 0, 0] => Ipv4Addr::new(a, b, c, d),
        [_, a, 0, b, c, d, 0, 0, 0, 0] => Ipv4Addr::new(a, b, c, d),
        [_, _, 0, a, b, c, d, 0, 0, 0] => Ipv4Addr::new(a, b, c, d),
        [_, _, 0, _, _, _, a, b, c, d] => Ipv4Addr::new(a, b, c, d),
        _ => return None,
    })
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
