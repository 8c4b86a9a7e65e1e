//! How a client behind proxies is found: checked as a whole, so that nothing is ambiguous.

use http::{HeaderName, header::FORWARDED};
use ipnet::{IpNet, Ipv4Net};

use super::{ClientIp, IPV6_PREFIX, Source, Trust};

/// One header, and whom to believe what it says; made by [`ClientIp::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientIpBuilder {
    sources: Vec<Named>,
    networks: Option<Vec<String>>,
    unix_socket: bool,
    hops: Option<usize>,
    everybody: bool,
    ipv6_prefix: Option<u8>,
}

#[derive(Clone, Debug)]
enum Named {
    List,
    Forwarded,
    Single(String),
}

impl ClientIpBuilder {
    /// Proxies append to `X-Forwarded-For`.
    pub fn x_forwarded_for(self) -> Self {
        self.source(Named::List)
    }

    /// Proxies append to `Forwarded` (RFC 7239).
    pub fn forwarded(self) -> Self {
        self.source(Named::Forwarded)
    }

    /// The nearest proxy sets this header, to one address: `cf-connecting-ip`, `x-real-ip`.
    pub fn single(self, name: &str) -> Self {
        self.source(Named::Single(name.to_owned()))
    }

    fn source(mut self, source: Named) -> Self {
        self.sources.push(source);
        self
    }

    /// The addresses and networks (`10.0.0.0/8`) of the proxies.
    pub fn trusted_proxies<N: Into<String>>(
        mut self,
        networks: impl IntoIterator<Item = N>,
    ) -> Self {
        self.networks.get_or_insert_default().extend(networks.into_iter().map(Into::into));
        self
    }

    /// The peer is trusted where the server listens on a [`UnixSocket`](crate::UnixSocket).
    pub const fn trusted_unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// So many proxies stand before the server, whatever their addresses, the peer among them.
    ///
    /// Who can reach the server, or one of the proxies, past the others, can choose its address.
    pub const fn trusted_hops(mut self, hops: usize) -> Self {
        self.hops = Some(hops);
        self
    }

    /// Believes everybody: any client can choose its address. For tests, and for servers that
    /// nobody but clients with good manners can reach.
    pub const fn dangerously_trust_everybody(mut self) -> Self {
        self.everybody = true;
        self
    }

    /// Counts IPv6 addresses as one that agree in this many bits, 32 to 128; 64 by default.
    ///
    /// Who has a /48 has 65 536 of the default's clients. A second limit stops that:
    ///
    /// ```
    /// # use ratelimit_algorithms::{Limiter, TokenBucket};
    /// # use ratelimit_http::{ClientIp, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let client = Limiter::new(store.clone(), "client", TokenBucket::per_second(10))?;
    /// let site = Limiter::new(store, "site", TokenBucket::per_second(100))?;
    /// let layer = RateLimitLayer::new(client, ClientIp::peer())
    ///     .also(site, ClientIp::builder().ipv6_prefix(48).build()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = Some(bits);
        self
    }

    /// The client, as described.
    ///
    /// # Errors
    ///
    /// If something is missing, wrong, or said in two ways.
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

/// The header of a single address, which is none of the lists.
fn single(name: &str) -> Result<Source, ClientIpError> {
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| ClientIpError::BadHeader)?;
    if name == FORWARDED || name == "x-forwarded-for" {
        return Err(ClientIpError::BadHeader);
    }
    Ok(Source::Single(name))
}

/// A network of which no bit is set that it does not fix, or an address alone.
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

/// Addresses are compared as IPv4 where they are, so networks are as well. (One that is IPv4 has no
/// 96 bits.)
fn as_ipv4(network: IpNet) -> IpNet {
    match (super::address::canonical(network.addr()), network.prefix_len().checked_sub(96)) {
        (std::net::IpAddr::V4(address), Some(bits)) => {
            Ipv4Net::new(address, bits).map_or(network, IpNet::from)
        }
        _ => network,
    }
}

/// Why a client cannot be found like this.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIpError {
    /// More than one header, or more than one way to say whom to believe.
    #[error("client address is to be found in more than one way")]
    Ambiguous,
    /// This is no network: not an address and a number of bits, or bits are set beyond that.
    #[error("not a network: {text:?}")]
    BadNetwork {
        /// What was said.
        text: String,
    },
    /// A network of everybody; to trust everybody has a name of its own,
    /// [`dangerously_trust_everybody`](ClientIpBuilder::dangerously_trust_everybody).
    #[error("network contains every address")]
    TrustsEverybody,
    /// An IPv6 prefix below 32 or above 128 bits.
    #[error("prefix of {bits} bits is not between 32 and 128")]
    BadPrefix {
        /// What was said.
        bits: u8,
    },
    /// Not the name of a header that holds one address.
    #[error("not the name of a header with a single address")]
    BadHeader,
    /// A header without anybody to believe it.
    #[error("no proxy is trusted to set the header")]
    NoProxies,
    /// Somebody to believe without a header.
    #[error("proxies are trusted, but no header is named")]
    NoHeader,
}
