//! From a request to the key it counts against.

use http::request::Parts;

use crate::{KeyError, RequestKey, Warning};

/// Finds the key that a request counts against.
///
/// Functions of a request's head are key functions, and so is a text: one key for all requests.
/// [`or`](KeyFn::or) and [`and`](KeyFn::and) make new ones of any two.
///
/// It runs on every request, before anything else is known about it: it should be quick, and
/// should not believe what a client can make up at will. Whoever sends a new key with each request
/// has a new budget with each. One that has to wait for an answer is an
/// [`AsyncKeyFn`](crate::AsyncKeyFn).
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
pub trait KeyFn: Send + Sync {
    /// The key of the request with this head.
    ///
    /// # Errors
    ///
    /// If there is none; the request is then answered with the error's status.
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError>;

    /// Tells `warn` what looks wrong about how keys are found, also in the light of this request.
    /// A layer asks this about its first requests.
    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        let _ = (request, warn);
    }

    /// This key; `fallback`'s where the client names none ([`KeyError::Missing`]).
    ///
    /// Any other error stands: a client that says something wrong is not a client that says
    /// nothing.
    fn or<F: KeyFn>(self, fallback: F) -> Or<Self, F>
    where
        Self: Sized,
    {
        Or { first: self, fallback }
    }

    /// This key and `other`'s, as one.
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
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B> {
    first: A,
    fallback: B,
}

impl<A: KeyFn, B: KeyFn> KeyFn for Or<A, B> {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        match self.first.key(request) {
            Err(KeyError::Missing) => self.fallback.key(request),
            known => known,
        }
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        self.first.inspect(request, warn);
        self.fallback.inspect(request, warn);
    }
}

/// Two keys as one; made by [`KeyFn::and`].
#[derive(Clone, Copy, Debug)]
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
