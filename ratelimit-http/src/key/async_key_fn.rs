//! Keys that take time to find: a session that is looked up, a token that somebody else knows.

use std::{
    future::{Future, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use http::request::Parts;
use ratelimit_algorithms::Timer;

use crate::{KeyError, KeyFn, RequestKey, Warning};

/// A key to be awaited.
pub type Finding<'a> = Pin<Box<dyn Future<Output = Result<RequestKey, KeyError>> + Send + 'a>>;

/// Finds the key that a request counts against, and may take time for it.
///
/// Every [`KeyFn`] is one that takes none; [`Awaited`] makes one of a function.
pub trait AsyncKeyFn: Send + Sync {
    /// The key of the request with this head; `None` if it has to be [awaited](Self::find).
    fn find_now(&self, request: &Parts) -> Option<Result<RequestKey, KeyError>>;

    /// The key of the request with this head.
    fn find<'a>(&'a self, request: &'a Parts) -> Finding<'a>;

    /// Tells `warn` what looks wrong about how keys are found, also in the light of this request.
    /// A layer asks this about its first requests.
    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        let _ = (request, warn);
    }
}

impl<K: KeyFn> AsyncKeyFn for K {
    fn find_now(&self, request: &Parts) -> Option<Result<RequestKey, KeyError>> {
        Some(self.key(request))
    }

    fn find<'a>(&'a self, request: &'a Parts) -> Finding<'a> {
        Box::pin(ready(self.key(request)))
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        KeyFn::inspect(self, request, warn);
    }
}

/// A function that takes time to find a key, and how much of it at most.
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
/// /// Asks whoever knows; that takes time.
/// async fn user_of(session: String) -> Result<u64, KeyError> {
///     # let _ = session;
///     Ok(42)
/// }
///
/// let user = Awaited::within(Duration::from_millis(200), timer, |request: &Parts| {
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
/// The future is dropped when its time is up, and the request answered with 503
/// ([`KeyError::TimedOut`]); a panic in it is one request's. Where nothing has been found, another
/// key function can be asked within. It runs before anything is known about a request, so it is to
/// be cheap to fail: whoever sends made up sessions should not keep what knows them busy.
#[derive(Clone, Debug)]
pub struct Awaited<F, T> {
    find: F,
    timer: T,
    longest: Duration,
}

impl<F, T: Timer> Awaited<F, T> {
    /// What `find` makes of a request's head within `longest`, by `timer` (with the feature
    /// `tokio`, `ratelimit_algorithms::TokioTimer`). What it needs of the head it
    /// takes with it, since the future is its own.
    pub const fn within<K, R>(longest: Duration, timer: T, find: F) -> Self
    where
        F: Fn(&Parts) -> R + Send + Sync,
        R: Future<Output = Result<K, KeyError>> + Send,
        K: Into<RequestKey>,
    {
        Self { find, timer, longest }
    }
}

impl<F, T, K, R> AsyncKeyFn for Awaited<F, T>
where
    F: Fn(&Parts) -> R + Send + Sync,
    R: Future<Output = Result<K, KeyError>> + Send,
    K: Into<RequestKey>,
    T: Timer,
{
    fn find_now(&self, _: &Parts) -> Option<Result<RequestKey, KeyError>> {
        None
    }

    fn find<'a>(&'a self, request: &'a Parts) -> Finding<'a> {
        Box::pin(async move {
            // A deadline so far away that it cannot be told is none.
            let deadline = self.timer.now().checked_add(self.longest);
            let mut found = pin!((self.find)(request));
            let mut end = pin!(async {
                match deadline {
                    Some(deadline) => self.timer.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            });
            poll_fn(|context| match found.as_mut().poll(context) {
                Poll::Ready(found) => Poll::Ready(found.map(Into::into)),
                Poll::Pending => end.as_mut().poll(context).map(|()| Err(KeyError::TimedOut)),
            })
            .await
        })
    }
}

/// A key function is the application's, and its panics are not the connection's.
pub(crate) fn find_now(
    key: &(impl AsyncKeyFn + ?Sized),
    request: &Parts,
) -> Option<Result<RequestKey, KeyError>> {
    catch_unwind(AssertUnwindSafe(|| key.find_now(request))).unwrap_or_else(|_| Some(panicked()))
}

/// As [`find_now`], of a key that has to be awaited.
pub(crate) async fn find(
    key: &(impl AsyncKeyFn + ?Sized),
    request: &Parts,
) -> Result<RequestKey, KeyError> {
    let mut finding = None;
    poll_fn(|context| {
        let poll = || finding.get_or_insert_with(|| key.find(request)).as_mut().poll(context);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| Poll::Ready(panicked()))
    })
    .await
}

fn panicked() -> Result<RequestKey, KeyError> {
    Err(KeyError::Failed("key function panicked".into()))
}
