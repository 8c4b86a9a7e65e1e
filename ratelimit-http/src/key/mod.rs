//! From a request to the key that it counts against: one file for each kind of key.

mod async_key_fn;
mod key_fn;
mod request_key;

mod api_key;
mod client_ip;
mod peer;
mod request_parts;

mod error;

#[cfg(feature = "axum")]
pub use self::request_parts::MatchedRoute;
pub use self::{
    api_key::ApiKey,
    async_key_fn::{AsyncKeyFn, Awaited, Finding},
    client_ip::{ClientIp, ClientIpBuilder, ClientIpError},
    error::KeyError,
    key_fn::{And, KeyFn, Or},
    peer::{Peer, PeerAddr, UnixSocket},
    request_key::RequestKey,
    request_parts::{Extension, MethodName, TargetHost},
};
pub(crate) use self::{
    async_key_fn::{find, find_now},
    client_ip::network,
};
