//! The address of the client, also behind proxies, such that no client can choose it.
//!
//! A header that tells of a client's address is a list to which every proxy appends whom it was
//! asked by. So only its right end is known to be true, as far as the proxies are known: the walk
//! starts at the peer, and goes one entry to the left for as long as the address it stands on is a
//! proxy that the application named. Whatever is further left may be made up.

mod address;
mod builder;
mod forwarded;
mod inspect;
mod node;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, request::Parts};
use ipnet::IpNet;

pub(crate) use self::builder::network;
pub use self::builder::{ClientIpBuilder, ClientIpError};
use self::{forwarded::RightSplit, node::Node};
use crate::{
    KeyError, KeyFn, RequestKey, Warning,
    key::peer::{Origin, origin},
};

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
/// The first from the right that is not a trusted proxy's; where all of them are, the leftmost; at
/// an entry that is no address the walk ends, at the nearest one that is. At most 32 entries are
/// looked at. Where the peer is not trusted no header is read.
///
/// An entry is an address with or without a port, IPv6 with or without brackets. No octal, no hex,
/// no zone; no more than 64 characters; not the unspecified address, nor a multicast group: nobody
/// has these.
///
/// # Which key
///
/// - An IPv4 address counts alone, and so does one in IPv6 (`::ffff:0:0/96`) or behind NAT64
///   (`64:ff9b::/96`).
/// - An IPv6 address counts with its neighbours of the same /64, which is what one customer gets;
///   [`ipv6_prefix`](ClientIpBuilder::ipv6_prefix) changes it. A second limit by /48 stops who
///   has many of them.
/// - A 6to4 address (`2002::/16`) counts by its /48, since one IPv4 address owns all of that.
/// - Teredo, link-local, loopback and all others count by their prefix like any other. A zone is
///   dropped.
///
/// Where the peer is not known, see [`PeerAddr`](crate::PeerAddr), the answer is
/// [`KeyError::NoPeer`]; and so it is on a [`UnixSocket`](crate::UnixSocket), unless that is
/// trusted and the header names somebody.
#[derive(Clone, Debug)]
pub struct ClientIp {
    source: Source,
    trust: Trust,
    ipv6_prefix: u8,
}

/// Where the addresses are that a proxy tells of.
#[derive(Clone, Debug)]
enum Source {
    /// Nowhere.
    Peer,
    /// In a list without names, as `X-Forwarded-For`.
    List(HeaderName),
    /// In `Forwarded`.
    Forwarded,
    /// Alone in a header of its own.
    Single(HeaderName),
}

/// Who is believed.
#[derive(Clone, Debug)]
enum Trust {
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

    /// A client behind proxies.
    pub fn builder() -> ClientIpBuilder {
        ClientIpBuilder::default()
    }

    /// The client's own address, before neighbours are counted as one.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoPeer`] where it is not known.
    pub fn address(&self, request: &Parts) -> Result<IpAddr, KeyError> {
        let origin = origin(&request.extensions).ok_or(KeyError::NoPeer)?;
        let headers = &request.headers;
        match &self.source {
            Source::Peer => self.walk(origin, std::iter::empty()),
            Source::List(name) => {
                let lines = headers.get_all(name).iter().rev();
                let entries = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
                self.walk(origin, entries.map(node::parse))
            }
            Source::Forwarded => {
                let lines = headers.get_all(http::header::FORWARDED).iter().rev();
                let entries = lines.flat_map(|line| RightSplit::new(line.as_bytes(), b','));
                self.walk(origin, entries.map(forwarded::parse))
            }
            Source::Single(name) => self.walk(origin, the_only(headers, name).into_iter()),
        }
    }

    /// From the peer to the left, past all that are trusted.
    fn walk(
        &self,
        origin: Origin,
        mut entries: impl Iterator<Item = Option<Node>>,
    ) -> Result<IpAddr, KeyError> {
        let mut client = match origin {
            Origin::Address(peer) => Some(address::canonical(peer)),
            Origin::UnixSocket => None,
        };
        for hop in 0..HOPS_MAX {
            if !self.trust.includes(client, hop) {
                break;
            }
            match entries.next().flatten() {
                Some(node) => client = Some(node),
                None => break,
            }
        }
        client.ok_or(KeyError::NoPeer)
    }
}

/// No chain of proxies is longer.
const HOPS_MAX: usize = 32;

/// What a customer gets, at least.
const IPV6_PREFIX: u8 = 64;

impl Trust {
    /// Whether `client` (`None`: at the other end of a Unix socket) is believed, who was found
    /// after `hops` entries.
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

/// What this header says, if it is there once.
fn the_only(headers: &HeaderMap, name: &HeaderName) -> Option<Option<Node>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| node::parse(value.as_bytes()))
}

impl KeyFn for ClientIp {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        Ok(address::network(self.address(request)?, self.ipv6_prefix).into())
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        inspect::inspect(self, &request.headers, warn);
    }
}

/// [`ClientIp::peer`].
impl Default for ClientIp {
    fn default() -> Self {
        Self::peer()
    }
}
