//! An app behind a limiter on a clock that stands, and requests to send to it.

use std::{
    future::{Future, pending},
    net::SocketAddr,
    num::NonZeroUsize,
    task::{Context, Poll, Waker},
};

use axum::{Router, body::Body, extract::Extension, response::Response, routing::get};
use http::{Request, request::Builder};
use http_body_util::BodyExt;
use ratelimit_algorithms::{
    Algorithm, Backend, BackendError, ConfigError, Decision, ErrorKind, FixedWindow, Limiter,
    ManualClock, Policies,
};
use ratelimit_backend::{Names, Reply};
use ratelimit_core::{Action, Batch};
use ratelimit_http::{AsyncKeyFn, Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tower::ServiceExt;

pub(crate) type Store = Memory<ManualClock>;

pub(crate) fn store() -> (Store, ManualClock) {
    let clock = ManualClock::default();
    (Memory::with_clock(clock.clone(), NonZeroUsize::MIN.saturating_add(999)), clock)
}

pub(crate) fn limiter<A>(algorithm: A) -> Limiter<Store>
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    Limiter::new(store().0, "api", algorithm).expect("algorithm is valid")
}

/// `limit` requests per minute and key.
pub(crate) fn per_minute<K: AsyncKeyFn>(limit: u64, key: K) -> RateLimitLayer<Store, K> {
    RateLimitLayer::new(limiter(FixedWindow::per_minute(limit)), key)
}

/// One request per minute and address, and the clock it goes by.
pub(crate) fn one_per_minute() -> (RateLimitLayer<Store, PeerAddr>, ManualClock) {
    let (store, clock) = store();
    let limiter = Limiter::new(store, "api", FixedWindow::per_minute(1));
    (RateLimitLayer::new(limiter.expect("algorithm is valid"), PeerAddr), clock)
}

/// An app that says `hello` and the remaining permits behind `layer`.
pub(crate) fn app<B, K, P>(layer: RateLimitLayer<B, K, P>) -> Router
where
    B: Backend + Clone + 'static,
    K: AsyncKeyFn + Clone + 'static,
    P: Policies + Clone + 'static,
{
    let hello = async |Extension(decision): Extension<Decision>| {
        format!("hello, {} left", decision.remaining)
    };
    Router::new().route("/", get(hello)).layer(layer)
}

pub(crate) fn request() -> Builder {
    Request::get("/")
}

/// A request from this address.
pub(crate) fn from(peer: &str) -> Request<Body> {
    let peer: SocketAddr = peer.parse().expect("peer is an address");
    request().extension(Peer(peer)).body(Body::empty()).expect("request is valid")
}

/// A request with this API key.
pub(crate) fn with_key(key: impl AsRef<[u8]>) -> Request<Body> {
    let request = request().header("x-api-key", key.as_ref());
    request.body(Body::empty()).expect("request is valid")
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.expect("app is infallible")
}

pub(crate) async fn status(app: &Router, request: Request<Body>) -> u16 {
    send(app, request).await.status().as_u16()
}

pub(crate) async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.expect("body is whole").to_bytes();
    String::from_utf8(body.into()).expect("body is text")
}

#[track_caller]
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut values = response.headers().get_all(name).iter();
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there once at most");
    value.map(|value| value.to_str().expect("header is text"))
}

/// The permits left and the time until all are back, as the headers have them.
#[track_caller]
pub(crate) fn budget(response: &Response) -> [Option<&str>; 3] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
        .map(|name| header(response, name))
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that is polled until it is ready: no task runs meanwhile.
pub(crate) fn before_any_task<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    loop {
        if let Poll::Ready(output) = poll(&mut future) {
            return output;
        }
    }
}

/// A store that fails, or never answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    pub(crate) hangs: bool,
    pub(crate) names: Names,
}

impl Backend for Broken {
    fn apply<'a>(&'a self, _: Batch<'a>, _: Action) -> Reply<'a> {
        if self.hangs {
            return Reply::waiting(pending());
        }
        let secret = std::io::Error::other("redis://:hunter2@store.internal");
        let error = BackendError::not_applied(ErrorKind::Unavailable).with_source(secret);
        Reply::ready(Err(error))
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

/// Memory, a turn of the executor away.
#[derive(Clone)]
pub(crate) struct Far(pub(crate) Store);

impl Backend for Far {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            tokio::task::yield_now().await;
            self.0.apply(batch, action).await
        })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

pub(crate) fn on<B: Backend>(backend: B) -> Limiter<B> {
    Limiter::new(backend, "api", FixedWindow::per_minute(1)).expect("algorithm is valid")
}
