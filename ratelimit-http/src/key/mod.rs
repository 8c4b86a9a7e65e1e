//! From a request to the key that it counts against: one file for each kind of key.

mod key_fn;
mod request_key;

mod api_key;
mod async_key_fn;
mod client_ip;
mod client_ip_builder;
mod forwarded;
mod peer;
mod request_parts;

#[cfg(feature = "axum")]
pub use self::request_parts::MatchedRoute;
pub use self::{
    api_key::ApiKey,
    async_key_fn::{AsyncKeyFn, Awaited, FoundKey},
    client_ip::{ClientIp, PeerAddr},
    client_ip_builder::{ClientIpBuilder, ClientIpError},
    key_fn::{And, KeyError, KeyFn, Or},
    peer::{Peer, UnixSocket},
    request_key::RequestKey,
    request_parts::{Extension, MethodName, TargetHost},
};
pub(crate) use self::{
    async_key_fn::{find, find_now},
    client_ip_builder::network,
};
