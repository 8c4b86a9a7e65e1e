//! The key of a request: the client's address, other fields, or several as one.

use std::{
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
    str,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use http::{HeaderName, HeaderValue, request};
use ratelimit_http::{ClientIp, Peer, RequestKey, UnixSocket};
use smallvec::SmallVec;

use crate::{clients::Clients, log::Values};

/// Makes keys as the HTTP layer does, so that two requests are of one client here if they are there.
#[derive(Debug)]
pub(crate) struct Keys {
    parts: Vec<Part>,
    client_ip: ClientIp,
    header: HeaderName,
    /// The head of a request that has nothing but the addresses of the line.
    request: request::Parts,
    /// Clients by what their lines say. Addresses are only read for those that are not among them.
    known: HashTable<Known>,
    hasher: RandomState,
}

/// A client, by what lines say of it.
#[derive(Debug)]
struct Known {
    said: SmallVec<[u8; SAID_BYTES_INLINE]>,
    client: u32,
}

/// A part of a key, and the places of its values in a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Client { peer: usize, forwarded: Option<usize> },
    Path(usize),
    Field(usize),
}

/// A key that cannot be made, or a client for whom there is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoClient {
    Bad(&'static str),
    NoRoom,
}

impl Keys {
    pub(crate) fn new(parts: Vec<Part>, client_ip: ClientIp, header: HeaderName) -> Self {
        let (request, ()) = http::Request::new(()).into_parts();
        let (known, hasher) = (HashTable::new(), RandomState::default());
        Self { parts, client_ip, header, request, known, hasher }
    }

    /// Appends what a line says of its client: the values of the parts, each in a line of its own.
    #[inline]
    pub(crate) fn say(&self, values: &Values<'_>, said: &mut Vec<u8>) {
        for part in &self.parts {
            part.say(values, said);
        }
    }

    /// The hash by which [`known`](Self::known) looks.
    #[inline]
    pub(crate) fn hash(&self, said: &[u8]) -> u64 {
        self.hasher.hash_one(said)
    }

    /// Returns the client that lines have said this of before.
    #[inline]
    pub(crate) fn known(&self, hash: u64, said: &[u8]) -> Option<u32> {
        self.known.find(hash, |known| *known.said == *said).map(|known| known.client)
    }

    /// Returns the number of the client that a line says this of.
    pub(crate) fn client(&mut self, said: &[u8], clients: &mut Clients) -> Result<u32, NoClient> {
        let (mut key, mut name) = (None::<RequestKey>, String::new());
        let mut values = said.split(|byte| *byte == b'\n');
        let mut next = || values.next().filter(|value| !value.is_empty());
        for part in self.parts.clone() {
            let (one, text) = self.part(part, &mut next)?;
            key = Some(match key {
                Some(key) => key.and(one),
                None => one,
            });
            name += if name.is_empty() { "" } else { " " };
            name += &text;
        }
        let key = key.ok_or(NoClient::Bad("no key"))?;
        if KEY_BYTES_MAX < key.as_ref().len() {
            return Err(NoClient::Bad("a key that is too long"));
        }
        let client = clients.number(key.as_ref(), || name).ok_or(NoClient::NoRoom)?;
        if KNOWN_MAX <= self.known.len() {
            self.known.clear();
        }
        // Two lines of a batch may say the same.
        let is_new = self.known(self.hash(said), said).is_none();
        if is_new && said.len() <= SAID_BYTES_MAX {
            let known = Known { said: said.into(), client };
            let hash = |known: &Known| self.hasher.hash_one(&*known.said);
            self.known.insert_unique(hash(&known), known, hash);
        }
        Ok(client)
    }

    /// The key of a part, and its text.
    fn part<'s>(
        &mut self,
        part: Part,
        next: &mut impl FnMut() -> Option<&'s [u8]>,
    ) -> Result<(RequestKey, String), NoClient> {
        if let Part::Client { forwarded, .. } = part {
            let address = self.address(next(), forwarded.and_then(|_| next()))?;
            return Ok((self.client_ip.key_of(address), address.to_string()));
        }
        let value = next().ok_or(NoClient::Bad("no key"))?;
        let text = String::from_utf8_lossy(value).into_owned();
        let key = str::from_utf8(value).map_or_else(|_| value.into(), RequestKey::text);
        Ok((key, text))
    }

    /// The address that the layer finds in a request from this peer with this header.
    fn address(&mut self, peer: Option<&[u8]>, header: Option<&[u8]>) -> Result<IpAddr, NoClient> {
        const NO_ADDRESS: NoClient = NoClient::Bad("no address of a client");
        let text = peer.and_then(|peer| str::from_utf8(peer).ok()).ok_or(NO_ADDRESS)?;
        let request = &mut self.request;
        request.extensions.clear();
        if text.starts_with("unix:") {
            request.extensions.insert(UnixSocket);
        } else {
            let address = text.parse().map(|address| SocketAddr::new(address, 0));
            let address = address.or_else(|_| text.parse()).map_err(|_| NO_ADDRESS)?;
            request.extensions.insert(Peer(address));
        }
        request.headers.clear();
        if let Some(Ok(value)) = header.map(HeaderValue::from_bytes) {
            request.headers.insert(&self.header, value);
        }
        self.client_ip.address(request).map_err(|_| NO_ADDRESS)
    }
}

impl Part {
    /// Appends the values such that others make another text.
    fn say(self, values: &Values<'_>, said: &mut Vec<u8>) {
        let mut append = |place: usize| {
            let value = values[place].as_deref().unwrap_or_default();
            let value = if matches!(self, Self::Path(_)) { path(value) } else { value };
            said.extend_from_slice(value);
            // No value of a line has a line end.
            said.push(b'\n');
        };
        match self {
            Self::Client { peer, forwarded } => {
                append(peer);
                forwarded.into_iter().for_each(append);
            }
            Self::Path(place) | Self::Field(place) => append(place),
        }
    }
}

/// A target without its query.
pub(crate) fn path(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or(target)
}

/// A key beyond this names no client that a report could show.
const KEY_BYTES_MAX: usize = 1 << 12;

/// Bounds the memory where each line says something else, as when clients write the header.
const KNOWN_MAX: usize = 1 << 18;
const SAID_BYTES_MAX: usize = 1 << 8;

/// An address lies in the table itself, so that a known client is found in one look.
const SAID_BYTES_INLINE: usize = 24;
