//! The description of the proxies in front of a server: checked as a whole, so that nothing in it
//! is ambiguous.

use http::{HeaderName, header::FORWARDED};
use ipnet::{IpNet, Ipv4Net};

use super::{
    client_ip::{ClientIp, Source, Trust},
    request_key::{IPV6_PREFIX, canonical},
};

/// The header that names the client, and the proxies that are trusted to set it; made by
/// [`ClientIp::builder`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientIpBuilder {
    sources: Vec<Named>,
    networks: Option<Vec<String>>,
    unix_socket: bool,
    hops: Option<usize>,
    everybody: bool,
    ipv6_prefix: Option<u8>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Named {
    List,
    Forwarded,
    Single(String),
}

impl ClientIp {
    /// Describes a client behind proxies.
    pub fn builder() -> ClientIpBuilder {
        ClientIpBuilder::default()
    }
}

impl ClientIpBuilder {
    /// Reads `X-Forwarded-For`, to which proxies append.
    pub fn x_forwarded_for(self) -> Self {
        self.source(Named::List)
    }

    /// Reads `Forwarded` (RFC 7239), to which proxies append.
    pub fn forwarded(self) -> Self {
        self.source(Named::Forwarded)
    }

    /// Reads this header, which the nearest proxy sets to one address: `cf-connecting-ip`,
    /// `x-real-ip`.
    pub fn single(self, name: &str) -> Self {
        self.source(Named::Single(name.to_owned()))
    }

    fn source(mut self, source: Named) -> Self {
        self.sources.push(source);
        self
    }

    /// Trusts the proxies at these addresses and in these networks (`10.0.0.0/8`).
    pub fn trusted_proxies<N: Into<String>>(
        mut self,
        networks: impl IntoIterator<Item = N>,
    ) -> Self {
        self.networks.get_or_insert_default().extend(networks.into_iter().map(Into::into));
        self
    }

    /// Trusts the peer on a [`UnixSocket`](crate::UnixSocket).
    pub const fn trusted_unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Trusts this number of proxies in front of the server, the peer among them, whatever their
    /// addresses. If the header has fewer entries, the client is the peer.
    ///
    /// A client that can reach the server, or one of the proxies, past the others can choose its
    /// address.
    pub const fn trusted_hops(mut self, hops: usize) -> Self {
        self.hops = Some(hops);
        self
    }

    /// Trusts everybody, so any client can choose its address. Use it in tests, and on servers that
    /// only trusted clients can reach.
    pub const fn dangerously_trust_everybody(mut self) -> Self {
        self.everybody = true;
        self
    }

    /// Counts IPv6 addresses as one that agree in this many bits, 32 to 128; 64 by default.
    ///
    /// The owner of a /48 counts as 65 536 clients by default. A second limit stops that:
    ///
    /// ```
    /// # use ratelimit_algorithms::{Limiter, TokenBucket};
    /// # use ratelimit_http::{ClientIp, RateLimitLayer, RequestLimit};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let client = Limiter::new(store.clone(), "client", TokenBucket::per_second(10))?;
    /// let site = Limiter::new(store, "site", TokenBucket::per_second(100))?;
    /// let layer = RateLimitLayer::new(client, ClientIp::peer())
    ///     .also(RequestLimit::new(site, ClientIp::builder().ipv6_prefix(48).build()?));
    /// # Ok(())
    /// # }
    /// ```
    pub const fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = Some(bits);
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    ///
    /// If a part of it is missing, wrong, or given twice.
    pub fn build(self) -> Result<ClientIp, ClientIpError> {
        let ipv6_prefix = self.ipv6_prefix.unwrap_or(IPV6_PREFIX);
        if !(32..=128).contains(&ipv6_prefix) {
            return Err(ClientIpError::BadPrefix { bits: ipv6_prefix });
        }
        let trust = self.trust()?;
        let source = match &self.sources[..] {
            [] => Source::Peer,
            [Named::List] => Source::List(HeaderName::from_static("x-forwarded-for")),
            [Named::Forwarded] => Source::Forwarded,
            [Named::Single(name)] => single(name)?,
            _ => return Err(ClientIpError::Ambiguous),
        };
        match (&source, &trust) {
            (Source::Peer, Trust::Nobody) => {}
            (Source::Peer, _) => return Err(ClientIpError::NoHeader),
            (_, Trust::Nobody) => return Err(ClientIpError::NoProxies),
            _ => {}
        }
        Ok(ClientIp { source, trust, ipv6_prefix })
    }

