//! The address of the client, also behind proxies, such that no client can choose it.
//!
//! Every proxy appends the address of its own peer to a header. So only the right end of that list
//! is known to be true, as far as the proxies are known. The search starts at the peer, and goes
//! one entry to the left as long as the current address is a proxy that the application trusts.
//! Anything further left may be made up.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName, header::FORWARDED, request::Parts};
use ipnet::IpNet;

use super::{
    KeyError, KeyFn,
    forwarded::{address, forwarded, listed},
    request_key::{IPV6_PREFIX, RequestKey, canonical},
};
use crate::Warning;

/// Counts requests by the IP address of the client: the peer's, unless it is a trusted proxy.
///
/// ```
/// use ratelimit_http::ClientIp;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let direct = ClientIp::peer();
/// let behind_nginx =
///     ClientIp::builder().x_forwarded_for().trusted_proxies(["10.0.0.0/8"]).build()?;
/// let behind_cloudflare =
///     ClientIp::builder().single("cf-connecting-ip").trusted_hops(1).build()?;
/// # Ok(())
/// # }
/// ```
///
/// # Which address
///
/// The first from the right that is not a trusted proxy's; if all are, the leftmost. The search
/// ends at an entry that is not an address, with the entry to the right of it. Empty entries are
/// skipped. At most 32 entries are read, in the last 4 KiB of the header. If the peer is not
/// trusted, no header is read.
///
/// With a number of [hops](crate::ClientIpBuilder::trusted_hops) and fewer entries than that, the
/// client is the peer: the request has passed by a proxy, and a client may have written the header.
///
/// An entry is an address with or without a port, IPv6 with or without brackets. No octal, no hex,
/// no zone; at most 64 characters; not the unspecified address, nor a multicast group: no client
/// has these.
///
/// # Which key
///
/// - An IPv4 address counts alone, and so does one in IPv6 (`::ffff:0:0/96`), translated by SIIT
///   (`::ffff:0:0:0/96`) or behind NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`).
/// - An IPv6 address counts with its neighbours of the same /64, which is what one customer gets;
///   [`ipv6_prefix`](crate::ClientIpBuilder::ipv6_prefix) changes it. A second limit by /48 stops a
///   customer that has many of them.
/// - A 6to4 address (`2002::/16`) counts by its /48, since one IPv4 address owns all of that.
/// - Teredo, link-local, loopback and all others count by their prefix like any other. A zone is
///   dropped.
///
/// The error is [`KeyError::NoPeer`] if the peer is unknown (see [`PeerAddr`]), and on a
/// [`UnixSocket`](crate::UnixSocket) unless that is trusted and the header contains an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientIp {
    pub(super) source: Source,
    pub(super) trust: Trust,
    pub(super) ipv6_prefix: u8,
}

/// The place where proxies pass on addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// None: the peer is the client.
    Peer,
    /// A list of bare addresses, such as `X-Forwarded-For`.
    List(HeaderName),
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// A header with one address.
    Single(HeaderName),
}

/// The proxies whose entries are trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trust {
    Nobody,
    Networks { networks: Vec<IpNet>, unix_socket: bool },
    Hops(usize),
    Everybody,
}

impl ClientIp {
    /// The address at the other end of the connection; no header is read.
    #[must_use]
    pub const fn peer() -> Self {
        Self { source: Source::Peer, trust: Trust::Nobody, ipv6_prefix: IPV6_PREFIX }
    }

    /// Returns the key of a client with this address.
    #[must_use]
    pub fn key_of(&self, address: impl Into<IpAddr>) -> RequestKey {
        RequestKey::network(canonical(address.into()), self.ipv6_prefix)
    }

    /// Returns the client's own address, before neighbours are counted as one.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoPeer`] if the address is unknown.
    pub fn address(&self, request: &Parts) -> Result<IpAddr, KeyError> {
        let peer = match origin(&request.extensions).ok_or(KeyError::NoPeer)? {
            Origin::Address(peer) => Some(canonical(peer)),
            Origin::UnixSocket => None,
        };
        let headers = &request.headers;
        let client = match &self.source {
            Source::Peer => peer,
            Source::List(name) => self.search(peer, listed(headers, name)),
            Source::Forwarded => self.search(peer, forwarded(headers)),
            Source::Single(name) if self.trust.includes(peer, 0) => {
                the_only(headers, name).or(peer)
            }
            Source::Single(_) => peer,
        };
        client.ok_or(KeyError::NoPeer)
    }

