//! Keys that take time to find: a session that is looked up, a token that another service knows.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::request::Parts;
use ratelimit_algorithms::{Timer, before};

use super::{KeyError, KeyFn, RequestKey};
use crate::Warning;

/// Finds the key that a request counts against, perhaps asynchronously.
///
/// Every [`KeyFn`] implements it; [`Awaited`] makes one of an async function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key function",
    note = "a key function is a function or closure from `&http::request::Parts` to a \
            `Result<K, KeyError>`, where `K` is text, a number, an address or a `RequestKey`; \
            `Awaited` makes one of an async function"
)]
pub trait AsyncKeyFn: Send + Sync {
    /// Returns the key of the request with this head, or a future of it.
    fn find<'a>(&'a self, request: &'a Parts) -> FoundKey<'a>;

    /// Passes to `warn` any sign of a wrong setup, as [`KeyFn::inspect`](crate::KeyFn::inspect)
    /// does.
    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        let _ = (request, warn);
    }
}

impl<K: KeyFn> AsyncKeyFn for K {
    fn find<'a>(&'a self, request: &'a Parts) -> FoundKey<'a> {
        FoundKey::ready(self.key(request))
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        KeyFn::inspect(self, request, warn);
    }
}

/// The key of a request: a future that is often ready from the start, and then allocates nothing.
#[must_use = "futures do nothing unless they are awaited"]
pub struct FoundKey<'a>(State<'a>);

enum State<'a> {
    Ready(Option<Found>),
    Waiting(Pin<Box<dyn Future<Output = Found> + Send + 'a>>),
}

type Found = Result<RequestKey, KeyError>;

impl<'a> FoundKey<'a> {
    /// A key that is known already.
    pub const fn ready(found: Result<RequestKey, KeyError>) -> Self {
        Self(State::Ready(Some(found)))
    }

    /// A key that has to be awaited.
    pub fn waiting(found: impl Future<Output = Result<RequestKey, KeyError>> + Send + 'a) -> Self {
        Self(State::Waiting(Box::pin(found)))
    }

    /// The key, if it was known from the start; `None` if it has to be awaited.
    #[must_use]
    pub fn into_ready(self) -> Option<Result<RequestKey, KeyError>> {
        match self.0 {
            State::Ready(found) => found,
            State::Waiting(_) => None,
        }
    }
}

impl Future for FoundKey<'_> {
    type Output = Result<RequestKey, KeyError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(found) => found.take().map_or(Poll::Pending, Poll::Ready),
            State::Waiting(found) => found.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for FoundKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "FoundKey(ready)",
            State::Waiting(_) => "FoundKey(waiting)",
        })
    }
}

/// An async function that finds a key, and a timeout for it.
///
/// ```
/// use std::time::Duration;
///
/// use http::request::Parts;
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_http::{Awaited, KeyError, RateLimitLayer};
/// use ratelimit_memory::Memory;
///
/// # use ratelimit_algorithms::Timer;
/// # fn layer(timer: impl Timer + Clone + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// /// Looks a session up; that takes time.
/// async fn user_of(session: String) -> Result<u64, KeyError> {
///     # let _ = session;
///     Ok(42)
/// }
///
/// let user = Awaited::with_timeout(Duration::from_millis(200), timer, |request: &Parts| {
///     let session = request.headers.get("x-session").and_then(|value| value.to_str().ok());
///     let session = session.map(str::to_owned);
///     async move { user_of(session.ok_or(KeyError::Missing)?).await }
/// });
/// let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_second(10))?;
/// let layer = RateLimitLayer::new(limiter, user);
/// # Ok(())
/// # }
/// ```
///
/// At the timeout the future is dropped, and the request answered with 503
/// ([`KeyError::TimedOut`]). A panic in the future fails one request only. The function may call
/// another key function as its fallback.
///
/// It runs before anything is known about a request, so a failure should be cheap: clients that
/// send made-up sessions should not keep a database busy.
#[derive(Clone, Debug)]
pub struct Awaited<F, T> {
    find: F,
    timer: T,
    timeout: Duration,
}

impl<F, T: Timer> Awaited<F, T> {
    /// Finds a key with `find` within `timeout`, measured by `timer` (with the feature `tokio`,
    /// `ratelimit_algorithms::TokioTimer`). The future owns what it needs of the request's head.
    pub const fn with_timeout<K, R>(timeout: Duration, timer: T, find: F) -> Self
    where
        F: Fn(&Parts) -> R + Send + Sync,
        R: Future<Output = Result<K, KeyError>> + Send,
        K: Into<RequestKey>,
    {
        Self { find, timer, timeout }
    }
}

impl<F, T, K, R> AsyncKeyFn for Awaited<F, T>
where
    F: Fn(&Parts) -> R + Send + Sync,
    R: Future<Output = Result<K, KeyError>> + Send,
    K: Into<RequestKey>,
    T: Timer,
{
    fn find<'a>(&'a self, request: &'a Parts) -> FoundKey<'a> {
        FoundKey::waiting(async move {
            // A deadline that overflows means no deadline.
            let deadline = self.timer.now().checked_add(self.timeout);
            match before(deadline, &self.timer, (self.find)(request)).await {
                Some(found) => found.map(Into::into),
                None => Err(KeyError::TimedOut),
            }
        })
    }
}

/// Finds the key of a request; a panic in the key function is an error of this request only.
/// Ready at the first poll unless the key function waits.
pub(crate) async fn find(
    key: &(impl AsyncKeyFn + ?Sized),
    request: &Parts,
) -> Result<RequestKey, KeyError> {
    let mut found = None;
    poll_fn(|context| {
        let poll = || Pin::new(found.get_or_insert_with(|| key.find(request))).poll(context);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| Poll::Ready(panicked()))
    })
    .await
}

/// Like [`find`]; `None` if the key has to be awaited.
pub(crate) fn find_now(
    key: &(impl AsyncKeyFn + ?Sized),
    request: &Parts,
) -> Option<Result<RequestKey, KeyError>> {
    let find = || key.find(request).into_ready();
    catch_unwind(AssertUnwindSafe(find)).unwrap_or_else(|_| Some(panicked()))
}

fn panicked() -> Result<RequestKey, KeyError> {
    Err(KeyError::failed("key function panicked"))
}
