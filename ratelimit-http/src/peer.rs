//! The address at the other end of the connection.

use std::net::SocketAddr;

use http::{Extensions, request::Parts};

use crate::{KeyError, KeyFn, RequestKey};

/// Counts requests by the IP address at the other end of the connection.
///
/// The port does not count, and an IPv4 address in IPv6 is the IPv4 address. No header is read, so
/// no client can choose its key; behind a proxy all requests come from the proxy.
///
/// The address is found in the request's extensions, as a [`Peer`]; with the feature `axum` also
/// where `Router::into_make_service_with_connect_info::<SocketAddr>` puts it. Where it is missing
/// the server is set up wrongly, and the answer is [`KeyError::NoPeer`].
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr;

impl KeyFn for PeerAddr {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        let peer = peer(&request.extensions).ok_or(KeyError::NoPeer)?;
        Ok(peer.ip().into())
    }
}

/// Where a request comes from: a server puts it into the request's extensions.
///
/// It comes before what axum says, so that a layer that knows better (the PROXY protocol) can say
/// so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer(pub SocketAddr);

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