    fn trust(&self) -> Result<Trust, ClientIpError> {
        let has_networks = self.networks.is_some() || self.unix_socket;
        match (has_networks, self.hops, self.everybody) {
            (false, None, false) => Ok(Trust::Nobody),
            (true, None, false) => {
                let texts = self.networks.iter().flatten();
                let networks = texts.map(|text| network(text)).collect::<Result<Vec<_>, _>>()?;
                if networks.is_empty() && !self.unix_socket {
                    return Err(ClientIpError::NoProxies);
                }
                Ok(Trust::Networks { networks, unix_socket: self.unix_socket })
            }
            (false, Some(0), false) => Err(ClientIpError::NoProxies),
            (false, Some(hops), false) => Ok(Trust::Hops(hops)),
            (false, None, true) => Ok(Trust::Everybody),
            _ => Err(ClientIpError::Ambiguous),
        }
    }
}

/// The header with this name, unless it is one of the lists.
fn single(name: &str) -> Result<Source, ClientIpError> {
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| ClientIpError::BadHeader)?;
    if name == FORWARDED || name == "x-forwarded-for" {
        return Err(ClientIpError::BadHeader);
    }
    Ok(Source::Single(name))
}

/// Parses a network without bits beyond its prefix, or a lone address.
pub(crate) fn network(text: &str) -> Result<IpNet, ClientIpError> {
    let bad = || ClientIpError::BadNetwork { text: text.to_owned() };
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().map_err(|_| bad())?),
    };
    if network != network.trunc() {
        return Err(bad());
    }
    let network = as_ipv4(network);
    if network.prefix_len() == 0 {
        return Err(ClientIpError::TrustsEverybody);
    }
    Ok(network)
}

/// The IPv4 network that an IPv6 network of translated addresses stands for, since addresses are
/// compared in that form. (An IPv4 network has no 96 bits.)
fn as_ipv4(network: IpNet) -> IpNet {
    // The last address, whose bits beyond the prefix say nothing about a shorter form.
    match (canonical(network.broadcast()), network.prefix_len().checked_sub(96)) {
        (std::net::IpAddr::V4(address), Some(bits)) => {
            Ipv4Net::new(address, bits).map_or(network, |network| network.trunc().into())
        }
        _ => network,
    }
}

/// A description of the client that is incomplete, wrong or ambiguous.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIpError {
    /// More than one header, or more than one kind of trust.
    #[error("client address is to be found in more than one way")]
    Ambiguous,
    /// Not a network: not an address and a number of bits, or bits are set beyond that number.
    #[error("not a network: {text:?}")]
    BadNetwork {
        /// The text.
        text: String,
    },
    /// A network of all addresses. Trust in everybody has a method of its own,
    /// [`dangerously_trust_everybody`](ClientIpBuilder::dangerously_trust_everybody).
    #[error("network contains every address")]
    TrustsEverybody,
    /// An IPv6 prefix below 32 or above 128 bits.
    #[error("prefix of {bits} bits is not between 32 and 128")]
    BadPrefix {
        /// The number of bits.
        bits: u8,
    },
    /// Not the name of a header that holds one address.
    #[error("not the name of a header with a single address")]
    BadHeader,
    /// A header without proxies that are trusted to set it.
    #[error("no proxy is trusted to set the header")]
    NoProxies,
    /// Trusted proxies without a header.
    #[error("proxies are trusted, but no header is named")]
    NoHeader,
}
