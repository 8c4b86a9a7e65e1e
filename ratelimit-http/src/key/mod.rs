//! From a request to the key that it counts against: the key functions, and one file for each kind
//! of key.

mod request_key;

mod api_key;
mod async_key_fn;
mod client_ip;
mod client_ip_builder;
mod forwarded;
mod request_parts;

use std::{error::Error, sync::Arc};

use http::{StatusCode, request::Parts};

#[cfg(feature = "axum")]
pub use self::request_parts::MatchedRoute;
pub use self::{
    api_key::ApiKey,
    async_key_fn::{AsyncKeyFn, Awaited, FoundKey},
    client_ip::{ClientIp, Peer, PeerAddr, UnixSocket},
    client_ip_builder::{ClientIpBuilder, ClientIpError},
    request_key::RequestKey,
    request_parts::{Extension, MethodName, TargetHost},
};
pub(crate) use self::{
    async_key_fn::{find, find_now},
    client_ip_builder::network,
};
use crate::Warning;

/// Finds the key that a request counts against.
///
/// Functions of a request's head are key functions, and so is a text: one key for all requests.
/// [`or`](KeyFn::or) and [`and`](KeyFn::and) combine any two.
///
/// A key function runs on every request, before anything else is known about it. So it should be
/// quick, and should not trust what a client can make up: a client that sends a new key with each
/// request has a new budget with each. A key that has to be awaited needs an
/// [`AsyncKeyFn`](crate::AsyncKeyFn).
///
/// A closure names the type of its argument (`|request: &Parts| …`), or the compiler does not know it.
/// It returns a key that borrows nothing of the request: text as a `String`, or a [`RequestKey`].
///
/// ```
/// use http::request::Parts;
/// use ratelimit_http::{KeyError, KeyFn, PeerAddr, RequestKey};
///
/// # #[derive(Clone)]
/// struct User { id: u64 }
///
/// /// The user that an authentication layer has found.
/// fn user(request: &Parts) -> Result<RequestKey, KeyError> {
///     let user = request.extensions.get::<User>().ok_or(KeyError::Missing)?;
///     Ok(RequestKey::from("user").and(user.id))
/// }
///
/// let client = user.or(PeerAddr);
/// # let mut request = http::Request::new(()).into_parts().0;
/// # assert!(matches!(client.key(&request), Err(KeyError::NoPeer)));
/// # request.extensions.insert(User { id: 7 });
/// # assert_eq!(client.key(&request)?, RequestKey::from("user").and(7));
/// # Ok::<(), KeyError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key function",
    note = "a key function is a function or closure from `&http::request::Parts` to a \
            `Result<K, KeyError>`, where `K` is text, a number, an address or a `RequestKey`"
)]
pub trait KeyFn: Send + Sync {
    /// Returns the key of the request with this head.
    ///
    /// # Errors
    ///
    /// If there is none; the request is then answered with the error's status.
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError>;

    /// Passes to `warn` any sign, in the setup or in this request, that keys are wrong. A layer
    /// calls this for its first requests.
    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        let _ = (request, warn);
    }

    /// Uses `fallback` where the client names no key ([`KeyError::Missing`]).
    ///
    /// Any other error stands: a malformed credential is not a missing one.
    fn or<F: KeyFn>(self, fallback: F) -> Or<Self, F>
    where
        Self: Sized,
    {
        Or { first: self, fallback }
    }

    /// Joins this key and `other`'s into one.
    fn and<F: KeyFn>(self, other: F) -> And<Self, F>
    where
        Self: Sized,
    {
        And { first: self, other }
    }
}

impl<F, K> KeyFn for F
where
    F: Fn(&Parts) -> Result<K, KeyError> + Send + Sync,
    K: Into<RequestKey>,
{
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        self(request).map(Into::into)
    }
}

/// One key for all requests, or a label for the other parts of one.
impl KeyFn for &'static str {
    fn key(&self, _: &Parts) -> Result<RequestKey, KeyError> {
        Ok((*self).into())
    }
}

/// One key, or another where the client names none; made by [`KeyFn::or`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Or<A, B> {
    first: A,
    fallback: B,
}

impl<A: KeyFn, B: KeyFn> KeyFn for Or<A, B> {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        match self.first.key(request) {
            Err(KeyError::Missing) => self.fallback.key(request),
            found => found,
        }
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        self.first.inspect(request, warn);
        self.fallback.inspect(request, warn);
    }
}

/// Two keys as one; made by [`KeyFn::and`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct And<A, B> {
    first: A,
    other: B,
}

impl<A: KeyFn, B: KeyFn> KeyFn for And<A, B> {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        Ok(self.first.key(request)?.and(self.other.key(request)?))
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        self.first.inspect(request, warn);
        self.other.inspect(request, warn);
    }
}

/// A request has no key. No limiter was asked, and nothing was charged.
///
/// The text contains no key.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The client does not identify itself; [`KeyFn::or`] tries another key function.
    #[error("request names no client")]
    Missing,
    /// The client identifies itself twice.
    #[error("request names its client more than once")]
    Duplicate,
    /// The client identifies itself in a way that cannot be read.
    #[error("request names its client in a way that makes no sense")]
    Malformed,
    /// The server does not say where the request comes from: see [`PeerAddr`](crate::PeerAddr).
    #[error("request carries no peer address")]
    NoPeer,
    /// The key function exceeded its timeout.
    #[error("key function took too long")]
    TimedOut,
    /// The key function failed for a reason of its own.
    #[error("key function failed")]
    Failed(#[source] Arc<dyn Error + Send + Sync>),
}

impl KeyError {
    /// The key function failed for this reason, an error or a text.
    pub fn failed(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(reason.into().into())
    }

    /// 400 for a mistake of the client, 500 for one of the server, 503 if a retry may help.
    ///
    /// Never 401: that has to come with a challenge, and a limiter has none.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Duplicate | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoPeer | Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
