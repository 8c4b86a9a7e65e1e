//! Keys that are parts of a request: its method, its host, its route, its extensions.

use std::{any::type_name, fmt, marker::PhantomData};

use http::request::Parts;

use super::{KeyError, KeyFn, RequestKey};

/// Counts requests by their method. All methods that HTTP does not define count as one, since a
/// client can make up as many as it likes.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct MethodName;

impl KeyFn for MethodName {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        let name = request.method.as_str();
        Ok(if METHODS.contains(&name) { name.into() } else { "".into() })
    }
}

/// Of RFC 9110, and PATCH of RFC 5789.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Counts outgoing requests by the host of their URI, with its port if there is one.
///
/// Not for incoming requests: a client could choose its own key.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct TargetHost;

impl KeyFn for TargetHost {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        let host = request.uri.host().ok_or(KeyError::Missing)?.to_ascii_lowercase();
        let host = RequestKey::from(host);
        Ok(match request.uri.port_u16() {
            Some(port) => host.and(u64::from(port)),
            None => host,
        })
    }
}

/// Counts requests by the route that axum has matched, as it was written (`/users/{id}`).
///
/// A request that matches no route has no key ([`KeyError::Missing`]). Give it one with
/// [`or`](KeyFn::or), or add the layer with `Router::route_layer` or on the route.
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct MatchedRoute;

#[cfg(feature = "axum")]
impl KeyFn for MatchedRoute {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        let path = request.extensions.get::<axum::extract::MatchedPath>();
        Ok(path.ok_or(KeyError::Missing)?.as_str().into())
    }
}

/// Counts requests by a part of one of their extensions: above all, by the user that an
/// authentication layer has found.
///
/// ```
/// use ratelimit_http::{Extension, KeyFn, PeerAddr};
///
/// # #[derive(Clone)]
/// struct User { id: u64 }
///
/// let client = Extension::new(|user: &User| user.id).or(PeerAddr);
/// # let mut request = http::Request::new(()).into_parts().0;
/// # request.extensions.insert(User { id: 7 });
/// # assert_eq!(client.key(&request)?, 7.into());
/// # Ok::<(), ratelimit_http::KeyError>(())
/// ```
///
/// A request without this extension has no key ([`KeyError::Missing`]). The authentication layer
/// has to be outside of the limiter's.
pub struct Extension<T, F> {
    part: F,
    of: PhantomData<fn(&T)>,
}

impl<T, F> Extension<T, F> {
    /// Takes the key out of a `T` with `part`.
    pub const fn new<K>(part: F) -> Self
    where
        F: Fn(&T) -> K,
        K: Into<RequestKey>,
    {
        Self { part, of: PhantomData }
    }
}

impl<T, F, K> KeyFn for Extension<T, F>
where
    T: Send + Sync + 'static,
    F: Fn(&T) -> K + Send + Sync,
    K: Into<RequestKey>,
{
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        let whole = request.extensions.get::<T>().ok_or(KeyError::Missing)?;
        Ok((self.part)(whole).into())
    }
}

impl<T, F: Clone> Clone for Extension<T, F> {
    fn clone(&self) -> Self {
        Self { part: self.part.clone(), of: PhantomData }
    }
}

impl<T, F> fmt::Debug for Extension<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extension({})", type_name::<T>())
    }
}