    /// Goes from the peer to the left, past all that are trusted.
    fn search(
        &self,
        peer: Option<IpAddr>,
        mut entries: impl Iterator<Item = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        let mut client = peer;
        for hop in 0..HOPS_MAX {
            if !self.trust.includes(client, hop) {
                break;
            }
            match entries.next() {
                Some(Some(address)) => client = Some(address),
                // The request has not come through all proxies, so a client may have written any
                // entry.
                None if matches!(self.trust, Trust::Hops(_)) => return peer,
                Some(None) | None => break,
            }
        }
        client
    }

    /// The header that is read.
    fn header(&self) -> Option<&HeaderName> {
        match &self.source {
            Source::Peer => None,
            Source::List(name) | Source::Single(name) => Some(name),
            Source::Forwarded => Some(&FORWARDED),
        }
    }
}

/// No chain of proxies is longer.
const HOPS_MAX: usize = 32;

impl Trust {
    /// True if `client` (`None`: a Unix socket), who was found after `hops` entries, is a trusted
    /// proxy.
    fn includes(&self, client: Option<IpAddr>, hops: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Networks { networks, unix_socket } => client.map_or(*unix_socket, |client| {
                networks.iter().any(|network| network.contains(&client))
            }),
            Self::Hops(trusted) => hops < *trusted,
            Self::Everybody => true,
        }
    }
}

/// The address in this header, if the header occurs once.
fn the_only(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { address(value.as_bytes()) }
}

impl KeyFn for ClientIp {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        self.address(request).map(|address| self.key_of(address))
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        if matches!(self.trust, Trust::Everybody) {
            warn(Warning::TrustsEverybody);
        }
        if IPV6_PREFIX < self.ipv6_prefix {
            warn(Warning::WideIpv6Prefix { bits: self.ipv6_prefix });
        }
        // A proxy that sets one header may well pass on another one that a client has made up.
        let has = |name: &str| request.headers.contains_key(name);
        if self.header().is_some_and(|name| has(name.as_str())) {
            return;
        }
        if let Some(name) = ADDRESS_HEADERS.into_iter().find(|name| has(name)) {
            warn(Warning::UnreadHeader { name });
        }
    }
}

/// Headers in which proxies pass on addresses.
const ADDRESS_HEADERS: [&str; 8] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "x-client-ip",
];

/// [`ClientIp::peer`].
impl Default for ClientIp {
    fn default() -> Self {
        Self::peer()
    }
}

/// Counts requests by the IP address at the other end of the connection, as [`ClientIp::peer`]
/// does.
///
/// The port does not count, IPv6 addresses count by their /64, and an IPv4 address in IPv6 is the
/// IPv4 address. No header is read, so no client can choose its key; behind a proxy all requests
/// come from the proxy.
///
/// The address is found in the request's extensions, as a [`Peer`](crate::Peer); with the feature
/// `axum` also where `Router::into_make_service_with_connect_info::<SocketAddr>` puts it. If it is
/// missing the server is set up wrongly: [`KeyError::NoPeer`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct PeerAddr;

impl KeyFn for PeerAddr {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        ClientIp::peer().key(request)
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        ClientIp::peer().inspect(request, warn);
    }
}

/// The address that a request comes from; a server inserts it into the request's extensions.
///
/// It takes precedence over axum's `ConnectInfo`, so that a layer that knows better (the PROXY
/// protocol) can correct it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is an address, and nothing more")]
pub struct Peer(pub SocketAddr);

/// The mark of a request that came over a Unix socket; a server inserts it into the request's
/// extensions.
///
/// Such a peer has no address. A proxy on the same host may still name a client that has one: see
/// [`ClientIp`](crate::ClientIp). A [`Peer`] in the same request takes precedence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it says nothing more")]
pub struct UnixSocket;

/// The other end of the connection.
#[derive(Clone, Copy)]
enum Origin {
    Address(IpAddr),
    UnixSocket,
}

fn origin(extensions: &Extensions) -> Option<Origin> {
    let address = peer(extensions).map(|peer| Origin::Address(peer.ip()));
    address.or_else(|| extensions.get().map(|UnixSocket| Origin::UnixSocket))
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|Peer(peer)| *peer).or_else(|| connected(extensions))
}

#[cfg(feature = "axum")]
fn connected(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|axum::extract::ConnectInfo(peer)| *peer)
}

#[cfg(not(feature = "axum"))]
const fn connected(_: &Extensions) -> Option<SocketAddr> {
    None
}
